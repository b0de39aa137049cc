"""The ground is found below cars, in spite of mirrored returns, and on slopes."""

from __future__ import annotations

import numpy as np
import pytest

from scmpr_ros.lidar.ground import GroundGrid


def patch(rng, size: float, n: int, height) -> np.ndarray:
    xy = rng.uniform(0, size, (n, 2))
    return np.column_stack([xy, height(xy) + rng.normal(0, 0.02, n)])


@pytest.mark.parametrize("slope", [0.0, 0.08])
def test_ground_below_things(slope: float) -> None:
    rng = np.random.default_rng(0)
    ground = patch(rng, 60, 40_000, lambda xy: slope * xy[:, 0])
    bus = rng.uniform((20, 20, 0.4), (31, 22.5, 3), (3000, 3)) + np.array((0, 0, slope * 25))
    below_bus = (ground[:, :2] > (20, 20)).all(axis=1) & (ground[:, :2] < (31, 22.5)).all(axis=1)
    mirrored = rng.uniform((0, 0, -9), (60, 60, -3), (60, 3))
    grid = GroundGrid.of(np.concatenate([ground[~below_bus], bus, mirrored]))
    at = rng.uniform(3, 57, (500, 2))
    error = grid.at(at) - slope * at[:, 0]
    assert np.abs(error).max() < 0.15 + slope * 3


def test_outside_the_grid_the_border_counts() -> None:
    grid = GroundGrid.of(np.array([[0, 0, 1], [5, 5, 1]], np.float32))
    np.testing.assert_allclose(grid.at(np.array([[-100.0, 0.0], [2.0, 900.0]])), 1.0)
