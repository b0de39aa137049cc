"""Benches, café tables with parasols, and planters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.semantics import IGNORE, class_id
from scmpr_ros.town.furniture.solids import (
    FOOT_M,
    STEEL_GREYS,
    drum,
    placed,
    square,
    tapered,
)
from scmpr_ros.town.materials import Material
from scmpr_ros.town.mesh import Mesh, boxes, discs, triangles, tubes

Array = NDArray[np.float64]
Rng = np.random.Generator

VEGETATION = class_id("vegetation")
_PARASOLS = np.array(
    [[0.62, 0.58, 0.50], [0.42, 0.03, 0.03], [0.65, 0.45, 0.05], [0.05, 0.14, 0.06]]
)
_BLOSSOMS = np.array(
    [[0.50, 0.02, 0.03], [0.60, 0.10, 0.25], [0.65, 0.45, 0.03], [0.60, 0.58, 0.55]]
)


def bench(rng: Rng) -> Mesh:
    """A bench that faces +y: slats on iron feet, most with a backrest."""
    tone = rng.uniform(0.12, 0.26) * np.array([1, 0.68, 0.42])
    if rng.random() < 0.15:
        tone = np.array([0.30, 0.31, 0.31])
    w = rng.uniform(0.75, 1.0)
    y = 0.08 + 0.12 * np.arange(4)
    seat = np.stack([np.full(4, -w), y, np.full(4, 0.43)], axis=1)
    parts = [boxes(seat, seat + (2 * w, 0.1, 0.035), Material.WOOD, IGNORE, tone)]
    has_back = rng.random() < 0.8
    if has_back:
        z = 0.55 + 0.14 * np.arange(3)
        back = np.stack([np.full(3, -w), 0.05 - 0.25 * (z - 0.43), z], axis=1)
        parts.append(boxes(back, back + (2 * w, 0.03, 0.1), Material.WOOD, IGNORE, tone))
    iron = STEEL_GREYS[2]
    for x in (-0.75 * w, 0.75 * w):
        for y0 in (0.1, 0.48):
            leg = tubes([[x, y0, -FOOT_M], [x, y0, 0.43]], 0.025, 4, Material.METAL, IGNORE, iron)
            parts.append(leg)
        if has_back:
            arm = [[x, 0.1, 0.4], [x, -0.07, 0.9]]
            parts.append(tubes(arm, 0.022, 4, Material.METAL, IGNORE, iron))
    return Mesh.join(parts)


def cafe_table(rng: Rng) -> Mesh:
    """A round table with chairs, at times under a parasol."""
    colour = STEEL_GREYS[rng.integers(3)]
    top = drum(0.70, 0.73, 0.36, (0.32, 0.30, 0.27), Material.WOOD, IGNORE, 10)
    leg = drum(-0.02, 0.7, 0.03, colour, Material.METAL, IGNORE, 6)
    foot = drum(-0.02, 0.03, 0.22, colour, Material.METAL, IGNORE, 8)
    chair = _chair(rng.choice(_PARASOLS) * 0.6 if rng.random() < 0.5 else colour)
    turns = np.arange(rng.integers(2, 5)) * 2.1 + rng.uniform(0, 6)
    chairs = [
        placed(chair, (0.62 * np.cos(a), 0.62 * np.sin(a), 0), a + np.pi + rng.normal(0, 0.25))
        for a in turns
    ]
    parts = [top, leg, foot, *chairs]
    if rng.random() < 0.55:
        parts.append(_parasol(_PARASOLS[rng.integers(len(_PARASOLS))]))
    return Mesh.join(parts)


def _chair(colour: Array) -> Mesh:
    """A chair that faces +x."""
    legs = np.array([[x, y, -0.02] for x in (-0.19, 0.17) for y in (-0.19, 0.17)])
    spans = np.stack([legs, legs + (0, 0, 0.46)], axis=1)
    rods = tubes(spans, 0.014, 3, Material.METAL, IGNORE, 0.15)
    seat = [[-0.2, -0.2, 0.44], [-0.22, -0.2, 0.6]]
    slab = boxes(seat, [[0.2, 0.2, 0.47], [-0.19, 0.2, 0.86]], Material.WOOD, IGNORE, colour)
    return Mesh.join([rods, slab])


def _parasol(colour: Array) -> Mesh:
    """An octagonal parasol."""
    pole = drum(0.7, 2.55, 0.02, 0.3, Material.METAL, IGNORE, 6)
    rim, top = np.array([0, 0, 2.15]), np.array([0, 0, 2.55])
    cloth = tubes([rim, top], [1.35, 0.04], 8, Material.CLOTH, IGNORE, colour)
    valance = tubes(
        [rim - (0, 0, 0.14), rim], [1.35, 1.35], 8, Material.CLOTH, IGNORE, 0.8 * colour
    )
    return Mesh.join([pole, cloth, valance])


def planter(rng: Rng) -> Mesh:
    """A concrete, wooden or clay tub with leaves and blossoms."""
    kind, size = rng.integers(3), rng.uniform(0.28, 0.5)
    rim = rng.uniform(0.35, 0.6)
    if kind == 0:
        tub = drum(
            -FOOT_M, rim, (0.75 * size, size), (0.34, 0.33, 0.30), Material.CONCRETE, IGNORE, 12
        )
    elif kind == 1:
        tub = tapered(square(0.95 * size), square(size), -FOOT_M, rim, (0.16, 0.11, 0.07),
                      Material.WOOD, IGNORE)  # fmt: skip
    else:
        tub = drum(
            -FOOT_M, rim, (0.7 * size, size), (0.33, 0.13, 0.07), Material.CONCRETE, IGNORE, 12
        )
    soil = discs([[0, 0, rim + 0.004]], [[0, 0, 1]], 0.9 * size, 8, Material.SOIL, IGNORE, 0.05)
    height = rng.uniform(0.25, 0.5)
    green = _tufts(rng, 70, rim, size, height, 0.16, Material.LEAVES, (0.06, 0.11, 0.03))
    blossom = _BLOSSOMS[rng.integers(len(_BLOSSOMS))]
    flowers = _tufts(rng, 30, rim + 0.4 * height, size, 0.7 * height, 0.06, Material.CLOTH, blossom)
    return Mesh.join([tub, soil, green, flowers])


def _tufts(
    rng: Rng, count: int, z: float, radius: float, height: float, size: float, material: Material,
    colour: tuple[float, float, float] | Array,
) -> Mesh:  # fmt: skip
    """Small random triangles over a dome."""
    angle, r = rng.uniform(0, 2 * np.pi, count), radius * np.sqrt(rng.random(count))
    lift = height * np.sqrt(np.clip(1 - (r / radius) ** 2, 0, 1)) * rng.uniform(0.4, 1.0, count)
    centre = np.stack([r * np.cos(angle), r * np.sin(angle), z + lift], axis=1)
    corners = centre[:, None] + size * rng.uniform(-1, 1, (count, 3, 3))
    tint = np.asarray(colour) * rng.uniform(0.6, 1.3, (count, 1))
    outward = centre - (0, 0, z - 0.2)
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    return triangles(corners, material, VEGETATION, tint, normal=outward)
