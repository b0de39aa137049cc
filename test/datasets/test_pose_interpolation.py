"""Interpolation of poses: values, gaps and stamps outside."""

from __future__ import annotations

import numpy as np
import pytest

from scmpr_ros.datasets.pose_interpolation import interpolate_poses
from scmpr_ros.geometry import make_transform, rotation_z

STAMPS = np.array([10, 20, 40])
POSES = np.stack([make_transform(rotation_z(0.1 * s), np.array([s, 0.0, 0.0])) for s in STAMPS])


def test_position_is_linear_and_rotation_is_slerp() -> None:
    posed = interpolate_poses(STAMPS, POSES, np.array([12, 20, 35]), max_gap=20)
    for index, stamp in enumerate((12, 20, 35)):
        expected = make_transform(rotation_z(0.1 * stamp), np.array([stamp, 0.0, 0.0]))
        np.testing.assert_allclose(posed[index], expected, atol=1e-12)


@pytest.mark.parametrize("unit", [1.0, 10.0])
def test_stamps_outside_and_in_wide_gaps_have_no_pose(unit: float) -> None:
    wanted = np.array([5, 10, 15, 30, 40, 41])
    assert list(interpolate_poses(STAMPS, POSES, wanted, 10 / unit, unit)) == [1, 2, 4]


def test_a_single_pose() -> None:
    posed = interpolate_poses(STAMPS[:1], POSES[:1], np.array([9, 10, 11]), max_gap=100)
    assert list(posed) == [1]
    np.testing.assert_array_equal(posed[1], POSES[0])
