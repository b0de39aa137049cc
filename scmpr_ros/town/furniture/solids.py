"""Solids for street furniture: posts, drums, tapered boxes, ribbons."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from scmpr_ros.geometry import make_transform, rotation_z
from scmpr_ros.semantics import class_id
from scmpr_ros.town.materials import Material
from scmpr_ros.town.mesh import Mesh, boxes, discs, quads, triangles, tubes

Rectangle = tuple[float, float, float, float]
"""A rectangle in plan: x0, y0, x1, y1."""

POLE = class_id("pole")
FOOT_M = 0.12
"""Depth of feet below the ground, so that slopes show no gap below them."""
STEEL_GREYS = np.array(
    [[0.33, 0.34, 0.34], [0.26, 0.27, 0.27], [0.10, 0.105, 0.11], [0.035, 0.05, 0.04]]
)
"""Galvanised steel, new and old, and usual dark paints."""


def post(
    height_m: float, radius_m: float, colour: ArrayLike, label: int = POLE, taper: float = 0.8
) -> Mesh:
    """A round post at the origin; taper: its upper over its lower radius."""
    radius = radius_m * np.array([1.0, taper])
    return drum(-FOOT_M, height_m, radius, colour, Material.METAL, label, 8)


def drum(
    z0: float, z1: float, radius: ArrayLike, colour: ArrayLike, material: Material, label: int,
    sides: int, centre: tuple[float, float] = (0.0, 0.0),
) -> Mesh:  # fmt: skip
    """A vertical tube from z0 to z1 with a lid; radius: a number or (lower, upper)."""
    path = np.array([[*centre, z0], [*centre, z1]])
    radius = np.broadcast_to(np.asarray(radius, np.float64), (2,))
    mantle = tubes(path, radius, sides, material, label, colour)
    lid = discs(path[1:], [[0, 0, 1]], radius[1], sides, material, label, colour)
    return Mesh.join([mantle, lid])


def tapered(
    below: Rectangle, above: Rectangle, z0: float, z1: float, colour: ArrayLike,
    material: Material, label: int,
) -> Mesh:  # fmt: skip
    """A box with different rectangles as lower and upper faces."""
    unit = boxes([[0, 0, 0]], [[1, 1, 1]], material, label).corners
    share = unit[..., 2:]
    plan = np.array(below) * (1 - share) + np.array(above) * share
    xy = plan[..., :2] + unit[..., :2] * (plan[..., 2:] - plan[..., :2])
    corners = np.concatenate([xy, z0 + share * (z1 - z0)], axis=-1)
    return triangles(corners, material, label, colour)


def square(half: float) -> Rectangle:
    """A square about the origin as a rectangle."""
    return -half, -half, half, half


def placed(mesh: Mesh, position: ArrayLike, yaw_rad: float = 0.0) -> Mesh:
    """Rotate a mesh about the z axis, then move it to `position` (3,)."""
    return mesh.transformed(make_transform(rotation_z(yaw_rad), np.asarray(position, np.float64)))


def ribbon(path: ArrayLike, width: ArrayLike, material: Material, label: int, colour: ArrayLike,
           across: ArrayLike) -> Mesh:  # fmt: skip
    """A flat band along a path (K, 3), of width (K,) along the unit direction `across`."""
    path = np.asarray(path, np.float64)
    half = np.broadcast_to(width, (len(path),))[:, None] / 2 * np.asarray(across)
    one, other = path - half, path + half
    faces = np.stack([one[:-1], one[1:], other[1:], other[:-1]], axis=1)
    return quads(faces, material, label, colour)
