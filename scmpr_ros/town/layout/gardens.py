"""Plants in front gardens, back gardens and open land."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.town import plants
from scmpr_ros.town.layout.kerbside import Frontage, Kerbside, Plot, Site, Span
from scmpr_ros.town.layout.occupancy import Use, disc
from scmpr_ros.town.mesh import Mesh
from scmpr_ros.town.quarters import Quarter

Array = NDArray[np.float64]
Rng = np.random.Generator


@dataclass(frozen=True)
class Plant:
    """A plant: its builder, the radius it occupies, and its distance from walls, in metres."""

    build: Callable[[Rng], Mesh]
    radius_m: float
    from_wall_m: float


def _tree(*species: str) -> Callable[[Rng], Mesh]:
    return lambda rng: plants.tree(rng, plants.SPECIES[str(rng.choice(species))], 0.8)


PLANTS: dict[str, Plant] = {
    "bush": Plant(lambda rng: plants.bush(rng, rng.uniform(0.5, 0.8)), 0.6, 0.7),
    "flowers": Plant(lambda rng: plants.flower_bed(rng, rng.uniform(0.4, 0.8)), 0.8, 0.4),
    "shrub": Plant(lambda rng: plants.bush(rng, rng.uniform(0.9, 1.4)), 1.0, 1.2),
    "fruit_tree": Plant(_tree("fruit", "maple"), 0.5, 2.0),
    "tree": Plant(_tree("birch", "maple", "linden"), 0.6, 3.0),
    "conifer": Plant(lambda rng: plants.conifer(rng, 0.8), 1.3, 2.2),
    "old_tree": Plant(_tree("linden", "plane", "linden", "maple"), 0.8, 4.5),
}


@dataclass(frozen=True)
class Planting:
    """Plants per 100 m^2 by name of `PLANTS`.

    front, back: gardens in front of and behind houses. open: land without a house. at_wall: share
    of places along house fronts with a bush. group: how many trees or shrubs of open land stand
    together.
    """

    front: dict[str, float]
    back: dict[str, float]
    open: dict[str, float]
    at_wall: float
    group: tuple[int, int] = (1, 1)


PLANTING: dict[Quarter, Planting] = {
    Quarter.OLD_TOWN: Planting({"bush": 6.0, "shrub": 2.0},
                               {"fruit_tree": 0.4, "tree": 0.5, "shrub": 0.6},
                               {"old_tree": 0.4, "bush": 0.4}, 0.0),
    Quarter.SUBURB: Planting({"flowers": 0.9, "bush": 3.0, "shrub": 1.0, "fruit_tree": 1.2,
                              "conifer": 0.35},
                             {"fruit_tree": 0.9, "tree": 0.4, "conifer": 0.3, "shrub": 1.2},
                             {"tree": 0.4, "shrub": 0.8, "fruit_tree": 0.4}, 0.5),
    Quarter.INDUSTRIAL: Planting({"shrub": 0.5}, {"tree": 0.3, "shrub": 1.0},
                                 {"shrub": 1.6, "bush": 1.4, "tree": 0.3}, 0.1),
    Quarter.PARK: Planting({"bush": 1.5, "shrub": 1.5, "conifer": 0.3, "old_tree": 0.25},
                           {"old_tree": 0.2, "shrub": 1.0, "conifer": 0.2},
                           {"old_tree": 0.15, "shrub": 0.25, "tree": 0.06}, 0.4, (2, 4)),
}  # fmt: skip
_OPEN_DEPTH_M = 26.0
_AT_WALL_PITCH_M = 1.7


def plant_gardens(rng: Rng, frontage: Frontage) -> list[Mesh]:
    """Plant all land along one side of a street."""
    side, planting = frontage.side, PLANTING[frontage.side.quarter]
    parts: list[Mesh] = []
    for plot in frontage.plots:
        parts += _at_wall(rng, side, plot, planting.at_wall)
        front = (frontage.edge_m + 1.0, plot.setback_m - 0.8)
        back = plot.setback_m + plot.house.depth + 1.0
        parts += _scatter(rng, side, plot.land, front, planting.front)
        parts += _scatter(rng, side, plot.land, (back, back + 11.0), planting.back)
    for gap in _between(frontage):
        deep = (frontage.edge_m + 0.8, frontage.edge_m + _OPEN_DEPTH_M)
        parts += _scatter(rng, side, gap, deep, planting.open, planting.group)
    return parts


def _between(frontage: Frontage) -> list[Span]:
    """Stretches along the street between plots."""
    begin, gaps = 4.0, []
    for plot in frontage.plots:
        gaps.append((begin, plot.land[0]))
        begin = plot.land[1]
    gaps.append((begin, frontage.side.length_m - 4.0))
    return [(a, b) for a, b in gaps if b - a > 2.0]


def _at_wall(rng: Rng, side: Kerbside, plot: Plot, share: float) -> list[Mesh]:
    """Plant bushes along the house front."""
    parts: list[Mesh] = []
    half = plot.house.width / 2 - 0.5
    for x in np.arange(-half, half, _AT_WALL_PITCH_M):
        if rng.random() < share:
            parts += set_plant(rng, side.site, plot.at(x, -0.8)[0], "bush")
    return parts


def _scatter(
    rng: Rng, side: Kerbside, along: Span, beyond: Span, density: dict[str, float],
    group: tuple[int, int] = (1, 1),
) -> list[Mesh]:  # fmt: skip
    """Scatter plants over land given by ranges of arc length and distance beyond the kerb."""
    area = (along[1] - along[0]) * (beyond[1] - beyond[0])
    if area <= 0 or along[1] <= along[0]:
        return []
    parts: list[Mesh] = []
    for name, per_100 in density.items():
        count = rng.poisson(area / 100 * per_100)
        spots, _ = side.at(rng.uniform(*along, count), rng.uniform(*beyond, count))
        for spot in spots:
            for _ in range(rng.integers(group[0], group[1] + 1)):
                parts += set_plant(rng, side.site, spot, name)
                spot = spot + rng.normal(0, 4.0, 2)
    return parts


def set_plant(rng: Rng, site: Site, xy: Array, name: str) -> list[Mesh]:
    """Place one plant, if it is off the pavement and has room."""
    plant = PLANTS[name]
    spot = disc(xy, plant.radius_m)
    if site.ground.beyond_pavement(spot).min() < 0.1:
        return []
    if not site.taken.is_free(disc(xy, plant.from_wall_m, 0.5), Use.BUILDING).all():
        return []
    if not site.taken.try_claim(spot):
        return []
    return [site.stand(plant.build(rng), xy, rng.uniform(0, 2 * np.pi))]
