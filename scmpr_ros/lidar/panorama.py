"""Render panoramas of a map: range, normals, height and class around a place.

`render` projects a map's points onto an angular grid around each position. Since a map has points
and not surfaces, every point is drawn as a splat about as wide as the map's voxels. The nearest
splat wins a cell, so far points do not show through a near wall.

A map is sorted once (`SortedPoints`), then `render_sorted` takes time in proportion to the points
in reach of a place, whatever the extent of the map. Computations run on the device of the inputs:
by a C++ kernel on CPUs, in torch where there is no compiler and on GPUs. All give the same bits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from scmpr_ros.geometry import AngularGrid
from scmpr_ros.lidar import panorama_kernel, ray_sampling, splatting
from scmpr_ros.lidar.sorted_points import SortedPoints, check_points
from scmpr_ros.lidar.splatting import NOTHING, RANGE_STEPS_PER_M, RenderConfig


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
    check_points(points, label)
    reach_m = 1.01 * config.max_range_m  # more than rounding takes away
    low, high = positions[:, :2].amin(0) - reach_m, positions[:, :2].amax(0) + reach_m
    near = ((points[:, :2] >= low) & (points[:, :2] <= high)).all(1)
    near[0] = True  # there are no sorted points without a point
    return render_sorted(SortedPoints.of(points[near], label[near]), positions, grid, config, axes)


def render_sorted(
    points: SortedPoints,
    positions: Tensor,
    grid: AngularGrid,
    config: RenderConfig,
    axes: Tensor | None = None,
) -> Panoramas:
    """As `render`, but of points that are sorted once for many calls."""
    if axes is None:
        axes = torch.eye(3, device=positions.device).expand(len(positions), 3, 3)
    axes = axes.to(positions)
    shape = (len(positions), grid.height, grid.width)
    nearest = _nearest_points(points, positions, axes, grid, config)
    hit = nearest != NOTHING
    index = points.rank[torch.where(hit, nearest & 0xFFFFFFFF, 0)]
    # By a tensor, as GPUs multiply by the inverse of a number, which rounds differently.
    steps = torch.tensor(float(RANGE_STEPS_PER_M), device=positions.device)
    range_m = torch.where(hit, (nearest >> 32).float() / steps, 0.0)
    up = axes[:, :, 2]
    x, y, z = (
        (points.xyz[i][index].view(len(positions), -1) - positions[:, i, None]) * up[:, i, None]
        for i in range(3)
    )
    height_m = torch.where(hit, (x + y + z).flatten(), 0.0)
    labels = torch.where(hit, points.label[index], 0).to(torch.uint8)
    range_m = range_m.view(shape)
    normal = surface_normals(range_m, grid)
    return Panoramas(range_m, height_m.view(shape), normal, labels.view(shape))


def surface_normals(range_m: Tensor, grid: AngularGrid) -> Tensor:
    """Unit normals (B, 3, H, W) of range images (B, H, W), pointing towards the viewer.

    Components are (away from the viewer, left, up) *in the azimuth of each column*, so rolling a
    panorama by columns equals a rotation in yaw, as convolutions assume. Zero in cells with a
    missing neighbour and at the edges of a view.
    """
    elevation = torch.as_tensor(grid.elevations(), dtype=range_m.dtype)[:, None]
    cos, sin = torch.cos(elevation).to(range_m.device), torch.sin(elevation).to(range_m.device)
    out, up = range_m * cos, range_m * sin
    # Neighbours in the frame of the cell's azimuth; the next column to the left is +column_rad.
    c, s = math.cos(grid.column_rad), math.sin(grid.column_rad)
    left, right = torch.roll(out, 1, -1), torch.roll(out, -1, -1)
    above, below = _shift_rows(out, 1), _shift_rows(out, -1)
    # The vectors across, from the right to the left neighbour, and along, from below to above.
    across_out, across_left = left * c - right * c, (left + right) * s
    across_up = torch.roll(up, 1, -1) - torch.roll(up, -1, -1)
    along_out, along_up = above - below, _shift_rows(up, 1) - _shift_rows(up, -1)
    # Their cross product; along has no part to the left. One rounding less in the middle.
    x, z = across_left * along_up, -(across_left * along_out)
    y = (across_up.double() * along_out.double() - (across_out * along_up).double()).float()
    turn = -torch.sign(x * out + z * up)
    length = (x * x + y * y + z * z).double().sqrt().float().clamp_min(1e-12)
    valid = (range_m > 0) & (left > 0) & (right > 0) & (above > 0) & (below > 0)
    if not grid.is_circle:
        valid[..., 0] = valid[..., -1] = False
    return torch.stack([x, y, z], 1) * turn[:, None] / length[:, None] * valid[:, None]


def _nearest_points(
    points: SortedPoints, positions: Tensor, axes: Tensor, grid: AngularGrid, config: RenderConfig
) -> Tensor:
    """Keys (B * H * W,) int64 of what each cell shows, see `splatting.draw`."""
    if config.rays:
        margin_rad = math.asin(config.splat_radius_m / config.min_range_m)
    else:
        margin_rad = config.max_splat_cells * grid.column_rad
    half_rad = grid.fov_rad / 2 + margin_rad
    wedge = _wedge(axes, half_rad) if half_rad < math.radians(85) else None
    runs = points.runs_near(positions, config.max_range_m, wedge)
    nearest = torch.full(
        (len(positions) * grid.height * grid.width,), NOTHING, device=positions.device
    )
    arguments = (points, runs, positions, axes, grid, config, nearest)
    by_kernel = panorama_kernel.unavailable(points.device.type) is None
    if config.rays:
        (panorama_kernel.draw_rays if by_kernel else ray_sampling.draw)(*arguments)
    elif by_kernel:
        unsure = panorama_kernel.draw_splats(*arguments)
        splatting.draw_pairs(*unsure, points, positions, axes, grid, config, nearest)
    else:
        splatting.draw(*arguments)
    return nearest


def _wedge(axes: Tensor, half_rad: float) -> Tensor:
    """Normals (B, 2, 3) of the two upright planes between which a view lies."""
    ahead, left = axes[:, :, 0], axes[:, :, 1]
    along, across = ahead * math.sin(half_rad), left * math.cos(half_rad)
    return torch.stack([along - across, along + across], 1)


def _shift_rows(image: Tensor, by: int) -> Tensor:
    """Shift rows down (positive) or up, so that cells hold the value `by` rows above; pad zeros."""
    shifted = torch.roll(image, by, -2)
    if by > 0:
        shifted[..., :by, :] = 0
    else:
        shifted[..., by:, :] = 0
    return shifted
