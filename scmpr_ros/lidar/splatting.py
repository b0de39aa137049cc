"""Draw points as splats into angular grids, the nearest in front: the reference, for any device.

`panorama_kernel` draws the same pictures faster on CPUs. So that all devices agree in every cell,
ranges are computed with one rounding for each operation, and where the row or column of a point is
too close to an edge for a device's arc functions, the CPU's decide.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from scmpr_ros.errors import ConfigError
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.lidar.grid_cells import rows_and_columns
from scmpr_ros.lidar.sorted_points import Runs, SortedPoints

RANGE_STEPS_PER_M = 1000
"""Ranges are compared in millimetres."""
NOTHING = torch.iinfo(torch.int64).max
"""Key of an empty cell."""
_PAIRS_AT_ONCE = 4_000_000  # (place, point) pairs projected at once: about 400 MB
_UNSURE_CELLS = 0.01  # far more than the arc functions of any device differ


@dataclass(frozen=True)
class RenderConfig:
    """Range of the points that are drawn, and how they are drawn.

    splat_radius_m, max_splat_cells: radius of a point's splat, and its limit in cells.
    rays: show what the ray through each cell's centre meets (`ray_sampling`), instead of splats:
        the rays pass points within `splat_radius_m`, and those up to `surface_m` behind the first
        one are on the same surface. Networks are trained with splats; see also `fine`.
    """

    min_range_m: float = 1.0
    max_range_m: float = 50.0
    splat_radius_m: float = 0.12
    max_splat_cells: int = 5
    rays: bool = False
    surface_m: float = 0.3

    def __post_init__(self) -> None:
        if not 0 < self.min_range_m < self.max_range_m:
            raise ConfigError(
                f"panorama ranges {self.min_range_m}..{self.max_range_m} m: "
                "need 0 < min_range_m < max_range_m"
            )
        if min(self.splat_radius_m, self.max_splat_cells, self.surface_m) < 0:
            raise ConfigError(
                f"splat_radius_m={self.splat_radius_m}, max_splat_cells={self.max_splat_cells} "
                f"and surface_m={self.surface_m} must not be negative"
            )
        if self.rays and self.splat_radius_m > self.min_range_m / 2:
            raise ConfigError(
                f"splat_radius_m={self.splat_radius_m} around rays is too wide for points at "
                f"min_range_m={self.min_range_m}: at most half of it"
            )

    @classmethod
    def fine(cls, voxel_m: float = 0.1, max_range_m: float = max_range_m) -> RenderConfig:
        """Rays for panoramas of a high resolution, such as 64 x 1024, of a map with such voxels.

        The radius lets next to no ray through between the points of a surface, which are up to
        0.7 voxels away from a ray that hits it.
        """
        return cls(
            max_range_m=max_range_m, splat_radius_m=0.6 * voxel_m, rays=True, surface_m=3 * voxel_m
        )


def draw(
    points: SortedPoints, runs: Runs, positions: Tensor, axes: Tensor, grid: AngularGrid,
    config: RenderConfig, nearest: Tensor,
) -> None:  # fmt: skip
    """Draw the points of runs into the pictures `nearest` of the places, see `NOTHING`.

    nearest: (B * H * W,) int64 keys, `range in mm << 32 | number of the point`. Of equal ranges
        the lowest number wins, so that sorting the points changes nothing.
    """
    for chunk in _chunks(runs):
        draw_pairs(*chunk.pairs(), points, positions, axes, grid, config, nearest)


def _chunks(runs: Runs) -> Iterator[Runs]:
    """Split runs into chunks of a bounded number of points."""
    before = (runs.stop - runs.start).cumsum(0)
    edges = torch.arange(0, int(before[-1]) if len(before) else 0, _PAIRS_AT_ONCE)
    cuts = torch.searchsorted(before.cpu(), edges, right=True).tolist()
    for first, last in zip(cuts, [*cuts[1:], len(before)], strict=True):
        yield runs.select(slice(first, last))


def draw_pairs(
    place: Tensor, index: Tensor, points: SortedPoints, positions: Tensor, axes: Tensor,
    grid: AngularGrid, config: RenderConfig, nearest: Tensor,
) -> None:  # fmt: skip
    """Draw sorted points `index` (P,) into the pictures of places `place` (P,), in `nearest`."""
    offset = torch.stack([axis[index] for axis in points.xyz], 1) - positions[place]
    range_m = ranges_of(offset)
    near = (range_m >= config.min_range_m) & (range_m <= config.max_range_m)
    place, index, offset, range_m = place[near], index[near], offset[near], range_m[near]
    row, column = _cells(offset, range_m, place, axes, grid)
    margin = config.max_splat_cells
    keep = (
        (row > -margin)
        & (row < grid.height + margin)
        & (column > -margin)
        & (column < grid.width + margin)
    )
    place, index, range_m = place[keep], index[keep], range_m[keep]
    row, column = row[keep].floor().long(), column[keep].floor().long()

    key = ((range_m * RANGE_STEPS_PER_M).long() << 32) | points.number[index]
    cells = grid.height * grid.width
    for chosen, d_row, d_column in _splats(range_m, max(grid.row_rad, grid.column_rad), config):
        r, c = row[chosen] + d_row, column[chosen] + d_column
        if grid.is_circle:
            c = c % grid.width
        inside = (r >= 0) & (r < grid.height) & (c >= 0) & (c < grid.width)
        cell = place[chosen] * cells + r * grid.width + c
        nearest.scatter_reduce_(0, cell[inside], key[chosen][inside], "amin")


def ranges_of(offset: Tensor) -> Tensor:
    """Norms (P,) of offsets (P, 3): fused multiply-adds in the order of the axes, as torch's norm.

    Products of float32 are exact in double; so is nearly every rounding twice.
    """
    x, y, z = offset.double().unbind(1)
    xy = (y * y + (x * x).float().double()).float().double()
    return (z * z + xy).float().double().sqrt().float()


def components(offset: Tensor, axes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Parts (P,) of offsets (P, 3) along axes (P or 1, 3, 3): ahead, to the left and up."""
    x, y, z = offset.unbind(1)
    ahead, left, up = (x * u + y * v + z * w for u, v, w in axes.permute(2, 1, 0))
    return ahead, left, up


