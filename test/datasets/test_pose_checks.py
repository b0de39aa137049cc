"""Poses in the axes of another sensor are noticed by how a vehicle moves."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from scmpr_ros.datasets.pose_checks import check_forward, check_world_up
from scmpr_ros.errors import DatasetError
from scmpr_ros.geometry import R_BODY_OPTICAL, invert, make_transform

OPTICAL = make_transform(R_BODY_OPTICAL, np.zeros(3))


def drive(turn_deg: float, slope: float = 0.0, count: int = 60) -> np.ndarray:
    """Poses (N, 4, 4) along an arc: x forward, z up."""
    yaw = np.radians(np.linspace(0, turn_deg, count))
    steps = np.stack([np.cos(yaw), np.sin(yaw), np.full(count, slope)], axis=1)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = Rotation.from_euler("z", yaw[:, None]).as_matrix()
    poses[:, :3, 3] = np.cumsum(steps, axis=0)
    return poses


@pytest.mark.parametrize("turn_deg", [0, 90, 400])
def test_vehicles_are_accepted(turn_deg: float, caplog) -> None:
    poses = drive(turn_deg, slope=0.3)
    mounted = poses @ make_transform(Rotation.from_euler("yz", [80, 180], degrees=True).as_matrix(),
                                     np.ones(3))  # fmt: skip
    for T in (poses, mounted, poses[:1], np.repeat(poses[:1], 9, axis=0)):
        check_world_up("/odom", T, "turn it")
    check_forward("poses.txt", poses)
    assert not caplog.text


def test_a_first_pose_that_is_wrong() -> None:
    poses = drive(30)
    poses[:3, :3, :3] = Rotation.from_euler("x", 120, degrees=True).as_matrix()
    check_world_up("/odom", poses, "turn it")


def test_heights_that_vary() -> None:
    """A slow robot, whose height by GNSS varies more than it drives in a tenth of a second."""
    poses = drive(30, count=300)
    poses[:, :3, 3] *= 0.01
    poses[:, 2, 3] += np.random.default_rng(0).normal(0, 0.6, 300)
    check_world_up("/gps/odom", poses, "turn it")


@pytest.mark.parametrize(("turn_deg", "found"), [(0, "along the world's z"), (360, "tipped over")])
def test_a_world_with_the_axes_of_a_camera(turn_deg: float, found: str) -> None:
    """As that of LeGO-LOAM."""
    poses = invert(OPTICAL) @ drive(turn_deg) @ OPTICAL
    with pytest.raises(DatasetError, match=f"/odom: .*{found}.* z must be up .*: turn it"):
        check_world_up("/odom", poses, "turn it")


def test_poses_of_the_lidar_in_place_of_the_camera(caplog) -> None:
    """KISS-ICP writes such in KITTI's format."""
    taken = OPTICAL @ drive(40) @ invert(OPTICAL)
    with pytest.raises(DatasetError, match=r"poses.txt: these poses move sideways: .* Tr @ T"):
        check_forward("poses.txt", taken)
    with caplog.at_level(logging.WARNING):
        check_forward("poses.txt", OPTICAL @ drive(0) @ invert(OPTICAL))
    assert "these poses move sideways" in caplog.text


def test_a_lidar_that_is_mounted_sideways_turns(caplog) -> None:
    sideways = make_transform(Rotation.from_euler("z", 90, degrees=True).as_matrix(), np.zeros(3))
    check_forward("poses.txt", drive(90) @ sideways)
    assert not caplog.text
