"""Draw what the ray through the centre of each cell meets: the reference, for any device.

A ray meets the points that it passes within a radius. The nearest of them is the front; those a
little behind it lie on the same surface, and of these the cell shows the point that is nearest to
the ray. So silhouettes are as wide as the radius and not as cells, and neither the near side of a
cell nor the near one of two classes wins it: sharper than splats, at a high resolution.

`panorama_kernel` draws the same pictures faster on CPUs. All devices agree, since distances are
computed with one rounding for each operation; rows and columns only say where to look.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scmpr_ros.geometry import AngularGrid
from scmpr_ros.lidar.grid_cells import rows_and_columns
from scmpr_ros.lidar.sorted_points import Runs, SortedPoints
from scmpr_ros.lidar.splatting import RANGE_STEPS_PER_M, RenderConfig, components, ranges_of

_SLACK_CELLS = 0.02  # far more than the arc functions of any device differ


@dataclass(frozen=True)
class Rays:
    """Rays through the centres of cells; see `AngularGrid.directions`.

    cos_row, sin_row: (H,) float32 of the elevations; cos_column, sin_column: (W,) of the azimuths.
    """

    cos_row: Tensor
    sin_row: Tensor
    cos_column: Tensor
    sin_column: Tensor

    @classmethod
    def of(cls, grid: AngularGrid, device: torch.device) -> Rays:
        """The rays of a grid."""
        elevation, azimuth = (torch.from_numpy(x) for x in (grid.elevations(), grid.azimuths()))
        values = (elevation.cos(), elevation.sin(), azimuth.cos(), azimuth.sin())
        return cls(*(value.float().to(device) for value in values))


def draw(
    points: SortedPoints, runs: Runs, positions: Tensor, axes: Tensor, grid: AngularGrid,
    config: RenderConfig, nearest: Tensor,
) -> None:  # fmt: skip
    """Draw the points of runs into the pictures `nearest`, see `splatting.draw`."""
    rays = Rays.of(grid, points.device)
    first = torch.searchsorted(runs.place, torch.arange(len(positions) + 1, device=points.device))
    pictures = nearest.view(len(positions), -1)
    for i, (begin, end) in enumerate(zip(first[:-1].tolist(), first[1:].tolist(), strict=True)):
        _, index = runs.select(slice(begin, end)).pairs()
        _draw_place(index, points, positions[i], axes[i], grid, rays, config, pictures[i])


def _draw_place(
    index: Tensor, points: SortedPoints, position: Tensor, axes: Tensor, grid: AngularGrid,
    rays: Rays, config: RenderConfig, picture: Tensor,
) -> None:  # fmt: skip
    offset = points.xyz[:, index].T - position
    range_m = ranges_of(offset)
    near = (range_m >= config.min_range_m) & (range_m <= config.max_range_m)
    index, offset, range_m = index[near], offset[near], range_m[near]
    ahead, left, up = components(offset, axes[None])
    which, cell = _cells_in_reach(ahead, left, up, range_m, grid, config.splat_radius_m)
    off2 = _distance2(ahead[which], left[which], up[which], cell, grid, rays)
    met = off2 <= config.splat_radius_m**2
    which, cell, off2 = which[met], cell[met], off2[met]
    mm = (range_m[which] * RANGE_STEPS_PER_M).int()
    front = torch.full_like(picture, torch.iinfo(torch.int32).max, dtype=torch.int32)
    front.scatter_reduce_(0, cell, mm, "amin")
    shown = mm <= front[cell] + round(config.surface_m * RANGE_STEPS_PER_M)
    which, cell, off2, mm = which[shown], cell[shown], off2[shown], mm[shown]
    # Floats from zero up are ordered as their bits.
    number = points.number[index[which]]
    key = (off2.view(torch.int32).long() << 32) | number
    best = picture.scatter_reduce(0, cell, key, "amin")
    won = best[cell] == key
    picture[cell[won]] = (mm[won].long() << 32) | number[won]


def _cells_in_reach(
    ahead: Tensor, left: Tensor, up: Tensor, range_m: Tensor, grid: AngularGrid, radius_m: float
) -> tuple[Tensor, Tensor]:
    """Pairs of a point and a cell, all those with the ray within the radius and a few others."""
    row, column = rows_and_columns((ahead, left, up), range_m, grid)
    row, column = row - 0.5, column - 0.5
    flat = (ahead * ahead + left * left).sqrt()
    # Arc sines up to a half are at most 1.05 of their arguments.
    rows = 1.05 * radius_m / range_m / grid.row_rad + _SLACK_CELLS
    columns = 1.05 * radius_m / flat / grid.column_rad + _SLACK_CELLS
    columns = torch.where(flat > 2 * radius_m, columns, grid.width)
    first_row = (row - rows).ceil().clamp_min(0)
    first_column, last_column = (column - columns).ceil(), (column + columns).floor()
    if not grid.is_circle:
        first_column, last_column = first_column.clamp_min(0), last_column.clamp_max(grid.width - 1)
    num_rows = ((row + rows).floor().clamp_max(grid.height - 1) - first_row + 1).clamp_min(0)
    num_columns = (last_column - first_column + 1).clamp(0, grid.width).long()
    count = num_rows.long() * num_columns
    which = torch.arange(len(count), device=count.device).repeat_interleave(count)
    order = torch.arange(len(which), device=count.device) - (count.cumsum(0) - count)[which]
    r = first_row.long()[which] + order // num_columns[which]
    c = (first_column.long()[which] + order % num_columns[which]) % grid.width
    return which, r * grid.width + c


def _distance2(
    ahead: Tensor, left: Tensor, up: Tensor, cell: Tensor, grid: AngularGrid, rays: Rays
) -> Tensor:
    """Squared distances of points (P,) in a place's frame from the rays of cells (P,)."""
    row, column = cell // grid.width, cell % grid.width
    x = rays.cos_row[row] * rays.cos_column[column]
    y = rays.cos_row[row] * rays.sin_column[column]
    z = rays.sin_row[row]
    across = left * z - up * y, up * x - ahead * z, ahead * y - left * x
    return across[0] * across[0] + across[1] * across[1] + across[2] * across[2]
