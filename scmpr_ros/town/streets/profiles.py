"""Cross sections of streets by quarter; roundabouts, turning circles and squares."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from scmpr_ros.town.materials import Material
from scmpr_ros.town.quarters import Quarter
from scmpr_ros.town.streets.plan_graph import Circle, Square, StreetPlan, through_chains
from scmpr_ros.town.streets.street import Colour, Street, Surfacing

Array = NDArray[np.float64]
Rng = np.random.Generator
Range = tuple[float, float]


@dataclass(frozen=True)
class _Standard:
    """Cross sections of the streets of a quarter: ranges in metres and shares."""

    half_width_m: Range
    pavement_m: Range
    parking: float
    verge: float
    marked: float
    cobbled: float
    driveway_every_m: float | None


_STANDARDS = {
    Quarter.OLD_TOWN: _Standard((3.0, 4.4), (1.7, 4.2), 0.45, 0.0, 0.3, 0.4, None),
    Quarter.SUBURB: _Standard((2.8, 3.7), (1.3, 2.3), 0.4, 0.35, 0.0, 0.06, 17.0),
    Quarter.INDUSTRIAL: _Standard((4.2, 5.4), (1.3, 2.2), 0.4, 0.45, 0.85, 0.0, 32.0),
    Quarter.PARK: _Standard((2.9, 3.8), (1.8, 3.0), 0.25, 0.4, 0.15, 0.1, None),
}
_PARK_EDGE_M = 0.35
"""Width of the edge of a park road on the side without pavement."""


def build_streets(rng: Rng, plan: StreetPlan) -> tuple[tuple[Street, ...], tuple[Array, ...]]:
    """Build a street for each line of the plan, and the gravel paths of parks.

    Streets that continue straight across crossings within a quarter share a cross section; in most
    towns the longest of these chains is a main street or an avenue.
    """
    chains = through_chains(plan.lines, plan.ends)
    surfacings = _surfacings(rng)
    length = dict.fromkeys((chain for chain, _ in chains), 0)
    for line, (chain, _) in zip(plan.lines, chains, strict=True):
        length[chain] += len(line)
    main = max(length, key=lambda c: length[c]) if rng.random() < 0.75 else None
    is_avenue = bool(rng.random() < 0.4)
    profiles: dict[tuple[int, Quarter], Street] = {}
    streets: list[Street] = []
    for line, (start, end), quarter, (chain, is_along) in zip(
        plan.lines, plan.ends, plan.quarters, chains, strict=True
    ):
        if (chain, quarter) not in profiles:
            is_main = chain == main and quarter is not Quarter.PARK
            is_cobbled = not is_main and rng.random() < _STANDARDS[quarter].cobbled
            surfacing = surfacings[(0 if chain == main else 1 + chain % 3) + 4 * is_cobbled]
            profiles[chain, quarter] = _profile(rng, line, quarter, surfacing, is_main, is_avenue)
        profile = profiles[chain, quarter]
        street = replace(
            profile if is_along else _mirrored(profile), line=line, start=start, end=end
        )
        street = _fitted(street, _room(plan, len(streets)))
        streets.append(replace(street, driveways=_driveways(rng, street)))
    return tuple(streets), tuple(_paths(rng, streets))


def _surfacings(rng: Rng) -> list[Surfacing]:
    """Four asphalt surfacings, the first for the main street, then the same four with cobbles."""
    result = []
    for priority in range(4):
        tone, warmth = rng.uniform(0.075, 0.19), rng.normal(0, 0.03)
        walk = rng.uniform(0.21, 0.36)
        cobbled_walk = rng.random() < 0.25
        result.append(Surfacing(
            priority,
            road_colour=_grey(tone, warmth),
            gutter=_grey(rng.uniform(0.2, 0.33), 0.02) if rng.random() < 0.7 else None,
            bay=Material.COBBLE if rng.random() < 0.6 else Material.PAVING,
            bay_colour=_grey(rng.uniform(0.13, 0.24), rng.uniform(0, 0.08)),
            walk=Material.COBBLE if cobbled_walk else Material.PAVING,
            walk_colour=_grey(walk, rng.uniform(0.0, 0.16 if rng.random() < 0.3 else 0.06)),
            edge=Material.PAVING if cobbled_walk else Material.COBBLE,
            edge_colour=_grey(walk * rng.choice([0.62, 0.8, 1.2]), rng.uniform(0, 0.06)),
        ))  # fmt: skip
    cobbles = [
        replace(
            asphalt, priority=asphalt.priority + 4, road=Material.COBBLE, gutter=None,
            road_colour=_grey(rng.uniform(0.15, 0.24), rng.uniform(0, 0.06)),
        )
        for asphalt in result
    ]  # fmt: skip
    return result + cobbles


def _grey(tone: float, warmth: float) -> Colour:
    return float(tone * (1 + warmth)), float(tone), float(tone * (1 - warmth))


def _profile(
    rng: Rng, line: Array, quarter: Quarter, surfacing: Surfacing, is_main: bool, is_avenue: bool
) -> Street:
    """Draw the cross section of a chain of streets within one quarter."""
    standard = _STANDARDS[quarter]
    half_width = float(rng.uniform(*standard.half_width_m))
    parking = rng.random(2) < standard.parking
    if half_width < 4.3 and parking.all():
        half_width = float(rng.uniform(4.5, 5.2))
    pavement = rng.uniform(*standard.pavement_m, 2)
    verge = np.where(rng.random(2) < standard.verge, rng.uniform(1.2, 4.0, 2), 0.0)
    if quarter is Quarter.PARK:
        pavement[rng.integers(2)] = _PARK_EDGE_M
        verge[pavement == _PARK_EDGE_M] = 0.0
    median, cycle_track, tram = 0.0, False, False
    marked = bool(rng.random() < standard.marked and half_width > 3.6)
    if is_main:
        marked, cycle_track = True, bool(rng.random() < 0.5)
        pavement = np.maximum(pavement, rng.uniform(2.2, 3.4) + 1.2 * cycle_track)
        half_width = float(rng.uniform(5.2, 6.6))
        tram = bool(quarter is Quarter.OLD_TOWN and not is_avenue and rng.random() < 0.5)
        if is_avenue:
            median = float(rng.uniform(2.6, 4.6))
            half_width = float(median / 2 + rng.uniform(5.6, 8.2))
            parking = rng.random(2) < 0.7
    return Street(
        line, 0, 0, half_width, _pair(pavement + verge), (bool(parking[0]), bool(parking[1])),
        quarter, marked, surfacing, _pair(verge), median, cycle_track, tram,
    )  # fmt: skip


def _pair(values: Array) -> tuple[float, float]:
    return float(values[0]), float(values[1])


def _driveways(rng: Rng, street: Street) -> tuple[tuple[int, float], ...]:
    """Driveways, away from the crossings."""
    every = _STANDARDS[street.quarter].driveway_every_m
    if every is None:
        return ()
    result = []
    for side in (1, -1):
        s = 15.0 + rng.uniform(0, every)
        while s < street.length_m - 15:
            result.append((side, float(s)))
            s += every * rng.uniform(0.6, 1.7)
    return tuple(result)


def _mirrored(street: Street) -> Street:
    """The street with its cross section mirrored."""
    return replace(
        street, pavement_m=street.pavement_m[::-1], verge_m=street.verge_m[::-1],
        parking=street.parking[::-1],
    )  # fmt: skip


def _room(plan: StreetPlan, own: int) -> float:
    """Distance in metres of a line from those that do not meet it at a crossing."""
    met = set(plan.ends[own]) - {-1}
    others = [line for line, ends in zip(plan.lines, plan.ends, strict=True) if not met & {*ends}]
    if not others:
        return np.inf
    return float(cKDTree(np.concatenate(others)).query(plan.lines[own])[0].min())


def _fitted(street: Street, room_m: float) -> Street:
    """The street, narrowed if another one runs close beside it."""
    widest = street.half_width_m + max(street.pavement_m)
    if room_m > 2 * widest + 2:
        return street
    half_width = float(np.clip(room_m / 2 - 2.2, 2.8, min(street.half_width_m, 4.2)))
    pavement = float(np.clip(room_m / 2 - half_width, 0.3, 2.2))
    return replace(
        street, half_width_m=half_width, pavement_m=(pavement, pavement), verge_m=(0.0, 0.0),
        parking=(False, False), median_m=0.0, cycle_track=False, tram=False,
    )  # fmt: skip


def _paths(rng: Rng, streets: list[Street]) -> list[Array]:
    """Winding gravel paths beside park roads."""
    paths = []
    for street in streets:
        if street.quarter is Quarter.PARK and street.length_m > 50:
            side = int(rng.choice([-1, 1]))
            edge = street.half_width_m + street.pavement_m[0 if side > 0 else 1]
            s = np.arange(14.0, street.length_m - 14.0, 1.0)
            t = (s - s[0]) / (s[-1] - s[0])
            swing = rng.uniform(7, 13) + 2.5 * np.sin(
                2 * np.pi * (rng.uniform(1, 2.4) * t + rng.random())
            )
            away = edge - 0.5 + swing * np.minimum(1, 6 * np.minimum(t, 1 - t))
            paths.append(street.frame(s, side * away)[0])
    return paths


def draw_circles(rng: Rng, plan: StreetPlan) -> tuple[Circle, ...]:
    """Draw at times a roundabout, and turning circles at some suburban dead ends."""
    circles = []
    if rng.random() < 0.35:
        for node in rng.permutation(len(plan.crossings)):
            headings = np.sort([heading for _, heading in plan.arms(int(node))])
            gaps = np.diff(headings, append=headings[:1] + 2 * np.pi)
            centre = plan.crossings[node]
            apart = np.sort(np.linalg.norm(plan.crossings - centre, axis=1))
            if len(headings) >= 3 and gaps.min() > np.radians(55) and apart[1] > 48:
                radius = float(rng.uniform(11.5, 14.0))
                circles.append(Circle(int(node), centre, radius, radius - rng.uniform(6.3, 7.2)))
                break
    for (_, end), line, quarter in zip(plan.ends, plan.lines, plan.quarters, strict=True):
        if end < 0 and len(line) < 62 and quarter is Quarter.SUBURB and rng.random() < 0.6:
            island = float(rng.uniform(1.6, 2.4)) if rng.random() < 0.4 else 0.0
            circles.append(Circle(-1, line[-1], float(rng.uniform(6.5, 8.5)), island))
    return tuple(circles)


def draw_squares(rng: Rng, plan: StreetPlan, streets: tuple[Street, ...]) -> tuple[Square, ...]:
    """Draw, in most old towns, a small square at a corner of a crossing that is near 90 degrees."""
    if rng.random() < 0.35:
        return ()
    for node in rng.permutation(len(plan.crossings)):
        meeting = sorted(plan.arms(int(node)), key=lambda arm: arm[1])
        if len(meeting) < 3 or plan.quarters[meeting[0][0]] is not Quarter.OLD_TOWN:
            continue
        headings = np.array([heading for _, heading in meeting])
        gaps = np.diff(headings, append=headings[0] + 2 * np.pi)
        i = int(np.abs(gaps - np.pi / 2).argmin())
        if abs(gaps[i] - np.pi / 2) > 0.45:
            continue
        widths = [streets[meeting[k % len(meeting)][0]].half_width_m for k in (i + 1, i)]
        half = rng.uniform(8, 13, 2)
        c, s = np.cos(headings[i]), np.sin(headings[i])
        local = half + np.array(widths) + 1.0
        centre = plan.crossings[node] + np.array([c * local[0] - s * local[1],
                                                  s * local[0] + c * local[1]])  # fmt: skip
        if cKDTree(np.concatenate(plan.lines)).query(centre)[0] < half.min():
            continue
        return (Square(centre, float(headings[i]), half),)
    return ()
