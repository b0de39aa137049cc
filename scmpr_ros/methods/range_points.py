"""What can be computed from ranges on an angular grid: points, bird's-eye views, voxels."""

from __future__ import annotations

import torch
from torch import Tensor

from scmpr_ros.geometry import AngularGrid

Extent = tuple[float, float]
"""Smallest and largest coordinate along an axis, metres."""


def points_of_ranges(range_m: Tensor, grid: AngularGrid) -> Tensor:
    """Returns (B, H * W, 3) of ranges (B, H, W) in metres; NaN for cells without a return.

    The axes are those of the grid: x through its middle, y to the left, z up.
    """
    directions = torch.from_numpy(grid.directions()).to(range_m)
    points = directions * range_m[..., None]
    return torch.where(range_m[..., None] > 0, points, torch.nan).flatten(1, 2)


def rotated(matrices: Tensor, vectors: Tensor) -> Tensor:
    """Matrices (N, 3, 3) times vectors (N, 3).

    Sums of products, as matrix products lose digits under autocast.
    """
    return (matrices * vectors[:, None]).sum(-1)


def birds_eye_view(points: Tensor, x_m: Extent, y_m: Extent, cell_m: float) -> Tensor:
    """Highest return and number of returns of square ground cells, (B, 2, H, W) float32.

    Rows run from the far to the near end of x, columns from left to right. Empty cells are zero.

    points: (B, N, 3), NaN for no return.
    """
    shape = [round((extent[1] - extent[0]) / cell_m) for extent in (x_m, y_m)]
    corner = points.new_tensor([x_m[1], y_m[1]])
    cells = torch.floor((corner - points[..., :2]) / cell_m)
    inside = ((cells >= 0) & (cells < points.new_tensor(shape))).all(-1)  # False for NaN
    batch, point = inside.nonzero(as_tuple=True)
    row, column = cells[batch, point].long().unbind(-1)
    index = (batch * shape[0] + row) * shape[1] + column
    height = points[batch, point, 2]
    highest = height.new_full((len(points) * shape[0] * shape[1],), -torch.inf)
    highest = highest.scatter_reduce(0, index, height, "amax")
    returns = torch.bincount(index, minlength=len(highest)).to(height)
    highest = torch.where(returns > 0, highest, 0.0)
    return torch.stack([highest, returns]).view(2, len(points), *shape).transpose(0, 1)


def voxels(points: Tensor, size_m: float) -> tuple[Tensor, Tensor]:
    """Occupied voxels of (B, N, 3): indices (M, 4) int64 of batch, x, y, z, sorted, and the mean
    of their returns (M, 3)."""
    batch, point = points[..., 0].isfinite().nonzero(as_tuple=True)
    returns = points[batch, point]
    index = torch.cat([batch[:, None], torch.floor(returns / size_m).long()], dim=1)
    occupied, mean, _ = mean_of_cells(index, returns)
    return occupied, mean


def mean_of_cells(cells: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cells that occur, sorted (M, D), the mean of the points in each (M, 3), and how many (M,).

    cells: (N, D) int64 of the points (N, 3).
    """
    occupied, member = cells.unique(dim=0, return_inverse=True)
    count = torch.bincount(member, minlength=len(occupied)).to(points)
    mean = points.new_zeros(len(occupied), 3).index_add(0, member, points) / count[:, None]
    return occupied, mean, count


def turned(vectors: Tensor, angle_rad: Tensor) -> Tensor:
    """Turn vectors (N, 3) counter-clockwise about z by angles (N,)."""
    c, s = torch.cos(angle_rad), torch.sin(angle_rad)
    x, y, z = vectors.unbind(1)
    return torch.stack([c * x - s * y, s * x + c * y, z], dim=1)
