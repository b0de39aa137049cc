"""Street lamps: masts with arms, flat heads, mushrooms, lanterns and pendants, each with a light.

A lamp stands at the origin; its arm reaches over the road, towards +y.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scmpr_ros.geometry import make_transform
from scmpr_ros.town.furniture.solids import (
    FOOT_M,
    POLE,
    STEEL_GREYS,
    drum,
    post,
    square,
    tapered,
)
from scmpr_ros.town.materials import Material
from scmpr_ros.town.mesh import Mesh, discs, light, tubes

Array = NDArray[np.float64]
Rng = np.random.Generator

_SODIUM, _WHITE = np.array([1.0, 0.62, 0.28]), np.array([0.9, 0.95, 1.0])
_HALF_ANGLE_DEG = 80.0
_OLD_TOWN_GREEN = np.array([0.02, 0.035, 0.028])


def street_lamp(rng: Rng) -> Mesh:
    """A street lamp of a random kind."""
    kinds: tuple[tuple[Callable[[Rng, Array, Array], Mesh], float], ...] = (
        (_curved_arm, 0.24), (_flat_head, 0.24), (_twin, 0.08),
        (_mushroom, 0.2), (_lantern, 0.12), (_pendant, 0.12),
    )  # fmt: skip
    build = kinds[rng.choice(len(kinds), p=[share for _, share in kinds])][0]
    glow = _SODIUM if rng.random() < 0.55 else _WHITE
    return build(rng, STEEL_GREYS[rng.choice(4, p=[0.4, 0.3, 0.15, 0.15])], glow)


def _shine(at: ArrayLike, glow: Array) -> Mesh:
    """The light of a cover at `at` (3,), placed below it so that it casts no shadow."""
    below = np.asarray(at, np.float64) - (0, 0, 0.05)
    return light(below, (0, 0, -1), 1.1 * glow, _HALF_ANGLE_DEG)


def _mast(height: float, colour: Array) -> Mesh:
    """A mast with a thicker base."""
    radius = 0.007 * height + 0.018
    base = drum(-FOOT_M, 1.1, radius * 1.35, colour, Material.METAL, POLE, 8)
    return Mesh.join([base, post(height, radius, colour, taper=0.6)])


def _luminaire(length: float, glow: Array) -> Mesh:
    """A flat lamp head from the origin along +y, metal above and a cover below."""
    body = tapered((-0.13, 0, 0.13, length), (-0.06, 0.05, 0.06, 0.8 * length), 0.0, 0.12,
                   (0.30, 0.31, 0.32), Material.METAL, POLE)  # fmt: skip
    near, far = 0.35 * length, length - 0.04
    cover = tapered((-0.07, near + 0.04, 0.07, far - 0.04), (-0.11, near, 0.11, far), -0.06, -0.002,
                    np.sqrt(glow), Material.LAMP, POLE)  # fmt: skip
    return Mesh.join([body, cover, _shine([0, (near + far) / 2, -0.06], glow)])


def _mount(mesh: Mesh, y: float, z: float, rise_rad: float = 0.0) -> Mesh:
    """Move a mesh to (0, y, z) and raise its y axis by an angle."""
    c, s = np.cos(rise_rad), np.sin(rise_rad)
    R = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    return mesh.transformed(make_transform(R, np.array([0, y, z])))


def _arm(reach: float, z0: float, z1: float, colour: Array) -> Mesh:
    """A curved tube that leaves the mast steeply at z0 and ends horizontally at z1."""
    t = np.array([0.0, 0.35, 0.7, 1.0])
    path = np.stack([0 * t, reach * t, z0 + (z1 - z0) * (1 - (1 - t) ** 2)], axis=1)
    return tubes(path, [0.045, 0.04, 0.035, 0.03], 6, Material.METAL, POLE, colour)


def _curved_arm(rng: Rng, colour: Array, glow: Array) -> Mesh:
    """A tall mast with one arm over the road."""
    height, reach = rng.uniform(7.0, 9.5), rng.uniform(1.0, 2.4)
    rise = rng.uniform(0.3, 0.8)
    head = _mount(_luminaire(rng.uniform(0.6, 0.85), glow), reach - 0.05, height + rise, 0.09)
    arm = _arm(reach, height - 0.05, height + rise + 0.03, colour)
    return Mesh.join([_mast(height, colour), arm, head])


def _flat_head(rng: Rng, colour: Array, glow: Array) -> Mesh:
    """A head on top of the mast."""
    height = rng.uniform(4.5, 7.5)
    head = _mount(_luminaire(rng.uniform(0.6, 1.1), glow), -0.1, height - 0.02, rng.uniform(0, 0.2))
    return Mesh.join([_mast(height, colour), head])


def _twin(rng: Rng, colour: Array, glow: Array) -> Mesh:
    """Two arms, over the road and over the pavement."""
    one = _curved_arm(rng, colour, glow)
    half_turn = make_transform(np.diag([-1.0, -1.0, 1.0]), np.zeros(3))
    height = float(one.corners[..., 2].max())
    other = _mount(_luminaire(0.6, glow), 0.75, height - 0.25, 0.09)
    arm = _arm(0.8, height - 0.7, height - 0.22, colour)
    return Mesh.join([one, Mesh.join([other, arm]).transformed(half_turn)])


def _mushroom(rng: Rng, colour: Array, glow: Array) -> Mesh:
    """A glass drum under a wide dome, on a low post."""
    height, radius = rng.uniform(3.4, 4.8), rng.uniform(0.24, 0.34)
    top = height + 0.32
    glass = drum(height, top, (0.10, 0.16), np.sqrt(glow), Material.LAMP, POLE, 10)
    rim = np.array([[0, 0, top], [0, 0, top + 0.1], [0, 0, top + 0.2]])
    dome = tubes(rim, radius * np.array([1.0, 0.8, 0.25]), 12, Material.METAL, POLE, colour)
    under = discs([[0, 0, top]], [[0, 0, -1]], radius, 12, Material.METAL, POLE, (0.5, 0.5, 0.5))
    return Mesh.join([_mast(height, colour), glass, dome, under, _shine([0, 0.3, top], glow)])


def _lantern(rng: Rng, _: Array, glow: Array) -> Mesh:
    """An old-town lantern: four tapering panes in a frame on a moulded post."""
    height, green = rng.uniform(3.1, 3.9), _OLD_TOWN_GREEN
    foot = drum(-FOOT_M, 0.5, (0.14, 0.10), green, Material.METAL, POLE, 8)
    rings = drum(0.5, 0.62, 0.115, green, Material.METAL, POLE, 8)
    shaft = post(height, 0.055, green)
    iron, glass = (Material.METAL, POLE), (Material.LAMP, POLE)
    tray = tapered(square(0.06), square(0.14), height, height + 0.05, green, *iron)
    low, high = height + 0.05, height + 0.5
    panes = tapered(square(0.125), square(0.205), low, high, np.sqrt(glow), *glass)
    bars = [
        tubes([[x * 0.13, y * 0.13, low], [x * 0.21, y * 0.21, high]], 0.014, 4, *iron, green)
        for x in (-1, 1)
        for y in (-1, 1)
    ]
    roof = tapered(square(0.25), square(0.07), high, high + 0.17, green, *iron)
    finial = drum(high + 0.17, high + 0.28, (0.03, 0.012), green, *iron, 6)
    parts = [foot, rings, shaft, tray, panes, *bars, roof, finial]
    return Mesh.join([*parts, _shine([0, 0.3, low], glow)])


def _pendant(rng: Rng, colour: Array, glow: Array) -> Mesh:
    """A bell hanging from a straight arm with a stay."""
    height, reach = rng.uniform(5.5, 8.0), rng.uniform(1.6, 3.0)
    arm = tubes([[0, 0, height - 0.3], [0, reach, height]], 0.035, 6, Material.METAL, POLE, colour)
    stay = tubes([[0, 0, height + 0.5], [0, reach * 0.8, height - 0.04]], 0.012, 4,
                 Material.METAL, POLE, colour)  # fmt: skip
    bell, cover = height - 0.16, height - 0.5
    rod = tubes([[0, reach, bell], [0, reach, height]], 0.015, 4, Material.METAL, POLE, colour)
    hood = np.array([[0, reach, cover], [0, reach, cover + 0.2], [0, reach, bell]])
    shell = tubes(hood, [0.24, 0.16, 0.06], 10, Material.METAL, POLE, (0.25, 0.26, 0.26))
    bowl = tubes([[0, reach, cover - 0.12], [0, reach, cover]], [0.09, 0.19], 10, Material.LAMP,
                 POLE, np.sqrt(glow))  # fmt: skip
    bottom = discs([[0, reach, cover - 0.12]], [[0, 0, -1]], 0.09, 10, Material.LAMP, POLE,
                   np.sqrt(glow))  # fmt: skip
    parts = [_mast(height + 0.5, colour), arm, stay, rod, shell, bowl, bottom]
    return Mesh.join([*parts, _shine([0, reach, cover - 0.12], glow)])
