"""Villas of the park: large old houses with risalits, bays and corner towers."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from scmpr_ros.town.buildings.bays import bay, tower
from scmpr_ros.town.buildings.blocks import LAP_M, Block, raise_roof, raise_walls
from scmpr_ros.town.buildings.dwellings import garden_front
from scmpr_ros.town.buildings.facades import band
from scmpr_ros.town.buildings.faces import Shell
from scmpr_ros.town.buildings.house_styles import House
from scmpr_ros.town.buildings.roof_details import chimneys, dormers

Rng = np.random.Generator


def build_villa(rng: Rng, shell: Shell, house: House) -> None:
    """A large old house with a gabled risalit, at times with a bay or a corner tower."""
    half = house.width / 2 - house.roof.eave - 0.14
    out = float(rng.uniform(0.8, 2.0))
    main = Block.of(house, (-half, half), (out, house.depth), house.floors)
    wide = house.width * float(rng.uniform(0.28, 0.36))
    middle = float(rng.choice([0.0, 0.14])) * house.width
    risalit = Block.of(
        house, (middle - wide / 2, middle + wide / 2), (0.0, out + LAP_M), house.floors
    )
    towers = [_corner_tower(rng, shell, house, main)] if rng.random() < 0.3 else []
    blank = {"front": 0.05, "left": 0.25, "right": 0.25, "back": 0.08}
    raise_walls(rng, shell, house, main, [risalit, *towers], blank, {})
    front = partial(garden_front, rng, shell, house=house, levels=risalit.levels)
    raise_walls(rng, shell, house, risalit, [main], {"left": 1.0, "right": 1.0}, {"front": front})
    for block, others in ((main, [risalit, *towers]), (risalit, [main])):
        for wall, hidden in block.pieces("front", others):
            if hidden == 0:
                band(shell, wall, house, float(block.levels[1]) - 0.1, 0.16, 0.06)
    roof = raise_roof(rng, shell, house, main, house.roof.shape, attic_blank=0.3)
    gable = replace(house, roof=replace(house.roof, shape="gable"))
    into = min((main.y1 - main.y0) / 2, wide / 2 + 0.4)
    raise_roof(rng, shell, gable, risalit, "gable", "y", (0.0, into), 0.0)
    if not towers and rng.random() < 0.35:
        bay(rng, shell, main.wall("right"), house, 2.0, 4.6, main.levels[1:] - 0.4)
    if roof is not None:
        if roof.ridge[1] > 2.5:
            s = np.array([-1.0, 1.0]) * min(roof.ridge[1] - 0.8, wide / 2 + 1.6)
            dormers(rng, shell, roof, house, 1, s)
        chimneys(rng, shell, roof, 2)


def _corner_tower(rng: Rng, shell: Shell, house: House, main: Block) -> Block:
    """Build a square tower around a front corner, higher than the eaves; returns its block."""
    size, x, y = 3.2, main.x0 - house.roof.eave - 0.12, main.y0 - house.roof.eave - 0.12
    plan = np.array([[x, y], [x + size, y], [x + size, y + size], [x, y + size], [x, y]])
    levels = np.append(house.levels(house.floors)[1:], house.eaves + 2.8)
    tower(rng, shell, house, plan, levels, float(rng.uniform(2.5, 4.5)))
    return Block(x, x + size, y, y + size, levels)
