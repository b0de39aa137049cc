"""Benchmark of panoramas: places a second in maps of two extents, by each way to render them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from scmpr_ros.errors import ConfigError
from scmpr_ros.evaluation.benchmark.machine import Machine
from scmpr_ros.evaluation.benchmark.timing import Timing, time_in_turn
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.lidar import panorama_kernel, ray_sampling, splatting
from scmpr_ros.lidar.panorama import RenderConfig, render_sorted
from scmpr_ros.lidar.sorted_points import SortedPoints
from scmpr_ros.networks.device import choose_device
from scmpr_ros.semantics import STATIC_IDS

BLOCK_M = 60.0
"""Edge of a block of the map: a street, lawns and the fronts of two houses."""
_VOXEL_M = 0.1
_BYTES_PER_POINT = 16.0  # coordinates and number


@dataclass(frozen=True)
class RenderBenchmarkConfig:
    """Maps and panoramas to time.

    points: of the large map, made of equal blocks; the small one has blocks_of_small of them.
    grids: heights and widths. places: rendered together by our ways; peers render one.
    """

    points: int = 20_000_000
    blocks_of_small: int = 9
    grids: tuple[tuple[int, int], ...] = ((64, 1024), (24, 360))
    places: int = 16
    runs: int = 5
    device: str = "auto"

    def __post_init__(self) -> None:
        if min(self.points, self.blocks_of_small, self.places, self.runs) < 1:
            raise ConfigError("points, blocks_of_small, places and runs must be at least 1")


@dataclass(frozen=True)
class RenderTiming:
    """One way to render places of one map on one grid. timing, floor_ms: of one panorama.

    reached: points in the runs of a place. floor_ms: lower bound by reading these once.
    """

    points: int
    extent_m: float
    grid: str
    way: str
    reached: int
    timing: Timing
    floor_ms: float

    @property
    def panoramas_per_s(self) -> float:
        """Panoramas a second, at the median."""
        return 1e3 / self.timing.median_ms


def benchmark_renders(config: RenderBenchmarkConfig, machine: Machine) -> list[RenderTiming]:
    """Time the ways on all grids, first in the small map and then in the large one."""
    device = choose_device(config.device)
    block = street_block()
    blocks = max(1, round(config.points / len(block[0])))
    results = []
    for count in sorted({min(config.blocks_of_small, blocks), blocks}):
        points, label, extent_m = repeat_blocks(*block, count)
        points, label = points.to(device), label.to(device)
        sorted_points = SortedPoints.of(points, label)
        positions = _positions(config.places).to(device)
        runs = sorted_points.runs_near(positions, RenderConfig.max_range_m)
        reached = int((runs.stop - runs.start).sum()) // len(positions)
        floor_ms = machine.floor_ms(0, _BYTES_PER_POINT * reached, torch.float32)
        for height, width in config.grids:
            grid = AngularGrid(height, width, 16.0, -16.0)
            calls = _calls(points, sorted_points, positions, grid)
            times = time_in_turn(
                {way: call for way, (call, _) in calls.items()}, config.runs, device, warm_ups=1,
                label=f"{height}x{width} panoramas of {len(points):,} points",
            )  # fmt: skip
            results += [
                RenderTiming(
                    len(points), extent_m, f"{height}x{width}", way, reached,
                    _per_panorama(timing, calls[way][1]), floor_ms,
                )
                for way, timing in times.items()
            ]  # fmt: skip
    return results


def _calls(
    points: Tensor, sorted_points: SortedPoints, positions: Tensor, grid: AngularGrid
) -> dict[str, tuple[Callable[[], object], int]]:
    """Functions to time by the name of the way, and how many panoramas each renders."""
    splats, rays, one = RenderConfig(), RenderConfig.fine(_VOXEL_M), positions[:1]
    calls: dict[str, tuple[Callable[[], object], int]] = {}
    for name, config in (("splats", splats), ("rays", rays)):
        way = name + (", kernel" if panorama_kernel.unavailable(points.device.type) is None else "")
        calls[way] = partial(render_sorted, sorted_points, positions, grid, config), len(positions)
    if panorama_kernel.unavailable(points.device.type) is None:
        for name, draw, config in (
            ("splats", splatting.draw, splats), ("rays", ray_sampling.draw, rays)
        ):  # fmt: skip
            calls[f"{name}, torch"] = partial(_draw, draw, sorted_points, one, grid, config), 1
    calls["peer: all points"] = (
        partial(_look_at_all, points, sorted_points, one, grid, splats), 1,
    )  # fmt: skip
    return calls


def _draw(
    draw: Callable[..., None], points: SortedPoints, positions: Tensor, grid: AngularGrid,
    config: RenderConfig,
) -> None:  # fmt: skip
    """What machines without a compiler do."""
    runs = points.runs_near(positions, config.max_range_m)
    draw(points, runs, positions, _axes(positions), grid, config, _empty(positions, grid))


def _look_at_all(
    points: Tensor, sorted_points: SortedPoints, positions: Tensor, grid: AngularGrid,
    config: RenderConfig,
) -> None:  # fmt: skip
    """The peer: find the points near a place by the distances of all points of the map."""
    near = torch.cdist(positions[:, :2], points[:, :2]) <= config.max_range_m
    place, index = near.nonzero(as_tuple=True)
    index = sorted_points.rank[index].long()
    splatting.draw_pairs(
        place, index, sorted_points, positions, _axes(positions), grid, config,
        _empty(positions, grid),
    )  # fmt: skip


def _axes(positions: Tensor) -> Tensor:
    return torch.eye(3, device=positions.device).expand(len(positions), 3, 3)


def _empty(positions: Tensor, grid: AngularGrid) -> Tensor:
    size = len(positions) * grid.height * grid.width
    return torch.full((size,), splatting.NOTHING, device=positions.device)


def _per_panorama(timing: Timing, count: int) -> Timing:
    return Timing(
        timing.median_ms / count, timing.p95_ms / count, timing.min_ms / count, timing.runs
    )


def street_block() -> tuple[Tensor, Tensor]:
    """A block of a street in voxels of 10 cm: points (N, 3) and labels (N,) of static classes."""
    along = torch.arange(0, BLOCK_M, _VOXEL_M)
    ground = torch.cartesian_prod(along, along - BLOCK_M / 2)
    front = torch.cartesian_prod(along, torch.arange(0.1, 9.0, _VOXEL_M))
    parts = [torch.cat([ground, torch.zeros(len(ground), 1)], 1)]
    for y in (-11.0, 11.0):
        parts.append(torch.stack([front[:, 0], torch.full((len(front),), y), front[:, 1]], 1))
    generator = torch.Generator().manual_seed(0)
    crown = torch.randn((4000, 3), generator=generator) * 1.2
    parts += [crown + torch.tensor([x, 7.0, 4.5]) for x in (8.0, 25.0, 45.0)]
    points = torch.cat(parts)
    points += (torch.rand(points.shape, generator=generator) - 0.5) * _VOXEL_M
    classes = torch.tensor(STATIC_IDS, dtype=torch.uint8)
    return points, classes[torch.randint(len(classes), (len(points),), generator=generator)]


def repeat_blocks(points: Tensor, label: Tensor, count: int) -> tuple[Tensor, Tensor, float]:
    """The block `count` times in a square around the origin, and the edge of the square in m."""
    side = int(np.ceil(np.sqrt(count)))
    number = torch.arange(count)
    shift = torch.stack([number % side, number // side, torch.zeros_like(number)], 1)
    shift[:, :2] -= side // 2
    middle = torch.tensor([BLOCK_M / 2, 0.0, 0.0])
    repeated = points - middle + BLOCK_M * shift[:, None]
    return repeated.reshape(-1, 3), label.repeat(count), side * BLOCK_M


def _positions(places: int) -> Tensor:
    """Places along the street of the block at the origin, which maps of all extents have."""
    along = torch.linspace(-BLOCK_M / 2, BLOCK_M / 2, places)
    return torch.stack([along, torch.zeros(places), torch.full((places,), 1.8)], 1)
