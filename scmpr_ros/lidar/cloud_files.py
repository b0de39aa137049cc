"""Read point clouds from PLY, PCD and KITTI .bin files, with intensity and labels; write PLY.

Open3D reads PCD.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scmpr_ros import ply
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.geometry import round_origin
from scmpr_ros.records import INTENSITY_FIELDS, PointCloud
from scmpr_ros.semantics import LABEL_SETS, from_joint, to_joint

_log = logging.getLogger(__name__)

Fields = Mapping[str, NDArray]
"""Columns (N,) of a file by name."""

_LABEL_SET_OF_FIELD = {"label": "semantickitti", "semantic": "kitti360"}

# float32 has steps of 0.5 mm at 4 km; beyond that an origin is subtracted in float64.
_LARGE_COORDINATE_M = 4096.0


def read_cloud(path: Path, label_set: str = "auto") -> PointCloud:
    """Read a .ply, .pcd or KITTI .bin file.

    label_set: ids in the file's `label` or `semantic` field, one of `semantics.LABEL_SETS`; "auto"
        means SemanticKITTI for `label` and KITTI-360 for `semantic`.

    Returns points in the file's frame, minus an origin if coordinates are large. Points that are
    not finite are dropped with a warning. Raises DatasetError for a file that is missing,
    unsupported, truncated, or without a finite point; ConfigError for an unknown label set.
    """
    path = Path(path)
    if label_set not in ("auto", *LABEL_SETS):
        raise ConfigError(f"label_set {label_set!r}: expected auto, {', '.join(LABEL_SETS)}")
    if not path.is_file():
        raise DatasetError(f"no point cloud file {path}: check the path")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DatasetError(
            f"cannot read {path}: expected {', '.join(_READERS)}, found suffix {path.suffix!r}; "
            "convert it to PLY"
        )
    return _to_cloud(path, reader(path), label_set)


def write_cloud(path: Path, cloud: PointCloud) -> None:
    """Write a binary PLY, atomically, with x, y, z and, if present, intensity and label.

    Labels are written as SemanticKITTI ids. The origin is added to the coordinates, which are
    doubles unless it is zero.
    """
    large = bool(np.any(cloud.origin))
    xyz = cloud.xyz + cloud.origin if large else cloud.xyz
    columns: dict[str, NDArray] = {
        name: xyz[:, axis].astype("f8" if large else "f4") for axis, name in enumerate("xyz")
    }
    if cloud.intensity is not None:
        columns["intensity"] = cloud.intensity.astype("f4")
    if cloud.label is not None:
        # int, not ushort: Open3D ignores 16-bit properties.
        columns["label"] = from_joint(cloud.label, "semantickitti").astype("i4")
    rows = np.empty(len(cloud), [(name, values.dtype) for name, values in columns.items()])
    for name, values in columns.items():
        rows[name] = values
    ply.write_ply(Path(path), rows)


def _to_cloud(path: Path, fields: Fields, label_set: str) -> PointCloud:
    missing = [axis for axis in "xyz" if axis not in fields]
    if missing:
        raise DatasetError(f"{path} has no field {', '.join(missing)}, only {', '.join(fields)}")
    xyz = np.stack([fields[axis] for axis in "xyz"], axis=1)
    if len(xyz) == 0:
        raise DatasetError(f"{path} holds no points: export the cloud again")
    finite = np.isfinite(xyz).all(axis=1)
    if not finite.any():
        raise DatasetError(f"{path}: none of its {len(xyz)} points is finite; export it again")
    if not finite.all():
        _log.warning("%s: dropped %d points that are not finite", path, np.sum(~finite))

    origin = choose_origin(xyz[finite])
    xyz = (xyz - origin if origin.any() else xyz).astype(np.float32)
    intensity = next((fields[n] for n in INTENSITY_FIELDS if n in fields), None)
    cloud = PointCloud(
        xyz,
        _joint_labels(path, fields, label_set),
        None if intensity is None else intensity.astype(np.float32),
        origin,
    )
    return cloud if finite.all() else cloud.select(finite)


def choose_origin(xyz: NDArray[np.floating]) -> NDArray[np.float64]:
    """Origin to subtract from coordinates (N, 3): zero, or their rounded median if large."""
    if np.abs(xyz).max() < _LARGE_COORDINATE_M:
        return np.zeros(3)
    return round_origin(np.median(xyz, axis=0).astype(np.float64))


def _joint_labels(path: Path, fields: Fields, label_set: str) -> NDArray[np.uint8] | None:
    name = next((n for n in _LABEL_SET_OF_FIELD if n in fields), None)
    if name is None:
        return None
    raw = fields[name]
    if not np.issubdtype(raw.dtype, np.integer):
        if not np.isfinite(raw).all():
            raise DatasetError(f"{path}: field {name} holds values that are not finite")
        raw = raw.astype(np.int64)
    return to_joint(raw, _LABEL_SET_OF_FIELD[name] if label_set == "auto" else label_set)


def _read_ply(path: Path) -> Fields:
    rows = ply.read_ply(path)
    return {name: rows[name] for name in rows.dtype.names or ()}


def _read_pcd(path: Path) -> Fields:
    try:
        import open3d as o3d  # takes a second to import
    except ImportError as error:
        raise DatasetError(
            f"reading {path} needs Open3D, which failed to load: {error}; install open3d and its "
            "system library libusb-1.0-0, or convert the file to PLY"
        ) from error
    with o3d.utility.VerbosityContextManager(o3d.utility.VerbosityLevel.Error):
        points = o3d.t.io.read_point_cloud(path).point
    if "positions" not in points or len(points["positions"]) == 0 or _is_short_ascii_pcd(path):
        raise DatasetError(f"{path} is empty, truncated or not a PCD file: export it again")
    columns = {name: points[name].numpy() for name in points}
    xyz = columns.pop("positions")
    return {**{a: xyz[:, i] for i, a in enumerate("xyz")},
            **{name: values[:, 0] for name, values in columns.items()}}  # fmt: skip


def _is_short_ascii_pcd(path: Path) -> bool:
    """Whether an ASCII PCD has fewer rows than its header says: Open3D invents missing ones."""
    head, found, body = path.read_bytes().partition(b"DATA ascii")
    promised = next((int(line.split()[1]) for line in head.splitlines()
                     if line.startswith(b"POINTS")), 0)  # fmt: skip
    return bool(found) and sum(bool(line.strip()) for line in body.splitlines()) < promised


def _read_bin(path: Path) -> Fields:
    size = path.stat().st_size
    if size % 16:
        raise DatasetError(
            f"{path} has {size} bytes, not a multiple of 16 (float32 x, y, z, reflectance): it is "
            "truncated or not a KITTI scan; copy it again"
        )
    rows = np.fromfile(path, dtype="<f4").reshape(-1, 4)
    return dict(zip(("x", "y", "z", "reflectance"), rows.T, strict=True))


_READERS: dict[str, Callable[[Path], Fields]] = {
    ".ply": _read_ply,
    ".pcd": _read_pcd,
    ".bin": _read_bin,
}
