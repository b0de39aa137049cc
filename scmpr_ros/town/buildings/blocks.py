"""Blocks, the boxes that make up a building: their exposed walls and their roofs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.town.buildings.facades import blind_wall, firewall, plain_facade
from scmpr_ros.town.buildings.faces import Plane, Shell
from scmpr_ros.town.buildings.house_styles import House, Kind
from scmpr_ros.town.buildings.roof_details import gutters
from scmpr_ros.town.buildings.roofs import (
    HALF_HIP,
    SEAT_M,
    RoofForm,
    build_roof,
    flat_roof,
    gable_wall,
    roof_over,
)
from scmpr_ros.town.materials import Material

Array = NDArray[np.float64]
Rng = np.random.Generator

SIDES = ("front", "right", "back", "left")
LAP_M = 0.05
"""Overlap of a wing with the block it adjoins."""
_NARROW_M = 0.5
"""Shorter pieces of wall have no openings."""
_ATTIC_M = 2.3
"""Height of an attic room's wall in a gable."""


@dataclass(frozen=True)
class Block:
    """A box over x0..x1, y0..y1. levels: (floors + 1,) heights of floors and top."""

    x0: float
    x1: float
    y0: float
    y1: float
    levels: Array

    @classmethod
    def of(cls, house: House, x: tuple[float, float], y: tuple[float, float], floors: int) -> Block:
        """A block with `floors` of the house's floors."""
        levels = house.levels(floors)
        levels[-1] += SEAT_M
        return cls(*x, *y, levels)

    @property
    def plan(self) -> tuple[float, float, float, float]:
        """x0, x1, y0, y1."""
        return self.x0, self.x1, self.y0, self.y1

    @property
    def top(self) -> float:
        """Height at which the roof begins."""
        return float(self.levels[-1]) - SEAT_M

    def wall(self, side: str) -> Plane:
        """Plane of one side."""
        a, b, c, d = (
            (self.x0, self.y0), (self.x1, self.y0), (self.x1, self.y1), (self.x0, self.y1),
        )  # fmt: skip
        ends = {"front": (a, b), "right": (b, c), "back": (c, d), "left": (d, a)}
        return Plane.wall(*ends[side])

    def pieces(self, side: str, others: Sequence[Block]) -> Iterator[tuple[Plane, float]]:
        """Split a side; yields pieces and the height up to which another block hides each."""
        whole = self.wall(side)
        corners = whole.points(np.array([0.0, whole.length]), 0.0, 0.0)[:, :2]
        hidden = []
        for other in others:
            box = np.array([[other.x0, other.y0], [other.x1, other.y1]])
            distance = (box - corners[0]) @ whole.out[:2]
            along = np.sort((box - corners[0]) @ whole.along[:2])
            u0, u1 = max(along[0], 0.0), min(along[1], whole.length)
            if distance.min() < 0.01 and distance.max() > 0.01 and u1 - u0 > 0.01:
                hidden.append((u0, u1, other.top))
        at = 0.0
        for u0, u1, top in sorted(hidden):
            if u0 - at > 0.02:
                yield _part(whole, at, u0), 0.0
            yield _part(whole, u0, u1), top
            at = u1
        if whole.length - at > 0.02:
            yield _part(whole, at, whole.length), 0.0


def _part(whole: Plane, u0: float, u1: float) -> Plane:
    ends = whole.points(np.array([u0, u1]), 0.0, 0.0)[:, :2]
    return Plane.wall(ends[0], ends[1])


def raise_walls(
    rng: Rng, shell: Shell, house: House, block: Block, others: Sequence[Block],
    blank: dict[str, float], builders: dict[str, Callable[[Plane], None]],
) -> None:  # fmt: skip
    """Build the walls of a block that no other block hides.

    blank: share of cells without a window by side; 1 for a blind wall. builders: functions that
    build the pieces of a side instead of `plain_facade`.
    """
    for side in SIDES:
        for wall, hidden in block.pieces(side, others):
            if hidden >= block.top - 0.01:
                continue
            is_blind = blank.get(side, 0.0) >= 1 and side not in builders
            if hidden > 0 or is_blind or wall.length < _NARROW_M:
                is_party = house.kind is Kind.TENEMENT and side in ("left", "right")
                build = firewall if is_party else blind_wall
                build(shell, wall, house, block.levels)
            elif side in builders:
                builders[side](wall)
            else:
                plain_facade(rng, shell, wall, house, block.levels, blank.get(side, 0.0))


def raise_roof(
    rng: Rng, shell: Shell, house: House, block: Block, shape: str, ridge_along: str = "x",
    reach: tuple[float, float] = (0.0, 0.0), attic_blank: float = 0.35, is_clad: bool = False,
    material: Material = Material.ROOF_TILES,
) -> RoofForm | None:  # fmt: skip
    """Build the roof of a block with gables and gutters; returns None if it is flat.

    reach: extension at each end of the ridge into a neighbouring roof, where it has no gable.
    attic_blank: share of gable cells without a window.
    """
    if shape == "flat":
        rim = float(rng.uniform(0.08, 0.2) if block.top < 4 else rng.uniform(0.25, 0.7))
        flat_roof(rng, shell, house, block.plan, float(block.levels[-1]), rim)
        return None
    if shape == "hip":
        ridge_along = "x" if block.x1 - block.x0 >= block.y1 - block.y0 else "y"
    roof = roof_over(house, block.plan, block.top, shape, ridge_along, reach)
    build_roof(shell, roof, house, shape, material)
    ends = [end for end, run in ((-1, reach[0]), (1, reach[1])) if run == 0.0]
    for end in ends if shape != "hip" else ():
        _gable(rng, shell, house, roof, end, shape, attic_blank, is_clad)
    corner = roof.half_length - 0.14
    last = corner - reach[1] - 0.3 if reach[1] else corner
    first = -corner + reach[0] + 0.3 if reach[0] else -corner
    pipes = {-1: [first, last] if last > first else [], 1: [first] if last > first else []}
    if shape == "shed":
        pipes.pop(1)
    gutters(shell, roof, pipes, block.top)
    return roof


def _gable(
    rng: Rng, shell: Shell, house: House, roof: RoofForm, end: int, shape: str, blank: float,
    is_clad: bool,
) -> None:  # fmt: skip
    """A gable, with attic windows if it is high enough."""
    ceiling = np.inf
    if shape == "half_hip":
        crown, base = roof.profile[1, 1], roof.profile[0, 1]
        ceiling = base + HALF_HIP * (crown - base)
    half = len(roof.profile) // 2 + 1
    rect = (0.0, 0.0)
    if shape != "shed" and blank < 1 and min(roof.profile[:, 1].max(), ceiling) > _ATTIC_M + 0.1:
        t, h = roof.profile[:half].T
        m = -float(np.interp(_ATTIC_M, h, t)) - 0.05
        if m > house.windows.width / 2 + 0.4:
            rect = (m, _ATTIC_M)
            side = roof.points(end * roof.half_length, np.array([-m, m]) * end, 0.0)[:, :2]
            levels = float(roof.centre[2]) + np.array([SEAT_M, _ATTIC_M])
            plain_facade(rng, shell, Plane.wall(side[0], side[1]), house, levels, blank)
    gable_wall(shell, roof, house, end, rect, is_clad, ceiling)
