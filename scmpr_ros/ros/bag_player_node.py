"""`play_bag`: play a bag, for systems without `ros2 bag play` and for `make demo`.

Messages go from the file to DDS without being decoded.
"""

from __future__ import annotations

import importlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rclpy
from builtin_interfaces.msg import Time
from rclpy.duration import Duration
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock

from scmpr_ros.datasets.bags.storage import Bag, Topic
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.ros.parameters import NodeParameters
from scmpr_ros.ros.process import run
from scmpr_ros.ros.qos import latched

_LATCHED_TYPES = ("sensor_msgs/msg/CameraInfo",)


@dataclass(frozen=True)
class BagPlayerConfig:
    """Parameters of the player."""

    bag: str = ""
    """Directory of a rosbag2, or a file: .mcap, .db3 or .bag (ROS 1)."""
    topics: tuple[str, ...] = ()
    """Topics to play, as named in the bag; empty: all."""
    rate: float = 1.0
    """Speed factor; 2.0 plays twice as fast as recorded."""
    loop: bool = False
    """Repeat until the process is stopped."""
    clock_hz: float = 0.0
    """Rate of /clock, which carries the recording's time; 0: do not publish it."""
    wait_topic: str = ""
    """Topic of the bag that must have subscribers before playing starts; empty: do not wait."""
    wait_subscribers: int = 1
    """Number of subscribers that wait_topic must have."""
    wait_timeout_s: float = 60.0
    """Give up if the subscribers are missing after this long."""

    def __post_init__(self) -> None:
        if not self.rate > 0:
            raise ConfigError(f"rate must be positive, got {self.rate}")
        if self.clock_hz < 0:
            raise ConfigError(f"clock_hz must not be negative, got {self.clock_hz}")


class BagPlayerNode(Node):
    """Publishes the messages of a bag, once or in a loop."""

    def __init__(self) -> None:
        """Declare parameters; raises ConfigError for invalid ones."""
        super().__init__("play_bag", automatically_declare_parameters_from_overrides=True)
        self.config = NodeParameters(self, BagPlayerConfig).read()
        if not self.config.bag:
            raise ConfigError("parameter 'bag' is empty: name a bag")
        self.count = 0
        self._topic_publishers: dict[str, Publisher[Any]] = {}
        self._spinner = SingleThreadedExecutor()
        self._spinner.add_node(self)
        self._clock_publisher = (
            self.create_publisher(Clock, "/clock", 10) if self.config.clock_hz else None
        )

    def play(self) -> None:
        """Play to the end; raises DatasetError if the bag or a topic cannot be played."""
        bag = Bag(Path(self.config.bag))
        names = [topic.name for topic in self._chosen(bag) if self._advertise(topic)]
        if not names:
            raise DatasetError(f"{self.config.bag}: nothing to play")
        self._wait_for_subscribers()
        began_s = time.monotonic()
        self._play_once(bag, names)
        while self.config.loop:
            self._play_once(bag, names)
        for publisher in self._topic_publishers.values():
            publisher.wait_for_all_acked(Duration(seconds=10))
        self.get_logger().info(
            f"played {self.count} messages of {len(names)} topics in "
            f"{time.monotonic() - began_s:.1f} s"
        )

    def _chosen(self, bag: Bag) -> list[Topic]:
        if not self.config.topics:
            return list(bag.topics.values())
        return [bag.topic(name) for name in self.config.topics]

    def _advertise(self, topic: Topic) -> bool:
        """Create a topic's publisher; warns and returns False if its messages cannot be sent."""
        package, _, name = topic.kind.partition("/msg/")
        try:
            kind = getattr(importlib.import_module(f"{package}.msg"), name)
        except (ImportError, AttributeError):
            self.get_logger().warning(
                f"skipping {topic.name}: message type {topic.kind} is not installed"
            )
            return False
        is_latched = topic.latched or topic.kind in _LATCHED_TYPES
        self._topic_publishers[topic.name] = self.create_publisher(
            kind, topic.name, latched(10) if is_latched else QoSProfile(depth=10)
        )
        return True

    def _wait_for_subscribers(self) -> None:
        topic, wanted = self.config.wait_topic, self.config.wait_subscribers
        if not topic:
            return
        if topic not in self._topic_publishers:
            raise ConfigError(
                f"parameter 'wait_topic': {topic} is not played; the played topics are "
                f"{', '.join(self._topic_publishers)}"
            )
        publisher = self._topic_publishers[topic]
        self.get_logger().info(f"waiting for {wanted} subscribers of {publisher.topic_name}")
        give_up_s = time.monotonic() + self.config.wait_timeout_s
        while publisher.get_subscription_count() < wanted:
            if time.monotonic() > give_up_s:
                raise DatasetError(
                    f"{publisher.topic_name} has {publisher.get_subscription_count()} of {wanted} "
                    f"subscribers after {self.config.wait_timeout_s:g} s: is the localizer active?"
                )
            self._serve(0.05)

    def _play_once(self, bag: Bag, names: list[str]) -> None:
        began_s, start_ns = time.monotonic(), bag.start_ns
        tick_s = 1.0 / self.config.clock_hz if self._clock_publisher is not None else float("inf")
        next_tick_s = began_s
        for name, log_ns, raw in bag.raw(names):
            due_s = began_s + (log_ns - start_ns) / 1e9 / self.config.rate
            while self._clock_publisher is not None and next_tick_s <= due_s:
                self._sleep_until(next_tick_s)
                passed_ns = int((next_tick_s - began_s) * self.config.rate * 1e9)
                self._clock_publisher.publish(Clock(clock=_time(start_ns + passed_ns)))
                next_tick_s += tick_s
            self._sleep_until(due_s)
            self._topic_publishers[name].publish(raw)
            self.count += 1

    def _sleep_until(self, due_s: float) -> None:
        while (left_s := due_s - time.monotonic()) > 0:
            self._serve(left_s)
        if not rclpy.ok():
            raise ExternalShutdownException

    def _serve(self, timeout_s: float) -> None:
        """Serve one callback, such as a parameter request, or wait."""
        self._spinner.spin_once(timeout_sec=timeout_s)
        if not rclpy.ok():
            raise ExternalShutdownException


def _time(ns: int) -> Time:
    return Time(sec=ns // 1_000_000_000, nanosec=ns % 1_000_000_000)


def main() -> int:
    """Run the node; see `commands.play_bag`."""

    def play() -> int:
        BagPlayerNode().play()
        return 0

    return run(play)
