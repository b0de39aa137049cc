"""Ground height and slope, below vehicles, with reflections, and on slopes."""

from __future__ import annotations

import numpy as np
import pytest

from scmpr_ros.lidar.ground import GroundGrid, ground_aligned_axes


def patch(rng, size: float, n: int, height) -> np.ndarray:
    xy = rng.uniform(0, size, (n, 2))
    return np.column_stack([xy, height(xy) + rng.normal(0, 0.02, n)])


@pytest.mark.parametrize("slope", [0.0, 0.08])
def test_ground_below_a_bus(slope: float) -> None:
    rng = np.random.default_rng(0)
    ground = patch(rng, 60, 40_000, lambda xy: slope * xy[:, 0])
    bus = rng.uniform((20, 20, 0.4), (31, 22.5, 3), (3000, 3)) + np.array((0, 0, slope * 25))
    below_bus = (ground[:, :2] > (20, 20)).all(axis=1) & (ground[:, :2] < (31, 22.5)).all(axis=1)
    reflections = rng.uniform((0, 0, -9), (60, 60, -3), (60, 3))
    grid = GroundGrid.of(np.concatenate([ground[~below_bus], bus, reflections]))
    at = rng.uniform(3, 57, (500, 2))
    error = grid.at(at) - slope * at[:, 0]
    assert np.abs(error).max() < 0.15 + slope * 3


def test_axes_follow_the_slope_beside_a_wall() -> None:
    rng = np.random.default_rng(0)
    ground = patch(rng, 30, 30_000, lambda xy: 0.06 * xy[:, 0] - 0.03 * xy[:, 1])
    wall = rng.uniform((16, 0, 1.0), (16.2, 30, 6), (20_000, 3))  # 1 m from the nearest places
    at = np.column_stack([rng.uniform((8, 8), (15, 22), (50, 2)), np.full(50, 7.0)])
    axes = ground_aligned_axes(np.concatenate([ground, wall]).astype(np.float32), at)
    up = np.array([-0.06, 0.03, 1.0]) / np.linalg.norm([-0.06, 0.03, 1.0])
    off_deg = np.degrees(np.arccos(np.clip(axes[:, :, 2] @ up, -1, 1)))
    assert off_deg.max() < 0.5
    np.testing.assert_allclose(np.linalg.det(axes), 1.0, atol=1e-9)
    np.testing.assert_allclose(axes[:, 0, 1], 0.0, atol=1e-9)  # forward is along the map's x


def test_slope_from_a_single_scan() -> None:
    rng = np.random.default_rng(0)
    ground = patch(rng, 40, 40_000, lambda xy: 0.05 * xy[:, 0]) - (20, 20, 0)
    outside_first_ring = ground[np.linalg.norm(ground[:, :2], axis=1) > 3.7]
    (axes,) = ground_aligned_axes(outside_first_ring, np.zeros((1, 3)))
    np.testing.assert_allclose(axes[0, 2] / axes[2, 2], -0.05, atol=0.01)


def test_places_without_enough_ground_are_level() -> None:
    rng = np.random.default_rng(0)
    line = np.column_stack([rng.uniform(-5, 15, 5000), np.full(5000, 5.0), np.zeros(5000)])
    cliff = patch(rng, 10, 5000, lambda xy: 0.9 * xy[:, 0]) + (50, 0, 0)
    few = np.array([[100.0, 0.0, 0.0], [100.2, 0.0, 0.9]])
    at = np.array([[5.0, 5.0, 1.7], [55.0, 5.0, 6.0], [100.0, 0.0, 1.7], [300.0, 300.0, 0.0]])
    axes = ground_aligned_axes(np.concatenate([line, cliff, few]), at)
    np.testing.assert_array_equal(axes, np.broadcast_to(np.eye(3), (4, 3, 3)))


def test_height_outside_the_grid_is_that_of_its_border() -> None:
    grid = GroundGrid.of(np.array([[0, 0, 1], [5, 5, 1]], np.float32))
    np.testing.assert_allclose(grid.at(np.array([[-100.0, 0.0], [2.0, 900.0]])), 1.0)
