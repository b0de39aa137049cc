"""Bicycles, parked and ridden."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scmpr_ros.semantics import class_id
from scmpr_ros.town.materials import Material
from scmpr_ros.town.mesh import Mesh, boxes, discs, quads, tubes
from scmpr_ros.town.vehicles.people import RIDER, Pose, draw_outfit, figure, loft
from scmpr_ros.town.vehicles.sheets import without_slivers

Array = NDArray[np.float64]
Rng = np.random.Generator

TWO_WHEELER = class_id("two_wheeler")
_BLACK, _STEEL = (0.015, 0.015, 0.016), (0.28, 0.28, 0.29)
_REAR, _FRONT, _CRANK = -0.5, 0.55, -0.06
"""x of a bicycle's axles and pedals."""


def _tubes(paths: ArrayLike, radius: float, colour: ArrayLike, material: Material) -> Mesh:
    return tubes(paths, radius, 4, material, TWO_WHEELER, colour)


def _tyre(x: float, radius: float, thick: float) -> Mesh:
    """A ring about (x, 0, radius) that touches the ground."""
    segments, sides = 16, 3
    angle = -np.pi / 2 + np.arange(segments + 1) * 2 * np.pi / segments
    spoke = np.stack([np.cos(angle), 0 * angle, np.sin(angle)], axis=1)
    turn = (np.arange(sides + 1)[:, None, None] * 2 * np.pi) / sides
    rings = (radius - thick + thick * np.cos(turn)) * spoke + thick * np.sin(turn) * (0, 1, 0)
    rings = rings + (x, 0, radius)
    faces = np.stack([rings[:-1, :-1], rings[1:, :-1], rings[1:, 1:], rings[:-1, 1:]], axis=2)
    return quads(faces, Material.RUBBER, TWO_WHEELER, _BLACK)


def _spokes(x: float, radius: float, count: int) -> Mesh:
    angle = np.arange(count) * np.pi / count + 0.2
    along = np.stack([np.cos(angle), 0 * angle, np.sin(angle)], axis=1) * radius * 0.92
    across = np.stack([-np.sin(angle), 0 * angle, np.cos(angle)], axis=1) * 0.002
    faces = np.stack([-along - across, -along + across, along + across, along - across], axis=1)
    return quads(faces + (x, 0, radius), Material.METAL, TWO_WHEELER, _STEEL)


def _fender(x: float, radius: float, start_deg: float, end_deg: float, colour: ArrayLike) -> Mesh:
    angle = np.radians(np.linspace(start_deg, end_deg, 6))
    arc = np.stack([x + (radius + 0.03) * np.cos(angle), 0 * angle,
                    radius + (radius + 0.03) * np.sin(angle)], axis=1)  # fmt: skip
    left = arc + (0, 0.026, 0)
    right = arc - (0, 0.026, 0)
    faces = np.stack([left[:-1], right[:-1], right[1:], left[1:]], axis=1)
    return quads(faces, Material.METAL, TWO_WHEELER, colour)


def bicycle(rng: Rng) -> Mesh:
    """A city bicycle with mudguards or a sports bicycle, at the origin along +x."""
    is_city = rng.random() < 0.6
    radius, thick = 0.34, 0.024 if is_city or rng.random() < 0.5 else 0.032
    colour = rng.choice([(0.015, 0.015, 0.017), (0.3, 0.3, 0.31), (0.02, 0.04, 0.12),
                         (0.22, 0.015, 0.02), (0.02, 0.07, 0.04), (0.5, 0.5, 0.48)])  # fmt: skip
    saddle = np.array([-0.24, 0, rng.uniform(0.88, 0.98)])
    stem = np.array([0.37, 0, rng.uniform(0.96, 1.1) if is_city else rng.uniform(0.9, 0.98)])
    parts = [_tyre(x, radius, thick) for x in (_REAR, _FRONT)]
    parts += [_spokes(x, radius, 8) for x in (_REAR, _FRONT)]
    parts += _frame(rng, is_city, saddle, stem, radius, colour)
    seat = saddle + np.array([[-0.13, 0, 0.02], [-0.08, 0, 0.03], [0.14, 0, 0.02]])
    parts.append(loft(seat, [0.05, 0.08, 0.02], [0.03, 0.035, 0.02], 5, TWO_WHEELER, _BLACK,
                      Material.RUBBER))  # fmt: skip
    parts.append(discs([(_CRANK, 0.045, 0.29)], (0, 1, 0), 0.095, 8, Material.METAL, TWO_WHEELER,
                       _BLACK))  # fmt: skip
    if is_city:
        parts += [_fender(_REAR, radius, 10, 190, _BLACK), _fender(_FRONT, radius, 60, 200, _BLACK)]
        parts += _luggage(rng, stem)
    return without_slivers(parts)


