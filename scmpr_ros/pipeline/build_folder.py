"""The folder in which a place map is built, beside the map; an interrupted build goes on in it.

All of it lies in a folder named by the plan, the digest of all that the result depends on: another
plan starts anew, and a task of a former one cannot write into it.

raw/          points as gathered, see `lidar.point_tiles`
gathered.json written once `raw` is complete
labelled/     points with classes
described/    places, a file for each tile
borders.json  written if places at the border of what was mapped are kept, for want of others
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
from scmpr_ros.errors import DatasetError, MapFormatError

_log = logging.getLogger(__name__)
DESCRIBED = "described"
_DOOMED = "doomed"
_GATHERED, _BORDERS = "gathered.json", "borders.json"


def build_folder_of(directory: Path) -> Path:
    """Where a place map is built; the names of `.` and `..` are those of the folders."""
    if directory.name in ("", ".."):
        directory = directory.resolve()
    return directory.with_name(f".{directory.name}.build")


@contextmanager
def build_folder(directory: Path, plan: str) -> Iterator[Path]:
    """Open and lock the folder of a place map's build, and remove it at the end.

    plan: digest of what the result depends on. What an interrupted build with the same plan left
        is kept; it is also kept if the block raises, unless it refuses its inputs: it would again.

    Raises ConfigError if another process builds the same map.
    """
    folder = build_folder_of(directory)
    with exclusive_lock(folder):
        current = folder / plan
        for path in folder.iterdir():
            if path != current:
                _discard(path)
        if current.is_dir():
            _log.info("going on with the interrupted build in %s", current)
        current.mkdir(exist_ok=True)
        try:
            yield current
        except (DatasetError, MapFormatError):
            _discard(current)
            folder.rmdir()
            raise
        _discard(current)
        folder.rmdir()


def _discard(path: Path) -> None:
    """Remove what a plan left, under another name: a build must not go on in half of it."""
    if path.is_dir():
        doomed = path.with_name(_DOOMED)
        if path != doomed:
            shutil.rmtree(doomed, ignore_errors=True)
            path.rename(doomed)
        shutil.rmtree(doomed)
    else:
        path.unlink()


def gathered(folder: Path) -> dict[str, Any] | None:
    """What `set_gathered` kept; None if points are still to be gathered, in an empty folder."""
    return _read(folder / _GATHERED) or None


def set_gathered(folder: Path, facts: dict[str, Any]) -> None:
    """Declare the raw points complete, and keep facts about them."""
    write_json(folder / _GATHERED, facts)


def allow_borders(folder: Path) -> None:
    """Keep places at the border of what was mapped: all tiles are to be described again."""
    shutil.rmtree(folder / DESCRIBED)
    write_json(folder / _BORDERS, {"allowed": True})


def are_borders_allowed(folder: Path) -> bool:
    """Whether `allow_borders` was called in this build, before an interruption perhaps."""
    return (folder / _BORDERS).is_file()


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
