"""The folder in which a place map is built, beside the map; an interrupted build goes on in it.

plan.json     digest of all that the result depends on; another plan starts anew
raw/          points as gathered, see `lidar.point_tiles`
gathered.json written once `raw` is complete
labelled/     static points with classes
described/    places, a file for each tile
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scmpr_ros.atomic_files import exclusive_lock, write_json

_log = logging.getLogger(__name__)
_PLAN, _GATHERED = "plan.json", "gathered.json"


@contextmanager
def build_folder(directory: Path, plan: str) -> Iterator[Path]:
    """Open and lock the folder of a place map's build, and remove it at the end.

    plan: digest of what the result depends on. What an interrupted build with the same plan left
        is kept; it is also kept if the block raises.

    Raises ConfigError if another process builds the same map.
    """
    folder = directory.with_name(f".{directory.name}.build")
    with exclusive_lock(folder):
        if _read(folder / _PLAN).get("plan") != plan:
            for path in folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            write_json(folder / _PLAN, {"plan": plan})
        else:
            _log.info("going on with the interrupted build in %s", folder)
        yield folder
        shutil.rmtree(folder)


def gathered(folder: Path) -> dict[str, Any] | None:
    """What `set_gathered` kept; None if points are still to be gathered, in an empty folder."""
    return _read(folder / _GATHERED) or None


def set_gathered(folder: Path, facts: dict[str, Any]) -> None:
    """Declare the raw points complete, and keep facts about them."""
    write_json(folder / _GATHERED, facts)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