def _frame(
    rng: Rng, is_city: bool, saddle: Array, stem: Array, radius: float, colour: ArrayLike
) -> list[Mesh]:
    crank, head = np.array([_CRANK, 0, 0.29]), np.array([0.41, 0, 0.72])
    seat_tube = crank + 0.75 * (saddle - crank)
    top = crank + 0.35 * (saddle - crank) if is_city and rng.random() < 0.6 else seat_tube
    frame = [(crank, seat_tube), (crank, head), (top, head + (-0.02, 0, 0.07))]
    thin = [(seat_tube, saddle), (head + (-0.03, 0, 0.1), stem)]
    for y in (-0.05, 0.05):
        thin += [((_REAR, y, radius), crank), ((_REAR, y, radius), seat_tube),
                 ((_FRONT, y, radius), head)]  # fmt: skip
    grip, rise = (-0.14, 0.03) if is_city else (0.02, 0.0)
    half = 0.29 if is_city else 0.27
    bar = [stem + (grip, half, rise), stem + (0.02, 0.14, 0.02), stem + (0.02, -0.14, 0.02),
           stem + (grip, -half, rise)]  # fmt: skip
    return [
        _tubes(np.array(frame), 0.019, colour, Material.CAR_PAINT),
        _tubes(np.array(thin), 0.012, colour, Material.CAR_PAINT),
        _tubes(np.array(bar), 0.014, _BLACK, Material.METAL),
        *_pedals(crank, rng.uniform(0, 2 * np.pi)),
    ]


def _pedals(crank: Array, angle: float) -> list[Mesh]:
    arm = 0.17 * np.array([np.cos(angle), 0, np.sin(angle)])
    ends = [(crank + (0, y, 0), crank + s * arm + (0, y, 0)) for s, y in ((1, 0.07), (-1, -0.07))]
    tread = [end + (0, 0.05 * np.sign(end[1]), 0) for _, end in ends]
    low, high = np.array(tread) - (0.05, 0.04, 0.012), np.array(tread) + (0.05, 0.04, 0.012)
    return [
        _tubes(np.array(ends), 0.011, _STEEL, Material.METAL),
        boxes(low, high, Material.RUBBER, TWO_WHEELER, _BLACK),
    ]


def _luggage(rng: Rng, stem: Array) -> list[Mesh]:
    """A rack over the rear wheel, a rear lamp, and at times a basket."""
    low, high = [(-0.78, -0.06, 0.73)], [(-0.3, 0.06, 0.745)]
    if rng.random() < 0.35:
        low.append(tuple(stem + (0.04, -0.18, -0.26)))
        high.append(tuple(stem + (0.3, 0.18, -0.03)))
    legs = [[(_REAR, y, 0.36), (-0.62, y, 0.73)] for y in (0.06, -0.06)]
    return [
        boxes(low, high, Material.METAL, TWO_WHEELER, (0.03, 0.03, 0.03)),
        _tubes(legs, 0.008, _BLACK, Material.METAL),
        boxes([(-0.86, -0.03, 0.62)], [(-0.82, 0.03, 0.7)], Material.GLASS, TWO_WHEELER,
              (0.25, 0.01, 0.01)),
    ]  # fmt: skip


def cyclist(rng: Rng) -> Mesh:
    """A cyclist riding along +x."""
    angle = rng.uniform(0, 2 * np.pi)
    arm = 0.17 * np.array([np.cos(angle), 0, np.sin(angle)])
    soles = np.array([(_CRANK, 0.12, 0.29) + arm, (_CRANK, -0.12, 0.29) - arm])
    lean = rng.uniform(0.12, 0.42)
    hip = np.array([-0.26, 0, 1.02])
    chest = hip + 0.56 * np.array([np.sin(lean), 0, np.cos(lean)])
    hands = np.array([(0.27, 0.27, 1.08), (0.27, -0.27, 1.08)])
    outfit = replace(draw_outfit(rng), skirt_m=0.0, hem_m=0.0, has_bag=False)
    pose = Pose(hip, chest, soles + (-0.05, 0, 0.09), hands)
    return Mesh.join([bicycle(rng), figure(pose, outfit, RIDER)])
