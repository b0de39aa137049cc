"""Placing of plants: street trees, gardens, parks, and woods around the town."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.town import plants
from scmpr_ros.town.layout import surfaces
from scmpr_ros.town.layout.gardens import plant_gardens
from scmpr_ros.town.layout.kerbside import Frontage, Kerbside, Site
from scmpr_ros.town.layout.occupancy import BLOCKED, Use, disc, rectangle
from scmpr_ros.town.layout.outskirts import plant_outskirts
from scmpr_ros.town.materials import Material
from scmpr_ros.town.mesh import Mesh
from scmpr_ros.town.quarters import Quarter

Array = NDArray[np.float64]
Rng = np.random.Generator

TRUNK_M = 0.5
"""Radius reserved for the trunk of a street tree."""
FROM_KERB_M = 0.6
_PIT_PAVEMENT_M = 2.4
"""Pavements wider than this have room for tree pits."""
_FROM_WALL_M = 2.2
_TUFTED_M, _TUFTS_PER_M2 = 10.0, 0.5
"""Distance from pavements up to which lawns have tufts, and their density."""


@dataclass(frozen=True)
class TreeRow:
    """Street trees of a quarter.

    share: share of streets with trees. species: names to choose one from per street. spacing_m:
    range of the distance between trees. gap, young: shares of places without a tree and with a
    sapling. is_double: whether there is a second row.
    """

    share: float
    species: tuple[str, ...]
    spacing_m: tuple[float, float]
    gap: float = 0.1
    young: float = 0.12
    is_double: bool = False


TREE_ROWS: dict[Quarter, TreeRow] = {
    Quarter.OLD_TOWN: TreeRow(0.5, ("linden", "plane", "maple"), (8.0, 13.0)),
    Quarter.SUBURB: TreeRow(0.6, ("linden", "birch", "maple", "plane"), (9.0, 15.0)),
    Quarter.INDUSTRIAL: TreeRow(0.5, ("poplar", "birch", "plane"), (10.0, 16.0), 0.2),
    Quarter.PARK: TreeRow(0.95, ("plane", "linden"), (8.0, 11.0), 0.05, is_double=True),
}


def place_plants(rng: Rng, site: Site) -> Mesh:
    """Place street trees, which are least flexible, then gardens, parks and woods."""
    parts: list[Mesh] = []
    street, species = None, ""
    for frontage in site.frontages:
        rows = TREE_ROWS[frontage.side.quarter]
        if frontage.side.street is not street:  # both sides have the same trees
            street = frontage.side.street
            species = str(rng.choice(rows.species)) if rng.random() < rows.share else ""
        if species:
            parts += _street_trees(rng, frontage, rows, plants.SPECIES[species])
    for frontage in site.frontages:
        parts += plant_gardens(rng, frontage)
    return Mesh.join(parts + plant_outskirts(rng, site))


def tuft_lawns(rng: Rng, surface: Mesh, site: Site) -> Mesh:
    """Tufts of grass and weeds on lawns and verges along the streets.

    surface: mesh of the ground, with its lawns.
    """
    lawn = surface.corners[surface.material == Material.GRASS].astype(np.float64)
    middle = lawn.mean(axis=1)[:, :2]
    beyond = site.ground.beyond_pavement(middle)
    lawn = lawn[(beyond > -6.0) & (beyond < _TUFTED_M)]
    a, b = lawn[:, 1] - lawn[:, 0], lawn[:, 2] - lawn[:, 0]
    area = np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) / 2
    which = np.repeat(np.arange(len(lawn)), rng.poisson(area * _TUFTS_PER_M2))
    u, v = rng.random((2, len(which), 1))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    points = lawn[which, 0] + u * a[which] + v * b[which]
    return plants.grass_tufts(rng, points[site.taken.is_free(points[:, :2], BLOCKED)])


def _street_trees(
    rng: Rng, frontage: Frontage, rows: TreeRow, species: plants.Species
) -> list[Mesh]:
    """Place a row in the verge or in pits on a wide pavement, and a second one in parks."""
    side = frontage.side
    spacing = rng.uniform(*rows.spacing_m)
    s = np.arange(rng.uniform(5, 5 + spacing), side.length_m - 6, spacing)
    s += rng.normal(0, 0.25, len(s))
    parts: list[Mesh] = []
    nearest = FROM_KERB_M + TRUNK_M
    if side.verge_m > nearest:
        parts += _row(rng, side, s, max(side.verge_m / 2, nearest), rows, species)
    elif side.pavement_m - side.verge_m > _PIT_PAVEMENT_M:
        parts += _row(rng, side, s, nearest, rows, species, in_pits=True)
    if parts and rows.is_double:
        parts += _row(rng, side, s + spacing / 2, frontage.edge_m + 4.0, rows, species)
    return parts


def _row(
    rng: Rng, side: Kerbside, s_m: Array, beyond_kerb_m: float, rows: TreeRow,
    species: plants.Species, in_pits: bool = False,
) -> list[Mesh]:  # fmt: skip
    """Place trees at the given arc lengths where there is room."""
    site = side.site
    parts: list[Mesh] = []
    for xy, heading in zip(*side.at(s_m, beyond_kerb_m), strict=True):
        if rng.random() < rows.gap or not _try_claim(site, xy):
            continue
        kind = _sapling(species) if rng.random() < rows.young else species
        parts.append(site.stand(plants.tree(rng, kind), xy, rng.uniform(0, 2 * np.pi)))
        if in_pits:
            pit = rectangle(xy, heading, 1.4, 1.4, 1.4)[[0, 1, 3, 0, 3, 2]].reshape(2, 3, 2)
            parts.append(surfaces.cover(site, pit, "pit"))
    return parts


def _try_claim(site: Site, xy: Array) -> bool:
    """Claim the place of a tree at `xy`; False if kerb, façade or another object is too near."""
    if site.ground.beyond_kerb(xy[None])[0] < FROM_KERB_M + TRUNK_M - 0.05:
        return False
    if not site.taken.is_free(disc(xy, _FROM_WALL_M, 0.5), Use.BUILDING).all():
        return False
    return site.taken.try_claim(disc(xy, TRUNK_M + 0.1))


def _sapling(species: plants.Species) -> plants.Species:
    """The species as newly planted trees."""
    low, high = species.height
    return replace(species, height=(0.4 * low, 0.45 * high), cards=species.cards // 2)
