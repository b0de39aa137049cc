"""Dwellings with gardens: detached houses, terraced rows, post-war slab blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scmpr_ros.town.buildings import tints
from scmpr_ros.town.buildings.balconies import (
    LOWEST_M,
    balconies,
    canopy,
    loggias,
    steps,
)
from scmpr_ros.town.buildings.blocks import LAP_M, Block, raise_roof, raise_walls
from scmpr_ros.town.buildings.conservatories import conservatory
from scmpr_ros.town.buildings.facades import (
    add_door,
    draw_openings,
    finish_facade,
    plain_facade,
)
from scmpr_ros.town.buildings.faces import FOUNDATION_M, Plane, Shell
from scmpr_ros.town.buildings.house_styles import House
from scmpr_ros.town.buildings.openings import Opening, Openings
from scmpr_ros.town.buildings.roof_details import (
    chimneys,
    dormers,
    satellite_dish,
    skylights,
    solar_panels,
)
from scmpr_ros.town.buildings.roofs import RoofForm
from scmpr_ros.town.materials import Material

Array = NDArray[np.float64]
Rng = np.random.Generator

_EDGE_M = 0.02
"""Inset of houses from their plan, so that faces of adjacent houses do not coincide."""


def build_detached(rng: Rng, shell: Shell, house: House) -> None:
    """A main house, at times with a wing towards street or garden and a garage."""
    x0, x1 = -house.width / 2 + _EDGE_M, house.width / 2 - _EDGE_M
    garage = None
    if house.width > 12 and rng.random() < 0.5:
        wide, y = float(rng.uniform(2.9, 3.4)), float(rng.uniform(0.8, min(4.0, house.depth - 6.1)))
        levels = np.array([0.0, float(rng.uniform(2.5, 2.9))])
        if rng.random() < 0.5:
            garage, x0 = Block(x0, x0 + wide + LAP_M, y, y + 6, levels), x0 + wide
        else:
            garage, x1 = Block(x1 - wide - LAP_M, x1, y, y + 6, levels), x1 - wide
    wing_at = rng.choice(["none", "street", "garden"], p=[0.48, 0.24, 0.28])
    out = float(rng.uniform(1.2, 3.0))
    y0 = out if wing_at == "street" else 0.0
    y1 = house.depth - out if wing_at == "garden" else house.depth
    main = Block.of(house, (x0, x1), (y0, y1), house.floors)
    wings = []
    if wing_at != "none" and x1 - x0 > 6:
        wide = float(rng.uniform(0.38, 0.52)) * (x1 - x0)
        left = x0 + 0.7 if rng.random() < 0.5 else x1 - 0.7 - wide
        floors = max(1, house.floors - int(rng.random() < 0.4))
        span = (0.0, y0 + LAP_M) if wing_at == "street" else (y1 - LAP_M, house.depth)
        wings.append(Block.of(house, (left, left + wide), span, floors))
    _raise_detached(rng, shell, house, main, wings, garage)


def _raise_detached(
    rng: Rng, shell: Shell, house: House, main: Block, wings: list[Block], garage: Block | None
) -> None:
    blocks = [main, *wings, *([garage] if garage else [])]
    gable_front = not wings and house.roof.shape in ("gable", "half_hip") and rng.random() < 0.45
    is_clad = rng.random() < 0.16

    def others(block: Block) -> list[Block]:
        return [b for b in blocks if b is not block]

    shown = [wall for wall, top in main.pieces("front", others(main)) if top < main.top - 0.01]
    longest = max(wall.length for wall in shown)

    def front(wall: Plane) -> None:
        if wall.length == longest:
            garden_front(rng, shell, wall, house, main.levels)
        else:
            plain_facade(rng, shell, wall, house, main.levels, 0.2)

    raise_walls(rng, shell, house, main, others(main), {"left": 0.5, "right": 0.5, "back": 0.12},
                {"front": front})  # fmt: skip
    axis = "y" if gable_front else "x"
    roof = raise_roof(rng, shell, house, main, house.roof.shape, axis, attic_blank=0.3,
                      is_clad=is_clad)  # fmt: skip
    for wing in wings:
        blank = {"front": 0.1, "left": 0.4, "right": 0.4, "back": 0.1}
        raise_walls(rng, shell, house, wing, others(wing), blank, {})
        _raise_wing_roof(rng, shell, house, main, wing, is_clad)
    if garage:
        raise_garages(rng, shell, house, garage, others(garage), 1)
    for wing in wings:
        if wing.y0 > main.y0 and rng.random() < 0.5:
            x = (wing.x1, main.x1) if main.x1 - wing.x1 > wing.x0 - main.x0 else (main.x0, wing.x0)
            conservatory(shell, (x[0] + 0.05, x[1] - 0.05), main.y1, house.depth - 0.05)
    if roof is not None:
        _dress_roof(rng, shell, house, roof, plain=bool(wings))


def _raise_wing_roof(
    rng: Rng, shell: Shell, house: House, main: Block, wing: Block, is_clad: bool
) -> None:
    """A cross gable that runs into the main roof; a flat roof if its shape does not allow that."""
    if house.roof.shape in ("flat", "shed", "mansard"):
        raise_roof(rng, shell, house, wing, "flat")
        return
    half = (wing.x1 - wing.x0) / 2
    crown = wing.top + half * house.roof.pitch
    into = max(0.15, (crown - main.top) / house.roof.pitch + 0.25)
    into = min(into, (main.y1 - main.y0) / 2)
    reach = (0.0, into) if wing.y0 < main.y0 else (into, 0.0)
    raise_roof(rng, shell, house, wing, "gable", "y", reach, 0.2, is_clad)


def raise_garages(
    rng: Rng, shell: Shell, house: House, block: Block, others: Sequence[Block], count: int
) -> None:
    """Flat-roofed garages in a row, with up-and-over doors."""
    windows = replace(house.windows, surround="", shutters="")
    plain = replace(house, windows=windows, plinth=0.0)

    def front(wall: Plane) -> None:
        openings = Openings.grid(plain, wall.length, block.levels, count)
        roll_up(openings, 2.4, 2.15)
        finish_facade(rng, shell, wall, plain, openings)

    raise_walls(rng, shell, plain, block, others, dict.fromkeys(("left", "right", "back"), 1.0),
                {"front": front})  # fmt: skip
    raise_roof(rng, shell, plain, block, "flat")


def roll_up(openings: Openings, width: float, height: float) -> None:
    """Turn every cell into a garage door at street level."""
    middle = (openings.u0 + openings.u1) / 2
    half = np.minimum(width, openings.u1 - openings.u0 - 0.4) / 2
    openings.kind[:] = Opening.ROLL_UP
    openings.a0[:], openings.a1[:] = middle - half, middle + half
    openings.b0[:] = openings.v0 + 0.01
    openings.b1[:] = np.minimum(openings.v0 + height, openings.v1 - 0.2)
    openings.depth[:] = 0.15


def garden_front(rng: Rng, shell: Shell, wall: Plane, house: House, levels: Array) -> None:
    """A front with an entrance, steps and canopy, and at times balconies."""
    openings = draw_openings(rng, house, wall.length, levels)
    columns = int(openings.column.max()) + 1
    openings.kind[rng.random(len(openings.kind)) < 0.1] = Opening.BLANK
    column = int(rng.integers(columns))
    add_door(openings, house, column, house.plinth)
    if columns > 1 and len(levels) > 2 and rng.random() < 0.4:
        other = int(rng.choice(np.setdiff1d(np.arange(columns), [column])))
        _stack_balconies(rng, shell, wall, house, openings, [other])
    finish_facade(rng, shell, wall, house, openings)
    entrance(rng, shell, wall, openings, house)


def entrance(rng: Rng, shell: Shell, wall: Plane, openings: Openings, house: House) -> None:
    """Steps in front of raised doors, and canopies over most doors."""
    doors = openings.where(openings.kind == Opening.DOOR)
    for a0, a1, b0, b1 in zip(doors.a0, doors.a1, doors.b0, doors.b1, strict=True):
        if b0 > 0.08:
            steps(shell, wall, a0 - 0.2, a1 + 0.2, b0, FOUNDATION_M)
        if rng.random() < 0.7:
            canopy(shell, wall, a0 - 0.4, a1 + 0.4, b1 + 0.12, float(rng.uniform(0.5, 1.2)))


def _stack_balconies(
    rng: Rng, shell: Shell, wall: Plane, house: House, openings: Openings, columns: ArrayLike
) -> None:
    """Balconies at the upper windows of the given columns."""
    upper = np.isin(openings.column, columns) & (openings.v0 > LOWEST_M + 0.2)
    openings.kind[upper] = Opening.WINDOW
    openings.b0[upper] = openings.v0[upper] + 0.05
    o = openings.where(upper)
    railing = "iron" if rng.random() < 0.3 else "parapet"
    balconies(shell, wall, house, np.maximum(o.u0 - 0.2, 0.05),
              np.minimum(o.u1 + 0.2, wall.length - 0.05), o.v0, float(rng.uniform(0.9, 1.45)),
              railing)  # fmt: skip


def _dress_roof(rng: Rng, shell: Shell, house: House, roof: RoofForm, plain: bool) -> None:
    """Add dormers, skylights or solar panels to each slope, chimneys and a satellite dish."""
    run = roof.ridge[1] - 0.9
    for side in (-1, 1):
        chance = rng.random()
        if roof.profile.shape[0] < 3:
            continue
        if plain and side == -1:
            skylights(rng, shell, roof, side, int(rng.integers(0, 3)))
        elif chance < 0.28 and house.roof.pitch > 0.7 and run > 1:
            dormers(rng, shell, roof, house, side, rng.uniform(-0.5, 0.5) + (
                np.array([0.0]) if run < 3 else np.array([-run / 2, run / 2])))  # fmt: skip
        elif chance < 0.62:
            skylights(rng, shell, roof, side, int(rng.integers(1, 5)))
        elif chance < 0.76:
            solar_panels(rng, shell, roof, side)
    if roof.profile.shape[0] > 2:
        chimneys(rng, shell, roof, int(rng.choice([1, 1, 2])))
    if rng.random() < 0.3:
        satellite_dish(rng, shell, roof, int(rng.choice([-1, 1])))


def build_terrace(rng: Rng, shell: Shell, house: House) -> None:
    """A row of similar houses; every other one may be set back or raised."""
    count = max(2, round(house.width / rng.uniform(5.6, 7.2)))
    edges = np.linspace(-house.width / 2, house.width / 2, count + 1)
    set_back = float(rng.choice([0.0, 0.5, 1.2]))
    lift = float(rng.choice([0.0, 0.0, 0.35]))
    roof_style = replace(house.roof, verge=0.03)
    for k in range(count):
        colour = house.finish.colour
        if rng.random() < 0.45:
            colour = tints.wall_colour(rng, Material.PLASTER, 0.6)
        finish = house.finish
        if finish.wall is Material.PLASTER:
            finish = replace(finish, colour=colour, ground_colour=colour)
        unit = replace(house, finish=finish, roof=roof_style, plinth=house.plinth + lift * (k % 2))
        y = set_back * (k % 2)
        x = (float(edges[k]) + 0.05, float(edges[k + 1]) - 0.05)
        block = Block.of(unit, x, (y, house.depth - 1.2 + y), house.floors)
        outer = {"left": 0.5 if k == 0 else 1.0, "right": 0.5 if k == count - 1 else 1.0}
        front = partial(garden_front, rng, shell, house=unit, levels=block.levels)
        raise_walls(rng, shell, unit, block, [], {**outer, "back": 0.05}, {"front": front})
        roof = raise_roof(rng, shell, unit, block, house.roof.shape, attic_blank=1.0)
        if roof is not None:
            _dress_roof(rng, shell, unit, roof, plain=True)


def build_slab(rng: Rng, shell: Shell, house: House) -> None:
    """A post-war block of flats: stairwells with entrances, stacks of balconies."""
    half = house.width / 2 - _EDGE_M
    recess = float(rng.choice([0.0, 1.2]))
    block = Block.of(house, (-half, half), (0.0, house.depth - recess), house.floors)
    stairs = max(1, int(house.width / 12))

    def front(wall: Plane) -> None:
        openings = draw_openings(rng, house, wall.length, block.levels)
        columns = int(openings.column.max()) + 1
        at = ((np.arange(stairs) + 0.5) / stairs * columns).astype(int)
        for column in at:
            add_door(openings, house, int(column), house.plinth)
        stairwell = np.isin(openings.column, at) & (openings.floor > 0)
        middle = (openings.u0 + openings.u1) / 2
        openings.a0[stairwell], openings.a1[stairwell] = (middle - 0.6)[stairwell], (middle + 0.6)[
            stairwell]  # fmt: skip
        free = np.setdiff1d(np.arange(columns), np.concatenate([at, at - 1, at + 1]))
        style = rng.choice(["none", "loggias", "balconies"], p=[0.35, 0.3, 0.35])
        if style == "balconies":
            _stack_balconies(rng, shell, wall, house, openings, free[::2])
        elif style == "loggias":
            loggias(shell, wall, house, openings, np.isin(openings.column, free[::2]))
        finish_facade(rng, shell, wall, house, openings)
        entrance(rng, shell, wall, openings, house)

    raise_walls(
        rng, shell, house, block, [], {"left": 0.6, "right": 0.6, "back": 0.02}, {"front": front}
    )
    roof = raise_roof(rng, shell, house, block, house.roof.shape, attic_blank=0.4)
    if roof is not None:
        _dress_roof(rng, shell, house, roof, plain=True)
