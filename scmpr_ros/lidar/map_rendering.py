"""What labelled points show: panoramas at places, and their classes and ranges from a camera."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scmpr_ros.geometry import AngularGrid, body_axes
from scmpr_ros.lidar.panorama import Panoramas, RenderConfig, render_sorted
from scmpr_ros.lidar.sorted_points import SortedPoints


def render_map(
    points: SortedPoints, positions: NDArray[np.float64], axes: NDArray[np.float64],
    grid: AngularGrid, max_range_m: float,
) -> Panoramas:  # fmt: skip
    """Render a map at positions (P, 3) relative to its origin, with axes (P, 3, 3)."""
    device = points.device
    return render_sorted(
        points, torch.from_numpy(positions).float().to(device), grid,
        RenderConfig(max_range_m=max_range_m), torch.from_numpy(axes).to(device),
    )  # fmt: skip


def render_camera_view(
    points: SortedPoints, T_map_camera: NDArray[np.float64],
    R_level_camera: NDArray[np.float64], grid: AngularGrid, max_range_m: float,
) -> tuple[Tensor, Tensor, NDArray[np.float64]]:  # fmt: skip
    """Render a map as a camera sees it, on the grid of its levelled view.

    T_map_camera: (4, 4) of the optical frame. R_level_camera: (3, 3), see `Mount.R_level_camera`.

    Returns labels (H, W) uint8, ranges (H, W) float32 in metres, zero without a return, and the
    axes (3, 3) of the levelled view in the map.
    """
    axes = body_axes(T_map_camera) @ R_level_camera.T
    relative = (T_map_camera[:3, 3] - points.origin)[None]
    seen = render_map(points, relative, axes[None], grid, max_range_m)
    return seen.label[0], seen.range_m[0], axes
