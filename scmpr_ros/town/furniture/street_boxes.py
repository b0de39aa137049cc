"""Cabinets, post boxes, telephone boxes and parking meters."""

from __future__ import annotations

import numpy as np

from scmpr_ros.semantics import IGNORE
from scmpr_ros.town.furniture.signs import FACES, plate
from scmpr_ros.town.furniture.solids import FOOT_M, STEEL_GREYS, drum, placed, post, ribbon
from scmpr_ros.town.materials import Material
from scmpr_ros.town.mesh import Mesh, boxes, quads

Rng = np.random.Generator

_CABINETS = np.array(
    [[0.36, 0.37, 0.33], [0.45, 0.44, 0.40], [0.22, 0.27, 0.20], [0.10, 0.14, 0.09]]
)
_SPRAY = np.array(
    [[0.02, 0.02, 0.025], [0.02, 0.02, 0.025], [0.45, 0.02, 0.03], [0.02, 0.06, 0.35],
     [0.6, 0.6, 0.6], [0.05, 0.3, 0.08]]
)  # fmt: skip


def cabinet(rng: Rng) -> Mesh:
    """A telecom or power cabinet with its doors towards +y, often with graffiti."""
    w, h, d = rng.uniform(0.35, 0.85), rng.uniform(0.9, 1.45), rng.uniform(0.16, 0.24)
    colour = _CABINETS[rng.integers(4)] * rng.uniform(0.8, 1.15)
    parts = [
        boxes([[-w - 0.02, -d - 0.02, -FOOT_M]], [[w + 0.02, d + 0.02, 0.12]], Material.CONCRETE,
              IGNORE, (0.28, 0.27, 0.25)),
        boxes([[-w, -d, 0.12]], [[w, d, h]], Material.CAR_PAINT, IGNORE, colour),
        boxes([[-w - 0.03, -d - 0.03, h]], [[w + 0.03, d + 0.03, h + 0.05]], Material.CAR_PAINT,
              IGNORE, 0.9 * colour),
    ]  # fmt: skip
    leaves = 2 if w > 0.5 else 1
    x = np.linspace(-w, w, leaves + 1)
    gaps = np.stack([x[:-1] + 0.02, np.full(leaves, d), np.full(leaves, 0.16)], axis=1)
    ends = np.stack([x[1:] - 0.02, np.full(leaves, d + 0.012), np.full(leaves, h - 0.05)], axis=1)
    parts.append(boxes(gaps, ends, Material.CAR_PAINT, IGNORE, 1.06 * colour))
    if rng.random() < 0.6:
        parts += [_graffito(rng, w, h, d + 0.016) for _ in range(rng.integers(1, 4))]
    return Mesh.join(parts)


def _graffito(rng: Rng, half_width: float, height: float, y: float) -> Mesh:
    """A looping spray-painted line in the plane y."""
    t = np.linspace(0, 1, 14)
    size = rng.uniform(0.35, 0.8)
    turn = rng.uniform(9, 16) * t + rng.uniform(0, 6)
    x = half_width * (0.8 * size * (2 * t - 1) + 0.2 * np.sin(1.7 * turn))
    z = 0.2 + (height - 0.4) * np.clip(rng.uniform(0.35, 0.75) + 0.24 * np.cos(turn), 0, 1)
    path = np.stack([x, np.full_like(x, y), z], axis=1)
    slant = np.array([0.55, 0.0, 0.84])
    return ribbon(path, rng.uniform(0.03, 0.07), Material.CAR_PAINT, IGNORE,
                  _SPRAY[rng.integers(len(_SPRAY))], slant)  # fmt: skip


def post_box(rng: Rng) -> Mesh:
    """A yellow post box on a foot, its slot towards -y."""
    yellow = np.array([0.75, 0.45, 0.01]) * rng.uniform(0.85, 1.05)
    foot = post(0.75, 0.04, STEEL_GREYS[2], IGNORE, taper=1.0)
    body = boxes([[-0.24, -0.17, 0.7]], [[0.24, 0.17, 1.3]], Material.CAR_PAINT, IGNORE, yellow)
    lid = boxes([[-0.25, -0.2, 1.3]], [[0.25, 0.18, 1.36]], Material.CAR_PAINT, IGNORE, yellow)
    marks = boxes([[-0.18, -0.175, 1.2], [-0.12, -0.175, 0.85]],
                  [[0.18, -0.17, 1.24], [0.12, -0.17, 1.02]], Material.RUBBER, IGNORE,
                  [[0.015, 0.015, 0.015], [0.5, 0.5, 0.48]])  # fmt: skip
    return Mesh.join([foot, body, lid, marks])


def telephone_box(rng: Rng) -> Mesh:
    """A glazed telephone box with a coloured roof."""
    paint = np.array([[0.42, 0.43, 0.43], [0.65, 0.40, 0.02]])[rng.integers(2)]
    h, w = 2.15, 0.45
    corners = np.array([[x, y] for x in (-w, w) for y in (-w, w)])
    low = np.column_stack([corners - 0.03, np.full(4, -FOOT_M)])
    high = np.column_stack([corners + 0.03, np.full(4, h)])
    frame = boxes(low, high, Material.METAL, IGNORE, paint)
    magenta = (0.45, 0.01, 0.14)
    roof = boxes([[-w - 0.05, -w - 0.05, h]], [[w + 0.05, w + 0.05, h + 0.22]], Material.METAL,
                 IGNORE, magenta)  # fmt: skip
    panes = [
        [[-w, y, 0.25], [w, y, 0.25], [w, y, h - 0.05], [-w, y, h - 0.05]] for y in (-w, w)
    ] + [[[x, -w, 0.25], [x, w, 0.25], [x, w, h - 0.05], [x, -w, h - 0.05]] for x in (-w, w)]
    glass = quads(panes, Material.GLASS, IGNORE, (0.12, 0.14, 0.14))
    return Mesh.join([frame, roof, glass])


def parking_meter(rng: Rng) -> Mesh:
    """A ticket machine with a parking sign on top."""
    grey = STEEL_GREYS[rng.integers(3)]
    body = boxes([[-0.15, -0.13, -FOOT_M]], [[0.15, 0.13, 1.5]], Material.CAR_PAINT, IGNORE, grey)
    panel = boxes([[-0.11, -0.14, 0.95]], [[0.11, -0.13, 1.4]], Material.RUBBER, IGNORE, 0.06)
    mast = drum(1.5, 2.3, 0.025, STEEL_GREYS[0], Material.METAL, IGNORE, 6)
    sign = plate(FACES["parking"], 0.0, 0.03)
    return Mesh.join([body, panel, mast, placed(sign, (0, 0, 1.75))])
