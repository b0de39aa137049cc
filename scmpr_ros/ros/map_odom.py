"""Broadcast the map -> odom transform of REP-105, if configured. Needs tf2_ros."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from geometry_msgs.msg import Quaternion, TransformStamped, Vector3
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.time import Time
from std_msgs.msg import Header

from scmpr_ros.datasets.ros_messages import pose_matrix
from scmpr_ros.errors import ConfigError
from scmpr_ros.geometry import invert
from scmpr_ros.ros.conversions import quaternion_xyzw


class MapOdomBroadcaster:
    """Broadcasts map -> odom such that map -> odom -> base is the pose of the base."""

    def __init__(self, node: Node, map_frame: str, odom_frame: str, base_frame: str) -> None:
        """Subscribe to TF; raises ConfigError if tf2_ros is not installed: it has no substitute."""
        try:
            self._tf2 = importlib.import_module("tf2_ros")
            TFMessage = importlib.import_module("tf2_msgs.msg").TFMessage
        except ImportError:
            raise ConfigError(
                "broadcast_tf needs tf2_ros, which is not installed: install the ROS 2 package "
                "tf2_ros_py, or switch broadcast_tf off and use the pose topic"
            ) from None
        self._node, self._message_type = node, TFMessage
        self._map_frame, self._odom_frame, self._base_frame = map_frame, odom_frame, base_frame
        self._buffer: Any = self._tf2.Buffer()
        self._listener: Any = self._tf2.TransformListener(self._buffer, node)
        # Not tf2_ros.TransformBroadcaster: it keeps its publisher for the life of the node.
        self._publisher = node.create_publisher(TFMessage, "/tf", 100)

    def send(self, T_map_base: NDArray[np.floating], header: Header) -> None:
        """Broadcast for the base's pose at the header's stamp; without odometry, only warn.

        A failed look-up must never become an identity: the robot would jump.
        """
        try:
            odom_base = self._buffer.lookup_transform(
                self._odom_frame, self._base_frame, Time.from_msg(header.stamp)
            )
        except self._tf2.TransformException as error:
            self._node.get_logger().warning(
                f"no {self._map_frame} -> {self._odom_frame} broadcast: {error}",
                throttle_duration_sec=5.0,
            )
            return
        T_map_odom = T_map_base @ invert(pose_matrix(odom_base.transform))
        message = TransformStamped(header=header, child_frame_id=self._odom_frame)
        x, y, z = (float(v) for v in T_map_odom[:3, 3])
        qx, qy, qz, qw = (float(v) for v in quaternion_xyzw(T_map_odom))
        message.transform.translation = Vector3(x=x, y=y, z=z)
        message.transform.rotation = Quaternion(x=qx, y=qy, z=qz, w=qw)
        self._publisher.publish(self._message_type(transforms=[message]))

    def destroy(self) -> None:
        """Leave /tf and /tf_static; the node keeps no subscription or publisher of this object."""
        self._listener.unregister()
        self._node.destroy_publisher(self._publisher)
        self._listener = self._buffer = None
