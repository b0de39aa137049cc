"""I2P-Rec's descriptors equal its formulas, written out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy_layers import Array, netvlad_of_image, netvlad_of_window, values
from window_methods import (
    describe_window,
    expected_ranges,
    points_of,
    random_panoramas,
    random_prediction,
    random_view,
    small_network,
    tower_features,
    window_points,
)

from scmpr_ros.errors import ConfigError
from scmpr_ros.methods.i2p_rec import I2pRecConfig
from scmpr_ros.networks.depth import DepthConfig

NEAR = DepthConfig((1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0, 10.0))
"""So near that several cells show the same voxel."""
NOTHING = torch.zeros(0, 0)


def bird_view(points: list[Array], full_cell: int) -> Array:
    """Occupied voxels of half a metre in 32 x 32 columns: ahead is up, left is left."""
    in_voxel: dict[tuple[int, ...], list[Array]] = {}
    for point in points:
        in_voxel.setdefault(tuple(math.floor(v / 0.5) for v in point), []).append(point)
    count = np.zeros((32, 32))
    for members in in_voxel.values():
        x, y, _ = np.mean(members, axis=0)
        if 0 < x < 16 and -8 < y < 8:
            count[math.floor((16 - x) / 0.5), math.floor((8 - y) / 0.5)] += 1
    assert len(in_voxel) < len(points) and count.max() > 1
    return np.minimum(count / full_cell, 1)


def features_of(network: Any, points: list[Array]) -> Array:
    return tower_features(network.tower, bird_view(points, network.config.full_cell)[None])


@torch.no_grad()
def test_image_descriptor_equals_the_formula() -> None:
    network, view = small_network("i2p_rec", depth=NEAR), random_view(2)
    prediction = random_prediction(2, network)
    found = network.describe_image(prediction, view.seen, NOTHING)[1]
    range_m = expected_ranges(prediction.range_logits[1], view.seen[1], NEAR.edges_m)
    features = features_of(network, points_of(range_m, 80.0, 12.0, -15.0))
    expected = netvlad_of_image(network.netvlad, features)
    np.testing.assert_allclose(values(found), expected, atol=1e-5)


@pytest.mark.parametrize(("heading", "full_cell"), [(0, 6), (3, 2)])
def test_window_descriptor_equals_the_formula(heading: int, full_cell: int) -> None:
    network = small_network("i2p_rec", full_cell=full_cell)
    panoramas = random_panoramas(2, max_range_m=18.0)
    found = describe_window(network, panoramas, heading)
    features = features_of(network, window_points(panoramas, heading))
    expected = netvlad_of_window(network.netvlad, features)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_bird_view_by_hand() -> None:
    """A wall of three voxels on the left ahead, however dense; what is behind is not shown."""
    wall = [[10.1, 4.2, z / 20] for z in range(30)]
    points = torch.tensor([[[-3.0, 0.0, 0.0]] * 30, wall])
    network = small_network("i2p_rec", full_cell=6)
    image = network.bird_view(points)
    assert image.shape == (2, 1, 32, 32)
    assert image.nonzero().tolist() == [[1, 0, 11, 7]]
    assert float(image.max()) == pytest.approx(3 / 6)
    high = torch.tensor([[[10.1, 4.2, z / 2] for z in range(30)]])
    assert float(network.bird_view(high).max()) == 1


@torch.no_grad()
def test_a_view_of_nothing_is_described() -> None:
    network = small_network("i2p_rec")
    features = network.encode(torch.full((1, 5, 3), torch.nan))
    expected = tower_features(network.tower, np.zeros((1, 32, 32)))
    np.testing.assert_allclose(values(features[0]), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"cell_m": 0.0}, "must be positive"), ({"full_cell": 0}, "must be positive"),
     ({"reach_m": 40.0}, "must be a multiple of 32")],
)  # fmt: skip
def test_views_that_do_not_fit_the_backbone_are_refused(
    wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        I2pRecConfig(**wrong)
