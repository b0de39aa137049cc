"""Poses of a table whose columns have names, as many programs write them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from scmpr_ros.errors import DatasetError

_Columns = Mapping[str, NDArray[np.float64]]

_PREFIXES = {
    "": r"(t|p|pos|position|p_rs_r|translation|pose_position|pose_pose_position)_?",
    "q": r"(q|quat|quaternion|q_rs|orientation|rotation|pose_orientation|pose_pose_orientation)_?",
}
_MESSAGE = r"\w+_pose(_pose)?_"  # fields of messages, with the topic before them
_KNOWN: tuple[tuple[str, str], ...] = (
    *((axis, rf"({_PREFIXES['']})?{axis}(_m)?") for axis in "xyz"),
    *((f"q{axis}", rf"{_PREFIXES['q']}{axis}") for axis in "xyzw"),
    *((axis, rf"{_MESSAGE}position_{axis}") for axis in "xyz"),
    *((f"q{axis}", rf"{_MESSAGE}orientation_{axis}") for axis in "xyzw"),
    ("easting", r"(utm_)?east(ing)?(_m)?"),
    ("northing", r"(utm_)?north(ing)?(_m)?"),
    ("height", r"(alt|altitude|elevation|height|ellipsoid(al)?_height)(_m)?"),
    *((name, rf"{name}(_rad)?") for name in ("roll", "pitch")),
    ("yaw", r"(yaw|theta)(_rad)?"),
    *((f"{name}_deg", f"{name}_deg") for name in ("roll", "pitch", "yaw")),
    ("stamp_ns", r"((time_?)?stamp|time)_ns"),
    ("stamp", r"(t|s|(time_?)?stamp|time|secs?|seconds|(header_)?stamp_sec)(_s)?"),
    ("nanosec", r"(nsecs?|nanosecs?|nanoseconds|(header_)?stamp_nanosec)"),
    ("geographic", r"(lat|latitude|lon|lng|longitude)(_deg)?"),
    ("heading", r"(heading|azimuth|bearing)(_deg|_rad)?"),
)
"""What a column is, and its usual names in lower case, parts joined by underscores."""
_SURVEYED = {"x": "easting", "y": "northing", "z": "height"}
_LARGEST_SECONDS = 1e11
_EPOCHS = {1e18: 1e-9, 1e15: 1e-6, 1e12: 1e-3}
"""Unit in seconds of stamps of the years 2001 to 2286, by their least one."""
_LARGEST_RAD = 2 * np.pi + 0.1
_LENGTH_TOLERANCE = 0.02


def poses_of_columns(
    path: Path, names: Sequence[str], values: NDArray[np.float64]
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64]]:
    """Stamps (N,) in seconds if there are some, and poses (N, 4, 4) of columns (N, C).

    Without quaternion and yaw, poses are level and face the way they go.
    Raises DatasetError for columns that are missing, doubled or of another kind.
    """
    columns: dict[str, NDArray[np.float64]] = {}
    for name, column in zip(names, values.T, strict=True):
        kind = column_kind(name)
        if kind in columns and kind != "geographic":
            raise DatasetError(
                f"{path}: two columns could be {kind} ({', '.join(names)}): keep one"
            )
        if kind:
            columns[kind] = column
    if not {"x", "y", "z"} & columns.keys() and set(_SURVEYED.values()) <= columns.keys():
        columns |= {axis: columns[name] for axis, name in _SURVEYED.items()}
    missing = [axis for axis in "xyz" if axis not in columns]
    if missing and "geographic" in columns:
        raise DatasetError(
            f"{path}: positions are latitude and longitude: project them to metres in the frame of "
            "the map first"
        )
    if missing:
        raise DatasetError(
            f"{path}: no column {' and '.join(missing)}; the columns are {', '.join(names)}"
        )
    T = np.tile(np.eye(4), (len(values), 1, 1))
    T[:, :3, 3] = np.stack([columns[axis] for axis in "xyz"], axis=1)
    T[:, :3, :3] = _rotations(path, columns, T[:, :3, 3])
    return _stamps(path, columns), T


def rotations(path: Path, xyzw: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotation matrices (N, 3, 3) of quaternions (N, 4); DatasetError unless their length is 1."""
    length = np.linalg.norm(xyzw, axis=1)
    wrong = ~(np.abs(length - 1) < _LENGTH_TOLERANCE)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DatasetError(
            f"{path}: {wrong.sum()} of {len(xyzw)} quaternions are not of length 1, the first is "
            f"that of pose {row + 1} with {length[row]:.3g}: is this a trajectory, and are its "
            "columns in order?"
        )
    return Rotation.from_quat(xyzw).as_matrix()


