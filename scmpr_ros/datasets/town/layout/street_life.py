"""Where vehicles and people are on one traversal: parked, passing, walking, in yards."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.datasets.town.layout.kerbside import Kerbside, Site
from scmpr_ros.datasets.town.layout.occupancy import rectangle
from scmpr_ros.datasets.town.layout.street_network import Quarter, Street
from scmpr_ros.datasets.town.mesh import Mesh
from scmpr_ros.datasets.town.objects.vehicles import Pool

Array = NDArray[np.float64]
Rng = np.random.Generator

PARKING_LANE_M = 2.1


def place_traffic(rng: Rng, site: Site, is_clear: Callable[[Array], NDArray[np.bool_]]) -> Mesh:
    """Parked and passing vehicles, bicycles and people of one traversal.

    is_clear: tells for points (N, 2) whether a passing vehicle may be there, so that nothing stands
    in the way of the drive.
    """
    parts: list[Mesh] = []
    pool = Pool(rng)
    for side in site.kerbsides():
        if side.has_parking:
            parts += _parked_row(rng, side, pool)
        parts += _passing(rng, side, pool, is_clear)
        parts += _on_pavement(rng, side, pool)
    for street in site.streets:
        if street.quarter is not Quarter.OLD_TOWN:
            parts += _in_yards(rng, site, street, pool)
    return Mesh.join(parts)


def _parked_row(rng: Rng, side: Kerbside, pool: Pool) -> list[Mesh]:
    """Cars nose to tail along the kerb, with gaps, clear of the crossings."""
    parts = []
    site, corner = side.site, side.street.half_width_m + 8.0
    occupied = rng.uniform(0.45, 0.95)
    s, end = corner, side.length_m - (corner if side.street.end >= 0 else 2.0)
    while s < end:
        mesh, length, width = pool.vehicle(rng)
        if rng.random() < occupied:
            xy, heading = side.at(s + length / 2, -width / 2 - rng.uniform(0.1, 0.28))
            wrong_way = np.pi if rng.random() < 0.12 else 0.0
            yaw = side.along_traffic(float(heading[0])) + wrong_way + rng.normal(0, 0.02)
            plan = rectangle(xy[0], yaw, length, width)
            if site.ground.beyond_kerb(plan).max() < 0.1 and site.taken.try_claim(plan):
                parts.append(site.park(mesh, xy[0], yaw))
        s += length + rng.uniform(0.5, 1.6)
    return parts


def _passing(
    rng: Rng, side: Kerbside, pool: Pool, is_clear: Callable[[Array], NDArray[np.bool_]]
) -> list[Mesh]:
    """Vehicles and cyclists in their lane, away from the drive."""
    parts = []
    site, half_width = side.site, side.street.half_width_m
    lane = half_width - (PARKING_LANE_M if side.has_parking else 0.0)
    for s in side.spread(rng, 8, 45):
        xy, heading = side.at(float(s), max(0.9, lane / 2) - half_width)
        yaw = side.along_traffic(float(heading[0]))
        on_bike = rng.random() < 0.25
        mesh, length, width = (pool.cyclist(rng), 1.9, 0.6) if on_bike else pool.vehicle(rng)
        plan = rectangle(xy[0], yaw, length, width)
        on_road = site.ground.beyond_kerb(plan).max() < -0.1
        if on_road and is_clear(plan).all() and site.taken.try_claim(plan):
            parts.append(site.park(mesh, xy[0], yaw))
    return parts


def _on_pavement(rng: Rng, side: Kerbside, pool: Pool) -> list[Mesh]:
    """People walking, and bicycles at the walls."""
    parts: list[Mesh] = []
    busy = 2.0 if side.quarter is Quarter.OLD_TOWN else 0.7
    for s in side.spread(rng, 2, 40 / busy):
        beyond = rng.uniform(0.4, max(0.5, side.pavement_m - 0.3))
        turn = float(rng.choice([0.0, np.pi]) + rng.normal(0, 0.3))
        parts += side.stand(rng, float(s), beyond, pool.person, 0.3, turn)
    for s in side.spread(rng, 2, 60 / busy):
        for i in range(rng.integers(1, 5)):
            beyond, turn = max(0.9, side.pavement_m - 0.9), np.pi / 2 + rng.normal(0, 0.12)
            parts += side.stand(rng, float(s) + 0.75 * i, beyond, pool.bicycle, 0.35, turn)
    return parts


def _in_yards(rng: Rng, site: Site, street: Street, pool: Pool) -> list[Mesh]:
    """Cars on driveways."""
    parts = []
    for s in rng.uniform(4, street.length_m - 4, rng.poisson(street.length_m / 30)):
        side = Kerbside(site, street, int(rng.choice([-1, 1])))
        xy, heading = side.at(float(s), side.pavement_m + rng.uniform(3, 5))
        yaw = float(heading[0]) + np.pi / 2 + rng.choice([0, np.pi]) + rng.normal(0, 0.05)
        mesh, length, width = pool.vehicle(rng)
        plan = rectangle(xy[0], yaw, length + 0.3, width + 0.3)
        if site.ground.beyond_pavement(plan).min() > 0.2 and site.taken.try_claim(plan):
            parts.append(site.park(mesh, xy[0], yaw))
    return parts
