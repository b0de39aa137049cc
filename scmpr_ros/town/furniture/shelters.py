"""Bus shelters and advertising columns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.semantics import IGNORE
from scmpr_ros.town.furniture.signs import FACES, plate
from scmpr_ros.town.furniture.solids import (
    FOOT_M,
    POLE,
    STEEL_GREYS,
    drum,
    placed,
    post,
)
from scmpr_ros.town.materials import SHEET_CELLS, Material
from scmpr_ros.town.mesh import Mesh, boxes, quads, tubes
from scmpr_ros.town.textures.pictures import POSTERS

Array = NDArray[np.float64]
Rng = np.random.Generator

_POSTER = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]) * 0.5 / SHEET_CELLS


def _poster(rng: Rng) -> Array:
    """Corners (4, 2) of a random poster on the sheet of shops, anticlockwise from lower left."""
    return np.array(POSTERS[rng.integers(len(POSTERS))]) + _POSTER


def shelter(rng: Rng) -> Mesh:
    """A bus shelter open towards +y: roof, glass, bench, poster case, and the sign of the stop."""
    w, d, h = rng.uniform(1.5, 2.1), 1.4, rng.uniform(2.3, 2.5)
    grey = STEEL_GREYS[rng.integers(3)]
    corners = np.array([[x, y] for x in (-w, w) for y in (0.05, d)])
    low = np.column_stack([corners - 0.035, np.full(4, -FOOT_M)])
    posts = boxes(
        low, np.column_stack([corners + 0.035, np.full(4, h)]), Material.METAL, POLE, grey
    )
    roof = boxes([[-w - 0.2, -0.15, h], [-w - 0.22, d + 0.35, h - 0.06]],
                 [[w + 0.2, d + 0.35, h + 0.08], [w + 0.22, d + 0.4, h + 0.12]],
                 Material.METAL, IGNORE, [(0.25, 0.26, 0.27), tuple(grey)])  # fmt: skip
    # Rays do not pass through glass, so the upper half of the back stays open.
    panes = [[[x0, 0.03, 0.3], [x1, 0.03, 0.3], [x1, 0.03, 1.05], [x0, 0.03, 1.05]]
             for x0, x1 in ((-w, -0.02), (0.02, w))]  # fmt: skip
    glass = quads(panes, Material.GLASS, IGNORE, (0.22, 0.25, 0.25))
    levels = np.array([0.28, 1.03, h - 0.06])
    low = np.stack([np.full(3, -w), np.full(3, 0.015), levels], axis=1)
    rails = boxes(low, low + (2 * w, 0.03, 0.05), Material.METAL, IGNORE, grey)
    seat = boxes([[-0.9 * w, 0.2, 0.44]], [[0.3 * w, 0.55, 0.48]], Material.WOOD, IGNORE, 0.16)
    flag = placed(Mesh.join([post(2.75, 0.03, grey, taper=1.0), plate(FACES["bus_stop"], 2.3)]),
                  (-w - 0.7, d + 0.1, 0))  # fmt: skip
    return Mesh.join([posts, roof, glass, rails, seat, _case(rng, w, d, grey), flag])


def _case(rng: Rng, x: float, depth: float, grey: Array) -> Mesh:
    """A poster case as a side wall, with a poster on each face."""
    frame = boxes(
        [[x - 0.07, 0.1, 0.25]], [[x + 0.07, depth - 0.1, 2.15]], Material.METAL, IGNORE, grey
    )
    faces, uv = [], []
    for out, (y0, y1) in ((-0.075, (depth - 0.18, 0.18)), (0.075, (0.18, depth - 0.18))):
        faces.append(
            [[x + out, y0, 0.35], [x + out, y1, 0.35], [x + out, y1, 2.05], [x + out, y0, 2.05]]
        )
        uv.append(_poster(rng))
    return Mesh.join([frame, quads(faces, Material.SHOP, IGNORE, uv=uv)])


def advertising_column(rng: Rng) -> Mesh:
    """A round column with two rows of posters on a plinth, under a dark cap."""
    height, radius, sides = rng.uniform(2.5, 3.2), rng.uniform(0.5, 0.65), 16
    iron = STEEL_GREYS[rng.integers(2, 4)]
    plinth = drum(
        -FOOT_M, 0.35, 1.05 * radius, (0.26, 0.25, 0.24), Material.CONCRETE, IGNORE, sides
    )
    body = []
    for z0, z1 in ((0.35, 0.35 + 0.5 * height), (0.35 + 0.5 * height, height)):
        ring = tubes([[0, 0, z0], [0, 0, z1]], radius, sides, Material.SHOP, IGNORE)
        body.append(_papered(rng, ring, sides))
    cap = [drum(height, height + 0.12, 1.12 * radius, iron, Material.METAL, IGNORE, sides),
           drum(height + 0.12, height + 0.4, (radius, 0.25 * radius), iron, Material.METAL, IGNORE,
                sides)]  # fmt: skip
    return Mesh.join([plinth, *body, *cap])


def _papered(rng: Rng, ring: Mesh, sides: int) -> Mesh:
    """Cover a tube with four posters."""
    side = np.arange(sides)
    posters = np.stack([_poster(rng) for _ in range(4)])[side * 4 // sides]
    left, width = posters[:, 0, 0], (posters[:, 1, 0] - posters[:, 0, 0]) * 4 / sides
    posters[:, [0, 3], 0] = (left + side % (sides // 4) * width)[:, None]
    posters[:, [1, 2], 0] = posters[:, [0, 3], 0] + width[:, None]
    return replace(ring, uv=posters[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3, 2).astype(np.float32))
