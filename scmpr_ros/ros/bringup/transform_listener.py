"""Collects the transforms of /tf and /tf_static, with the nodes that publish them."""

from __future__ import annotations

import importlib
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile

from scmpr_ros.ros.bringup.listener import publisher_names
from scmpr_ros.ros.bringup.transform_checks import TransformTree
from scmpr_ros.ros.qos import latched


def listen_to_transforms(node: Node) -> TransformTree | None:
    """Subscribe to TF; the tree grows while the node is spun. None without tf2_msgs."""
    try:
        TFMessage = importlib.import_module("tf2_msgs.msg").TFMessage
    except ImportError:
        return None
    tree = TransformTree()
    publishers: dict[str, dict[bytes, str]] = {"/tf": {}, "/tf_static": {}}

    def take(message: Any, info: Any, topic: str) -> None:
        now_ns = node.get_clock().now().nanoseconds
        sender = _sender(node, info, topic, publishers[topic])
        for transform in message.transforms:
            tree.add(transform, sender, topic == "/tf_static", now_ns)

    def on_moving(message: Any, info: Any) -> None:
        take(message, info, "/tf")

    def on_static(message: Any, info: Any) -> None:
        take(message, info, "/tf_static")

    node.create_subscription(TFMessage, "/tf", on_moving, QoSProfile(depth=200))
    node.create_subscription(TFMessage, "/tf_static", on_static, latched(200))
    return tree


def _sender(node: Node, info: Any, topic: str, known: dict[bytes, str]) -> str:
    """Node that sent a message; all publishers of the topic where rclpy does not give its id."""
    gid = (info.get("publisher_gid") or {}).get("data") if info else None
    if gid is None:
        return ", ".join(sorted(set(publisher_names(node, topic).values())))
    if gid not in known:
        known.update(publisher_names(node, topic))
    return known.get(bytes(gid), "an unknown node")
