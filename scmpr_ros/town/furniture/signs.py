"""Traffic signs on slim posts, of real size, facing traffic that comes along +x."""

from __future__ import annotations

import numpy as np

from scmpr_ros.semantics import class_id
from scmpr_ros.town.furniture.solids import STEEL_GREYS, placed, post
from scmpr_ros.town.materials import Material
from scmpr_ros.town.mesh import Mesh, boxes, triangles
from scmpr_ros.town.textures.sign_faces import SIGN_FACES, SignFace

Rng = np.random.Generator

SIGN = class_id("traffic_sign")
FACES = {face.name: face for face in SIGN_FACES}
_SHARES = {
    "no_stopping": 0.17, "no_parking": 0.15, "parking": 0.13, "zone_30": 0.08, "priority": 0.12,
    "give_way": 0.09, "keep_right": 0.05, "cycle_path": 0.06, "crossing": 0.02, "speed_30": 0.04,
    "no_entry": 0.03, "roadworks": 0.02, "stop": 0.02, "one_way": 0.02,
}  # fmt: skip
"""Shares of the faces of signs."""
_SUPPLEMENTED = {"no_stopping", "no_parking", "parking", "cycle_path"}


def plate(face: SignFace, height_m: float, out_m: float = 0.04) -> Mesh:
    """A sign face and its back, lower edge at `height_m`, `out_m` in front of the post's axis."""
    points, uv = face.outline()
    k = np.arange(1, len(points) - 1)
    fan = np.stack([np.zeros_like(k), k, k + 1], axis=1)
    z = points[:, 1] - points[:, 1].min() + height_m
    corners = np.stack([np.full(len(z), -out_m), -points[:, 0], z], axis=1)
    front = triangles(corners[fan], Material.SIGN, SIGN, uv=uv[fan])
    back = triangles(corners[fan] + (0.012, 0, 0), Material.METAL, SIGN, (0.26, 0.27, 0.28))
    return Mesh.join([front, back])


def traffic_sign(rng: Rng, face_name: str = "") -> Mesh:
    """One or two plates on a post, at times with a supplementary one.

    face_name: name of the main face; empty to draw it.
    """
    name = face_name or str(rng.choice(list(_SHARES), p=list(_SHARES.values())))
    stack = [name]
    if name in _SUPPLEMENTED and rng.random() < 0.5:
        stack.insert(0, "supplementary")
    elif rng.random() < 0.12:
        stack.insert(0, str(rng.choice(["keep_right", "no_parking", "speed_30"])))
    z = rng.uniform(2.0, 2.4)
    parts = []
    for face in (FACES[kind] for kind in stack):
        parts.append(plate(face, z))
        z += face.height_m + 0.04
    return Mesh.join([post(z, 0.032, STEEL_GREYS[rng.integers(2)], taper=1.0), *parts])


def name_plate(rng: Rng) -> Mesh:
    """One or two street name plates on a slim post, readable from both sides."""
    z = rng.uniform(2.4, 2.7)
    face = FACES["street_name"]
    both = []
    for turn, level in ((0.0, z), (np.pi / 2, z + 0.24)):
        for side in (0.0, np.pi):
            both.append(placed(plate(face, level, 0.034), (0, 0, 0), turn + side))
    count = len(both) if rng.random() < 0.5 else 2
    top = z + 0.24 * (count // 2) + 0.02
    return Mesh.join([post(top, 0.03, STEEL_GREYS[rng.integers(3)], taper=1.0), *both[:count]])


def hydrant_sign(rng: Rng) -> Mesh:
    """A hydrant sign: a small white plate with a red rim."""
    z = rng.uniform(0.9, 2.0)
    low = [[-0.036, -0.125, z], [-0.04, -0.1, z + 0.025]]
    high = [[-0.03, 0.125, z + 0.2], [-0.036, 0.1, z + 0.175]]
    boards = boxes(low, high, Material.METAL, SIGN, [[0.45, 0.02, 0.02], [0.65, 0.65, 0.63]])
    return Mesh.join([post(z + 0.22, 0.025, STEEL_GREYS[0], taper=1.0), boards])


def direction_board(rng: Rng) -> Mesh:
    """Direction boards on two posts."""
    face = FACES["direction"]
    levels = rng.uniform(2.0, 2.3) + (face.height_m + 0.03) * np.arange(rng.integers(1, 4))
    grey = STEEL_GREYS[rng.integers(2)]
    parts = [plate(face, float(z), 0.06) for z in levels]
    for y in (-0.4, 0.4):
        mast = post(float(levels[-1]) + face.height_m, 0.04, grey, taper=1.0)
        parts.append(placed(mast, (0, y, 0)))
    return Mesh.join(parts)
