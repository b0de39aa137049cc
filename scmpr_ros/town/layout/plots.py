"""Plots along the streets: houses, doors and driveways."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.town.buildings.house_styles import House
from scmpr_ros.town.layout.backland import place_backland
from scmpr_ros.town.layout.construction import erect, plan
from scmpr_ros.town.layout.kerbside import Frontage, Kerbside, Plot, Site, Span, runs
from scmpr_ros.town.layout.land_use import FRONT_GARDEN_M, LAND, draw_row
from scmpr_ros.town.layout.occupancy import Use, rectangle
from scmpr_ros.town.layout.squares import find_square, furnish_square
from scmpr_ros.town.layout.yards import pave_plots
from scmpr_ros.town.mesh import Mesh
from scmpr_ros.town.quarters import Quarter

Array = NDArray[np.float64]
Rng = np.random.Generator

_PROBE_M = 0.5
_NARROWEST_M = {
    Quarter.OLD_TOWN: 6.5, Quarter.SUBURB: 8.0, Quarter.INDUSTRIAL: 14.0, Quarter.PARK: 9.0,
}  # fmt: skip
_SHALLOWEST_M = 8.0
_PASSAGE_M = 3.2
_PASSAGE_ROW_M = 30.0
"""Longer closed rows may have a passage."""
_WIDEST_M = 6.0
"""Largest extent of a plot beside its house."""
_DRIVE_M = {
    Quarter.OLD_TOWN: 2.8, Quarter.SUBURB: 2.8, Quarter.INDUSTRIAL: 5.5, Quarter.PARK: 2.8,
}  # fmt: skip
_BESIDE_HOUSE_M = 0.6
_SHARED_BACK = 0.35
"""Share of a house's width by which its back may overlap its neighbour's inside a bend."""
_TO_DRIVE_M = 4.0
"""Driveways farther than this from the end of a house do not belong to it."""
_GARDEN_STEP_M = 0.2


def place_houses(rng: Rng, site: Site) -> Mesh:
    """Build houses along all streets and behind them, and pave paths, driveways and yards."""
    parts: list[Mesh] = []
    # Closed rows first: they fill corners.
    sides = sorted(site.kerbsides(), key=lambda side: side.quarter is not Quarter.OLD_TOWN)
    square = find_square(site)
    for side in (square.far_sides(site) if square else []) + sides:
        parts += _develop(rng, side)
    parts += furnish_square(rng, site, square) if square else []
    for frontage in site.frontages:
        parts += pave_plots(rng, frontage)
    return Mesh.join(parts + place_backland(rng, site))


def _develop(rng: Rng, side: Kerbside) -> list[Mesh]:
    """Build rows of houses along one kerbside; adds to the site's frontages."""
    land = LAND[side.quarter]
    edge = side.pavement_m
    line = edge + rng.uniform(*land.setback_m)
    if rng.random() < land.front_garden and side.street.start >= 0:
        line += rng.uniform(*FRONT_GARDEN_M)
    plots: list[Plot] = []
    passages: list[Span] = []
    meshes: list[Mesh] = []
    for start, end in _free_spans(side, edge, line):
        first = len(plots)
        for s, row in _rows(rng, side.quarter, start, end, plots):
            if side.quarter is Quarter.OLD_TOWN and s > start:
                passages.append((s - _PASSAGE_M, s))
            back = rng.uniform(0.5, 3.0) if rng.random() < land.deviating else 0.0
            built, row_meshes = _build_row(rng, side, s, line + back, row)
            plots += built
            meshes += row_meshes
        plots[first:] = _divide(side, plots[first:], (start, end))
    frontage = Frontage(side, edge, tuple(plots), tuple(passages))
    side.site.frontages.append(frontage)
    for plot in plots:
        _claim_land(rng, frontage, plot)
    return meshes


