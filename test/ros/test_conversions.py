"""Convert messages to records and back; compared with the real converters where installed."""

from __future__ import annotations

import array

import numpy as np
import pytest
from camera_poses import level_camera_pose
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

pytest.importorskip("rclpy", reason="no ROS 2: source one, or install the rclpy wheels")

from geometry_msgs.msg import Pose
from sensor_msgs.msg import (
    CompressedImage,
    PointCloud2,
    PointField,
)
from std_msgs.msg import Header

from scmpr_ros.datasets.ros_clouds import (
    cloud_from_pointcloud2,
    map_from_pointcloud2,
    pack_points,
    point_dtype,
    point_fields,
)
from scmpr_ros.datasets.ros_headers import stamp_of_cdr
from scmpr_ros.datasets.ros_images import rgb_from_image
from scmpr_ros.errors import ShapeError
from scmpr_ros.geometry import make_transform, rotation_z
from scmpr_ros.records import PointCloud
from scmpr_ros.ros import conversions
from scmpr_ros.semantics import PALETTE

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def test_image_message_round_trip() -> None:
    message = conversions.image_message(RGB, Header(frame_id="camera"))
    assert (message.header.frame_id, message.step) == ("camera", 21)
    np.testing.assert_array_equal(rgb_from_image(message), RGB)
    with pytest.raises(ShapeError, match=r"\(H, W, 3\) uint8"):
        conversions.image_message(RGB[..., 0], Header())


def cloud(points: int = 20, origin: tuple[float, float, float] = (0, 0, 0)) -> PointCloud:
    random = np.random.default_rng(points)
    return PointCloud(
        random.normal(size=(points, 3)).astype(np.float32),
        random.integers(0, 15, points).astype(np.uint8),
        random.random(points).astype(np.float32),
        np.array(origin, dtype=float),
    )


def test_cloud_round_trip() -> None:
    original = cloud(origin=(1000.0, -500.0, 3.0))
    message = conversions.cloud_message(original, Header(frame_id="map"))
    assert message.width == 20 and message.row_step == 20 * message.point_step
    back = cloud_from_pointcloud2(message)
    np.testing.assert_allclose(back.xyz, original.xyz + original.origin, atol=1e-4)
    np.testing.assert_array_equal(back.label, original.label)
    np.testing.assert_array_equal(back.intensity, original.intensity)


def test_cloud_colours_are_the_palette() -> None:
    original = cloud()
    assert original.label is not None
    packed = pack_points(original)["rgb"].view(np.uint32)
    colours = np.stack([packed >> 16 & 255, packed >> 8 & 255, packed & 255], axis=1)
    np.testing.assert_array_equal(colours, PALETTE[original.label])


def test_a_cloud_is_dense_if_all_coordinates_are_finite() -> None:
    points = pack_points(cloud())
    assert conversions.points_message(points, Header()).is_dense
    points["intensity"][3] = np.nan
    assert conversions.points_message(points, Header()).is_dense
    points["y"][3] = np.nan
    assert not conversions.points_message(points, Header()).is_dense


def test_foreign_cloud_layouts() -> None:
    """Intensity named `i` as by kitti2bag, raw labels, NaN points, padded rows."""
    dtype = np.dtype({"names": ["x", "y", "z", "i", "label"], "itemsize": 32,
                      "formats": ["<f4", "<f4", "<f4", "<f4", "<u2"],
                      "offsets": [0, 4, 8, 16, 20]})  # fmt: skip
    points = np.zeros((2, 3), dtype)
    points["x"] = [[1, 2, np.nan], [4, 5, 6]]
    points["i"], points["label"] = 0.5, 252
    rows = np.pad(points.view(np.uint8).reshape(2, -1), ((0, 0), (0, 5)))
    message = PointCloud2(height=2, width=3, point_step=32, row_step=rows.shape[1],
                          fields=[PointField(**f) for f in point_fields(dtype)],
                          data=array.array("B", rows.tobytes()))  # fmt: skip
    assert point_dtype(message) == dtype
    read = cloud_from_pointcloud2(message, label_set="semantickitti")
    np.testing.assert_array_equal(read.xyz[:, 0], [1, 2, 4, 5, 6])
    np.testing.assert_array_equal(read.label, [9] * 5)
    np.testing.assert_array_equal(read.intensity, [0.5] * 5)


