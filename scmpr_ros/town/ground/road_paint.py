"""Lane markings: lines, pedestrian crossings, give-way lines, arrows and parking bays."""

from __future__ import annotations

from dataclasses import dataclass

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

LINE_LIFT_M, SYMBOL_LIFT_M = 0.011, 0.012
_WHITE = np.array([0.55, 0.55, 0.53])
ROAD = class_id("road")


@dataclass(frozen=True)
class _Approach:
    """One end of a street as seen by a driver: u metres before the mouth, v to the left."""

    street: Street
    at_end: bool
    mouth_m: float

    @property
    def right_m(self) -> float:
        """Distance from the centre line to the kerb or parked cars on the driver's right."""
        parked = self.street.parking[1 if self.at_end else 0]
        return self.street.half_width_m - PARKING_LANE_M * parked

    def place(self, u: Array | float, v: Array | float) -> tuple[Array, Array]:
        """Arc length and lateral offset on the street."""
        u, v = np.asarray(u, np.float64), np.asarray(v, np.float64)
        if self.at_end:
            return self.street.length_m - self.mouth_m - u, v
        return self.mouth_m + u, -v


def paint_roads(rng: Rng, ground: Ground) -> Mesh:
    """Paint all markings. Each crossing has signals, zebra crossings, or signs only."""
    network = ground.network
    busy = np.zeros(len(network.crossings), bool)
    for street in network.streets:
        busy[[i for i in (street.start, street.end) if i >= 0]] |= street.marked
    kinds = [str(rng.choice(["signals", "zebra", "signs"], p=(0.35, 0.25, 0.4))) if b
             else str(rng.choice(["zebra", "signs"], p=(0.12, 0.88))) for b in busy]  # fmt: skip
    parts = []
    for street in network.streets:
        lines, symbols = Strips(), Strips()
        mouths = ground.field.mouths(street)
        wear = rng.uniform(0.55, 1.0)
        _lines_along(rng, lines, street, mouths, wear)
        for crossing, at_end, mouth in zip(
            (street.start, street.end), (False, True), mouths, strict=True
        ):
            if crossing >= 0 and street.length_m > 30:
                approach = _Approach(street, at_end, mouth)
                yields = _yields(ground, street, crossing)
                _at_crossing(rng, symbols, approach, kinds[crossing], yields)
        _mid_block(rng, symbols, street, mouths)
        for strips, lift in ((lines, LINE_LIFT_M), (symbols, SYMBOL_LIFT_M)):
            parts.append(strips.lay(ground, street, lift, Material.MARKING, ROAD, _WHITE))
    return Mesh.join(parts)


def _yields(ground: Ground, street: Street, crossing: int) -> bool:
    """Whether another street at a crossing has the right of way."""
    others = [s.surfacing.priority for s in ground.network.streets if crossing in (s.start, s.end)]
    return min(others) < street.surfacing.priority or ground.network.circle_at(crossing) is not None


def _worn(rng: Rng, wear: float, count: int) -> Array:
    return np.asarray(wear * np.clip(rng.normal(1, 0.13, count), 0.4, 1.15))


def _lines_along(
    rng: Rng, strips: Strips, street: Street, mouths: tuple[float, float], wear: float
) -> None:
    """Paint lines between lanes, along edges, and around parking bays."""
    first, last = mouths[0] + 5.5, street.length_m - mouths[1] - (5.5 if street.end >= 0 else 1.0)
    if last - first < 8:
        return
    w = street.half_width_m
    if street.marked:
        between = [0.0] if street.median_m == 0 else []
        if street.lanes == 2:
            for side, parked in zip((1, -1), street.parking, strict=True):
                free = w - PARKING_LANE_M * parked
                between.append(side * (street.median_m / 2 + free) / 2)
        dash, gap = (3.0, 3.0) if rng.random() < 0.3 else (3.0, 6.0)
        for lateral in between:
            # Solid near crossings.
            strips.add([first + 5, last - 5], lateral, 10.0, 0.12, wear)
            s = np.arange(first + 13, last - 11, dash + gap)
            strips.add(s, lateral, dash, 0.12, _worn(rng, wear, len(s)))
        if street.quarter is Quarter.INDUSTRIAL and not any(street.parking):
            for side in (1, -1):
                strips.add((first + last) / 2, side * (w - 0.5), last - first, 0.12, wear)
    for side, parked in zip((1, -1), street.parking, strict=True):
        if parked and rng.random() < 0.4:
            _bay_lines(rng, strips, side * w, (first + 1, last - 1), wear)


