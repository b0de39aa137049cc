"""A square at a corner of the old town: paving, trees in rows, and houses on its far sides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.datasets.town.layout import surfaces
from scmpr_ros.datasets.town.layout.crossings import Arm, arms
from scmpr_ros.datasets.town.layout.kerbside import Kerbside, Site
from scmpr_ros.datasets.town.layout.occupancy import Use, disc
from scmpr_ros.datasets.town.layout.street_network import Quarter, Street
from scmpr_ros.datasets.town.mesh import Mesh
from scmpr_ros.datasets.town.objects import plants
from scmpr_ros.datasets.town.objects import street_furniture as furniture

Array = NDArray[np.float64]
Rng = np.random.Generator

_SIZE_M = (22.0, 30.0)
_TREE_PITCH_M = 6.5
_TREES = ("plane", "linden", "maple")


@dataclass(frozen=True)
class Square:
    """corners: (4, 2) in order around, the first two along one street, the first and the last along
    the other."""

    corners: Array

    def at(self, u: Array | float, v: Array | float) -> Array:
        """Points (N, 2) at shares `u` along the first street and `v` along the other."""
        a, b, c, d = self.corners
        u, v = np.reshape(u, (-1, 1)), np.reshape(v, (-1, 1))
        return (1 - u) * (1 - v) * a + u * (1 - v) * b + u * v * c + (1 - u) * v * d

    def far_sides(self, site: Site) -> list[Kerbside]:
        """Its two edges away from the streets, as streets without a road that houses can face."""
        edges = (self.corners[1], self.corners[2]), (self.corners[2], self.corners[3])
        middle = self.corners.mean(axis=0)
        sides = []
        for start, end in edges:
            along, inward = end - start, middle - start
            left = along[0] * inward[1] - along[1] * inward[0] > 0
            line = surfaces.between(start, end, 1.0)
            street = Street(line, -1, -1, 0.0, (0.0, 0.0), (False, False), Quarter.OLD_TOWN, False)
            sides.append(Kerbside(site, street, -1 if left else 1))
        return sides


@dataclass(frozen=True)
class Ornament:
    """What stands on squares: its builder, the radius it needs, how many, and where (shares)."""

    build: Callable[[Rng], Mesh]
    radius_m: float
    count: tuple[int, int]
    u: tuple[float, float] = (0.1, 0.9)
    v: tuple[float, float] = (0.1, 0.9)


ORNAMENTS: tuple[Ornament, ...] = (
    Ornament(furniture.advertising_column, 0.75, (1, 1), (0.08, 0.2), (0.08, 0.2)),
    Ornament(furniture.bench, 1.1, (4, 7)),
    Ornament(furniture.street_lamp, 0.3, (3, 4)),
)


def find_square(rng: Rng, site: Site) -> Square | None:
    """Reserve the widest corner between old-town streets, if the town has one with room."""
    best: tuple[float, Arm, Arm] | None = None
    for crossing in range(len(site.ground.network.crossings)):
        found = arms(site, crossing)
        for arm, after in zip(found, found[1:] + found[:1], strict=True):
            angle = (after.heading_rad - arm.heading_rad) % (2 * np.pi)
            old = arm.street.quarter is after.street.quarter is Quarter.OLD_TOWN
            length = min(arm.street.length_m, after.street.length_m)
            if old and length > 60 and angle < 2.2 and (best is None or angle > best[0]):
                best = (angle, arm, after)
    if best is None:
        return None
    square = _between(best[1], best[2], rng.uniform(*_SIZE_M))
    u, v = np.meshgrid(np.linspace(0.0, 0.985, 150), np.linspace(0.0, 0.985, 150))
    site.taken.claim(square.at(u.ravel(), v.ravel()), Use.GARDEN)
    return square


def _between(arm: Arm, after: Arm, size_m: float) -> Square:
    """The parallelogram between the left pavement of one arm and the right one of the next."""
    left, right = arm.left, after.right
    d = np.arange(4.0, 26.0, 0.25)
    line = left.at(np.array([arm.s_m(x) for x in d]), left.pavement_m + 0.2)[0]
    off = arm.site.ground.beyond_pavement(line) > -0.1
    near = d[np.argmax(off)]
    first, second = left.at(
        np.array([arm.s_m(near), arm.s_m(near + size_m)]), left.pavement_m + 0.2
    )[0]
    corner = float(np.linalg.norm(first - arm.street.frame(arm.s_m(0.0))[0][0]))
    reach = np.array([after.s_m(corner), after.s_m(corner + size_m)])
    start, end = right.at(reach, right.pavement_m + 0.2)[0]
    fourth = first + end - start
    return Square(np.stack([first, second, second + end - start, fourth]))


def furnish_square(rng: Rng, site: Site, square: Square) -> list[Mesh]:
    """Paving, trees in rows, benches and the rest."""
    n = 16
    u, v = np.meshgrid(np.linspace(-0.15, 1, n), np.linspace(-0.15, 1, n), indexing="ij")
    grid = square.at(u.ravel(), v.ravel()).reshape(n, n, 2)
    parts = [surfaces.lay(site, surfaces.tiles(grid), "square")]
    species = plants.SPECIES[str(rng.choice(_TREES))]
    size = np.linalg.norm(square.corners[1] - square.corners[0])
    places = np.arange(3.5, size - 3.0, _TREE_PITCH_M) / size
    for a in places:
        for b in places:
            spot = square.at(a, b)[0]
            if rng.random() < 0.85 and site.taken.try_claim(disc(spot, 0.6)):
                parts.append(site.stand(plants.tree(rng, species, 0.8), spot, 0.0))
    for ornament in ORNAMENTS:
        for _ in range(rng.integers(ornament.count[0], ornament.count[1] + 1)):
            spot = square.at(rng.uniform(*ornament.u), rng.uniform(*ornament.v))[0]
            clear = site.ground.beyond_pavement(disc(spot, ornament.radius_m)).min() > 0
            if clear and site.taken.try_claim(disc(spot, ornament.radius_m)):
                turn = rng.integers(4) * np.pi / 2
                parts.append(site.stand(ornament.build(rng), spot, float(turn)))
    return parts