def test_a_map_in_doubles_keeps_its_precision() -> None:
    """Coordinates of UTM, which float32 rounds to half a metre."""
    utm = np.array([456_789.0, 5_412_345.0, 112.0])
    points = np.zeros(20, [("x", "<f8"), ("y", "<f8"), ("z", "<f8"), ("label", "<u4")])
    for axis, name in enumerate("xyz"):
        points[name] = utm[axis] + 0.07 * np.arange(20)
    points["label"] = 50
    message = conversions.points_message(points, Header())
    back = map_from_pointcloud2(message, "semantickitti", "label_set")
    expected = utm + 0.07 * np.arange(20)[:, None]
    np.testing.assert_allclose(back.xyz.astype(float) + back.origin, expected, atol=1e-4)
    assert back.label is not None and back.label.tolist() == [3] * 20
    with pytest.raises(ShapeError, match=r"ids 50, not all of which are joint .* set label_set to"):
        map_from_pointcloud2(message, "joint", "label_set")


def test_invalid_clouds() -> None:
    message = conversions.cloud_message(cloud(), Header())
    message.data = message.data[:-4]
    with pytest.raises(ShapeError, match="point cloud data"):
        cloud_from_pointcloud2(message)
    message = conversions.cloud_message(cloud(), Header())
    message.fields = message.fields[1:]
    with pytest.raises(ShapeError, match="x, y and z"):
        cloud_from_pointcloud2(message)


@settings(max_examples=30, deadline=None)
@given(rotvec=st.lists(st.floats(-3, 3), min_size=3, max_size=3),
       xyz=st.lists(st.floats(-1e4, 1e4), min_size=3, max_size=3))  # fmt: skip
def test_poses_round_trip(rotvec: list[float], xyz: list[float]) -> None:
    T = make_transform(Rotation.from_rotvec(rotvec).as_matrix(), np.array(xyz))
    np.testing.assert_allclose(
        conversions.pose_matrix(conversions.pose_message(T)), T, atol=1e-9, rtol=1e-12
    )
    body = conversions.body_from_optical(T)
    np.testing.assert_allclose(conversions.optical_from_body(body), T, atol=1e-9)


def test_body_axes_of_a_level_camera() -> None:
    T_map_camera = level_camera_pose(np.array([1.0, 2.0, 3.0]), 0.7)
    np.testing.assert_allclose(
        conversions.body_from_optical(T_map_camera),
        make_transform(rotation_z(0.7), np.array([1.0, 2.0, 3.0])),
        atol=1e-12,
    )


def test_pose_without_orientation() -> None:
    message = Pose()
    message.orientation.w = 0.0
    with pytest.raises(ShapeError, match="quaternion"):
        conversions.pose_matrix(message)


def test_stamp_of_serialized_messages() -> None:
    from rclpy.serialization import serialize_message

    message = CompressedImage()
    message.header.stamp.sec, message.header.stamp.nanosec = 1_700_000_000, 123_456_789
    raw = serialize_message(message)
    assert stamp_of_cdr(raw) == 1_700_000_000_123_456_789 == conversions.stamp_ns(message.header)


# --- compared with the real converters ---------------------------------------


def test_agrees_with_sensor_msgs_py(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sensor_msgs_py", reason="sensor_msgs_py is not installed")
    theirs = conversions.cloud_message(cloud(), Header())
    monkeypatch.setattr(conversions, "point_cloud2", None)
    assert conversions.cloud_message(cloud(), Header()) == theirs


def test_agrees_with_tf_transformations(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tf_transformations", reason="tf_transformations is not installed")
    T = make_transform(Rotation.from_rotvec([0.3, -1.0, 2.0]).as_matrix(), np.zeros(3))
    theirs = conversions.quaternion_xyzw(T)
    monkeypatch.setattr(conversions, "tf_transformations", None)
    ours = conversions.quaternion_xyzw(T)
    np.testing.assert_allclose(ours * np.sign(ours @ theirs), theirs, atol=1e-9)
