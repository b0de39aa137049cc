"""Point clouds from and to files: PLY, PCD and KITTI's .bin, with the fields beside x, y, z kept.

PLY is parsed here, because Open3D drops 16-bit fields (the natural type of a SemanticKITTI label)
and fills the missing rows of a truncated file with whatever lay in memory. Open3D reads PCD.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import LABEL_SETS, from_joint, to_joint

_log = logging.getLogger(__name__)

Fields = Mapping[str, NDArray]
"""Columns (N,) of a file by name; x, y and z are always among them."""

_INTENSITY_FIELDS = ("intensity", "i", "reflectance", "remission")
_LABEL_SET_OF_FIELD = {"label": "semantickitti", "semantic": "kitti360"}

# float32 steps by 0.5 mm at 4 km; beyond that an origin is taken off first, in float64.
_LARGE_COORDINATE_M = 4096.0
_ORIGIN_GRID_M = 100.0


def read_cloud(path: Path, label_set: str = "auto") -> PointCloud:
    """Read a .ply, .pcd or KITTI .bin file.

    label_set: one of `semantics.LABEL_SETS`, to say what the file's `label` or `semantic` field
        holds; "auto" takes `label` for SemanticKITTI ids and `semantic` for KITTI-360 ids.

    Returns float32 points in the file's frame, minus an origin where coordinates are large. Rows
    that are not finite are dropped with a warning. Raises DatasetError for a file that is missing,
    of another kind, truncated, or without a finite point; ConfigError for an unknown label set.
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


def write_ply(path: Path, cloud: PointCloud) -> None:
    """Write a binary PLY with x y z, intensity where there is one, and label as SemanticKITTI id.

    Coordinates include the origin again, as doubles if there is one. The file appears whole or
    not at all.
    """
    path = Path(path)
    large = bool(np.any(cloud.origin))
    xyz = cloud.xyz + cloud.origin if large else cloud.xyz
    columns: dict[str, tuple[NDArray, str]] = {
        name: (xyz[:, axis], "double" if large else "float") for axis, name in enumerate("xyz")
    }
    if cloud.intensity is not None:
        columns["intensity"] = (cloud.intensity, "float")
    if cloud.label is not None:
        # int, not ushort: Open3D, and with it much of the field, skips 16-bit properties.
        columns["label"] = (from_joint(cloud.label, "semantickitti"), "int")

    rows = np.empty(len(cloud), [(name, "<" + _PLY_TYPES[t]) for name, (_, t) in columns.items()])
    for name, (values, _) in columns.items():
        rows[name] = values
    header = "\n".join(
        ["ply", "format binary_little_endian 1.0", f"element vertex {len(cloud)}"]
        + [f"property {t} {name}" for name, (_, t) in columns.items()]
        + ["end_header\n"]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(header.encode("ascii") + rows.tobytes())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _to_cloud(path: Path, fields: Fields, label_set: str) -> PointCloud:
    missing = [axis for axis in "xyz" if axis not in fields]
    if missing:
        raise DatasetError(f"{path} has no field {', '.join(missing)}; it has {', '.join(fields)}")
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
    intensity = next((fields[n] for n in _INTENSITY_FIELDS if n in fields), None)
    cloud = PointCloud(
        xyz,
        _joint_labels(path, fields, label_set),
        None if intensity is None else intensity.astype(np.float32),
        origin,
    )
    return cloud if finite.all() else cloud.select(finite)


def choose_origin(xyz: NDArray[np.floating]) -> NDArray[np.float64]:
    """What to take off coordinates (N, 3) before float32: zero, or a round middle of them."""
    if np.abs(xyz).max() < _LARGE_COORDINATE_M:
        return np.zeros(3)
    return np.round(np.median(xyz, axis=0).astype(np.float64) / _ORIGIN_GRID_M) * _ORIGIN_GRID_M


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


# --- PLY -----------------------------------------------------------------------------------------

_PLY_TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4",
    "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "float": "f4", "double": "f8", "float32": "f4", "float64": "f8",
}  # fmt: skip
_PLY_BYTE_ORDER = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}
_PLY_MAX_HEADER_BYTES = 65536


