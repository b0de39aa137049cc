"""Houses behind the first row, which close the views between it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from scmpr_ros.town.buildings.house_styles import House
from scmpr_ros.town.layout.construction import erect, plan
from scmpr_ros.town.layout.kerbside import Site
from scmpr_ros.town.layout.land_use import draw_plain
from scmpr_ros.town.layout.occupancy import Use
from scmpr_ros.town.mesh import Mesh
from scmpr_ros.town.quarters import Quarter

Array = NDArray[np.float64]
Rng = np.random.Generator

_PITCH_M = 19.0
_BUILT_UP = {
    Quarter.OLD_TOWN: 0.8, Quarter.SUBURB: 0.7, Quarter.INDUSTRIAL: 0.5, Quarter.PARK: 0.3,
}  # fmt: skip
"""Share of the land behind the first row that is built on."""
_OFF_STREET_M = 9.0
_OUT_OF_SIGHT_M = 38.0
"""Beyond this distance from the streets only half of the houses are built."""


def place_backland(rng: Rng, site: Site) -> list[Mesh]:
    """Place plain houses off the streets, aligned with the nearest one."""
    low, size = site.ground.extent
    axes = [np.arange(_PITCH_M, extent - _PITCH_M / 2, _PITCH_M) for extent in size]
    spots = np.stack(np.meshgrid(*axes), axis=-1).reshape(-1, 2) + low
    spots += rng.uniform(-3, 3, spots.shape)
    away = site.ground.beyond_pavement(spots)
    open_land = (away > _OFF_STREET_M) & site.taken.is_free(spots, Use.BUILDING | Use.GARDEN)
    away, spots = away[open_land], spots[open_land]
    spots = rng.permutation(spots[(away < _OUT_OF_SIGHT_M) | (rng.random(len(away)) < 0.5)])
    lines = [street.frame(np.arange(0, street.length_m, 4.0)) for street in site.streets]
    owner = np.repeat(np.arange(len(lines)), [len(xy) for xy, _ in lines])
    nearest = cKDTree(np.concatenate([xy for xy, _ in lines])).query(spots)[1]
    heading = np.concatenate([h for _, h in lines])[nearest]
    parts = []
    for spot, street, yaw in zip(spots, owner[nearest], heading, strict=True):
        quarter = site.streets[street].quarter
        if rng.random() < _BUILT_UP[quarter]:
            turned = yaw + rng.integers(4) * np.pi / 2 + rng.normal(0, 0.03)
            parts += _build(rng, site, spot, float(turned), draw_plain(rng))
    return parts


def _build(rng: Rng, site: Site, centre: Array, yaw: float, house: House) -> list[Mesh]:
    """Build a house about `centre` if it is clear of all others and of the streets."""
    front = centre - house.depth / 2 * np.array([-np.sin(yaw), np.cos(yaw)])
    apart = plan(front, yaw, house.width + 5.0, house.depth + 3.0, 0.6)
    if site.ground.beyond_pavement(apart).min() < 4.0:
        return []
    if not site.taken.is_free(apart, Use.BUILDING | Use.GARDEN).all():
        return []
    site.taken.claim(plan(front, yaw, house.width, house.depth), Use.BUILDING)
    return [erect(rng, site, front, yaw, house)[0]]
