"""Masts that carry wires: the tram's, of steel with a bracket over the road, and timber poles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.town.furniture.solids import FOOT_M, POLE, STEEL_GREYS, drum, post
from scmpr_ros.town.materials import Material
from scmpr_ros.town.mesh import Mesh, boxes, tubes

Array = NDArray[np.float64]
Rng = np.random.Generator

_PORCELAIN = (0.14, 0.06, 0.03)


def tram_mast(rng: Rng) -> Mesh:
    """A mast whose bracket holds the contact wire over the road (towards +y)."""
    height, reach = rng.uniform(7.4, 8.4), rng.uniform(2.6, 4.0)
    grey = STEEL_GREYS[rng.integers(4)]
    level = height - 1.4
    tip = [0, reach, level + 0.15]
    rods = np.array(
        [[[0, 0, level], tip], [[0, 0, height - 0.2], tip],
         [[0, 0.75 * reach, level + 0.11], [0, reach, level - 0.35]]]
    )  # fmt: skip
    bracket = tubes(rods, 0.028, 5, Material.METAL, POLE, grey)
    beads = np.array([[[0, y, level + 0.02], [0, y + 0.16, level + 0.03]] for y in (0.25, 0.5)])
    insulators = tubes(beads, 0.06, 6, Material.METAL, POLE, _PORCELAIN)
    base = drum(-FOOT_M, 0.25, 0.24, (0.3, 0.29, 0.27), Material.CONCRETE, POLE, 8)
    return Mesh.join([post(height, 0.125, grey, taper=0.65), base, bracket, insulators])


def timber_pole(rng: Rng) -> Mesh:
    """A pole of impregnated wood with insulators on a cross-arm along y."""
    height = rng.uniform(7.0, 9.0)
    brown = rng.uniform(0.07, 0.14) * np.array([1, 0.78, 0.58])
    shaft = drum(-FOOT_M, height, (0.13, 0.09), brown, Material.BARK, POLE, 8)
    arm = boxes(
        [[-0.05, -0.8, height - 0.45]], [[0.05, 0.8, height - 0.35]], Material.WOOD, POLE, brown
    )
    y = np.array([-0.7, -0.3, 0.3, 0.7])
    feet = np.stack([0 * y, y, np.full(4, height - 0.35)], axis=1)
    spans = np.stack([feet, feet + (0, 0, 0.14)], axis=1)
    return Mesh.join([shaft, arm, tubes(spans, 0.04, 6, Material.METAL, POLE, _PORCELAIN)])