def _read_ply(path: Path) -> Fields:
    with path.open("rb") as file:
        form, count, dtype = _ply_header(path, file.read(_PLY_MAX_HEADER_BYTES))
        file.seek(0)
        while file.readline().strip() != b"end_header":
            pass
        if form == "ascii":
            lines = [file.readline().split() for _ in range(count)]
            names = dtype.names or ()
            whole = [line for line in lines if len(line) >= len(names)]
            rows = np.zeros(len(whole), dtype)
            for column, name in enumerate(names):
                rows[name] = np.array([line[column] for line in whole], dtype=np.float64)
        else:
            data = file.read(count * dtype.itemsize)
            rows = np.frombuffer(data, dtype, count=len(data) // dtype.itemsize)
    if len(rows) < count:
        raise DatasetError(
            f"{path} is truncated: its header promises {count} points, {len(rows)} are there; "
            "copy it again"
        )
    return {name: rows[name] for name in dtype.names or ()}


def _ply_header(path: Path, head: bytes) -> tuple[str, int, np.dtype]:
    """Format, number of vertices and their record, from the first bytes of a file."""
    text, end, _ = head.partition(b"end_header")
    lines = [line.split() for line in text.decode("ascii", errors="replace").splitlines()]
    if not end or not lines or lines[0] != ["ply"]:
        raise DatasetError(f"{path} is no PLY file: it has no header from 'ply' to 'end_header'")
    form = next((line[1] for line in lines if line[:1] == ["format"]), "none")
    starts = [i for i, line in enumerate(lines) if line[:1] == ["element"]]
    if form not in _PLY_BYTE_ORDER or not starts or lines[starts[0]][1] != "vertex":
        raise DatasetError(
            f"{path}: a PLY of format {form!r} whose first element is not 'vertex' is not "
            "supported; export the points as binary PLY"
        )
    stop = starts[1] if len(starts) > 1 else len(lines)
    properties = [line[1:] for line in lines[starts[0] : stop] if line[:1] == ["property"]]
    unknown = [" ".join(p) for p in properties if len(p) != 2 or p[0] not in _PLY_TYPES]
    if unknown:
        raise DatasetError(f"{path}: unsupported vertex property '{unknown[0]}' in a PLY header")
    order = _PLY_BYTE_ORDER[form]
    record = np.dtype([(name, order + _PLY_TYPES[kind]) for kind, name in properties])
    return form, int(lines[starts[0]][2]), record


# --- PCD and .bin --------------------------------------------------------------------------------


def _read_pcd(path: Path) -> Fields:
    try:
        import open3d as o3d  # a second to import, and only needed here
    except ImportError as error:
        raise DatasetError(
            f"reading {path} needs Open3D, which does not load: {error}; install open3d and its "
            "system library libusb-1.0-0, or convert the file to PLY"
        ) from error
    with o3d.utility.VerbosityContextManager(o3d.utility.VerbosityLevel.Error):
        points = o3d.t.io.read_point_cloud(path).point
    if "positions" not in points or len(points["positions"]) == 0 or _is_short_ascii_pcd(path):
        raise DatasetError(f"{path} is empty, truncated or no PCD file: export it again")
    columns = {name: points[name].numpy() for name in points}
    xyz = columns.pop("positions")
    return {**{a: xyz[:, i] for i, a in enumerate("xyz")},
            **{name: values[:, 0] for name, values in columns.items()}}  # fmt: skip


def _is_short_ascii_pcd(path: Path) -> bool:
    """Whether an ASCII PCD has fewer rows than promised: Open3D makes up what is missing there."""
    head, found, body = path.read_bytes().partition(b"DATA ascii")
    promised = next((int(line.split()[1]) for line in head.splitlines()
                     if line.startswith(b"POINTS")), 0)  # fmt: skip
    return bool(found) and sum(bool(line.strip()) for line in body.splitlines()) < promised


def _read_bin(path: Path) -> Fields:
    size = path.stat().st_size
    if size % 16:
        raise DatasetError(
            f"{path} has {size} bytes, not a multiple of 16 (float32 x, y, z, reflectance): it is "
            "truncated or no KITTI scan; copy it again"
        )
    rows = np.fromfile(path, dtype="<f4").reshape(-1, 4)
    return dict(zip(("x", "y", "z", "reflectance"), rows.T, strict=True))


_READERS: dict[str, Callable[[Path], Fields]] = {
    ".ply": _read_ply,
    ".pcd": _read_pcd,
    ".bin": _read_bin,
}
