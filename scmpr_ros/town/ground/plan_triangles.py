"""Plan triangles with corner attributes, cut along level lines of one attribute."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def _crossing_points(tris: Array, values: Array) -> tuple[Array, Array]:
    """Intersections of the zero line with the two edges at each triangle's first corner."""
    with np.errstate(divide="ignore", invalid="ignore"):
        t = values[:, :1] / (values[:, :1] - values[:, 1:])
    points = tris[:, :1] + t[..., None] * (tris[:, 1:] - tris[:, :1])
    return points[:, 0], points[:, 1]


def _lone_corner_first(tris: Array, values: Array) -> tuple[Array, Array]:
    """Rotate corners so that the one whose sign differs from the others' comes first."""
    below = values < 0
    lone = np.where(below.sum(axis=1) == 1, below.argmax(axis=1), (~below).argmax(axis=1))
    order = (lone[:, None] + np.arange(3)) % 3
    return np.take_along_axis(tris, order[..., None], 1), np.take_along_axis(values, order, 1)


def zero_segments(tris: Array, values: Array) -> tuple[Array, Array]:
    """End points (S, A) of the zero line of `values` (M, 3), linear over triangles (M, 3, A)."""
    mixed = (values < 0).any(axis=1) & (values >= 0).any(axis=1)
    return _crossing_points(*_lone_corner_first(tris[mixed], values[mixed]))


def split_triangles(tris: Array, values: Array, level: float = 0.0) -> tuple[Array, Array]:
    """Cut triangles along `values == level`; returns those below and those above.

    tris: (M, 3, A), positions and other attributes that are linear over a triangle; values: (M, 3).
    Triangles that share an edge with all attributes also share the cut.
    """
    values = values - level
    below = values < 0
    mixed = below.any(axis=1) & ~below.all(axis=1)
    cut, cut_values = _lone_corner_first(tris[mixed], values[mixed])
    p, q = _crossing_points(cut, cut_values)
    lone = np.stack([cut[:, 0], p, q], axis=1)
    pair = np.concatenate(
        [np.stack([p, cut[:, 1], cut[:, 2]], axis=1), np.stack([p, cut[:, 2], q], axis=1)]
    )
    lone_below = cut_values[:, 0] < 0
    twice = np.tile(lone_below, 2)
    whole_below = below.all(axis=1)
    return (
        np.concatenate([tris[whole_below], lone[lone_below], pair[~twice]]),
        np.concatenate([tris[~below.any(axis=1)], lone[~lone_below], pair[twice]]),
    )


def lattice(
    low: Array, is_fine: NDArray[np.bool_], step_m: float, parts: int
) -> tuple[Array, Array]:
    """Fine and coarse triangles (M, 3, 2) over square cells of `step_m`.

    is_fine: (rows, cols); fine cells have parts x parts squares of two triangles, coarse ones a fan
    about their middle that includes the corners of fine neighbours, to leave no gap.
    """
    rows, cols = is_fine.shape
    corner = np.stack(np.meshgrid(np.arange(cols), np.arange(rows)), axis=-1) * step_m + low
    grid = np.stack(np.meshgrid(np.arange(parts), np.arange(parts)), axis=-1).reshape(-1, 1, 2)
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    squares = (grid + square)[:, [[0, 1, 2], [0, 2, 3]]].reshape(-1, 3, 2) * (step_m / parts)
    fine = (corner[is_fine][:, None, None] + squares).reshape(-1, 3, 2)

    around = np.pad(is_fine, 1)
    neighbour = (around[:-2, 1:-1], around[1:-1, 2:], around[2:, 1:-1], around[1:-1, :-2])
    t = np.linspace(0, 1, parts + 1)[:, None]
    fans = []
    for side, is_fine_there in enumerate(neighbour):
        a, b = square[side], square[(side + 1) % 4]
        edge = (a + t * (b - a)) * step_m
        for points, where in ((edge, is_fine_there), (edge[[0, -1]], ~is_fine_there)):
            hub = np.full((len(points) - 1, 2), step_m / 2)
            fan = np.stack([hub, points[:-1], points[1:]], axis=1)
            fans.append((corner[~is_fine & where][:, None, None] + fan).reshape(-1, 3, 2))
    return fine, np.concatenate(fans)
