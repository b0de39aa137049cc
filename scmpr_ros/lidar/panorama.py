"""Render panoramas of a map: range, normals, height and class around a place.

`render` projects a map's points onto an angular grid around each position. Since a map has points
and not surfaces, every point is drawn as a splat about as wide as the map's voxels. The nearest
splat wins a cell, so far points do not show through a near wall.

Computations run in torch on the device of the inputs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from scmpr_ros.errors import ConfigError, ShapeError
from scmpr_ros.geometry import AngularGrid

_RANGE_STEPS_PER_M = 1000  # ranges are compared in millimetres
_POINTS_PER_CHUNK = 4_000_000  # (place, point) pairs projected at once: about 400 MB


@dataclass(frozen=True)
class RenderConfig:
    """Range of the points that are drawn, and the size of their splats."""

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
            raise ConfigError(
                f"splat_radius_m={self.splat_radius_m} and max_splat_cells={self.max_splat_cells} "
                "must not be negative"
            )


@dataclass(frozen=True)
class Panoramas:
    """B panoramas of (H, W) cells; all values are zero in cells without a point.

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
    """Render panoramas at `positions`; their labels are S_LiDAR of eq. 5.

    Args:
        points: (N, 3) float32, metres, map frame.
        label: (N,) uint8 joint class ids.
        positions: (B, 3) viewpoints in the same frame and on the same device.
        grid: the panorama's cells; a full circle, or the narrower view of a camera.
        config: ranges and splats.
        axes: (B, 3, 3) forward, left and up axes at each position, as columns in the map frame; by
            default the identity.
    """
    if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0:
        raise ShapeError.of("points", "(N, 3) with N > 0", tuple(points.shape))
    if label.shape != points.shape[:1]:
        raise ShapeError.of("label", f"({len(points)},)", tuple(label.shape))
    if axes is None:
        axes = torch.eye(3, device=positions.device).expand(len(positions), 3, 3)
    axes = axes.to(positions)
    nearest = torch.cat(
        [
            _nearest_points(points, *chunk, grid, config)
            for chunk in _chunks(points, positions, axes)
        ]
    )
    shape = (len(positions), grid.height, grid.width)
    hit = nearest != _NOTHING
    index = torch.where(hit, nearest & 0xFFFFFFFF, 0)
    range_m = torch.where(hit, (nearest >> 32).float() / _RANGE_STEPS_PER_M, 0.0)
    offset = points[index].view(len(positions), -1, 3) - positions[:, None]
    height_m = torch.where(hit, (offset @ axes[:, :, 2:]).flatten(), 0.0)
    labels = torch.where(hit, label[index], 0).to(torch.uint8)
    range_m = range_m.view(shape)
    normal = surface_normals(range_m, grid)
    return Panoramas(range_m, height_m.view(shape).float(), normal, labels.view(shape))


def surface_normals(range_m: Tensor, grid: AngularGrid) -> Tensor:
    """Unit normals (B, 3, H, W) of range images (B, H, W), pointing towards the viewer.

    Components are (away from the viewer, left, up) *in the azimuth of each column*, so rolling a
    panorama by columns equals a rotation in yaw, as convolutions assume. Zero in cells with a
    missing neighbour and at the edges of a view.
    """
    elevation = torch.as_tensor(grid.elevations(), dtype=range_m.dtype, device=range_m.device)
    elevation = elevation[:, None]
    out, up = range_m * torch.cos(elevation), range_m * torch.sin(elevation)
    # Neighbours in the frame of the cell's azimuth; the next column to the left is +column_rad.
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
    """Return `range << 32 | point index` of the nearest splat in each cell of each position."""
    if grid.fov_rad / 2 + config.max_splat_cells * grid.column_rad < math.radians(85):
        place, index = _points_in_view(points, positions, axes, grid, config)
    else:
        place, index = _points_within(points, positions, config.max_range_m)
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


def _points_within(points: Tensor, positions: Tensor, radius_m: float) -> tuple[Tensor, Tensor]:
    """Indices (position, point) of the pairs within a horizontal radius."""
    near = torch.cdist(positions[:, :2], points[:, :2]) <= radius_m
    place, index = near.nonzero(as_tuple=True)
    return place, index


def _points_in_view(
    points: Tensor, positions: Tensor, axes: Tensor, grid: AngularGrid, config: RenderConfig
) -> tuple[Tensor, Tensor]:
    """Indices (position, point) of the pairs inside a view's horizontal wedge."""
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


def _shift_rows(image: Tensor, by: int) -> Tensor:
    """Shift rows down (positive) or up, so that cells hold the value `by` rows above; pad zeros."""
    shifted = torch.roll(image, by, -2)
    if by > 0:
        shifted[..., :by, :] = 0
    else:
        shifted[..., by:, :] = 0
    return shifted
