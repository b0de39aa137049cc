"""All ways to draw splats give the same bits: those of a plain reference, written here."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from scmpr_ros.compilation import VECTOR_FLAGS, find_compiler, load_library
from scmpr_ros.errors import DatasetError
from scmpr_ros.geometry import AngularGrid, upright_axes
from scmpr_ros.lidar import panorama_kernel, splatting
from scmpr_ros.lidar.panorama import Panoramas, RenderConfig, render, render_sorted
from scmpr_ros.lidar.sorted_points import SortedPoints
from scmpr_ros.records import PointCloud

NETWORK = AngularGrid(24, 360, 16.0, -16.0)
GRIDS = (
    NETWORK,
    AngularGrid(64, 512, 20.0, -30.0),
    AngularGrid(48, 128, 12.0, -15.0, 80.0),
    AngularGrid(16, 30, 90.0, -90.0),
    AngularGrid(16, 30, 30.0, -90.0, 170.0),
    AngularGrid(1, 3, 10.0, -10.0),
)
CAPABILITY = torch.backends.cpu.get_cpu_capability()


def scene(seed: int, count: int = 4000) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Points dense near the origin, labels, and three places with tilted axes."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn((count, 3), generator=generator) * torch.tensor([25.0, 25.0, 3.0])
    label = torch.randint(1, 13, (count,), generator=generator).to(torch.uint8)
    places = torch.randn((3, 3), generator=generator) * torch.tensor([8.0, 8.0, 1.0])
    up = 0.1 * torch.randn((3, 3), generator=generator) + torch.tensor([0.0, 0.0, 1.0])
    return points, label, places, torch.from_numpy(upright_axes(up.double().numpy()))


def draw_plainly(
    points: Tensor, label: Tensor, position: Tensor, axes: Tensor, grid: AngularGrid,
    config: RenderConfig,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Ranges, heights and labels (H, W) of one panorama, drawn point by point."""
    offset = points - position
    range_m = offset.norm(dim=1)
    ahead, left, up = ((offset * axis).sum(1) for axis in axes.float().T)
    column = (0.5 - torch.atan2(left, ahead) / grid.fov_rad) * grid.width
    elevation = torch.asin((up / range_m.clamp_min(1e-6)).clamp(-1, 1))
    row = (math.radians(grid.fov_up_deg) - elevation) / grid.row_rad
    cell_rad = max(grid.row_rad, grid.column_rad)
    radius = (config.splat_radius_m / (range_m * cell_rad)).round()
    radius = radius.clamp_max(config.max_splat_cells).int().tolist()
    millimetres = (range_m * 1000).int()
    seen = (range_m >= config.min_range_m) & (range_m <= config.max_range_m)
    best: dict[tuple[int, int], tuple[int, int]] = {}
    for i in seen.nonzero().flatten().tolist():
        at_row, at_column, key = math.floor(row[i]), math.floor(column[i]), (int(millimetres[i]), i)
        for d_row in range(-radius[i], radius[i] + 1):
            for d_column in range(-radius[i], radius[i] + 1):
                r, c = at_row + d_row, at_column + d_column
                c = c % grid.width if grid.is_circle else c
                if d_row**2 + d_column**2 <= (radius[i] + 0.5) ** 2:
                    best[r, c] = min(key, best.get((r, c), key))
    pictures = torch.zeros(3, grid.height, grid.width)
    for (r, c), (mm, i) in best.items():
        if 0 <= r < grid.height and 0 <= c < grid.width:
            pictures[:, r, c] = torch.tensor([mm / 1000, up[i], label[i]])
    range_m, height_m, labels = pictures
    return range_m, height_m, labels.to(torch.uint8)


