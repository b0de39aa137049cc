"""`record_answers`: record the answers of a localizer, to be scored later.

One JSON object per line and answer, in the order of the answers:

    stamp_ns        header stamp of the image and of the pose
    T_map_camera    4x4, optical frame; correct if the localizer's mount is left at its default
    candidates      list of 4x4 `T_map_camera`, best first; null if they did not arrive
    confidence      of the best candidate; null if it did not arrive
    latency_s       from the receipt of the image to the receipt of the pose, in this process

The file is written when the recorder ends: after `count` answers, `idle_timeout_s` after the last
message, or on a signal.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rclpy
from geometry_msgs.msg import Pose, PoseArray, PoseWithCovarianceStamped
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Float32

from scmpr_ros.atomic_files import write_file
from scmpr_ros.datasets.ros_messages import stamp_of_cdr
from scmpr_ros.errors import ConfigError
from scmpr_ros.ros.conversions import optical_from_body, pose_matrix, stamp_ns
from scmpr_ros.ros.parameters import NodeParameters
from scmpr_ros.ros.process import run
from scmpr_ros.ros.qos import image_qos


@dataclass(frozen=True)
class AnswerRecorderConfig:
    """Parameters of the recorder."""

    output: str = ""
    """File (JSON lines) to write."""
    count: int = 0
    """End after this many answers; 0: no limit."""
    first_timeout_s: float = 300.0
    """End if no message has arrived after this long."""
    idle_timeout_s: float = 30.0
    """End this long after the last image or answer."""

    def __post_init__(self) -> None:
        if self.count < 0 or self.idle_timeout_s <= 0 or self.first_timeout_s <= 0:
            raise ConfigError("count must not be negative, timeouts must be positive")


class AnswerRecorderNode(Node):
    """Collects poses, candidates, confidences and latencies."""

    def __init__(self) -> None:
        """Declare parameters and subscribe; raises ConfigError for invalid parameters."""
        super().__init__("record_answers", automatically_declare_parameters_from_overrides=True)
        self.config = NodeParameters(self, AnswerRecorderConfig).read()
        if not self.config.output:
            raise ConfigError("parameter 'output' is empty: name the file to write")
        self._received_s: dict[int, float] = {}
        self._answers: dict[int, dict[str, Any]] = {}
        self._candidates: dict[int, list[Any]] = {}
        self._confidences: list[float] = []
        self._last_message_s: float | None = None
        deep = QoSProfile(depth=1000)
        self.create_subscription(PoseArray, "localizer/candidates", self._on_candidates, deep)
        self.create_subscription(Float32, "localizer/confidence", self._on_confidence, deep)
        self.create_subscription(PoseWithCovarianceStamped, "localizer/pose", self._on_pose, deep)

    def record(self) -> int:
        """Spin until the end, write the file, and return the number of answers."""
        began_s = time.monotonic()
        try:
            self._wait_for_localizer(began_s)
            self._subscribe_to_images()
            while not self._is_over(began_s):
                rclpy.spin_once(self, timeout_sec=0.1)
                if not rclpy.ok():
                    break
        except (KeyboardInterrupt, ExternalShutdownException):
            pass
        self._write()
        return len(self._answers)

    def _wait_for_localizer(self, began_s: float) -> None:
        """Spin until the localizer publishes poses, or time is up.

        A player waits for subscribers of the images. Subscribing to them before the poses are
        connected would start it too early: the first answer takes only milliseconds.
        """
        topic = self.resolve_topic_name("localizer/pose")
        while self.count_publishers(topic) == 0 and rclpy.ok():
            if time.monotonic() - began_s > self.config.first_timeout_s:
                return
            rclpy.spin_once(self, timeout_sec=0.02)

    def _subscribe_to_images(self) -> None:
        """Note when images arrive; only the stamp is read, nothing is decoded."""
        image, qos = self.resolve_topic_name("image"), image_qos(queue_size=100, reliable=False)
        for kind, topic in ((Image, image), (CompressedImage, f"{image}/compressed")):
            self.create_subscription(kind, topic, self._on_image, qos, raw=True)

    def _is_over(self, began_s: float) -> bool:
        now_s = time.monotonic()
        if self._last_message_s is None:
            return now_s - began_s > self.config.first_timeout_s
        complete = self.config.count and len(self._answers) >= self.config.count
        # the last pose may overtake its candidates and confidence, which are on other topics
        paired = len(self._confidences) >= len(self._answers) <= len(self._candidates)
        limit_s = self.config.idle_timeout_s if not complete else 0.0 if paired else 2.0
        return now_s - self._last_message_s > limit_s

    def _note_message(self) -> float:
        self._last_message_s = time.monotonic()
        return self._last_message_s

    def _on_image(self, raw: bytes) -> None:
        self._received_s.setdefault(stamp_of_cdr(raw), self._note_message())

    def _on_pose(self, message: PoseWithCovarianceStamped) -> None:
        stamp, now_s = stamp_ns(message.header), self._note_message()
        image_s = self._received_s.get(stamp)
        self._answers[stamp] = {
            "stamp_ns": stamp,
            "T_map_camera": _optical(message.pose.pose),
            "latency_s": None if image_s is None else now_s - image_s,
        }

    def _on_candidates(self, message: PoseArray) -> None:
        self._note_message()
        self._candidates[stamp_ns(message.header)] = [_optical(pose) for pose in message.poses]

    def _on_confidence(self, message: Float32) -> None:
        self._note_message()
        self._confidences.append(float(message.data))

    def _write(self) -> None:
        """Write the answers. Confidences carry no stamp: the n-th belongs to the n-th answer."""
        paired = len(self._confidences) == len(self._answers)
        lines = []
        for index, (stamp, answer) in enumerate(self._answers.items()):
            answer["candidates"] = self._candidates.get(stamp)
            answer["confidence"] = self._confidences[index] if paired else None
            lines.append(json.dumps(answer) + "\n")
        write_file(Path(self.config.output), "".join(lines))


def _optical(pose: Pose) -> list[list[float]]:
    return optical_from_body(pose_matrix(pose)).tolist()


def main() -> int:
    """Run the node; see `commands.record_answers`."""

    def record() -> int:
        node = AnswerRecorderNode()
        count = node.record()
        print(f"{count} answers in {node.config.output}")
        return 0

    return run(record)
