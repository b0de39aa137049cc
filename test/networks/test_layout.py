"""Layouts of a mask and a panorama of the same scene are equal."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from scmpr_ros.errors import ConfigError
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.networks.layout import (
    LayoutConfig,
    LayoutProjection,
    RangeLayout,
    SemanticLayout,
)
from scmpr_ros.networks.netvlad import heading_windows, whole_view
from scmpr_ros.semantics import NUM_CLASSES, STATIC_IDS, class_id

CONFIG = LayoutConfig(band_edges_deg=(16, 0, -16), blocks=3, descriptor_dim=8)
PANORAMA = AngularGrid(8, 120, 16.0, -16.0)
VIEW = AngularGrid(4, 15, 16.0, -16.0, 90.0)  # cells of twice the size, a quarter of the circle


def one_hot(label: torch.Tensor) -> torch.Tensor:
    return functional.one_hot(label, NUM_CLASSES).permute(0, 3, 1, 2).float()


def test_layout_by_hand() -> None:
    road, wall = class_id("road"), class_id("building")
    label = torch.full((1, 4, 15), road)
    label[:, :2, :5] = wall  # above the horizon in the left block
    layout = SemanticLayout(VIEW, CONFIG).eval()(one_hot(label), whole_view(15, 3))
    table = layout.view(len(STATIC_IDS), 2, 3)
    walls, roads = table[STATIC_IDS.index(wall)], table[STATIC_IDS.index(road)]
    torch.testing.assert_close(walls, torch.tensor([[1.0, 0, 0], [0, 0, 0]]), atol=1e-3, rtol=0)
    torch.testing.assert_close(roads, torch.tensor([[0.0, 1, 1], [1, 1, 1]]), atol=1e-3, rtol=0)


def test_range_layout_by_hand() -> None:
    """A road in the nearer range; above it, in the left block, a wall in the farther range."""
    road, wall = class_id("road"), class_id("building")
    label = torch.full((1, 4, 15), road)
    label[:, :2, :5] = wall
    ranges = torch.stack([label == road, label == wall], dim=1).float()
    layout = RangeLayout(VIEW, CONFIG, 2).eval()(one_hot(label), ranges, whole_view(15, 3))
    table = layout.view(len(STATIC_IDS), 2, 3).square()  # fractions of the block
    walls, roads = table[STATIC_IDS.index(wall)], table[STATIC_IDS.index(road)]
    torch.testing.assert_close(walls, torch.tensor([[0.0, 0, 0], [0.5, 0, 0]]), atol=1e-3, rtol=0)
    torch.testing.assert_close(roads, torch.tensor([[0.5, 1, 1], [0, 0, 0]]), atol=1e-3, rtol=0)


def test_an_image_and_its_window_of_the_map_have_equal_layouts() -> None:
    torch.manual_seed(0)
    yaw = math.radians(60)
    coarse = torch.randint(1, 9, (1, 4, 60))
    panorama = coarse.repeat_interleave(2, 1).repeat_interleave(2, 2)
    rolled = torch.roll(coarse, 10, -1)  # 60 degrees are 10 cells of 6
    mask = rolled[..., 30 - 7 : 30 + 8]
    window = heading_windows(torch.tensor([yaw]), VIEW.fov_rad, 120, CONFIG.blocks)
    # The centre of a view of 15 coarse cells is half a coarse cell to the right of the grid's.
    window = torch.roll(window, 1, -1)
    of_map = SemanticLayout(PANORAMA, CONFIG).eval()(one_hot(panorama), window)
    of_image = SemanticLayout(VIEW, CONFIG).eval()(one_hot(mask), whole_view(15, CONFIG.blocks))
    torch.testing.assert_close(of_map, of_image, atol=2e-3, rtol=0)  # rounding, under the root


def test_projection_is_initially_orthogonal_and_returns_unit_vectors() -> None:
    torch.manual_seed(0)
    projection = LayoutProjection(CONFIG.size, CONFIG.descriptor_dim)
    weight = projection.projection.weight
    torch.testing.assert_close(weight @ weight.T, torch.eye(8), atol=1e-5, rtol=0)
    norms = projection(torch.randn(2, 5, CONFIG.size)).norm(dim=-1)
    torch.testing.assert_close(norms, torch.ones(2, 5))


def test_impossible_bands_are_refused() -> None:
    for edges in ((0, 5, -5), (5, math.nan, -5), (5,)):
        with pytest.raises(ConfigError, match="fall"):
            LayoutConfig(band_edges_deg=edges)
    with pytest.raises(ConfigError, match="block"):
        LayoutConfig(blocks=0)
