"""Bays, patches, seams, covers, drains, tram tracks and cycle tracks in roads and pavements."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.semantics import class_id
from scmpr_ros.town.ground.ground import Ground
from scmpr_ros.town.ground.strips import Strips
from scmpr_ros.town.materials import Material
from scmpr_ros.town.mesh import Mesh
from scmpr_ros.town.quarters import Quarter
from scmpr_ros.town.streets.street import PARKING_LANE_M, Street

Array = NDArray[np.float64]
Rng = np.random.Generator
Span = tuple[float, float]

ROAD, SIDEWALK = class_id("road"), class_id("sidewalk")
# Layers are separated vertically to avoid z-fighting.
BAY_LIFT_M, PATCH_LIFT_M, RAIL_LIFT_M = 0.005, 0.0065, 0.007
SEAM_LIFT_M, RING_LIFT_M, COVER_LIFT_M = 0.008, 0.009, 0.010
_TAR = (0.035, 0.035, 0.037)
_IRON = (0.075, 0.07, 0.066)
_TRACK_RED = (0.27, 0.115, 0.085)


def wear_roads(rng: Rng, ground: Ground) -> Mesh:
    """Lay all of these on all streets."""
    parts = []
    for street in ground.network.streets:
        start, end = ground.field.mouths(street)
        # Between the crossings, where no other street overlaps.
        span = (start, street.length_m - end)
        if span[1] - span[0] < 10:
            continue
        if street.surfacing.road is Material.ASPHALT and not street.tram:
            parts += [_bays(rng, ground, street, span), _patches(rng, ground, street, span)]
            parts.append(_seams(rng, ground, street, span))
        parts += [_covers(rng, ground, street, span), _drains(ground, street, span)]
        if street.tram:
            parts.append(_tram(ground, street))
        if street.cycle_track:
            parts.append(_cycle_track(ground, street, span))
    return Mesh.join(parts)


def _bays(rng: Rng, ground: Ground, street: Street, span: Span) -> Mesh:
    """Paved parking lanes, on a share of streets by quarter."""
    strips, surfacing = Strips(), street.surfacing
    first, last = span[0] + 4.0, span[1] - 4.0
    share = 0.25 if street.quarter is Quarter.SUBURB else 0.6
    for side, parked in zip((1, -1), street.parking, strict=True):
        if parked and last > first and (street.median_m > 0 or rng.random() < share):
            middle = side * (street.half_width_m - PARKING_LANE_M / 2 - 0.02)
            strips.add((first + last) / 2, middle, last - first, PARKING_LANE_M - 0.12)
    return strips.lay(ground, street, BAY_LIFT_M, surfacing.bay, ROAD, surfacing.bay_colour)


def _patches(rng: Rng, ground: Ground, street: Street, span: Span) -> Mesh:
    """Repairs: rectangles of other asphalt and trenches, without overlaps."""
    # Distance from the middle to the kerb, or to parked cars.
    left, right = (street.half_width_m - PARKING_LANE_M * parked for parked in street.parking)
    tone = float(np.mean(street.surfacing.road_colour))
    strips, kept = Strips(), np.zeros((0, 4))
    for s, lateral, long, wide, shade in _repairs(rng, span, left, right):
        low = np.array([s - long / 2, lateral - wide / 2])
        high = np.array([s + long / 2, lateral + wide / 2])
        overlaps = ((kept[:, :2] < high) & (kept[:, 2:] > low)).all(axis=1).any()
        inside = (low > (span[0], -right)).all() and (high < (span[1], left)).all()
        if inside and not overlaps:
            kept = np.concatenate([kept, [[*low, *high]]])
            strips.add(s, lateral, long, wide, tone * shade)
    return strips.lay(ground, street, PATCH_LIFT_M, Material.ASPHALT, ROAD, np.ones(3))


def _repairs(
    rng: Rng, span: Span, left: float, right: float
) -> list[tuple[float, float, float, float, float]]:
    """Candidates: middle along and across, length, width and relative tone; they may overlap."""
    length, rows = span[1] - span[0], []
    if rng.random() < 0.35:
        reach = rng.uniform(0.2, 0.6) * length
        along = rng.uniform(span[0] + reach / 2, span[1] - reach / 2)
        rows.append((along, rng.uniform(-right, left), reach, rng.uniform(0.6, 1.1), 0.72))
    for _ in range(rng.poisson(length / 60)):
        middle = (left - 0.5) / 2 if left > right else (0.5 - right) / 2
        wide, shade = max(left, right) - 0.8, rng.uniform(0.65, 1.2)
        rows.append((rng.uniform(*span), middle, rng.uniform(0.5, 0.9), wide, shade))
    for _ in range(rng.poisson(length / 28)):
        shade = float(np.clip(rng.normal(1, 0.3), 0.5, 1.6))
        size = rng.uniform(0.7, 6), rng.uniform(0.5, 2.0)
        rows.append((rng.uniform(*span), rng.uniform(-right, left), *size, shade))
    return rows


def _seams(rng: Rng, ground: Ground, street: Street, span: Span) -> Mesh:
    """Tar seams in joints and cracks."""
    strips, w = Strips(), street.half_width_m
    if rng.random() < 0.5:
        s = np.arange(span[0] + 1.5, span[1] - 1.5, 3.0)
        s = s[rng.random(len(s)) < 0.85]
        strips.add(s, rng.normal(0, 0.3), 3.0, rng.uniform(0.03, 0.06), rng.uniform(0.9, 1.6))
    for s in rng.uniform(*span, rng.poisson((span[1] - span[0]) / 30)):
        strips.add(s, 0.0, rng.uniform(0.03, 0.07), 2 * w - 0.8, rng.uniform(0.8, 1.6))
    for end in span:
        if rng.random() < 0.7:
            strips.add(end, 0.0, 0.06, 2 * w - 0.7)
    for s in rng.uniform(
        span[0], max(span[1] - 12, span[0] + 1), rng.poisson(street.length_m / 35)
    ):
        strips.add_cells(_crack(rng, float(s), w), rng.uniform(0.9, 1.7))
    return strips.lay(ground, street, SEAM_LIFT_M, Material.ASPHALT, ROAD, _TAR)


def _crack(rng: Rng, s: float, half_width_m: float) -> Array:
    """Quads (N, 4, 2) of a sealed crack along the lane."""
    count, width = int(rng.integers(6, 20)), rng.uniform(0.02, 0.045)
    along = s + np.cumsum(rng.uniform(0.2, 0.7, count))
    across = rng.uniform(-half_width_m + 1, half_width_m - 1) + np.cumsum(
        rng.normal(0, 0.13, count)
    )
    low, high = np.stack([along, across], 1), np.stack([along, across + width], 1)
    return np.stack([low[:-1], low[1:], high[1:], high[:-1]], axis=1)


def _covers(rng: Rng, ground: Ground, street: Street, span: Span) -> Mesh:
    """Manholes along the lanes, half of them in a concrete ring, and valve caps."""
    rings, covers = Strips(), Strips()
    w, s = street.half_width_m, span[0] + rng.uniform(0, 15)
    line = rng.uniform(-w / 2, w / 2)
    while s < span[1]:
        lateral = line + rng.normal(0, 0.15) if rng.random() < 0.7 else rng.uniform(-w + 1, w - 1)
        covers.add_cells(_disc(s, lateral, 0.31), rng.uniform(0.7, 1.5))
        if rng.random() < 0.5:
            rings.add_cells(_disc(s, lateral, 0.45))
        s += rng.uniform(14, 45)
    for s in rng.uniform(*span, rng.poisson(street.length_m / 30)):
        covers.add_cells(_disc(s, rng.uniform(-w + 0.8, w - 0.8), 0.1))
    around = rings.lay(ground, street, RING_LIFT_M, Material.CONCRETE, ROAD, (0.22, 0.215, 0.2))
    return Mesh.join(
        [around, covers.lay(ground, street, COVER_LIFT_M, Material.CONCRETE, ROAD, _IRON)]
    )


def _disc(s: float, lateral: float, radius_m: float, sides: int = 12) -> Array:
    """Quads (sides / 2, 4, 2) of a disc."""
    angle = np.arange(0, sides + 1) * 2 * np.pi / sides
    rim = np.array([s, lateral]) + radius_m * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    hub = np.broadcast_to([s, lateral], rim[1::2].shape)
    return np.stack([hub, rim[:-1:2], rim[1::2], rim[2::2]], axis=1)


def _drains(ground: Ground, street: Street, span: Span) -> Mesh:
    """Gratings in both gutters."""
    strips = Strips()
    s = np.arange(span[0] + 2, span[1] - 3, 24.0)
    for side in (1, -1):
        strips.add(s + 3 * side, side * (street.half_width_m - 0.26), 0.48, 0.3)
    return strips.lay(ground, street, COVER_LIFT_M, Material.CONCRETE, ROAD, _IRON)


def _tram(ground: Ground, street: Street) -> Mesh:
    """Two tram tracks of grooved rail in a bed of stones."""
    bed, rails = Strips(), Strips()
    middle, length = street.length_m / 2, street.length_m - 0.1
    for track in (-1.55, 1.55):
        bed.add(middle, track, length, 2.3)
        for rail in (-0.72, 0.72):
            rails.add(middle, track + rail, length, 0.09)
    stones = street.surfacing.bay_colour
    return Mesh.join([
        bed.lay(ground, street, BAY_LIFT_M, Material.COBBLE, ROAD, stones),
        rails.lay(ground, street, RAIL_LIFT_M, Material.METAL, ROAD, (0.06, 0.058, 0.055)),
    ])  # fmt: skip


def _cycle_track(ground: Ground, street: Street, span: Span) -> Mesh:
    """A reddish cycle track along the kerb side of pavements."""
    strips = Strips()
    # Short pieces, to follow the ramps of driveways.
    s = np.arange(span[0] + 0.5, span[1] - 0.5, 0.4)
    for side, verge, pavement in zip((1, -1), street.verge_m, street.pavement_m, strict=True):
        if pavement - verge > 2.2:
            lateral = side * (street.half_width_m + max(verge, 0.55) + 0.75)
            strips.add(s, lateral, 0.4, 1.3)
    return strips.lay(
        ground, street, COVER_LIFT_M, Material.PAVING, SIDEWALK, _TRACK_RED, on="pavement"
    )
