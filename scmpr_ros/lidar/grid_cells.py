"""Where points lie in an angular grid."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from scmpr_ros.geometry import AngularGrid


def rows_and_columns(
    position: Sequence[Tensor], range_m: Tensor, grid: AngularGrid
) -> tuple[Tensor, Tensor]:
    """Continuous rows and columns of points, of any shape; cell i covers [i, i + 1).

    position: how far they lie ahead, to the left and up, in the axes of the grid. range_m: their
        distances, likewise in metres.

    Points outside the grid lie outside its rows and columns. Devices differ by the rounding of
    their arc functions.
    """
    ahead, left, up = position
    column = (0.5 - torch.atan2(left, ahead) / grid.fov_rad) * grid.width
    elevation = torch.asin((up / range_m.clamp_min(1e-6)).clamp(-1, 1))
    return (math.radians(grid.fov_up_deg) - elevation) / grid.row_rad, column
