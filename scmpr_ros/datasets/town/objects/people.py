"""People, bicycles and riders."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.datasets.town.materials import Material
from scmpr_ros.datasets.town.mesh import Mesh, tubes
from scmpr_ros.semantics import class_id

Array = NDArray[np.float64]
Rng = np.random.Generator

TWO_WHEELER, PERSON, RIDER = (class_id(name) for name in ("two_wheeler", "person", "rider"))


def _limb(a: Array, b: Array, radius: tuple[float, float], colour: Array, label: int) -> Mesh:
    return tubes(np.stack([a, b]), np.array(radius), 7, Material.CLOTH, label, colour)


def person(rng: Rng, label: int = PERSON, seated: bool = False) -> Mesh:
    """A person at the origin that walks along +x, or sits on a saddle one metre up."""
    scale = rng.uniform(0.92, 1.08)
    hue = 1 + rng.choice([0.1, 0.5], p=(0.8, 0.2)) * rng.normal(0, 0.6, (2, 3))
    coat, trousers = np.clip(rng.choice([0.015, 0.04, 0.1, 0.3], (2, 1)) * hue, 0.008, 0.6)
    skin = np.array([0.42, 0.26, 0.18]) * rng.uniform(0.5, 1.1)
    stride = 0.25 * rng.uniform(0.3, 1.2)
    hip, shoulder = (np.array([-0.1, 0, 0.95]), np.array([0.15, 0, 1.45])) if seated else (
        np.array([0, 0, 0.9]), np.array([0.03, 0, 1.45]))  # fmt: skip
    parts = [_limb(hip - (0, 0, 0.05), shoulder, (0.17, 0.20), coat, label)]
    for side in (-1, 1):
        foot = np.array([side * stride, side * 0.09, 0.05 if not seated else 0.3 + 0.12 * side])
        knee = (hip + foot) / 2 + (0.12, side * 0.05, 0.05)
        joint = hip + (0, side * 0.09, 0)
        parts += [
            _limb(joint, knee, (0.09, 0.07), trousers, label),
            _limb(knee, foot, (0.07, 0.05), trousers, label),
        ]
        hand = (
            np.array([0.45, side * 0.2, 1.05])
            if seated
            else np.array([-side * stride, side * 0.27, 0.85])
        )
        parts.append(_limb(shoulder + (0, side * 0.2, -0.03), hand, (0.06, 0.04), coat, label))
    head = shoulder + (0.03, 0, 0.0)
    z = np.array([0.0, 0.06, 0.12, 0.2, 0.27, 0.3])
    r = np.array([0.06, 0.06, 0.095, 0.105, 0.08, 0.01])
    parts.append(tubes(head + z[:, None] * (0, 0, 1), r, 8, Material.CLOTH, label, skin))
    hair = tubes(
        head + (-0.025, 0, 0) + z[3:, None] * (0, 0, 1),
        r[3:] * 1.1,
        8,
        Material.CLOTH,
        label,
        (0.04, 0.03, 0.02),
    )
    mesh = Mesh.join([*parts, hair])
    return mesh.transformed(np.diag([scale, scale, scale, 1.0]))


def bicycle(rng: Rng) -> Mesh:
    """A bicycle at the origin along +x."""
    colour = rng.uniform(0.02, 0.35, 3)
    angle = np.linspace(0, 2 * np.pi, 17)
    ring = 0.34 * np.stack([np.cos(angle), 0 * angle, np.sin(angle)], axis=1)
    wheels = []
    for x in (-0.52, 0.52):
        rim = ring + (x, 0, 0.34)
        pieces = np.stack([rim[:-1], rim[1:]], axis=1)
        wheels.append(tubes(pieces, 0.022, 4, Material.RUBBER, TWO_WHEELER, (0.02, 0.02, 0.02)))
    rear, front, saddle, bar, crank = (
        (-0.52, 0, 0.34),
        (0.52, 0, 0.34),
        (-0.2, 0, 0.95),
        (0.38, 0, 1.0),
        (-0.05, 0, 0.3),
    )
    frame = [
        [rear, crank],
        [crank, saddle],
        [saddle, rear],
        [crank, bar],
        [bar, front],
        [saddle, bar],
    ]
    grip = [[(0.36, -0.28, 1.02), (0.36, 0.28, 1.02)], [(-0.3, 0, 0.97), (-0.08, 0, 0.97)]]
    return Mesh.join([
        *wheels, tubes(np.array(frame), 0.018, 5, Material.CAR_PAINT, TWO_WHEELER, colour),
        tubes(np.array(grip), [0.02, 0.03], 5, Material.RUBBER, TWO_WHEELER, (0.02, 0.02, 0.02)),
    ])  # fmt: skip


def cyclist(rng: Rng) -> Mesh:
    """A rider on a bicycle along +x."""
    return Mesh.join([bicycle(rng), person(rng, RIDER, seated=True)])
