"""Without scans, ghosts above well-covered ground are removed, and what stands still is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scmpr_ros.errors import ConfigError
from scmpr_ros.lidar.accumulation import AccumulationConfig, accumulate
from scmpr_ros.lidar.cloud_files import read_cloud
from scmpr_ros.lidar.ground_ghosts import GroundGhostConfig, remove_ghosts_by_ground

CONFIG = GroundGhostConfig()
VOXEL_M = 0.15
ROAD = (0, 40, -12, 12)  # smallest and largest x, and y
STREAK = ((8, -3, 0), (30, -1.2, 1.5))


def filled(low, high, step_m: float = VOXEL_M) -> np.ndarray:
    """Points (N, 3) that fill a box."""
    axes = [np.arange(a, max(b, a + step_m / 2), step_m) for a, b in zip(low, high, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3).astype(float)


def shell(low, high) -> np.ndarray:
    """Points of the sides and the top of a box."""
    points, low, high = filled(low, high), np.array(low), np.array(high)
    at_side = ((points[:, :2] < low[:2] + VOXEL_M) | (points[:, :2] > high[:2] - 2 * VOXEL_M)).any(
        1
    )
    return points[at_side | (points[:, 2] > high[2] - 2 * VOXEL_M)]


def ground(*hidden) -> np.ndarray:
    """The road, without the parts (smallest and largest x, and y) that nothing saw."""
    x0, x1, y0, y1 = ROAD
    points = filled((x0, y0, 0), (x1, y1, 0))
    for x0, x1, y0, y1 in hidden:
        inside = (
            (points[:, 0] > x0) & (points[:, 0] < x1) & (points[:, 1] > y0) & (points[:, 1] < y1)
        )
        points = points[~inside]
    return points


def kept_share(thing: np.ndarray, *rest: np.ndarray, config: GroundGhostConfig = CONFIG) -> float:
    """Share of a thing's points above 0.3 m that stays in a noisy map of it and the rest."""
    rng = np.random.default_rng(0)
    xyz = np.concatenate([thing, *rest])
    xyz = (xyz + rng.normal(0, 0.02, xyz.shape)).astype(np.float32)
    keep = remove_ghosts_by_ground(xyz, config)
    ground_points = xyz[:, 2] < 0.15
    assert keep[ground_points].all()
    return float(keep[: len(thing)][xyz[: len(thing), 2] > 0.3].mean())


def test_streak_over_the_road_is_removed() -> None:
    assert kept_share(filled(*STREAK), ground()) < 0.02


def test_streak_is_kept_where_it_is_switched_off() -> None:
    off = replace(CONFIG, enabled=False)
    assert kept_share(filled(*STREAK), ground(), config=off) == 1


def test_streak_at_a_slope_is_removed() -> None:
    tilt = np.array([[1, 0, 0.05], [0, 1, 0], [0, 0, 1]])
    streak, road = filled(*STREAK), ground()
    keep = remove_ghosts_by_ground(np.concatenate([streak, road]) @ tilt, CONFIG)
    assert keep[: len(streak)][streak[:, 2] > 0.4].mean() < 0.02
    assert keep[len(streak) :].all()


def test_streak_beyond_the_first_tile_is_removed() -> None:
    streak, road = filled(*STREAK) + [500, 0, 0], ground() + [500, 0, 0]
    assert kept_share(streak, road, ground()) < 0.02


@pytest.mark.parametrize(("low", "lost"), [((-10, -12), False), ((190, -12), True)])
def test_part_of_a_map_with_a_margin_loses_what_the_whole_loses(low, lost: bool) -> None:
    row = [ground() + [40 * number, 0, 0] for number in range(6)]
    streak = filled((150, -3, 0), (215, -1.2, 1.5))
    wall = filled((10, 5, 0), (200, 5.3, 4), 0.3)
    xyz = np.concatenate([*row, streak, wall]).astype(np.float32)
    xyz += np.random.default_rng(0).normal(0, 0.02, xyz.shape).astype(np.float32)
    whole = remove_ghosts_by_ground(xyz, CONFIG)
    part = ((xyz[:, :2] >= low) & (xyz[:, :2] < np.add(low, 30))).all(axis=1)
    near = ((xyz[:, :2] >= np.add(low, -40)) & (xyz[:, :2] < np.add(low, 70))).all(axis=1)
    assert near.mean() < 0.8
    keep = remove_ghosts_by_ground(xyz[near], CONFIG)
    np.testing.assert_array_equal(keep[part[near]], whole[part])
    assert keep[part[near]].all() != lost


