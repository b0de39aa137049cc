"""`soak_localizer`: drive a localizer with images, and measure its answers and its process.

The localizer must be active, with a map. The file that is written when all is done holds

    latencies_s     from the stamp of each image to the receipt of its pose; null without one
    uses, cycles    memory, threads and files of the process, at equal distances, and after cycles
    counts          images sent, and of them received, localized, dropped and failed, as the
                    localizer counts them
    overload        the same for images that come faster than they are answered
    cycle_s         duration of one lifecycle cycle
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from scmpr_ros.atomic_files import write_json
from scmpr_ros.errors import ConfigError, ScmprError
from scmpr_ros.evaluation.benchmark.soak import ProcessUse
from scmpr_ros.ros.conversions import image_message, stamp_ns
from scmpr_ros.ros.parameters import NodeParameters
from scmpr_ros.ros.process import run
from scmpr_ros.ros.qos import LATCHED

_SAMPLES = 200  # of the process in one run
_START_S, _PATIENCE_S = 240.0, 30.0
_CYCLE = (
    Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP,
    Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE,
)  # fmt: skip


@dataclass(frozen=True)
class SoakNodeConfig:
    """Parameters of the soak test's driver."""

    output: str = ""
    """File (JSON) to write."""
    pid: int = 0
    """Of the localizer's process, on this machine."""
    localizer: str = "localizer"
    """Name of the localizer."""
    images: int = 1000
    """Published at `rate_hz`."""
    rate_hz: float = 10.0
    overload: float = 3.0
    """Multiple of the rate that the localizer can take."""
    overload_images: int = 200
    """Published at that multiple."""
    lifecycle: int = 0
    """Cycles of deactivate, clean up, configure, activate and one image."""
    height: int = 376
    width: int = 1241

    def __post_init__(self) -> None:
        if min(self.images, self.overload_images, self.lifecycle) < 0:
            raise ConfigError("images, overload_images and lifecycle must not be negative")
        if min(self.height, self.width) < 8 or min(self.rate_hz, self.overload) <= 0:
            raise ConfigError("height and width must be at least 8, rate_hz and overload positive")