def draw_rays_plainly(
    points: Tensor, label: Tensor, position: Tensor, axes: Tensor, grid: AngularGrid,
    config: RenderConfig,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Ranges and labels (H, W) of what each ray meets, found by comparing it with every point."""
    offset = points.double() - position
    range_m = offset.norm(dim=1)
    directions = torch.from_numpy(grid.directions()).reshape(-1, 1, 3) @ axes.T
    along = (directions * offset).sum(2)
    off = (offset - along[..., None] * directions).norm(dim=2)
    met = (off <= config.splat_radius_m) & (along > 0)
    met &= (range_m >= config.min_range_m) & (range_m <= config.max_range_m)
    front = torch.where(met, range_m, math.inf).amin(1, keepdim=True)
    shown = met & (range_m <= front + config.surface_m)
    index = torch.where(shown, off, math.inf).argmin(1)
    hit = shown.any(1)
    pictures = torch.where(hit, range_m[index], 0.0), torch.where(hit, label[index], 0)
    range_m, labels = (picture.view(grid.height, grid.width) for picture in pictures)
    return range_m, labels


@contextmanager
def without_kernel() -> Iterator[None]:
    """As on a machine without a compiler."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(panorama_kernel, "unavailable", lambda device_type: "no compiler")
        yield


def assert_same(first: Panoramas, second: Panoramas) -> None:
    for name, value in vars(first).items():
        assert torch.equal(value, getattr(second, name)), name


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_pictures_are_those_of_the_reference(grid: AngularGrid) -> None:
    points, label, positions, axes = scene(seed=3)
    config = RenderConfig()
    got = render(points, label, positions, grid, config, axes)
    assert (got.range_m > 0).any()
    for i, (position, turned) in enumerate(zip(positions, axes, strict=True)):
        expected = draw_plainly(points, label, position, turned, grid, config)
        for name, picture in zip(("range_m", "height_m", "label"), expected, strict=True):
            assert torch.equal(getattr(got, name)[i], picture), name


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_rays_meet_what_a_search_of_all_points_finds(grid: AngularGrid) -> None:
    grid = grid.resized(min(grid.height, 12), min(grid.width, 45))
    points, label, positions, axes = scene(seed=4, count=1500)
    config = RenderConfig(2.0, splat_radius_m=0.6, rays=True, surface_m=1.0)
    got = render(points, label, positions, grid, config, axes)
    for i, (position, turned) in enumerate(zip(positions, axes, strict=True)):
        range_m, labels = draw_rays_plainly(points, label, position, turned, grid, config)
        same = (got.range_m[i] - range_m).abs() < 0.002  # both round, so next to edges they differ
        assert same.float().mean() > 0.995
        assert torch.equal(got.label[i][same], labels[same])
        assert (range_m > 0).float().mean() > 0.1


@pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler")
@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    grid=st.sampled_from(GRIDS),
    splat_radius_m=st.sampled_from([0.0, 0.12, 0.5]),
    max_splat_cells=st.integers(0, 7),
    max_range_m=st.floats(2.0, 60.0),
    rays=st.booleans(),
)
def test_kernel_and_torch_draw_the_same(
    seed: int, grid: AngularGrid, splat_radius_m: float, max_splat_cells: int, max_range_m: float,
    rays: bool,
) -> None:  # fmt: skip
    points, label, positions, axes = scene(seed)
    config = RenderConfig(1.0, max_range_m, splat_radius_m, max_splat_cells, rays)
    by_kernel = render(points, label, positions, grid, config, axes)
    with without_kernel():
        assert_same(by_kernel, render(points, label, positions, grid, config, axes))


@pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler")
def test_points_on_the_edges_of_cells_fall_to_the_same_side() -> None:
    """Every point lies as exactly on an edge as float32 can say."""
    azimuth, elevation = np.meshgrid(
        np.pi - np.arange(360) * NETWORK.column_rad,
        np.radians(16.0) - np.arange(25) * NETWORK.row_rad,
    )
    points = [
        distance
        * np.stack(
            [
                np.cos(elevation) * np.cos(azimuth),
                np.cos(elevation) * np.sin(azimuth),
                np.sin(elevation),
            ],
            axis=-1,
        ).reshape(-1, 3)
        for distance in np.arange(2.0, 40.0, 1.7)
    ]
    xyz = torch.from_numpy(np.concatenate(points).astype(np.float32))
    label = torch.arange(len(xyz)).remainder(12).to(torch.uint8)
    config = RenderConfig(splat_radius_m=0.0)
    by_kernel = render(xyz, label, torch.zeros(1, 3), NETWORK, config)
    with without_kernel():
        assert_same(by_kernel, render(xyz, label, torch.zeros(1, 3), NETWORK, config))


@pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler")
@pytest.mark.slow
@pytest.mark.parametrize("capability", ["DEFAULT", *VECTOR_FLAGS])
@pytest.mark.parametrize("config", [RenderConfig(), RenderConfig.fine(0.5)], ids=["splats", "rays"])
def test_vector_widths_draw_the_same(
    capability: str, config: RenderConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = ["DEFAULT", *reversed(VECTOR_FLAGS)]
    if order.index(capability) > order.index(CAPABILITY):
        pytest.skip(f"this processor has no {capability}")
    points, label, positions, axes = scene(seed=5, count=50_000)
    with without_kernel():
        expected = render(points, label, positions, GRIDS[1], config, axes)
    library = load_library(panorama_kernel.SOURCE, capability, tmp_path, panorama_kernel.FLAGS)
    monkeypatch.setattr(panorama_kernel, "_library", lambda: (library, None))
    assert_same(expected, render(points, label, positions, GRIDS[1], config, axes))


def test_chunks_draw_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    points, label, positions, axes = scene(seed=6)
    with without_kernel():
        whole = render(points, label, positions, NETWORK, RenderConfig(), axes)
        monkeypatch.setattr(splatting, "_PAIRS_AT_ONCE", 700)
        assert_same(whole, render(points, label, positions, NETWORK, RenderConfig(), axes))


def test_of_equal_ranges_the_first_point_wins() -> None:
    """Also where sorting by cells turns their order around."""
    points = torch.tensor([[5.0, 0.05, 0.0], [5.0, -0.05, 0.0], [-30.0, -30.0, 0.0]])
    for order in ([0, 1, 2], [1, 0, 2], [2, 1, 0]):
        label = torch.tensor([1, 2, 3], dtype=torch.uint8)
        view = render(points[order], label, torch.zeros(1, 3), NETWORK, RenderConfig())
        first = min(range(2), key=lambda i: order.index(i))
        assert view.label[0, 12, 180] == label[order.index(first)]


def test_time_is_of_the_points_in_reach() -> None:
    """Far points are in no run, near ones in exactly one."""
    generator = torch.Generator().manual_seed(0)
    points = (torch.rand((50_000, 3), generator=generator) - 0.5) * 1000
    points[:, 2] *= 0.02
    sorted_points = SortedPoints.of(points, torch.ones(len(points), dtype=torch.uint8))
    positions = torch.tensor([[0.0, 0.0, 0.0], [480.0, -490.0, 2.0], [5000.0, 0.0, 0.0]])
    place, index = sorted_points.runs_near(positions, 50.0).pairs()
    for i, position in enumerate(positions):
        numbers = sorted_points.number[index[place == i]].long()
        distance = (points - position).norm(dim=1)
        assert len(numbers.unique()) == len(numbers)
        assert torch.isin((distance <= 50).nonzero().flatten(), numbers).all()
        assert len(numbers) <= (distance <= 50 + 15).sum()
    assert (place != 2).all()


def test_a_view_touches_only_the_cells_it_looks_at() -> None:
    points, label, _, _ = scene(seed=1)
    sorted_points = SortedPoints.of(points, label)
    ahead, left = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0])
    wedge = torch.stack([ahead - left, ahead + left])[None]  # 90 degrees wide
    _, index = sorted_points.runs_near(torch.zeros(1, 3), 50.0, wedge).pairs()
    x, y, _ = sorted_points.xyz[:, index]
    inside = (points[:, 1].abs() <= points[:, 0]) & (points.norm(dim=1) <= 50)
    assert torch.isin(inside.nonzero().flatten(), sorted_points.number[index].long()).all()
    assert (y.abs() <= x + 20 * math.sqrt(2)).all()
    assert len(index) < 0.6 * len(points)


def test_an_empty_view_is_empty() -> None:
    points, label, positions, _ = scene(seed=2)
    far = positions + 1000
    view = render_sorted(SortedPoints.of(points, label), far, NETWORK, RenderConfig())
    assert not any(value.any() for value in vars(view).values())
    assert_same(view, render(points, label, far, NETWORK, RenderConfig()))


def test_points_that_cannot_be_sorted_are_named() -> None:
    points, label, _, _ = scene(seed=2)
    points[7, 1] = math.nan
    with pytest.raises(DatasetError, match="not finite"):
        SortedPoints.of(points, label)
    cloud = PointCloud(np.zeros((2, 3), np.float32))
    with pytest.raises(DatasetError, match="a survey has no labels"):
        SortedPoints.of_cloud(cloud, name="a survey")
    labelled = replace(cloud, label=np.ones(2, np.uint8), origin=np.array([1e6, 0, 0]))
    assert SortedPoints.of_cloud(labelled).origin[0] == 1e6


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_draws_the_same() -> None:
    for config, grid in itertools.product((RenderConfig(), RenderConfig.fine()), GRIDS):
        points, label, positions, axes = scene(seed=7, count=200_000)
        here = render(points, label, positions, grid, config, axes)
        moved = (x.cuda() for x in (points, label, positions))
        there = render(*moved, grid, config, axes.cuda())
        assert_same(here, Panoramas(*(value.cpu() for value in vars(there).values())))
