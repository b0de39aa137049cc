"""Landmarks: churches, schools and kiosks."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from scmpr_ros.town.buildings import tints
from scmpr_ros.town.buildings.balconies import canopy
from scmpr_ros.town.buildings.bays import cone, polygon, spire
from scmpr_ros.town.buildings.blocks import LAP_M, Block, raise_roof, raise_walls
from scmpr_ros.town.buildings.dwellings import entrance
from scmpr_ros.town.buildings.facades import add_door, draw_openings, finish_facade
from scmpr_ros.town.buildings.faces import FOUNDATION_M, Plane, Shell
from scmpr_ros.town.buildings.house_styles import House
from scmpr_ros.town.buildings.openings import Opening, Openings
from scmpr_ros.town.buildings.roof_details import chimneys
from scmpr_ros.town.buildings.shop_fronts import sign_board
from scmpr_ros.town.materials import Material

Rng = np.random.Generator


def build_church(rng: Rng, shell: Shell, house: House) -> None:
    """A nave with tall arched windows and buttresses, a tower in front, an apse behind."""
    half, apse = house.width / 2 - 0.6, 3.2
    side, out = float(rng.uniform(4.2, 5.2)), 2.2
    nave = Block.of(house, (-half, half), (out, house.depth - apse), 1)
    tower_block = Block(-side / 2, side / 2, 0.0, out + side - 2.2, np.array([0.0, nave.top + 0.1]))
    for name in ("front", "right", "left"):
        for wall, hidden in nave.pieces(name, [tower_block]):
            if hidden == 0:
                _nave_wall(rng, shell, wall, house, nave, is_long=name != "front")
    back = nave.wall("back")
    shell.quads(back.panels(0, back.length, -FOUNDATION_M, nave.levels[-1]), house.finish.wall,
                house.finish.colour)  # fmt: skip
    raise_roof(rng, shell, house, nave, "gable", "y", attic_blank=1.0)
    _apse(shell, house, nave)
    _steeple(rng, shell, house, tower_block, nave.top + half * house.roof.pitch)


def _nave_wall(
    rng: Rng, shell: Shell, wall: Plane, house: House, nave: Block, is_long: bool
) -> None:
    """Arched windows between buttresses."""
    columns = max(1, int(wall.length / 3.6)) if is_long else 1
    openings = Openings.grid(house, wall.length, np.array([0.0, nave.levels[-1]]), columns)
    openings.is_arched[:] = True
    openings.b0[:], openings.b1[:] = 2.0, min(2.0 + house.windows.height, nave.top - 0.6)
    if wall.length < 2.5:
        openings.kind[:] = Opening.BLANK
    finish_facade(rng, shell, wall, house, openings)
    if is_long:
        u = np.linspace(0.35, wall.length - 0.35, columns + 1)
        buttress = wall.blocks((u - 0.3, u + 0.3), (-FOUNDATION_M, nave.top - 1.0), (0, 0.5))
        shell.quads(buttress, house.finish.wall, house.finish.colour)


def _apse(shell: Shell, house: House, nave: Block) -> None:
    """An apse: half an octagon under half a pyramid."""
    radius, y = 3.1, nave.y1 - 0.05
    plan = polygon((0.0, y), radius, 8)[:5]
    top = nave.top - 1.2
    for start, end in zip(plan[:-1], plan[1:], strict=True):
        wall = Plane.wall(start, end)
        shell.quads(wall.panels(0, wall.length, -FOUNDATION_M, top), house.finish.wall,
                    house.finish.colour)  # fmt: skip
    eave = np.column_stack([plan * [1.04, 1.0], np.full(5, top)])
    cone(shell, eave, (0.0, y, top + 2.0), Material.ROOF_TILES, house.roof.colour)


def _steeple(rng: Rng, shell: Shell, house: House, base: Block, ridge: float) -> None:
    """The tower: a portal, blind storeys, bell openings below a spire."""
    top = ridge + float(rng.uniform(2.0, 7.0))
    levels = np.array([0.0, 4.6, top - 4.2, top])
    plain = replace(house, windows=replace(house.windows, width=1.0, height=2.3, surround="plain"))
    for side in ("front", "right", "back", "left"):
        wall = base.wall(side)
        openings = Openings.grid(plain, wall.length, levels, 1)
        openings.is_arched[:] = openings.floor != 1
        openings.kind[openings.floor == 0] = Opening.BLANK
        openings.kind[openings.floor == 1] = Opening.BLANK
        if side == "front":
            add_door(openings, plain, 0, 0.02)
            openings.a0[0], openings.a1[0] = wall.length / 2 - 1.0, wall.length / 2 + 1.0
            openings.b1[0] = 3.6
        finish_facade(rng, shell, wall, plain, openings)
    plan = np.array([[base.x0, base.y0], [base.x1, base.y0], [base.x1, base.y1],
                     [base.x0, base.y1], [base.x0, base.y0]])  # fmt: skip
    centre = ((base.x0 + base.x1) / 2, (base.y0 + base.y1) / 2)
    spire(shell, plan, centre, top, float(rng.uniform(4.0, 13.0)), house.roof.colour)


def build_school(rng: Rng, shell: Shell, house: House) -> None:
    """A school: rows of large windows, a projecting entrance bay, a lower wing."""
    half, out = house.width / 2 - 0.05, 1.2
    wing_wide = float(rng.uniform(0.25, 0.35)) * house.width
    main = Block.of(house, (-half, half - wing_wide), (out, house.depth), house.floors)
    wing = Block.of(
        house, (half - wing_wide - LAP_M, half), (out + 2.0, house.depth - 0.1), house.floors - 1
    )
    middle = (main.x0 + main.x1) / 2
    porch = Block.of(house, (middle - 3.4, middle + 3.4), (0.0, out + LAP_M), house.floors)
    blocks = [main, wing, porch]

    def front(block: Block, wall: Plane) -> None:
        openings = draw_openings(rng, house, wall.length, block.levels)
        if block is porch:
            add_door(openings, house, int(openings.column.max()) // 2, house.plinth)
        finish_facade(rng, shell, wall, house, openings)
        entrance(rng, shell, wall, openings, house)

    for block in blocks:
        others = [b for b in blocks if b is not block]
        raise_walls(rng, shell, house, block, others, {"left": 0.3, "right": 0.3, "back": 0.0},
                    {"front": partial(front, block)})  # fmt: skip
    roof = raise_roof(rng, shell, house, main, house.roof.shape, attic_blank=1.0)
    raise_roof(rng, shell, house, wing, "flat")
    if roof is None:
        raise_roof(rng, shell, house, porch, "flat")
        return
    into = min((main.y1 - main.y0) / 2, 3.9)
    raise_roof(rng, shell, house, porch, "gable", "y", (0.0, into), 1.0)
    chimneys(rng, shell, roof, 2)


def build_kiosk(rng: Rng, shell: Shell, house: House) -> None:
    """A kiosk: a serving hatch under a sign and an overhanging roof."""
    half = house.width / 2 - 0.02
    block = Block.of(house, (-half, half), (0.0, house.depth), 1)

    def front(wall: Plane) -> None:
        openings = Openings.grid(house, wall.length, np.array([0.0, block.levels[-1]]), 1)
        openings.kind[:] = Opening.SHOP
        openings.a0[:], openings.a1[:] = 0.3, wall.length - 0.3
        openings.b0[:], openings.b1[:] = 0.95, 2.25
        finish_facade(rng, shell, wall, house, openings)
        counter = wall.blocks((0.2, wall.length - 0.2), (0.88, 0.94), (0.0, 0.35))
        shell.quads(counter, Material.WOOD, tints.shade(rng, tints.WOODS))
        sign_board(rng, shell, wall, block.top - 0.42, 0.36, wall.length - 0.7)
        canopy(shell, wall, 0.1, wall.length - 0.1, block.top - 0.05, 0.55)

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