class SoakNode(Node):
    """Publishes images and collects what becomes of them."""

    def __init__(self) -> None:
        """Declare parameters and topics; raises ConfigError for invalid parameters."""
        super().__init__("soak_localizer", automatically_declare_parameters_from_overrides=True)
        self.config = config = NodeParameters(self, SoakNodeConfig).read()
        if not config.output or not config.pid:
            raise ConfigError("parameters 'output' and 'pid' are needed")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self)
        self._images = self.create_publisher(Image, "image", QoSProfile(depth=5))
        self._infos = self.create_publisher(CameraInfo, "camera_info", LATCHED)
        self._pictures = [_picture(config.height, config.width, seed) for seed in range(4)]
        self._infos.publish(_camera_info(config.height, config.width))
        self._latency_s: dict[int, float | None] = {}
        """By the stamp of the image, in the order of publication."""
        self._sent = 0
        self._counts: dict[str, int] = {}
        name = config.localizer
        deep = QoSProfile(depth=100)
        self.create_subscription(PoseWithCovarianceStamped, f"{name}/pose", self._on_pose, deep)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, deep)
        self._change_state = self.create_client(ChangeState, f"{name}/change_state")

    def soak(self) -> None:
        """Drive the localizer as the parameters say, and write the measurements."""
        config = self.config
        self._wait_for_subscription(_START_S)
        for _ in range(3):  # the network compiles and caches at first
            self._answer()
        uses: list[ProcessUse] = []
        latencies = self._drive(config.images, config.rate_hz, uses)
        counts = self._settled_counts()
        overload = self._overload() if config.overload_images else None
        began_s = time.monotonic()
        cycles = [self._cycle() for _ in range(config.lifecycle)]
        write_json(Path(config.output), {
            "latencies_s": latencies, "counts": counts, "overload": overload,
            "uses": [asdict(use) for use in uses], "cycles": [asdict(use) for use in cycles],
            "cycle_s": (time.monotonic() - began_s) / max(1, config.lifecycle),
        })  # fmt: skip

    def _drive(self, count: int, rate_hz: float, uses: list[ProcessUse]) -> list[float | None]:
        """Publish images at a rate; return their latencies in seconds."""
        self._latency_s.clear()
        due_s = time.monotonic()
        for index in range(count):
            self._spin_until(due_s)
            self._publish()
            due_s = max(due_s + 1 / rate_hz, time.monotonic() - 1 / rate_hz)
            if index % max(1, count // _SAMPLES) == 0:
                uses.append(ProcessUse.of(self.config.pid))
        self._spin_until(time.monotonic() + 2.0)  # the last answers
        return list(self._latency_s.values())

    def _overload(self) -> dict[str, Any]:
        """Measure the ages of answers when images come too fast."""
        period_s = float(np.median([self._answer() for _ in range(30)]))
        rate_hz, count = self.config.overload / period_s, self.config.overload_images
        ages_s = [age for age in self._drive(count, rate_hz, []) if age is not None]
        return {"period_s": period_s, "rate_hz": rate_hz, "images": count, "ages_s": ages_s}

    def _cycle(self) -> ProcessUse:
        """Take the localizer down and up again, and have it answer an image."""
        for transition in _CYCLE:
            request = ChangeState.Request()
            request.transition.id = transition
            future = self._change_state.call_async(request)
            self._wait(future.done, f"transition {transition}", _PATIENCE_S)
            answer = future.result()
            if answer is None or not answer.success:
                raise ScmprError(f"the localizer refused transition {transition}")
        self._wait_for_subscription(_PATIENCE_S)
        self._answer()
        return ProcessUse.of(self.config.pid)

    def _answer(self) -> float:
        """Have one image answered, and return how long that took in seconds."""
        for _ in range(10):  # subscriptions may be discovered one-sidedly at first
            stamp, until_s = self._publish(), time.monotonic() + _PATIENCE_S / 10
            while time.monotonic() < until_s:
                self._executor.spin_once(timeout_sec=0.1)
                latency_s = self._latency_s.get(stamp)
                if latency_s is not None:
                    return latency_s
        raise ScmprError(f"no answer from {self.config.localizer} within {_PATIENCE_S:.0f} s")

    def _publish(self) -> int:
        """Publish the next picture and return its stamp in nanoseconds."""
        message = self._pictures[len(self._latency_s) % len(self._pictures)]
        message.header.stamp = self.get_clock().now().to_msg()
        stamp = stamp_ns(message.header)
        self._latency_s[stamp] = None
        self._images.publish(message)
        self._sent += 1
        return stamp

    def _on_pose(self, message: PoseWithCovarianceStamped) -> None:
        stamp = stamp_ns(message.header)
        if stamp in self._latency_s:
            self._latency_s[stamp] = self.get_clock().now().nanoseconds / 1e9 - stamp / 1e9

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.endswith(f"{self.config.localizer}: localization"):
                values = {value.key: value.value for value in status.values}
                self._counts = {
                    key.removeprefix("images "): int(value)
                    for key, value in values.items() if key.startswith("images ")
                }  # fmt: skip

    def _settled_counts(self) -> dict[str, int]:
        """Return the counts once every image received has an outcome."""
        self._spin_until(time.monotonic() + 1.5)  # diagnostics come once a second
        self._wait(self._is_settled, "outcomes of all images", _PATIENCE_S)
        return {"sent": self._sent} | self._counts

    def _is_settled(self) -> bool:
        outcomes = sum(count for key, count in self._counts.items() if key != "received")
        return bool(self._counts) and self._counts["received"] == outcomes

    def _spin_until(self, end_s: float) -> None:
        while (left_s := end_s - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left_s)

    def _wait_for_subscription(self, timeout_s: float) -> None:
        count = self._images.get_subscription_count
        self._wait(lambda: count() > 0, "the localizer to subscribe", timeout_s)

    def _wait(self, condition: Callable[[], bool], purpose: str, timeout_s: float) -> None:
        end_s = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > end_s:
                raise ScmprError(f"waited {timeout_s:.0f} s for {purpose}")
            self._executor.spin_once(timeout_sec=0.02)


def _picture(height: int, width: int, seed: int) -> Image:
    """An image with structure at several scales."""
    generator = np.random.default_rng(seed)
    image = np.full((height, width, 3), 128.0)
    for cells in (4, 16, 64):
        noise = generator.normal(0, 20, (cells, cells, 3))
        image += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return image_message(image.clip(0, 255).astype(np.uint8), Header(frame_id="camera"))


def _camera_info(height: int, width: int) -> CameraInfo:
    focal = 0.58 * width
    p = [focal, 0.0, (width - 1) / 2, 0.0, 0.0, focal, (height - 1) / 2, 0.0, 0.0, 0.0, 1.0, 0.0]
    return CameraInfo(height=height, width=width, p=p)


def main() -> int:
    """Run the driver; see `commands.soak_localizer`."""

    def drive() -> int:
        SoakNode().soak()
        return 0

    return run(drive)
