"""Steps of the ground, and what is usual on it."""

from __future__ import annotations

import numpy as np

from scmpr_ros.lidar.ground_shape import GROUND_FEATURES, ground_shape, usual_nearby

KERB_M = 0.12


def kerb(slope: float = 0.0) -> np.ndarray:
    """A road from y = -6 to 0 and a pavement beyond it, rising along x."""
    rng = np.random.default_rng(0)
    xyz = rng.uniform((0, -6, 0), (30, 6, 0), (60_000, 3))
    xyz[:, 2] = slope * xyz[:, 0] + KERB_M * (xyz[:, 1] > 0)
    return xyz


def test_a_kerb_divides_high_and_low_ground_also_on_a_hill() -> None:
    for slope in (0.0, 0.05):
        xyz = kerb(slope)
        features = ground_shape(xyz, np.zeros(len(xyz)))
        assert len(features) == GROUND_FEATURES
        offset, step = features[2], features[4]  # of 6 m
        inner = np.abs(xyz[:, 0] - 15) < 10
        high, low = inner & (np.abs(xyz[:, 1] - 1) < 0.5), inner & (np.abs(xyz[:, 1] + 1) < 0.5)
        assert offset[high].min() > 0.02 > -0.02 > offset[low].max()
        away = inner & (np.abs(np.abs(xyz[:, 1]) - 3) < 1)
        at_kerb = inner & (np.abs(xyz[:, 1]) < 0.2)
        assert step[at_kerb].min() > 0.8 * KERB_M and step[away].max() < 0.08 * slope / 0.05 + 0.01


def test_where_no_ground_was_seen_nothing_is_known() -> None:
    xyz = kerb()
    features = ground_shape(xyz, np.full(len(xyz), 3.0))
    assert all(not np.any(offset) for offset in features[:5])
    assert not features[-1].any()


def test_the_usual_value_is_that_of_ground_nearby() -> None:
    xyz = np.random.default_rng(0).uniform(0, (200, 10, 0), (20_000, 3))
    value = np.where(xyz[:, 0] < 100, 1.0, 3.0)
    on_ground = np.arange(len(xyz)) % 2 == 0
    value[~on_ground] = 50.0
    usual = usual_nearby(xyz, value, on_ground)
    np.testing.assert_allclose(usual[xyz[:, 0] < 72], 1.0)
    np.testing.assert_allclose(usual[xyz[:, 0] > 132], 3.0)


def test_far_from_any_ground_the_map_is_the_measure() -> None:
    xyz = np.array([[0.0, 0, 0], [1, 0, 0], [500, 0, 0]])
    value = np.array([2.0, 2.0, 9.0])
    on_ground = np.array([True, True, False])
    np.testing.assert_allclose(usual_nearby(xyz, value, on_ground), 2.0)
    np.testing.assert_allclose(usual_nearby(xyz, value, np.zeros(3, bool)), 0.0)
