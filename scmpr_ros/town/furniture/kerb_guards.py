"""Bollards, railings, bicycle racks and works barriers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.semantics import IGNORE, class_id
from scmpr_ros.town.furniture.solids import (
    FOOT_M,
    POLE,
    STEEL_GREYS,
    drum,
    placed,
    post,
    square,
    tapered,
)
from scmpr_ros.town.materials import Material
from scmpr_ros.town.mesh import Mesh, boxes, tubes

Array = NDArray[np.float64]
Rng = np.random.Generator

BARRIER = class_id("barrier")
_WHITE, _RED = np.array([0.62, 0.62, 0.60]), np.array([0.50, 0.025, 0.02])


def bollard(rng: Rng) -> Mesh:
    """A steel post with a white or a red and white top, a cast one with a knob, or a stone."""
    kind = rng.choice(["banded", "steel", "cast", "stone"], p=[0.5, 0.2, 0.2, 0.1])
    height = rng.uniform(0.85, 1.1)
    if kind == "stone":
        tone = rng.uniform(0.25, 0.4)
        return drum(-FOOT_M, 0.62, (0.17, 0.13), tone, Material.CONCRETE, POLE, 10)
    if kind == "cast":
        iron = STEEL_GREYS[rng.integers(2, 4)]
        neck = drum(height - 0.16, height - 0.1, 0.065, iron, Material.METAL, POLE, 8)
        knob = drum(height - 0.1, height, (0.075, 0.045), iron, Material.METAL, POLE, 8)
        return Mesh.join([post(height - 0.12, 0.06, iron), neck, knob])
    paint = STEEL_GREYS[rng.integers(2, 4) if kind == "banded" else rng.integers(2)]
    parts = [post(height, 0.044, paint, taper=1.0)]
    if kind == "banded":
        red = rng.random() < 0.5
        edges = height - np.array([0.06, 0.16, 0.26, 0.36])
        for i, colour in enumerate((_WHITE, _RED, _WHITE) if red else (_WHITE,)):
            parts.append(_sleeve(edges[i + 1], edges[i], 0.047, colour))
    return Mesh.join(parts)


def _sleeve(z0: float, z1: float, radius: float, colour: Array) -> Mesh:
    return tubes([[0, 0, z0], [0, 0, z1]], radius, 8, Material.METAL, POLE, colour)


def _hoop(width: float, height: float, radius: float, colour: Array, label: int) -> Mesh:
    """A bent tube in the plane y = 0: two legs and a top with bevelled corners."""
    w, r = width / 2, 0.1
    spans = np.array(
        [[[-w, 0, -FOOT_M], [-w, 0, height - r]], [[w, 0, -FOOT_M], [w, 0, height - r]],
         [[-w, 0, height - r], [-w + r, 0, height]], [[w, 0, height - r], [w - r, 0, height]],
         [[-w + r, 0, height], [w - r, 0, height]]]
    )  # fmt: skip
    return tubes(spans, radius, 5, Material.METAL, label, colour)


def railing(rng: Rng) -> Mesh:
    """A railing panel along x, two metres long, with a rail or bars."""
    paint = STEEL_GREYS[rng.integers(4)] if rng.random() < 0.7 else _RED
    hoop = _hoop(1.94, rng.uniform(0.95, 1.05), 0.024, paint, BARRIER)
    level = 0.5 if rng.random() < 0.5 else 0.14
    rail = tubes([[-0.97, 0, level], [0.97, 0, level]], 0.018, 5, Material.METAL, BARRIER, paint)
    if level > 0.4:
        return Mesh.join([hoop, rail])
    x = np.linspace(-0.85, 0.85, 13)
    feet = np.stack([x, 0 * x, 0 * x + 0.14], axis=1)
    bars = tubes(
        np.stack([feet, feet + (0, 0, 0.82)], axis=1), 0.01, 3, Material.METAL, BARRIER, paint
    )
    return Mesh.join([hoop, rail, bars])


def bicycle_rack(rng: Rng) -> Mesh:
    """A row of hoops along x for bicycles that stand across x."""
    paint = STEEL_GREYS[rng.integers(2)]
    hoop = placed(_hoop(0.75, 0.82, 0.022, paint, BARRIER), (0, 0, 0), np.pi / 2)
    count = int(rng.integers(3, 7))
    return Mesh.join([placed(hoop, (0.9 * (i - (count - 1) / 2), 0, 0)) for i in range(count)])


def works_barrier(rng: Rng) -> Mesh:
    """A striped board along x on two feet, at times with a lamp."""
    width, stripes = rng.uniform(1.6, 2.4), 11
    x = np.linspace(-width / 2, width / 2, stripes + 1)
    low = np.stack([x[:-1], np.full(stripes, -0.012), np.full(stripes, 0.8)], axis=1)
    high = np.stack([x[1:], np.full(stripes, 0.012), np.full(stripes, 1.02)], axis=1)
    colours = np.where(np.arange(stripes)[:, None] % 2, _WHITE, _RED)
    board = boxes(low, high, Material.METAL, BARRIER, colours)
    parts = [board]
    for side in (-0.8, 0.8):
        at = (side * width / 2, 0, 0)
        foot = tapered((-0.12, -0.4, 0.12, 0.4), (-0.1, -0.36, 0.1, 0.36), -0.01, 0.1, 0.03,
                       Material.RUBBER, IGNORE)  # fmt: skip
        leg = tapered(square(0.025), square(0.025), 0.1, 1.05, 0.35, Material.METAL, BARRIER)
        parts.append(placed(Mesh.join([foot, leg]), at))
    if rng.random() < 0.5:
        lamp = drum(1.05, 1.22, 0.09, (0.9, 0.35, 0.03), Material.LAMP, BARRIER, 8)
        parts.append(placed(lamp, (-0.8 * width / 2, 0, 0)))
    return Mesh.join(parts)
