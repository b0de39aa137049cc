"""Styles of buildings by kind: size, walls, windows, roof and colours."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.town.buildings import tints
from scmpr_ros.town.materials import Material
from scmpr_ros.town.textures.pictures import picture_cells

Array = NDArray[np.float64]
Rng = np.random.Generator
Choice = TypeVar("Choice")


class Kind(Enum):
    """Kinds of buildings."""

    TENEMENT = auto()
    DETACHED = auto()
    TERRACE = auto()
    SLAB = auto()
    HALL = auto()
    MARKET = auto()
    VILLA = auto()
    CHURCH = auto()
    SCHOOL = auto()
    KIOSK = auto()


@dataclass(frozen=True)
class Finish:
    """Materials and colours, linear albedo (3,). The ground floor may differ from the others."""

    wall: Material
    colour: Array
    ground_wall: Material
    ground_colour: Array
    plinth_colour: Array
    trim_colour: Array
    accent_colour: Array


@dataclass(frozen=True)
class Windows:
    """Windows of a house. Lengths in metres.

    pitch: distance between columns. recess: depth of the panes behind the wall. surround: "",
    "plain", "lintel" or "pediment". shutters: "", "roller" or "folding". cell: picture that most of
    them show.
    """

    width: float
    height: float
    pitch: float
    recess: float
    surround: str
    shutters: str
    cell: tuple[int, int]


@dataclass(frozen=True)
class Roof:
    """Roof of a house.

    shape: "gable", "hip", "half_hip", "mansard", "shed", "saw_tooth" or "flat". pitch: rise over
    run of its slopes, not used by mansards. eave, verge: overhang in metres along the ridge and at
    the gables.
    """

    shape: str
    pitch: float
    colour: Array
    eave: float
    verge: float


@dataclass(frozen=True)
class House:
    """Parameters of one building. Lengths in metres.

    width, depth: plan, beyond which only eaves, bays, balconies and steps project.
    """

    kind: Kind
    width: float
    depth: float
    floors: int
    ground_height: float
    floor_height: float
    plinth: float
    finish: Finish
    windows: Windows
    roof: Roof

    @property
    def eaves(self) -> float:
        """Height of the walls above street level."""
        return float(self.levels(self.floors)[-1])

    def levels(self, floors: int) -> Array:
        """Heights (floors + 1,) of the floors above street level and of the ceiling above them."""
        steps = [self.ground_height, *[self.floor_height] * (floors - 1)]
        return self.plinth + np.concatenate([[0.0], np.cumsum(steps)])


@dataclass(frozen=True)
class _Recipe:
    """Ranges and shares to draw a building of one kind from; `white`: share of white walls."""

    width: tuple[float, float]
    depth: tuple[float, float]
    floors: dict[int, float]
    ground_height: tuple[float, float]
    floor_height: tuple[float, float]
    plinth: tuple[float, float]
    walls: dict[Material, float]
    white: float
    window: tuple[tuple[float, float], tuple[float, float]]
    margin: tuple[float, float]
    recess: tuple[float, float]
    surrounds: dict[str, float]
    shutters: dict[str, float]
    roofs: dict[str, float]
    pitch: tuple[float, float]


_PLAIN = {"": 1.0}
_PLASTERED = {Material.PLASTER: 0.94, Material.BRICK: 0.06}
_RECIPES: dict[Kind, _Recipe] = {
    Kind.TENEMENT: _Recipe(
        (10, 20), (10, 13.5), {3: 0.3, 4: 0.42, 5: 0.24, 6: 0.04}, (3.5, 4.3), (3.1, 3.6),
        (0.35, 1.0), {Material.PLASTER: 0.62, Material.BRICK: 0.14, Material.STONE: 0.24}, 0.22,
        ((0.95, 1.3), (1.75, 2.15)), (1.1, 1.8), (0.16, 0.3),
        {"": 0.12, "plain": 0.38, "lintel": 0.25, "pediment": 0.25}, {"": 0.85, "folding": 0.15},
        {"gable": 0.42, "mansard": 0.43, "flat": 0.15}, (0.75, 1.1)),
    Kind.DETACHED: _Recipe(
        (9, 16), (9, 13), {1: 0.34, 2: 0.54, 3: 0.12}, (2.6, 2.9), (2.6, 2.8), (0.15, 0.7),
        _PLASTERED, 0.66, ((1.0, 1.5), (1.1, 1.4)), (1.2, 2.6), (0.1, 0.2),
        {"": 0.85, "plain": 0.15}, {"": 0.15, "roller": 0.67, "folding": 0.18},
        {"gable": 0.68, "hip": 0.13, "half_hip": 0.11, "shed": 0.03, "flat": 0.05}, (0.5, 1.15)),
    Kind.TERRACE: _Recipe(
        (17, 30), (9, 11.5), {2: 0.8, 3: 0.2}, (2.6, 2.8), (2.6, 2.75), (0.15, 0.6),
        _PLASTERED, 0.6, ((1.0, 1.4), (1.1, 1.4)), (1.0, 1.8), (0.1, 0.18),
        {"": 1.0}, {"": 0.2, "roller": 0.8}, {"gable": 0.85, "shed": 0.07, "flat": 0.08},
        (0.5, 0.9)),
    Kind.SLAB: _Recipe(
        (22, 38), (10, 12.5), {3: 0.2, 4: 0.5, 5: 0.3}, (2.75, 2.9), (2.75, 2.85), (0.5, 1.0),
        {Material.PLASTER: 0.85, Material.CONCRETE: 0.15}, 0.6, ((1.1, 1.8), (1.3, 1.45)),
        (1.1, 1.8), (0.1, 0.2), {"": 1.0}, {"": 0.4, "roller": 0.6},
        {"flat": 0.5, "gable": 0.35, "hip": 0.15}, (0.4, 0.6)),
    Kind.HALL: _Recipe(
        (18, 40), (15, 30), {1: 1.0}, (5.0, 9.5), (3.2, 3.6), (0.25, 0.8),
        {Material.CORRUGATED: 0.62, Material.CONCRETE: 0.2, Material.BRICK: 0.1,
         Material.PLASTER: 0.08}, 0.7, ((2.2, 4.0), (0.9, 1.5)), (0.5, 1.6), (0.06, 0.15),
        _PLAIN, _PLAIN, {"gable": 0.35, "flat": 0.35, "saw_tooth": 0.18, "shed": 0.12},
        (0.08, 0.22)),
    Kind.MARKET: _Recipe(
        (24, 40), (20, 30), {1: 1.0}, (4.4, 5.6), (3.2, 3.6), (0.2, 0.3),
        {Material.PLASTER: 0.5, Material.BRICK: 0.25, Material.CORRUGATED: 0.25}, 0.7,
        ((2.4, 3.4), (2.6, 3.0)), (0.15, 0.4), (0.15, 0.3), _PLAIN, _PLAIN,
        {"flat": 0.6, "hip": 0.15, "gable": 0.25}, (0.25, 0.42)),
    Kind.VILLA: _Recipe(
        (12, 17), (11, 15), {2: 0.7, 3: 0.3}, (3.2, 3.7), (3.0, 3.4), (0.5, 0.72),
        {Material.PLASTER: 0.75, Material.STONE: 0.12, Material.BRICK: 0.13}, 0.4,
        ((1.0, 1.35), (1.6, 2.0)), (1.2, 2.0), (0.14, 0.24), {"plain": 0.5, "lintel": 0.5},
        {"": 0.5, "folding": 0.5}, {"hip": 0.45, "mansard": 0.3, "half_hip": 0.1, "gable": 0.15},
        (0.65, 1.05)),
    Kind.CHURCH: _Recipe(
        (10, 14), (20, 28), {1: 1.0}, (6.5, 9.5), (3.2, 3.6), (0.5, 1.0),
        {Material.STONE: 0.6, Material.PLASTER: 0.3, Material.BRICK: 0.1}, 0.8,
        ((1.1, 1.5), (3.6, 4.6)), (1.6, 2.4), (0.3, 0.45), {"plain": 1.0}, _PLAIN, {"gable": 1.0},
        (0.95, 1.35)),
    Kind.SCHOOL: _Recipe(
        (28, 42), (12, 16), {2: 0.45, 3: 0.55}, (3.4, 3.8), (3.4, 3.7), (0.3, 0.8),
        {Material.PLASTER: 0.55, Material.BRICK: 0.3, Material.CONCRETE: 0.15}, 0.45,
        ((1.9, 2.6), (1.6, 2.0)), (0.5, 1.0), (0.12, 0.22), {"": 0.7, "plain": 0.3}, _PLAIN,
        {"flat": 0.5, "gable": 0.25, "hip": 0.25}, (0.45, 0.75)),
    Kind.KIOSK: _Recipe(
        (3.2, 5.2), (2.6, 4.0), {1: 1.0}, (2.7, 3.0), (2.7, 3.0), (0.12, 0.2),
        {Material.PLASTER: 0.4, Material.WOOD: 0.35, Material.METAL: 0.25}, 0.4,
        ((1.2, 2.0), (1.1, 1.3)), (0.3, 0.5), (0.08, 0.12), _PLAIN, _PLAIN,
        {"flat": 0.6, "hip": 0.4}, (0.35, 0.6)),
}  # fmt: skip


def draw_kind(rng: Rng, kind: Kind) -> House:
    """Draw a building of one kind."""
    recipe = _RECIPES[kind]
    width, height = (float(rng.uniform(*extent)) for extent in recipe.window)
    shape = _choose(rng, recipe.roofs)
    is_terraced = kind is Kind.TENEMENT
    return House(
        kind=kind,
        width=float(rng.uniform(*recipe.width)),
        depth=float(rng.uniform(*recipe.depth)),
        floors=_choose(rng, recipe.floors),
        ground_height=float(rng.uniform(*recipe.ground_height)),
        floor_height=float(rng.uniform(*recipe.floor_height)),
        plinth=float(rng.uniform(*recipe.plinth)),
        finish=_draw_finish(rng, kind, recipe),
        windows=Windows(
            width=width,
            height=height,
            pitch=width + float(rng.uniform(*recipe.margin)),
            recess=float(rng.uniform(*recipe.recess)),
            surround=_choose(rng, recipe.surrounds),
            shutters=_choose(rng, recipe.shutters),
            cell=tuple(rng.choice(picture_cells(Material.WINDOW)).tolist()),
        ),
        roof=Roof(
            shape=shape,
            pitch=float(rng.uniform(*recipe.pitch)),
            colour=tints.shade(rng, tints.ROOFS),
            eave=float(rng.uniform(0.28, 0.44)),
            verge=0.03 if is_terraced else float(rng.uniform(0.1, 0.5)),
        ),
    )


def _choose(rng: Rng, odds: dict[Choice, float]) -> Choice:
    """Draw a key by its share."""
    shares = np.array(list(odds.values()))
    return list(odds)[rng.choice(len(shares), p=shares / shares.sum())]


def _draw_finish(rng: Rng, kind: Kind, recipe: _Recipe) -> Finish:
    """Draw walls of one material; tenements and villas often have a ground floor of stone."""
    wall = _choose(rng, recipe.walls)
    colour = tints.wall_colour(rng, wall, recipe.white)
    ground_wall, ground_colour = wall, colour
    if kind in (Kind.TENEMENT, Kind.VILLA) and wall is not Material.STONE and rng.random() < 0.5:
        ground_wall, ground_colour = Material.STONE, tints.shade(rng, tints.SANDSTONES)
    stone = tints.shade(rng, tints.SANDSTONES[:3])
    is_old = kind in (Kind.TENEMENT, Kind.VILLA, Kind.CHURCH)
    light = np.clip(colour * rng.uniform(1.1, 1.5), 0.05, 0.8)
    return Finish(
        wall=wall,
        colour=colour,
        ground_wall=ground_wall,
        ground_colour=ground_colour,
        plinth_colour=stone if is_old else np.full(3, rng.uniform(0.12, 0.36)),
        trim_colour=stone if is_old and rng.random() < 0.6 else light,
        accent_colour=tints.shade(rng, tints.WOODS if rng.random() < 0.6 else tints.PAINTS),
    )
