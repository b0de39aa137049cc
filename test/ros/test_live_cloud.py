"""A published map is written as it came: with its precision, and with ids that settings explain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2: source one, or install the rclpy wheels")

from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

from scmpr_ros.datasets.bags.options import BagReaderConfig
from scmpr_ros.lidar.cloud_files import CloudConfig, read_cloud
from scmpr_ros.pipeline.map_source import MapSourceConfig
from scmpr_ros.ros.conversions import points_message
from scmpr_ros.ros.live_cloud import LiveCloud
from scmpr_ros.ros.qos import LATCHED

UTM = np.array([456_789.0, 5_412_345.0, 112.0])


def street(label: int) -> np.ndarray:
    """A level street of 40 x 40 m with a wall, in doubles far from zero."""
    x, y = 40 * np.random.default_rng(0).random((2, 6000))
    z = np.where(y > 35, np.arange(len(x)) % 7, 0.0)
    points = np.zeros(len(x), [("x", "<f8"), ("y", "<f8"), ("z", "<f8"), ("label", "<u4")])
    for axis, values in enumerate((x, y, z)):
        points["xyz"[axis]] = values + UTM[axis]
    points["label"] = label
    return points


def received(graph, directory: Path, source: MapSourceConfig, message: PointCloud2, until) -> None:
    files: list[Path] = []
    live = LiveCloud(graph.node, directory, "map", source, files.append)
    try:
        graph.publisher(PointCloud2, live.topic, LATCHED).publish(message)
        graph.until(lambda: files or until(), "the cloud")
    finally:
        live.destroy()


@pytest.mark.parametrize(("file_set", "message_set", "label"), [
    ("kitti360", "", 11), ("semantickitti", "kitti360", 50), ("auto", "kitti360", 11),
    ("auto", "", 3), ("none", "", 50), ("auto", "none", 50),
])  # fmt: skip
def test_a_cloud_in_utm_with_labels(
    graph, tmp_path: Path, file_set: str, message_set: str, label: int
) -> None:
    points = street(label)
    source = MapSourceConfig(
        cloud=CloudConfig(label_set=file_set), bag=BagReaderConfig(label_set=message_set)
    )
    received(graph, tmp_path / "map", source, points_message(points, Header(frame_id="map")),
             lambda: False)  # fmt: skip
    cloud = read_cloud(tmp_path / "map_points.ply", file_set)
    ignored = "none" in (file_set, message_set)
    assert cloud.label is None if ignored else set(cloud.label.tolist()) == {3}
    np.testing.assert_allclose(cloud.xyz[:, 0] + cloud.origin[0], points["x"], atol=1e-3)


def test_labels_of_an_unknown_set_are_refused(graph, tmp_path: Path) -> None:
    logs = graph.logs(graph.node.get_name())
    expected = (
        "ids 50, not all of which are joint classes (0 to 14): set map_source.cloud.label_set"
    )
    message = points_message(street(50), Header(frame_id="map"))
    received(graph, tmp_path / "map", MapSourceConfig(), message, lambda: expected in logs())
    assert expected in logs()