def test_streak_beside_a_parked_car_is_removed_and_the_car_kept() -> None:
    car, hole = shell((12, 1, 0.2), (16.4, 2.8, 1.5)), (12.3, 16.1, 1.5, 4)
    streak = filled(*STREAK)
    assert kept_share(streak, car, ground(hole)) < 0.02
    assert kept_share(car, streak, ground(hole)) == 1


def test_row_of_parked_cars_is_kept() -> None:
    cars = [shell((x, 2, 0.2), (x + 4.4, 3.8, 1.5)) for x in (6, 11.2, 16.4, 21.6)]
    holes = [(x + 0.5, x + 3.9, 2.8, 4.6) for x in (6, 11.2, 16.4, 21.6)]  # seen from smaller y
    assert kept_share(np.concatenate(cars), ground(*holes)) == 1


@pytest.mark.parametrize(
    ("low", "high"),
    [
        ((15, -3, 0), (15.2, -2.8, 6)),
        ((15, -3, 0), (15.2, -2.8, 2.2)),
        ((5, 5, 0), (35, 5, 1.2)),
        ((5, 5, 0), (35, 5.3, 7)),
        ((15, -3, 0), (18, -1.5, 1.4)),
    ],
    ids=["pole", "post", "fence", "wall", "short object"],
)
def test_static_objects_on_open_ground_are_kept(low, high) -> None:
    assert kept_share(filled(low, high), ground()) == 1


def test_hedge_that_hides_the_ground_is_kept() -> None:
    hedge = filled((5, 5, 0.2), (35, 6.5, 1.4))
    assert kept_share(hedge, ground((5, 35, 5.3, 7.5))) == 1


def test_crown_over_a_streak_is_kept_and_the_streak_removed() -> None:
    crown, streak = filled((10, -5, 4), (16, 1, 6), 0.3), filled(*STREAK)
    assert kept_share(crown, streak, ground()) == 1
    assert kept_share(streak, crown, ground()) < 0.02


def test_ghost_without_open_ground_around_is_kept() -> None:
    x0, x1, y0, y1 = ROAD
    assert kept_share(filled((x0, y0, 0.3), (x1, y1, 1)), ground()) == 1


def test_moving_car_of_a_sparsely_scanned_street_is_half_removed(drive_past) -> None:
    def oncoming(step: int):
        x = 35.0 - 3.0 * step
        return ((x, -3.8, 0), (x + 4.2, -2.0, 1.5))

    parked, facade = ((8, 5, 0), (12, 6.8, 1.5)), ((-30, 9, 0), (50, 10, 8))
    scans = drive_past(lambda step: [parked, facade, oncoming(step)])
    xyz = accumulate(scans, AccumulationConfig(min_hits=1)).xyz
    keep = remove_ghosts_by_ground(xyz, CONFIG)
    lane = (xyz[:, 1] > -4) & (xyz[:, 1] < -1.9) & (xyz[:, 2] > 0.35) & (xyz[:, 2] < 1.6)
    lane &= (xyz[:, 0] > 0) & (xyz[:, 0] < 25)
    assert lane.sum() > 500
    assert keep[lane].mean() < 0.65
    assert keep[xyz[:, 1] > 4].all()


def test_empty_cloud() -> None:
    assert remove_ghosts_by_ground(np.empty((0, 3), np.float32), CONFIG).shape == (0,)


@pytest.mark.parametrize(
    "bad",
    [
        {"cell_m": 0.0},
        {"min_covered": -1.0},
        {"hole_reach_m": -0.1},
        {"low_m": 3.0},
        {"low_m": 0.1},
    ],
)
def test_bad_config(bad) -> None:
    with pytest.raises(ConfigError):
        GroundGhostConfig(**bad)


def test_real_drive_without_ghosts_is_kept(shared_data: Path) -> None:
    xyz = read_cloud(shared_data / "kitti_drive_0009" / "map.ply").xyz
    assert remove_ghosts_by_ground(xyz, CONFIG).mean() > 0.999


def test_real_drive_loses_streaks(shared_data: Path) -> None:
    xyz = read_cloud(shared_data / "kitti_drive_0005" / "map.ply").xyz
    keep = remove_ghosts_by_ground(xyz, CONFIG)
    x, y, z = xyz.T
    # The streak and the static things of `test_ghosts`.
    streak = (x > 20) & (x < 50) & (y > 14) & (y < 19) & (z > -1.2) & (z < -0.2)
    streak &= np.hypot(x - 35, y - 24) > 6
    facade = (x > 70) & (x < 88) & (y > -3) & (y < 2) & (z > 0)
    parked_car = (x > 11) & (x < 15) & (y > -18.5) & (y < -14) & (z > -1.6)
    assert keep[streak].mean() < 0.2
    assert keep[facade].mean() > 0.99
    assert keep[parked_car].mean() > 0.95
