"""Places are evenly spaced, not repeated on roads driven twice, and clear of obstacles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist

from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.lidar.places import PlacesConfig, place_positions
from scmpr_ros.lidar.point_cloud_map import PointCloudMap
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import class_id

ROAD, TERRAIN, BUILDING = class_id("road"), class_id("terrain"), class_id("building")


def map_of(trajectory) -> PointCloudMap:
    cloud = PointCloud(np.zeros((1, 3), np.float32), np.array([ROAD], np.uint8))
    return PointCloudMap.of(cloud, np.asarray(trajectory, np.float64))


def street_map(label_ground: bool = True) -> PointCloudMap:
    """A 40 m x 8 m road at z = 2 between meadows, with a block on it at x = 20."""
    rng = np.random.default_rng(0)
    ground = np.column_stack([rng.uniform((0, -20), (40, 20), (60_000, 2)), np.full(60_000, 2.0)])
    on_road = np.abs(ground[:, 1]) < 4
    block = rng.uniform((19, -1, 2.2), (21, 1, 5), (500, 3))
    label = np.where(on_road & label_ground, ROAD, TERRAIN)
    return PointCloudMap.of(
        PointCloud(
            np.concatenate([ground, block]).astype(np.float32),
            np.concatenate([label, np.full(500, BUILDING)]).astype(np.uint8),
        )
    )


def test_places_along_a_straight_drive() -> None:
    drive = np.column_stack([np.linspace(0, 20, 41), np.zeros(41), np.full(41, 1.2)])
    places = place_positions(map_of(drive), PlacesConfig(spacing_m=2.0))
    np.testing.assert_allclose(places[:, 0], np.arange(0, 21, 2), atol=1e-9)
    np.testing.assert_allclose(places[:, 1:], [[0, 1.2]] * 11)


def test_a_stationary_drive_gives_one_place() -> None:
    jitter = np.random.default_rng(0).normal(0, 0.02, (500, 3))
    assert len(place_positions(map_of(jitter), PlacesConfig(spacing_m=2.0))) == 1


def test_a_second_lap_adds_no_places() -> None:
    angle = np.linspace(0, 4 * np.pi, 800)
    ring = np.column_stack([30 * np.cos(angle), 30 * np.sin(angle), np.zeros(800)])
    places = place_positions(map_of(ring), PlacesConfig(spacing_m=2.0))
    assert len(places) == pytest.approx(2 * np.pi * 30 / 2, abs=2)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.5, 5.0))
def test_places_are_spaced_and_cover_the_drive(seed: int, spacing_m: float) -> None:
    rng = np.random.default_rng(seed)
    heading = np.cumsum(rng.normal(0, 0.1, 300))
    steps = rng.uniform(0, 0.8, 300)[:, None] * np.column_stack([np.cos(heading), np.sin(heading)])
    drive = np.column_stack([np.cumsum(steps, axis=0), np.zeros(300)])
    places = place_positions(map_of(drive), PlacesConfig(spacing_m=spacing_m))
    if len(places) > 1:
        assert pdist(places).min() >= spacing_m / 2
    nearest = np.linalg.norm(drive[:, None] - places, axis=2).min(axis=1)
    assert nearest.max() <= 1.6 * spacing_m + 0.8


def test_without_a_trajectory_the_road_is_covered() -> None:
    places = place_positions(street_map(), PlacesConfig(spacing_m=2.0, sensor_height_m=1.65))
    assert (np.abs(places[:, 1]) < 4).all()
    np.testing.assert_allclose(places[:, 2], 3.65, atol=0.05)
    assert len(places) == pytest.approx(40 * 8 / 4, abs=12)
    to_block = np.maximum(np.abs(places[:, :2] - (20, 0)) - 1, 0)
    assert np.linalg.norm(to_block, axis=1).min() >= 0.9


def test_without_road_labels_open_ground_is_covered() -> None:
    places = place_positions(street_map(label_ground=False), PlacesConfig(spacing_m=2.0))
    assert len(places) == pytest.approx(40 * 40 / 4, abs=40)


def test_no_open_ground_is_an_error() -> None:
    wall = np.random.default_rng(0).uniform((0, 0, 0), (5, 0.1, 5), (500, 3)).astype(np.float32)
    with pytest.raises(DatasetError, match="no open ground"):
        place_positions(
            PointCloudMap.of(PointCloud(wall, np.full(500, BUILDING, np.uint8))), PlacesConfig()
        )


@pytest.mark.parametrize("name", ["spacing_m", "sensor_height_m", "clearance_m"])
def test_bad_config(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        PlacesConfig(**{name: 0.0})
