"""Publish the localizer's answers, and keep the state that decides what is published."""

from __future__ import annotations

import threading
import time
from typing import Any

from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import Float32, Header, String
from visualization_msgs.msg import MarkerArray

from scmpr_ros.geometry import invert
from scmpr_ros.pipeline.states import LOCALIZED, StateGate
from scmpr_ros.records import PlaceMatch
from scmpr_ros.ros.conversions import body_from_optical, image_message
from scmpr_ros.ros.localizer_config import LocalizerNodeConfig
from scmpr_ros.ros.map_odom import MapOdomBroadcaster
from scmpr_ros.ros.match_messages import candidate_poses, covariance, markers, pose_with_covariance
from scmpr_ros.ros.qos import LATCHED
from scmpr_ros.semantics import colourise


class AnswerPublisher:
    """Publishers of a localizer, and its state. Methods may be called from any thread."""

    def __init__(self, node: LifecycleNode, config: LocalizerNodeConfig) -> None:
        """Create the publishers; raises ConfigError if broadcast_tf lacks tf2_ros."""
        self._node, self._config = node, config
        self._lock = threading.Lock()
        self._gate = StateGate(config.state)
        self._initialpose_due = False
        self._publishers: list[Any] = []
        self._tf: MapOdomBroadcaster | None = None
        if config.broadcast_tf:
            self._tf = MapOdomBroadcaster(
                node, config.map_frame, config.odom_frame, config.base_frame
            )
        self._pose = self._create(PoseWithCovarianceStamped, "~/pose", 10)
        self._score = self._create(Float32, "~/score", 10)
        self._confidence = self._create(Float32, "~/confidence", 10)
        self._candidates = self._create(PoseArray, "~/candidates", 10)
        self._markers = self._create(MarkerArray, "~/markers", 10)
        self._mask = self._create(Image, "~/semantic_mask", 1)
        self._state = self._create(String, "~/state", LATCHED)
        if config.publish_initialpose:
            self._initialpose = self._create(PoseWithCovarianceStamped, "initialpose", 1)

    @property
    def state(self) -> str:
        """LOST or LOCALIZED."""
        return self._gate.state

    @property
    def age_s(self) -> float | None:
        """Time since the last answer; None without one."""
        return self._gate.age_s(time.monotonic())

    def publish(self, match: PlaceMatch, image_header: Header) -> str:
        """Publish the answer to the image with this header and return the new state."""
        config = self._config
        header = Header(stamp=image_header.stamp, frame_id=config.map_frame)
        T_map_base = body_from_optical(match.best.T_map_camera) @ invert(
            config.mount.T_base_camera_body
        )
        pose = pose_with_covariance(T_map_base, covariance(match, config.covariance), header)
        with self._lock:
            before = self._gate.state
            state = self._gate.update(match.confidence, time.monotonic())
            self._score.publish(Float32(data=match.best.score))
            self._confidence.publish(Float32(data=match.confidence))
            self._candidates.publish(candidate_poses(match, header))
            self._markers.publish(markers(match, header))
            if state == LOCALIZED or config.publish_lost_poses:
                self._pose.publish(pose)
            if state != before:
                self._publish_state()
            if state == LOCALIZED and self._initialpose_due:
                self._initialpose_due = False
                self._initialpose.publish(pose)
            if state == LOCALIZED and self._tf is not None:
                self._tf.send(T_map_base, header)
        if match.mask is not None and self._mask.get_subscription_count() > 0:
            self._mask.publish(image_message(colourise(match.mask), image_header))
        return state

    def use(self, config: LocalizerNodeConfig) -> None:
        """Take parameters that may change while the node runs."""
        with self._lock:
            self._config = config
            self._gate.use(config.state)

    def request_initialpose(self) -> None:
        """Publish the next LOCALIZED pose as `initialpose`, if that is switched on."""
        with self._lock:
            self._initialpose_due = self._config.publish_initialpose

    def expire(self) -> None:
        """Become LOST if the last answer is too old."""
        with self._lock:
            if self._gate.expire(time.monotonic()):
                self._publish_state()

    def reset(self) -> None:
        """Become LOST, forget the last answer, and publish the state."""
        with self._lock:
            self._gate.reset()
            self._publish_state()

    def destroy(self) -> None:
        """Destroy the publishers and what TF needs."""
        for publisher in self._publishers:
            self._node.destroy_lifecycle_publisher(publisher)
        self._publishers.clear()
        if self._tf is not None:
            self._tf.destroy()
            self._tf = None

    def _publish_state(self) -> None:
        self._state.publish(String(data=self._gate.state))

    def _create(self, kind: type, topic: str, qos: QoSProfile | int) -> Any:
        self._publishers.append(self._node.create_lifecycle_publisher(kind, topic, qos))
        return self._publishers[-1]
