"""Correspondences between pixels and panorama cells, for the local stage of training."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from scmpr_ros.geometry import AngularGrid
from scmpr_ros.lidar.grid_cells import rows_and_columns
from scmpr_ros.methods.pair_batch import PairBatch
from scmpr_ros.methods.range_points import rotated, turned

_SAME_SURFACE = 0.1  # fraction of the range by which a return may be nearer or farther
_SLACK_M = 0.5


class Correspondences(NamedTuple):
    """N points of the map that are visible in an image and in the panorama of its place.

    pixels: (N, C) image features. points: (N, C) panorama features, interpolated bilinearly.
    where: (N, 4) number of the recording, and position in it.
    """

    pixels: Tensor
    points: Tensor
    where: Tensor


class Alignment:
    """Finds correspondences for one pair of grids."""

    def __init__(self, view: AngularGrid, panorama: AngularGrid) -> None:
        self.view, self.panorama = view, panorama

    def __call__(
        self,
        image_features: Tensor,
        place_features: Tensor,
        batch: PairBatch,
        most: int,
    ) -> Correspondences:
        """Draw up to `most` correspondences at random.

        Args:
            image_features: (B, C, h, w). place_features: (B, C, h', w').
            batch: the pairs, with the panoramas from which `place_features` were computed.
        """
        of_view = self._points_in_view(image_features.shape[-2:], batch.depth)  # (B, h, w, 3)
        image, row, column = (of_view.norm(dim=-1) > 0).nonzero(as_tuple=True)
        chosen = torch.randperm(len(image), device=image.device)[:most]
        image, row, column = image[chosen], row[chosen], column[chosen]
        point = rotated(batch.view_axes[image], of_view[image, row, column])
        point = point + batch.view_position[image]

        seen = rotated(batch.place_axes[image].mT, point - batch.place_position[image])
        seen = turned(seen, batch.turned_rad[image])
        distance = seen.norm(dim=1)
        grid = self.panorama
        y, x = rows_and_columns(seen.unbind(1), distance, grid)
        cell = y.long().clamp(0, grid.height - 1), x.long() % grid.width
        there = batch.panorama.range_m[image, cell[0], cell[1]]
        off = (there - distance).abs()
        shown = (y >= 0) & (y < grid.height) & (off < _SAME_SURFACE * distance + _SLACK_M)
        image, row, column = (v[shown] for v in (image, row, column))
        x, y = x[shown] / grid.width, y[shown] / grid.height
        return Correspondences(
            functional.normalize(image_features[image, :, row, column], dim=1),
            functional.normalize(_sample(place_features, image, x, y), dim=1),
            torch.cat([batch.recording[image, None].float(), point[shown]], dim=1),
        )

    def _points_in_view(self, size: tuple[int, int] | torch.Size, depth: Tensor) -> Tensor:
        """Points (B, h, w, 3) in the axes of the view, x forward; zero without a return."""
        height, width = size
        grid = self.view.resized(height, width)
        directions = torch.from_numpy(grid.directions()).to(depth)
        rows = (torch.arange(height) * depth.shape[-2] + depth.shape[-2] // 2) // height
        columns = (torch.arange(width) * depth.shape[-1] + depth.shape[-1] // 2) // width
        return directions * depth[:, rows][:, :, columns, None]


def _sample(features: Tensor, image: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Interpolate panorama features (B, C, h, w) at x, y in [0, 1] of panoramas `image`: (N, C)."""
    height, width = features.shape[-2:]
    column, row = x * width - 0.5, (y * height - 0.5).clamp(0, height - 1)
    left, upper = column.floor(), row.floor()
    result = torch.zeros(len(image), features.shape[1], device=features.device)
    for d_column in (0, 1):
        for d_row in (0, 1):
            share = (1 - (column - left - d_column).abs()) * (1 - (row - upper - d_row).abs())
            r = (upper.long() + d_row).clamp_max(height - 1)
            c = (left.long() + d_column) % width
            result = result + share[:, None] * features[image, :, r, c]
    return result
