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

from scmpr_ros.datasets.camera_images import ImageSource
from scmpr_ros.datasets.ros_cameras import RosCamera, info_content
from scmpr_ros.errors import CalibrationError
from scmpr_ros.records import CameraModel
from scmpr_ros.ros.image_stamps import BACK_IN_TIME_S, ImageStamps, Order
from scmpr_ros.ros.localizer_config import LocalizerNodeConfig
from scmpr_ros.ros.qos import LATCHED, MATCHES_ALL, image_qos, is_latched
from scmpr_ros.ros.statistics import Statistics
from scmpr_ros.ros.throttled_log import ThrottledLog

IMAGE_PARAMETERS = "the parameters images.*"
"""Where messages say that the localizer's `CameraImageConfig` is set."""
_KNOWN_CAMERAS = 8
_CHANGES_OF_SOURCE = (ClockChange.ROS_TIME_ACTIVATED, ClockChange.ROS_TIME_DEACTIVATED)


@dataclass(frozen=True)
class Query:
    """An image message and its camera."""

    message: Image | CompressedImage
    received_s: float
    camera: RosCamera | None = None

    @property
    def header(self) -> Header:
        """Header of the image."""
        return self.message.header

    @property
    def camera_frame(self) -> str:
        """Frame of the image, or of camera_info where the image names none."""
        return self.header.frame_id or ("" if self.camera is None else self.camera.frame_id)

    def read(self) -> tuple[NDArray[np.uint8], CameraModel]:
        """Decode the image as that of a pinhole camera; see `RosCamera.read` for what it raises."""
        assert self.camera is not None, "handed over with its camera"
        return self.camera.read(self.message)


class CameraInput:
    """Subscriptions of an active localizer. Images that precede their camera_info wait for it."""

    def __init__(
        self,
        node: Node,
        config: LocalizerNodeConfig,
        statistics: Statistics,
        on_query: Callable[[Query], None],
        on_time_jump: Callable[[str], None],
    ) -> None:
        """Subscribe.

        on_query: called with every image, in the node's default callback group.
        on_time_jump: called with the reason before the first image of another time: the clock or
            the images' stamps went back, or the node's source of time has changed.
        """
        self._node, self._config, self._statistics = node, config, statistics
        self._on_query, self._on_time_jump = on_query, on_time_jump
        self._camera: RosCamera | None = None
        self._cameras: dict[tuple[Any, ...], RosCamera] = {}
        self._camera_error = ""
        self._is_latched = False
        self._waiting: deque[Query] = deque(maxlen=config.queue_size)
        self._image_topic = image = node.resolve_topic_name("image")
        self._stamps = ImageStamps(node, image)
        self._errors = ThrottledLog()
        self._warnings = ThrottledLog()  # of the worker's thread
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
            self._camera = self._camera_of(message)
        except CalibrationError as error:
            self._camera_error = str(error)
            if self._errors.is_due(self._camera_error):
                self._node.get_logger().error(self._camera_error)
            return
        self._camera_error = ""
        while self._waiting:
            self._on_query(replace(self._waiting.popleft(), camera=self._camera))

    def _camera_of(self, info: CameraInfo) -> RosCamera:
        """The camera of a camera_info; of few different ones it is made once."""
        content = info_content(info)
        camera = self._cameras.get(content)
        if camera is None:
            source = ImageSource(self._image_topic, self._camera_info_topic, IMAGE_PARAMETERS)
            camera = RosCamera(info, self._config.images, source, self._warn)
            self._cameras[content] = camera
            if len(self._cameras) > _KNOWN_CAMERAS:
                del self._cameras[next(iter(self._cameras))]
        return camera

    def _warn(self, text: str) -> None:
        if self._warnings.is_due(text):
            self._node.get_logger().warning(text)

    def _on_image(self, message: Image) -> None:
        self._take(Query(message, time.monotonic()))

    def _on_compressed_image(self, message: CompressedImage) -> None:
        self._take(Query(message, time.monotonic()))

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
            self._on_query(replace(query, camera=self._camera))
            return
        self._subscribe_if_latched()
        if len(self._waiting) == self._waiting.maxlen:
            self._statistics.count["dropped"] += 1
        self._waiting.append(query)

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
