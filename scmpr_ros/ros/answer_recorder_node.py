"""`record_answers`: record the answers of a localizer, to be scored later.

One JSON object per line and answer, in the order of the answers:

    stamp_ns        header stamp of the image and of the pose
    T_map_camera    4x4, optical frame, from ~/candidates: ~/pose is that of the base
    covariance      6x6 of it
    latency_s       from the receipt of the image to the receipt of the pose, in this process
    state, near_probability, off_map_probability
                    of the tracked pose; null if ~/status did not arrive
    candidates      list of 4x4 `T_map_camera` of the image alone, best first; null likewise
    confidence      of the best candidate; null likewise

An answer without ~/candidates is left out, with a message. The file is written when the recorder
ends: after `count` answers, `idle_timeout_s` after the last message, or on a signal.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped
from numpy.typing import NDArray
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage, Image

from scmpr_ros.atomic_files import write_file
from scmpr_ros.datasets.ros_headers import stamp_of_cdr
from scmpr_ros.errors import ConfigError
from scmpr_ros.geometry import camera_pose_on_ground, shift_covariance
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
    """Collects poses, what is known of them, and latencies."""

    def __init__(self) -> None:
        """Declare parameters and subscribe; raises ConfigError for invalid parameters."""
        super().__init__("record_answers", automatically_declare_parameters_from_overrides=True)
        self.config = NodeParameters(self, AnswerRecorderConfig).read()
        if not self.config.output:
            raise ConfigError("parameter 'output' is empty: name the file to write")
        self._received_s: dict[int, float] = {}
        self._answers: dict[int, dict[str, Any]] = {}
        self._statuses: dict[int, dict[str, str]] = {}
        self._T_map_camera: dict[int, NDArray[np.float64]] = {}
        self._last_message_s: float | None = None
        deep = QoSProfile(depth=1000)
        self.create_subscription(DiagnosticArray, "localizer/status", self._on_status, deep)
        self.create_subscription(PoseArray, "localizer/candidates", self._on_candidates, deep)
        self.create_subscription(PoseWithCovarianceStamped, "localizer/pose", self._on_pose, deep)

    def record(self) -> int:
        """Spin until the end, write the file, and return the number of answers in it."""
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
        return self._write()

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
        # the last pose may overtake its status and its candidates, which are on other topics
        paired = self._answers.keys() <= self._statuses.keys() & self._T_map_camera.keys()
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
            "base_position": pose_matrix(message.pose.pose)[:3, 3],
            "base_covariance": np.reshape(message.pose.covariance, (6, 6)),
            "latency_s": None if image_s is None else now_s - image_s,
        }

    def _on_candidates(self, message: PoseArray) -> None:
        self._note_message()
        T_map_body = pose_matrix(message.poses[0])  # that of the tracked pose, which is the best
        self._T_map_camera[stamp_ns(message.header)] = optical_from_body(T_map_body)

    def _on_status(self, message: DiagnosticArray) -> None:
        self._note_message()
        values = {pair.key: pair.value for status in message.status for pair in status.values}
        self._statuses[stamp_ns(message.header)] = values

    def _write(self) -> int:
        lines = []
        for stamp, answer in self._answers.items():
            T_map_camera = self._T_map_camera.get(stamp)
            if T_map_camera is not None:
                line = _of_camera(answer, T_map_camera) | _belief(self._statuses.get(stamp))
                lines.append(json.dumps(line) + "\n")
        write_file(Path(self.config.output), "".join(lines))
        if len(lines) < len(self._answers):
            missing = len(self._answers) - len(lines)
            self.get_logger().warning(f"{missing} answers came without ~/candidates: left out")
        return len(lines)


def _of_camera(answer: dict[str, Any], T_map_camera: NDArray[np.float64]) -> dict[str, Any]:
    """Return an answer about the base as one about its camera."""
    lever_arm = T_map_camera[:3, 3] - answer["base_position"]
    return {
        "stamp_ns": answer["stamp_ns"],
        "T_map_camera": T_map_camera.tolist(),
        "covariance": shift_covariance(answer["base_covariance"], lever_arm).tolist(),
        "latency_s": answer["latency_s"],
    }


def _belief(status: dict[str, str] | None) -> dict[str, Any]:
    """What a status says of an answer; see `match_messages.answer_status`."""
    keys = ("state", "near_probability", "off_map_probability", "candidates", "confidence")
    if status is None:
        return dict.fromkeys(keys)
    candidates = json.loads(status["image_candidates"])
    poses = [
        camera_pose_on_ground(np.array(c["position"]), np.eye(3), c["yaw_rad"], np.eye(3)).tolist()
        for c in candidates
    ]
    near, off_map = (float(status[key]) for key in keys[1:3])
    values = (status["state"], near, off_map, poses, candidates[0]["confidence"])
    return dict(zip(keys, values, strict=True))


def main() -> int:
    """Run the node; see `commands.record_answers`."""

    def record() -> int:
        node = AnswerRecorderNode()
        count = node.record()
        print(f"{count} answers in {node.config.output}")
        return 0

    return run(record)
