"""Subscribe to images and camera_info, and hand over each image once, with its camera."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.clock import ClockChange, JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from scmpr_ros.errors import CalibrationError, ShapeError
from scmpr_ros.records import CameraModel
from scmpr_ros.ros.conversions import (
    camera_from_info,
    image_to_rgb,
    rgb_from_compressed,
)
from scmpr_ros.ros.image_stamps import BACK_IN_TIME_S, ImageStamps, Order
from scmpr_ros.ros.localizer_config import LocalizerNodeConfig
from scmpr_ros.ros.qos import LATCHED, MATCHES_ALL, image_qos, is_latched
from scmpr_ros.ros.statistics import Statistics
from scmpr_ros.ros.throttled_log import ThrottledLog

_CHANGES_OF_SOURCE = (ClockChange.ROS_TIME_ACTIVATED, ClockChange.ROS_TIME_DEACTIVATED)


@dataclass(frozen=True)
class Query:
    """An image message and how to decode it.

    camera_frame: that of the image, or of camera_info where the image names none.
    """

    header: Header
    decode: Callable[[], NDArray[np.uint8]]
    received_s: float
    camera_frame: str = ""


class CameraInput:
    """Subscriptions of an active localizer. Images that precede their camera_info wait for it."""

    def __init__(
        self,
        node: Node,
        config: LocalizerNodeConfig,
        statistics: Statistics,
        on_query: Callable[[Query, CameraModel], None],
        on_time_jump: Callable[[str], None],
    ) -> None:
        """Subscribe.

        on_query: called with every image, in the node's default callback group.
        on_time_jump: called with the reason before the first image of another time: the clock or
            the images' stamps went back, or the node's source of time has changed.
        """
        self._node, self._config, self._statistics = node, config, statistics
        self._on_query, self._on_time_jump = on_query, on_time_jump
        self._camera: CameraModel | None = None
        self._camera_frame = ""
        self._camera_error = ""
        self._is_latched = False
        self._waiting: deque[Query] = deque(maxlen=config.queue_size)
        image = node.resolve_topic_name("image")
        self._stamps = ImageStamps(node, image)
        self._errors = ThrottledLog()
        self._camera_info_topic = node.resolve_topic_name("camera_info")
        self._subscriptions: list[Any] = []
        threshold = JumpThreshold(min_forward=None, min_backward=Duration(seconds=-BACK_IN_TIME_S))
        self._jumps = node.get_clock().create_jump_callback(
            threshold, post_callback=self._on_clock_jump
        )
        try:
            self._subscribe(image)
        except Exception:
            self.destroy()
            raise

    def _subscribe(self, image: str) -> None:
        qos = image_qos(self._config.queue_size, self._config.reliable_images)
        self._add(CameraInfo, self._camera_info_topic, self._on_camera_info, MATCHES_ALL)
        self._subscribe_if_latched()
        if self._config.image_transport in ("any", "raw"):
            self._add(Image, image, self._on_image, qos)
        if self._config.image_transport in ("any", "compressed"):
            self._add(CompressedImage, f"{image}/compressed", self._on_compressed_image, qos)
        self._node.get_logger().info(f"localising images of {image} with {self._camera_info_topic}")

    def _add(
        self, kind: type, topic: str, callback: Callable[[Any], None], qos: QoSProfile
    ) -> None:
        self._subscriptions.append(self._node.create_subscription(kind, topic, callback, qos))

    def _subscribe_if_latched(self) -> None:
        """Get a latched camera_info: a volatile subscription misses what was published before it.

        Not done at once, since a latched subscription does not match other publishers, which would
        log that as a fault.
        """
        if self._is_latched or self._camera is not None:
            return
        publishers = self._node.get_publishers_info_by_topic(self._camera_info_topic)
        if any(is_latched(publisher.qos_profile) for publisher in publishers):
            self._is_latched = True
            self._add(CameraInfo, self._camera_info_topic, self._on_camera_info, LATCHED)

    @property
    def problem(self) -> str:
        """Why images cannot be localised; empty if they can."""
        if self._camera is not None:
            return ""
        return self._camera_error or f"no camera_info yet on {self._camera_info_topic}"

    def check(self) -> None:
        """Look for a latched camera_info, and warn if an image waits too long; once a second."""
        self._subscribe_if_latched()
        if not self._waiting or self._camera is not None or self._camera_error:
            return
        if time.monotonic() - self._waiting[0].received_s > self._config.camera_info_timeout_s:
            self._node.get_logger().warning(
                f"images come, but no camera_info on {self._camera_info_topic}: remap camera_info "
                "to the topic of the rectified camera",
                throttle_duration_sec=10.0,
            )

    def use(self, config: LocalizerNodeConfig) -> None:
        """Take parameters that may change while the node runs."""
        self._config = config
        self._waiting = deque(self._waiting, maxlen=config.queue_size)

    def destroy(self) -> None:
        """Unsubscribe."""
        self._jumps.unregister()
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()

    def _on_camera_info(self, message: CameraInfo) -> None:
        try:
            self._camera = camera_from_info(message)
            self._camera_frame = message.header.frame_id
        except CalibrationError as error:
            self._camera_error = f"camera_info on {self._camera_info_topic} is unusable: {error}"
            if self._errors.is_due(self._camera_error):
                self._node.get_logger().error(self._camera_error)
            return
        self._camera_error = ""
        while self._waiting:
            self._hand_over(self._waiting.popleft(), self._camera)

    def _on_image(self, message: Image) -> None:
        self._take(Query(message.header, lambda: image_to_rgb(message), time.monotonic()))

    def _on_compressed_image(self, message: CompressedImage) -> None:
        self._take(Query(message.header, lambda: rgb_from_compressed(message), time.monotonic()))

    def _take(self, query: Query) -> None:
        order, behind_s = self._stamps.classify(query.header)
        if order == Order.REPEATED:  # the same image, raw and compressed
            return
        self._statistics.count["received"] += 1
        if order == Order.LATE:  # an answer to a newer image was or will be given
            self._statistics.count["dropped"] += 1
            return
        if order == Order.RESTARTED:
            self._restart(f"the stamps of the images went back by {behind_s:.1f} s")
        if self._camera is not None:
            self._hand_over(query, self._camera)
            return
        self._subscribe_if_latched()
        if len(self._waiting) == self._waiting.maxlen:
            self._statistics.count["dropped"] += 1
        self._waiting.append(query)

    def _hand_over(self, query: Query, camera: CameraModel) -> None:
        def decode() -> NDArray[np.uint8]:
            image = query.decode()
            height, width = image.shape[:2]
            if (width, height) != (camera.width, camera.height):
                raise ShapeError(
                    f"the image is {width}x{height} pixels, but {self._camera_info_topic} is of "
                    f"{camera.width}x{camera.height}: remap image and camera_info to topics of the "
                    "same rectified camera"
                )
            return image

        frame = query.header.frame_id or self._camera_frame
        self._on_query(replace(query, decode=decode, camera_frame=frame), camera)

    def _on_clock_jump(self, jump: TimeJump) -> None:
        self._stamps.clear()
        if jump.clock_change in _CHANGES_OF_SOURCE:
            self._restart("the node's source of time has changed")
        else:
            self._restart(f"the clock went back by {-jump.delta.nanoseconds / 1e9:.1f} s")

    def _restart(self, reason: str) -> None:
        """Give up images of the time before."""
        self._statistics.count["dropped"] += len(self._waiting)
        self._waiting.clear()
        self._on_time_jump(reason)
