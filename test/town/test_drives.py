"""Routes, lanes, poses and times of drives, and networks along trajectories."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.geometry import invert
from scmpr_ros.town import mesh as meshes
from scmpr_ros.town.drives import DriveConfig, drive_times, plan_drive, speed_profile
from scmpr_ros.town.ground.ground import Ground
from scmpr_ros.town.layout.kerbside import Site
from scmpr_ros.town.quarters import Quarter
from scmpr_ros.town.streets.kitti_trajectory import read_trajectory
from scmpr_ros.town.streets.lanes import lane_path
from scmpr_ros.town.streets.network import StreetNetwork, StreetNetworkConfig
from scmpr_ros.town.streets.plan_graph import Circle, resample
from scmpr_ros.town.streets.routes import plan_route, random_route, route_length
from scmpr_ros.town.streets.street import Street
from scmpr_ros.town.world import Town, TownConfig, stream

WHOLE = DriveConfig(length_m=1e5)


def _bare_town(network: StreetNetwork, seed: int = 0) -> Town:
    site = Site.of(Ground(stream(seed, "relief"), network))
    return Town(seed, TownConfig(), site, meshes.EMPTY)


@cache
def _town(seed: int) -> Town:
    return _bare_town(StreetNetwork.generate(stream(seed, "streets"), StreetNetworkConfig()), seed)


def _cross(parking: tuple[bool, bool] = (False, False)) -> StreetNetwork:
    """Crossing 0 in the middle of crossings 1 (east), 2 (north), 3 (west) and 4 (south)."""
    ends = np.array([[0, 0], [80, 0], [0, 80], [-80, 0], [0, -80]], float)
    streets = tuple(
        Street(resample(np.array([ends[0], ends[i]]), 1.0), 0, i, 4.6, (2.0, 2.0), parking,
               Quarter.SUBURB, marked=False)
        for i in (1, 2, 3, 4)
    )  # fmt: skip
    return StreetNetwork(ends, streets)


def _yaw(poses: np.ndarray) -> np.ndarray:
    return np.unwrap(np.arctan2(poses[:, 1, 0], poses[:, 0, 0]))


def test_lanes_are_on_the_right() -> None:
    line = lane_path(_cross(), [3, 0, 1])
    assert np.linalg.norm(np.diff(line, axis=0), axis=1) == pytest.approx(0.25, abs=0.01)
    assert line[0, 0] < -75 and line[-1, 0] > 75
    assert line[:, 1] == pytest.approx(-2.3, abs=0.05)
    back = lane_path(_cross(), [1, 0, 3])
    assert back[:, 1] == pytest.approx(2.3, abs=0.05)


def test_lanes_are_clear_of_parked_cars() -> None:
    """Parked cars take 2.1 of 4.6 m; the middle of a car stays 1.3 m left of them."""
    line = lane_path(_cross(parking=(True, True)), [3, 0, 1], shift_m=2.0)
    assert line[:, 1].min() == pytest.approx(-(4.6 - 2.1 - 1.3), abs=0.05)


@pytest.mark.parametrize("last", [1, 2, 4])
def test_turns_are_smooth_and_clear_of_kerbs(last: int) -> None:
    network = _cross()
    line = lane_path(network, [3, 0, last])
    yaw = np.unwrap(np.arctan2(*np.diff(line, axis=0).T[::-1]))
    assert np.abs(np.diff(yaw)).max() / 0.25 < 0.3
    assert yaw[-1] - yaw[0] == pytest.approx({1: 0, 2: np.pi / 2, 4: -np.pi / 2}[last], abs=0.02)
    assert _bare_town(network).ground.beyond_kerb(line).max() < -0.8


def test_roundabouts_are_driven_counterclockwise() -> None:
    network = replace(_cross(), circles=(Circle(0, np.zeros(2), 12.0, 5.0),))
    line = lane_path(network, [3, 0, 2])
    assert np.hypot(*line.T).min() > 6.5, "over the island"
    angle = np.unwrap(np.arctan2(*line[np.hypot(*line.T) < 12].T[::-1]))
    assert angle[-1] - angle[0] > np.pi


def test_longer_route_extends_a_shorter_one() -> None:
    for seed in range(6):
        short, long = (plan_route(_town(seed).network, stream(seed), m) for m in (300.0, 900.0))
        assert long[: len(short)] == short and len(long) > len(short)


def test_impossible_routes_are_refused() -> None:
    with pytest.raises(DatasetError, match="no street joins crossings 1 and 2"):
        lane_path(_cross(), [0, 1, 2])
    with pytest.raises(DatasetError, match="two crossings"):
        lane_path(_cross(), [0])
    lonely = StreetNetwork(np.zeros((2, 2)), _cross().streets[:1])
    with pytest.raises(DatasetError, match="no street leads from crossing 4"):
        random_route(lonely, stream(0), 4, 100.0)


def test_random_routes_never_turn_back() -> None:
    network = _town(1).network
    for number in range(5):
        route = random_route(network, stream(number), number, 700.0)
        assert route[0] == number and len(route) > 2
        assert all(network.street_between(a, b) for a, b in zip(route[:-1], route[1:], strict=True))
        assert all(a != c for a, c in zip(route[:-2], route[2:], strict=True))
        assert route == random_route(network, stream(number), number, 700.0)
        line = lane_path(network, route)
        assert len(line) * 0.25 == pytest.approx(route_length(network, route), rel=0.12)


@pytest.mark.parametrize("seed", range(6))
def test_drives_stay_on_the_road_and_turn_gently(seed: int) -> None:
    town = _town(seed)
    for traversal, reverse in ((0, False), (1, False), (2, True)):
        poses = plan_drive(town, traversal, DriveConfig(reverse=reverse))
        assert town.ground.beyond_kerb(poses[:, :2, 3]).max() < -0.8
        step = np.linalg.norm(np.diff(poses[:, :2, 3], axis=0), axis=1)
        assert step == pytest.approx(1.0, abs=0.05)
        turned = np.abs(np.diff(_yaw(poses)))
        assert turned.max() < 0.4
        assert (turned / np.diff(drive_times(poses))).max() < 1.1
        on_road = poses[:, 2, 3] - town.ground.relief(poses[:, :2, 3])
        assert on_road == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("seed", [0, 2, 3])
def test_reverse_drive_revisits_the_same_places(seed: int) -> None:
    town = _town(seed)
    there, back = plan_drive(town, 0), plan_drive(town, 0, DriveConfig(reverse=True))
    assert len(back) == pytest.approx(len(there), abs=50)
    apart = np.linalg.norm(back[:, None, :2, 3] - there[None, :, :2, 3], axis=2)
    turned = np.cos(_yaw(back)[:, None] - _yaw(there)[None])
    # Lanes of an avenue are up to 12 m apart.
    near = np.where(apart < 12, turned, 1.0).min(axis=1)
    assert (near < np.cos(np.radians(135))).mean() > 0.97
    assert np.linalg.norm(back[0, :2, 3] - there[-1, :2, 3]) < 12
    assert np.linalg.norm(back[-1, :2, 3] - there[0, :2, 3]) < 40


def test_times_respect_the_speed_limits() -> None:
    town = _town(2)
    config = DriveConfig(spacing_m=1.5, max_speed_m_s=8.0, acceleration_m_s2=1.2)
    poses = plan_drive(town, 1, config)
    times, speed = drive_times(poses, config), speed_profile(poses, config)
    step = np.linalg.norm(np.diff(poses[:, :2, 3], axis=0), axis=1)
    assert times[0] == 0 and (np.diff(times) > 0).all()
    assert step / np.diff(times) == pytest.approx((speed[1:] + speed[:-1]) / 2)
    assert speed.max() == pytest.approx(8.0) and speed.min() < 6.0
    assert np.abs(np.diff(speed) / np.diff(times)).max() < 1.2 + 1e-6
    yaw_rate = np.abs(np.diff(_yaw(poses))) / np.diff(times)
    assert speed[1:][yaw_rate > 0.4].max() < 6.5


def test_straight_line_is_driven_at_full_speed() -> None:
    poses = np.tile(np.eye(4), (101, 1, 1))
    poses[:, 0, 3] = np.arange(101)
    assert drive_times(poses)[-1] == pytest.approx(100 / 9.5)


def test_impossible_drive_is_refused() -> None:
    with pytest.raises(ConfigError, match="never arrives"):
        DriveConfig(max_speed_m_s=0)
    with pytest.raises(ConfigError, match="there must be three"):
        DriveConfig(spacing_m=0)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_drives_share_streets_but_not_poses(seed: int) -> None:
    town = _town(seed)
    mapping, query = plan_drive(town, 0), plan_drive(town, 1, DriveConfig(spacing_m=1.5))
    for poses in (mapping, query):
        assert np.allclose(poses @ invert(poses), np.eye(4), atol=1e-9)
    apart = np.linalg.norm(query[:, None, :2, 3] - mapping[None, :, :2, 3], axis=2).min(axis=1)
    assert 0.15 < np.median(apart) < 3.0
    gap = np.linalg.norm(mapping[:, None, :2, 3] - mapping[None, :, :2, 3], axis=2)
    i, j = np.indices(gap.shape)
    assert ((gap < 4) & (np.abs(i - j) > 60)).any(axis=1).sum() > 50, "no revisit"


def test_network_without_a_loop_is_refused() -> None:
    lines = tuple(s for s in _town(0).network.streets if s.end >= 0)[:1]
    tree = StreetNetwork(_town(0).network.crossings, lines)
    with pytest.raises(DatasetError, match="no closed loop"):
        plan_drive(_bare_town(tree), 0)


EIGHT = [(-60, 0), (100, 0), (100, 80), (0, 80), (0, -80), (-100, -80), (-100, 0), (60, 0)]
"""A path that crosses itself at the origin and drives its first street twice."""


def _eight() -> np.ndarray:
    return resample(np.array(EIGHT, float), 0.8)


def test_trajectory_becomes_streets() -> None:
    network = StreetNetwork.along(stream(1, "streets"), _eight(), StreetNetworkConfig())
    for corner in [(0, 0), *EIGHT[1:-1]]:
        assert np.linalg.norm(network.crossings - corner, axis=1).min() < 6, corner
    at_origin = int(np.linalg.norm(network.crossings, axis=1).argmin())
    assert len(network.neighbours(at_origin)) == 4
    middles = np.array([s.line[len(s.line) // 2] for s in network.streets if s.end >= 0])
    beside = np.abs(middles[:, 1]) < 5
    # The street driven twice is built once.
    length = sum(s.length_m for s, on in zip(
        [s for s in network.streets if s.end >= 0], beside, strict=True) if on)  # fmt: skip
    assert length == pytest.approx(200, abs=15)
    assert any(s.end < 0 for s in network.streets), "no side streets"
    assert len({s.quarter for s in network.streets}) >= 2


def test_drive_follows_the_trajectory() -> None:
    network = StreetNetwork.along(stream(1, "streets"), _eight(), StreetNetworkConfig())
    assert plan_route(network, stream(0), 100.0) == list(network.route)
    town = _bare_town(network)
    poses = plan_drive(town, 0, WHOLE)
    assert town.ground.beyond_kerb(poses[:, :2, 3]).max() < -0.8
    apart = np.linalg.norm(poses[:, None, :2, 3] - _eight()[None], axis=2)
    assert apart.min(axis=1).max() < 9 and apart.min(axis=0).max() < 9
    corners = [int(np.linalg.norm(network.crossings - c, axis=1).argmin()) for c in EIGHT[1:-1]]
    assert [n for n in network.route if n in corners] == corners
    gap = np.linalg.norm(poses[:, None, :2, 3] - poses[None, :, :2, 3], axis=2)
    i, j = np.indices(gap.shape)
    assert ((gap < 4) & (np.abs(i - j) > 60)).any(axis=1).sum() > 150


def test_u_turn_of_a_trajectory_is_ignored() -> None:
    there_and_back = np.array([(0, 0), (120, 0), (120, 3), (20, 3), (20, 90), (140, 90)], float)
    network = StreetNetwork.along(stream(0), there_and_back, StreetNetworkConfig())
    for a, c in zip(network.route[:-2], network.route[2:], strict=True):
        assert a != c
    lane_path(network, network.route)


def test_trajectory_is_cut_to_max_length() -> None:
    config = StreetNetworkConfig(max_length_m=300)
    network = StreetNetwork.along(stream(0), _eight(), config)
    driven = [s.length_m for s in network.streets if s.end >= 0]
    assert 220 < sum(driven) < 380


def test_unusable_trajectories_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="trajectory is 50 m long"):
        StreetNetwork.along(stream(0), np.array([[0.0, 0], [50, 0]]), StreetNetworkConfig())
    with pytest.raises(DatasetError, match=r"not \(3, 3\)"):
        StreetNetwork.along(stream(0), np.eye(3), StreetNetworkConfig())
    with pytest.raises(DatasetError, match="no trajectory file"):
        read_trajectory(tmp_path / "07.txt")
    (tmp_path / "07.txt").write_text("1 2 3\n4 5 6\n")
    with pytest.raises(DatasetError, match="rows of 12 finite numbers"):
        read_trajectory(tmp_path / "07.txt")
    (tmp_path / "07.txt").write_text("1 two 3\n")
    with pytest.raises(DatasetError, match="not a KITTI pose file"):
        read_trajectory(tmp_path / "07.txt")


def test_trajectory_is_read_in_plan(tmp_path: Path) -> None:
    pose = np.hstack([np.eye(3), [[1.0], [2.0], [3.0]]]).ravel()
    np.savetxt(tmp_path / "07.txt", [pose, pose + 1])
    assert read_trajectory(tmp_path / "07.txt") == pytest.approx(np.array([[1, 3], [2, 4]]))


@pytest.mark.parametrize("sequence", ["00", "05", "06", "07", "09"])
def test_networks_and_drives_along_real_trajectories(sequence: str, shared_data: Path) -> None:
    path = read_trajectory(shared_data / "kitti_odometry_poses/poses" / f"{sequence}.txt")
    network = StreetNetwork.along(stream(1, "streets"), path, StreetNetworkConfig())
    driven = sum(s.length_m for s in network.streets if s.end >= 0)
    assert 500 < driven < 1350
    town = _bare_town(network, 1)
    for reverse in (False, True):
        poses = plan_drive(town, 0, replace(WHOLE, reverse=reverse))
        assert len(poses) > 600
        assert town.ground.beyond_kerb(poses[:, :2, 3]).max() < -0.8
        assert np.abs(np.diff(_yaw(poses))).max() < 0.5
        apart = np.linalg.norm(poses[:, None, :2, 3] - path[None, ::2], axis=2).min(axis=1)
        # Lanes of avenues are offset, and the way back uses the other lane.
        assert np.median(apart) < (12 if reverse else 6) and apart.max() < 18
    if sequence in {"00", "05", "06"}:
        gap = np.linalg.norm(poses[:, None, :2, 3] - poses[None, :, :2, 3], axis=2)
        i, j = np.indices(gap.shape)
        assert ((gap < 4) & (np.abs(i - j) > 100)).any(axis=1).sum() > 100
