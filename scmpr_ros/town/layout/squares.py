"""A square at a corner of the old town, with trees in rows and houses on its far sides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.town import plants
from scmpr_ros.town.buildings.outbuildings import outbuilding
from scmpr_ros.town.furniture.kerb_guards import bicycle_rack
from scmpr_ros.town.furniture.lamps import street_lamp
from scmpr_ros.town.furniture.seating import bench, cafe_table, planter
from scmpr_ros.town.furniture.shelters import advertising_column
from scmpr_ros.town.layout import surfaces
from scmpr_ros.town.layout.kerbside import Kerbside, Site
from scmpr_ros.town.layout.occupancy import disc
from scmpr_ros.town.mesh import Mesh
from scmpr_ros.town.quarters import Quarter
from scmpr_ros.town.streets.network import Street

Array = NDArray[np.float64]
Rng = np.random.Generator

_TREE_PITCH_M = 6.5
_TREES = ("plane", "linden", "maple")


@dataclass(frozen=True)
class SquareSite:
    """A square between two streets.

    corners: (4, 2) in cyclic order; the first two lie along one street, the first and the last
    along the other.
    """

    corners: Array

    def at(self, u: Array | float, v: Array | float) -> Array:
        """Points (N, 2) at fractions `u` along the first street and `v` along the other."""
        a, b, c, d = self.corners
        u, v = np.reshape(u, (-1, 1)), np.reshape(v, (-1, 1))
        return (1 - u) * (1 - v) * a + u * (1 - v) * b + u * v * c + (1 - u) * v * d

    def far_sides(self, site: Site) -> list[Kerbside]:
        """Kerbsides for houses on the two edges away from the streets, as streets of zero width."""
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
    """An object on squares: builder, radius, and ranges of its count and of `SquareSite.at`."""

    build: Callable[[Rng], Mesh]
    radius_m: float
    count: tuple[int, int]
    u: tuple[float, float] = (0.1, 0.9)
    v: tuple[float, float] = (0.1, 0.9)


ORNAMENTS: tuple[Ornament, ...] = (
    Ornament(lambda rng: outbuilding(rng, "kiosk")[0], 3.4, (0, 1), (0.2, 0.4), (0.2, 0.4)),
    Ornament(advertising_column, 0.75, (1, 1), (0.08, 0.2), (0.08, 0.2)),
    Ornament(cafe_table, 1.2, (3, 9), (0.1, 0.9), (0.7, 0.92)),
    Ornament(bench, 1.1, (4, 7)),
    Ornament(planter, 0.6, (1, 5)),
    Ornament(bicycle_rack, 2.4, (0, 2)),
    Ornament(street_lamp, 0.3, (3, 4)),
)


def find_square(site: Site) -> SquareSite | None:
    """The square of the network, if any, with its first corner at the crossing."""
    if not site.ground.network.squares:
        return None
    plan = site.ground.network.squares[0]
    c, s = np.cos(plan.heading_rad), np.sin(plan.heading_rad)
    local = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * plan.half_m
    return SquareSite(plan.centre + local @ np.array([[c, s], [-s, c]]))


def furnish_square(rng: Rng, site: Site, square: SquareSite) -> list[Mesh]:
    """Place trees in rows and ornaments."""
    parts: list[Mesh] = []
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
            clear = site.ground.beyond_kerb(disc(spot, ornament.radius_m)).min() > 1.0
            if clear and site.taken.try_claim(disc(spot, ornament.radius_m)):
                turn = rng.integers(4) * np.pi / 2
                parts.append(site.stand(ornament.build(rng), spot, float(turn)))
    return parts