def _free_spans(side: Kerbside, edge_m: float, line_m: float) -> Iterator[Span]:
    """Stretches of a kerb with enough free land behind the pavement for a house."""
    ground, taken = side.site.ground, side.site.taken
    s = np.arange(0.0, side.length_m, _PROBE_M)
    points = side.grid(s, np.arange(edge_m + 0.3, line_m + _SHALLOWEST_M, 0.6))
    flat = points.reshape(-1, 2)
    open_land = taken.is_free(flat, Use.BUILDING | Use.GARDEN) & (ground.beyond_pavement(flat) > 0)
    free = np.all(open_land.reshape(len(s), -1), axis=1)
    if len(side.driveways_m):
        to_drive = np.abs(s[:, None] - side.driveways_m).min(axis=1)
        free &= to_drive > _DRIVE_M[side.quarter] / 2 + _BESIDE_HOUSE_M
    margin = 0.0 if side.quarter is Quarter.OLD_TOWN else 0.5
    for first, last in zip(*runs(free), strict=True):
        start, end = s[first] + margin, s[last - 1] - margin
        if end - start > _NARROWEST_M[side.quarter]:
            yield float(start), float(end)


def _rows(
    rng: Rng, quarter: Quarter, start: float, end: float, plots: list[Plot]
) -> Iterator[tuple[float, list[House]]]:
    """Draw rows of houses from `start` to `end`, each with the arc length of its start."""
    land, s = LAND[quarter], start
    while end - s > _NARROWEST_M[quarter]:
        if rng.random() < land.vacant:
            s += rng.uniform(10, 22)
            continue
        room = end - s
        if quarter is Quarter.OLD_TOWN and room > _PASSAGE_ROW_M and rng.random() < 0.6:
            room = rng.uniform(0.35, 0.65) * room
        row = draw_row(rng, quarter, room, plots[-1].house if plots else None)
        yield s, row
        gap = _PASSAGE_M if quarter is Quarter.OLD_TOWN else rng.uniform(*land.gap_m)
        s += sum(house.width for house in row) + gap


def _build_row(
    rng: Rng, side: Kerbside, start: float, line_m: float, row: list[House]
) -> tuple[list[Plot], list[Mesh]]:
    """Build the houses of a row that fit, adjoining from arc length `start`."""
    plots, meshes, plans = [], [], []
    ends = start + np.cumsum([0.0, *(house.width for house in row)])
    corners = _front_line(side, line_m, ends)
    row = _limit_depth(row, side.side * np.diff(corners, axis=0), corners)
    for house, land, ab in zip(row, pairwise(ends), pairwise(corners), strict=True):
        plot = _fit(side, land, line_m, house, *ab)
        if plot is None:
            continue
        mesh, doors = erect(rng, side.site, plot.front, plot.yaw_rad, plot.house)
        middle, along = sum(land) / 2, side.side * (land[1] - land[0]) / plot.house.width
        plots.append(replace(plot, doors_m=tuple(middle + along * x for x in doors)))
        meshes.append(mesh)
        plans.append(plan(plot.front, plot.yaw_rad, plot.house.width, plot.house.depth))
    # Claimed last, as the backs of neighbours overlap inside bends.
    for ground_plan in plans:
        side.site.taken.claim(ground_plan, Use.BUILDING)
    return plots, meshes


def _limit_depth(row: list[House], along: Array, corners: Array) -> list[House]:
    """Reduce depths so that backs hardly overlap inside bends.

    along: (K, 2) fronts. corners: (K + 1, 2) their ends.
    """
    unit = along / np.linalg.norm(along, axis=1, keepdims=True)
    front = (corners[1:] + corners[:-1]) / 2
    depth = np.array([house.depth for house in row])
    back = front + depth[:, None] * np.stack([-unit[:, 1], unit[:, 0]], axis=1)
    apart = [np.linalg.norm(np.diff(p, axis=0), axis=1) for p in (front, back)]
    lost = np.concatenate([[0.0], apart[0] - apart[1], [0.0]])
    worst = np.maximum(np.maximum(lost[1:], lost[:-1]), 1e-6)
    width = np.linalg.norm(along, axis=1)
    depth = np.minimum(depth, np.maximum(depth * _SHARED_BACK * width / worst, _SHALLOWEST_M))
    return [replace(house, depth=float(d)) for house, d in zip(row, depth, strict=True)]


