"""Heartbeat for lifecycle managers that expect a bond, such as Nav2's.

A bond is a topic on which both sides publish that they are alive, ten times a second. The manager
watches the node; what the manager does is none of the node's business, so only that half is here.
"""

from __future__ import annotations

import importlib
import uuid
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from scmpr_ros.errors import ConfigError

_PERIOD_S = 0.1
_TIMEOUT_S = 4.0


class Heartbeat:
    """Publishes on the topic `bond` that a node is active, under the node's name."""

    def __init__(self, node: Node) -> None:
        """Start; raises ConfigError if the messages of the package `bond` are not installed."""
        try:
            self._message_type = importlib.import_module("bond.msg").Status
        except (ImportError, AttributeError):
            raise ConfigError(
                "parameter 'bond' needs the ROS 2 package bond, which is not installed: install "
                "ros-$ROS_DISTRO-bond, or set bond to false, and bond_timeout of the lifecycle "
                "manager to 0.0"
            ) from None
        self._node = node
        self._instance = str(uuid.uuid4())
        self._publisher = node.create_publisher(self._message_type, "bond", 10)
        # Of its own, and steady: neither a long callback nor a stopped clock is a death.
        self._timer = node.create_timer(
            _PERIOD_S, lambda: self._publish(True),
            callback_group=MutuallyExclusiveCallbackGroup(),
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )  # fmt: skip

    def stop(self) -> None:
        """Say that the node is no longer active, and stop."""
        self._node.destroy_timer(self._timer)
        self._publish(False)
        self._node.destroy_publisher(self._publisher)

    def _publish(self, active: bool) -> None:
        message: Any = self._message_type()
        message.header.stamp = self._node.get_clock().now().to_msg()
        message.id, message.instance_id = self._node.get_name(), self._instance
        message.active = active
        message.heartbeat_timeout, message.heartbeat_period = _TIMEOUT_S, _PERIOD_S
        self._publisher.publish(message)
