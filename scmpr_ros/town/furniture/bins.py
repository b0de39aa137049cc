"""Bins: wheeled household bins in German colours, litter bins, recycling containers."""

from __future__ import annotations

import numpy as np

from scmpr_ros.semantics import IGNORE
from scmpr_ros.town.furniture.solids import FOOT_M, STEEL_GREYS, drum, post, tapered
from scmpr_ros.town.materials import Material
from scmpr_ros.town.mesh import Mesh, boxes, discs, tubes

Rng = np.random.Generator

_GREY, _BLACK = np.array([0.10, 0.105, 0.11]), np.array([0.025, 0.026, 0.028])
_LIDS = np.array([[0.02, 0.07, 0.26], [0.62, 0.40, 0.01], [0.11, 0.055, 0.02], [0.02, 0.10, 0.04]])
"""Paper, packaging, organic waste, glass."""


def wheeled_bin(rng: Rng) -> Mesh:
    """A household bin facing +y, grey or black, with a coloured lid or coloured all over."""
    body = np.where(rng.random() < 0.6, _GREY, _BLACK)
    lid = body if rng.random() < 0.35 else _LIDS[rng.choice(4, p=[0.36, 0.28, 0.3, 0.06])]
    if rng.random() < 0.5:
        body = lid
    w, d, h = ((0.24, 0.27, 0.93), (0.29, 0.36, 0.98))[rng.integers(2)]
    body, lid = body * rng.uniform(0.8, 1.2), lid * rng.uniform(0.8, 1.2)
    plastic = Material.CAR_PAINT, IGNORE
    shell = tapered(
        (-0.8 * w, -0.7 * d, 0.8 * w, 0.72 * d), (-w, -d, w, d), 0.04, h, body, *plastic
    )
    rim = boxes([[-w - 0.02, -d - 0.02, h - 0.06]], [[w + 0.02, d + 0.02, h]], *plastic, 0.9 * body)
    cover = tapered((-w - 0.02, -d - 0.02, w + 0.02, d + 0.03), (-w + 0.04, -d + 0.02, w - 0.04,
                    d - 0.1), h, h + 0.08, lid, *plastic)  # fmt: skip
    handle = tubes([[-w, -d - 0.07, h - 0.02], [w, -d - 0.07, h - 0.02]], 0.017, 5, *plastic, body)
    hubs = [[x, -0.62 * d, 0.1] for x in (-0.9 * w, 0.9 * w)]
    wheels = discs(hubs, [[1, 0, 0]], 0.1, 10, Material.RUBBER, IGNORE, 0.03)
    axle = tubes([[-0.9 * w, -0.62 * d, 0.1], [0.9 * w, -0.62 * d, 0.1]], 0.1, 8, Material.RUBBER,
                 IGNORE, 0.03)  # fmt: skip
    stand = boxes([[-0.7 * w, 0.4 * d, -0.01]], [[0.7 * w, 0.7 * d, 0.05]], *plastic, body)
    return Mesh.join([shell, rim, cover, handle, wheels, axle, stand])


def recycling_container(rng: Rng) -> Mesh:
    """A bell-shaped container for white, green or brown glass."""
    green = np.array([0.03, 0.11, 0.045]) * rng.uniform(0.7, 1.3)
    path = np.array([[0, 0, -0.03], [0, 0, 0.9], [0, 0, 1.35], [0, 0, 1.62]])
    bell = tubes(path, [0.66, 0.72, 0.58, 0.2], 12, Material.CAR_PAINT, IGNORE, green)
    top = discs(path[-1:], [[0, 0, 1]], 0.2, 12, Material.CAR_PAINT, IGNORE, 0.6 * green)
    slots = [[x, y, 1.18] for x, y in ((0.63, 0), (-0.63, 0), (0, 0.63), (0, -0.63))]
    axes = np.array(slots) * (1, 1, 0) / 0.63
    holes = discs(np.array(slots) + 0.05 * axes, axes, 0.11, 8, Material.RUBBER, IGNORE, 0.015)
    tint = ((0.6, 0.6, 0.58), (0.03, 0.2, 0.06), (0.15, 0.06, 0.02))[rng.integers(3)]
    low = np.array([[-0.76, -0.14, 0.5], [0.58, -0.14, 0.5]])
    stickers = boxes(low, low + (0.18, 0.28, 0.3), Material.CAR_PAINT, IGNORE, tint)
    return Mesh.join([bell, top, holes, stickers])


def litter_bin(rng: Rng) -> Mesh:
    """A small bin on a post, or a drum on the ground."""
    paint = ((0.62, 0.16, 0.01), (0.02, 0.07, 0.04), *STEEL_GREYS[:3])[rng.integers(5)]
    if rng.random() < 0.5:
        bucket = drum(0.52, 0.98, (0.15, 0.18), paint, Material.METAL, IGNORE, 10, (0.0, 0.2))
        mouth = discs([[0, 0.2, 0.985]], [[0, 0, 1]], 0.14, 10, Material.RUBBER, IGNORE, 0.01)
        return Mesh.join([post(1.2, 0.028, STEEL_GREYS[1], IGNORE), bucket, mouth])
    body = drum(-FOOT_M, 0.8, 0.23, paint, Material.METAL, IGNORE, 12)
    gap = drum(0.8, 0.92, 0.19, 0.015, Material.RUBBER, IGNORE, 12)
    roof = drum(0.92, 0.98, (0.25, 0.2), paint, Material.METAL, IGNORE, 12)
    return Mesh.join([body, gap, roof])
