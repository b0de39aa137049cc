"""Odometry at an image's stamp: between messages, and where it must be treated as missing."""

from __future__ import annotations

import threading

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2: source one, or install the rclpy wheels")

from geometry_msgs.msg import Quaternion
from nav_msgs.msg import Odometry
from rclpy.qos import QoSProfile, ReliabilityPolicy

from scmpr_ros.geometry import make_transform, rotation_z
from scmpr_ros.ros.conversions import pose_message
from scmpr_ros.ros.localizer_config import LocalizerNodeConfig, OdometryConfig
from scmpr_ros.ros.odometry import OdometryBuffer, OdometryInput, TopicOdometry

SECOND = 1_000_000_000
BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)


def pose(x: float, yaw_rad: float = 0.0) -> np.ndarray:
    return make_transform(rotation_z(yaw_rad), np.array([x, 0.0, 0.0]))


def odometry(stamp_ns: int, T: np.ndarray, child: str = "base_link") -> Odometry:
    message = Odometry(child_frame_id=child)
    message.header.frame_id = "odom"
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, SECOND)
    message.pose.pose = pose_message(T)
    return message


@pytest.fixture
def buffer() -> OdometryBuffer:
    return OdometryBuffer(max_gap_s=0.5, max_speed_m_s=30.0)


