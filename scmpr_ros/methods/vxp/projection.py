"""The projection of voxels onto the feature map of a view (VXP's voxel-pixel module)."""

from __future__ import annotations

import torch
from torch import Tensor

from scmpr_ros.geometry import AngularGrid
from scmpr_ros.lidar.grid_cells import rows_and_columns


def cells_of(points: Tensor, grid: AngularGrid) -> tuple[Tensor, Tensor]:
    """Number of the cell, row by row, that each point (M, 3) falls into, and its distance in
    metres (M,); -1 for points outside the grid.

    points: in the axes of the view, x through its middle.
    """
    distance = points.norm(dim=-1)
    row, column = (x.floor() for x in rows_and_columns(points.unbind(-1), distance, grid))
    inside = (row >= 0) & (row < grid.height) & (column >= 0) & (column < grid.width)
    return torch.where(inside, row * grid.width + column, -1).long(), distance


def nearest_in_cell(cell: Tensor, distance: Tensor, count: int) -> Tensor:
    """Which points (M,) bool are the nearest of their cell, one for each cell.

    cell: (M,) numbers below `count`, -1 for points in none.
    """
    order = distance.argsort(descending=True, stable=True)
    order = order[cell[order] >= 0]
    last = torch.full((count,), -1, device=cell.device)
    # Of equal cells, the greatest position in the order is the nearest point.
    position = torch.arange(len(order), device=cell.device)
    last = last.scatter_reduce(0, cell[order], position, "amax")
    chosen = torch.zeros(len(cell), dtype=torch.bool, device=cell.device)
    chosen[order[last[last >= 0]]] = True
    return chosen
