"""Flat quads on a street, in its coordinates: arc length and lateral offset to the left."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scmpr_ros.town.ground.ground import Ground
from scmpr_ros.town.materials import Material
from scmpr_ros.town.mesh import Mesh, quads
from scmpr_ros.town.streets.street import Street

Array = NDArray[np.float64]

_PIECE_M = (1.6, 1.2)
"""Longest piece along and across that follows bends and camber within 3 mm."""


class Strips:
    """Collects quads on one street: corners (N, 4, 2) as arc length and lateral, and tones (N,)."""

    def __init__(self) -> None:
        self._cells: list[Array] = []
        self._tones: list[Array] = []

    def add(
        self, s: ArrayLike, lateral: ArrayLike, length: ArrayLike, width: ArrayLike,
        tone: ArrayLike = 1.0,
    ) -> None:  # fmt: skip
        """Add rectangles centred at (s, lateral); arguments broadcast."""
        rows = np.broadcast_arrays(*map(np.atleast_1d, (s, lateral, length, width, tone)))
        table = np.stack([np.asarray(r, np.float64).ravel() for r in rows], axis=1)
        counts = [np.maximum(1, np.ceil(table[:, 2 + i] / _PIECE_M[i])).astype(int) for i in (0, 1)]
        pieces = counts[0] * counts[1]
        table, number = np.repeat(table, pieces, axis=0), _counted(pieces)
        along, across = (np.repeat(c, pieces) for c in counts)
        size = table[:, 2:4] / np.stack([along, across], axis=1)
        low = table[:, :2] - table[:, 2:4] / 2
        low = low + size * np.stack([number % along, number // along], axis=1)
        square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
        self.add_cells(low[:, None] + square * size[:, None], table[:, 4])

    def add_cells(self, cells: Array, tone: ArrayLike = 1.0) -> None:
        """Add quads (N, 4, 2) in counterclockwise order, small enough to be flat."""
        self._cells.append(cells)
        self._tones.append(np.broadcast_to(np.asarray(tone, np.float64), (len(cells),)))

    def lay(
        self, ground: Ground, street: Street, lift_m: float, material: Material, label: int,
        colour: ArrayLike, on: str = "road",
    ) -> Mesh:  # fmt: skip
        """Mesh, `lift_m` above the ground, of the quads that lie entirely on one part of it.

        on: `road`, `pavement` or `plots`, a few centimetres off their edges.
        """
        cells = np.concatenate([np.zeros((0, 4, 2)), *self._cells])
        tones = np.concatenate([np.zeros(0), *self._tones])
        xy, _ = street.frame(cells[..., 0].ravel(), cells[..., 1].ravel())
        within = (cells[..., 0] >= 0) & (cells[..., 0] <= street.length_m)
        keep = (within & _is_on(ground, on, xy).reshape(-1, 4)).all(axis=1)
        corners = ground.on_ground(xy).reshape(-1, 4, 3)[keep] + (0.0, 0.0, lift_m)
        shade = np.asarray(colour, np.float64) * tones[keep, None]
        return quads(corners, material, label, shade, uv=cells[keep])


def _is_on(ground: Ground, part: str, xy: Array) -> NDArray[np.bool_]:
    if part == "plots":
        return ground.beyond_pavement(xy) > 0.01
    beyond = ground.beyond_kerb(xy)
    return beyond < -0.06 if part == "road" else (beyond > 0.2) & (ground.beyond_pavement(xy) < 0)


def _counted(counts: NDArray[np.intp]) -> NDArray[np.intp]:
    """0, 1, ... counts[0] - 1, 0, 1, ... for each count in turn."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
