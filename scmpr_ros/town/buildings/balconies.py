"""Balconies and loggias: slabs with iron railings or solid parapets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.town.buildings import tints
from scmpr_ros.town.buildings.faces import RELIEF, Plane, Shell
from scmpr_ros.town.buildings.house_styles import House
from scmpr_ros.town.buildings.openings import Opening, Openings
from scmpr_ros.town.materials import Material

Array = NDArray[np.float64]

LOWEST_M = 2.8
"""Below this height only eaves and steps project from a front."""
_SLAB_M, _RAIL_M, _BAR_PITCH_M = 0.18, 1.0, 0.16
_ALL = (*RELIEF, "back")


def balconies(
    shell: Shell, wall: Plane, house: House, u0: Array, u1: Array, floor: Array, reach: float,
    railing: str,
) -> None:  # fmt: skip
    """Balconies (N,) from u0 to u1 with slabs at `floor`; railing: "iron" or "parapet".

    Slabs below `LOWEST_M` are omitted.
    """
    high = floor - _SLAB_M > LOWEST_M
    u0, u1, v = u0[high], u1[high], floor[high]
    slabs = wall.blocks((u0, u1), (v - _SLAB_M, v), (0, reach))
    shell.quads(slabs, Material.CONCRETE, np.full(3, 0.36))
    if railing == "iron":
        _iron(shell, wall, u0, u1, v, reach)
    else:
        _parapet(shell, wall, house, u0, u1, v, reach)


def _iron(shell: Shell, wall: Plane, u0: Array, u1: Array, v: Array, reach: float) -> None:
    """Hand rails on thin bars, which most LiDAR beams pass."""
    top, edge = v + _RAIL_M, 0.05
    rails = [
        wall.blocks((u0, u1), (top - edge, top), (reach - edge, reach), _ALL),
        wall.blocks((u0, u0 + edge), (top - edge, top), (0, reach - edge)),
        wall.blocks((u1 - edge, u1), (top - edge, top), (0, reach - edge)),
    ]
    bars = []
    for a, b, low, high in zip(u0, u1, v, top - edge, strict=True):
        u = np.arange(a + 0.03, b - 0.02, _BAR_PITCH_M)
        bars.append(wall.panels(u, u + 0.022, low, high, reach - 0.025))
        d = np.arange(0.1, reach - 0.05, _BAR_PITCH_M)[:, None]
        d = d + np.array([0, 0.022, 0.022, 0])
        for side in (a + 0.025, b - 0.025):
            bars.append(wall.points(side, np.array([low, low, high, high]), d))
    if bars:
        shell.quads(np.concatenate(rails + bars), Material.METAL, tints.IRON)


def _parapet(
    shell: Shell, wall: Plane, house: House, u0: Array, u1: Array, v: Array, reach: float
) -> None:
    """Solid boards or walls around the slab."""
    low, top, thick = v + 0.02, v + _RAIL_M, 0.07
    faces = [
        wall.blocks((u0, u1), (low, top), (reach - thick, reach), _ALL),
        wall.blocks((u0, u0 + thick), (low, top), (0, reach - thick), ("top", "left", "right")),
        wall.blocks((u1 - thick, u1), (low, top), (0, reach - thick), ("top", "left", "right")),
    ]
    material = Material.WOOD if house.finish.accent_colour[0] < 0.33 else Material.METAL
    shell.quads(np.concatenate(faces), material, house.finish.accent_colour)


def loggias(
    shell: Shell, wall: Plane, house: House, openings: Openings, cells: NDArray[np.bool_]
) -> None:
    """Turn the selected cells of upper floors into deep niches behind parapets."""
    cells = cells & (openings.floor > 0)
    openings.kind[cells] = Opening.WINDOW
    openings.a0[cells], openings.a1[cells] = openings.u0[cells] + 0.12, openings.u1[cells] - 0.12
    openings.b0[cells], openings.b1[cells] = openings.v0[cells] + 0.04, openings.v1[cells] - 0.24
    openings.depth[cells] = 1.25
    o = openings.where(cells)
    boards = wall.blocks((o.a0, o.a1), (o.b0, o.b0 + _RAIL_M), (-0.12, -0.04), _ALL)
    shell.quads(boards, Material.CONCRETE, house.finish.accent_colour)


def canopy(shell: Shell, wall: Plane, u0: float, u1: float, v: float, reach: float) -> None:
    """A slab over an entrance."""
    low = max(v, LOWEST_M + 0.02) if reach > 0.6 else v
    shell.quads(
        wall.blocks((u0, u1), (low, low + 0.12), (0, reach)), Material.CONCRETE, np.full(3, 0.3)
    )


def steps(shell: Shell, wall: Plane, u0: float, u1: float, rise: float, foundation: float) -> None:
    """Steps, less than a metre deep in total, up to an entrance `rise` above the street."""
    count = int(np.clip(round(rise / 0.17), 1, 4))
    k = np.arange(count)
    top = rise * (count - k) / count - 0.02
    tread = 0.95 / max(count, 3)
    # Each step extends to the wall under the next one: only front, top and ends are visible.
    faces = wall.blocks((u0 - 0.06 * k, u1 + 0.06 * k), (-foundation, top), (0, tread * (k + 1)),
                        ("front", "top", "left", "right"))  # fmt: skip
    shell.quads(faces, Material.CONCRETE, np.full(3, 0.33))