def column_kind(name: str) -> str:
    """What a column of this name is, such as x, qw or stamp; empty if that does not matter."""
    plain = re.sub(r"[^a-z0-9]+", "_", re.sub(r"\[ns\]", "_ns", name.lower())).strip("_")
    plain = re.sub(r"_(m|s|rad|deg)?$", lambda unit: unit.group(0) if unit.group(1) else "", plain)
    plain = plain.removeprefix("field_")
    return next((kind for kind, pattern in _KNOWN if re.fullmatch(pattern, plain)), "")


def in_seconds(stamps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Stamps (N,) since 1970 in seconds, which may be milli-, micro- or nanoseconds."""
    first = float(np.abs(stamps[:1]).max(initial=0))
    unit_s = next((unit for least, unit in _EPOCHS.items() if least <= first < 10 * least), 1.0)
    return stamps * unit_s


def _stamps(path: Path, columns: _Columns) -> NDArray[np.float64] | None:
    if "stamp_ns" in columns:
        return 1e-9 * columns["stamp_ns"]
    if "stamp" not in columns:
        return None
    stamps = in_seconds(columns["stamp"]) + 1e-9 * columns.get("nanosec", np.zeros(1))
    if np.abs(stamps).max() > _LARGEST_SECONDS:
        raise DatasetError(
            f"{path}: the first stamp is {stamps[0]:g}, which is no time in seconds: call the "
            "column stamp_ns if these are nanoseconds"
        )
    return stamps


def _rotations(
    path: Path, columns: _Columns, positions: NDArray[np.float64]
) -> NDArray[np.float64]:
    quaternion = [f"q{axis}" for axis in "xyzw"]
    given = [name for name in quaternion if name in columns]
    if given and len(given) < 4:
        raise DatasetError(f"{path}: of a quaternion there are only the columns {', '.join(given)}")
    if given:
        return rotations(path, np.stack([columns[name] for name in quaternion], axis=1))
    angles = {name: _angle(path, columns, name) for name in ("roll", "pitch", "yaw")}
    yaw = angles["yaw"]
    if yaw is None and "heading" in columns:
        raise DatasetError(
            f"{path}: a heading may be clockwise from north: name the column yaw_rad or yaw_deg, "
            "counter-clockwise from x"
        )
    if yaw is None:
        yaw = _course(positions)
    zeros = np.zeros(len(positions))
    rpy = [zeros if a is None else a for a in (angles["roll"], angles["pitch"])]
    angles_rad = np.stack([*rpy, yaw], axis=1)
    if not np.isfinite(angles_rad).all():
        row = int(np.argmin(np.isfinite(angles_rad).all(axis=1)))
        raise DatasetError(f"{path}: pose {row + 1} is not finite: remove it")
    return Rotation.from_euler("xyz", angles_rad).as_matrix()


def _angle(path: Path, columns: _Columns, name: str) -> NDArray[np.float64] | None:
    if f"{name}_deg" in columns:
        return np.radians(columns[f"{name}_deg"])
    angle = columns.get(name)
    if angle is not None and np.abs(angle).max() > _LARGEST_RAD:
        raise DatasetError(
            f"{path}: {name} reaches {np.abs(angle).max():.1f}, which is no angle in radians: call "
            f"the column {name}_deg if these are degrees"
        )
    return angle


def _course(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Yaw (N,) of the way from each position (N, 3) to the next."""
    if len(positions) < 2:
        return np.zeros(len(positions))
    steps = np.diff(positions, axis=0, append=2 * positions[-1:] - positions[-2:-1])
    return np.arctan2(steps[:, 1], steps[:, 0])
