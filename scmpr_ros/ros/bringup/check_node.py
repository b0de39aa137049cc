"""`check`: look at a robot's topics, TF, nodes and map, and say in words what is wrong."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseWithCovarianceStamped
from lifecycle_msgs.srv import GetState
from nav_msgs.msg import Odometry
from rcl_interfaces.srv import GetParameters, ListParameters
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import String

from scmpr_ros.errors import ConfigError
from scmpr_ros.methods.network import PlaceNetworkConfig
from scmpr_ros.resources import DEFAULT_CHECKPOINT, resource
from scmpr_ros.ros.bringup.camera_info_checks import CAMERA_INFO, check_camera_info
from scmpr_ros.ros.bringup.findings import Finding, Level, Report, summary
from scmpr_ros.ros.bringup.image_checks import (
    COMPRESSED,
    IMAGE,
    ImageExpectation,
    check_images,
    check_rectified,
)
from scmpr_ros.ros.bringup.listener import Listener, full_name
from scmpr_ros.ros.bringup.localizer_settings import LocalizerSettings
from scmpr_ros.ros.bringup.map_checks import MapExpectation, check_map
from scmpr_ros.ros.bringup.node_checks import (
    NodeState,
    check_diagnostics,
    check_node,
    check_poses,
)
from scmpr_ros.ros.bringup.odometry_checks import ODOMETRY, check_odometry
from scmpr_ros.ros.bringup.stamp_checks import check_stamps
from scmpr_ros.ros.bringup.transform_checks import TransformExpectation, check_transforms
from scmpr_ros.ros.bringup.transform_listener import listen_to_transforms
from scmpr_ros.ros.parameters import NodeParameters
from scmpr_ros.ros.process import run

_DISCOVERY_S = 3.5  # with discovery limited to this machine it may take 3.3 s
_ANSWER_S = 2.0
_PROFILES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")


@dataclass(frozen=True)
class CheckConfig:
    """Parameters of the checker."""

    seconds: float = 5.0
    """How long to listen."""
    map: str = ""
    """Directory of the place map; empty: the localizer's, else the one the map loader announces."""
    checkpoint: str = ""
    """Weight file of the network; empty: the localizer's, else the shipped one."""
    localizer: str = "localizer"
    """Name of the localizer, in the checker's namespace unless it begins with a slash."""
    map_loader: str = "map_loader"
    """Name of the map loader, in the checker's namespace unless it begins with a slash."""

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise ConfigError(f"seconds must be positive, got {self.seconds}")


