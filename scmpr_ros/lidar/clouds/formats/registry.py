"""Which reader opens which file, by its suffix."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from scmpr_ros.errors import DatasetError
from scmpr_ros.lidar.clouds.formats import e57, las, npz, pcd, ply, raw_bin
from scmpr_ros.lidar.clouds.formats.point_table import PointTable

_READERS: Mapping[str, Callable[[Path], PointTable]] = {
    ".ply": ply.open_table,
    ".pcd": pcd.open_table,
    ".las": las.open_table,
    ".laz": las.open_table,
    ".e57": e57.open_table,
    ".npz": npz.open_table,
    ".npy": npz.open_table,
}
_BIN = ".bin"
SUFFIXES = (*_READERS, _BIN)

TILE_SUFFIXES: Mapping[str, str] = {
    ".ply": "PLY", ".pcd": "PCD", ".las": "LAS", ".laz": "LAS", ".npz": "NPZ", ".npy": "NPY",
    ".e57": "E57",
}  # fmt: skip
"""Formats that maps are divided into; scans (`.bin`) side by side need poses."""

_SIGNATURES: Mapping[bytes, str] = {
    b"ply\n": ".ply",
    b"ply\r": ".ply",
    b"# .PCD": ".pcd",
    b"LASF": ".las",
    b"ASTM-E57": ".e57",
    b"\x93NUMPY": ".npy",
}

_NO_FILES: Mapping[bytes, str] = {
    b"version https://git-lfs": "a pointer of Git LFS, not the file: fetch it by git lfs pull",
    b"<!doctype html": "a web page, not the file: download it again",
    b"<html": "a web page, not the file: download it again",
}
"""What stands in place of files that were not downloaded, by its beginning in lower case."""

_ADVICE: Mapping[str, str] = {
    ".bag": "a ROS 1 bag, a recording and no point cloud: commands that take recordings read it",
    ".mcap": "a bag, a recording and no point cloud: commands that take recordings read it",
    ".db3": "a bag, a recording and no point cloud: commands that take recordings read it",
    ".db": "a database: if it is RTAB-Map's, export its cloud by rtabmap-export",
    ".pcap": "packets of a LiDAR: its driver makes scans of them, which a bag can keep",
    ".gz": "compressed: unpack it with gunzip",
    ".zip": "an archive: unpack it",
    ".xz": "compressed: unpack it with unxz",
    ".zst": "compressed: unpack it with unzstd",
    ".7z": "an archive: unpack it",
    ".tar": "an archive: unpack it",
}


def cloud_suffix(path: Path) -> str:
    """Suffix of a file in lower case."""
    return path.suffix.lower()


def open_table(path: Path, bin_layout: str = "auto", own_ids: Collection[int] = ()) -> PointTable:
    """Open a point cloud file with the reader of its suffix.

    bin_layout: see `raw_bin.parse_layout`. own_ids: classes that the user gives a meaning, so that
    points of them are kept though they are noise by custom. Raises DatasetError for a file that is
    missing, of another format, or damaged.
    """
    if not path.is_file():
        raise DatasetError(f"no point cloud file {path}: check the path")
    suffix = cloud_suffix(path)
    try:
        _check_signature(path, suffix)
        if suffix == _BIN:
            return raw_bin.open_table(path, bin_layout)
        if TILE_SUFFIXES.get(suffix) == "LAS":
            return las.open_table(path, set(las.NOISE) - set(own_ids))
        if suffix in _READERS:
            return _READERS[suffix](path)
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror or error}") from error
    if suffix in _ADVICE:
        raise DatasetError(f"{path} is {_ADVICE[suffix]}")
    raise DatasetError(
        f"cannot read {path}: expected {', '.join(SUFFIXES)}, found suffix {path.suffix!r}; "
        "convert it to PLY or LAS"
    )


def _check_signature(path: Path, suffix: str) -> None:
    """Refuse files that are empty, or of a known format under the suffix of another."""
    with path.open("rb") as file:
        head = file.read(32)
    is_no_file = next((n for magic, n in _NO_FILES.items() if head.lower().startswith(magic)), "")
    if is_no_file:
        raise DatasetError(f"{path} is {is_no_file}")
    found = next((s for magic, s in _SIGNATURES.items() if head.startswith(magic)), suffix)
    if found != suffix and TILE_SUFFIXES[found] != TILE_SUFFIXES.get(suffix):
        raise DatasetError(
            f"{path} is a {TILE_SUFFIXES[found]} file with the suffix {suffix!r}: rename it to "
            f"{path.stem}{found}"
        )
    if not head and suffix in SUFFIXES:
        raise DatasetError(f"{path} is empty and holds no points: copy it again")
