"""Paths, driveways with garages, paved yards and sheds of plots."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from scmpr_ros.town.buildings.outbuildings import outbuilding
from scmpr_ros.town.layout import surfaces
from scmpr_ros.town.layout.construction import plan
from scmpr_ros.town.layout.kerbside import Frontage, Kerbside, Plot, Yard
from scmpr_ros.town.layout.land_use import LAND
from scmpr_ros.town.layout.occupancy import BLOCKED, Use, rectangle
from scmpr_ros.town.mesh import Mesh
from scmpr_ros.town.quarters import Quarter

Rng = np.random.Generator
Outbuilding = tuple[Mesh, float, float]


def _outbuildings(**shares: float) -> tuple[tuple[Callable[[Rng], Outbuilding], float], ...]:
    return tuple((partial(outbuilding, kind=kind), share) for kind, share in shares.items())


_GARAGES = _outbuildings(garage=0.7, carport=0.3)
_SHEDS = _outbuildings(shed=1.0)
"""Outbuildings at the end of driveways and in back gardens, with their shares."""
_WITH_GARAGE = {Quarter.SUBURB: 0.6, Quarter.PARK: 0.5}
_WITH_SHED = {
    Quarter.OLD_TOWN: 0.25, Quarter.SUBURB: 0.4, Quarter.INDUSTRIAL: 0.3, Quarter.PARK: 0.3,
}  # fmt: skip


def pave_plots(rng: Rng, frontage: Frontage) -> list[Mesh]:
    """Build paths, driveways, garages, sheds and yards of one side of a street.

    Adds to the site's yards, where vehicles may park.
    """
    parts: list[Mesh] = []
    quarter = frontage.side.quarter
    for plot in frontage.plots:
        covers = LAND[quarter].covers
        kind = covers[rng.integers(len(covers))]
        if quarter is Quarter.INDUSTRIAL:
            parts += _works_yard(frontage, plot, kind)
        else:
            parts += _paths(frontage, plot, kind)
            parts += _driveway(rng, frontage, plot, kind)
        if rng.random() < _WITH_SHED[quarter]:
            parts += _shed(rng, frontage.side, plot)
    if quarter is Quarter.OLD_TOWN and not frontage.has_front_gardens:
        parts.append(_forecourt(frontage))
    return parts


def _paths(frontage: Frontage, plot: Plot, kind: str) -> list[Mesh]:
    """Paths through front gardens to the doors.

    They extend under the house, as straight rows do not follow the street exactly.
    """
    side = frontage.side
    parts = []
    for s in plot.doors_m:
        ends = side.at(np.full(2, s), np.array([side.pavement_m - 0.3, plot.setback_m + 1.5]))[0]
        if plot.setback_m > frontage.edge_m + 0.8:
            quads = surfaces.strip(surfaces.between(ends[0], ends[1]), 1.2)
            parts.append(surfaces.lay(side.site, quads, kind))
    return parts


def _driveway(rng: Rng, frontage: Frontage, plot: Plot, kind: str) -> list[Mesh]:
    """A driveway beside the house, at times with a garage or carport at its end."""
    if plot.drive is None:
        return []
    side = frontage.side
    start, end = plot.drive
    back = plot.setback_m + rng.uniform(0.5, 4.5)
    garage = _outbuilding(rng, side, (start + end) / 2, back, _GARAGES) if (
        rng.random() < _WITH_GARAGE.get(side.quarter, 0.0)) else []  # fmt: skip
    s = np.array([start, (start + end) / 2, end])
    beyond = np.linspace(side.pavement_m - 0.3, back, 2 + int(back / 1.5))
    quads = surfaces.tiles(side.grid(s, beyond))
    (centre,), (heading,) = side.at(s[1], back - 2.6)
    side.site.yards.append(Yard(centre, heading - side.side * np.pi / 2, 5.0, end - start))
    # Keep plants off the driveway.
    flat = side.grid(np.arange(start, end, 0.2), np.arange(plot.setback_m, back, 0.2))
    side.site.taken.claim(flat.reshape(-1, 2), Use.WAY)
    return [surfaces.lay(side.site, quads, kind), *garage]


def _outbuilding(
    rng: Rng, side: Kerbside, s_m: float, beyond_kerb_m: float,
    kinds: tuple[tuple[Callable[[Rng], Outbuilding], float], ...],
) -> list[Mesh]:  # fmt: skip
    """Place an outbuilding that faces the street, if there is room."""
    shares = [share for _, share in kinds]
    build = kinds[rng.choice(len(kinds), p=shares)][0]
    mesh, width, depth = build(rng)
    (front,), (heading,) = side.at(s_m, beyond_kerb_m)
    yaw = side.along_traffic(float(heading)) + np.pi
    spot = plan(front, yaw, width, depth)
    far = side.site.ground.beyond_pavement(plan(front, yaw, width, depth, 1.0)).min()
    if far < 0.5 or not side.site.taken.try_claim(spot, Use.BUILDING):
        return []
    return [side.site.stand(mesh, front, yaw)]


def _shed(rng: Rng, side: Kerbside, plot: Plot) -> list[Mesh]:
    """Place a shed at the back of the garden."""
    s = rng.uniform(plot.land[0] + 2, max(plot.land[1] - 2, plot.land[0] + 2.1))
    behind = plot.setback_m + plot.house.depth + rng.uniform(2.5, 6.0)
    return _outbuilding(rng, side, s, behind, _SHEDS)


def _works_yard(frontage: Frontage, plot: Plot, kind: str) -> list[Mesh]:
    """Pave the yard in front of a hall and a lane along one side."""
    side = frontage.side
    s = np.linspace(*plot.land, 2 + int((plot.land[1] - plot.land[0]) / 2))
    front = np.linspace(frontage.edge_m + 0.8, plot.setback_m + 0.5, 7)
    parts = [surfaces.lay(side.site, surfaces.tiles(side.grid(s, front)), kind)]
    heading = side.at(float(np.mean(plot.land)), 0.0)[1][0]
    length, width = plot.land[1] - plot.land[0] - 2.0, plot.setback_m - frontage.edge_m - 2.0
    centre = side.at(float(np.mean(plot.land)), (plot.setback_m + frontage.edge_m) / 2)[0][0]
    area = rectangle(centre, heading, length, width)
    if width > 4.5 and side.site.taken.is_free(area, BLOCKED & ~Use.WAY).all():
        side.site.taken.claim(area, Use.WAY)
        side.site.yards.append(Yard(centre, float(heading), length, width))
    if plot.drive is not None:
        lane = np.linspace(side.pavement_m - 0.3, plot.setback_m + 6.0, 10)
        drive = side.grid(np.linspace(*plot.drive, 3), lane)
        parts.append(surfaces.lay(side.site, surfaces.tiles(drive), "lane"))
    return parts


def _forecourt(frontage: Frontage) -> Mesh:
    """Pave the land between pavement and an old-town row, including corners."""
    side = frontage.side
    s = np.arange(0.0, side.length_m + 0.75, 0.75)
    beyond = side.pavement_m + np.array([-0.6, 0.2, 1.2, 2.4, 4.0, 6.0, 8.0])
    return surfaces.lay(side.site, surfaces.tiles(side.grid(s, beyond)), "forecourt")
