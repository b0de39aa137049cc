"""The map -> odom transform, with the real tf2_ros."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from always_localized import ALWAYS_LOCALIZED

pytest.importorskip("rclpy", reason="no ROS 2: source one, or install the rclpy wheels")
pytest.importorskip("tf2_ros", reason="tf2_ros is not installed")

from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, Image
from tf2_msgs.msg import TFMessage

from scmpr_ros.geometry import make_transform, rotation_z
from scmpr_ros.pipeline.states import LOCALIZED, LOST, TENTATIVE
from scmpr_ros.ros.conversions import image_message, optical_from_body, pose_matrix, stamp_ns
from scmpr_ros.ros.localizer_config import LocalizerNodeConfig, OdometryConfig
from scmpr_ros.ros.localizer_node import LocalizerNode
from scmpr_ros.ros.managed_node import SUCCESS
from scmpr_ros.ros.map_odom import MapOdomBroadcaster
from scmpr_ros.ros.odometry import OdometryInput
from scmpr_ros.ros.qos import LATCHED

SECOND = 1_000_000_000
T_MAP_BASE = make_transform(rotation_z(0.7), np.array([10.0, 20.0, 1.0]))


def pose(x: float, yaw_rad: float = 0.0) -> np.ndarray:
    return make_transform(rotation_z(yaw_rad), np.array([x, 0.0, 0.0]))


def stamp_of(transform) -> int:
    return Time.from_msg(transform.header.stamp).nanoseconds


@pytest.fixture
def sent(graph):
    """Transforms map -> odom in the order of their arrival."""
    messages = graph.collect(TFMessage, "/tf")
    return lambda: [t for m in messages for t in m.transforms if t.child_frame_id == "odom"]


@pytest.fixture
def broadcaster(graph, robot_tf, sent):
    config = LocalizerNodeConfig(transform_tolerance_s=0.5, transform_rate_hz=50.0)
    broadcaster = MapOdomBroadcaster(graph.node, config, robot_tf.reader)
    topic = broadcaster._publisher
    graph.until(lambda: topic.get_subscription_count() == 2, "the listener and the test")
    yield broadcaster
    broadcaster.destroy()


def test_map_odom_base_is_the_pose_at_the_stamp(graph, robot_tf, broadcaster) -> None:
    for second, T in ((5, pose(3.0)), (6, pose(5.0, 0.4))):
        robot_tf.publish("odom", "base_link", T, second * SECOND)
    T_map_odom = broadcaster.compute(T_MAP_BASE, 5 * SECOND + SECOND // 2)
    np.testing.assert_allclose(T_map_odom @ pose(4.0, 0.2), T_MAP_BASE, atol=1e-9)


def test_without_odometry_there_is_none(robot_tf, broadcaster, capfd) -> None:
    assert broadcaster.compute(T_MAP_BASE, 5 * SECOND) is None
    robot_tf.publish("odom", "base_link", pose(3.0), 5 * SECOND)
    assert broadcaster.compute(T_MAP_BASE, 9 * SECOND) is None, "it stopped four seconds ago"
    assert capfd.readouterr().err.count("map -> odom is not updated: no transform odom") == 1


def test_is_post_dated_and_sent_again_until_lost(graph, sent, broadcaster) -> None:
    broadcaster.take(TENTATIVE, T_MAP_BASE, 5 * SECOND)
    broadcaster.take(LOCALIZED, None, 5 * SECOND)
    assert not sent(), "there is nothing to send yet"
    broadcaster.take(LOCALIZED, T_MAP_BASE, 5 * SECOND)
    broadcaster.take(TENTATIVE, pose(99.0), 6 * SECOND)
    graph.until(lambda: len(sent()) >= 4, "the transform, again and again")
    stamps = [stamp_of(t) for t in sent()]
    assert 0 <= stamps[0] - 5.5 * SECOND < SECOND and (np.diff(stamps) > 0).all()
    for transform in sent():
        assert transform.header.frame_id == "map"
        np.testing.assert_allclose(pose_matrix(transform.transform), T_MAP_BASE, atol=1e-9)
    broadcaster.take(LOST, None, 7 * SECOND)
    count = len(sent())
    marker = graph.collect(TFMessage, "/marker")
    markers = graph.publisher(TFMessage, "/marker")
    graph.node.create_timer(0.1, lambda: markers.publish(TFMessage()))
    graph.until(lambda: len(marker) >= 3, "the time in which more would come")
    assert len(sent()) <= count + 1, "one may have been on its way"


def test_stamps_go_back_only_with_a_new_recording(graph, sent, broadcaster) -> None:
    for second in (5.0, 4.9, 2.0):
        broadcaster.take(LOCALIZED, T_MAP_BASE, int(second * SECOND))
    graph.until(lambda: len(sent()) >= 3, "the transforms")
    first, second, third = [stamp_of(t) for t in sent()[:3]]
    assert second > first > third + SECOND


def test_odometry_from_tf(graph, robot_tf) -> None:
    config = LocalizerNodeConfig(odometry=OdometryConfig(source="auto", timeout_s=0.05))
    odometry = OdometryInput(graph.node, config, robot_tf.reader)
    assert odometry.pose_at(5 * SECOND) is None and odometry.description.startswith("none")
    for second, T in ((5, pose(3.0)), (6, pose(5.0))):
        robot_tf.publish("odom", "base_link", T, second * SECOND)
    np.testing.assert_allclose(odometry.pose_at(5 * SECOND + SECOND // 2), pose(4.0), atol=1e-9)
    assert odometry.description == "TF odom -> base_link"
    assert odometry.pose_at(6 * SECOND + SECOND // 10) is None, "it is late"
    robot_tf.publish("odom", "base_link", pose(500.0), 7 * SECOND)
    assert odometry.pose_at(7 * SECOND) is None, "no motion over a jump"
    np.testing.assert_allclose(odometry.pose_at(7 * SECOND), pose(500.0), atol=1e-9)
    odometry.destroy()


def test_tf_is_left_with_the_configuration(make_node, street, street_map: Path) -> None:
    node = make_node(LocalizerNode, checkpoint=str(street.checkpoint), map=str(street_map),
                     autostart=False, broadcast_tf=True)  # fmt: skip
    for _ in range(3):
        assert node.trigger_configure() == SUCCESS
        assert node.count_subscribers("/tf") == node.count_publishers("/tf") == 1
        assert node.trigger_cleanup() == SUCCESS
        assert node.count_subscribers("/tf") == node.count_publishers("/tf") == 0
        assert node.count_subscribers("/tf_static") == 0


def test_the_node_with_a_robot_in_tf(
    run_node, graph, robot_tf, sent, street, street_map: Path, street_image, street_info
) -> None:
    """Mount, odometry and map -> odom all by TF; the transform chain ends at the pose."""
    run_node(LocalizerNode, "/by_tf", checkpoint=str(street.checkpoint), map=str(street_map),
             broadcast_tf=True, **{"odometry.timeout_s": 5.0}, **ALWAYS_LOCALIZED)  # fmt: skip
    T_base_camera = optical_from_body(pose(1.0) @ make_transform(np.eye(3), np.array([0, 0, 1.5])))
    poses = graph.collect(PoseWithCovarianceStamped, "/by_tf/localizer/pose")
    images = graph.publisher(Image, "/by_tf/image")
    infos = graph.publisher(CameraInfo, "/by_tf/camera_info", LATCHED)
    diagnostics = graph.diagnostics("/by_tf/localizer")
    infos.publish(street_info)
    graph.until(images.get_subscription_count, "the localizer")
    robot_tf.publish_static("base_link", "camera", T_base_camera)
    T_odom_base = pose(3.0, 0.2)
    for _ in range(3):
        pixels, header = street_image()
        robot_tf.publish("odom", "base_link", T_odom_base, stamp_ns(header))
        images.publish(image_message(pixels, header))
        graph.until(lambda h=header: any(p.header.stamp == h.stamp for p in poses), "the pose")
    T_map_base = pose_matrix(poses[-1].pose.pose)

    def ends_at_the_pose() -> bool:
        return any(
            np.allclose(pose_matrix(t.transform) @ T_odom_base, T_map_base, atol=1e-6)
            for t in sent()
        )

    graph.until(ends_at_the_pose, "map -> odom -> base_link")
    graph.until(lambda: diagnostics() and len(diagnostics().values) > 5, "diagnostics")
    values = {v.key: v.value for v in diagnostics().values}
    assert values["camera mount"] == "TF base_link -> camera"
    assert values["odometry"] == "TF odom -> base_link"
