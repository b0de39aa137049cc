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
from scmpr_ros.semantics import PALETTE, to_joint

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

    Raises ShapeError if x, y or z are missing or there is too little data.
    """
    try:
        dtype = point_dtype(message)
    except ValueError as error:
        raise ShapeError(f"point cloud fields do not fit its point_step: {error}") from None
    names = dtype.names or ()
    if not {"x", "y", "z"} <= set(names):
        raise ShapeError.of("point cloud fields", "x, y and z", ", ".join(names) or "none")
    if len(message.data) < message.row_step * message.height:
        raise ShapeError.of("point cloud data", f"{message.row_step * message.height} bytes",
                            f"{len(message.data)} bytes")  # fmt: skip
    rows = np.frombuffer(message.data, np.uint8, message.row_step * message.height)
    rows = rows.reshape(message.height, -1)[:, : message.width * message.point_step]
    points = np.ascontiguousarray(rows).reshape(-1).view(dtype)
    finite = np.logical_and.reduce([np.isfinite(points[axis]) for axis in "xyz"])
    return points if finite.all() else points[finite]


def cloud_from_pointcloud2(message: Any, label_set: str = "joint") -> PointCloud:
    """Decode the finite points of a sensor_msgs/PointCloud2, with intensity and labels if any.

    label_set: ids in the field `label`: "joint", or one of `semantics.LABEL_SETS`.
    Raises ShapeError if x, y or z are missing or there is too little data.
    """
    points = points_from_pointcloud2(message)
    names = points.dtype.names or ()
    xyz = np.stack([points[axis] for axis in "xyz"], axis=1).astype(np.float32)
    intensity = next((points[n].astype(np.float32) for n in INTENSITY_FIELDS if n in names), None)
    label = None
    if "label" in names:
        raw = points["label"].astype(np.uint32)
        label = raw.astype(np.uint8) if label_set == "joint" else to_joint(raw, label_set)
    return PointCloud(xyz, label, intensity)


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
