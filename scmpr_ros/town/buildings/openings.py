"""Openings of a wall: a grid of cells with an opening each, and the wall around them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum, auto

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.town.buildings.faces import FOUNDATION_M, Plane, Shell
from scmpr_ros.town.buildings.house_styles import Finish, House
from scmpr_ros.town.materials import Material

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Rng = np.random.Generator

_ARCH_STEPS = 6


class Opening(IntEnum):
    """Kinds of openings."""

    BLANK = 0
    WINDOW = auto()
    DOOR = auto()
    SHOP = auto()
    GATE = auto()
    ROLL_UP = auto()


@dataclass
class Openings:
    """The cells of one wall, row by row from the ground; every array has one entry per cell.

    u0, u1, v0, v1: edges of the cell. a0, a1, b0, b1: edges of its hole. depth: recess
    of the hole. kind: an `Opening`. is_arched: whether the hole ends in a round arch.
    """

    floor: NDArray[np.intp]
    column: NDArray[np.intp]
    u0: Array
    u1: Array
    v0: Array
    v1: Array
    a0: Array
    a1: Array
    b0: Array
    b1: Array
    depth: Array
    kind: NDArray[np.intp]
    is_arched: Mask

    @classmethod
    def grid(
        cls, house: House, length: float, levels: Array, columns: int, share: Array | None = None
    ) -> Openings:
        """A grid with a window in every cell.

        levels: (floors + 1,) heights of the floors and of the wall's top. share: factors (columns,)
        on the windows' width.
        """
        style = house.windows
        floor, column = (a.ravel() for a in np.mgrid[0 : len(levels) - 1, 0:columns])
        pitch = length / columns
        v0, v1 = levels[floor], levels[floor + 1]
        factor = np.ones(columns) if share is None else share
        half = np.minimum(style.width * factor[column], pitch - 0.3) / 2
        middle = (column + 0.5) * pitch
        height = np.minimum(style.height, v1 - v0 - 0.55)
        sill = v0 + np.clip(v1 - v0 - height - 0.35, 0.2, 0.9)
        if levels[0] <= house.plinth:
            v0 = np.where(floor == 0, 0.0, v0)  # the wall goes down to the street
        count = len(floor)
        return cls(
            floor, column, column * pitch, (column + 1) * pitch, v0, v1, middle - half,
            middle + half, sill, sill + height, np.full(count, style.recess),
            np.full(count, Opening.WINDOW, np.intp), np.zeros(count, bool),
        )  # fmt: skip

    def where(self, chosen: Mask) -> Openings:
        """The selected cells."""
        return Openings(*(getattr(self, f.name)[chosen] for f in fields(self)))

    @property
    def is_window(self) -> Mask:
        """Which cells hold a window."""
        return self.kind == Opening.WINDOW

    def at(self, floor: int, column: int) -> int:
        """Index of the cell at a floor and column."""
        return int(np.flatnonzero((self.floor == floor) & (self.column == column))[0])

    def merge_right(self, cell: int) -> Openings:
        """Merge a cell with its right neighbour, which must be on the same floor."""
        self.u1[cell] = self.u1[cell + 1]
        self.a1[cell] = self.a1[cell + 1]
        keep = np.ones(len(self.kind), bool)
        keep[cell + 1] = False
        return self.where(keep)


def cut(rng: Rng, shell: Shell, wall: Plane, openings: Openings, house: House) -> None:
    """Build a wall, its reveals, and the windows and doors in its openings."""
    finish, windows = house.finish, house.windows
    low = float(openings.v0.min())
    for is_ground in (True, False):
        row = openings.where((openings.floor == 0) == is_ground)
        material = finish.ground_wall if is_ground and low <= house.plinth else finish.wall
        colour = finish.ground_colour if is_ground and low <= house.plinth else finish.colour
        shell.quads(_wall_around(wall, row), material, colour)
    if low <= house.plinth:
        shell.quads(
            wall.panels(0, wall.length, -FOUNDATION_M, low),
            finish.ground_wall,
            finish.ground_colour,
        )
    holes = openings.where(openings.kind != Opening.BLANK)
    reveal = finish.trim_colour if windows.surround else finish.colour * 0.97
    is_gate = holes.kind == Opening.GATE
    shell.quads(_reveals(wall, holes.where(~is_gate)), Material.PLASTER, reveal)
    shell.quads(_reveals(wall, holes.where(is_gate)), Material.PLASTER, finish.ground_colour * 0.5)
    _arches(shell, wall, holes.where(holes.is_arched), finish)
    panes = wall.panels(holes.a0, holes.a1, holes.b0, holes.b1, -holes.depth)
    shell.pictures(rng, panes[holes.is_window], Material.WINDOW, windows.cell)
    shell.pictures(rng, panes[holes.kind == Opening.SHOP], Material.SHOP)
    doors = np.isin(holes.kind, (Opening.DOOR, Opening.GATE))
    shell.pictures(rng, panes[doors], Material.DOOR)
    shell.quads(panes[holes.kind == Opening.ROLL_UP], Material.SHUTTER, finish.accent_colour)


def _wall_around(wall: Plane, row: Openings) -> Array:
    """Panels (N, 4, 3) of the cells around their holes."""
    blank = row.where(row.kind == Opening.BLANK)
    o = row.where(row.kind != Opening.BLANK)
    return np.concatenate(
        [
            wall.panels(blank.u0, blank.u1, blank.v0, blank.v1),
            wall.panels(o.u0, o.a0, o.v0, o.v1), wall.panels(o.a1, o.u1, o.v0, o.v1),
            wall.panels(o.a0, o.a1, o.v0, o.b0), wall.panels(o.a0, o.a1, o.b1, o.v1),
        ]
    )  # fmt: skip


def _reveals(wall: Plane, holes: Openings) -> Array:
    """The four inner faces around each opening, (4 N, 4, 3)."""
    zero, deep = np.zeros(len(holes.kind)), -holes.depth
    ring = [(holes.a0, holes.b0), (holes.a0, holes.b1), (holes.a1, holes.b1), (holes.a1, holes.b0)]
    faces = []
    for (ua, va), (ub, vb) in zip(ring, ring[1:] + ring[:1], strict=True):
        u, v = np.stack([ua, ub, ub, ua], 1), np.stack([va, vb, vb, va], 1)
        faces.append(wall.points(u, v, np.stack([zero, zero, deep, deep], 1)))
    return np.concatenate(faces)


def _arches(shell: Shell, wall: Plane, holes: Openings, finish: Finish) -> None:
    """Turn rectangular holes into round arches: spandrels, intrados and a ring of stone."""
    if len(holes.kind) == 0:
        return
    angle = np.linspace(np.pi, 0, _ARCH_STEPS + 1)
    half = ((holes.a1 - holes.a0) / 2)[:, None]
    middle = ((holes.a1 + holes.a0) / 2)[:, None]
    rise = np.minimum(half, (holes.b1 - holes.b0)[:, None] * 0.45)
    spring = holes.b1[:, None] - 0.05 - rise
    u, v = middle + half * np.cos(angle), spring + rise * np.sin(angle)
    top = np.broadcast_to(holes.b1[:, None], u.shape)
    ring_u, ring_v = middle + (half + 0.2) * np.cos(angle), spring + (rise + 0.2) * np.sin(angle)
    zero, deep = np.zeros_like(u), np.broadcast_to(-holes.depth[:, None] + 0.02, u.shape)
    out = np.full_like(u, 0.03)

    def strip(first: tuple[Array, Array, Array], second: tuple[Array, Array, Array]) -> Array:
        a, b = wall.points(*first), wall.points(*second)
        return np.stack([a[:, :-1], a[:, 1:], b[:, 1:], b[:, :-1]], axis=2)

    shell.quads(strip((u, v, zero), (u, top, zero)), finish.ground_wall, finish.ground_colour)
    shell.quads(strip((u, v, out), (u, v, deep)), Material.PLASTER, finish.trim_colour)
    shell.quads(strip((u, v, out), (ring_u, ring_v, out)), Material.STONE, finish.trim_colour)
    shell.quads(
        strip((ring_u, ring_v, out), (ring_u, ring_v, zero)), Material.STONE, finish.trim_colour
    )
