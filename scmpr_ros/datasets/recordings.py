"""Opens whatever recording lies at a path, by its layout."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from scmpr_ros.datasets.drive import Drive
from scmpr_ros.datasets.kitti.kitti360 import Kitti360Drive, find_kitti360_drives
from scmpr_ros.datasets.kitti.odometry import KittiOdometryDrive, find_sequences, pose_file
from scmpr_ros.datasets.kitti.raw import KittiRawDrive, find_raw_drives
from scmpr_ros.errors import DatasetError

_log = logging.getLogger(__name__)

_Openers = Mapping[str, Callable[[], Drive]]
"""What opens each drive of a recording, by the drive's name."""


def open_drives(path: Path, name: str = "") -> list[Drive]:
    """Open a recording's drives: all that have poses, sorted by name, or the named one alone.

    Raises DatasetError where no known layout is found, where it has no drive of that name, and for
    whatever is wrong with a drive's files.
    """
    path = Path(path)
    openers = _openers(path)
    if not name:
        return [openers[each]() for each in _posed(path, sorted(openers))]
    if name not in openers:
        raise DatasetError(f"{path} has no drive {name!r}; there are: {', '.join(openers)}")
    return [openers[name]()]


def is_recording(path: Path) -> bool:
    """Whether a folder has one of the known layouts."""
    return any(find(Path(path)) is not None for find in _LAYOUTS.values())


def _openers(path: Path) -> _Openers:
    if not path.is_dir():
        raise DatasetError(f"no recording {path}: there is no such folder")
    for find in _LAYOUTS.values():
        openers = find(path)
        if openers is not None:
            return openers
    raise DatasetError(f"no recording in {path}: looked for {'; '.join(_LAYOUTS)}")


def _posed(path: Path, names: list[str]) -> list[str]:
    """The names without KITTI odometry's sequences that have no poses, unless none has any."""
    if not (path / "sequences").is_dir():
        return names
    posed = [name for name in names if pose_file(path, name) is not None]
    if posed and len(posed) < len(names):
        _log.warning("%s: left out sequences without poses: %s", path,
                     ", ".join(sorted(set(names) - set(posed))))  # fmt: skip
    return posed or names  # opening a drive without poses tells how to come by them


def _odometry(path: Path) -> _Openers | None:
    if not (path / "sequences").is_dir():
        return None
    return {name: partial(KittiOdometryDrive, path, name) for name in find_sequences(path)}


def _kitti360(path: Path) -> _Openers | None:
    if not (path / "data_poses").is_dir():
        return None
    names = find_kitti360_drives(path)
    if not names:
        raise DatasetError(
            f"{path} has no drive with both poses and data: KITTI-360 keeps those of drive D in "
            "data_poses/D, data_2d_raw/D and data_3d_raw/D"
        )
    return {name: partial(Kitti360Drive, path, name) for name in names}


def _raw(path: Path) -> _Openers | None:
    folders = [path] if (path / "oxts").is_dir() else find_raw_drives(path)
    return {folder.name: partial(KittiRawDrive, folder) for folder in folders} or None


def _bag(path: Path) -> _Openers | None:
    return {path.name: partial(_open_bag, path)} if (path / "metadata.yaml").is_file() else None


def _open_bag(path: Path) -> Drive:
    from scmpr_ros.datasets.rosbag2.reader import (
        Rosbag2Drive,  # loads a library that others do without
    )

    return Rosbag2Drive(path)


_LAYOUTS: Mapping[str, Callable[[Path], _Openers | None]] = {
    "sequences/ (KITTI odometry, SemanticKITTI)": _odometry,
    "data_poses/ (KITTI-360)": _kitti360,
    "*_drive_*_sync/ or oxts/ (KITTI raw, a date or a drive)": _raw,
    "metadata.yaml (rosbag2)": _bag,
}
