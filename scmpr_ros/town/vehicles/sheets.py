"""Curved, symmetric surfaces as quads of point grids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scmpr_ros.town.mesh import Mesh

Array = NDArray[np.float64]

SMALLEST_M2 = 1e-6
"""Smaller triangles are dropped: they occur at tips of grids and where cuts meet edges."""


def cells(points: Array) -> Array:
    """Quads (..., R-1, C-1, 4, 3) of point grids (..., R, C, 3).

    They face outwards on a left side if rows run upwards and columns forwards.
    """
    a, b = points[..., :-1, :-1, :], points[..., :-1, 1:, :]
    c, d = points[..., 1:, 1:, :], points[..., 1:, :-1, :]
    return np.stack([a, d, c, b], axis=-2)


def mirrored(faces: ArrayLike) -> Array:
    """Quads (N, 4, 3) of the left side (y > 0), followed by their mirror images."""
    left = np.asarray(faces, np.float64).reshape(-1, 4, 3)
    right = (left * (1, -1, 1))[:, [0, 3, 2, 1]]
    return np.concatenate([left, right])


def ellipses(centre: ArrayLike, across: ArrayLike, along: ArrayLike, sides: int) -> Array:
    """Rings (K, sides + 1, 3) about centres (K, 3), spanned by half axes (K, 3) or (3,)."""
    centre = np.asarray(centre, np.float64)
    across, along = (np.broadcast_to(a, centre.shape)[:, None] for a in (across, along))
    angle = (np.arange(sides + 1) + 0.5)[:, None] * 2 * np.pi / sides
    return centre[:, None] + np.cos(angle) * across + np.sin(angle) * along


def stretched(mesh: Mesh, factors: tuple[float, float, float]) -> Mesh:
    """Scale a mesh along x, y and z."""
    size = np.asarray(factors, np.float32)
    normal = mesh.normal / size
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    return replace(mesh, corners=mesh.corners * size, normal=normal)


def without_slivers(parts: Sequence[Mesh]) -> Mesh:
    """Concatenate meshes and drop triangles below `SMALLEST_M2`."""
    mesh = Mesh.join(parts)
    edges = mesh.corners[:, 1:].astype(np.float64) - mesh.corners[:, :1]
    area = 0.5 * np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
    names = [f.name for f in fields(mesh) if f.name != "lights"]
    return replace(mesh, **{name: getattr(mesh, name)[area > SMALLEST_M2] for name in names})
