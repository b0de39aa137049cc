"""Projections over several floors: bay windows, corner turrets and free-standing towers."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scmpr_ros.town.buildings.facades import finish_facade
from scmpr_ros.town.buildings.faces import FOUNDATION_M, Plane, Shell
from scmpr_ros.town.buildings.house_styles import House
from scmpr_ros.town.buildings.openings import Opening, Openings
from scmpr_ros.town.materials import Material

Array = NDArray[np.float64]
Rng = np.random.Generator


def bay(
    rng: Rng, shell: Shell, wall: Plane, house: House, u0: float, u1: float, levels: Array
) -> None:
    """A bay window (Erker), square or chamfered, on a corbel and under a lean-to roof."""
    reach = float(rng.uniform(0.7, 1.15))
    chamfer = float(rng.choice([0.0, 0.75])) * reach
    u = np.array([u0, u0 + chamfer, u1 - chamfer, u1])
    d = np.array([0.0, reach, reach, 0.0])
    _ring_of_walls(rng, shell, house, wall.points(u, 0.0, d)[:, :2], levels, blank=0.0)
    inner = np.clip(u, u0 + 0.25, u1 - 0.25)
    over = np.array([-0.03, reach + 0.12, reach + 0.12, -0.03])
    spread = u + np.array([-0.12, -0.12, 0.12, 0.12])
    low, top = levels[0], levels[-1]
    _strip(shell, wall.points(inner, low - 0.5, -0.03), wall.points(u, low, d), Material.STONE,
           house.finish.trim_colour)  # fmt: skip
    eave, ridge = wall.points(spread, top, over), wall.points(inner, top + 0.8, -0.03)
    _strip(shell, eave, ridge, Material.ROOF_TILES, house.roof.colour)
    shell.quads(eave[None, ::-1], Material.WOOD, house.finish.trim_colour * 0.8)


def _strip(shell: Shell, low: Array, high: Array, material: Material, colour: Array) -> None:
    """Triangles between two lines (K, 3), without degenerate ones."""
    corners = np.concatenate(
        [
            np.stack([low[:-1], low[1:], high[1:]], axis=1),
            np.stack([low[:-1], high[1:], high[:-1]], axis=1),
        ]
    )
    sides = corners - corners[:, [1, 2, 0]]
    shell.triangles(corners[np.abs(sides).sum(axis=2).min(axis=1) > 1e-6], material, colour)


def _ring_of_walls(
    rng: Rng, shell: Shell, house: House, plan: Array, levels: Array, blank: float
) -> None:
    """Walls with windows along a line (K, 2) in plan, the exterior on its right."""
    for start, end in zip(plan[:-1], plan[1:], strict=True):
        wall = Plane.wall(start, end)
        if wall.length < 0.8:
            faces = wall.panels(0, wall.length, levels[0], levels[-1])
            shell.quads(faces, house.finish.wall, house.finish.colour)
            continue
        columns = max(1, int(wall.length / (house.windows.width + 0.5)))
        openings = Openings.grid(house, wall.length, levels, columns)
        openings.kind[rng.random(len(openings.kind)) < blank] = Opening.BLANK
        finish_facade(rng, shell, wall, house, openings)


def polygon(centre: ArrayLike, radius: float, sides: int, turn: float = 0.0) -> Array:
    """The closed plan (sides + 1, 2) of a regular tower, counter-clockwise."""
    angle = turn + (np.arange(sides + 1) % sides) * 2 * np.pi / sides
    return np.asarray(centre) + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def turret(
    rng: Rng, shell: Shell, house: House, centre: tuple[float, float], levels: Array
) -> None:
    """An octagonal turret over a corner of the front, from the first floor to above the eaves."""
    radius = 1.4
    plan = polygon(centre, radius, 8, np.pi / 8)
    _ring_of_walls(rng, shell, house, plan, levels, blank=0.0)
    foot = np.concatenate([plan, np.full((len(plan), 1), levels[0])], axis=1)
    cone(shell, foot, (*centre, levels[0] - 0.9), Material.STONE, house.finish.trim_colour)
    spire(shell, plan, centre, levels[-1], float(rng.uniform(2.2, 4.0)), house.roof.colour)


def spire(
    shell: Shell, plan: Array, centre: tuple[float, float], base: float, height: float,
    colour: Array,
) -> None:  # fmt: skip
    """A pointed roof over a closed plan (K, 2), overhanging by a tenth."""
    eave = np.asarray(centre) + 1.1 * (plan - np.asarray(centre))
    rim = np.concatenate([eave, np.full((len(plan), 1), base - 0.05)], axis=1)
    cone(shell, rim, (*centre, base + height), Material.ROOF_TILES, colour)
    cone(shell, rim, (*centre, base + 0.3), Material.WOOD, colour * 0.6)


def cone(
    shell: Shell, rim: Array, apex: tuple[float, float, float], material: Material, colour: Array
) -> None:
    """Triangles from the points of a closed line (K, 3) to an apex."""
    tip = np.broadcast_to(np.asarray(apex), rim[1:].shape)
    shell.triangles(np.stack([rim[:-1], rim[1:], tip], axis=1), material, colour)


def tower(
    rng: Rng, shell: Shell, house: House, plan: Array, levels: Array, spire_height: float
) -> None:
    """A free-standing tower over a closed plan (K, 2): blind below `levels`, windows above."""
    base = levels[0]
    for start, end in zip(plan[:-1], plan[1:], strict=True):
        wall = Plane.wall(start, end)
        shell.quads(
            wall.panels(0, wall.length, -FOUNDATION_M, base), house.finish.ground_wall,
            house.finish.ground_colour,
        )  # fmt: skip
    _ring_of_walls(rng, shell, house, plan, levels, blank=0.3)
    centre = plan[:-1].mean(axis=0)
    spire(shell, plan, (centre[0], centre[1]), levels[-1], spire_height, house.roof.colour)
