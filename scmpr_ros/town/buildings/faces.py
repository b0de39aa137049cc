"""Construction of buildings from faces, which are laid out on planes.

A building has its own frame: x along the street, y into the plot, z up; the street front is the
plane y = 0, the origin is the middle of the front at street level.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scmpr_ros.semantics import class_id
from scmpr_ros.town.materials import SHEET_CELLS, Material
from scmpr_ros.town.mesh import Mesh, boxes, discs, quads, triangles, tubes
from scmpr_ros.town.textures.pictures import picture_cells

Array = NDArray[np.float64]
Rng = np.random.Generator

BUILDING = class_id("building")
FOUNDATION_M = 2.5
"""Depth of walls below street level, so that slopes never expose their lower edge."""

_FACES = {
    "front": (4, 5, 7, 6), "top": (6, 7, 3, 2), "bottom": (0, 1, 5, 4),
    "left": (0, 4, 6, 2), "right": (5, 1, 3, 7), "back": (1, 0, 2, 3),
}  # fmt: skip
_BITS = np.arange(8)[None] >> np.arange(3)[:, None] & 1
_UNIT = np.array([[0.02, 0.02], [0.98, 0.02], [0.98, 0.98], [0.02, 0.98]])
RELIEF = ("front", "top", "bottom", "left", "right")
"""Visible faces of blocks fixed to a wall."""


@dataclass(frozen=True)
class Plane:
    """A wall or roof slope with coordinates in metres: u along it, v up it, d out of it.

    origin, along, up, out: (3,), the axes unit vectors. length: extent along u.
    """

    origin: Array
    along: Array
    up: Array
    out: Array
    length: float

    @classmethod
    def wall(cls, start: ArrayLike, end: ArrayLike) -> Plane:
        """The vertical plane from `start` to `end` (2,) in plan, the exterior on its right."""
        a, b = np.asarray(start, float), np.asarray(end, float)
        length = float(np.hypot(*(b - a)))
        x, y = (b - a) / length
        up = np.array([0.0, 0.0, 1.0])
        return cls(np.array([*a, 0.0]), np.array([x, y, 0.0]), up, np.array([y, -x, 0.0]), length)

    def points(self, u: ArrayLike, v: ArrayLike, d: ArrayLike) -> Array:
        """Points (..., 3) at plane coordinates, which broadcast."""
        u, v, d = (np.asarray(a, float)[..., None] for a in (u, v, d))
        return self.origin + u * self.along + v * self.up + d * self.out

    def panels(
        self, u0: ArrayLike, u1: ArrayLike, v0: ArrayLike, v1: ArrayLike, d: ArrayLike = 0.0
    ) -> Array:
        """Rectangles (N, 4, 3) facing outwards, without degenerate ones."""
        rows = _rows(u0, u1, v0, v1, d)
        rows = rows[:, (rows[1] - rows[0] > 1e-3) & (rows[3] - rows[2] > 1e-3)]
        return self.points(rows[[0, 1, 1, 0]].T, rows[[2, 2, 3, 3]].T, rows[4][:, None])

    def blocks(
        self, u: tuple[ArrayLike, ArrayLike], v: tuple[ArrayLike, ArrayLike],
        d: tuple[ArrayLike, ArrayLike], faces: tuple[str, ...] = RELIEF,
    ) -> Array:  # fmt: skip
        """The named faces (N * faces, 4, 3) of N blocks between pairs of plane coordinates."""
        u_, v_, d_ = _rows(*u, *v, *d).reshape(3, 2, -1)
        vertices = self.points(u_[_BITS[0]].T, v_[_BITS[1]].T, d_[_BITS[2]].T)
        return vertices[:, np.array([_FACES[f] for f in faces])].reshape(-1, 4, 3)


def _rows(*values: ArrayLike) -> Array:
    """Broadcast numbers and arrays (N,) into rows of one array; no columns if any is empty."""
    sizes = [np.size(v) for v in values]
    rows = np.empty((len(values), max(sizes) if all(sizes) else 0))
    for row, value in zip(rows, values, strict=True):
        row[:] = value
    return rows


class Shell:
    """The faces of one building, grouped by material to build its mesh from few arrays."""

    def __init__(self) -> None:
        self._faces: dict[tuple[int, Material], list[tuple[Array, Array, Array | None]]]
        self._faces = defaultdict(list)
        self._parts: list[Mesh] = []

    def quads(
        self, corners: ArrayLike, material: Material, colour: ArrayLike, uv: Array | None = None
    ) -> None:
        """Planar quads (N, 4, 3) of one colour (3,); uv (N, 4, 2) for sheets of pictures only."""
        self._add(4, corners, material, colour, uv)

    def triangles(self, corners: ArrayLike, material: Material, colour: ArrayLike) -> None:
        """Triangles (N, 3, 3) of one colour (3,)."""
        self._add(3, corners, material, colour, None)

    def _add(
        self, size: int, corners: ArrayLike, material: Material, colour: ArrayLike,
        uv: Array | None,
    ) -> None:  # fmt: skip
        corners = np.asarray(corners, float).reshape(-1, size, 3)
        if len(corners):
            colour = np.broadcast_to(np.asarray(colour, float), (len(corners), 3))
            self._faces[size, material].append((corners, colour, uv))

    def pictures(
        self, rng: Rng, corners: Array, material: Material, own: ArrayLike | None = None,
        kinds: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        """Quads (N, 4, 3) that each show one picture of the material's sheet.

        own: cell (column, row) of the picture that most of them show. kinds: see `picture_cells`.
        """
        cells = picture_cells(material, kinds)
        cell = cells[rng.integers(len(cells), size=len(corners))]
        if own is not None:
            cell = np.where((rng.random(len(corners)) < 0.65)[:, None], own, cell)
        self.quads(corners, material, (1, 1, 1), (cell[:, None] + _UNIT) / SHEET_CELLS)

    def boxes(self, low: ArrayLike, high: ArrayLike, material: Material, colour: ArrayLike) -> None:
        """Axis-aligned boxes between corners `low` and `high`, each (N, 3)."""
        self._parts.append(boxes(low, high, material, BUILDING, colour))

    def tubes(self, path: ArrayLike, radius: float, material: Material, colour: ArrayLike) -> None:
        """Pipes along paths (N, K, 3)."""
        self._parts.append(tubes(path, radius, 5, material, BUILDING, colour))

    def discs(
        self, centre: ArrayLike, axis: ArrayLike, radius: float, material: Material,
        colour: ArrayLike,
    ) -> None:  # fmt: skip
        """Discs at centres (N, 3) that face along `axis` (3,)."""
        self._parts.append(discs(centre, axis, radius, 10, material, BUILDING, colour))

    def mesh(self) -> Mesh:
        """Mesh of all faces added so far."""
        parts = list(self._parts)
        for (size, material), pieces in self._faces.items():
            corners, colour = (np.concatenate([p[i] for p in pieces]) for i in (0, 1))
            uvs = [uv for _, _, uv in pieces if uv is not None]
            uv = np.concatenate(uvs) if uvs else None
            build = quads if size == 4 else triangles
            parts.append(build(corners, material, BUILDING, colour, uv))
        return Mesh.join(parts)
