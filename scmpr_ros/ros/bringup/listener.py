"""Subscribes to topics and keeps what the checks need of their messages."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from scmpr_ros.ros.bringup.streams import Arrival, Endpoint, Stream
from scmpr_ros.ros.conversions import stamp_ns
from scmpr_ros.ros.qos import LATCHED

_BEST_EFFORT = QoSProfile(depth=50, reliability=ReliabilityPolicy.BEST_EFFORT)


class Listener:
    """Hears one topic, whatever its publishers' quality of service."""

    def __init__(
        self,
        node: Node,
        kind: type,
        topic: str,
        keep_all: bool = True,
        properties: Callable[[Any], tuple[Any, ...]] = lambda message: (),
    ) -> None:
        """Subscribe.

        keep_all: keep every message, not only the newest.
        properties: of a message, to be counted.
        """
        self._node, self._keep_all, self._properties = node, keep_all, properties
        name = node.resolve_topic_name(topic)
        package, _, _ = kind.__module__.partition(".")
        self.stream = Stream(name, f"{package}/msg/{kind.__name__}")
        node.create_subscription(kind, name, self._on_message, _BEST_EFFORT)
        if any(publisher.latched for publisher in publishers_of(node, name)):
            # volatile subscriptions miss what was published before
            node.create_subscription(kind, name, self._on_latched_message, LATCHED)

    def finish(self) -> Stream:
        """Note who publishes, and return what was heard."""
        self.stream.publishers = publishers_of(self._node, self.stream.topic)
        return self.stream

    def _on_latched_message(self, message: Any) -> None:
        """Take the one message from before; later ones come to the other subscription, too."""
        if not self.stream.messages:
            self._on_message(message)

    def _on_message(self, message: Any) -> None:
        now_ns = self._node.get_clock().now().nanoseconds
        stamp = stamp_ns(message.header) if hasattr(message, "header") else 0
        self.stream.arrivals.append(Arrival(time.monotonic(), now_ns, stamp))
        if not self._keep_all:
            self.stream.messages.clear()
        self.stream.messages.append(message)
        properties = self._properties(message)
        self.stream.seen[properties] = self.stream.seen.pop(properties, 0) + 1


def publishers_of(node: Node, topic: str) -> Sequence[Endpoint]:
    """The publishers of a topic."""
    return [
        Endpoint(
            full_name(publisher.node_namespace, publisher.node_name),
            publisher.topic_type,
            publisher.qos_profile.reliability == ReliabilityPolicy.RELIABLE,
            publisher.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL,
        )
        for publisher in node.get_publishers_info_by_topic(topic)
    ]


def publisher_names(node: Node, topic: str) -> dict[bytes, str]:
    """Nodes of the publishers of a topic, by the id that comes with their messages."""
    return {
        bytes(publisher.endpoint_gid): full_name(publisher.node_namespace, publisher.node_name)
        for publisher in node.get_publishers_info_by_topic(topic)
    }


def full_name(namespace: str, name: str) -> str:
    """Fully qualified name of a node."""
    return f"{namespace.rstrip('/')}/{name}"
