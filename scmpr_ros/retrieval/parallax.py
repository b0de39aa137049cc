"""What the places of a map show when they are seen from beside them.

A metre or two from a place the map looks the same but for parallax: in each direction one sees the
surface that the place sees in a slightly different one. Which one follows from the range of the
surface, which the panorama has. So a view between places costs two look-ups for each cell, and no
point of the map is needed.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scmpr_ros.errors import ConfigError
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.retrieval.panoramas import Panoramas

_FAR_M = 1e4
"""Range of directions without a return: they show no parallax."""
_NEAR_M = 0.5
_MAX_ELEVATION_RAD = math.radians(35)  # up to which the polynomials below hold to 0.1 deg


class ParallaxRenderer:
    """Renders the panoramas of places from positions beside them, on the panoramas' device."""

    def __init__(self, grid: AngularGrid, elevation_rad: Tensor, panoramas: Panoramas) -> None:
        """Take the panoramas of all places.

        grid: their cells, a full circle. elevation_rad: (h,) float32, of the rows to be rendered.
        """
        if not grid.is_circle or elevation_rad.abs().max() > _MAX_ELEVATION_RAD:
            raise ConfigError(
                "parallax needs panoramas of 360 deg and rows within 35 deg of the horizon"
            )
        self._grid, self._panoramas = grid, panoramas
        self._elevation_rad = elevation_rad
        self._row = self._rows(elevation_rad)

    def render(
        self, place: int, offsets_m: Tensor, azimuth_rad: Tensor, rows: slice
    ) -> tuple[Tensor, Tensor]:
        """Labels and ranges seen from K positions.

        Args:
            place: whose panorama is used.
            offsets_m: (K, 3) float32, forward, left and up in the place's axes.
            azimuth_rad: (w,) float32, of the columns in the place's axes.
            rows: those of the elevations that are wanted, h of them.

        Returns labels (K, h, w) and ranges (K, h, w) float32 in metres, beyond 1 km without a
        return.
        """
        labels, ranges_m = (cells.flatten() for cells in self._panoramas.of([place]))
        ranges_m = ranges_m.float()
        ranges_m = torch.where(ranges_m > 0, ranges_m, _FAR_M)
        elevation = self._elevation_rad[rows, None]
        slope, cos = torch.tan(elevation), torch.cos(elevation)
        forward, left = torch.cos(azimuth_rad), torch.sin(azimuth_rad)
        x, y, up_m = (offsets_m[:, axis, None, None] for axis in range(3))
        along_m, across_m = x * forward + y * left, y * forward - x * left  # (K, 1, w)

        # The surface is about as far as what the place sees in the same direction.
        column = (self._grid.fov_rad / 2 - azimuth_rad) / self._grid.column_rad
        straight = self._row[rows, None] + column.floor().long() % self._grid.width
        distance_m = ((ranges_m[straight] * cos) - along_m).clamp_min(_NEAR_M)
        # So the place sees it there: a little aside and higher or lower.
        ahead_m = (distance_m + along_m).clamp_min_(_NEAR_M)
        tangent = across_m / ahead_m
        square = tangent * tangent
        turn = tangent * (1 - square * (1 / 3 - square / 5))
        nearer = 1 - square * (0.5 - 0.375 * square)  # cosine of the turn
        rise = distance_m.mul_(slope).add_(up_m).div_(ahead_m).mul_(nearer)
        cell = (column - turn.div_(self._grid.column_rad)).floor_().long()
        cell.remainder_(self._grid.width)
        square = rise * rise
        cell += self._rows(rise * (1 - square * (1 / 3 - square / 5)))
        seen_m = ranges_m.take(cell) * (1 - 0.5 * square)  # cosine of the elevation
        seen_m = (seen_m * nearer).sub_(along_m).clamp_min_(_NEAR_M).div_(cos)
        return labels.take(cell), seen_m

    def _rows(self, elevation_rad: Tensor) -> Tensor:
        """Index of the first cell of the row of each elevation."""
        top_rad = math.radians(self._grid.fov_up_deg)
        row = ((top_rad - elevation_rad) / self._grid.row_rad).clamp_(0, self._grid.height - 1)
        return row.long() * self._grid.width
