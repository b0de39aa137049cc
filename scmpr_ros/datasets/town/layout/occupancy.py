"""Who stands where: a plan grid that keeps objects from standing in each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Occupancy:
    """A boolean plan grid over the town; outside it everything is taken."""

    CELL_M = 0.4

    def __init__(self, low: Array, size_m: Array) -> None:
        self.low = np.asarray(low, np.float64)
        cells = np.ceil(np.asarray(size_m) / self.CELL_M).astype(int)
        self.taken = np.zeros((int(cells[1]), int(cells[0])), bool)

    def copy(self) -> Occupancy:
        """An independent grid, so that one traversal's objects do not hinder the next."""
        twin = Occupancy.__new__(Occupancy)
        twin.low, twin.taken = self.low, self.taken.copy()
        return twin

    def _index(self, xy: Array) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
        cell = np.floor((np.asarray(xy).reshape(-1, 2) - self.low) / self.CELL_M).astype(np.intp)
        row, col = cell[:, 1], cell[:, 0]
        rows, cols = self.taken.shape
        inside = (row >= 0) & (row < rows) & (col >= 0) & (col < cols)
        return np.clip(row, 0, rows - 1), np.clip(col, 0, cols - 1), inside

    def is_free(self, xy: Array) -> NDArray[np.bool_]:
        """For each point (N, 2), whether nothing stands there."""
        row, col, inside = self._index(xy)
        return inside & ~self.taken[row, col]

    def claim(self, xy: Array) -> None:
        """Mark points (N, 2) as taken."""
        row, col, inside = self._index(xy)
        self.taken[row[inside], col[inside]] = True

    def try_claim(self, xy: Array) -> bool:
        """Claim all points if all are free; otherwise none."""
        if not self.is_free(xy).all():
            return False
        self.claim(xy)
        return True


def rectangle(
    centre: Array, heading_rad: float, length_m: float, width_m: float, step_m: float = 0.35
) -> Array:
    """Points (N, 2) that cover a rectangle, close enough to touch every cell of it."""
    u = np.linspace(-0.5, 0.5, max(2, int(np.ceil(length_m / step_m)) + 1)) * length_m
    v = np.linspace(-0.5, 0.5, max(2, int(np.ceil(width_m / step_m)) + 1)) * width_m
    u, v = (a.ravel() for a in np.meshgrid(u, v))
    c, s = np.cos(heading_rad), np.sin(heading_rad)
    return np.stack([c * u - s * v, s * u + c * v], axis=1) + centre


def disc(centre: Array, radius_m: float) -> Array:
    """Points (N, 2) that cover a disc."""
    points = rectangle(np.zeros(2), 0.0, 2 * radius_m, 2 * radius_m)
    inside = points[np.hypot(*points.T) <= radius_m + 1e-9]
    return np.concatenate([np.zeros((1, 2)), inside]) + centre
