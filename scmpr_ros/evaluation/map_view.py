"""A point cloud map seen from above, as a background for figures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from scmpr_ros.errors import ShapeError
from scmpr_ros.evaluation.figures import PAPER
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import IGNORE, PALETTE

BACKGROUND = 255 * np.array(to_rgb(PAPER))
"""(3,) colour where the map has no points."""
_UNKNOWN = np.array([168, 168, 172], dtype=np.float64)
_TINT = 0.62  # share of the class colour; the rest is paper, so that drawings stand out
_FINEST_M = 0.25  # smaller pixels would show the raster of the map's voxels
_GAMUT = (0.72, 1.08)  # brightness of the lowest and of the highest points


@dataclass(frozen=True)
class MapView:
    """An image of the map and the rectangle it covers.

    rgb: (H, W, 3) uint8, first row at the largest y. extent_m: left, right, bottom, top.
    """

    rgb: NDArray[np.uint8]
    extent_m: tuple[float, float, float, float]


def view_from_above(
    cloud: PointCloud, centre: NDArray[np.floating], half_size_m: float, max_pixels: int = 900
) -> MapView:
    """Colour a square of the map by class (grey if unlabelled) and by height.

    Each pixel shows its highest point.

    cloud: in the map frame, minus its origin. centre: (2|3,) in the map frame.

    Raises ShapeError for a square without size.
    """
    if not half_size_m > 0 or max_pixels < 1:
        raise ShapeError.of("map view", "a positive size", (half_size_m, max_pixels))
    pixels = int(np.clip(2 * half_size_m / _FINEST_M, 1, max_pixels))
    x0, y1 = centre[0] - half_size_m, centre[1] + half_size_m
    extent = (x0, x0 + 2 * half_size_m, y1 - 2 * half_size_m, y1)
    scale = pixels / (2 * half_size_m)
    xyz = cloud.xyz + cloud.origin
    column = np.floor((xyz[:, 0] - x0) * scale).astype(np.int64)
    row = np.floor((y1 - xyz[:, 1]) * scale).astype(np.int64)
    inside = (column >= 0) & (column < pixels) & (row >= 0) & (row < pixels)
    rgb = np.tile(BACKGROUND, (pixels, pixels, 1))
    if inside.any():
        order = np.flatnonzero(inside)[np.argsort(xyz[inside, 2], kind="stable")]
        rgb[row[order], column[order]] = _colours(cloud, order, xyz[:, 2])
    return MapView(rgb.clip(0, 255).astype(np.uint8), extent)


def _colours(
    cloud: PointCloud, index: NDArray[np.integer], height_m: NDArray[np.floating]
) -> NDArray[np.float64]:
    colour = np.tile(_UNKNOWN, (len(index), 1))
    if cloud.label is not None:
        label = cloud.label[index]
        colour = np.where((label == IGNORE)[:, None], _UNKNOWN, PALETTE[label])
    low, high = np.percentile(height_m[index], (2, 98))
    relative = ((height_m[index] - low) / max(high - low, 1e-3)).clip(0, 1)
    brightness = _GAMUT[0] + (_GAMUT[1] - _GAMUT[0]) * relative
    return (_TINT * colour + (1 - _TINT) * BACKGROUND) * brightness[:, None]
