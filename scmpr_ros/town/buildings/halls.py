"""Commercial buildings: halls with gates, docks and offices; supermarkets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.town.buildings import tints
from scmpr_ros.town.buildings.balconies import canopy
from scmpr_ros.town.buildings.bays import cone, polygon
from scmpr_ros.town.buildings.blocks import LAP_M, Block, raise_roof, raise_walls
from scmpr_ros.town.buildings.facades import add_door, finish_facade
from scmpr_ros.town.buildings.faces import FOUNDATION_M, Plane, Shell
from scmpr_ros.town.buildings.house_styles import Finish, House
from scmpr_ros.town.buildings.openings import Opening, Openings
from scmpr_ros.town.buildings.shop_fronts import sign_board
from scmpr_ros.town.materials import Material

Array = NDArray[np.float64]
Rng = np.random.Generator

_GATES_M = 3.9
"""Height of the lower part of a hall's walls, where the gates are."""


def build_hall(rng: Rng, shell: Shell, house: House) -> None:
    """A hall, often with offices in front and at times with tanks beside it."""
    x0, x1 = -house.width / 2 + 0.05, house.width / 2 - 0.05
    tanks = house.width > 26 and rng.random() < 0.22
    if tanks:
        x1 -= 5.0
    office_depth = float(rng.uniform(4.5, 7.0)) if rng.random() < 0.55 else 0.0
    hall = Block.of(house, (x0, x1), (office_depth, house.depth), 1)
    blocks = [hall]
    if office_depth:
        wide = float(rng.uniform(0.35, 0.75)) * (x1 - x0)
        left = x0 + 0.08 if rng.random() < 0.5 else x1 - wide - 0.08
        office = replace(
            house, ground_height=3.3, floor_height=3.2, finish=_office_finish(rng, house)
        )
        floors = int(rng.integers(1, 4))
        while office.levels(floors)[-1] > hall.top - 0.6 and floors > 1:
            floors -= 1
        block = Block.of(office, (left, left + wide), (0.0, office_depth + LAP_M), floors)
        blocks.append(block)
        _offices(rng, shell, office, block, hall)
    has_strips = rng.random() < 0.6 and hall.top - _GATES_M > house.windows.height + 0.8
    gates = {"front": 0.55, "left": 0.12, "right": 0.12, "back": 0.3}

    def builder(share: float) -> Callable[[Plane], None]:
        return lambda wall: _hall_wall(rng, shell, wall, house, hall, share, has_strips)

    raise_walls(rng, shell, house, hall, blocks[1:], {},
                {side: builder(share) for side, share in gates.items()})  # fmt: skip
    _hall_roof(rng, shell, house, hall)
    if tanks:
        _tanks(rng, shell, x1 + 2.6, house.depth)


def _office_finish(rng: Rng, house: House) -> Finish:
    wall = Material.PLASTER if rng.random() < 0.6 else Material.METAL
    colour = tints.shade(rng, tints.WHITES if wall is Material.PLASTER else tints.SHEETS)
    return replace(house.finish, wall=wall, colour=colour, ground_wall=wall, ground_colour=colour)


