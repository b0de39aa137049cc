"""Tenements of the old town: Wilhelminian fronts in a closed row, firewalls between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.town.buildings.balconies import balconies
from scmpr_ros.town.buildings.bays import bay, turret
from scmpr_ros.town.buildings.blocks import LAP_M, Block, raise_roof, raise_walls
from scmpr_ros.town.buildings.facades import (
    add_door,
    band,
    blind_wall,
    draw_openings,
    finish_facade,
    pilasters,
    plain_facade,
)
from scmpr_ros.town.buildings.faces import Plane, Shell
from scmpr_ros.town.buildings.house_styles import House
from scmpr_ros.town.buildings.openings import Opening, Openings
from scmpr_ros.town.buildings.roof_details import chimneys, dormers, skylights
from scmpr_ros.town.buildings.roofs import RoofForm
from scmpr_ros.town.buildings.shop_fronts import dress_shops, open_gateway, open_shops

Array = NDArray[np.float64]
Rng = np.random.Generator


def build_tenement(rng: Rng, shell: Shell, house: House) -> None:
    """A tenement, often with a central risalit and a wing along the yard."""
    half = house.width / 2 - 0.05  # faces of adjacent houses must not coincide
    has_risalit = house.roof.shape != "flat" and house.width > 12 and rng.random() < 0.5
    risalit = house.roof.eave - 0.12 if has_risalit else 0.0  # stays below the eaves
    has_yard = rng.random() < 0.6
    back = house.depth - (float(rng.uniform(2.5, 4.0)) if has_yard else 0.0)
    main = Block.of(house, (-half, half), (risalit, back), house.floors)
    blocks = [main]
    if has_yard:
        edge = half - float(rng.uniform(0.4, 0.55)) * house.width
        wing = Block.of(house, (edge, half - 0.08), (back - LAP_M, house.depth), house.floors - 1)
        blocks.append(wing)
        raise_walls(rng, shell, house, wing, [main], {"right": 1.0, "left": 0.1, "back": 0.1},
                    {})  # fmt: skip
        raise_roof(rng, shell, house, wing, "flat")
    turret_side = 0 if rng.random() > 0.1 or risalit else int(rng.choice([-1, 1]))
    _fronts(rng, shell, house, main, risalit, turret_side)
    builders: dict[str, Callable[[Plane], None]] = {"front": lambda wall: None}
    if rng.random() < 0.4:  # some exposed firewalls have windows
        bare = replace(house, windows=replace(house.windows, surround="", shutters=""))
        facade = partial(plain_facade, rng, shell, house=bare, levels=main.levels, blank=0.6)
        builders |= {"left": facade, "right": facade}
    blank = {"left": 1.0, "right": 1.0, "back": 0.06}
    raise_walls(rng, shell, house, main, blocks[1:], blank, builders)
    shape = "gable" if house.roof.shape == "flat" and turret_side else house.roof.shape
    roof = raise_roof(rng, shell, house, main, shape, attic_blank=1.0)
    if roof is not None:
        _crown(rng, shell, house, roof, turret_side)
    if turret_side:
        levels = np.append(house.levels(house.floors)[1:], house.eaves + 2.3)
        turret(rng, shell, house, (turret_side * (house.width / 2 - 1.5), 0.3), levels)


def _fronts(
    rng: Rng, shell: Shell, house: House, main: Block, risalit: float, turret_side: int
) -> None:
    """The street front, in one plane or with a projecting middle part."""
    x0, x1 = main.x0, main.x1
    if risalit == 0:
        _front(rng, shell, Plane.wall((x0, 0.0), (x1, 0.0)), house, main.levels, True, turret_side)
        return
    half = house.width * float(rng.uniform(0.15, 0.23))
    for a, b, y in ((x0, -half, risalit), (-half, half, 0.0), (half, x1, risalit)):
        wall = Plane.wall((a, y), (b, y))
        _front(rng, shell, wall, house, main.levels, y == 0, 0)
    for x, low, high in ((-half, risalit, 0.0), (half, 0.0, risalit)):
        blind_wall(shell, Plane.wall((x, low), (x, high)), house, main.levels)


def _front(
    rng: Rng, shell: Shell, wall: Plane, house: House, levels: Array, has_door: bool,
    turret_side: int,
) -> None:  # fmt: skip
    """One plane of the front: shops, entrance, gateway, bays, balconies, courses."""
    openings = draw_openings(rng, house, wall.length, levels)
    columns = int(openings.column.max()) + 1
    is_arcaded = rng.random() < 0.22
    if rng.random() < 0.45:
        open_shops(rng, openings)
    if has_door:
        add_door(openings, house, int(rng.integers(columns)), 0.02)
        if columns > 4 and rng.random() < 0.25:
            column = int(rng.choice([0, columns - 2]))
            openings = open_gateway(openings, column)
    if is_arcaded:
        openings.is_arched |= (openings.floor == 0) & (openings.kind != Opening.BLANK)
    bay_columns = _bay_columns(rng, wall, columns, turret_side)
    behind = np.isin(openings.column, bay_columns) & (openings.floor > 0)
    if turret_side == 0:
        behind &= openings.v1 < levels[-1] - 0.1  # bays end below the top floor
    openings.kind[behind] = Opening.BLANK
    _front_balconies(rng, shell, wall, house, openings, bay_columns)
    finish_facade(rng, shell, wall, house, openings)
    dress_shops(rng, shell, wall, openings)
    if turret_side == 0 and len(bay_columns) and house.floors > 2:
        pitch = wall.length / columns
        u0, u1 = bay_columns[0] * pitch + 0.1, (bay_columns[-1] + 1) * pitch - 0.1
        bay(rng, shell, wall, house, u0, u1, levels[1:-1])
    _courses(rng, shell, wall, house, levels, len(bay_columns) > 0)


def _bay_columns(rng: Rng, wall: Plane, columns: int, turret_side: int) -> NDArray[np.intp]:
    """Columns of the upper floors that a bay or the corner turret covers."""
    pitch = wall.length / columns
    if turret_side:
        count = int(np.ceil(3.1 / pitch))
        return np.arange(count) if turret_side < 0 else np.arange(columns - count, columns)
    if columns < 3 or rng.random() > 0.3:
        return np.arange(0)
    first = int(rng.integers(0, columns - 1))
    return np.arange(first, first + (2 if pitch < 2.4 and first + 2 <= columns else 1))


def _front_balconies(
    rng: Rng,
    shell: Shell,
    wall: Plane,
    house: House,
    openings: Openings,
    taken: NDArray[np.intp],
) -> None:
    """Balconies at one or two columns of windows, which become doors."""
    if rng.random() > 0.45:
        return
    columns = np.setdiff1d(np.unique(openings.column), taken)
    if len(columns) == 0:
        return
    chosen = rng.choice(columns, min(len(columns), int(rng.integers(1, 3))), replace=False)
    upper = np.isin(openings.column, chosen) & (openings.floor > 0) & openings.is_window
    openings.b0[upper] = openings.v0[upper] + 0.06
    o = openings.where(upper)
    railing = "iron" if rng.random() < 0.8 else "parapet"
    wide = np.minimum((o.u1 - o.u0) / 2 - 0.03, (o.a1 - o.a0) / 2 + 0.55)
    middle = (o.a0 + o.a1) / 2
    balconies(shell, wall, house, middle - wide, middle + wide, o.v0 + 0.035,
              float(rng.uniform(0.7, 1.3)), railing)  # fmt: skip


def _courses(
    rng: Rng, shell: Shell, wall: Plane, house: House, levels: Array, has_bay: bool
) -> None:
    """String courses between floors, a cornice under the eaves, pilasters at the ends."""
    eaves = levels[-1]
    if rng.random() < 0.8:
        band(shell, wall, house, eaves - 0.32, 0.3, 0.2)
        band(shell, wall, house, eaves - 0.47, 0.14, 0.1)
    if not has_bay:
        band(shell, wall, house, levels[1] - 0.14, 0.2, 0.09)
        if rng.random() < 0.3:
            for level in levels[2:-1]:
                band(shell, wall, house, level - 0.1, 0.12, 0.07)
    if house.windows.surround and rng.random() < 0.5:
        pilasters(shell, wall, house, levels[1] + 0.07, eaves - 0.48)


def _crown(rng: Rng, shell: Shell, house: House, roof: RoofForm, turret_side: int) -> None:
    """Dormers on both slopes, skylights, chimneys at the firewalls."""
    spacing = house.windows.pitch * float(rng.choice([1.0, 1.5, 2.0]))
    count = max(1, int((house.width - 1.6) / max(spacing, 2.3)))
    s = ((np.arange(count) + 0.5) / count - 0.5) * (house.width - 1.6)
    steep = house.roof.shape == "mansard" or house.roof.pitch > 0.8
    if turret_side:
        s = s[np.abs(s - turret_side * (house.width / 2 - 1.5)) > 2.6]
    for side in (-1, 1):
        if len(s) and steep and rng.random() < 0.85:
            dormers(rng, shell, roof, house, side, s)
        elif house.roof.shape != "mansard" and rng.random() < 0.6:
            skylights(rng, shell, roof, side, count)
    chimneys(rng, shell, roof, int(rng.integers(1, 4)))
