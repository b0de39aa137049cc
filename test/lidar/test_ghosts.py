"""Ghost removal drops moving objects and keeps static ones and the ground."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scmpr_ros.datasets.kitti.odometry import KittiOdometryDrive
from scmpr_ros.errors import ConfigError
from scmpr_ros.lidar.accumulation import AccumulationConfig, accumulate
from scmpr_ros.lidar.cloud_files import read_cloud
from scmpr_ros.lidar.ghosts import GhostConfig, remove_ghosts

FACADE = ((-30, 9, 0), (50, 10, 8))
HOARDING = ((-30, -9, 0), (50, -8.9, 2.5))
PARKED_CAR = ((8, 5, 0), (12, 6.8, 1.5))
POLE = ((15, -5.1, 0), (15.2, -4.9, 5))
STREET = [FACADE, HOARDING, PARKED_CAR, POLE]


def oncoming_car(step: int):
    x = 35.0 - 3.0 * step
    return ((x, -3.8, 0), (x + 4.2, -2.0, 1.5))


def inside(xyz: np.ndarray, box, margin_m: float = 0.1) -> np.ndarray:
    low, high = np.array(box[0]) - margin_m, np.array(box[1]) + margin_m
    return ((xyz >= low) & (xyz <= high)).all(axis=1) & (xyz[:, 2] > 0.25)


@pytest.fixture(scope="module")
def carved(drive_past):
    scans = drive_past(lambda step: [*STREET, oncoming_car(step)])
    cloud = accumulate(scans, AccumulationConfig(min_hits=1))
    return cloud, scans, remove_ghosts(cloud, scans, GhostConfig())


def test_moving_car_is_removed(carved) -> None:
    cloud, _, keep = carved
    ghost = np.any([inside(cloud.xyz, oncoming_car(step)) for step in range(11)], axis=0)
    ghost &= cloud.xyz[:, 0] < 25  # beyond, too few scans see through it
    assert ghost.sum() > 500
    assert keep[ghost].mean() < 0.05


@pytest.mark.parametrize("box", STREET, ids=["facade", "hoarding", "parked car", "pole"])
def test_static_objects_are_kept(carved, box) -> None:
    cloud, _, keep = carved
    part = inside(cloud.xyz, box)
    assert part.sum() > 20
    assert keep[part].mean() > 0.98


def test_ground_is_kept(carved) -> None:
    cloud, _, keep = carved
    assert keep[cloud.xyz[:, 2] < 0.1].all()


def test_static_scene_is_kept(drive_past) -> None:
    scans = drive_past(lambda step: STREET)
    cloud = accumulate(scans, AccumulationConfig(min_hits=1))
    assert remove_ghosts(cloud, scans, GhostConfig()).mean() > 0.999


def test_origin_of_the_map_is_used(carved) -> None:
    cloud, scans, keep = carved
    far = np.array([613200.0, 4116300.0, 100.0])
    shift = np.eye(4)
    shift[:3, 3] = far
    moved = [(scan, shift @ T_map_lidar) for scan, T_map_lidar in scans]
    keep_far = remove_ghosts(replace(cloud, origin=far), moved, GhostConfig())
    assert (keep_far == keep).mean() > 0.999


def test_without_scans_everything_is_kept(carved) -> None:
    cloud, _, _ = carved
    assert remove_ghosts(cloud, [], GhostConfig()).all()


@pytest.mark.parametrize(
    "bad",
    [
        {"margin_m": 0.0},
        {"max_range_m": 1.0},
        {"min_seen_through": 0},
        {"max_confirmed_share": 1.0},
    ],
)
def test_bad_config(bad) -> None:
    with pytest.raises(ConfigError):
        GhostConfig(**bad)


def test_real_drive_loses_streaks_and_keeps_walls(shared_data: Path) -> None:
    folder = shared_data / "kitti_drive_0005"
    cloud = read_cloud(folder / "map.ply")
    drive = KittiOdometryDrive(folder, "0005")
    scans = ((drive.scan(frame), drive.T_world_lidar(frame)) for frame in drive.scan_frames)
    keep = remove_ghosts(cloud, scans, GhostConfig())
    x, y, z = cloud.xyz.T
    # The roof of the vehicle ahead left a streak 1.2 to 1.6 m above the road, all along the drive.
    streak = (x > 20) & (x < 50) & (y > 11.5) & (y < 19) & (z > -1.2) & (z < -0.2)
    streak &= np.hypot(x - 35, y - 24) > 6
    facade = (x > 70) & (x < 88) & (y > -3) & (y < 2) & (z > 0)
    parked_car = (x > 11) & (x < 15) & (y > -18.5) & (y < -14) & (z > -1.6)
    assert 0.05 < np.mean(~keep) < 0.15
    assert keep[streak & (y > 14)].mean() < 0.2
    assert keep[facade].mean() > 0.99
    assert keep[parked_car].mean() > 0.95
