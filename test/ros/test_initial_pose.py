"""Poses from `initialpose`, and which ones are refused."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2: source one, or install the rclpy wheels")

from geometry_msgs.msg import PoseWithCovarianceStamped
from std_msgs.msg import Header

from scmpr_ros.errors import ScmprError
from scmpr_ros.geometry import make_transform, rotation_z
from scmpr_ros.ros.initial_pose import read_initial_pose
from scmpr_ros.ros.match_messages import pose_with_covariance

T = make_transform(rotation_z(0.5), np.array([10.0, 20.0, 0.0]))
RVIZ = np.diag([0.25, 0.25, 0.0, 0.0, 0.0, 0.0685])


def message(covariance: np.ndarray = RVIZ, frame: str = "map") -> PoseWithCovarianceStamped:
    return pose_with_covariance(T, covariance, Header(frame_id=frame))


def test_takes_the_pose_that_rviz_sends() -> None:
    pose, covariance = read_initial_pose(message(), "map")
    np.testing.assert_allclose(pose, T, atol=1e-12)
    np.testing.assert_allclose(covariance[[0, 1, 5], [0, 1, 5]], [0.25, 0.25, 0.0685])
    assert np.linalg.eigvalsh(covariance).min() > 0, "heights are not certain"


def test_a_covariance_of_zeros_is_an_unknown_one() -> None:
    _, covariance = read_initial_pose(message(np.zeros((6, 6))), "map")
    np.testing.assert_allclose(np.sqrt(np.diag(covariance))[[0, 5]], [0.5, 0.26])


def test_correlations_are_kept() -> None:
    given = RVIZ + np.eye(6)
    given[0, 1] = given[1, 0] = 0.7
    _, covariance = read_initial_pose(message(given), "map")
    np.testing.assert_allclose(covariance, given)


def _spoil(field: str) -> PoseWithCovarianceStamped:
    spoilt = message()
    if field == "position":
        spoilt.pose.pose.position.x = float("nan")
    elif field == "rotation":
        spoilt.pose.pose.orientation.w = float("nan")
    elif field == "covariance":
        spoilt.pose.covariance[0] = float("inf")
    elif field == "negative":
        spoilt.pose.covariance[0] = -1.0
    else:
        spoilt.header.frame_id = field
    return spoilt


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("position", "not finite"),
        ("rotation", "quaternion"),
        ("covariance", "not finite"),
        ("negative", "negative eigenvalues"),
        ("odom", r"'odom', but poses are in 'map'"),
        ("", r"frame '', but"),
    ],
)
def test_refuses(field: str, text: str) -> None:
    with pytest.raises(ScmprError, match=text):
        read_initial_pose(_spoil(field), "map")