def _cells(
    offset: Tensor, range_m: Tensor, place: Tensor, axes: Tensor, grid: AngularGrid
) -> tuple[Tensor, Tensor]:
    """Continuous rows and columns (P,) of offsets (P, 3) from their places.

    Next to the edges of cells they are the same on all devices, elsewhere nearly.
    """
    row, column = rows_and_columns(components(offset, axes[place]), range_m, grid)
    if offset.device.type != "cpu":
        off_edge = torch.minimum((row - row.round()).abs(), (column - column.round()).abs())
        which = (off_edge < _UNSURE_CELLS).nonzero().squeeze(1)
        offset, range_m, place = offset[which].cpu(), range_m[which].cpu(), place[which].cpu()
        certain = _cells(offset, range_m, place, axes.cpu(), grid)
        row[which], column[which] = (value.to(row.device) for value in certain)
    return row, column


def _splats(
    range_m: Tensor, cell_rad: float, config: RenderConfig
) -> list[tuple[Tensor, int, int]]:
    """Indices of points with a row and a column offset, for each cell that their splats cover."""
    radius = (config.splat_radius_m / (range_m * cell_rad)).round().long()
    radius = radius.clamp_max(config.max_splat_cells)
    splats = []
    for cells in range(config.max_splat_cells + 1):
        chosen = (radius == cells).nonzero().squeeze(1)
        if len(chosen) == 0:
            continue
        for d_row in range(-cells, cells + 1):
            for d_column in range(-cells, cells + 1):
                if d_row**2 + d_column**2 <= (cells + 0.5) ** 2:
                    splats.append((chosen, d_row, d_column))
    return splats
