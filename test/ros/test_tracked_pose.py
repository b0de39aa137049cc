"""A running localizer that tracks: priors, odometry, stamped status, and the last pose."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2: source one, or install the rclpy wheels")

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped
from lifecycle_msgs.msg import Transition
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Float32, Header, String
from std_srvs.srv import Empty

from scmpr_ros.geometry import make_transform, rotation_z, shift_covariance
from scmpr_ros.ros.conversions import image_message, pose_matrix, pose_message
from scmpr_ros.ros.localizer_node import LocalizerNode
from scmpr_ros.ros.match_messages import pose_with_covariance
from scmpr_ros.ros.qos import LATCHED

pytestmark = pytest.mark.end_to_end
NAME = "/tracked/localizer"
CAMERA_HEIGHT_M = 1.5
SURE = np.diag([0.04, 0.04, 0.04, 1e-3, 1e-3, 1e-3])


@pytest.fixture(scope="module")
def last_pose(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("last") / "pose.json"


@pytest.fixture(scope="module")
def node(run_node, street, street_map: Path, last_pose: Path) -> LocalizerNode:
    parameters = {
        "checkpoint": str(street.checkpoint), "map": str(street_map), "image_transport": "raw",
        "mount.xyz": [1.0, 0.0, CAMERA_HEIGHT_M], "last_pose.path": str(last_pose),
        "odometry.timeout_s": 5.0, "tracking.state.min_distance_m": 0.0,
        "tracking.state.min_named": 0.0,
        "tracking.state.localized_probability": 0.8,
    }  # fmt: skip
    return run_node(LocalizerNode, "/tracked", **parameters)


class Vehicle:
    """Drives with odometry, and listens to what the localizer says of it."""

    def __init__(self, graph, image, info: CameraInfo) -> None:
        self._graph, self._image = graph, image
        self.poses = graph.collect(PoseWithCovarianceStamped, f"{NAME}/pose")
        self.statuses = graph.collect(DiagnosticArray, f"{NAME}/status")
        self.scores = graph.collect(Float32, f"{NAME}/score")
        self.confidences = graph.collect(Float32, f"{NAME}/confidence")
        self.candidates = graph.collect(PoseArray, f"{NAME}/candidates")
        self.states = graph.collect(String, f"{NAME}/state", LATCHED)
        self.diagnostics, self.logs = graph.diagnostics(NAME), graph.logs("tracked.localizer")
        self._images = graph.publisher(Image, "/tracked/image")
        self._odometry = graph.publisher(Odometry, "/tracked/odom")
        self.initialpose = graph.publisher(PoseWithCovarianceStamped, "/tracked/initialpose")
        infos = graph.publisher(CameraInfo, "/tracked/camera_info", LATCHED)
        infos.publish(info)
        for topic in (self._images, self._odometry, self.initialpose):
            graph.until(topic.get_subscription_count, topic.topic_name)

    def see(self, T_odom_base: np.ndarray | None = None) -> PoseWithCovarianceStamped:
        """Publish odometry and an image of one stamp; return the pose."""
        pixels, header = self._image()
        if T_odom_base is not None:
            message = Odometry(header=Header(stamp=header.stamp, frame_id="odom"))
            message.child_frame_id = "base_link"
            message.pose.pose = pose_message(T_odom_base)
            self._odometry.publish(message)
        count = len(self.statuses)
        self._images.publish(image_message(pixels, header))
        self._graph.until(lambda: len(self.statuses) > count, "an answer")
        self._graph.until(lambda: len(self.poses) == len(self.statuses), "its pose")
        return self.poses[-1]

    def give_initialpose(self, T_map_base: np.ndarray, frame: str = "map") -> None:
        self.initialpose.publish(pose_with_covariance(T_map_base, SURE, Header(frame_id=frame)))


@pytest.fixture
def vehicle(node, graph, last_pose: Path, street_image, street_info) -> Vehicle:
    """A vehicle of which nothing is known."""
    assert graph.change_state(NAME, Transition.TRANSITION_DEACTIVATE)
    last_pose.unlink(missing_ok=True)
    assert graph.change_state(NAME, Transition.TRANSITION_ACTIVATE)
    return Vehicle(graph, street_image, street_info)


def at(x: float, y: float = 0.0, yaw_rad: float = 0.0) -> np.ndarray:
    return make_transform(rotation_z(yaw_rad), np.array([x, y, 0.0]))


def position(message: PoseWithCovarianceStamped) -> np.ndarray:
    return pose_matrix(message.pose.pose)[:2, 3]


def test_status_score_and_confidence_belong_to_the_pose(vehicle: Vehicle, graph) -> None:
    for _ in range(3):
        vehicle.see()
    graph.until(lambda: len(vehicle.confidences) == len(vehicle.scores) == 3, "plain numbers")
    for pose, status, score, confidence in zip(
        vehicle.poses, vehicle.statuses, vehicle.scores, vehicle.confidences, strict=True
    ):
        assert status.header == pose.header and pose.header.frame_id == "map"
        values = {v.key: v.value for v in status.status[0].values}
        assert float(values["score"]) == pytest.approx(score.data, abs=1e-3)
        assert float(values["near_probability"]) == pytest.approx(confidence.data, abs=1e-3)
        assert values["state"] in status.status[0].message and values["reason"]
        assert 0 < float(values["latency_ms"]) < 60_000
    graph.until(lambda: vehicle.states[-1].data == values["state"], "the latched state")
    graph.until(lambda: len(vehicle.candidates) == 3, "candidates")
    assert [c.header for c in vehicle.candidates] == [p.header for p in vehicle.poses]


def test_initialpose_moves_the_tracker_and_odometry_carries_it(vehicle: Vehicle, graph) -> None:
    vehicle.see(at(100.0))
    vehicle.give_initialpose(at(-5.0, 1.0))
    graph.until(lambda: "initialpose: taken" in vehicle.logs(), "the prior")
    first = vehicle.see(at(100.0))
    np.testing.assert_allclose(position(first), [-5.0, 1.0], atol=1.0)
    for x in (100.5, 101.0, 101.5, 102.0):
        last = vehicle.see(at(x))
    np.testing.assert_allclose(position(last), [-3.0, 1.0], atol=1.0)
    graph.until(
        lambda: (s := vehicle.diagnostics())
        and {v.key: v.value for v in s.values}["odometry"] == "topic /tracked/odom", "diagnostics",
    )  # fmt: skip
    graph.call(Empty, f"{NAME}/reinitialize")
    vehicle.see()
    assert vehicle.states[-1].data != "LOCALIZED", "the prior is forgotten, and the image is noise"


def test_an_initialpose_in_another_frame_is_refused(vehicle: Vehicle, graph) -> None:
    vehicle.give_initialpose(at(7.0, 3.0), frame="odom")
    graph.until(lambda: "initialpose is not used" in vehicle.logs(), "the warning")
    assert "'odom', but poses are in 'map'" in vehicle.logs()
    spoilt = at(7.0, 3.0)
    spoilt[0, 3] = np.nan
    vehicle.give_initialpose(spoilt)
    graph.until(lambda: "not finite" in vehicle.logs(), "the warning")
    vehicle.see()
    graph.until(lambda: vehicle.confidences, "the confidence")
    assert vehicle.confidences[-1].data < 0.5, "a prior would have made it 0.9"


def test_the_last_pose_is_written_and_used(vehicle: Vehicle, graph, last_pose: Path) -> None:
    vehicle.give_initialpose(at(-5.0, 1.0))
    graph.until(lambda: "initialpose: taken" in vehicle.logs(), "the prior")
    known = vehicle.see(at(100.0))
    graph.until(lambda: vehicle.states[-1].data == "LOCALIZED", "what is kept")
    assert graph.change_state(NAME, Transition.TRANSITION_DEACTIVATE)
    np.testing.assert_allclose(
        json.loads(last_pose.read_text())["T_map_base"], pose_matrix(known.pose.pose), atol=1e-6
    )
    assert graph.change_state(NAME, Transition.TRANSITION_ACTIVATE)
    graph.until(lambda: "starting near the pose in" in vehicle.logs(), "the last pose")
    np.testing.assert_allclose(position(vehicle.see()), position(known), atol=3.0)


def test_covariance_is_that_of_the_base(vehicle: Vehicle, graph, node: LocalizerNode) -> None:
    """The camera sits a metre ahead of the base and above it."""
    vehicle.give_initialpose(at(-5.0, 1.0, 0.5))
    graph.until(lambda: "initialpose: taken" in vehicle.logs(), "the prior")
    message = vehicle.see()
    matrix = np.reshape(message.pose.covariance, (6, 6))
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-9)
    assert np.linalg.eigvalsh(matrix).min() > 0
    R = pose_matrix(message.pose.pose)[:3, :3]
    of_camera = shift_covariance(matrix, R @ [1.0, 0.0, CAMERA_HEIGHT_M])
    assert not np.allclose(of_camera, matrix), "turning about the base moves the camera"
    assert pose_matrix(message.pose.pose)[2, 3] < CAMERA_HEIGHT_M
