"""Faults around a running localizer: it stays up, says what is wrong, and recovers by itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2: source one, or install the rclpy wheels")

from geometry_msgs.msg import PoseWithCovarianceStamped
from lifecycle_msgs.msg import Transition
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header, String

from scmpr_ros.datasets.ros_images import ENCODINGS
from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.ros.conversions import image_message
from scmpr_ros.ros.localizer_node import LocalizerNode
from scmpr_ros.ros.qos import LATCHED

pytestmark = pytest.mark.end_to_end
NAME = "/faults/localizer"
ALWAYS_LOCALIZED = {
    **{f"tracking.state.{name}_probability": 0.0
       for name in ("localized", "doubted", "tentative", "lost")},
    "tracking.state.max_deviation_m": 1e9, "tracking.state.min_distance_m": 0.0,
    "tracking.state.min_named": 0.0,
    "tracking.state.max_age_s": 60.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def node(run_node, street, street_map: Path) -> LocalizerNode:
    """A localizer that is LOCALIZED by every image and answers all of them."""
    return run_node(
        LocalizerNode, "/faults", checkpoint=str(street.checkpoint), reliable_images=True,
        queue_size=60, relocalize_timeout_s=2.0,
        **ALWAYS_LOCALIZED,
    )  # fmt: skip


class Robot:
    """The publishers and subscriptions that a localizer needs."""

    def __init__(self, graph, node: LocalizerNode, info: CameraInfo) -> None:
        self.graph, self.node, self._stamp_s = graph, node, 1000
        self.images = graph.publisher(Image, "/faults/image")
        self.compressed = graph.publisher(CompressedImage, "/faults/image/compressed")
        self.infos = graph.publisher(CameraInfo, "/faults/camera_info", LATCHED)
        self.maps = graph.publisher(String, "/faults/map_loader/place_map", LATCHED)
        self.poses = graph.collect(PoseWithCovarianceStamped, f"{NAME}/pose")
        self.states = graph.collect(String, f"{NAME}/state", LATCHED)
        self.logs = graph.logs("faults.localizer")
        self.infos.publish(info)

    def announce(self, directory: Path) -> None:
        self.maps.publish(String(data=json.dumps({"directory": str(directory)})))

    def header(self) -> Header:
        self._stamp_s += 1
        header = Header(frame_id="camera")
        header.stamp.sec = self._stamp_s
        return header

    def ready(self) -> None:
        publishers = (self.images, self.compressed, self.infos)
        self.graph.until(lambda: all(p.get_subscription_count() for p in publishers), "matches")
        self.graph.until(lambda: self.states, "the state")

    def localise(self, message: Image | None = None) -> PoseWithCovarianceStamped:
        """Publish an image, of noise by default, and return its answer."""
        message = message or image_message(noise(96, 160), self.header())
        stamp = message.header.stamp
        self.images.publish(message)
        self.graph.until(lambda: any(p.header.stamp == stamp for p in self.poses), "an answer")
        return next(p for p in self.poses if p.header.stamp == stamp)

    def let_answer(self) -> None:
        """Publish an image and wait until it is answered, whether or not its pose is published."""
        localized = self.count("localized")
        self.images.publish(image_message(noise(96, 160), self.header()))
        self.graph.until(lambda: self.count("localized") > localized, "an answer")

    def count(self, outcome: str) -> int:
        return self.node._statistics.count[outcome]

    def fail(self, messages: list[Image | CompressedImage]) -> None:
        """Publish images and wait until all of them have failed."""
        expected = self.count("failed") + len(messages)
        for message in messages:
            publisher = self.images if isinstance(message, Image) else self.compressed
            publisher.publish(message)
        self.graph.until(lambda: self.count("failed") == expected, f"{expected} failures")


@pytest.fixture
def robot(graph, node, street_map: Path, street_info) -> Iterator[Robot]:
    assert graph.change_state(NAME, Transition.TRANSITION_DEACTIVATE)
    assert graph.change_state(NAME, Transition.TRANSITION_ACTIVATE)
    robot = Robot(graph, node, street_info)
    graph.until(robot.maps.get_subscription_count, "the map's subscription")
    robot.announce(street_map)
    robot.ready()
    graph.until(lambda: f"map {street_map}" in robot.logs(), "the map")
    yield robot
    assert "bug" not in robot.logs() and "Traceback" not in robot.logs()


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(robot: Robot, encoding: str) -> Image:
    """An image of noise in an encoding, its rows padded by 4 bytes."""
    step = 160 * ENCODINGS[encoding].bytes_per_pixel + 4
    data = np.random.default_rng(0).integers(0, 256, 96 * step, dtype=np.uint8)
    return Image(header=robot.header(), height=96, width=160, encoding=encoding, step=step,
                 data=data.tobytes())  # fmt: skip


def corrupted(robot: Robot, encoding: str) -> list[Image]:
    """The ways in which an image can be broken."""
    short, step, name, empty, rows = (encoded(robot, encoding) for _ in range(5))
    short.data = short.data[:-1]
    step.step = 7
    name.encoding = f"{encoding}x"
    empty.data = empty.data[:0]
    rows.height = 2**32 - 1
    return [short, step, name, empty, rows]


@pytest.mark.parametrize("encoding", ["rgb8", "bgra8", "mono8", "bayer_rggb16", "yuv422_yuy2"])
def test_every_encoding_right_and_corrupted(robot, encoding: str) -> None:
    robot.localise(encoded(robot, encoding))
    robot.fail(corrupted(robot, encoding))
    robot.localise(encoded(robot, encoding))
    recovered = "can localise an image again, after 5 failures"
    robot.graph.until(lambda: recovered in robot.logs(), "the recovery")


def test_a_thousand_malformed_messages(robot) -> None:
    """Each kind is logged once, the node answers the next image, and says so."""
    robot.localise()
    good = image_message(noise(96, 160), robot.header())
    for _ in range(25):
        messages: list[Image | CompressedImage] = corrupted(robot, "bgr8")
        messages += [image_message(noise(48, 160), robot.header()) for _ in range(2)]
        messages += [
            CompressedImage(header=robot.header(), format="jpeg", data=b"no jpeg" * number)
            for number in range(1, 4)
        ]
        robot.fail(messages)
        for _ in range(15):
            robot.infos.publish(CameraInfo(width=160, height=96, p=[float("nan")] * 12))
            robot.maps.publish(String(data="no JSON"))
    answered = robot.localise(image_message(noise(96, 160), robot.header()))
    assert answered.header.stamp.sec > good.header.stamp.sec
    robot.graph.until(lambda: "after 250 failures" in robot.logs(), "the recovery")
    for fault in ("image data for 96 rows", "image step", "'bgr8x'", "the image is 160x48 pixels",
                  "readable jpeg or png", "is unusable", "must be JSON"):  # fmt: skip
        assert robot.logs().count(fault) >= 1, fault
    assert len(robot.logs().splitlines()) < 25, robot.logs()


def test_camera_info_that_changes_its_size(robot, street_info) -> None:
    double = CameraInfo(
        width=320, height=192, p=[180.0, 0, 159.5, 0, 0, 180.0, 95.5, 0, 0, 0, 1, 0]
    )
    robot.localise()
    camera_input = robot.node._camera_input
    robot.infos.publish(double)
    robot.graph.until(lambda: camera_input._camera.calibration.width == 320, "the new size")
    robot.fail([image_message(noise(96, 160), robot.header())])
    assert "the image is 160x96 pixels, but /faults/camera_info is of 320x192" in robot.logs()
    robot.localise(image_message(noise(192, 320), robot.header()))
    robot.infos.publish(street_info)
    robot.graph.until(lambda: camera_input._camera.calibration.width == 160, "the old size")
    robot.localise()


def test_stamps_that_go_back(robot) -> None:
    """A looped bag: the state starts again, and the images of each round are answered."""
    robot.localise()
    robot.graph.until(lambda: robot.states[-1].data == "LOCALIZED", "LOCALIZED")
    count = len(robot.states)
    robot._stamp_s -= 500
    robot.localise()
    robot.graph.until(
        lambda: [s.data for s in robot.states[count:]] == ["LOST", "LOCALIZED"], "a new start"
    )
    assert "the stamps of the images went back by 499.0 s: starting again" in robot.logs()


def test_the_map_folder_is_deleted_and_replaced(robot, street_map: Path, tmp_path: Path) -> None:
    """The map in use is in memory; a folder that is announced again is read again."""
    folder = tmp_path / "map"
    shutil.copytree(street_map, folder)
    robot.announce(folder)
    robot.graph.until(lambda: f"map {folder}: " in robot.logs(), "the map")
    robot.localise()
    shutil.rmtree(folder)
    robot.localise()
    robot.announce(folder)
    robot.graph.until(lambda: f"cannot use map {folder}" in robot.logs(), "the error")
    assert robot.logs().count("no place map there") == 1
    robot.localise()
    half = PlaceMap.load(street_map)
    replace(half, **{
        name: getattr(half, name)[::2]
        for name in ("positions", "axes", "descriptors", "panorama_labels", "panorama_ranges")
    }).save(folder)  # fmt: skip
    robot.announce(folder)
    robot.graph.until(
        lambda: f"map {folder}: {(len(half) + 1) // 2} places" in robot.logs(), "the other map"
    )
    robot.localise()


def test_a_map_loader_that_comes_back_with_another_checkpoint(
    robot, node, street_map: Path, tmp_path: Path
) -> None:
    """One error; the map before stays in use until one fits."""
    robot.localise()
    replace(PlaceMap.load(street_map), fingerprint="0" * 64).save(tmp_path / "foreign")
    robot.graph.node.destroy_publisher(robot.maps)
    robot.graph.until(lambda: node.count_publishers("/faults/map_loader/place_map") == 0, "its end")
    robot.maps = robot.graph.publisher(String, "/faults/map_loader/place_map", LATCHED)
    robot.announce(tmp_path / "foreign")  # latched: the localizer gets it once it is discovered
    robot.graph.until(lambda: "was made by checkpoint 000000000000" in robot.logs(), "the error")
    robot.localise()
    robot.announce(street_map)
    robot.graph.until(lambda: robot.logs().count(f"map {street_map}: ") == 2, "the map")
    robot.localise()
    assert robot.logs().count("was made by checkpoint") == 1


def test_parameters_that_change_at_run_time(robot) -> None:
    """Through the node's own service, as `ros2 param set` does."""

    def set_parameter(name: str, value: object) -> str:
        parameters = [Parameter(name, value=value).to_parameter_msg()]
        answer = robot.graph.call(SetParameters, f"{NAME}/set_parameters", parameters=parameters)
        return str(answer.results[0].reason)

    assert "map_frame: fixed" in set_parameter("map_frame", "world")
    assert "must rise" in set_parameter("tracking.state.lost_probability", 0.5)
    assert "must not be negative" in set_parameter("transform_tolerance_s", -1.0)
    robot.localise()
    robot.graph.until(lambda: robot.states[-1].data == "LOCALIZED", "LOCALIZED")
    assert not set_parameter("tracking.state.max_deviation_m", 1e-6)
    robot.localise()
    robot.graph.until(lambda: robot.states[-1].data == "TENTATIVE", "the new threshold")
    assert "publish_pose_from" in set_parameter("publish_pose_from", "sure")
    assert not set_parameter("publish_pose_from", "localized")
    count = len(robot.poses)
    robot.let_answer()
    assert not set_parameter("publish_pose_from", "tentative")
    robot.localise()
    assert len(robot.poses) == count + 1, "one TENTATIVE pose was kept back"
    assert not set_parameter("tracking.state.max_age_s", 0.1)
    robot.graph.until(lambda: robot.states[-1].data == "LOST", "the age")
    assert not set_parameter("tracking.state.max_age_s", 60.0)
    for name in ("localized", "doubted", "tentative", "lost"):
        assert not set_parameter(f"tracking.state.{name}_probability", 1.0)
    count = len(robot.poses)
    robot.let_answer()
    assert not set_parameter("publish_pose_from", "lost")
    robot.localise()
    assert len(robot.poses) == count + 1, "one LOST pose was kept back"
    for name, value in reversed(ALWAYS_LOCALIZED.items()):
        assert not set_parameter(name, value)
    assert not set_parameter("queue_size", 50)
    assert robot.node.worker.capacity == 50