def _bay_lines(
    rng: Rng, strips: Strips, kerb: float, span: tuple[float, float], wear: float
) -> None:
    """Paint a line beside the parking lane, ticks between its bays, or both."""
    inner = kerb - np.sign(kerb) * PARKING_LANE_M
    style = rng.integers(3)
    if style != 1:
        strips.add(sum(span) / 2, inner, span[1] - span[0], 0.10, wear)
    if style != 0:
        s = np.arange(span[0], span[1], 5.6)
        strips.add(s, (inner + kerb - np.sign(kerb) * 0.4) / 2, 0.10, PARKING_LANE_M - 0.55,
                   _worn(rng, wear, len(s)))  # fmt: skip


def _at_crossing(rng: Rng, strips: Strips, approach: _Approach, kind: str, yields: bool) -> None:
    """Paint the markings of one approach to a crossing."""
    street, wear = approach.street, rng.uniform(0.6, 1.05)
    w, right = street.half_width_m, approach.right_m
    inner = -street.median_m / 2

    def across(u: float, length: float, low: float, high: float, tone: float = wear) -> None:
        s, lateral = approach.place(u, (low + high) / 2)
        strips.add(s, lateral, length, high - low, tone)

    if kind == "signals":
        for u in (0.9, 4.3):  # pedestrian crossing: two broken lines
            v = np.arange(-w + 0.4, w - 0.3, 0.75)
            s, lateral = approach.place(u, v)
            strips.add(s, lateral, 0.12, 0.5, _worn(rng, wear, len(v)))
        across(5.8, 0.5, -right + 0.15, inner - 0.12)
    elif kind == "zebra" and (street.marked or rng.random() < 0.5):
        v = np.arange(-w + 0.6, w - 0.4, 1.0)
        s, lateral = approach.place(2.4, v)
        strips.add(s, lateral, 3.4, 0.5, _worn(rng, wear, len(v)))
        across(5.0, 0.35, -right + 0.15, inner - 0.12)
    elif yields and street.quarter is not Quarter.PARK and (street.marked or rng.random() < 0.3):
        _give_way(rng, strips, approach, wear)
    if (street.marked and kind == "signals") or (street.lanes == 2 and yields):
        _arrows(rng, strips, approach, wear)


def _give_way(rng: Rng, strips: Strips, approach: _Approach, wear: float) -> None:
    """Paint a broken line across the lane, or a row of triangles that point at the driver."""
    v = np.arange(-approach.right_m + 0.5, -approach.street.median_m / 2 - 0.3, 0.75)
    if rng.random() < 0.6:
        s, lateral = approach.place(0.4, v)
        strips.add(s, lateral, 0.3, 0.5, _worn(rng, wear, len(v)))
        return
    corner = np.array([[0.1, -0.25], [0.1, 0.25], [0.75, 0.03], [0.75, -0.03]])
    place = approach.place(corner[:, 0][None], v[:, None] + corner[:, 1])
    strips.add_cells(_counterclockwise(*place), wear)


