"""Open the drives of a recording; its layout is detected."""

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
"""Functions that open the drives of a recording, by drive name."""


def open_drives(path: Path, name: str = "") -> list[Drive]:
    """Open a recording's drives: all that have poses, sorted by name, or only the named one.

    Raises DatasetError for an unknown layout, an unknown drive, and damaged files.
    """
    path = Path(path)
    openers = _openers(path)
    if not name:
        return [openers[drive]() for drive in _with_poses(path, sorted(openers))]
    if name not in openers:
        raise DatasetError(f"{path} has no drive {name!r}; it has {', '.join(openers)}")
    return [openers[name]()]


def is_recording(path: Path) -> bool:
    """Whether a folder has a known layout."""
    return any(find(Path(path)) is not None for find in _LAYOUTS.values())


def _openers(path: Path) -> _Openers:
    if not path.is_dir():
        raise DatasetError(f"no recording {path}: the folder does not exist")
    for find in _LAYOUTS.values():
        openers = find(path)
        if openers is not None:
            return openers
    raise DatasetError(f"no recording in {path}: looked for {'; '.join(_LAYOUTS)}")


def _with_poses(path: Path, names: list[str]) -> list[str]:
    """Drop KITTI odometry sequences without poses, unless all lack them."""
    if not (path / "sequences").is_dir():
        return names
    posed = [name for name in names if pose_file(path, name) is not None]
    if posed and len(posed) < len(names):
        _log.warning("%s: skipped sequences without poses: %s", path,
                     ", ".join(sorted(set(names) - set(posed))))  # fmt: skip
    return posed or names  # opening a drive without poses raises an error that says what to do


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
            f"{path} has no drive with both poses and data: KITTI-360 stores drive D in "
            "data_poses/D, data_2d_raw/D and data_3d_raw/D"
        )
    return {name: partial(Kitti360Drive, path, name) for name in names}


def _raw(path: Path) -> _Openers | None:
    folders = [path] if (path / "oxts").is_dir() else find_raw_drives(path)
    return {folder.name: partial(KittiRawDrive, folder) for folder in folders} or None


def _bag(path: Path) -> _Openers | None:
    return {path.name: partial(_open_bag, path)} if (path / "metadata.yaml").is_file() else None


def _open_bag(path: Path) -> Drive:
    from scmpr_ros.datasets.rosbag2.reader import Rosbag2Drive  # imports rosbags

    return Rosbag2Drive(path)


_LAYOUTS: Mapping[str, Callable[[Path], _Openers | None]] = {
    "sequences/ (KITTI odometry, SemanticKITTI)": _odometry,
    "data_poses/ (KITTI-360)": _kitti360,
    "*_drive_*_sync/ or oxts/ (KITTI raw, a date or a drive)": _raw,
    "metadata.yaml (rosbag2)": _bag,
}
