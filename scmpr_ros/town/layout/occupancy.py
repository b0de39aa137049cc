"""Occupancy grid of the plan, which keeps objects from intersecting."""

from __future__ import annotations

from enum import IntFlag

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Use(IntFlag):
    """Uses of land, which may be combined: a tree may stand in a garden."""

    BUILDING = 1
    OBJECT = 2
    """Furniture, fences, trunks, vehicles."""
    WAY = 4
    """Doorsteps, paths, gates, driveways: open to people and cars, but not to fixed objects."""
    GARDEN = 8
    """Land of a house, closed to other houses."""


BLOCKED = Use.BUILDING | Use.OBJECT | Use.WAY


class Occupancy:
    """Grid of uses over the plan; everything outside it is taken."""

    CELL_M = 0.25

    def __init__(self, low: Array, size_m: Array) -> None:
        self.low = np.asarray(low, np.float64)
        cells = np.ceil(np.asarray(size_m) / self.CELL_M).astype(int)
        self.uses = np.zeros((int(cells[1]), int(cells[0])), np.uint8)

    def copy(self) -> Occupancy:
        """Copy for one traversal, without ways, so that vehicles and people may stand on them."""
        twin = Occupancy.__new__(Occupancy)
        twin.low, twin.uses = self.low, self.uses & ~np.uint8(Use.WAY)
        return twin

    def _index(self, xy: Array) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
        cell = np.floor((np.asarray(xy).reshape(-1, 2) - self.low) / self.CELL_M).astype(np.intp)
        row, col = cell[:, 1], cell[:, 0]
        rows, cols = self.uses.shape
        inside = (row >= 0) & (row < rows) & (col >= 0) & (col < cols)
        return np.clip(row, 0, rows - 1), np.clip(col, 0, cols - 1), inside

    def is_free(self, xy: Array, of: Use = BLOCKED) -> NDArray[np.bool_]:
        """Whether land at points (N, 2) has none of the uses `of`."""
        row, col, inside = self._index(xy)
        return inside & (self.uses[row, col] & np.uint8(of) == 0)

    def claim(self, xy: Array, use: Use = Use.OBJECT) -> None:
        """Add a use at points (N, 2)."""
        row, col, inside = self._index(xy)
        self.uses[row[inside], col[inside]] |= np.uint8(use)

    def try_claim(self, xy: Array, use: Use = Use.OBJECT) -> bool:
        """Claim all points (N, 2) if none is blocked, otherwise none."""
        if not self.is_free(xy).all():
            return False
        self.claim(xy, use)
        return True


def rectangle(
    centre: Array, heading_rad: float, length_m: float, width_m: float, step_m: float = 0.17
) -> Array:
    """Points (N, 2) that cover a rectangle; the default step hits every cell inside it."""
    u = np.linspace(-0.5, 0.5, max(2, int(np.ceil(length_m / step_m)) + 1)) * length_m
    v = np.linspace(-0.5, 0.5, max(2, int(np.ceil(width_m / step_m)) + 1)) * width_m
    u, v = (a.ravel() for a in np.meshgrid(u, v))
    c, s = np.cos(heading_rad), np.sin(heading_rad)
    return np.stack([c * u - s * v, s * u + c * v], axis=1) + centre


def disc(centre: Array, radius_m: float, step_m: float = 0.17) -> Array:
    """Points (N, 2) that cover a disc; the default step hits every cell inside it."""
    points = rectangle(np.zeros(2), 0.0, 2 * radius_m, 2 * radius_m, step_m)
    inside = points[np.hypot(*points.T) <= radius_m + 1e-9]
    rim = np.linspace(0, 2 * np.pi, max(8, int(radius_m * 40)), endpoint=False)
    ring = radius_m * np.stack([np.cos(rim), np.sin(rim)], axis=1)
    return np.concatenate([np.zeros((1, 2)), inside, ring]) + centre
