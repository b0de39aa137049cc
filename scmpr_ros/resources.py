"""Locate the files that ship with the package, and the commit that it is."""

from __future__ import annotations

import subprocess
from pathlib import Path

from scmpr_ros.errors import ConfigError

DEFAULT_CHECKPOINT = "models/lite0_vmamba.safetensors"
FASTDDS_PROFILE = "config/fastdds.xml"


def resource(name: str) -> Path:
    """Return the path of a shipped file such as `models/lite0_vmamba.safetensors`.

    In a clone the file lies beside the package, in an installation in `<prefix>/share/scmpr_ros`.
    Raises ConfigError if it is in neither.
    """
    for folder in Path(__file__).resolve().parents:
        for path in (folder / name, folder / "share" / "scmpr_ros" / name):
            if path.is_file():
                return path
    raise ConfigError(
        f"{name} is neither beside the package nor in a share folder: install it again"
    )


def source_commit() -> str | None:
    """Commit of the clone that this code is in, with a + if the clone has changes."""
    command = ["git", "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"]
    try:
        described = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return described.stdout.strip() or None
