"""Decode and encode the points of ROS PointCloud2 messages.

Messages are duck-typed: those of rclpy and those read by `rosbags` have the same attributes. So
the nodes and the bag reader share this code, which imports neither ROS nor a message package.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import ShapeError
from scmpr_ros.records import INTENSITY_FIELDS, PointCloud
from scmpr_ros.semantics import LABEL_SETS, NUM_CLASSES, PALETTE, known_ids, to_joint

# of the constants INT8 (1) to FLOAT64 (8) of sensor_msgs/PointField
_POINT_DTYPES = ("i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8")


def point_dtype(message: Any) -> np.dtype[Any]:
    """Structured dtype of the points of a sensor_msgs/PointCloud2."""
    order = ">" if message.is_bigendian else "<"
    fields = [f for f in message.fields if f.name and 1 <= f.datatype <= len(_POINT_DTYPES)]
    return np.dtype(
        {
            "names": [f.name for f in fields],
            "formats": [(order + _POINT_DTYPES[f.datatype - 1], (f.count,)) if f.count > 1
                        else order + _POINT_DTYPES[f.datatype - 1] for f in fields],
            "offsets": [f.offset for f in fields],
            "itemsize": message.point_step,
        }
    )  # fmt: skip


def points_from_pointcloud2(message: Any) -> NDArray[Any]:
    """Decode the finite points of a sensor_msgs/PointCloud2 as a structured array (N,).

    A `row_step` of 0, as some drivers leave it, stands for rows without padding.

    Raises ShapeError if x, y or z are missing or no floats, or if there is too little data.
    """
    try:
        dtype = point_dtype(message)
    except ValueError as error:
        raise ShapeError(f"point cloud fields do not fit its point_step: {error}") from None
    names = dtype.names or ()
    if not {"x", "y", "z"} <= set(names):
        raise ShapeError.of("point cloud fields", "x, y and z", ", ".join(names) or "none")
    for axis in "xyz":
        if dtype[axis].kind != "f" or dtype[axis].shape:
            raise ShapeError.of(f"point cloud field {axis}", "one float of 32 or 64 bits",
                                str(dtype[axis]))  # fmt: skip
    width_bytes = message.width * message.point_step
    row_step = message.row_step or width_bytes
    if row_step < width_bytes:
        raise ShapeError.of(f"row_step of {message.width} points of {message.point_step} bytes",
                            f"at least {width_bytes} bytes", row_step)  # fmt: skip
    if len(message.data) < row_step * message.height:
        raise ShapeError.of("point cloud data", f"{row_step * message.height} bytes",
                            f"{len(message.data)} bytes")  # fmt: skip
    if width_bytes * message.height == 0:
        if len(message.data):
            raise ShapeError.of("size of a cloud with data", "at least 1x1 point",
                                f"{message.width}x{message.height}")  # fmt: skip
        return np.empty(0, dtype)
    rows = np.frombuffer(message.data, np.uint8, row_step * message.height)
    rows = rows.reshape(message.height, row_step)[:, :width_bytes]
    points = np.ascontiguousarray(rows).reshape(-1).view(dtype)
    finite = np.logical_and.reduce([np.isfinite(points[axis]) for axis in "xyz"])
    return points if finite.all() else points[finite]


def cloud_from_pointcloud2(message: Any, label_set: str | None = "joint") -> PointCloud:
    """Decode the finite points of a sensor_msgs/PointCloud2, with intensity and labels if any.

    label_set: ids in the field `label`: "joint", or one of `semantics.LABEL_SETS`; None ignores it.
    Raises ShapeError if x, y or z are missing, there is too little data, or ids are not joint ones.
    """
    points = points_from_pointcloud2(message)
    names = points.dtype.names or ()
    xyz = np.stack([points[axis] for axis in "xyz"], axis=1).astype(np.float32)
    intensity = next((points[n].astype(np.float32) for n in INTENSITY_FIELDS if n in names), None)
    label = None
    if "label" in names and label_set is not None:
        raw = points["label"].astype(np.uint32)
        label = _joint_ids(raw) if label_set == "joint" else to_joint(raw, label_set)
    return PointCloud(xyz, label, intensity)


def _joint_ids(raw: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """Ids that should be joint ones; ShapeError, with the label sets that fit, if they are not."""
    if raw.size and raw.max() >= NUM_CLASSES:
        ids = np.unique(raw & 0xFFFF if raw.max() > 0xFFFF else raw)
        fitting = [name for name in LABEL_SETS if set(ids.tolist()) <= known_ids(name)]
        listed = ", ".join(map(str, ids[:12])) + ", ..." * (len(ids) > 12)
        raise ShapeError(
            f"the field label has the ids {listed}, and those above {NUM_CLASSES - 1} are no joint "
            f"classes: set bag.label_set to the set they are of "
            f"({' or '.join(fitting) or 'no set'} has all of them), or to none to ignore them"
        )
    return raw.astype(np.uint8)


_IMPOSSIBLE_RANGE_M = 1000.0


def check_units(scan: PointCloud) -> None:
    """Raise ShapeError if half of a scan's points are farther away than any LiDAR sees."""
    ranges = np.linalg.norm(scan.xyz.astype(np.float64), axis=1)
    median = float(np.median(ranges)) if len(ranges) else 0.0
    if median > _IMPOSSIBLE_RANGE_M:
        raise ShapeError(
            f"half of the points are farther than {median:.0f} m from the sensor: points must be "
            "in metres, and in the frame of the sensor"
        )


