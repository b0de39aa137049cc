"""Ground covers off the streets: paths, driveways, yards, forecourts, tree pits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.semantics import class_id
from scmpr_ros.town.ground.plan_triangles import split_triangles
from scmpr_ros.town.layout.kerbside import Site
from scmpr_ros.town.materials import Material
from scmpr_ros.town.mesh import Mesh, triangles

Array = NDArray[np.float64]

SIDEWALK, TERRAIN = class_id("sidewalk"), class_id("terrain")


@dataclass(frozen=True)
class GroundCover:
    """A ground cover, lift_m above the ground."""

    material: Material
    label: int
    colour: tuple[float, float, float]
    lift_m: float = 0.025


_COARSE_M = 0.06

COVERS: dict[str, GroundCover] = {
    "slabs": GroundCover(Material.PAVING, SIDEWALK, (0.30, 0.29, 0.27)),
    "setts": GroundCover(Material.COBBLE, SIDEWALK, (0.27, 0.26, 0.25)),
    "forecourt": GroundCover(Material.PAVING, SIDEWALK, (0.27, 0.265, 0.25), 0.012),
    "asphalt": GroundCover(Material.ASPHALT, SIDEWALK, (0.15, 0.15, 0.15), 0.02),
    "lane": GroundCover(Material.ASPHALT, SIDEWALK, (0.16, 0.16, 0.16), 0.045),
    "gravel": GroundCover(Material.GRAVEL, TERRAIN, (0.26, 0.24, 0.20), 0.02),
    "pit": GroundCover(Material.SOIL, TERRAIN, (0.11, 0.085, 0.06), 0.03),
}


def lay(site: Site, corners: Array, kind: str) -> Mesh:
    """Cover plan quads (N, 4, 2), corners in cyclic order, where they are off the pavement."""
    tris = np.asarray(corners)[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3, 2)
    beyond = site.ground.beyond_pavement(tris.reshape(-1, 2)).reshape(-1, 3)
    return cover(site, split_triangles(tris, beyond, 0.0)[1], kind)


def cover(site: Site, tris: Array, kind: str) -> Mesh:
    """Cover plan triangles (M, 3, 2)."""
    style = COVERS[kind]
    flat = tris.reshape(-1, 2)
    points = site.ground.on_ground(flat)
    # The coarse land away from streets may be a few centimetres above the relief.
    away = np.clip(site.ground.beyond_pavement(flat) / 1.5 - 0.7, 0.0, 1.0)
    points[:, 2] += style.lift_m + _COARSE_M * away
    points = points.reshape(-1, 3, 3)
    return triangles(points, style.material, style.label, style.colour, uv=tris)


def strip(line: Array, width_m: float) -> Array:
    """Quads (K - 1, 4, 2) of a path `width_m` wide along points (K, 2)."""
    along = np.gradient(line, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    left = width_m / 2 * np.stack([-along[:, 1], along[:, 0]], axis=1)
    return tiles(np.stack([line - left, line + left], axis=1))


def tiles(points: Array) -> Array:
    """Quads (N, 4, 2) of a grid of points (S, B, 2)."""
    around = (points[:-1, :-1], points[1:, :-1], points[1:, 1:], points[:-1, 1:])
    return np.stack(around, axis=2).reshape(-1, 4, 2)


def between(start: Array, end: Array, step_m: float = 1.5) -> Array:
    """Points (K, 2) from `start` to `end`, at most `step_m` apart."""
    count = max(2, 1 + int(np.ceil(np.linalg.norm(end - start) / step_m)))
    return start + np.linspace(0, 1, count)[:, None] * (end - start)