def test_interpolates_position_and_rotation(buffer: OdometryBuffer) -> None:
    for stamp, T in ((0, pose(0.0)), (SECOND // 4, pose(1.0, 0.4)), (SECOND, pose(4.0, 0.4))):
        assert buffer.add(SECOND + stamp, T) == ""
    between = buffer.pose_at(SECOND + SECOND // 8)
    np.testing.assert_allclose(between, pose(0.5, 0.2), atol=1e-9)
    np.testing.assert_allclose(buffer.pose_at(2 * SECOND), pose(4.0, 0.4), atol=1e-9)
    assert buffer.pose_at(SECOND - 1) is None and buffer.pose_at(2 * SECOND + 1) is None
    assert buffer.pose_at(SECOND + SECOND // 2) is None, "a gap of 0.75 s"


def test_refuses_what_is_not_finite_or_out_of_order(buffer: OdometryBuffer) -> None:
    assert buffer.add(2 * SECOND, pose(1.0)) == ""
    assert "not finite" in buffer.add(2 * SECOND + 1, pose(np.nan))
    assert "out of order" in buffer.add(2 * SECOND - 1, pose(1.0))
    assert buffer.add(2 * SECOND, pose(7.0)) == "", "a repeated message is no fault"
    np.testing.assert_allclose(buffer.pose_at(2 * SECOND), pose(1.0))
    assert buffer.epoch == 0


@pytest.mark.parametrize(
    ("stamp", "T", "problem"),
    [
        (2.1, pose(20.0), "jumped by 19.0 m"),
        (2.1, pose(1.0, np.pi), "and 180 deg"),
        (0.5, pose(1.0), "went back in time by 1.5 s"),
    ],
)
def test_starts_anew_after_a_jump(
    buffer: OdometryBuffer, stamp: float, T: np.ndarray, problem: str
) -> None:
    buffer.add(2 * SECOND, pose(1.0))
    assert problem in buffer.add(int(stamp * SECOND), T)
    assert buffer.epoch == 1
    assert buffer.pose_at(2 * SECOND) is None, "nothing lies between the two frames"
    np.testing.assert_allclose(buffer.pose_at(int(stamp * SECOND)), T)
    assert buffer.add(int((stamp + 0.1) * SECOND), T) == "", "this is the present now"


class CountingOdometry(TopicOdometry):
    """Counts the messages that it has taken, so that tests can wait for them."""

    taken = 0

    def _on_odometry(self, message: Odometry) -> None:
        super()._on_odometry(message)
        self.taken += 1


class Robot:
    """Publishes odometry to an `OdometryInput` of the test's node."""

    def __init__(self, graph, monkeypatch: pytest.MonkeyPatch, **settings: object) -> None:
        monkeypatch.setattr("scmpr_ros.ros.odometry.TopicOdometry", CountingOdometry)
        config = LocalizerNodeConfig(odometry=OdometryConfig(**settings))
        self.graph, self.input = graph, OdometryInput(graph.node, config, None)
        self._publisher = graph.publisher(Odometry, "odom", BEST_EFFORT)
        graph.until(self._publisher.get_subscription_count, "the subscription")

    def publish(self, *messages: Odometry) -> None:
        """Publish and wait until each is taken."""
        topic = self.input._topic
        for message in messages:
            count = topic.taken
            self.graph.publish_until(self._publisher, message, lambda c=count: topic.taken > c)


@pytest.fixture
def make_robot(graph, monkeypatch: pytest.MonkeyPatch):
    return lambda **settings: Robot(graph, monkeypatch, **settings)


@pytest.fixture
def logged(capfd):
    return lambda: capfd.readouterr().err


def test_messages_become_poses(graph, make_robot) -> None:
    robot = make_robot(source="topic")
    assert robot.input.pose_at(5 * SECOND) is None
    robot.publish(odometry(5 * SECOND, pose(1.0)), odometry(5 * SECOND + SECOND // 5, pose(2.0)))
    np.testing.assert_allclose(robot.input.pose_at(5 * SECOND + SECOND // 10), pose(1.5), atol=1e-9)
    assert robot.input.description == "topic /odom"
    robot.input.destroy()
    assert graph.node.count_subscribers("/odom") == 0


def test_waits_for_odometry_that_is_on_its_way(graph, make_robot) -> None:
    robot = make_robot(source="auto", timeout_s=10.0)
    robot.publish(odometry(5 * SECOND, pose(1.0)))
    found: list[np.ndarray | None] = []
    late = 5 * SECOND + SECOND // 10
    waiting = threading.Thread(target=lambda: found.append(robot.input.pose_at(late)))
    waiting.start()
    graph.until(lambda: robot.input._topic._changed._waiters, "the wait")
    robot.publish(odometry(5 * SECOND + SECOND // 5, pose(2.0)))
    graph.until(lambda: found, "the pose, before the timeout", timeout_s=5.0)
    waiting.join()
    np.testing.assert_allclose(found[0], pose(1.5), atol=1e-9)


def test_faulty_odometry_is_missing_and_said_once(make_robot, logged) -> None:
    robot = make_robot(source="auto")
    robot.publish(odometry(5 * SECOND, pose(1.0)), odometry(5 * SECOND + SECOND // 5, pose(2.0)))
    assert robot.input.pose_at(5 * SECOND + SECOND // 10) is not None
    spoilt = odometry(5 * SECOND + SECOND // 4, pose(2.0))
    spoilt.pose.pose.position.x = float("nan")
    twisted = odometry(5 * SECOND + SECOND // 4, pose(2.0))
    twisted.pose.pose.orientation = Quaternion(x=0.0, y=0.0, z=0.0, w=0.0)
    robot.publish(*[spoilt] * 20, twisted)
    text = logged()
    assert text.count("not finite: treated as missing") == 1 and "Traceback" not in text
    assert text.count("no rotation: treated as missing") == 1, "one fault does not hide another"
    assert robot.input.pose_at(5 * SECOND + SECOND // 2) is None
    robot.publish(odometry(5 * SECOND + SECOND // 2, pose(3.0)))
    assert robot.input.pose_at(5 * SECOND + SECOND // 2) is not None, "it has recovered"


def test_motion_over_a_jump_is_missing_once(make_robot, logged) -> None:
    robot = make_robot(source="auto")
    robot.publish(odometry(5 * SECOND, pose(1.0)))
    assert robot.input.pose_at(5 * SECOND) is not None
    robot.publish(odometry(6 * SECOND, pose(500.0)), odometry(7 * SECOND, pose(500.0)))
    assert robot.input.pose_at(6 * SECOND) is None
    np.testing.assert_allclose(robot.input.pose_at(7 * SECOND), pose(500.0))
    assert "jumped by 499.0 m" in logged()


def test_odometry_of_another_frame_is_noticed(make_robot, logged) -> None:
    robot = make_robot(source="topic")
    robot.publish(*[odometry(n * SECOND, pose(1.0), child="wheel") for n in (5, 6)])
    assert logged().count("is that of wheel, taken for that of base_link") == 1


def test_none_does_not_listen(graph) -> None:
    odometry_input = OdometryInput(
        graph.node, LocalizerNodeConfig(odometry=OdometryConfig(source="none")), None
    )
    assert graph.node.count_subscribers("/odom") == 0
    assert odometry_input.pose_at(5 * SECOND) is None
    assert odometry_input.description == "none: switched off"