def _front_line(side: Kerbside, line_m: float, ends_m: Array) -> Array:
    """Corners (K, 2) of a row's fronts: old-town rows follow the street, others are straight."""
    corners = side.at(ends_m, line_m)[0]
    if side.quarter is Quarter.OLD_TOWN:
        return corners
    share = (ends_m - ends_m[0]) / (ends_m[-1] - ends_m[0])
    return corners[0] + share[:, None] * (corners[-1] - corners[0])


def _fit(
    side: Kerbside, land: Span, line_m: float, house: House, start: Array, end: Array
) -> Plot | None:
    """Fit a house to the corners of its front, less deep if needed; None if there is no room."""
    ground, taken = side.site.ground, side.site.taken
    along = side.side * (end - start)
    yaw = float(np.arctan2(along[1], along[0]))
    inward = np.array([-np.sin(yaw), np.cos(yaw)])
    front = (start + end) / 2
    house = replace(house, width=float(np.linalg.norm(along)))
    for _ in range(2):  # repeated, as the field's slope is below one near crossings
        edge = ground.beyond_pavement(plan(front, yaw, house.width, 0.0, 0.5))
        front = front + max(0.0, -float(edge.min())) * inward
    for share in (1.0, 0.85, 0.7):
        depth = max(share * house.depth, _SHALLOWEST_M)
        # Half a cell smaller all around, as neighbours touch.
        inside = plan(front + 0.15 * inward, yaw, house.width - 0.3, depth - 0.3, 0.25)
        off_pavement = ground.beyond_pavement(inside).min() > -0.1
        if off_pavement and taken.is_free(inside, Use.BUILDING | Use.GARDEN).all():
            return Plot(land, line_m, replace(house, depth=depth), front, yaw)
    return None


def _divide(side: Kerbside, plots: list[Plot], span: Span) -> list[Plot]:
    """Extend the land of plots towards each other, and assign driveways."""
    divided = []
    begin = max(span[0] - 1.0, plots[0].land[0] - _WIDEST_M) if plots else 0.0
    for i, plot in enumerate(plots):
        own = plot.land[1]
        following = plots[i + 1].land[0] if i + 1 < len(plots) else span[1] + 1.0
        half = _DRIVE_M[side.quarter] / 2
        near = [d for d in side.driveways_m if own <= d - half and d - half < own + _TO_DRIVE_M]
        drive = (near[0] - half, near[0] + half) if near else None
        if drive and not _is_open(side, drive, plot.setback_m + 2.0):
            drive = None
        if drive:
            own = drive[1] + 0.4
        end = min(own + _WIDEST_M, max(own, (own + following) / 2))
        divided.append(replace(plot, land=(begin, end), drive=drive))
        begin = max(end, following - _WIDEST_M)
    return divided


def _is_open(side: Kerbside, along: Span, beyond_m: float) -> bool:
    """Whether land from the kerb to `beyond_m` is free of buildings."""
    points = side.grid(np.linspace(*along, 12), np.arange(0.0, beyond_m, 0.25))
    return bool(side.site.taken.is_free(points.reshape(-1, 2), Use.BUILDING).all())


def _claim_land(rng: Rng, frontage: Frontage, plot: Plot) -> None:
    """Claim the plot against other houses, and its gates against fixed objects."""
    side, taken = frontage.side, frontage.side.site.taken
    back = plot.setback_m + plot.house.depth + rng.uniform(*LAND[side.quarter].garden_m)
    s = np.arange(*plot.land, _GARDEN_STEP_M)
    garden = side.grid(s, np.arange(frontage.edge_m, back, _GARDEN_STEP_M)).reshape(-1, 2)
    taken.claim(garden, Use.GARDEN)
    for start, end in plot.gates:
        reach = plot.setback_m + 1.0
        (centre,), (heading,) = side.at((start + end) / 2, reach / 2)
        taken.claim(rectangle(centre, heading, end - start, reach), Use.WAY)
