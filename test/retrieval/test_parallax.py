"""Panoramas seen from beside their places: known geometry, and rendering as the reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from scmpr_ros.errors import ConfigError
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.retrieval.panoramas import Panoramas
from scmpr_ros.retrieval.parallax import ParallaxRenderer

GRID = AngularGrid(24, 360, 16.0, -16.0)
VIEW = AngularGrid(32, 96, 12.0, -15.0, 80.0)
ALL = slice(None)
AZIMUTH, ELEVATION = (torch.from_numpy(x).float() for x in (VIEW.azimuths(), VIEW.elevations()))


def room(grid: AngularGrid, viewpoint: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """A square room of 20 m without a ceiling: its four walls have labels 1 to 4, and it has a
    floor 1.6 m below, label 5. Returns labels and ranges as seen by rays from a viewpoint."""
    d = grid.directions()
    x, y = viewpoint
    with np.errstate(divide="ignore"):
        walls = np.stack([(10 - x) / d[..., 0], (10 - y) / d[..., 1], (-10 - x) / d[..., 0],
                          (-10 - y) / d[..., 1]])  # fmt: skip
        distance = np.concatenate([walls, [-1.6 / d[..., 2]]])
    distance[~(distance > 0)] = np.inf
    label, range_m = distance.argmin(0) + 1, distance.min(0)
    sky = range_m * d[..., 2] > 1.5  # above the walls
    label[sky], range_m[sky] = 0, 0
    return torch.from_numpy(label.astype(np.uint8)), torch.from_numpy(range_m).half()


@pytest.fixture(scope="module")
def renderer() -> ParallaxRenderer:
    label, range_m = room(GRID, (0.0, 0.0))
    return ParallaxRenderer(GRID, ELEVATION, Panoramas(label[None].numpy(), range_m[None].numpy()))


@pytest.mark.parametrize("x, y", [(0.0, 0.0), (1.5, 0.0), (-0.8, 1.2), (0.3, -1.5)])
def test_agrees_with_rays_from_the_new_position(
    renderer: ParallaxRenderer, x: float, y: float
) -> None:
    label, range_m = renderer.render(0, torch.tensor([[x, y, 0.0]]), AZIMUTH, ALL)
    true_label, true_range = room(VIEW, (x, y))
    assert (label[0] == true_label).float().mean() > 0.88  # all but the edges
    both = (label[0] == true_label) & (true_label > 0)
    relative = (range_m[0][both] / true_range[both].float()).log().abs()
    assert relative.median() < 0.02
    assert (relative < 0.15).float().mean() > 0.95
    assert (range_m[0][label[0] == 0] > 1000).all()


def test_height_moves_the_floor(renderer: ParallaxRenderer) -> None:
    offsets = torch.tensor([[0.0, 0.0, -0.2], [0.0, 0.0, 0.2]])
    low, high = renderer.render(0, offsets, AZIMUTH, ALL)[1][:, 26].mean(1)  # at -10 deg
    assert high / low == pytest.approx(1.8 / 1.4, rel=0.1)


def test_positions_and_rows_do_not_depend_on_each_other(renderer: ParallaxRenderer) -> None:
    offsets = torch.from_numpy(np.random.default_rng(0).uniform(-1.5, 1.5, (7, 3))).float()
    labels, ranges_m = renderer.render(0, offsets, AZIMUTH, ALL)
    for index, offset in enumerate(offsets):
        label, range_m = renderer.render(0, offset[None], AZIMUTH, slice(1, None, 3))
        assert torch.equal(label[0], labels[index, 1::3])
        assert torch.equal(range_m[0], ranges_m[index, 1::3])


def test_turning_around_shows_the_other_wall(renderer: ParallaxRenderer) -> None:
    label, range_m = renderer.render(0, torch.tensor([[2.0, 0.0, 0.0]]), AZIMUTH + np.pi, ALL)
    assert label[0, 14, 48] == 3
    assert range_m[0, 14, 48] == pytest.approx(12.0, rel=0.03)


def test_panoramas_must_be_circles() -> None:
    label, range_m = room(VIEW, (0.0, 0.0))
    with pytest.raises(ConfigError, match="360 deg"):
        ParallaxRenderer(VIEW, ELEVATION, Panoramas(label[None].numpy(), range_m[None].numpy()))
