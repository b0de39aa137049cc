"""Seasonal changes to meshes: leaves turn or fall, grass fades."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.town.materials import Material
from scmpr_ros.town.mesh import Mesh
from scmpr_ros.town.textures.atlas import Textures
from scmpr_ros.town.textures.tiles import SIZE

_AUTUMN = np.array(
    [[0.20, 0.13, 0.025], [0.24, 0.085, 0.02], [0.12, 0.05, 0.02], [0.15, 0.14, 0.03]], np.float32
)
"""Albedo of turned leaves: yellow, orange, brown, and some still greenish."""
_BARE_WOOD = np.array([0.11, 0.09, 0.075], np.float32)
_FALLEN_IN_AUTUMN, _GONE_IN_WINTER = 1 / 3, 0.62
"""Shares of the sprays that are removed. Winter crowns must be see-through: with all sprays a ray
would cross five of them and stop after `scene._MAX_CASTS` as if at a wall."""
_CROWN_M = 14.0
"""Leaves closer than about this share a colour, so each tree has one colour."""


def dress(mesh: Mesh, season: str, textures: Textures) -> Mesh:
    """Apply a season to the town's mesh, which is built for summer."""
    if season == "autumn":
        return _autumn(mesh, textures)
    return _winter(mesh) if season == "winter" else mesh


def _autumn(mesh: Mesh, textures: Textures) -> Mesh:
    """Turn each tree its own colour and remove a third of the leaves."""
    leaf = np.flatnonzero(mesh.material == Material.LEAVES)
    colour = mesh.colour.copy()
    xy = mesh.corners[leaf, 0, :2] * (SIZE / (_CROWN_M * 8))
    column, row = (np.floor(xy).astype(int) & (SIZE - 1)).T
    which = np.clip(np.floor(2.0 + 1.2 * textures.noise[row, column, 0]), 0, 3).astype(int)
    brightness = colour[leaf].mean(axis=1, keepdims=True) / 0.09
    colour[leaf] = _AUTUMN[which] * np.clip(brightness, 0.3, 2.0)
    colour[mesh.material == Material.GRASS] *= np.array([1.25, 0.95, 0.9], np.float32)
    return _without(replace(mesh, colour=colour), leaf, _FALLEN_IN_AUTUMN)


def _winter(mesh: Mesh) -> Mesh:
    """Replace some of the leaves by bare twigs and fade the grass."""
    material, colour = mesh.material.copy(), mesh.colour.copy()
    leaf = np.flatnonzero(material == Material.LEAVES)
    material[leaf], colour[leaf] = Material.TWIGS, _BARE_WOOD
    colour[np.isin(material, (Material.GRASS, Material.BLADES))] *= np.array(
        [1.35, 0.95, 1.0], np.float32
    )
    return _without(replace(mesh, material=material, colour=colour), leaf, _GONE_IN_WINTER)


def _without(mesh: Mesh, leaf: NDArray[np.intp], share: float) -> Mesh:
    """Remove a share of the foliage; `leaf` holds the indices of its triangles."""
    gone = np.zeros(len(mesh), bool)
    # Two triangles make a card and are removed together (Knuth's multiplicative hash).
    gone[leaf] = (leaf // 2 * 2654435761 % 2**32) < share * 2**32
    return mesh.select(~gone)
