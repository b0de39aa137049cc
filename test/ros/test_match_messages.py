"""Messages made of a match, and diagnostics."""

from __future__ import annotations

import json

import numpy as np
import pytest
from camera_poses import level_camera_pose

pytest.importorskip("rclpy", reason="no ROS 2: source one, or install the rclpy wheels")

from builtin_interfaces.msg import Time
from std_msgs.msg import Header

from scmpr_ros.errors import ConfigError
from scmpr_ros.records import Candidate, PlaceMatch
from scmpr_ros.ros.match_messages import (
    CovarianceConfig,
    candidate_poses,
    covariance,
    markers,
    match_summary,
    pose_with_covariance,
)
from scmpr_ros.ros.statistics import ERROR, OK, STALE, WARN, Statistics


def match(*candidates: tuple[float, float, float, float]) -> PlaceMatch:
    """Make candidates of (x, y, yaw, confidence)."""
    return PlaceMatch(
        tuple(
            Candidate(
                i, i, level_camera_pose(np.array([x, y, 1.0]), yaw), 0.8, 0.8, 0.0, confidence
            )
            for i, (x, y, yaw, confidence) in enumerate(candidates)
        ),
        np.zeros((2, 3), np.uint8),
    )


def test_covariance_of_one_candidate_is_the_floor() -> None:
    config = CovarianceConfig(position_floor_m=0.5, angle_floor_rad=0.2)
    spread = covariance(match((1, 2, 0.3, 0.9)), config)
    np.testing.assert_allclose(spread, np.diag([0.25] * 3 + [0.04] * 3))


def test_covariance_grows_with_spread_and_wraps_angles() -> None:
    config = CovarianceConfig(position_floor_m=1.0, angle_floor_rad=0.1)
    equal = covariance(match((0, 0, 3.1, 0.4), (10, 0, -3.1, 0.4)), config)
    assert equal[0, 0] == pytest.approx(0.5 * 10**2 + 1)
    assert equal[5, 5] == pytest.approx(0.5 * (2 * np.pi - 6.2) ** 2 + 0.01)
    assert equal[0, 5] == pytest.approx(0.5 * 10 * (2 * np.pi - 6.2))
    weaker = covariance(match((0, 0, 0, 0.6), (10, 0, 0, 0.2)), config)
    assert weaker[0, 0] == pytest.approx(0.25 * 100 + 1)
    with pytest.raises(ConfigError, match=r"position_floor_m must be positive"):
        CovarianceConfig(position_floor_m=0.0)


def test_messages() -> None:
    found, header = match((1, 2, np.pi / 2, 0.9), (3, 4, 0, 0.2)), Header(frame_id="map")
    array = candidate_poses(found, header)
    best = array.poses[0]
    assert (best.position.x, best.position.y, len(array.poses)) == (1.0, 2.0, 2)
    assert best.orientation.z == pytest.approx(np.sqrt(0.5))  # x axis along the view: yaw alone
    assert best.orientation.x == pytest.approx(0.0, abs=1e-12)
    arrows = markers(found, header).markers
    assert [a.action for a in arrows] == [3, 0, 0]
    assert arrows[1].color.g > arrows[2].color.g and arrows[1].scale.x > arrows[2].scale.x
    pose = pose_with_covariance(np.eye(4), np.diag(np.arange(1.0, 7.0)), header)
    assert pose.pose.covariance[35] == 6.0 and pose.header.frame_id == "map"
    summary = json.loads(match_summary(found, "LOCALIZED", Time(sec=5, nanosec=6)))
    assert summary["confidence"] == 0.9 and summary["outcome"] == "LOCALIZED"
    assert summary["stamp"] == {"sec": 5, "nanosec": 6}
    assert summary["candidates"][1]["position"] == [3.0, 4.0, 1.0]
    assert summary["candidates"][1]["confidence"] == 0.2


def test_diagnostics() -> None:
    statistics = Statistics()
    assert statistics.health("LOST", None, 5.0) == (WARN, "LOST: no image localised yet")
    statistics.localized(0.1)
    statistics.localized(0.3)
    assert statistics.health("LOCALIZED", 1.0, 5.0) == (OK, "LOCALIZED")
    assert statistics.health("LOST", 1.0, 5.0) == (WARN, "LOST")
    assert statistics.health("LOST", 6.0, 5.0) == (STALE, "LOST: no image localised for 6 s")
    status = statistics.message(Header(), "/r1/localizer", "LOST", (OK, "fine")).status[0]
    assert (status.name, status.level, status.message) == (
        "/r1/localizer: localization",
        OK,
        "fine",
    )
    values = {v.key: v.value for v in status.values}
    assert values["images localized"] == "2" and values["latency p50 (ms)"] == "200.0"
    statistics.failed("zero size")
    assert statistics.health("LOCALIZED", 1.0, 5.0) == (ERROR, "zero size")
