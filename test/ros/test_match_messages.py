"""Messages made of an answer, and diagnostics."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from camera_poses import level_camera_pose

pytest.importorskip("rclpy", reason="no ROS 2: source one, or install the rclpy wheels")

from builtin_interfaces.msg import Time
from std_msgs.msg import Header

from scmpr_ros.pipeline.tracked_pose import PoseHypothesis, TrackedPose
from scmpr_ros.pipeline.tracking_localizer import TrackedAnswer
from scmpr_ros.records import Candidate, PlaceMatch
from scmpr_ros.ros.match_messages import (
    answer_status,
    answer_summary,
    hypothesis_poses,
    markers,
    pose_with_covariance,
)
from scmpr_ros.ros.statistics import ERROR, OK, STALE, WARN, Statistics


def camera(x: float, y: float, yaw_rad: float) -> np.ndarray:
    return level_camera_pose(np.array([x, y, 1.0]), yaw_rad)


@pytest.fixture
def answer() -> TrackedAnswer:
    """A pose with an alternative; the single image names another place."""
    hypotheses = tuple(
        PoseHypothesis(camera(*at), np.eye(3), probability)
        for at, probability in (((1, 2, np.pi / 2), 0.75), ((3, 4, 0), 0.25))
    )
    pose = TrackedPose(
        "LOCALIZED", "three images agree", hypotheses[0].T_map_camera, np.eye(6), 0.875, 0.03125,
        hypotheses,
    )  # fmt: skip
    match = PlaceMatch((Candidate(7, 8, camera(5, 6, 0), 0.5, 0.25, 0.25, 0.125),), None)
    return TrackedAnswer(SimpleNamespace(), match, pose)


def test_poses_and_markers(answer: TrackedAnswer) -> None:
    header = Header(frame_id="map")
    array = hypothesis_poses(answer.pose, header)
    best = array.poses[0]
    assert (best.position.x, best.position.y, len(array.poses)) == (1.0, 2.0, 2)
    assert best.orientation.z == pytest.approx(np.sqrt(0.5))  # x axis along the view: yaw alone
    assert best.orientation.x == pytest.approx(0.0, abs=1e-12)
    arrows = markers(answer.pose, header).markers
    assert [a.action for a in arrows] == [3, 0, 0, 0]
    assert arrows[3].text == "LOCALIZED 88%" and arrows[3].pose.position.x == 1.0
    assert arrows[1].color.g > arrows[2].color.g and arrows[1].scale.x > arrows[2].scale.x
    pose = pose_with_covariance(np.eye(4), np.diag(np.arange(1.0, 7.0)), header)
    assert pose.pose.covariance[35] == 6.0 and pose.header.frame_id == "map"


def test_status(answer: TrackedAnswer) -> None:
    message = answer_status(answer, Header(stamp=Time(sec=5, nanosec=6)), "/r1/localizer", 0.0625)
    assert message.header.stamp == Time(sec=5, nanosec=6)
    (status,) = message.status
    assert (status.name, status.level) == ("/r1/localizer: answer", OK)
    assert status.message == "LOCALIZED: three images agree"
    values = {v.key: v.value for v in status.values}
    assert values["state"] == "LOCALIZED" and values["reason"] == "three images agree"
    assert json.loads(values["image_candidates"]) == [
        {"position": [5.0, 6.0, 1.0], "yaw_rad": 0.0, "confidence": 0.125}
    ]
    texts = {"state", "reason", "image_candidates"}
    numbers = {key: float(values[key]) for key in values.keys() - texts}
    assert numbers == pytest.approx(
        {"score": 0.5, "near_probability": 0.875, "off_map_probability": 0.0312,
         "latency_ms": 62.5}
    )  # fmt: skip


def test_summary(answer: TrackedAnswer) -> None:
    summary = json.loads(answer_summary(answer, Time(sec=5, nanosec=6)))
    assert summary["confidence"] == 0.875 and summary["outcome"] == "LOCALIZED"
    assert summary["off_map_probability"] == 0.03125 and summary["score"] == 0.5
    assert summary["stamp"] == {"sec": 5, "nanosec": 6}
    assert summary["hypotheses"][1] == {
        "position": [3.0, 4.0, 1.0], "yaw_rad": 0.0, "probability": 0.25,
    }  # fmt: skip
    (candidate,) = summary["candidates"]
    assert candidate["position"] == [5.0, 6.0, 1.0] and candidate["confidence"] == 0.125


def test_diagnostics() -> None:
    statistics = Statistics()
    assert statistics.health("LOST", "", None, 5.0) == (WARN, "LOST: no image localised yet")
    statistics.localized(0.1)
    statistics.localized(0.3)
    assert statistics.health("LOCALIZED", "sure", 1.0, 5.0) == (OK, "LOCALIZED: sure")
    assert statistics.health("LOST", "off the map", 1.0, 5.0) == (WARN, "LOST: off the map")
    assert statistics.health("LOST", "", 6.0, 5.0) == (STALE, "LOST: no image localised for 6 s")
    extra = {"state": "LOST", "odometry": "topic /odom"}
    status = statistics.message(Header(), "/r1/localizer", (OK, "fine"), extra).status[0]
    assert (status.name, status.level, status.message) == (
        "/r1/localizer: localization",
        OK,
        "fine",
    )
    values = {v.key: v.value for v in status.values}
    assert values["images localized"] == "2" and values["latency p50 (ms)"] == "200.0"
    assert values["odometry"] == "topic /odom" and values["state"] == "LOST"
    statistics.failed("zero size")
    assert statistics.health("LOCALIZED", "", 1.0, 5.0) == (ERROR, "zero size")
