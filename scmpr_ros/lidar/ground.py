"""Estimate height and slope of the ground in a map without labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from scmpr_ros.geometry import upright_axes

_LOW_QUANTILE = 0.05  # reflections lie below the ground
_PIT_WIDTH_M = 5.0
_BUMP_WIDTH_M = 13.0  # wider than a bus or a hedge, narrower than a hill
_STEP_M = 0.3
_RADII_M = (1.5, 3.0, 6.0, 12.0)  # from half a wheelbase; a single scan needs larger ones
_SURFACE_M = 0.15
_MIN_POINTS = 20
MAX_SLOPE = 0.3
"""Steeper than any road: a wall or a hole."""
_THINNED_M = 0.25
_PLACES_PER_CHUNK = 256  # bounds the memory for the points below them


@dataclass(frozen=True)
class GroundGrid:
    """Ground height on a horizontal grid.

    height_m: (rows along x, columns along y) float32, z of the ground; cells without points are
        filled.
    corner: (2,) smallest x and y of the first cell.
    """

    height_m: NDArray[np.float32]
    corner: NDArray[np.float64]
    cell_m: float

    @classmethod
    def of(cls, xyz: NDArray[np.floating], cell_m: float = 1.0) -> GroundGrid:
        """Estimate the ground from map points (N, 3), N > 0.

        Starts from the lowest points of each cell. Grey morphology removes pits (reflections) and
        bumps narrower than 13 m (cars, hedges, walls seen from one side).

        Cells begin at multiples of `cell_m`, so that parts of a map that overlap by some 25 m agree
        on the ground between them.
        """
        index, first = cell_indices(xyz, cell_m)
        rows, columns = index.max(axis=0) + 1
        # Sorting one integer of cell and height is several times as fast as sorting by two keys.
        keys = ((index[:, 0] * columns + index[:, 1]) << 32) | _ordered(xyz[:, 2])
        keys.sort()
        occupied, start, count = np.unique(keys >> 32, return_index=True, return_counts=True)
        lowest = _unordered(keys[start + (_LOW_QUANTILE * count).astype(np.int64)])

        height = np.full(rows * columns, np.nan, dtype=np.float32)
        height[occupied] = lowest
        height = _fill_from_nearest(height.reshape(rows, columns))
        closed = ndimage.grey_closing(height, size=_odd(_PIT_WIDTH_M / cell_m))
        height = np.where(closed - height > _STEP_M, closed, height)
        opened = ndimage.grey_opening(height, size=_odd(_BUMP_WIDTH_M / cell_m))
        height = np.where(height - opened > _STEP_M, opened, height)
        corner = first.astype(np.float64) * cell_m
        return cls(ndimage.uniform_filter(height, size=3), corner, cell_m)

    def at(self, xy: NDArray[np.floating]) -> NDArray[np.float32]:
        """Ground height (N,) at positions (N, 2|3); outside the grid, that of its border."""
        return self.height_m[self.cells(xy)]

    def cells(self, xy: NDArray[np.floating]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Row and column (N,) of positions (N, 2|3); outside the grid, those of its border."""
        first = np.rint(self.corner / self.cell_m).astype(np.int64)
        index = np.floor(xy[:, :2] / np.float64(self.cell_m)).astype(np.int64) - first
        rows, columns = np.clip(index, 0, np.array(self.height_m.shape) - 1).T
        return rows, columns

    @property
    def slope(self) -> NDArray[np.floating]:
        """Rise over run of each cell, along the steepest direction."""
        if min(self.height_m.shape) < 2:
            return np.zeros_like(self.height_m)
        return np.hypot(*np.gradient(self.height_m, self.cell_m))


def cell_indices(
    xy: NDArray[np.floating], cell_m: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cells of a grid that begins at multiples of `cell_m`, for positions (N, 2|3), N > 0.

    Returns row and column (N, 2), counted from the smallest, and the smallest (2,) itself.
    """
    index = np.floor(xy[:, :2] / np.float64(cell_m)).astype(np.int64)
    first = index.min(axis=0)
    return index - first, first


def ground_aligned_axes(
    xyz: NDArray[np.floating], positions: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Axes (P, 3, 3) of a vehicle standing at positions (P, 3), facing the map's x.

    xyz: (N, 3) points of the map, N > 0.
    The columns are forward, left and up; up is the normal of a plane fitted to the ground below.
    The identity where the ground has too few points.
    """
    ground = GroundGrid.of(xyz)
    surface = xyz[np.abs(xyz[:, 2] - ground.at(xyz)) < _SURFACE_M].astype(np.float64)
    tree = cKDTree(surface[:, :2])
    slopes = np.full((len(positions), 2), np.nan)
    for radius_m in _RADII_M:
        unknown = np.flatnonzero(np.isnan(slopes[:, 0]))
        for start in range(0, len(unknown), _PLACES_PER_CHUNK):
            chunk = unknown[start : start + _PLACES_PER_CHUNK]
            below = tree.query_ball_point(positions[chunk, :2], radius_m)
            for place, index in zip(chunk, below, strict=True):
                slopes[place] = _slope(surface[index], radius_m)
    known = np.linalg.norm(slopes, axis=1) <= MAX_SLOPE
    slopes[~known] = 0
    return upright_axes(np.column_stack([-slopes, np.ones(len(slopes))]))


def cell_means(xyz: NDArray[np.floating]) -> NDArray[np.float64]:
    """Means (M, 3) of points (N, 3) by cell, so that a dense map costs no more than another."""
    if len(xyz) == 0:
        return np.empty((0, 3))
    index, _ = cell_indices(xyz, _THINNED_M)
    key = index[:, 0] * (index[:, 1].max() + 1) + index[:, 1]
    _, cell = np.unique(key, return_inverse=True)
    count = np.bincount(cell)
    return np.stack([np.bincount(cell, axis) / count for axis in xyz.T], axis=1)


def _slope(points: NDArray[np.float64], radius_m: float) -> NDArray[np.float64]:
    """Slope (2,) along x and y of the plane through points (N, 3) within a radius.

    NaN for few points, or if they are close to a line.
    """
    unknown = np.full(2, np.nan)
    if len(points) < _MIN_POINTS:
        return unknown
    least_variance_m2 = np.linalg.eigvalsh(np.cov(points[:, :2].T))[0]
    if least_variance_m2 <= (radius_m / 4) ** 2:  # a full disc has (radius / 2)^2
        return unknown
    centred = points - points.mean(axis=0)
    slope, *_ = np.linalg.lstsq(centred[:, :2], centred[:, 2], rcond=None)
    return slope


def _odd(width: float) -> tuple[int, int]:
    size = max(3, int(width) | 1)
    return size, size


def _fill_from_nearest(grid: NDArray[np.float32]) -> NDArray[np.float32]:
    _, nearest = ndimage.distance_transform_edt(np.isnan(grid), return_indices=True)
    return grid[tuple(nearest)]


def _ordered(heights_m: NDArray[np.floating]) -> NDArray[np.int64]:
    """Integers in [0, 2^32) that are in the order of heights, see `_unordered`."""
    bits = heights_m.astype(np.float32).view(np.int32).astype(np.int64)
    return np.where(bits >= 0, bits + 2**31, -bits - 1)


def _unordered(keys: NDArray[np.int64]) -> NDArray[np.float32]:
    """Heights of the lowest 32 bits of keys."""
    bits = keys & 0xFFFFFFFF
    bits = np.where(bits >= 2**31, bits - 2**31, -bits - 1)
    return bits.astype(np.int32).view(np.float32)
