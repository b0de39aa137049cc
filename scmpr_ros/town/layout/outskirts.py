"""Trees in open land, and houses and woods around the town, which close the view."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.geometry import make_transform, rotation_z
from scmpr_ros.town import plants
from scmpr_ros.town.buildings.buildings import build_house
from scmpr_ros.town.layout.kerbside import Site
from scmpr_ros.town.layout.land_use import draw_plain
from scmpr_ros.town.layout.occupancy import Use, disc
from scmpr_ros.town.mesh import Mesh

Array = NDArray[np.float64]
Rng = np.random.Generator

_DISTANT_TREES = ("linden", "plane", "birch", "poplar", "maple")
_DISTANT_DETAIL = 0.16
_INNER_TREES = 170
_FAR_HOUSES = 44
_WOODS = 150


def plant_outskirts(rng: Rng, site: Site) -> list[Mesh]:
    """Place coarse trees in open land, then houses and woods that hide the horizon."""
    ground = site.ground
    low, size = ground.extent
    parts: list[Mesh] = []
    spots = low + rng.random((4 * _INNER_TREES, 2)) * size
    for spot in spots[ground.beyond_pavement(spots) > 7.0]:
        clear = site.taken.is_free(disc(spot, 3.0, 0.5), Use.BUILDING).all()
        if clear and site.taken.try_claim(disc(spot, 0.6)):
            species = plants.SPECIES[str(rng.choice(_DISTANT_TREES))]
            parts.append(site.stand(plants.tree(rng, species, _DISTANT_DETAIL), spot, 0.0))
        if len(parts) == _INNER_TREES:
            break
    return [*parts, *_far_houses(rng, site), _woods(rng, site)]


def _around(rng: Rng, site: Site, count: int, nearest: float, farthest: float) -> Array:
    """Points (count, 3) around the town, at distances relative to half its size."""
    low, size = site.ground.extent
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False) + rng.normal(0, 0.03, count)
    way = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    # On squares about the town, to fill its corners.
    way /= np.abs(way).max(axis=1, keepdims=True)
    xy = low + size / 2 + rng.uniform(nearest, farthest, (count, 1)) * way * size / 2
    level = site.ground.relief(site.ground.network.crossings).min() - 0.6
    return np.column_stack([xy, np.full(count, level)])


def _far_houses(rng: Rng, site: Site) -> list[Mesh]:
    """Plain houses beyond the town."""
    parts = []
    for foot in _around(rng, site, _FAR_HOUSES, 1.06, 1.35):
        pose = make_transform(rotation_z(rng.uniform(-np.pi, np.pi)), foot)
        house = draw_plain(rng)
        parts.append(build_house(rng, house).transformed(pose))
    return parts


def _woods(rng: Rng, site: Site) -> Mesh:
    """A ring of crowns, each a coarse ellipsoid of leaves."""
    centre = _around(rng, site, _WOODS, 1.03, 1.6) + (0, 0, 4.0)
    spread = [rng.uniform(*limits, _WOODS) for limits in ((6.0, 15.0), (6.0, 15.0), (4.5, 8.5))]
    colour = (0.05, 0.085, 0.03)
    return plants.leaves(rng, centre, np.stack(spread, axis=1), 6500, 3.4, colour, hollow=0.3)
