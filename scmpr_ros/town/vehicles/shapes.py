"""Shapes of vehicle bodies by kind, and their variation.

Lengths are in metres; x points forwards from the rear bumper, heights are above the road.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from scmpr_ros.semantics import class_id

Rng = np.random.Generator
Profile = tuple[tuple[float, float], ...]

CAR, OTHER = class_id("car"), class_id("other_vehicle")

_FLANK: Profile = ((0, 0.93), (0.1, 0.965), (0.36, 0.99), (0.56, 1.0), (0.74, 0.995), (1, 0.93))
_NOSE: Profile = ((0, 0.12), (0.12, 0.03), (0.38, 0), (0.55, 0.02), (0.8, 0.055), (1, 0.2))
_TAIL: Profile = ((0, 0.12), (0.1, 0.04), (0.34, 0), (0.5, 0.03), (0.8, 0.06), (1, 0.14))
_FLAT_TAIL: Profile = ((0, 0.08), (0.12, 0.0), (0.3, 0), (0.36, 0.03), (0.8, 0.04), (1, 0.06))
_VAN_FLANK: Profile = ((0, 0.95), (0.1, 0.98), (0.4, 1.0), (0.8, 1.0), (1, 0.975))


@dataclass(frozen=True)
class Cabin:
    """The upper part of a body.

    foot, head: x of its rear and front end on the centre line, at the shoulder and at the roof.
    roof: heights of the roof at the rear, in the middle, and at the windscreen.
    head_width: width at the roof as a share of the body's. bow: distance of the middle of the
    windscreen ahead of its corners; the rear window has a third of it.
    panes: start and end of side windows, as shares of the distance from the rear corner to that of
    the windscreen; pillars lie between. has_rails: whether it may have roof rails.
    """

    foot: tuple[float, float]
    head: tuple[float, float]
    roof: tuple[float, float, float]
    panes: tuple[tuple[float, float], ...]
    head_width: float = 0.72
    bow: float = 0.26
    has_rear_window: bool = True
    has_rails: bool = False


@dataclass(frozen=True)
class Body:
    """A vehicle body: lower body and cabin.

    shoulder: height of the lower body's upper edge along x: boot, belt line, bonnet. nose, tail,
    flank: setback of the ends, and share of the half width, at shares of the height from sill to
    shoulder. bevel: lengths at rear and front over which the plan is rounded; corners: exponents of
    the rounding, larger for squarer corners. tail_lamps: wide, upright, or none in front of a load.
    doors: x of the seams of the doors. has_cladding: whether wheel arches are dark plastic too.
    """

    length: float
    width: float
    sill: float
    axles: tuple[float, ...]
    wheel_radius: float
    shoulder: Profile
    cabin: Cabin
    doors: tuple[float, ...]
    nose: Profile = _NOSE
    tail: Profile = _TAIL
    flank: Profile = _FLANK
    bevel: tuple[float, float] = (0.55, 0.85)
    corners: tuple[float, float] = (3.4, 2.7)
    tail_lamps: Literal["corner", "upright", "none"] = "corner"
    has_cladding: bool = False
    label: int = CAR


BODIES: dict[str, Body] = {
    "compact": Body(
        3.85, 1.67, 0.21, (0.62, 3.08), 0.295,
        ((0, 0.93), (0.3, 0.94), (1.4, 0.92), (2.8, 0.93), (3.35, 0.89), (3.85, 0.78)),
        Cabin((0.10, 3.08), (0.42, 2.20), (1.38, 1.47, 1.41), ((0.1, 0.44), (0.5, 0.95))),
        (1.22, 2.42),
    ),
    "hatchback": Body(
        4.2, 1.76, 0.21, (0.74, 3.33), 0.315,
        ((0, 0.95), (0.3, 0.96), (1.6, 0.92), (3.0, 0.93), (3.6, 0.89), (4.2, 0.77)),
        Cabin((0.12, 3.30), (0.48, 2.38), (1.38, 1.48, 1.42),
              ((0.09, 0.2), (0.235, 0.52), (0.57, 0.955))),
        (0.98, 1.86, 2.85),
    ),
    "sedan": Body(
        4.7, 1.80, 0.21, (1.02, 3.78), 0.32,
        ((0, 0.975), (0.3, 0.985), (0.75, 1.0), (1.7, 0.95), (3.4, 0.92), (4.0, 0.88), (4.7, 0.75)),
        Cabin((0.66, 3.68), (1.42, 2.76), (1.36, 1.45, 1.39), ((0.13, 0.45), (0.5, 0.955))),
        (1.32, 2.18, 3.22), bevel=(0.6, 0.95),
    ),
    "estate": Body(
        4.65, 1.79, 0.21, (0.98, 3.74), 0.32,
        ((0, 0.965), (0.2, 0.975), (1.7, 0.95), (3.4, 0.92), (4.0, 0.88), (4.65, 0.75)),
        Cabin((0.13, 3.64), (0.46, 2.72), (1.39, 1.47, 1.40),
              ((0.08, 0.27), (0.31, 0.56), (0.60, 0.96)), has_rails=True),
        (1.28, 2.16, 3.18), bevel=(0.5, 0.95), tail_lamps="upright",
    ),
    "suv": Body(
        4.5, 1.85, 0.30, (0.90, 3.56), 0.365,
        ((0, 1.09), (0.3, 1.11), (1.6, 1.08), (3.1, 1.08), (3.8, 1.06), (4.5, 0.96)),
        Cabin((0.10, 3.44), (0.34, 2.72), (1.63, 1.73, 1.66),
              ((0.07, 0.23), (0.27, 0.54), (0.585, 0.955)), 0.77, has_rails=True),
        (1.22, 2.08, 3.02), bevel=(0.45, 0.65), corners=(3.8, 3.2), tail_lamps="upright",
        has_cladding=True,
    ),
    "mpv": Body(
        4.3, 1.77, 0.22, (0.74, 3.40), 0.315,
        ((0, 0.985), (0.3, 1.0), (1.6, 0.97), (3.1, 0.97), (3.75, 0.92), (4.3, 0.79)),
        Cabin((0.08, 3.58), (0.30, 2.50), (1.54, 1.64, 1.57),
              ((0.06, 0.24), (0.275, 0.52), (0.555, 0.90)), 0.75, has_rails=True),
        (1.02, 1.86, 2.86), bevel=(0.5, 0.8), tail_lamps="upright",
    ),
    "small_van": Body(
        4.3, 1.79, 0.23, (0.76, 3.42), 0.315,
        ((0, 1.04), (0.2, 1.05), (3.2, 1.02), (3.75, 0.97), (4.3, 0.84)),
        Cabin((0.04, 3.55), (0.13, 2.72), (1.78, 1.83, 1.75),
              ((0.04, 0.27), (0.31, 0.57), (0.61, 0.945)), 0.83, 0.22),
        (1.24, 2.04, 2.98), tail=_FLAT_TAIL, flank=_VAN_FLANK,
        bevel=(0.25, 0.8), corners=(4.0, 2.9), tail_lamps="upright",
    ),
    "minibus": Body(
        4.9, 1.90, 0.25, (0.98, 3.98), 0.33,
        ((0, 1.10), (3.9, 1.10), (4.4, 1.03), (4.9, 0.88)),
        Cabin((0.04, 4.46), (0.15, 3.62), (1.92, 1.97, 1.88),
              ((0.03, 0.28), (0.315, 0.60), (0.64, 0.95)), 0.84, 0.24),
        (1.42, 2.52, 3.62), tail=_FLAT_TAIL, flank=_VAN_FLANK,
        bevel=(0.25, 0.8), corners=(4.2, 3.2), tail_lamps="upright",
    ),
    "panel_van": Body(
        5.9, 1.99, 0.28, (1.22, 4.88), 0.345,
        ((0, 1.25), (4.8, 1.24), (5.35, 1.14), (5.9, 0.90)),
        Cabin((0.03, 5.38), (0.10, 4.52), (2.46, 2.52, 2.36), ((0.80, 0.96),), 0.87, 0.28, False),
        (1.3, 3.3, 4.5), tail=_FLAT_TAIL, flank=_VAN_FLANK,
        bevel=(0.2, 0.8), corners=(5.0, 3.2), tail_lamps="upright", label=OTHER,
    ),
    "cab": Body(
        2.35, 1.98, 0.30, (1.35,), 0.36,
        ((0, 1.22), (1.25, 1.21), (1.8, 1.11), (2.35, 0.88)),
        Cabin((0.04, 1.84), (0.10, 1.12), (2.10, 2.18, 2.10), ((0.2, 0.93),), 0.84, 0.26),
        (0.14, 0.98), tail=_FLAT_TAIL, flank=_VAN_FLANK,
        bevel=(0.15, 0.8), corners=(5.0, 3.2), tail_lamps="none", label=OTHER,
    ),
    "lorry_cab": Body(
        1.9, 2.2, 0.42, (1.05,), 0.42,
        ((0, 1.45), (1.5, 1.42), (1.9, 1.36)),
        Cabin((0.04, 1.84), (0.10, 1.64), (2.44, 2.48, 2.44), ((0.22, 0.90),), 0.92, 0.14),
        (0.36, 1.5), nose=((0, 0.06), (0.12, 0.0), (0.4, 0), (0.8, 0.02), (1, 0.05)),
        tail=_FLAT_TAIL, flank=_VAN_FLANK,
        bevel=(0.15, 0.35), corners=(5.0, 3.0), tail_lamps="none", label=OTHER,
    ),
    "bus": Body(
        11.9, 2.5, 0.32, (3.2, 9.1), 0.48,
        ((0, 1.20), (11.9, 1.16)),
        Cabin((0.04, 11.84), (0.12, 11.6), (2.98, 3.02, 2.98),
              ((0.02, 0.14), (0.15, 0.27), (0.28, 0.40), (0.41, 0.53), (0.54, 0.66), (0.67, 0.79),
               (0.80, 0.985)), 0.95, 0.3),
        (5.6, 6.8, 10.3, 11.4), nose=((0, 0.06), (0.12, 0.0), (0.4, 0), (1, 0.03)),
        tail=((0, 0.06), (0.12, 0.0), (1, 0.03)), flank=_VAN_FLANK,
        bevel=(0.3, 0.5), corners=(3.6, 2.8), label=OTHER,
    ),
}  # fmt: skip


def vary(body: Body, rng: Rng) -> Body:
    """Draw another model of the same kind, with other proportions."""
    long, wide, high = rng.uniform((0.955, 0.98, 0.98), (1.05, 1.02, 1.03))
    cabin, lean = body.cabin, rng.uniform(-0.08, 0.1, 2)
    # The vertical rear of vans stays vertical.
    head = (cabin.head[0] + lean[0] * (cabin.head[0] > 0.2), cabin.head[1] + lean[1])
    roof = np.array(cabin.roof) * high
    roof[[0, 2]] += rng.uniform(-0.02, 0.015, 2)
    panes = np.array(cabin.panes) + rng.uniform(-0.008, 0.008)
    shoulder = np.array(body.shoulder) * (long, rng.uniform(0.98, 1.02) * high)
    kick, square = rng.uniform(-0.015, 0.03), rng.uniform(0.9, 1.15, 2)
    shoulder[:, 1] += kick * (1 - shoulder[:, 0] / shoulder[-1, 0])
    return replace(
        body,
        length=body.length * long,
        width=body.width * wide,
        axles=tuple(long * x for x in body.axles),
        doors=tuple(long * x for x in body.doors),
        shoulder=tuple(map(tuple, shoulder)),
        corners=(body.corners[0] * square[0], body.corners[1] * square[1]),
        cabin=replace(
            cabin,
            foot=tuple(long * x for x in cabin.foot),
            head=tuple(long * x for x in head),
            roof=tuple(roof),
            panes=tuple(map(tuple, panes)),
        ),
    )
