"""What a season does to the town's meshes: leaves turn or fall, grass fades."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.town.materials import Material
from scmpr_ros.town.mesh import Mesh
from scmpr_ros.town.textures.atlas import Textures
from scmpr_ros.town.textures.tiles import SIZE

Array = NDArray[np.floating]

_AUTUMN = np.array(
    [[0.20, 0.13, 0.025], [0.24, 0.085, 0.02], [0.12, 0.05, 0.02], [0.15, 0.14, 0.03]], np.float32
)
"""Albedo of turned leaves: yellow, orange, brown, and some still greenish."""
_BARE_WOOD = np.array([0.11, 0.09, 0.075], np.float32)
_FALLEN_IN_AUTUMN, _GONE_IN_WINTER = 1 / 3, 0.62
"""Shares of the sprays that are no longer there. One sees through a winter's crown: with all sprays
a ray would cross five of them, and end at `scene._LAYERS` holes as if at a wall."""
_CROWN_M = 14.0
"""Leaves nearer to each other than about this have the same colour: those of one tree."""


def dress(mesh: Mesh, season: str, textures: Textures) -> Mesh:
    """The town's mesh in a season; summer is how it was built."""
    if season == "autumn":
        return _autumn(mesh, textures)
    return _winter(mesh) if season == "winter" else mesh


def _autumn(mesh: Mesh, textures: Textures) -> Mesh:
    """Each tree turns its own colour, and a third of the leaves are down."""
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
    """Bare twigs where some of the leaves were, and faded grass."""
    material, colour = mesh.material.copy(), mesh.colour.copy()
    leaf = np.flatnonzero(material == Material.LEAVES)
    material[leaf], colour[leaf] = Material.TWIGS, _BARE_WOOD
    colour[np.isin(material, (Material.GRASS, Material.BLADES))] *= np.array(
        [1.35, 0.95, 1.0], np.float32
    )
    return _without(replace(mesh, material=material, colour=colour), leaf, _GONE_IN_WINTER)


def _without(mesh: Mesh, leaf: NDArray[np.intp], share: float) -> Mesh:
    """The mesh without a share of its foliage; `leaf` numbers the triangles of that."""
    gone = np.zeros(len(mesh), bool)
    # Two triangles make a card: pairs go together. (Knuth's multiplicative hash.)
    gone[leaf] = (leaf // 2 * 2654435761 % 2**32) < share * 2**32
    return mesh.select(~gone)
