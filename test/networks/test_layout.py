"""Layouts of masks and panoramas that show the same are the same."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from scmpr_ros.errors import ConfigError
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.networks.layout import LayoutConfig, LayoutProjection, SemanticLayout
from scmpr_ros.networks.netvlad import heading_windows, whole_view
from scmpr_ros.semantics import NUM_CLASSES, STATIC_IDS, class_id

CONFIG = LayoutConfig(band_edges_deg=(16, 0, -16), blocks=3, descriptor_dim=8)
PANORAMA = AngularGrid(8, 120, 16.0, -16.0)
VIEW = AngularGrid(4, 15, 16.0, -16.0, 90.0)  # cells of twice the size, a quarter of the circle


def share(label: torch.Tensor) -> torch.Tensor:
    return functional.one_hot(label, NUM_CLASSES).permute(0, 3, 1, 2).float()


def test_shares_by_hand() -> None:
    road, wall = class_id("road"), class_id("building")
    label = torch.full((1, 4, 15), road)
    label[:, :2, :5] = wall  # above the horizon in the left block
    layout = SemanticLayout(VIEW, CONFIG).eval()(share(label), whole_view(15, 3))
    table = layout.view(len(STATIC_IDS), 2, 3)
    of_wall, of_road = table[STATIC_IDS.index(wall)], table[STATIC_IDS.index(road)]
    torch.testing.assert_close(of_wall, torch.tensor([[1.0, 0, 0], [0, 0, 0]]), atol=1e-3, rtol=0)
    torch.testing.assert_close(of_road, torch.tensor([[0.0, 1, 1], [1, 1, 1]]), atol=1e-3, rtol=0)


def test_an_image_and_its_window_of_the_map_have_one_layout() -> None:
    torch.manual_seed(0)
    yaw = math.radians(60)
    coarse = torch.randint(1, 9, (1, 4, 60))
    panorama = coarse.repeat_interleave(2, 1).repeat_interleave(2, 2)
    turned = torch.roll(coarse, 10, -1)  # 60 degrees are 10 cells of 6
    mask = turned[..., 30 - 7 : 30 + 8]
    window = heading_windows(torch.tensor([yaw]), VIEW.fov_rad, 120, CONFIG.blocks)
    # A view of 15 coarse cells has its centre half a coarse cell to the right of the grid's.
    window = torch.roll(window, 1, -1)
    of_map = SemanticLayout(PANORAMA, CONFIG).eval()(share(panorama), window)
    of_image = SemanticLayout(VIEW, CONFIG).eval()(share(mask), whole_view(15, CONFIG.blocks))
    torch.testing.assert_close(of_map, of_image, atol=2e-3, rtol=0)  # the root of rounding


def test_projection_starts_orthogonal_and_gives_unit_length() -> None:
    torch.manual_seed(0)
    projection = LayoutProjection(CONFIG.size, CONFIG.descriptor_dim)
    weight = projection.projection.weight
    torch.testing.assert_close(weight @ weight.T, torch.eye(8), atol=1e-5, rtol=0)
    norms = projection(torch.randn(2, 5, CONFIG.size)).norm(dim=-1)
    torch.testing.assert_close(norms, torch.ones(2, 5))


def test_impossible_bands_are_refused() -> None:
    with pytest.raises(ConfigError, match="fall"):
        LayoutConfig(band_edges_deg=(0, 5, -5))
    with pytest.raises(ConfigError, match="block"):
        LayoutConfig(blocks=0)
