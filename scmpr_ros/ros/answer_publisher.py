"""Everything that the localizer says about an image, on its topics."""

from __future__ import annotations

from typing import Any

from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import Float32, Header, String
from visualization_msgs.msg import MarkerArray

from scmpr_ros.geometry import invert
from scmpr_ros.records import PlaceMatch
from scmpr_ros.ros.conversions import body_from_optical, image_message
from scmpr_ros.ros.localizer_config import LocalizerNodeConfig
from scmpr_ros.ros.map_odom import MapOdomBroadcaster
from scmpr_ros.ros.match_messages import (
    LOCALIZED,
    LOST,
    StateGate,
    candidate_poses,
    covariance,
    markers,
    pose_with_covariance,
)
from scmpr_ros.semantics import colourise

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class AnswerPublisher:
    """Publishers of a localizer, and the state that decides what they publish."""

    def __init__(self, node: LifecycleNode, config: LocalizerNodeConfig) -> None:
        """Create the publishers; raises ConfigError where broadcast_tf lacks tf2_ros."""
        self._node, self._config = node, config
        self._gate = StateGate(config.state)
        self._tf: MapOdomBroadcaster | None = None
        if config.broadcast_tf:
            self._tf = MapOdomBroadcaster(
                node, config.map_frame, config.odom_frame, config.base_frame
            )
        self._made: list[Any] = []
        self._pose = self._create(PoseWithCovarianceStamped, "~/pose", 10)
        self._score = self._create(Float32, "~/score", 10)
        self._confidence = self._create(Float32, "~/confidence", 10)
        self._candidates = self._create(PoseArray, "~/candidates", 10)
        self._markers = self._create(MarkerArray, "~/markers", 10)
        self._mask = self._create(Image, "~/semantic_mask", 1)
        self._state = self._create(String, "~/state", LATCHED)
        if config.publish_initialpose:
            self._initialpose = self._create(PoseWithCovarianceStamped, "/initialpose", 1)

    @property
    def state(self) -> str:
        """LOST or LOCALIZED."""
        return self._gate.state

    def publish(self, match: PlaceMatch, image_header: Header) -> None:
        """Publish all there is to say about the image with this header."""
        config = self._config
        header = Header(stamp=image_header.stamp, frame_id=config.map_frame)
        before, state = self._gate.state, self._gate.update(match.confidence)
        T_map_base = body_from_optical(match.best.T_map_camera) @ invert(
            config.mount.T_base_camera_body
        )
        pose = pose_with_covariance(T_map_base, covariance(match, config.covariance), header)
        self._score.publish(Float32(data=match.best.score))
        self._confidence.publish(Float32(data=match.confidence))
        self._candidates.publish(candidate_poses(match, header))
        self._markers.publish(markers(match, header))
        if state == LOCALIZED or config.publish_lost_poses:
            self._pose.publish(pose)
        if state != before:
            self.publish_state()
            if state == LOCALIZED and config.publish_initialpose:
                self._initialpose.publish(pose)
        if state == LOCALIZED and self._tf is not None:
            self._tf.send(T_map_base, header)
        if match.mask is not None and self._mask.get_subscription_count() > 0:
            self._mask.publish(image_message(colourise(match.mask), image_header))

    def publish_state(self) -> None:
        """Say the state, to those who come later as well."""
        self._state.publish(String(data=self._gate.state))

    def reset(self) -> None:
        """Back to LOST."""
        if self._gate.state != LOST:
            self._gate.reset()
            self.publish_state()

    def destroy(self) -> None:
        """Destroy the publishers."""
        for publisher in self._made:
            self._node.destroy_lifecycle_publisher(publisher)
        self._made.clear()

    def _create(self, kind: type, topic: str, qos: QoSProfile | int) -> Any:
        self._made.append(self._node.create_lifecycle_publisher(kind, topic, qos))
        return self._made[-1]