def labels_from_pointcloud2(message: Any) -> NDArray[np.uint32] | None:
    """Raw field `label` (N,) of the points of `cloud_from_pointcloud2`; None without labels."""
    points = points_from_pointcloud2(message)
    has_labels = "label" in (points.dtype.names or ())
    return points["label"].astype(np.uint32) if has_labels else None


def pack_points(cloud: PointCloud, raw_labels: NDArray[np.uint32] | None = None) -> NDArray[Any]:
    """Pack a cloud into a structured array: x, y, z and, if present, intensity, label and rgb.

    raw_labels: (N,) ids for the field `label`, instead of the cloud's joint ids.
    The cloud's origin is added to x, y, z. `rgb` is the packed float that RViz and Foxglove use
    for colours, here those of the joint classes.
    """
    label = cloud.label if raw_labels is None else raw_labels
    optional = {"intensity": cloud.intensity, "label": label}
    fields = [("x", "<f4"), ("y", "<f4"), ("z", "<f4")]
    fields += [(n, v.dtype.str) for n, v in optional.items() if v is not None]
    fields += [("rgb", "<f4")] if cloud.label is not None else []
    points = np.empty(len(cloud), dtype=fields)
    for axis, name in enumerate("xyz"):
        offset = cloud.origin[axis]  # not added if zero: -0.0 + 0.0 would lose the sign
        points[name] = cloud.xyz[:, axis] + offset if offset else cloud.xyz[:, axis]
    for name, values in optional.items():
        if values is not None:
            points[name] = values
    if cloud.label is not None:
        red, green, blue = PALETTE[cloud.label].astype(np.uint32).T
        points["rgb"] = (red << 16 | green << 8 | blue).view(np.float32)
    return points


def is_dense(points: NDArray[Any]) -> bool:
    """Whether all of a structured array's points are finite: `is_dense` of PointCloud2."""
    return all(bool(np.isfinite(points[axis]).all()) for axis in "xyz")


def point_fields(dtype: np.dtype[Any]) -> list[dict[str, Any]]:
    """Keyword arguments of the sensor_msgs/PointFields of a structured dtype."""
    assert dtype.fields is not None
    return [
        {"name": name, "offset": offset, "count": 1,
         "datatype": _POINT_DTYPES.index(kind.str[1:]) + 1}
        for name, (kind, offset, *_) in dtype.fields.items()
    ]  # fmt: skip
