"""Places are evenly spaced, not repeated on roads driven twice, and where a vehicle can stand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist

from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.lidar.places import (
    TILE_MARGIN_M,
    Places,
    PlacesConfig,
    grid_places,
    place_positions,
    places_on_map,
)
from scmpr_ros.lidar.point_cloud_map import PointCloudMap
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import IGNORE, class_id

ROAD, TERRAIN = class_id("road"), class_id("terrain")
BUILDING, BARRIER = class_id("building"), class_id("barrier")


def map_of(trajectory) -> PointCloudMap:
    cloud = PointCloud(np.zeros((1, 3), np.float32), np.array([ROAD], np.uint8))
    return PointCloudMap.of(cloud, np.asarray(trajectory, np.float64))


def box(low, high, label: int, step_m: float = 0.25) -> PointCloud:
    """Points that fill a box."""
    axes = [np.arange(a, max(b, a + step_m / 2), step_m) for a, b in zip(low, high, strict=True)]
    xyz = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.float32)
    return PointCloud(xyz, np.full(len(xyz), label, np.uint8))


def joined(*clouds: PointCloud) -> PointCloud:
    xyz = np.concatenate([cloud.xyz for cloud in clouds])
    return PointCloud(xyz, np.concatenate([cloud.label for cloud in clouds]))


def yard(ground: int = TERRAIN) -> PointCloud:
    """Ground of 40 m x 40 m at z = 2, with a wall around it."""
    walls = [
        box(low, high, BUILDING, 0.4)
        for low, high in (
            ((0, 0, 2), (40, 0, 6)),
            ((0, 39.8, 2), (40, 39.8, 6)),
            ((0, 0, 2), (0, 40, 6)),
            ((39.8, 0, 2), (39.8, 40, 6)),
        )
    ]
    return joined(box((0, 0, 2), (40, 40, 2), ground), *walls)


def with_road(cloud: PointCloud) -> PointCloud:
    """The cloud, with ground for 16 <= y < 24 turned into a road."""
    on_road = (cloud.label == TERRAIN) & (cloud.xyz[:, 1] >= 16) & (cloud.xyz[:, 1] < 24)
    return replace(cloud, label=np.where(on_road, ROAD, cloud.label).astype(np.uint8))


def without(cloud: PointCloud, low, high) -> PointCloud:
    """The cloud without the points in a rectangle."""
    inside = ((cloud.xyz[:, :2] >= low) & (cloud.xyz[:, :2] < high)).all(axis=1)
    return cloud.select(~inside)


def distance_to(places: Places, low, high) -> float:
    """Of the place nearest to a rectangle."""
    xy = places.positions[:, :2]
    outside = np.maximum(0, np.maximum(np.subtract(low, xy), np.subtract(xy, high)))
    return float(np.linalg.norm(outside, axis=1).min())


@pytest.fixture(scope="module")
def block_of_streets() -> PointCloud:
    """240 m x 240 m of hilly streets around blocks of houses, with what makes places unusable."""
    rng = np.random.default_rng(1)
    ground = without(box((-80, -80, 0), (160, 160, 0), ROAD, 0.5), (100, 100), (160, 160))
    things = []
    for x in range(-70, 150, 50):
        for y in range(-70, 150, 50):
            size = rng.uniform(8, 24, 2)
            ground = without(ground, (x, y), (x + size[0], y + size[1]))
            things.append(box((x, y, 6), (x + size[0], y + size[1], 6), IGNORE, 0.45))
            things.append(box((x, y, 0), (x + size[0], y, 6), BUILDING, 0.45))
            things.append(box((x - 6, y, 0.2), (x - 2, y + 1.8, 1.6), class_id("car"), 0.3))
            things.append(box((x + 0.4, y - 9, 0), (x + 0.4, y - 5, 1.2), BARRIER, 0.3))
            ground = without(ground, (x + 30, y), (x + 40, y + 4))
    cloud = joined(ground, *things)
    hills_m = 3 * np.sin(cloud.xyz[:, 0] / 40) * np.cos(cloud.xyz[:, 1] / 60)
    xyz = cloud.xyz + np.column_stack([np.zeros((len(cloud), 2)), hills_m])
    return replace(cloud, xyz=xyz.astype(np.float32))


def test_places_along_a_straight_drive() -> None:
    drive = np.column_stack([np.linspace(0, 20, 41), np.zeros(41), np.full(41, 1.2)])
    places = place_positions(map_of(drive), PlacesConfig(spacing_m=2.0)).positions
    np.testing.assert_allclose(places[:, 0], np.arange(0, 21, 2), atol=1e-9)
    np.testing.assert_allclose(places[:, 1:], [[0, 1.2]] * 11)


def test_a_stationary_drive_gives_one_place() -> None:
    jitter = np.random.default_rng(0).normal(0, 0.02, (500, 3))
    assert len(place_positions(map_of(jitter), PlacesConfig(spacing_m=2.0)).positions) == 1


def test_a_second_lap_adds_no_places() -> None:
    angle = np.linspace(0, 4 * np.pi, 800)
    ring = np.column_stack([30 * np.cos(angle), 30 * np.sin(angle), np.zeros(800)])
    places = place_positions(map_of(ring), PlacesConfig(spacing_m=2.0)).positions
    assert len(places) == pytest.approx(2 * np.pi * 30 / 2, abs=2)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.5, 5.0))
def test_places_are_spaced_and_cover_the_drive(seed: int, spacing_m: float) -> None:
    rng = np.random.default_rng(seed)
    heading = np.cumsum(rng.normal(0, 0.1, 300))
    steps = rng.uniform(0, 0.8, 300)[:, None] * np.column_stack([np.cos(heading), np.sin(heading)])
    drive = np.column_stack([np.cumsum(steps, axis=0), np.zeros(300)])
    places = place_positions(map_of(drive), PlacesConfig(spacing_m=spacing_m)).positions
    if len(places) > 1:
        assert pdist(places).min() >= spacing_m / 2
    nearest = np.linalg.norm(drive[:, None] - places, axis=2).min(axis=1)
    assert nearest.max() <= 1.6 * spacing_m + 0.8


def test_many_laps_are_thinned_in_time() -> None:
    angle = np.linspace(0, 100 * 2 * np.pi, 100_000)
    ring = np.column_stack([80 * np.cos(angle), 80 * np.sin(angle), np.zeros(len(angle))])
    places = place_positions(map_of(ring), PlacesConfig(spacing_m=2.0)).positions
    assert len(places) == pytest.approx(2 * np.pi * 80 / 2, rel=0.4)
    assert pdist(places).min() >= 1.0


def test_without_a_trajectory_the_road_is_covered() -> None:
    places = place_positions(PointCloudMap.of(with_road(yard())), PlacesConfig(spacing_m=2.0))
    x, y, z = places.positions.T
    assert set(y) == {17, 19, 21, 23}
    assert set(x) == set(range(1, 38, 2))  # the wall at 39.8 is too near to 39
    np.testing.assert_allclose(z, 2 + 1.65, atol=0.01)
    assert places.dropped["off the road"] > 200
    assert len(x) + sum(places.dropped.values()) == 20 * 20


def test_without_road_labels_open_ground_is_covered() -> None:
    places = grid_places(yard(), PlacesConfig(spacing_m=2.0))
    assert len(places.positions) == 19 * 19  # the walls at 39.8 are too near to 39
    assert places.dropped == {"in a building or a wall": 20 * 20 - 19 * 19}


@settings(max_examples=5, deadline=None)
@given(st.floats(0.8, 4.0))
def test_places_are_odd_multiples_of_half_the_spacing(spacing_m: float) -> None:
    places = grid_places(yard(), PlacesConfig(spacing_m=spacing_m)).positions
    steps = places[:, :2] / spacing_m - 0.5
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-6)
    assert len(places) == pytest.approx(38**2 / spacing_m**2, rel=0.2)


@pytest.mark.parametrize(
    ("thing", "why", "low", "high"),
    [
        (box((18, 18, 2.2), (22, 19.8, 3.5), class_id("car")), "in a vehicle", (18, 18), (22, 20)),
        (box((18, 18, 2), (22, 22, 6), BUILDING), "in a building or a wall", (18, 18), (22, 22)),
        (box((18, 18, 2), (22, 18, 3), BARRIER), "too near an obstacle", (18, 18), (22, 18)),
        (box((18, 18, 3.4), (22, 22, 3.4), BUILDING), "under something lower than the sensor",
         (18, 18), (22, 22)),
    ],
    ids=["car", "building", "barrier", "awning"],
)  # fmt: skip
def test_places_keep_clear_of(thing: PointCloud, why: str, low, high) -> None:
    config = PlacesConfig(spacing_m=1.0)
    places = grid_places(joined(yard(), thing), config)
    empty = grid_places(yard(), config)
    assert distance_to(empty, low, high) <= 0.5
    assert 0.6 <= distance_to(places, low, high) < 2
    assert places.dropped[why] > empty.dropped.get(why, 0)


def test_places_under_a_high_bridge_are_kept() -> None:
    bridge = box((10, 10, 6), (30, 30, 6), BUILDING)
    places = grid_places(joined(yard(), bridge), PlacesConfig())
    assert len(places.positions) == len(grid_places(yard(), PlacesConfig()).positions)


def test_roofs_carry_no_places() -> None:
    low, high = (8, 8), (32, 32)
    roof = box((*low, 7), (*high, 7), IGNORE)
    walls = [box((8, 8, 2), (32, 8, 7), BUILDING), box((8, 32, 2), (32, 32, 7), BUILDING)]
    places = grid_places(joined(without(yard(), low, high), roof, *walls), PlacesConfig())
    assert places.positions[:, 2].max() < 4
    assert places.dropped["on a roof or in the air"] > 50


def test_small_ground_that_is_cut_off_carries_no_places() -> None:
    ditch = without(without(yard(), (10, 10), (30, 30)), (0, 0), (0, 0))
    island = box((16, 16, 2), (24, 24, 2), TERRAIN)
    cloud = joined(ditch, island)
    config = PlacesConfig(max_unmapped_share=1.0)
    assert distance_to(grid_places(cloud, config), (16, 16), (24, 24)) > 5
    assert grid_places(cloud, config).dropped["on ground cut off from the rest"] == 16
    kept = grid_places(cloud, replace(config, min_ground_m2=0.0))
    assert distance_to(kept, (16, 16), (24, 24)) == 0


def test_steep_ground_carries_no_places() -> None:
    cloud = yard()
    x = cloud.xyz[:, 0]
    hill = np.where(cloud.xyz[:, 2] < 2.1, np.clip(x - 20, 0, 6) * 0.5, 0)
    xyz = cloud.xyz + np.column_stack([np.zeros((len(x), 2)), hill]).astype(np.float32)
    places = grid_places(replace(cloud, xyz=xyz), PlacesConfig(max_unmapped_share=1.0))
    assert places.dropped["on too steep a slope"] > 20
    slope_x = places.positions[(places.positions[:, 1] == 19), 0]
    assert not ((slope_x > 21.5) & (slope_x < 24.5)).any()


def test_the_border_of_a_map_carries_no_places() -> None:
    open_side = yard().select(yard().xyz[:, 0] < 39)  # without the wall at x = 40
    places = grid_places(open_side, PlacesConfig())
    amid = np.abs(places.positions[:, 1] - 20) < 10
    assert places.positions[amid, 0].max() < 35
    assert places.dropped["at the border of the map"] > 10
    every = grid_places(open_side, PlacesConfig(max_unmapped_share=1.0))
    assert every.positions[:, 0].max() == 39


@pytest.mark.parametrize(("name", "is_seen"), [("building", True), ("car", False)])
def test_vehicles_are_nothing_to_see(name: str, is_seen: bool) -> None:
    """They are no part of the map: with a ring of them around it, a place is as on a plain."""
    sides = (
        ((15, 15, 0), (65, 15.5, 2)),
        ((15, 65, 0), (65, 65.5, 2)),
        ((15, 15, 0), (15.5, 65, 2)),
        ((65, 15, 0), (65.5, 65, 2)),
    )
    ring = [box(low, high, class_id(name)) for low, high in sides]
    ground = box((0, 0, 0), (80, 80, 0), ROAD, 0.5)
    config = PlacesConfig(spacing_m=5.0, max_unmapped_share=1.0)
    places = grid_places(joined(ground, *ring), config)
    middle = np.linalg.norm(places.positions[:, :2] - 40, axis=1) < 10
    assert middle.any() == is_seen


def test_an_empty_plain_carries_no_places() -> None:
    plain = box((0, 0, 0), (100, 100, 0), TERRAIN, 0.5)
    with pytest.raises(DatasetError, match=r"0 places; dropped 2500 candidates: .*empty view"):
        place_positions(PointCloudMap.of(plain), PlacesConfig())


@pytest.mark.parametrize("low", [(-80, -80), (0, 20)])
def test_tile_with_a_margin_has_the_places_of_the_map_in_one_piece(
    block_of_streets: PointCloud, low
) -> None:
    cloud, config = block_of_streets, PlacesConfig()
    area = np.array([low, np.add(low, 50)], float)
    whole = grid_places(cloud, config, area)
    margin = np.array([[-TILE_MARGIN_M], [TILE_MARGIN_M]])
    low, high = area + margin
    near = ((cloud.xyz[:, :2] >= low) & (cloud.xyz[:, :2] < high)).all(axis=1)
    assert near.mean() < 0.9
    tile = grid_places(cloud.select(near), config, area)
    assert len(tile.positions) > 100
    assert len(tile.dropped) >= 4
    np.testing.assert_array_equal(tile.positions, whole.positions)
    assert tile.dropped == whole.dropped


def test_places_off_the_map_are_dropped() -> None:
    drive = np.column_stack([np.arange(0, 60, 2.0), np.full(30, 20.0), np.full(30, 3.7)])
    places = places_on_map(yard(), drive)
    assert places.positions[:, 0].max() == 42
    assert places.dropped == {"off the map": 8}
    assert places_on_map(yard(), drive[:20]).dropped == {}


def test_no_open_ground_is_an_error() -> None:
    wall = np.random.default_rng(0).uniform((0, 0, 0), (5, 0.1, 5), (500, 3)).astype(np.float32)
    with pytest.raises(DatasetError, match="no open ground"):
        place_positions(
            PointCloudMap.of(PointCloud(wall, np.full(500, BUILDING, np.uint8))), PlacesConfig()
        )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("spacing_m", 0.0),
        ("sensor_height_m", -1.0),
        ("clearance_m", 0.0),
        ("min_ground_m2", -1.0),
        ("max_unmapped_share", 1.2),
        ("min_view_share", -0.1),
    ],
)
def test_bad_config(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=name):
        PlacesConfig(**{name: value})