def _counterclockwise(s: Array, lateral: Array) -> Array:
    """Quads (N, 4, 2) with corners in counterclockwise order."""
    cells = np.stack(np.broadcast_arrays(s, lateral), axis=-1)
    d = np.diff(cells[:, :3], axis=1)
    is_clockwise = d[:, 0, 0] * d[:, 1, 1] - d[:, 0, 1] * d[:, 1, 0] < 0
    cells[is_clockwise] = cells[is_clockwise, ::-1]
    return cells


_SHAFT = [[0.0, -0.07], [0.0, 0.07], [1.25, 0.07], [1.25, -0.07]]
_ARROWS: dict[str, list[list[list[float]]]] = {
    "ahead": [
        _SHAFT, [[1.25, -0.07], [1.25, 0.07], [2.6, 0.07], [2.6, -0.07]],
        [[2.5, -0.3], [3.8, -0.01], [3.8, 0.01], [2.5, 0.3]],
    ],
    "left": [
        _SHAFT, [[1.25, -0.07], [1.25, 0.07], [2.5, 0.5], [2.75, 0.35]],
        [[2.3, 0.35], [3.1, 0.35], [2.75, 0.98], [2.7, 0.98]],
    ],
}  # fmt: skip
"""Quads in metres ahead and to the left, elongated for the low viewing angle of drivers."""


def _arrows(rng: Rng, strips: Strips, approach: _Approach, wear: float) -> None:
    """Paint an arrow in each lane, repeated once if the street is long enough."""
    street = approach.street
    low, high = street.median_m / 2, approach.right_m
    if (high - low) / street.lanes < 2.3:
        return
    names = (
        ["left", "ahead"] if street.lanes == 2 else [str(rng.choice(["ahead", "left", "right"]))]
    )
    for lane, name in enumerate(names):
        v = -(low + (lane + 0.5) * (high - low) / street.lanes)
        shape = 1.25 * np.array(_ARROWS["left" if name == "right" else name])
        mirror = -1 if name == "right" else 1
        for u in (13.0, 30.0):
            if u + 4 < street.length_m / 2:
                place = approach.place(u - shape[..., 0], v + mirror * shape[..., 1])
                strips.add_cells(_counterclockwise(*place), wear)


_SEGMENTS = {"3": "abgcd", "0": "abcdef"}
_SEGMENT_BOX = {
    "a": (0.95, 0.5, 0.1, 1.0), "g": (0.5, 0.5, 0.1, 1.0), "d": (0.05, 0.5, 0.1, 1.0),
    "b": (0.725, 0.9, 0.55, 0.2), "c": (0.275, 0.9, 0.55, 0.2),
    "f": (0.725, 0.1, 0.55, 0.2), "e": (0.275, 0.1, 0.55, 0.2),
}  # fmt: skip
"""Centre (up, right) and size (up, right) of the strokes of seven-segment digits in a unit box."""


def _mid_block(rng: Rng, strips: Strips, street: Street, mouths: tuple[float, float]) -> None:
    """Paint mid-block zebra crossings, and a 30 at the entrance of some suburban streets."""
    w, length, wear = street.half_width_m, street.length_m, rng.uniform(0.5, 1.0)
    free = (mouths[0] + 25, length - mouths[1] - 25)
    if free[1] > free[0] and street.median_m == 0 and street.quarter is not Quarter.SUBURB:
        if rng.random() < 0.18:
            v = np.arange(-w + 0.6, w - 0.4, 1.0)
            strips.add(rng.uniform(*free), v, 3.6, 0.5, _worn(rng, wear, len(v)))
    elif street.quarter is Quarter.SUBURB and not street.marked and rng.random() < 0.3:
        high, wide = 3.2, 0.85
        for digit, left in (("3", 0.95), ("0", -0.1)):
            for segment in _SEGMENTS[digit]:
                up, right, tall, across = _SEGMENT_BOX[segment]
                # In the lane of traffic from the street's start.
                strips.add(mouths[0] + 9 + up * high, left - right * wide - w / 2 + 0.1,
                           tall * high, across * wide, wear)  # fmt: skip
