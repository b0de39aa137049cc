"""Features of planes, balls, bars and walls."""

from __future__ import annotations

import numpy as np

from scmpr_ros.lidar.ground_shape import GROUND_FEATURES
from scmpr_ros.lidar.point_shape import (
    BRIGHTNESS_FEATURES,
    NUM_FEATURES,
    REACH_M,
    describe_points,
    local_shape,
)


def test_local_shape_of_a_plane_a_ball_and_a_bar() -> None:
    rng = np.random.default_rng(0)
    plane = np.column_stack([rng.uniform(0, 4, (2000, 2)), np.zeros(2000)])
    scattering, _, _, thickness_m, upright, along, found, above = local_shape(plane, 24, 0.9).T
    assert thickness_m.max() < 1e-3 and scattering.max() < 1e-2 and np.abs(above).max() < 1e-6
    np.testing.assert_allclose(upright, 1.0, atol=1e-6)
    assert along.max() < 1e-3 and found.min() == 1
    ball = rng.uniform(0, 3, (4000, 3))
    assert np.median(local_shape(ball, 24, 0.9)[:, 0]) > 0.5
    bar = np.column_stack([np.zeros((200, 2)), rng.uniform(0, 9, 200)])
    scattering, flatness, _, _, _, along, _, _ = local_shape(bar, 24, 0.9).T
    assert max(scattering.max(), flatness.max()) < 0.01 and along.min() > 0.99


def test_every_point_has_the_features_of_its_voxel() -> None:
    rng = np.random.default_rng(0)
    ground = np.column_stack([rng.uniform(0, 20, (20_000, 2)), rng.normal(0, 0.01, 20_000)])
    wall = np.column_stack(
        [rng.uniform(2, 18, 8000), rng.normal(10, 0.02, 8000), rng.uniform(0, 4, 8000)]
    )
    _, height_m, features, voxel = describe_points(np.concatenate([ground, wall]))
    assert features.shape == (voxel.max() + 1, NUM_FEATURES)
    assert np.isfinite(features[:, :-BRIGHTNESS_FEATURES]).all()
    assert np.isnan(features[:, -BRIGHTNESS_FEATURES:]).all()
    height_m = height_m[voxel]
    assert np.median(height_m[: len(ground)]) < 0.1 < 1.5 < np.median(height_m[len(ground) :])


def test_a_wall_continues_and_its_flanks_are_open() -> None:
    rng = np.random.default_rng(0)
    wall = np.column_stack(
        [rng.uniform(0, 20, 20_000), rng.normal(0, 0.02, 20_000), rng.uniform(0, 4, 20_000)]
    )
    crown = rng.uniform((30, 0, 0), (36, 6, 4), (20_000, 3))
    _, _, features, voxel = describe_points(np.concatenate([wall, crown]))
    # of the narrowest columns, which come first of four
    index = -1 - BRIGHTNESS_FEATURES - GROUND_FEATURES - 3 * 5
    continues, flanks = features[voxel][:, [index - 1, index]].T
    on_wall = np.arange(len(voxel)) < len(wall)
    assert continues[on_wall].mean() > 0.9 and flanks[on_wall].mean() < 0.3
    assert flanks[~on_wall].mean() > 0.5


def test_one_point() -> None:
    _, _, features, voxel = describe_points(np.zeros((1, 3)), np.ones(1))
    assert features.shape == (1, NUM_FEATURES) and voxel.tolist() == [0]
    assert np.isfinite(features).all()


def street(length_m: float) -> tuple[np.ndarray, np.ndarray]:
    """A sloping, noisy street along x with a wall and a brighter pavement; points and intensity."""
    rng = np.random.default_rng(0)
    count = int(1500 * length_m)
    ground = rng.uniform((0, -8, 0), (length_m, 8, 0), (count, 3))
    pavement = np.abs(ground[:, 1]) > 4
    ground[:, 2] = 0.12 * pavement + rng.normal(0, 0.01, count)
    wall = rng.uniform((0, 8, 0), (length_m, 8.05, 5), (count // 3, 3))
    xyz = np.concatenate([ground, wall])
    xyz[:, 2] += 0.05 * xyz[:, 0]
    intensity = np.concatenate([np.where(pavement, 0.4, 0.2), np.full(len(wall), 0.3)])
    return xyz, intensity


def test_a_part_with_its_margin_has_the_features_of_the_whole() -> None:
    xyz, intensity = street(120.0)
    whole = describe_points(xyz, intensity)
    near = np.abs(xyz[:, 0] - 60.3) < 10 + REACH_M
    part = describe_points(xyz[near], intensity[near])
    inside = np.abs(xyz[near, 0] - 60.3) < 10
    expected = whole.features[whole.voxel[near][inside]]
    np.testing.assert_allclose(part.features[part.voxel[inside]], expected, atol=1e-3)


def test_brightness_is_relative_to_the_ground() -> None:
    xyz, intensity = street(30.0)
    found = describe_points(xyz, intensity)
    brighter = describe_points(xyz, 255 * intensity)
    bright = found.features[:, -BRIGHTNESS_FEATURES]
    np.testing.assert_allclose(brighter.features[:, -BRIGHTNESS_FEATURES], bright, atol=1e-3)
    pavement = (np.abs(found.centre[:, 1]) > 4.5) & (found.height_m < 0.3)
    road = np.abs(found.centre[:, 1]) < 3.5
    ratio = np.exp(np.median(bright[pavement]) - np.median(bright[road]))
    np.testing.assert_allclose(ratio, 2.0, rtol=0.05)
