"""Open the drives of a recording; its layout is detected."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from scmpr_ros.datasets.bags.files import METADATA, SUFFIXES, bag_name, find_bags, is_bag_file
from scmpr_ros.datasets.bags.options import BagReaderConfig, load_options
from scmpr_ros.datasets.drive import Drive
from scmpr_ros.datasets.kitti.kitti360 import Kitti360Drive, find_kitti360_drives
from scmpr_ros.datasets.kitti.odometry import KittiOdometryDrive, find_sequences, pose_file
from scmpr_ros.datasets.kitti.raw import KittiRawDrive, find_raw_drives
from scmpr_ros.errors import DatasetError

_log = logging.getLogger(__name__)

_UNFINISHED = ".active"
_UP, _MOST_NAMED = 4, 5

_Openers = Mapping[str, Callable[[], Drive]]
"""Functions that open the drives of a recording, by drive name."""


def open_drives(path: Path, name: str = "", bag: BagReaderConfig | None = None) -> list[Drive]:
    """Open a recording's drives: all that have poses, sorted by name, or only the named one.

    bag: options for recordings that are bags; they take precedence over the bag's own `bag.yaml`.

    Raises DatasetError for an unknown layout, an unknown drive, and damaged files.
    """
    path = Path(path)
    openers = _openers(path, bag or BagReaderConfig())
    if not name:
        return [openers[drive]() for drive in _with_poses(path, sorted(openers))]
    if name not in openers:
        raise DatasetError(f"{path} has no drive {name!r}; it has {', '.join(openers)}")
    return [openers[name]()]


def is_recording(path: Path) -> bool:
    """Whether a folder has a known layout, or a file is a bag."""
    path = Path(path)
    if not path.is_dir():
        return is_bag(path)
    return is_bag(path) or any(find(path) is not None for find in _LAYOUTS.values())


def is_bag(path: Path) -> bool:
    """Whether a recording is a bag: a rosbag2 directory, a bag file, or a folder of such files.

    A bag that lies loose beside a map is none of it: its poses need not be in the map's frame.
    """
    if not path.is_dir():
        return is_bag_file(path)
    if (path / METADATA).is_file():
        return True
    return not (path / "map.ply").exists() and any(map(is_bag_file, path.iterdir()))


def _openers(path: Path, bag: BagReaderConfig) -> _Openers:
    if not path.exists():
        raise DatasetError(f"no recording {path}: the path does not exist")
    if path.is_dir():
        for find in _LAYOUTS.values():
            openers = find(path)
            if openers is not None:
                return openers
    if is_bag(path):
        return _bags(path, bag)
    if path.is_dir():
        looked_for = f"looked for {'; '.join(_LAYOUTS)}; {_BAGS}"
        raise DatasetError(f"no recording in {path}: {looked_for}{_nearby(path)}")
    if path.name.endswith(_UNFINISHED):
        raise DatasetError(
            f"{path}: its recorder was stopped before it had written the index: run "
            f"`rosbag reindex {path.name}` and drop {_UNFINISHED} from the name"
        )
    raise DatasetError(f"no recording {path}: this file is not a bag ({', '.join(SUFFIXES)})")


def _nearby(path: Path) -> str:
    """For error messages: recordings that this folder is a part of, or that it holds."""
    around = [parent for parent in list(path.absolute().parents)[:_UP] if _is_layout(parent)]
    if around:
        return f". It is a part of the recording {around[-1]}: name that, and the drive by its name"
    inside = [child.name for child in sorted(path.iterdir()) if is_recording(child)]
    if not inside:
        return ""
    names = ", ".join(inside[:_MOST_NAMED]) + ", ..." * (len(inside) > _MOST_NAMED)
    return f". It holds {names}: name one of them"


def _is_layout(path: Path) -> bool:
    with suppress(DatasetError, PermissionError):
        return any(find(path) is not None for find in _LAYOUTS.values())
    return False


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


def _bags(path: Path, given: BagReaderConfig) -> _Openers:
    """Openers of the bag, or of the bags in a folder of files."""
    from scmpr_ros.datasets.bags.reader import BagDrive  # imports rosbags

    config = load_options(path, given)
    bags = find_bags(path) if path.is_dir() and not (path / METADATA).is_file() else {}
    if len(bags) < 2:
        return {bag_name(path): partial(BagDrive, path, config)}
    return {name: partial(BagDrive, path, config, files, name) for name, files in bags.items()}


_LAYOUTS: Mapping[str, Callable[[Path], _Openers | None]] = {
    "sequences/ (KITTI odometry, SemanticKITTI)": _odometry,
    "data_poses/ (KITTI-360)": _kitti360,
    "*_drive_*_sync/ or oxts/ (KITTI raw, a date or a drive)": _raw,
}
_BAGS = "metadata.yaml (rosbag2); *.mcap, *.db3 or *.bag (bags)"
