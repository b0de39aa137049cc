"""What a method is shown: an image on its view grid, and places as a LiDAR there would see them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from scmpr_ros.geometry import AngularGrid
from scmpr_ros.lidar.panorama import Panoramas
from scmpr_ros.methods.range_points import birds_eye_view, points_of_ranges, voxels


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
        return points_of_ranges(self.panoramas.range_m, self.grid)

    def birds_eye_view(self, side_m: float, cell_m: float) -> Tensor:
        """The square around the place, (B, 2, N, N); see `range_points.birds_eye_view`.

        side_m: length of the square. cell_m: size of a cell.
        """
        half = (-side_m / 2, side_m / 2)
        return birds_eye_view(self.points, half, half, cell_m)

    def voxels(self, size_m: float) -> tuple[Tensor, Tensor]:
        """Occupied voxels and their mean returns, see `range_points.voxels`."""
        return voxels(self.points, size_m)

    def window(self, yaw_rad: Tensor, fov_rad: float) -> PlaceView:
        """What a camera with a field of view would see of each place, looking along yaws (B,).

        The axes are turned, so that x looks along the yaw; it is rounded to half a column.
        """
        grid, panoramas = self.grid, self.panoramas
        count = round(fov_rad / grid.column_rad)
        first = torch.from_numpy(grid.columns(yaw_rad.cpu().numpy())) - count / 2
        index = (first.round().long()[:, None] + torch.arange(count)) % grid.width
        index = index.to(yaw_rad.device)
        part = replace(grid, width=count, fov_deg=math.degrees(count * grid.column_rad))

        def columns(image: Tensor) -> Tensor:
            shape = (len(index), *[1] * (image.ndim - 2), count)
            return image.gather(-1, index.view(shape).expand(*image.shape[:-1], -1))

        return PlaceView.of(Panoramas(**{n: columns(x) for n, x in vars(panoramas).items()}), part)
