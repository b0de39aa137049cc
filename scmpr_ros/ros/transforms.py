"""Read TF, with a timeout. Needs tf2_ros, which has no substitute."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from geometry_msgs.msg import TransformStamped
from numpy.typing import NDArray
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time

from scmpr_ros.datasets.ros_poses import pose_matrix
from scmpr_ros.errors import ConfigError, ScmprError

_STOPPED_NS = 1_000_000_000
"""Nothing is waited for that is this far behind: its publisher has stopped."""


class TransformError(ScmprError):
    """TF does not have the transform that was asked for."""


class TransformReader:
    """The transforms of a robot. `lookup` may block: call it from the worker."""

    def __init__(self, node: Node, purpose: str) -> None:
        """Subscribe to TF. purpose: the parameter that asks for it, for the error message.

        Raises ConfigError if tf2_ros is not installed.
        """
        try:
            self._tf2 = importlib.import_module("tf2_ros")
        except ImportError:
            raise ConfigError(
                f"{purpose} needs tf2_ros, which is not installed: install the ROS 2 package "
                f"tf2_ros_py, or set {purpose} otherwise"
            ) from None
        self._buffer: Any = self._tf2.Buffer()
        self._listener: Any = self._tf2.TransformListener(self._buffer, node)

    @classmethod
    def if_installed(cls, node: Node) -> TransformReader | None:
        """Subscribe to TF if tf2_ros is installed."""
        try:
            return cls(node, "")
        except ConfigError:
            return None

    def lookup(
        self, target: str, source: str, stamp_ns: int = 0, timeout_s: float = 0.0
    ) -> NDArray[np.float64]:
        """Return `T_target_source` (4, 4).

        stamp_ns: when; 0 for the latest. timeout_s: how long to wait for a transform that is late;
            one that never came, or whose publisher has stopped, is not waited for.

        Raises TransformError, and ShapeError for a rotation that is none.
        """
        when = Time(nanoseconds=stamp_ns)
        try:
            if timeout_s > 0 and self._is_late(target, source, stamp_ns):
                self._buffer.can_transform(target, source, when, Duration(seconds=timeout_s))
            message = self._buffer.lookup_transform(target, source, when)
        except self._tf2.TransformException as error:
            raise TransformError(f"no transform {target} -> {source} in TF: {error}") from None
        return pose_matrix(message.transform)

    def clear(self) -> None:
        """Forget everything but static transforms: time has gone back."""
        self._buffer.clear()

    def destroy(self) -> None:
        """Leave /tf and /tf_static; the node keeps no subscription of this object."""
        self._listener.unregister()
        self._listener = None

    def _is_late(self, target: str, source: str, stamp_ns: int) -> bool:
        """Whether the transform exists, but not yet at that time."""
        newest = self._buffer.get_latest_common_time(target, source).nanoseconds
        return 0 < newest < stamp_ns < newest + _STOPPED_NS


class StaticFrames:
    """Publishes static transforms of frames that only differ in position."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._broadcaster: Any = None

    def publish(self, parent: str, child: str, position: NDArray[np.float64]) -> None:
        """Place the frame `child` at a position (3,) of its parent.

        Without tf2_ros, log what would have to be published.
        """
        message = TransformStamped()
        message.header.stamp = self._node.get_clock().now().to_msg()
        message.header.frame_id, message.child_frame_id = parent, child
        translation = message.transform.translation
        translation.x, translation.y, translation.z = (float(value) for value in position)
        message.transform.rotation.w = 1.0
        if self._broadcaster is None:
            try:
                tf2 = importlib.import_module("tf2_ros")
            except ImportError:
                self._node.get_logger().warning(
                    f"tf2_ros is not installed: publish the static transform {parent} -> {child} "
                    f"with translation {position.tolist()} yourself"
                )
                return
            self._broadcaster = tf2.StaticTransformBroadcaster(self._node)
        self._broadcaster.sendTransform(message)
