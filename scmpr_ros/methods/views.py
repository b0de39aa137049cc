"""What a method is shown: an image on its view grid, and places as a LiDAR there would see them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from scmpr_ros.geometry import AngularGrid
from scmpr_ros.lidar.panorama import Panoramas


class QueryView(NamedTuple):
    """Camera images resampled to a method's view grid.

    pixels: (B, 3, H, W) float32 in [0, 1]. seen: (B, h, w) or (h, w) bool, cells of the mask grid
    that lie inside the camera's image.
    """

    pixels: Tensor
    seen: Tensor


class PlaceView:
    """B places of a map. Every representation is computed when a method first asks for it.

    All are derived from the panorama, the returns that a LiDAR at the place would have on the grid
    of the method's config, so training may augment panoramas once for every method. A method that
    needs denser points asks for a finer grid.
    """

    def __init__(self, render: Callable[[], Panoramas], grid: AngularGrid) -> None:
        """render: gives the panoramas of the places, in their own axes (x forward, z up)."""
        self._render, self.grid = render, grid

    @classmethod
    def of(cls, panoramas: Panoramas, grid: AngularGrid) -> PlaceView:
        """Places whose panoramas are rendered already."""
        return cls(lambda: panoramas, grid)

    @cached_property
    def panoramas(self) -> Panoramas:
        """Range, height, normals and class of each cell: (B, H, W)."""
        return self._render()

    @cached_property
    def points(self) -> Tensor:
        """Returns (B, H * W, 3) in metres, in the place's axes; NaN for cells without a return."""
        range_m = self.panoramas.range_m
        directions = torch.from_numpy(self.grid.directions()).to(range_m)
        points = directions * range_m[..., None]
        return torch.where(range_m[..., None] > 0, points, torch.nan).flatten(1, 2)

    def birds_eye_view(self, side_m: float, cell_m: float) -> Tensor:
        """Highest return and number of returns of square ground cells, (B, 2, N, N) float32.

        Rows run from the front to the back, columns from left to right; the place is in the
        middle. Empty cells are zero. side_m: length of the square. cell_m: size of a cell.
        """
        count = round(side_m / cell_m)
        cells = torch.floor((side_m / 2 - self.points[..., :2]) / cell_m)
        inside = ((cells >= 0) & (cells < count)).all(-1)  # False for NaN
        batch, point = inside.nonzero(as_tuple=True)
        row, column = cells[batch, point].long().unbind(-1)
        index = (batch * count + row) * count + column
        height = self.points[batch, point, 2]
        shape = (len(cells), count, count)
        highest = height.new_full((len(cells) * count**2,), -torch.inf)
        highest = highest.scatter_reduce(0, index, height, "amax")
        returns = torch.bincount(index, minlength=len(highest)).to(height)
        highest = torch.where(returns > 0, highest, 0.0)
        return torch.stack([highest.view(shape), returns.view(shape)], dim=1)

    def voxels(self, size_m: float) -> tuple[Tensor, Tensor]:
        """Occupied voxels: indices (M, 4) int64 of place, x, y, z, and mean returns (M, 3)."""
        batch, point = self.points[..., 0].isfinite().nonzero(as_tuple=True)
        points = self.points[batch, point]
        index = torch.cat([batch[:, None], torch.floor(points / size_m).long()], dim=1)
        voxels, member = index.unique(dim=0, return_inverse=True)
        sums = points.new_zeros(len(voxels), 3).index_add(0, member, points)
        return voxels, sums / torch.bincount(member)[:, None]
