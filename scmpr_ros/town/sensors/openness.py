"""Ambient occlusion from a blurred height map."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from scmpr_ros.town.compiled import compiled
from scmpr_ros.town.mesh import Mesh

Array = NDArray[np.floating]


class Openness(NamedTuple):
    """Grids over the plan. low: (2,) their lower corner; the others (rows, columns) float32.

    ground: height of the land. near, wide: height of objects above it, blurred by 0.6 m and 5 m.
    """

    low: Array
    ground: Array
    near: Array
    wide: Array


CELL_M = 0.8


def grid_shape(size_m: Array) -> tuple[int, int]:
    """Rows and columns of grids over a plan of `size_m` (2,)."""
    columns, rows = (int(np.ceil(s / CELL_M)) + 1 for s in size_m)
    return rows, columns


def measure_openness(mesh: Mesh, low: Array, ground: Array) -> Openness:
    """Rasterise a mesh over land of height `ground` (rows, columns), starting at `low` (2,)."""
    low = np.asarray(low, np.float32)
    top = np.full(ground.shape, -np.inf, np.float32)
    points = np.concatenate([mesh.corners.mean(axis=1), mesh.corners[:, 0], mesh.corners[:, 2]])
    cell = np.floor((points[:, :2] - low) / CELL_M).astype(int)
    inside = (cell >= 0).all(axis=1) & (cell < ground.shape[::-1]).all(axis=1)
    np.maximum.at(top, (cell[inside, 1], cell[inside, 0]), points[inside, 2])
    above = np.where(np.isfinite(top), top - ground, 0.0).clip(0, 15)
    return Openness(
        low, ground.astype(np.float32),
        gaussian_filter(np.minimum(above, 2.0), 0.6 / CELL_M).astype(np.float32),
        gaussian_filter(above, 5.0 / CELL_M).astype(np.float32),
    )  # fmt: skip


@compiled
def open_sky(grids: Openness, x: float, y: float, z: float) -> float:  # pragma: no cover
    """Share of the sky visible from a point."""
    rows, columns = grids.near.shape
    j = min(max(int((x - grids.low[0]) / CELL_M), 0), columns - 1)
    i = min(max(int((y - grids.low[1]) / CELL_M), 0), rows - 1)
    height = max(z - grids.ground[i, j], 0.0)
    near = max(grids.near[i, j] - height, 0.0)
    wide = max(grids.wide[i, j] - 0.6 * height, 0.0)
    return np.exp(-0.55 * near - 0.09 * wide)
