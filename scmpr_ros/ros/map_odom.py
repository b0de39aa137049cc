"""Broadcast the map -> odom transform of REP-105 as AMCL does. Needs tf2_ros."""

from __future__ import annotations

import importlib
import threading
from typing import Any

import numpy as np
from geometry_msgs.msg import Quaternion, TransformStamped, Vector3
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.time import Time
from std_msgs.msg import Header

from scmpr_ros.errors import ScmprError
from scmpr_ros.geometry import invert
from scmpr_ros.pipeline.states import LOCALIZED, LOST
from scmpr_ros.ros.conversions import quaternion_xyzw
from scmpr_ros.ros.localizer_config import LocalizerNodeConfig
from scmpr_ros.ros.transforms import TransformReader

_NS = 1_000_000_000
_RESTART_NS = _NS  # transforms go back in time only with a new recording


class MapOdomBroadcaster:
    """Broadcasts map -> odom such that map -> odom -> base is the pose of the base.

    The transform is that of the last LOCALIZED image. It is post-dated by `transform_tolerance_s`
    and sent again at `transform_rate_hz`, as long as the state is LOCALIZED or TENTATIVE: then the
    odometry carries the robot on. LOST ends it.
    """

    def __init__(
        self, node: Node, config: LocalizerNodeConfig, transforms: TransformReader
    ) -> None:
        """Create the publisher and the timer."""
        self._node, self._config, self._transforms = node, config, transforms
        self._message_type = importlib.import_module("tf2_msgs.msg").TFMessage
        # Not tf2_ros.TransformBroadcaster: it keeps its publisher for the life of the node.
        self._publisher = node.create_publisher(self._message_type, "/tf", 100)
        self._timer = node.create_timer(1.0 / config.transform_rate_hz, self._send_again)
        self._lock = threading.Lock()
        self._T_map_odom: NDArray[np.float64] | None = None
        self._image_ns = self._taken_ns = self._sent_ns = 0

    def compute(
        self, T_map_base: NDArray[np.floating], stamp_ns: int
    ) -> NDArray[np.float64] | None:
        """Return `T_map_odom` (4, 4) for the base's pose (4, 4) at a stamp; None without odometry.

        Waits `odometry.timeout_s` for a transform that is late: call it from the worker. A failed
        look-up must never become an identity: the robot would jump.
        """
        config = self._config
        try:
            T_odom_base = self._transforms.lookup(
                config.odom_frame, config.base_frame, stamp_ns, config.odometry.timeout_s
            )
        except ScmprError as error:
            self._node.get_logger().warning(
                f"{config.map_frame} -> {config.odom_frame} is not updated: {error}",
                throttle_duration_sec=5.0,
            )
            return None
        return T_map_base @ invert(T_odom_base)

    def take(self, state: str, T_map_odom: NDArray[np.float64] | None, stamp_ns: int) -> None:
        """Send the transform (4, 4) of an image if it is LOCALIZED; stop if the state is LOST.

        T_map_odom: see `compute`; with None the one before stays.
        """
        with self._lock:
            if state == LOST:
                self._T_map_odom = None
            elif state == LOCALIZED and T_map_odom is not None:
                self._T_map_odom, self._image_ns = T_map_odom, stamp_ns
                self._taken_ns = self._now_ns()
                self._send()

    def stop(self) -> None:
        """Send nothing until the next LOCALIZED image."""
        self.take(LOST, None, 0)

    def use(self, config: LocalizerNodeConfig) -> None:
        """Take parameters that may change while the node runs."""
        self._config = config

    def destroy(self) -> None:
        """Destroy publisher and timer."""
        self._node.destroy_timer(self._timer)
        self._node.destroy_publisher(self._publisher)

    def _send_again(self) -> None:
        with self._lock:
            self._send()

    def _send(self) -> None:
        """Send the transform, valid a while beyond the present, which the image's stamp gives.

        The node's clock only measures how long ago the image was: bags are played without
        /clock, too. Stamps increase: a listener would drop a repeated one with a warning.
        """
        if self._T_map_odom is None:
            return
        elapsed_ns = max(0, self._now_ns() - self._taken_ns)
        stamp = self._image_ns + elapsed_ns + int(self._config.transform_tolerance_s * _NS)
        if self._sent_ns - _RESTART_NS < stamp <= self._sent_ns:
            stamp = self._sent_ns + 1
        self._sent_ns = stamp
        self._publisher.publish(self._message(self._T_map_odom, stamp))

    def _message(self, T_map_odom: NDArray[np.float64], stamp: int) -> Any:
        config = self._config
        header = Header(stamp=Time(nanoseconds=stamp).to_msg(), frame_id=config.map_frame)
        message = TransformStamped(header=header, child_frame_id=config.odom_frame)
        x, y, z = (float(v) for v in T_map_odom[:3, 3])
        qx, qy, qz, qw = (float(v) for v in quaternion_xyzw(T_map_odom))
        message.transform.translation = Vector3(x=x, y=y, z=z)
        message.transform.rotation = Quaternion(x=qx, y=qy, z=qz, w=qw)
        return self._message_type(transforms=[message])

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)
