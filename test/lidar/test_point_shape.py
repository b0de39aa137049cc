"""Features of planes, balls, bars and walls."""

from __future__ import annotations

import numpy as np

from scmpr_ros.lidar.point_shape import NUM_FEATURES, describe_points, local_shape


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
    _, features, voxel = describe_points(np.concatenate([ground, wall]))
    assert features.shape == (voxel.max() + 1, NUM_FEATURES)
    assert np.isfinite(features).all()
    height_m = features[voxel, 0]
    assert np.median(height_m[: len(ground)]) < 0.1 < 1.5 < np.median(height_m[len(ground) :])


def test_a_wall_continues_and_its_flanks_are_open() -> None:
    rng = np.random.default_rng(0)
    wall = np.column_stack(
        [rng.uniform(0, 20, 20_000), rng.normal(0, 0.02, 20_000), rng.uniform(0, 4, 20_000)]
    )
    crown = rng.uniform((30, 0, 0), (36, 6, 4), (20_000, 3))
    _, features, voxel = describe_points(np.concatenate([wall, crown]))
    index = -1 - 2 * 5  # of the narrowest columns, which come first of three
    continues, flanks = features[voxel][:, [index - 1, index]].T
    on_wall = np.arange(len(voxel)) < len(wall)
    assert continues[on_wall].mean() > 0.9 and flanks[on_wall].mean() < 0.3
    assert flanks[~on_wall].mean() > 0.5


def test_one_point() -> None:
    _, features, voxel = describe_points(np.zeros((1, 3)))
    assert features.shape == (1, NUM_FEATURES) and voxel.tolist() == [0]
    assert np.isfinite(features).all()