def _offices(rng: Rng, shell: Shell, office: House, block: Block, hall: Block) -> None:
    """An office block with bands of windows, an entrance and a flat roof."""
    windows = replace(office.windows, width=2.4, height=1.5, pitch=2.6, surround="", shutters="")
    office = replace(office, windows=windows)

    def facade(wall: Plane, has_door: bool) -> None:
        columns = max(1, int(wall.length / 2.6))
        openings = Openings.grid(office, wall.length, block.levels, columns)
        openings.a0[:] = openings.u0 + 0.06
        openings.a1[:] = openings.u1 - 0.06
        if has_door:
            add_door(openings, office, columns // 2, 0.06)
        finish_facade(rng, shell, wall, office, openings)
        if has_door:
            middle = (columns // 2 + 0.5) * wall.length / columns
            canopy(shell, wall, middle - 1.6, middle + 1.6, 2.85, 1.3)

    for side in ("front", "left", "right"):
        for wall, hidden in block.pieces(side, [hall]):
            if hidden == 0:
                facade(wall, side == "front")
    raise_roof(rng, shell, office, block, "flat")


def _hall_wall(
    rng: Rng, shell: Shell, wall: Plane, house: House, hall: Block, share: float, has_strips: bool
) -> None:
    """One side of the hall: gates in a share of its bays, strip windows above, a sign."""
    columns = max(1, int(wall.length / 5.2))
    openings = Openings.grid(
        house, wall.length, np.array([0.0, _GATES_M, hall.levels[-1]]), columns
    )
    lower = np.flatnonzero(openings.floor == 0)
    odds = [share, 0.85 - 0.9 * share, 0.15 - 0.1 * share]
    kinds = [Opening.ROLL_UP, Opening.BLANK, Opening.WINDOW]
    openings.kind[lower] = rng.choice(kinds, len(lower), p=odds)
    gate = openings.kind == Opening.ROLL_UP
    half, dock = float(rng.uniform(1.5, 2.0)), float(rng.choice([0.02, 0.02, 1.1]))
    middle = (openings.u0 + openings.u1) / 2
    openings.a0[gate] = np.maximum(middle - half, openings.u0 + 0.3)[gate]
    openings.a1[gate] = np.minimum(middle + half, openings.u1 - 0.3)[gate]
    openings.b0[gate], openings.b1[gate] = dock, 3.6
    openings.depth[gate] = 0.2
    upper = openings.floor > 0
    if has_strips:
        openings.a0[upper], openings.a1[upper] = openings.u0[upper] + 0.2, openings.u1[upper] - 0.2
        openings.b0[upper] = openings.v0[upper] + 0.2
        openings.b1[upper] = openings.b0[upper] + house.windows.height
    else:
        openings.kind[upper] = Opening.BLANK
    idle = openings.column[lower][openings.kind[lower] != Opening.ROLL_UP]
    if share > 0.5 and len(idle):
        add_door(openings, house, int(rng.choice(idle)), 0.05)
    finish_facade(rng, shell, wall, house, openings)
    _posts(shell, wall, house, hall, columns)
    if dock > 1:
        _dock(shell, wall, openings.where(gate))
    if share > 0.5 and wall.length > 8:
        height = float(rng.uniform(0.6, 1.1))
        sign_board(rng, shell, wall, hall.top - height - 0.3, height,
                   min(wall.length - 0.8, float(rng.uniform(3, 8))))  # fmt: skip


def _posts(shell: Shell, wall: Plane, house: House, hall: Block, columns: int) -> None:
    """Columns between the bays of masonry walls, edge trims on sheet metal."""
    if house.finish.wall is Material.CORRUGATED:
        u, half, out = np.array([0.1, wall.length - 0.1]), 0.08, 0.055
    else:
        u, half, out = np.linspace(0.18, wall.length - 0.18, columns + 1), 0.16, 0.1
    posts = wall.blocks((u - half, u + half), (-FOUNDATION_M, hall.top - 0.02), (0, out), (
        "front", "left", "right"))  # fmt: skip
    shell.quads(posts, Material.CONCRETE, house.finish.trim_colour)


def _dock(shell: Shell, wall: Plane, gates: Openings) -> None:
    """Rubber bumpers below raised gates, and a roof over each."""
    for u in (gates.a0 + 0.25, gates.a1 - 0.5):
        rubber = wall.blocks((u, u + 0.25), (0.55, 1.05), (0.02, 0.16))
        shell.quads(rubber, Material.RUBBER, np.full(3, 0.03))
    lids = wall.blocks((gates.a0 - 0.2, gates.a1 + 0.2), (3.7, 3.85), (0, 1.4))
    shell.quads(lids, Material.METAL, tints.METAL)


def _hall_roof(rng: Rng, shell: Shell, house: House, hall: Block) -> None:
    """A shallow, flat or saw-tooth roof of sheet metal."""
    if house.roof.shape == "saw_tooth":
        _saw_teeth(rng, shell, house, hall)
        return
    sheet = replace(house, roof=replace(house.roof, colour=np.full(3, rng.uniform(0.2, 0.4))))
    axis = "y" if rng.random() < 0.5 else "x"
    raise_roof(rng, shell, sheet, hall, house.roof.shape, axis, attic_blank=1.0,
               material=Material.CORRUGATED)  # fmt: skip


def _saw_teeth(rng: Rng, shell: Shell, house: House, hall: Block) -> None:
    """Rows of lean-to roofs with glazed vertical sides."""
    count = max(2, int((hall.x1 - hall.x0) / rng.uniform(5.5, 8.0)))
    x = np.linspace(hall.x0, hall.x1, count + 1)
    rise, z = float(rng.uniform(1.6, 2.6)), float(hall.levels[-1])
    low, high = x[:-1], x[1:]
    y0, y1 = hall.y0, hall.y1

    def corners(*points: tuple[Array, float, float]) -> Array:
        return np.stack(
            [np.stack(np.broadcast_arrays(*p), axis=-1) for p in points], axis=1
        )  # fmt: skip

    slope = corners((low, y0, z), (high, y0, z + rise), (high, y1, z + rise), (low, y1, z))
    shell.quads(slope, Material.ROOF_FLAT, np.full(3, 0.2))
    glass = corners((high, y0, z), (high, y1, z), (high, y1, z + rise), (high, y0, z + rise))
    shell.quads(glass, Material.GLASS, np.array([0.10, 0.13, 0.14]))
    for y in (y0, y1):
        shell.triangles(corners((low, y, z), (high, y, z), (high, y, z + rise)),
                        house.finish.wall, house.finish.colour)  # fmt: skip


def _tanks(rng: Rng, shell: Shell, x: float, depth: float) -> None:
    """Upright tanks or silos in a row beside the hall."""
    radius, height = float(rng.uniform(1.3, 1.9)), float(rng.uniform(6.0, 13.0))
    colour = tints.shade(rng, tints.SHEETS[:2])
    for y in np.arange(radius + 1.0, min(depth - radius, 4 * (2 * radius + 0.5)), 2 * radius + 0.5):
        plan = polygon((x, y), radius, 14)
        low, high = (
            np.column_stack([plan, np.full(len(plan), z)]) for z in (-FOUNDATION_M, height)
        )
        shell.quads(np.stack([low[:-1], low[1:], high[1:], high[:-1]], axis=1), Material.METAL,
                    colour)  # fmt: skip
        cone(shell, high, (x, float(y), height + 0.5 * radius), Material.METAL, colour)


def build_market(rng: Rng, shell: Shell, house: House) -> None:
    """A supermarket: a glazed front with a sign and a deep canopy, blind walls elsewhere."""
    half = house.width / 2 - 0.05
    block = Block.of(house, (-half, half), (1.6, house.depth), 1)

    def front(wall: Plane) -> None:
        columns = int(wall.length / 3)
        openings = Openings.grid(house, wall.length, np.array([0.0, block.levels[-1]]), columns)
        first = int(rng.integers(0, columns // 3 + 1))
        glazed = (openings.column >= first) & (openings.column < first + columns // 2 + 1)
        openings.kind[:] = np.where(glazed, Opening.SHOP, Opening.BLANK)
        openings.a0[:], openings.a1[:] = openings.u0 + 0.06, openings.u1 - 0.06
        openings.b0[:], openings.b1[:] = 0.05, 3.0
        finish_facade(rng, shell, wall, house, openings)
        span = float(openings.u0[glazed].min()), float(openings.u1[glazed].max())
        roof = wall.blocks((span[0] - 0.5, span[1] + 0.5), (3.15, 3.4), (0, 1.5))
        shell.quads(roof, Material.METAL, house.finish.accent_colour)
        sign_board(rng, shell, wall, 3.5, min(0.9, block.top - 3.7), float(rng.uniform(4, 7)))

    raise_walls(
        rng,
        shell,
        house,
        block,
        [],
        dict.fromkeys(("left", "right", "back"), 1.0),
        {"front": front},
    )
    raise_roof(rng, shell, house, block, house.roof.shape, attic_blank=1.0)
