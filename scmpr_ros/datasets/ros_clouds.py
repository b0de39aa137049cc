"""Decode and encode the points of ROS PointCloud2 messages.

Messages are duck-typed: those of rclpy and those read by `rosbags` have the same attributes. So
the nodes and the bag reader share this code, which imports neither ROS nor a message package.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import ShapeError
from scmpr_ros.geometry import round_origin
from scmpr_ros.label_sets import LabelSet, check_scan_ids, open_label_set, sets_with
from scmpr_ros.records import INTENSITY_FIELDS, PointCloud
from scmpr_ros.semantics import NUM_CLASSES, PALETTE

# of the constants INT8 (1) to FLOAT64 (8) of sensor_msgs/PointField
_POINT_DTYPES = ("i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8")


def point_dtype(message: Any) -> np.dtype[Any]:
    """Structured dtype of the points of a sensor_msgs/PointCloud2, names in lower case.

    Of fields with the same name, such as the padding `_` of PCL, the first counts.
    Raises ShapeError if a field is not within the point.
    """
    order = ">" if message.is_bigendian else "<"
    fields: dict[str, tuple[Any, int]] = {}
    for field in message.fields:
        if not (field.name and 1 <= field.datatype <= len(_POINT_DTYPES)):
            continue
        scalar = np.dtype(order + _POINT_DTYPES[field.datatype - 1])
        kind = np.dtype((scalar, (field.count,))) if field.count > 1 else scalar
        if field.offset + kind.itemsize > message.point_step:
            raise ShapeError.of(
                f"end of the point cloud field {field.name}", f"within {message.point_step} bytes "
                "(point_step)", f"byte {field.offset + kind.itemsize}",
            )  # fmt: skip
        fields.setdefault(field.name.lower(), (kind, field.offset))
    return np.dtype(
        {
            "names": list(fields),
            "formats": [kind for kind, _ in fields.values()],
            "offsets": [offset for _, offset in fields.values()],
            "itemsize": message.point_step,
        }
    )


def points_from_pointcloud2(message: Any) -> NDArray[Any]:
    """Decode the finite points of a sensor_msgs/PointCloud2 as a structured array (N,).

    A `row_step` of 0, as some drivers leave it, stands for rows without padding.

    Raises ShapeError if x, y or z are missing or no floats, or if there is too little data.
    """
    dtype = point_dtype(message)
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


def cloud_from_pointcloud2(
    message: Any, label_set: LabelSet | str | None = "joint", option: str = "bag.label_set"
) -> PointCloud:
    """Decode the finite points of a sensor_msgs/PointCloud2, with intensity and labels if any.

    label_set: ids in the field `label`: "joint", a label set, or its name for `open_label_set`;
    None ignores it. option: where the label set is chosen, for messages.
    Raises ShapeError if x, y or z are missing, there is too little data, or ids are not of the set.
    """
    return _cloud(points_from_pointcloud2(message), np.zeros(3), label_set, option)


def map_from_pointcloud2(message: Any, label_set: str | None, option: str) -> PointCloud:
    """Decode a map as `cloud_from_pointcloud2` does, with an origin.

    Doubles may be coordinates of UTM, which float32 would round to half a metre.
    """
    points = points_from_pointcloud2(message)
    is_double = len(points) > 0 and any(points.dtype[axis].itemsize > 4 for axis in "xyz")
    middle = [np.median(points[axis]) for axis in "xyz"] if is_double else np.zeros(3)
    return _cloud(points, round_origin(np.array(middle, np.float64)), label_set, option)


def labels_from_pointcloud2(message: Any) -> NDArray[np.uint32] | None:
    """Raw field `label` (N,) of the points of `cloud_from_pointcloud2`; None without labels."""
    raw = _label_ids(points_from_pointcloud2(message), "bag.label_set")
    return None if raw is None else raw.astype(np.uint32)


def _cloud(
    points: NDArray[Any], origin: NDArray[np.float64], label_set: LabelSet | str | None, option: str
) -> PointCloud:
    names = points.dtype.names or ()
    xyz = np.stack([points[axis] - origin[k] if origin[k] else points[axis]
                    for k, axis in enumerate("xyz")], axis=1)  # fmt: skip
    intensity = next((points[n].astype(np.float32) for n in INTENSITY_FIELDS if n in names), None)
    raw = None if label_set is None else _label_ids(points, option)
    label = None
    if raw is not None and label_set is not None:
        is_joint = label_set == "joint"
        label = _joint_ids(raw, option) if is_joint else _mapped_ids(raw, label_set, option)
    return PointCloud(xyz.astype(np.float32), label, intensity, origin)


def _label_ids(points: NDArray[Any], option: str) -> NDArray[np.int64] | None:
    """The field `label` (N,); None without one; ShapeError if it holds no whole numbers."""
    if "label" not in (points.dtype.names or ()):
        return None
    label = points["label"]
    if label.ndim != 1:
        raise ShapeError.of("point cloud field label", "one id", f"{label.shape[1]} numbers")
    if label.dtype.kind == "f":
        wrong = label[~(np.isfinite(label) & (label == np.round(label)))]
        if len(wrong):
            raise ShapeError(f"the field label holds numbers that are no ids, such as {wrong[0]}: "
                             f"set {option} to none to ignore them")  # fmt: skip
    return np.asarray(label.astype(np.int64))


def _mapped_ids(
    raw: NDArray[np.int64], label_set: LabelSet | str, option: str
) -> NDArray[np.uint8]:
    """Joint ids; ShapeError if the set does not know many of the ids."""
    labels = open_label_set(label_set) if isinstance(label_set, str) else label_set
    try:
        check_scan_ids(raw, labels)
    except ShapeError as error:
        raise ShapeError(
            f"{error}: set {option} to the set they are of, or to none to ignore them"
        ) from None
    return labels.to_joint(raw)


def _joint_ids(raw: NDArray[np.int64], option: str) -> NDArray[np.uint8]:
    """Ids that should be joint ones; ShapeError, with the label sets that fit, if they are not."""
    if raw.size and not 0 <= raw.min() <= raw.max() < NUM_CLASSES:
        ids = np.unique(raw & 0xFFFF if raw.max() > 0xFFFF and raw.min() >= 0 else raw)
        fitting = sets_with(ids.tolist())
        listed = ", ".join(map(str, ids[:12])) + ", ..." * (len(ids) > 12)
        raise ShapeError(
            f"the field label has the ids {listed}, not all of which are joint classes (0 to "
            f"{NUM_CLASSES - 1}): set {option} to the set they are of "
            f"({' or '.join(fitting) or 'no set'} has all of them), to a YAML file that maps them "
            "to classes, or to none to ignore them"
        )
    return raw.astype(np.uint8)


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
