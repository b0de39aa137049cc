"""Publish the localizer's answers, and the state that they lead to."""

from __future__ import annotations

import threading
import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import Float32, Header, String
from visualization_msgs.msg import MarkerArray

from scmpr_ros.pipeline.states import LOCALIZED, LOST, is_at_least
from scmpr_ros.ros.conversions import image_message, stamp_ns
from scmpr_ros.ros.localizer_config import LocalizerNodeConfig
from scmpr_ros.ros.map_odom import MapOdomBroadcaster
from scmpr_ros.ros.match_messages import (
    answer_status,
    hypothesis_poses,
    markers,
    pose_with_covariance,
)
from scmpr_ros.ros.qos import LATCHED
from scmpr_ros.ros.transforms import TransformReader
from scmpr_ros.ros.vehicle_localizer import VehicleAnswer
from scmpr_ros.semantics import colourise


class AnswerPublisher:
    """Publishers of a localizer, and its state. Methods may be called from any thread."""

    def __init__(
        self, node: LifecycleNode, config: LocalizerNodeConfig, transforms: TransformReader | None
    ) -> None:
        """Create the publishers. transforms: not None if `broadcast_tf` is set."""
        self._node, self._config = node, config
        self._lock = threading.Lock()
        self._state_now, self._reason = LOST, ""
        self._answered_s: float | None = None
        self._initialpose_due = False
        self._own_initialpose: PoseWithCovarianceStamped | None = None
        self._publishers: list[Any] = []
        self._map_odom: MapOdomBroadcaster | None = None
        if config.broadcast_tf:
            assert transforms is not None
            self._map_odom = MapOdomBroadcaster(node, config, transforms)
        self._pose = self._create(PoseWithCovarianceStamped, "~/pose", 10)
        self._score = self._create(Float32, "~/score", 10)
        self._confidence = self._create(Float32, "~/confidence", 10)
        self._status = self._create(DiagnosticArray, "~/status", 10)
        self._candidates = self._create(PoseArray, "~/candidates", 10)
        self._markers = self._create(MarkerArray, "~/markers", 10)
        self._mask = self._create(Image, "~/semantic_mask", 1)
        self._state = self._create(String, "~/state", LATCHED)
        if config.publish_initialpose:
            self._initialpose = self._create(PoseWithCovarianceStamped, "initialpose", 1)

    @property
    def state(self) -> str:
        """LOST, TENTATIVE or LOCALIZED."""
        return self._state_now

    @property
    def reason(self) -> str:
        """Why, in words; empty before the first answer."""
        return self._reason

    @property
    def age_s(self) -> float | None:
        """Time since the last answer; None without one."""
        answered_s = self._answered_s
        return None if answered_s is None else time.monotonic() - answered_s

    def map_odom(self, answer: VehicleAnswer, image_header: Header) -> NDArray[Any] | None:
        """Return `T_map_odom` (4, 4) for `publish`, if it is broadcast; may wait for odometry."""
        if self._map_odom is None or answer.tracked.pose.state != LOCALIZED:
            return None
        return self._map_odom.compute(answer.T_map_base, stamp_ns(image_header))

    def publish(
        self, answer: VehicleAnswer, image_header: Header, latency_s: float,
        T_map_odom: NDArray[Any] | None,
    ) -> None:  # fmt: skip
        """Publish the answer to the image with this header.

        latency_s: since the receipt of the image. T_map_odom: see `map_odom`.
        """
        config, tracked = self._config, answer.tracked
        found = tracked.pose
        header = Header(stamp=image_header.stamp, frame_id=config.map_frame)
        pose = pose_with_covariance(answer.T_map_base, answer.covariance, header)
        name = self._node.get_fully_qualified_name()
        with self._lock:
            self._answered_s = time.monotonic()
            self._score.publish(Float32(data=float(tracked.match.best.score)))
            self._confidence.publish(Float32(data=float(found.near_probability)))
            self._status.publish(answer_status(tracked, header, name, latency_s))
            self._candidates.publish(hypothesis_poses(found, header))
            self._markers.publish(markers(found, header))
            if is_at_least(found.state, config.publish_pose_from.upper()):
                self._pose.publish(pose)
            self._enter(found.state, found.reason)
            if found.state == LOCALIZED and self._initialpose_due:
                self._initialpose_due, self._own_initialpose = False, pose
                self._initialpose.publish(pose)
            if self._map_odom is not None:
                self._map_odom.take(found.state, T_map_odom, stamp_ns(header))
        mask = tracked.match.mask
        if mask is not None and self._mask.get_subscription_count() > 0:
            self._mask.publish(image_message(colourise(mask), image_header))

    def use(self, config: LocalizerNodeConfig) -> None:
        """Take parameters that may change while the node runs."""
        with self._lock:
            self._config = config
            if self._map_odom is not None:
                self._map_odom.use(config)

    def request_initialpose(self) -> None:
        """Publish the next LOCALIZED pose as `initialpose`, if that is switched on."""
        with self._lock:
            self._initialpose_due = self._config.publish_initialpose

    def is_own_initialpose(self, message: PoseWithCovarianceStamped) -> bool:
        """Whether this object published the message: it says nothing new."""
        return message == self._own_initialpose

    def expire(self) -> None:
        """Become LOST if the last answer is too old."""
        age_s = self.age_s
        with self._lock:
            if age_s is not None and age_s > self._config.tracking.state.max_age_s:
                self._enter(LOST, "no image was localised for a while")

    def reset(self) -> None:
        """Become LOST, forget the last answer, and publish the state."""
        with self._lock:
            self._answered_s = None
            self._enter(LOST, "", always=True)

    def destroy(self) -> None:
        """Destroy the publishers."""
        for publisher in self._publishers:
            self._node.destroy_lifecycle_publisher(publisher)
        self._publishers.clear()
        if self._map_odom is not None:
            self._map_odom.destroy()
            self._map_odom = None

    def _enter(self, state: str, reason: str, always: bool = False) -> None:
        """Change the state; publish it if it differs, or always. LOST ends map -> odom."""
        differs, self._state_now, self._reason = state != self._state_now, state, reason
        if state == LOST and self._map_odom is not None:
            self._map_odom.stop()
        if differs or always:
            self._state.publish(String(data=state))

    def _create(self, kind: type, topic: str, qos: QoSProfile | int) -> Any:
        self._publishers.append(self._node.create_lifecycle_publisher(kind, topic, qos))
        return self._publishers[-1]
