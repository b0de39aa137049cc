"""The 360 degree range image of a place: range, normals, height and class of what is seen there.

`render` projects a map's points onto the angular grid of `geometry` around each position. A map
is a set of points and not of surfaces, so every point is drawn as a splat about as wide as the
map's voxels; the nearest splat wins a cell, and far points cannot shine through a near wall.

Everything is torch and runs where its tensors are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from scmpr_ros.errors import ConfigError, ShapeError
from scmpr_ros.geometry import AngularGrid

_RANGE_STEPS_PER_M = 1000  # ranges are compared in whole millimetres
_POINTS_PER_CHUNK = 4_000_000  # (place, point) pairs projected at once: about 400 MB


@dataclass(frozen=True)
class RenderConfig:
    """Which points are seen, and how large they are drawn."""

    min_range_m: float = 1.0
    max_range_m: float = 50.0
    splat_radius_m: float = 0.12
    max_splat_cells: int = 5

    def __post_init__(self) -> None:
        if not 0 < self.min_range_m < self.max_range_m:
            raise ConfigError(
                f"panorama ranges {self.min_range_m}..{self.max_range_m} m: "
                "need 0 < min_range_m < max_range_m"
            )
        if self.splat_radius_m < 0 or self.max_splat_cells < 0:
            raise ConfigError("a splat cannot be smaller than nothing")


@dataclass(frozen=True)
class Panoramas:
    """B panoramas of (H, W) cells. Cells without a return hold zeros everywhere.

    range_m: (B, H, W) float32, distance from the viewpoint.
    height_m: (B, H, W) float32, height above the viewpoint.
    normal: (B, 3, H, W) float32, see `surface_normals`.
    label: (B, H, W) uint8, joint class ids.
    """

    range_m: Tensor
    height_m: Tensor
    normal: Tensor
    label: Tensor


def render(
    points: Tensor,
    label: Tensor,
    positions: Tensor,
    grid: AngularGrid,
    config: RenderConfig,
    axes: Tensor | None = None,
) -> Panoramas:
    """Render the panoramas seen from `positions`, S_LiDAR of eq. 5 among them.

    Args:
        points: (N, 3) float32, metres, map frame.
        label: (N,) uint8 joint class ids.
        positions: (B, 3) viewpoints in the same frame and on the same device.
        grid: the panorama's cells; of the full circle, or of a camera's narrower view.
        config: ranges and splats.
        axes: (B, 3, 3) ahead, left and up in the map frame at each position, as columns; those of
            the map itself where it is None.
    """
    if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0:
        raise ShapeError.of("points", "(N, 3) with N > 0", tuple(points.shape))
    if label.shape != points.shape[:1]:
        raise ShapeError.of("label", f"({len(points)},)", tuple(label.shape))
    if axes is None:
        axes = torch.eye(3, device=positions.device).expand(len(positions), 3, 3)
    axes = axes.to(positions)
    nearest = torch.cat(
        [_nearest_points(points, *some, grid, config) for some in _chunks(points, positions, axes)]
    )
    shape = (len(positions), grid.height, grid.width)
    hit = nearest != _NOTHING
    index = torch.where(hit, nearest & 0xFFFFFFFF, 0)
    range_m = torch.where(hit, (nearest >> 32).float() / _RANGE_STEPS_PER_M, 0.0)
    offset = points[index].view(len(positions), -1, 3) - positions[:, None]
    height_m = torch.where(hit, (offset @ axes[:, :, 2:]).flatten(), 0.0)
    seen = torch.where(hit, label[index], 0).to(torch.uint8)
    range_m = range_m.view(shape)
    normal = surface_normals(range_m, grid)
    return Panoramas(range_m, height_m.view(shape).float(), normal, seen.view(shape))


def surface_normals(range_m: Tensor, grid: AngularGrid) -> Tensor:
    """Unit normals from the range image, towards the viewer: (B, H, W) -> (B, 3, H, W).

    Components are (away from the viewer, to its left, up) *at each column's own azimuth*: rolling
    a panorama by some columns then equals turning the world, and a convolution need not know where
    north is. Cells with a missing neighbour, and the edges of a view, hold zeros.
    """
    elevation = torch.as_tensor(grid.elevations(), dtype=range_m.dtype, device=range_m.device)
    elevation = elevation[:, None]
    out, up = range_m * torch.cos(elevation), range_m * torch.sin(elevation)
    # Neighbours in the frame of the cell's own azimuth: one column to the left is +column_rad.
    c, s = math.cos(grid.column_rad), math.sin(grid.column_rad)
    left, right = torch.roll(out, 1, -1), torch.roll(out, -1, -1)
    across = torch.stack(
        [left * c - right * c, (left + right) * s, torch.roll(up, 1, -1) - torch.roll(up, -1, -1)],
        dim=1,
    )
    above, below = _shift_rows(out, 1), _shift_rows(out, -1)
    along = torch.stack(
        [above - below, torch.zeros_like(out), _shift_rows(up, 1) - _shift_rows(up, -1)], dim=1
    )
    normal = torch.linalg.cross(across, along, dim=1)
    viewing = torch.stack([out, torch.zeros_like(out), up], dim=1)
    normal = normal * -torch.sign((normal * viewing).sum(1, keepdim=True))
    valid = (range_m > 0) & (left > 0) & (right > 0) & (above > 0) & (below > 0)
    if not grid.is_circle:
        valid[..., 0] = valid[..., -1] = False
    return torch.nn.functional.normalize(normal, dim=1) * valid[:, None]


_NOTHING = torch.iinfo(torch.int64).max


def _chunks(points: Tensor, positions: Tensor, axes: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    size = max(1, _POINTS_PER_CHUNK // len(points))
    return zip(positions.split(size), axes.split(size), strict=True)


def _nearest_points(
    points: Tensor, positions: Tensor, axes: Tensor, grid: AngularGrid, config: RenderConfig
) -> Tensor:
    """For each cell of each position, `range << 32 | point index` of the nearest splat."""
    if grid.fov_rad / 2 + config.max_splat_cells * grid.column_rad < math.radians(85):
        place, index = _points_in_view(points, positions, axes, grid, config)
    else:
        place, index = _points_in_reach(points, positions, config.max_range_m)
    offset = points[index] - positions[place]
    range_m = offset.norm(dim=1)
    ahead, left, up = ((offset * axes[place, :, axis]).sum(1) for axis in range(3))
    column = (0.5 - torch.atan2(left, ahead) / grid.fov_rad) * grid.width
    elevation = torch.asin((up / range_m.clamp_min(1e-6)).clamp(-1, 1))
    row = (math.radians(grid.fov_up_deg) - elevation) / grid.row_rad
    margin = config.max_splat_cells
    keep = (
        (range_m >= config.min_range_m)
        & (range_m <= config.max_range_m)
        & (row > -margin)
        & (row < grid.height + margin)
        & (column > -margin)
        & (column < grid.width + margin)
    )
    place, index, range_m = place[keep], index[keep], range_m[keep]
    row, column = row[keep].floor().long(), column[keep].floor().long()

    key = ((range_m * _RANGE_STEPS_PER_M).long() << 32) | index
    cells = grid.height * grid.width
    nearest = torch.full((len(positions) * cells,), _NOTHING, device=points.device)
    for chosen, d_row, d_column in _splats(range_m, max(grid.row_rad, grid.column_rad), config):
        r, c = row[chosen] + d_row, column[chosen] + d_column
        if grid.is_circle:
            c = c % grid.width
        inside = (r >= 0) & (r < grid.height) & (c >= 0) & (c < grid.width)
        cell = place[chosen] * cells + r * grid.width + c
        nearest.scatter_reduce_(0, cell[inside], key[chosen][inside], "amin")
    return nearest


def _points_in_reach(points: Tensor, positions: Tensor, reach_m: float) -> tuple[Tensor, Tensor]:
    """Indices (position, point) of the pairs that are horizontally within reach."""
    near = torch.cdist(positions[:, :2], points[:, :2]) <= reach_m
    place, index = near.nonzero(as_tuple=True)
    return place, index


def _points_in_view(
    points: Tensor, positions: Tensor, axes: Tensor, grid: AngularGrid, config: RenderConfig
) -> tuple[Tensor, Tensor]:
    """Indices (position, point) of the pairs in a view's wedge: few, so the rest costs little."""
    ahead, aside = (
        axes[:, :, axis] @ points.T - (axes[:, :, axis] * positions).sum(1, keepdim=True)
        for axis in (0, 1)
    )
    half_rad = grid.fov_rad / 2 + config.max_splat_cells * grid.column_rad
    near = (ahead <= config.max_range_m) & (aside.abs() <= ahead * math.tan(half_rad))
    place, index = near.nonzero(as_tuple=True)
    return place, index


def _splats(
    range_m: Tensor, cell_rad: float, config: RenderConfig
) -> list[tuple[Tensor, int, int]]:
    """Points by the size of their splat, once for every cell offset the splat covers."""
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


def _shift_rows(image: Tensor, by: int) -> Tensor:
    """The cell `by` rows above (positive) or below; zeros beyond the edge."""
    shifted = torch.roll(image, by, -2)
    if by > 0:
        shifted[..., :by, :] = 0
    else:
        shifted[..., by:, :] = 0
    return shifted
