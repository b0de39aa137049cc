"""Panoramas of scenes with known ranges, normals and labels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scmpr_ros.errors import ConfigError, ShapeError
from scmpr_ros.geometry import AngularGrid, rotation_z, upright_axes
from scmpr_ros.lidar.panorama import RenderConfig, render

GRID = AngularGrid(32, 480, 16.0, -16.0)
CONFIG = RenderConfig()
FRONT, LEFT, BACK, RIGHT = 240, 120, 0, 360  # columns of the four directions


def box_room(half_m: float = 5.0, spacing_m: float = 0.1) -> tuple[torch.Tensor, torch.Tensor]:
    """Four walls around the origin; classes 1 to 4 are front, left, back and right."""
    along = torch.arange(-half_m, half_m + spacing_m, spacing_m)
    y, z = torch.meshgrid(along, torch.arange(-2, 2, spacing_m), indexing="ij")
    y, z = y.flatten(), z.flatten()
    x = torch.full_like(y, half_m)
    walls = [(x, y, z), (y, x, z), (-x, y, z), (y, -x, z)]
    points = torch.cat([torch.stack(wall, 1) for wall in walls])
    return points, torch.arange(1, 5, dtype=torch.uint8).repeat_interleave(len(y))


def test_walls_of_a_room_have_the_right_range_and_label() -> None:
    points, label = box_room()
    view = render(points, label, torch.zeros(1, 3), GRID, CONFIG)
    columns = [FRONT, LEFT, BACK, RIGHT]
    assert torch.allclose(view.range_m[0, 16, columns], torch.tensor(5.0), atol=0.01)
    assert view.label[0, 16, columns].tolist() == [1, 2, 3, 4]
    assert (view.range_m > 0).all()
    corner = view.range_m[0, 16, (FRONT + LEFT) // 2]
    assert corner == pytest.approx(5 * math.sqrt(2), abs=0.25)  # the nearest splat wins


def test_normals_are_relative_to_the_azimuth_of_the_column() -> None:
    points, label = box_room()
    normal = render(points, label, torch.zeros(1, 3), GRID, CONFIG).normal[0, :, 16]
    towards_viewer = torch.tensor([-1.0, 0.0, 0.0])
    for column in (FRONT, LEFT, BACK, RIGHT):
        assert torch.allclose(normal[:, column], towards_viewer, atol=0.05)
    # 30 degrees to the left of straight ahead, the front wall's normal points back and to the
    # right of the line of sight.
    off = normal[:, FRONT - 40]
    expected = torch.tensor([-math.cos(math.radians(30)), math.sin(math.radians(30)), 0.0])
    assert torch.allclose(off, expected, atol=0.05)


def test_height_is_measured_from_the_viewpoint() -> None:
    points, label = box_room()
    view = render(points, label, torch.tensor([[0.0, 0.0, -1.0]]), GRID, CONFIG)
    row = 4
    expected = 5.0 * math.tan(GRID.elevations()[row])
    assert view.height_m[0, row, FRONT] == pytest.approx(expected, abs=2 * CONFIG.splat_radius_m)


def test_a_near_wall_hides_a_far_one() -> None:
    near = torch.cartesian_prod(
        torch.tensor([4.0]), torch.arange(-3, 3, 0.2), torch.arange(-2, 2, 0.2)
    )
    far = torch.cartesian_prod(
        torch.tensor([20.0]), torch.arange(-10, 10, 0.05), torch.arange(-3, 3, 0.05)
    )
    label = torch.cat([torch.full((len(near),), 3), torch.full((len(far),), 5)]).to(torch.uint8)
    view = render(torch.cat([near, far]), label, torch.zeros(1, 3), GRID, CONFIG)
    hidden = view.label[0, 4:28, FRONT - 30 : FRONT + 30]
    assert (hidden == 3).all()


def test_empty_cells_are_zero() -> None:
    points, label = torch.tensor([[10.0, 0.0, 0.0]]), torch.tensor([7], dtype=torch.uint8)
    view = render(points, label, torch.zeros(1, 3), GRID, CONFIG)
    hit = view.range_m > 0
    assert 1 <= hit.sum() <= 9
    assert view.label[~hit].sum() == 0 and view.height_m[~hit].abs().sum() == 0


def test_a_batch_equals_single_renderings() -> None:
    points, label = box_room()
    positions = torch.tensor([[0.0, 0.0, 0.0], [1.0, -2.0, 0.3], [3.0, 3.0, -0.5]])
    together = render(points, label, positions, GRID, CONFIG)
    for number, position in enumerate(positions):
        alone = render(points, label, position[None], GRID, CONFIG)
        assert torch.equal(together.range_m[number], alone.range_m[0])
        assert torch.equal(together.label[number], alone.label[0])


@pytest.mark.parametrize("fov_deg", [360.0, 70.0])
def test_tilting_both_world_and_axes_changes_nothing(fov_deg: float) -> None:
    points, label = box_room()
    grid = AngularGrid(24, 120, 16.0, -16.0, fov_deg)
    tilt = torch.from_numpy(upright_axes(np.array([[0.1, -0.2, 1.0]]))[0] @ rotation_z(0.8)).float()
    here = torch.tensor([[0.5, -0.3, 0.2]])
    level = render(points, label, here, grid, CONFIG)
    tilted = render(points @ tilt.T, label, here @ tilt.T, grid, CONFIG, tilt[None])
    same = (level.range_m - tilted.range_m).abs() < 2e-3
    assert same.float().mean() > 0.99  # except for points on the edge of two cells
    for name in ("height_m", "label"):
        expected, actual = (getattr(p, name)[same].float() for p in (level, tilted))
        assert torch.isclose(actual, expected, atol=5e-3).float().mean() > 0.97
    wrong_axes = render(points @ tilt.T, label, here @ tilt.T, grid, CONFIG)
    assert ((level.range_m - wrong_axes.range_m).abs() < 2e-3).float().mean() < 0.5


@settings(max_examples=20, deadline=None)
@given(columns=st.integers(0, 479), seed=st.integers(0, 1000))
def test_rotating_the_world_rolls_the_panorama(columns: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    azimuth = (torch.randint(480, (200,), generator=generator) + 0.5) * GRID.column_rad
    distance = torch.rand(200, generator=generator) * 30 + 5
    height = (torch.rand(200, generator=generator) - 0.5) * 2
    label = torch.randint(1, 9, (200,), generator=generator).to(torch.uint8)

    def scene(turn: float) -> torch.Tensor:
        a = (azimuth + turn).double()
        return torch.stack([distance * a.cos(), distance * a.sin(), height], 1).float()

    config = RenderConfig(splat_radius_m=0.0)
    plain = render(scene(0.0), label, torch.zeros(1, 3), GRID, config)
    turned = render(scene(columns * GRID.column_rad), label, torch.zeros(1, 3), GRID, config)
    assert torch.equal(torch.roll(plain.label, -columns, -1), turned.label)
    assert torch.allclose(torch.roll(plain.range_m, -columns, -1), turned.range_m, atol=2e-3)


def test_bad_input() -> None:
    points, label = box_room()
    with pytest.raises(ShapeError, match="points"):
        render(torch.zeros(0, 3), label[:0], torch.zeros(1, 3), GRID, CONFIG)
    with pytest.raises(ShapeError, match="label"):
        render(points, label[:-1], torch.zeros(1, 3), GRID, CONFIG)
    with pytest.raises(ConfigError, match="min_range_m"):
        RenderConfig(min_range_m=5, max_range_m=1)
    with pytest.raises(ConfigError, match="splat_radius_m=-1"):
        RenderConfig(splat_radius_m=-1)
