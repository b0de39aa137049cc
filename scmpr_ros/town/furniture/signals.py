"""Traffic signals for vehicles and pedestrians, on a post or on an arm.

They face traffic that comes along +x; pedestrians cross along y.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.semantics import class_id
from scmpr_ros.town.furniture.solids import POLE, STEEL_GREYS, placed, post
from scmpr_ros.town.materials import Material
from scmpr_ros.town.mesh import Mesh, boxes, discs, quads, tubes

Array = NDArray[np.float64]
Rng = np.random.Generator

SIGN = class_id("traffic_sign")
_LIT = np.array([[0.95, 0.06, 0.03], [0.95, 0.5, 0.03], [0.05, 0.85, 0.45]])
"""Red, amber, green, from the top down."""
_HOUSING = (0.018, 0.02, 0.018)
_HEAD_M = 0.90


def traffic_signal(rng: Rng) -> Mesh:
    """A post with a head for vehicles and one for pedestrians, at times with a second on an arm."""
    state = rng.choice(3, p=[0.5, 0.08, 0.42])
    grey = STEEL_GREYS[rng.choice([0, 0, 1, 2])]
    walkers = placed(_pedestrian_head(walk=bool(state == 0 and rng.random() < 0.5)),
                     (0.0, 0.22, 2.2), -np.pi / 2)  # fmt: skip
    near = placed(_head(state), (-0.2, 0.0, rng.uniform(2.15, 2.4)))
    if rng.random() < 0.62:
        return Mesh.join([post(3.4, 0.065, grey, taper=1.0), _bands(0.068), near, walkers])
    height, reach = rng.uniform(5.4, 5.9), rng.uniform(2.6, 4.2)
    bend = np.array([[0, 0, height - 0.5], [0, 0.5, height - 0.08], [0, reach, height + 0.1]])
    arm = tubes(bend, [0.07, 0.06, 0.045], 6, Material.METAL, POLE, grey)
    far = placed(Mesh.join([_head(state), _back_board()]), (-0.08, reach - 0.1, height - 0.75))
    mast = post(height - 0.3, 0.085, grey, taper=0.85)
    return Mesh.join([mast, _bands(0.09), near, walkers, arm, far])


def _bands(radius: float) -> Mesh:
    """A red band above a white one at eye level."""
    spans = np.array([[[0, 0, 1.2], [0, 0, 1.38]], [[0, 0, 1.02], [0, 0, 1.2]]])
    colours = [[0.45, 0.03, 0.02], [0.6, 0.6, 0.58]]
    return tubes(spans, radius, 8, Material.METAL, POLE, colours)


def _head(state: int) -> Mesh:
    """A column of three lights that face -x, one of them on; lower edge at z = 0."""
    z = _HEAD_M * np.array([5, 3, 1]) / 6
    low = np.stack([np.full(3, -0.06), np.full(3, -0.14), z - 0.145], axis=1)
    housing = boxes(low, low + (0.18, 0.28, 0.29), Material.METAL, SIGN, _HOUSING)
    visors = Mesh.join([_visor(height) for height in z])
    return Mesh.join([housing, _lights(z, state), visors])


def _lights(z: Array, state: int) -> Mesh:
    """Three lenses at heights z; only the one of `state` glows."""
    centre = np.stack([np.full(3, -0.065), np.zeros(3), z], axis=1)
    dark = np.arange(3) != state
    axis, radius = [[-1, 0, 0]], 0.1
    off = discs(centre[dark], axis, radius, 8, Material.METAL, SIGN, 0.06 * _LIT[dark])
    on = discs(centre[~dark], axis, radius, 8, Material.LAMP, SIGN, _LIT[state])
    return Mesh.join([off, on])


def _visor(z: float) -> Mesh:
    """A visor over a lens: the upper half of a tube, longest at its crown."""
    angle = np.linspace(-0.15, np.pi + 0.15, 6)
    y, up = 0.115 * np.cos(angle), z + 0.115 * np.sin(angle)
    back = np.stack([np.full(6, -0.06), y, up], axis=1)
    front = back - np.stack([0.09 + 0.16 * np.sin(angle).clip(0), 0 * y, 0 * y], axis=1)
    faces = np.stack([back[:-1], back[1:], front[1:], front[:-1]], axis=1)
    return quads(faces, Material.METAL, SIGN, _HOUSING)


def _back_board() -> Mesh:
    """A black board with a white rim behind a head."""
    boards = []
    for half, x, colour in ((0.33, 0.125, (0.6, 0.6, 0.6)), (0.30, 0.12, (0.02, 0.02, 0.02))):
        z0, z1 = 0.45 - half - 0.2, 0.45 + half + 0.2
        corners = [[[x, -half, z0], [x, half, z0], [x, half, z1], [x, -half, z1]]]
        boards.append(quads(corners, Material.METAL, SIGN, colour))
    return Mesh.join(boards)


def _pedestrian_head(walk: bool) -> Mesh:
    """A red light above a green one, facing -x; lower edge at z = 0."""
    z = np.array([0.45, 0.15])
    low = np.stack([np.full(2, -0.06), np.full(2, -0.13), z - 0.145], axis=1)
    housing = boxes(low, low + (0.16, 0.26, 0.29), Material.METAL, SIGN, _HOUSING)
    colour = _LIT[2 if walk else 0]
    glow = discs([[-0.065, 0, z[1] if walk else z[0]]], [[-1, 0, 0]], 0.08, 8, Material.LAMP, SIGN,
                 colour)  # fmt: skip
    return Mesh.join([housing, glow])