class CheckNode(Node):
    """Listens for some seconds, asks the nodes for their state, and reports."""

    def __init__(self, **node_arguments: Any) -> None:
        """Declare parameters; raises ConfigError for invalid ones."""
        super().__init__(
            "check", automatically_declare_parameters_from_overrides=True, **node_arguments
        )
        self.config = NodeParameters(self, CheckConfig).read()
        self.localizer = self._resolved(self.config.localizer)
        self.map_loader = self._resolved(self.config.map_loader)

    def check(self) -> list[Finding]:
        """Listen and return all findings."""
        self._spin_until(self._has_found_images, _DISCOVERY_S)
        settings = LocalizerSettings.of(self._parameters_of(self.localizer))
        topics = _Topics(self)
        self._spin_until(lambda: False, self.config.seconds)
        return list(self._findings(topics, settings))

    def _findings(self, topics: _Topics, settings: LocalizerSettings) -> Iterator[Finding]:
        known = topics.known
        raw, compressed = topics.raw.finish(), topics.compressed.finish()
        info = topics.camera_info.finish()
        images = raw if raw.arrivals or not compressed.arrivals else compressed
        yield from check_images(raw, compressed, _image_expectation(settings), known)
        if images.arrivals and info.newest is not None:
            yield from check_rectified(images.topic, info.newest, known, settings.images.rectify)
        view_fov_deg = PlaceNetworkConfig().view.fov_deg
        yield from check_camera_info(info, images, view_fov_deg, known, settings.images)
        use_sim_time = bool(self.get_parameter("use_sim_time").value)
        yield from check_stamps(images, use_sim_time, bool(self.count_publishers("/clock")))
        camera_frame = images.newest.header.frame_id if images.newest is not None else ""
        yield from check_transforms(topics.transforms, self._of_tf(settings, camera_frame))
        yield from check_odometry(
            topics.odometry.finish(),
            settings.text("odom_frame"),
            settings.text("base_frame"),
            settings.text("odometry.source") == "topic",
            known,
        )
        yield from self._about_nodes(topics, settings, images)
        yield from check_map(self._map_expectation(topics, settings))

    def _about_nodes(
        self, topics: _Topics, settings: LocalizerSettings, images: Any
    ) -> Iterator[Finding]:
        others = len(self._node_names()) - 1
        localizer = self._state(self.localizer)
        yield from check_node(
            localizer, "localizer", "ros2 launch scmpr_ros localize.launch.py", others
        )
        if localizer.count and not settings.is_known:
            report = Report("localizer")
            report.warn(f"{self.localizer} does not give its parameters: the defaults are assumed")
            yield from report.findings
        if not (self.config.map or settings.text("map")):
            yield from check_node(
                self._state(self.map_loader), "map_loader",
                "ros2 launch scmpr_ros build_map.launch.py, or set the localizer's map", others,
            )  # fmt: skip
        if localizer.count:
            yield from check_diagnostics(topics.statuses(f"{self.localizer}: localization"))
            yield from check_poses(
                topics.poses.finish(), images, settings.text("publish_pose_from")
            )

    def _of_tf(self, settings: LocalizerSettings, camera_frame: str) -> TransformExpectation:
        return TransformExpectation(
            settings.text("map_frame"), settings.text("odom_frame"), settings.text("base_frame"),
            camera_frame, settings.T_base_camera_body, self.localizer,
            uses_parameters=settings.text("mount.source") == "parameters",
            broadcasts=settings.flag("broadcast_tf"),
            needs_odometry=settings.text("odometry.source") == "tf",
        )  # fmt: skip

    def _map_expectation(self, topics: _Topics, settings: LocalizerSettings) -> MapExpectation:
        given = self.config.map or settings.text("map")
        source = "given" if self.config.map else "parameter map of the localizer"
        checkpoint = self.config.checkpoint or settings.text("checkpoint")
        announced = topics.place_map.stream.newest
        return MapExpectation(
            Path(given) if given else None,
            Path(checkpoint) if checkpoint else resource(DEFAULT_CHECKPOINT),
            source,
            None if announced is None else announced.data,
        )

    # --- asking other nodes ------------------------------------------------------------------

    def _parameters_of(self, node: str) -> dict[str, Any] | None:
        """All parameters of a node; None if it does not answer."""
        request = ListParameters.Request(depth=ListParameters.Request.DEPTH_RECURSIVE)
        listed = self._ask(ListParameters, f"{node}/list_parameters", request)
        if listed is None:
            return None
        names = list(listed.result.names)
        got = self._ask(GetParameters, f"{node}/get_parameters", GetParameters.Request(names=names))
        if got is None or len(got.values) != len(names):
            return None
        values = [parameter_value_to_python(value) for value in got.values]
        return dict(zip(names, values, strict=True))

    def _state(self, name: str) -> NodeState:
        count = self._node_names().count(name)
        answer = self._ask(GetState, f"{name}/get_state", GetState.Request()) if count else None
        return NodeState(name, count, "" if answer is None else answer.current_state.label)

    def _ask(self, kind: type, service: str, request: Any) -> Any:
        """The answer of a service; None if it does not come."""
        client = self.create_client(kind, service)
        try:
            if not self._spin_until(client.service_is_ready, 0.5):
                return None
            future = client.call_async(request)
            return future.result() if self._spin_until(future.done, _ANSWER_S) else None
        finally:
            self.destroy_client(client)

    def _has_found_images(self) -> bool:
        image = self.resolve_topic_name("image")
        topics = (image, f"{image}/compressed")
        return any(self.count_publishers(topic) for topic in topics) and (
            self.localizer in self._node_names()
        )

    def _node_names(self) -> list[str]:
        return [full_name(space, name) for name, space in self.get_node_names_and_namespaces()]

    def _resolved(self, name: str) -> str:
        return name if name.startswith("/") else full_name(self.get_namespace(), name)

    def _spin_until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Serve callbacks until the condition holds; False if it does not in time."""
        give_up_s = time.monotonic() + timeout_s
        while not condition():
            left_s = give_up_s - time.monotonic()
            if left_s <= 0:
                return False
            rclpy.spin_once(self, timeout_sec=min(left_s, 0.1))
            if not rclpy.ok():
                raise ExternalShutdownException
        return True


class _Topics:
    """What the checker listens to."""

    def __init__(self, node: CheckNode) -> None:
        topics = _input_topics(node)
        image = topics["image"]

        def image_properties(message: Image) -> tuple[Any, ...]:
            return message.width, message.height, message.encoding

        def intrinsics(message: CameraInfo) -> tuple[Any, ...]:
            return message.width, message.height, *message.p, *message.k

        self.raw = Listener(node, Image, image, False, image_properties)
        self.compressed = Listener(node, CompressedImage, f"{image}/compressed", False)
        self.camera_info = Listener(node, CameraInfo, topics["camera_info"], False, intrinsics)
        self.odometry = Listener(node, Odometry, topics["odom"])
        self.poses = Listener(node, PoseWithCovarianceStamped, f"{node.localizer}/pose", False)
        self.place_map = Listener(node, String, f"{node.map_loader}/place_map", False)
        self.diagnostics = Listener(node, DiagnosticArray, "/diagnostics")
        self.transforms = listen_to_transforms(node)
        self.known = {
            topic: kinds
            for topic, kinds in node.get_topic_names_and_types()
            if node.count_publishers(topic)
        }

    def statuses(self, name: str) -> list[DiagnosticStatus]:
        """Diagnostics of one name, oldest first."""
        messages = self.diagnostics.stream.messages
        return [status for message in messages for status in message.status if status.name == name]


def _input_topics(node: CheckNode) -> dict[str, str]:
    """Topics of the localizer's inputs: as remapped, else those that it subscribes to."""
    kinds = {"image": IMAGE, "camera_info": CAMERA_INFO, "odom": ODOMETRY}
    space, _, name = node.localizer.rpartition("/")
    try:
        found = node.get_subscriber_names_and_types_by_node(name, space or "/")
    except RuntimeError:  # there is no such node
        found = []
    heard = {kind: topic for topic, of_topic in found for kind in of_topic}
    if COMPRESSED in heard:
        heard.setdefault(IMAGE, heard[COMPRESSED].removesuffix("/compressed"))
    topics = {}
    for name, kind in kinds.items():
        own = node.resolve_topic_name(name)
        is_remapped = own != full_name(node.get_namespace(), name)
        topics[name] = own if is_remapped else heard.get(kind, own)
    return topics


def _image_expectation(settings: LocalizerSettings) -> ImageExpectation:
    has_profile = any(os.environ.get(name) for name in _PROFILES)
    return ImageExpectation(
        settings.text("image_transport"), settings.flag("reliable_images"), has_profile,
        settings.images.white_level,
    )  # fmt: skip


def main() -> int:
    """Run the checker; see `commands.check`."""

    def check() -> int:
        findings = CheckNode().check()
        for finding in findings:
            print(finding)
        print(summary(findings))
        return int(any(finding.level == Level.ERROR for finding in findings))

    return run(check)
