"""Where trees and bushes grow: rows along streets, gardens, and the woods around the town."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.datasets.town.layout.kerbside import Kerbside, Site
from scmpr_ros.datasets.town.layout.occupancy import disc
from scmpr_ros.datasets.town.layout.street_network import Quarter, Street
from scmpr_ros.datasets.town.mesh import Mesh
from scmpr_ros.datasets.town.objects import plants

Array = NDArray[np.float64]
Rng = np.random.Generator

_ROW_SHARE = {
    Quarter.OLD_TOWN: 0.4, Quarter.SUBURB: 0.4, Quarter.INDUSTRIAL: 0.4, Quarter.PARK: 0.95,
}  # fmt: skip
_PLANTS_PER_M = {
    Quarter.OLD_TOWN: 0.2, Quarter.SUBURB: 0.6, Quarter.INDUSTRIAL: 0.24, Quarter.PARK: 1.0,
}  # fmt: skip
_STREET_TREES = ("linden", "plane", "birch", "poplar", "maple")
_GARDEN_TREES = ("fruit", "fruit", "birch", "maple", "linden")


def place_plants(rng: Rng, site: Site) -> Mesh:
    """Street trees in rows, garden trees and bushes, and a coarse wood all around."""
    parts: list[Mesh] = []
    for street in site.streets:
        species = plants.SPECIES[_STREET_TREES[rng.integers(len(_STREET_TREES))]]
        for side in (1, -1):
            if rng.random() < _ROW_SHARE[street.quarter]:
                parts += _tree_row(rng, Kerbside(site, street, side), species)
    for street in site.streets:
        parts += _gardens(rng, site, street)
    return Mesh.join(parts + _woods(rng, site))


def _tree_row(rng: Rng, side: Kerbside, species: plants.Species) -> list[Mesh]:
    """Trees of one kind at even distances, on a wide pavement or behind it."""
    site = side.site
    on_pavement = side.pavement_m > 2.0 and rng.random() < 0.7
    beyond = 0.7 if on_pavement else side.pavement_m + rng.uniform(0.8, 1.8)
    s = np.arange(rng.uniform(6, 14), side.length_m - 7, rng.uniform(8, 17))
    s = s + rng.normal(0, 0.7, len(s))
    xy, heading = side.at(s, beyond)
    parts = []
    for position, yaw in zip(xy, heading, strict=True):
        if rng.random() < 0.15 or site.ground.beyond_kerb(position[None])[0] < 0.4:
            continue
        if site.taken.try_claim(disc(position, 0.35)):
            tree = plants.tree(rng, species)
            parts.append(site.stand(tree, position, yaw + rng.uniform(0, 6)))
    return parts


def _gardens(rng: Rng, site: Site, street: Street) -> list[Mesh]:
    """Bushes and trees between pavements and houses, denser in green quarters."""
    parts = []
    for _ in range(int(street.length_m * _PLANTS_PER_M[street.quarter])):
        side = Kerbside(site, street, int(rng.choice([-1, 1])))
        beyond = side.pavement_m + rng.uniform(0.7, 14)
        xy, yaw = side.at(rng.uniform(0, street.length_m), beyond)
        is_tree = rng.random() < 0.32
        radius = 1.1 if is_tree else rng.uniform(0.5, 1.3)
        spot = disc(xy[0], radius)
        if site.ground.beyond_pavement(spot).min() < 0.1 or not site.taken.try_claim(spot):
            continue
        plant = _garden_tree(rng) if is_tree else plants.bush(rng, radius)
        parts.append(site.stand(plant, xy[0], float(yaw[0])))
    return parts


def _garden_tree(rng: Rng) -> Mesh:
    if rng.random() < 0.3:
        return plants.conifer(rng, 0.8)
    kind = _GARDEN_TREES[rng.integers(len(_GARDEN_TREES))]
    return plants.tree(rng, plants.SPECIES[kind], 0.8)


def _woods(rng: Rng, site: Site) -> list[Mesh]:
    """Coarse trees in the open land, and masses of leaves around it that hide the horizon."""
    ground = site.ground
    low, size = ground.extent
    positions = low + rng.random((130, 2)) * size
    keep = (ground.beyond_pavement(positions) > 6) & site.taken.is_free(positions)
    linden = plants.SPECIES["linden"]
    parts = [site.stand(plants.tree(rng, linden, 0.22), p, 0.0) for p in positions[keep]]
    count = 90
    angle = rng.uniform(0, 2 * np.pi, count)
    away = size.max() / 2 * rng.uniform(1.05, 1.7, count)
    spots = low + size / 2 + away[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    base = ground.relief(ground.network.crossings).min() - 0.6
    centre = np.column_stack([spots, np.full(count, base + 4)])
    spread = [rng.uniform(*limits, count) for limits in ((6, 16), (6, 16), (5, 9))]
    radius = np.stack(spread, axis=1)
    parts.append(plants.leaves(rng, centre, radius, 5200, 3.4, (0.05, 0.085, 0.03), hollow=0.3))
    return parts
