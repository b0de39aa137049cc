"""The executor outlives what its callbacks destroy."""

from __future__ import annotations

import threading

import pytest

pytest.importorskip("rclpy", reason="no ROS 2: source one, or install the rclpy wheels")

import rclpy
from std_msgs.msg import String

from scmpr_ros.ros.executor import NodeExecutor


def test_subscriptions_may_be_destroyed_while_it_waits(ros_context: None) -> None:
    """With rclpy's own executor, `spin` mostly raises InvalidHandle within these rounds."""
    node, executor = rclpy.create_node("destroys"), NodeExecutor(num_threads=2)
    executor.add_node(node)
    for number in range(60):  # to wait for, which gives the destruction time to come between
        node.create_subscription(String, f"kept{number}", print, 1)
    failures: list[BaseException] = []
    is_over = threading.Event()

    def spin() -> None:
        try:
            while not is_over.is_set():
                executor.spin_once(timeout_sec=0.05)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=spin)
    thread.start()
    for _ in range(20):
        for made in [node.create_subscription(String, f"t{i}", print, 1) for i in range(20)]:
            node.destroy_subscription(made)
    is_over.set()
    thread.join()
    executor.shutdown()
    node.destroy_node()
    assert not failures
