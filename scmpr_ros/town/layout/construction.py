"""Placing of houses in the town: plan, level and doors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.geometry import make_transform, rotation_z
from scmpr_ros.town.buildings.buildings import build_house
from scmpr_ros.town.buildings.house_styles import House
from scmpr_ros.town.layout.kerbside import Site
from scmpr_ros.town.layout.occupancy import rectangle
from scmpr_ros.town.materials import Material
from scmpr_ros.town.mesh import Mesh

Array = NDArray[np.float64]
Rng = np.random.Generator

_DOOR_FRONT_M = 1.0
"""Doors farther behind the front than this belong to another side of the house."""


def plan(front: Array, yaw: float, width: float, depth: float, step_m: float = 0.17) -> Array:
    """Points (N, 2) that cover the plan of a house with the middle of its front at `front`."""
    centre = front + depth / 2 * np.array([-np.sin(yaw), np.cos(yaw)])
    return rectangle(centre, yaw, width, depth, step_m)


def erect(
    rng: Rng, site: Site, front: Array, yaw: float, house: House
) -> tuple[Mesh, tuple[float, ...]]:
    """Build a house with its street level at the highest ground along its front; also returns the x
    of its doors."""
    mesh = build_house(rng, house)
    edge = plan(front, yaw, house.width, 0.0, 0.5)
    level = site.ground.height(edge).max()
    placed = mesh.transformed(make_transform(rotation_z(yaw), np.array([*front, level])))
    return placed, _doors(mesh)


def _doors(mesh: Mesh) -> tuple[float, ...]:
    """Positions (x, metres) of the doors in the front of a house in its own frame."""
    is_door = (mesh.material == Material.DOOR) & (
        np.abs(mesh.corners[..., 1]).max(axis=1) < _DOOR_FRONT_M
    )
    x = np.sort(mesh.corners[is_door][..., 0].mean(axis=1))
    if len(x) == 0:
        return ()
    doors = np.split(x, np.flatnonzero(np.diff(x) > 1.0) + 1)
    return tuple(float(d.mean()) for d in doors)
