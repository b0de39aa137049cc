"""The map -> odom transform, with the real tf2_ros."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2: source one, or install the rclpy wheels")
pytest.importorskip("tf2_ros", reason="tf2_ros is not installed")

from geometry_msgs.msg import TransformStamped
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from scmpr_ros.datasets.ros_messages import pose_matrix
from scmpr_ros.geometry import make_transform, rotation_z
from scmpr_ros.ros.localizer_node import LocalizerNode
from scmpr_ros.ros.managed_node import SUCCESS
from scmpr_ros.ros.map_odom import MapOdomBroadcaster


def test_map_odom_base_is_the_pose(graph) -> None:
    broadcaster = MapOdomBroadcaster(graph.node, "map", "odom", "base_link")
    received = graph.collect(TFMessage, "/tf")
    odometry = graph.publisher(TFMessage, "/tf")
    header = Header(frame_id="map")
    header.stamp.sec = 5
    T_map_base = make_transform(rotation_z(0.7), np.array([10.0, 20.0, 1.0]))
    broadcaster.send(T_map_base, header)
    odom_base = TransformStamped(child_frame_id="base_link")
    odom_base.header.frame_id, odom_base.header.stamp.sec = "odom", 5
    odom_base.transform.translation.x, odom_base.transform.rotation.w = 3.0, 1.0
    graph.until(lambda: odometry.get_subscription_count() == 2, "the listener")
    odometry.publish(TFMessage(transforms=[odom_base]))
    graph.until(lambda: len(received) == 1, "odometry")
    graph.until(lambda: broadcaster._buffer.can_transform("odom", "base_link", header.stamp), "tf")
    broadcaster.send(T_map_base, header)
    graph.until(lambda: len(received) == 2, "the broadcast; there was none without odometry")
    (map_odom,) = received[1].transforms
    assert (map_odom.header.frame_id, map_odom.child_frame_id) == ("map", "odom")
    np.testing.assert_allclose(
        pose_matrix(map_odom.transform) @ pose_matrix(odom_base.transform), T_map_base, atol=1e-9
    )
    broadcaster.destroy()


def test_tf_is_left_with_the_configuration(make_node, street, street_map: Path) -> None:
    node = make_node(LocalizerNode, checkpoint=str(street.checkpoint), map=str(street_map),
                     autostart=False, broadcast_tf=True)  # fmt: skip
    for _ in range(3):
        assert node.trigger_configure() == SUCCESS
        assert node.count_subscribers("/tf") == node.count_publishers("/tf") == 1
        assert node.trigger_cleanup() == SUCCESS
        assert node.count_subscribers("/tf") == node.count_publishers("/tf") == 0
        assert node.count_subscribers("/tf_static") == 0
