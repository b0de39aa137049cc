"""Locate the files that ship with the package: config/, launch/ and models/."""

from __future__ import annotations

from pathlib import Path

from scmpr_ros.errors import ConfigError

DEFAULT_CHECKPOINT = "models/nano.safetensors"
FASTDDS_PROFILE = "config/fastdds.xml"


def resource(name: str) -> Path:
    """Return the path of a shipped file such as `models/nano.safetensors`.

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
