"""Small buildings: garages, carports, sheds, transformer huts and kiosks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.town.buildings import tints
from scmpr_ros.town.buildings.blocks import Block, raise_roof, raise_walls
from scmpr_ros.town.buildings.dwellings import raise_garages
from scmpr_ros.town.buildings.facades import finish_facade
from scmpr_ros.town.buildings.faces import FOUNDATION_M, Plane, Shell
from scmpr_ros.town.buildings.house_styles import Finish, House, Kind, draw_kind
from scmpr_ros.town.buildings.landmarks import build_kiosk
from scmpr_ros.town.buildings.openings import Opening, Openings
from scmpr_ros.town.materials import Material
from scmpr_ros.town.mesh import Mesh

Array = NDArray[np.float64]
Rng = np.random.Generator


def outbuilding(rng: Rng, kind: str) -> tuple[Mesh, float, float]:
    """Build an outbuilding in its own frame, as in `build_house`; returns mesh, width and depth.

    kind: one of `OUTBUILDINGS`.
    """
    shell = Shell()
    width, depth = OUTBUILDINGS[kind](rng, shell)
    return shell.mesh(), width, depth


def _plain_house(rng: Rng, width: float, depth: float, wall: Material, colour: Array) -> House:
    """A house style without plinth, trim and separate ground floor."""
    house = draw_kind(rng, Kind.KIOSK)
    accent = tints.shade(rng, tints.WOODS if rng.random() < 0.5 else tints.PAINTS)
    finish = Finish(wall, colour, wall, colour, np.full(3, 0.25), colour, accent)
    return replace(house, width=width, depth=depth, plinth=0.0, finish=finish)


def _garages(rng: Rng, shell: Shell, count: int) -> tuple[float, float]:
    width, depth = count * float(rng.uniform(2.9, 3.3)), float(rng.uniform(5.6, 6.4))
    wall = Material.PLASTER if rng.random() < 0.7 else Material.CONCRETE
    house = _plain_house(rng, width, depth, wall, tints.wall_colour(rng, wall, 0.7))
    levels = np.array([0.0, float(rng.uniform(2.5, 2.8))])
    block = Block(-width / 2 + 0.04, width / 2 - 0.04, 0.05, depth - 0.05, levels)
    raise_garages(rng, shell, house, block, (), count)
    return width, depth


def _garage(rng: Rng, shell: Shell) -> tuple[float, float]:
    return _garages(rng, shell, 1)


def _garage_row(rng: Rng, shell: Shell) -> tuple[float, float]:
    return _garages(rng, shell, int(rng.integers(2, 7)))


def _carport(rng: Rng, shell: Shell) -> tuple[float, float]:
    """A carport: posts, a beam and a flat roof, open on all sides."""
    width, depth = float(rng.uniform(3.0, 5.8)), float(rng.uniform(5.0, 5.8))
    height, half = float(rng.uniform(2.25, 2.6)), width / 2
    wood = tints.shade(rng, tints.WOODS)
    x, y = np.meshgrid([-half + 0.15, half - 0.15], np.linspace(0.3, depth - 0.3, 3))
    foot = np.stack([x.ravel(), y.ravel(), np.full(6, -FOUNDATION_M)], axis=1)
    top = np.stack([x.ravel(), y.ravel(), np.full(6, height)], axis=1)
    post = np.array([0.06, 0.06, 0.0])
    shell.boxes(foot - post, top + post, Material.WOOD, wood)
    shell.boxes([[-half + 0.02, 0.02, height - 0.02]], [[half - 0.02, depth - 0.02, height + 0.2]],
                Material.WOOD, wood)  # fmt: skip
    shell.boxes([[-half, 0, height + 0.19]], [[half, depth, height + 0.24]], Material.ROOF_FLAT,
                np.full(3, 0.2))  # fmt: skip
    return width, depth


def _shed(rng: Rng, shell: Shell) -> tuple[float, float]:
    """A garden shed of boards with a door and a small window."""
    width, depth = float(rng.uniform(2.2, 4.2)), float(rng.uniform(1.9, 3.2))
    house = _plain_house(rng, width, depth, Material.WOOD, tints.shade(rng, tints.WOODS))
    roof = replace(house.roof, pitch=float(rng.uniform(0.25, 0.6)), eave=0.15, verge=0.15)
    house = replace(house, roof=roof, windows=replace(house.windows, width=0.6, height=0.6))
    levels = np.array([0.0, float(rng.uniform(1.95, 2.25))])
    block = Block(-width / 2 + 0.1, width / 2 - 0.1, 0.1, depth - 0.1, levels)

    def front(wall: Plane) -> None:
        openings = Openings.grid(house, wall.length, levels, 2)
        openings.kind[0] = Opening.DOOR
        openings.a0[0], openings.a1[0] = 0.15, 0.95
        openings.b0[0], openings.b1[0] = 0.03, levels[1] - 0.12
        finish_facade(rng, shell, wall, house, openings)

    _close(rng, shell, house, block, front, str(rng.choice(["gable", "shed", "flat"])))
    return width, depth


def _transformer_hut(rng: Rng, shell: Shell) -> tuple[float, float]:
    """A substation: a low box of concrete, or an old slender tower of plaster."""
    is_tower = rng.random() < 0.3
    width, depth = float(rng.uniform(2.6, 3.4)), float(rng.uniform(2.4, 3.4))
    height = float(rng.uniform(6.0, 8.0) if is_tower else rng.uniform(2.3, 2.7))
    wall = Material.PLASTER if is_tower else Material.CONCRETE
    house = _plain_house(rng, width, depth, wall, tints.wall_colour(rng, wall, 0.5))
    house = replace(house, roof=replace(house.roof, pitch=0.7, eave=0.2, verge=0.1))
    levels = np.array([0.0, height])
    block = Block(-width / 2 + 0.05, width / 2 - 0.05, 0.05, depth - 0.05, levels)

    def front(wall: Plane) -> None:
        openings = Openings.grid(house, wall.length, levels, 1)
        openings.kind[:] = Opening.ROLL_UP  # two leaves of louvred steel
        openings.a0[:], openings.a1[:] = wall.length / 2 - 0.75, wall.length / 2 + 0.75
        openings.b0[:], openings.b1[:] = 0.06, 2.1
        finish_facade(rng, shell, wall, house, openings)

    _close(rng, shell, house, block, front, "hip" if is_tower else "flat")
    return width, depth


def _close(
    rng: Rng, shell: Shell, house: House, block: Block, front: Callable[[Plane], None], shape: str
) -> None:
    """Build the front, blind walls on the other sides, and the roof."""
    blind = dict.fromkeys(("left", "right", "back"), 1.0)
    raise_walls(rng, shell, house, block, (), blind, {"front": front})
    raise_roof(rng, shell, house, block, shape, attic_blank=1.0)


def _kiosk(rng: Rng, shell: Shell) -> tuple[float, float]:
    house = draw_kind(rng, Kind.KIOSK)
    build_kiosk(rng, shell, house)
    return house.width, house.depth


OUTBUILDINGS: dict[str, Callable[[Rng, Shell], tuple[float, float]]] = {
    "garage": _garage,
    "garage_row": _garage_row,
    "carport": _carport,
    "shed": _shed,
    "transformer_hut": _transformer_hut,
    "kiosk": _kiosk,
}
"""What `outbuilding` can build, by name."""
