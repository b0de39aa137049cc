"""Parked vehicles, bicycles and standing people of one traversal."""

from __future__ import annotations

import numpy as np

from scmpr_ros.town.layout.kerbside import Kerbside, Site, Yard
from scmpr_ros.town.layout.occupancy import rectangle
from scmpr_ros.town.mesh import Mesh
from scmpr_ros.town.quarters import Quarter
from scmpr_ros.town.vehicles.pool import Pool

Rng = np.random.Generator


def place_street_life(rng: Rng, site: Site, pool: Pool) -> Mesh:
    """Place parked vehicles, bicycles and standing people."""
    parts: list[Mesh] = []
    for side in site.kerbsides():
        if side.has_parking:
            parts += _parked_row(rng, side, pool)
        parts += _on_pavement(rng, side, pool)
    for yard in site.yards:
        parts += _in_yard(rng, site, yard, pool)
    return Mesh.join(parts)


def _parked_row(rng: Rng, side: Kerbside, pool: Pool) -> list[Mesh]:
    """Park vehicles in a row along the kerb, with gaps, clear of crossings."""
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


def _on_pavement(rng: Rng, side: Kerbside, pool: Pool) -> list[Mesh]:
    """Place people, and bicycles at the back of the pavement."""
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


def _in_yard(rng: Rng, site: Site, yard: Yard, pool: Pool) -> list[Mesh]:
    """Park vehicles on a grid in a driveway or yard, leaving some places empty."""
    parts = []
    columns = max(1, int(yard.width_m / 2.7))
    rows = max(1, int(yard.length_m / 5.4))
    along = np.array([np.cos(yard.heading_rad), np.sin(yard.heading_rad)])
    across = np.array([-along[1], along[0]])
    for row, column in np.ndindex(rows, columns):
        mesh, length, width = pool.vehicle(rng)
        wrong_way = np.pi if rng.random() < 0.4 else 0.0
        if rng.random() < 0.4 or length > yard.length_m / rows - 0.2 or width > 2.5:
            continue
        xy = yard.centre + ((row + 0.5) / rows - 0.5) * yard.length_m * along
        xy = xy + ((column + 0.5) / columns - 0.5) * yard.width_m * across
        parts.append(site.park(mesh, xy, yard.heading_rad + wrong_way + rng.normal(0, 0.03)))
    return parts
