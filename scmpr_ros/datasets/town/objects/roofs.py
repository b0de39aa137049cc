"""Roofs: gable, hip and flat, with chimneys, dormers and parapets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.datasets.town.materials import SHEET_CELLS, Material
from scmpr_ros.datasets.town.mesh import Mesh, boxes, quads, triangles
from scmpr_ros.datasets.town.objects.house_styles import House
from scmpr_ros.semantics import class_id

Array = NDArray[np.float64]
Rng = np.random.Generator

BUILDING = class_id("building")


def build_roof(rng: Rng, house: House) -> list[Mesh]:
    """The roof of a house, in the house's own frame."""
    if house.roof == "flat":
        return _flat_roof(rng, house)
    w, d, z = house.width / 2, house.depth, house.eaves
    over = 0.0 if house.blind_sides else 0.45
    eave = 0.45
    front_gable = house.roof == "gable_front"
    span = w if front_gable else d / 2
    rise = span * house.roof_pitch
    drop = eave * house.roof_pitch
    if front_gable:
        ridge = [[0, -over, z + rise], [0, d + over, z + rise]]
        low = [[-w - eave, -over], [w + eave, -over], [w + eave, d + over], [-w - eave, d + over]]
    else:
        inset = min(d / 2, w * 0.8) if house.roof == "hip" else -over
        ridge = [[-w + inset, d / 2, z + rise], [w - inset, d / 2, z + rise]]
        side = eave if house.roof == "hip" else over
        low = [[-w - side, -eave], [w + side, -eave], [w + side, d + eave], [-w - side, d + eave]]
    a, b, c, e = (np.array([*p, z - drop]) for p in low)
    r0, r1 = (np.array(p) for p in ridge)
    slopes = [[a, r0, r1, e], [b, r0, r1, c]] if front_gable else [[a, b, r1, r0], [c, e, r0, r1]]
    if front_gable:
        slopes = [[a, e, r1, r0], [b, c, r1, r0]]
    parts = [quads(slopes, Material.ROOF_TILES, BUILDING, house.roof_colour)]
    parts.append(quads([[a, b, c, e]], Material.WOOD, BUILDING, house.trim_colour * 0.6))
    if house.roof == "hip":
        ends = [[b, c, r1], [e, a, r0]]
        parts.append(triangles(ends, Material.ROOF_TILES, BUILDING, house.roof_colour))
    elif front_gable:
        gables = [[[-w, y, z], [w, y, z], [0, y, z + rise]] for y in (0, d)]
        parts.append(triangles(gables, house.wall, BUILDING, house.wall_colour))
    else:
        gables = [[[x, 0, z], [x, d, z], [x, d / 2, z + rise]] for x in (-w, w)]
        parts.append(triangles(gables, house.wall, BUILDING, house.wall_colour))
    return parts + _roof_details(rng, house, front_gable)


def _roof_details(rng: Rng, house: House, front_gable: bool) -> list[Mesh]:
    """Chimneys, and dormers on the street side of steep roofs."""
    w, d, z = house.width / 2, house.depth, house.eaves
    count = rng.integers(1, 3)
    x = rng.uniform(-0.35, 0.35, count) * house.width
    y = np.full(count, d / 2) + rng.uniform(-1, 1, count)
    top = z + (w if front_gable else d / 2) * house.roof_pitch + rng.uniform(0.2, 0.9, count)
    half = 0.35
    low = np.stack([x - half, y - half, np.full(count, z)], 1)
    high = np.stack([x + half, y + half, top], 1)
    parts = [boxes(low, high, Material.BRICK, BUILDING, (0.28, 0.14, 0.1))]
    if front_gable or house.roof == "hip" or house.roof_pitch < 0.75 or rng.random() < 0.35:
        return parts
    n = max(1, int(house.width / rng.uniform(3.0, 6.0)))
    cx = (np.arange(n) + 0.5) / n * house.width - w
    y0, height = rng.uniform(0.6, 1.4), 1.5
    base = z + y0 * house.roof_pitch - 0.3
    back = y0 + (height + 0.3) / house.roof_pitch
    lows = np.stack([cx - 0.75, np.full(n, y0), np.full(n, base)], 1)
    highs = np.stack([cx + 0.75, np.full(n, back), np.full(n, base + height)], 1)
    parts.append(boxes(lows, highs, Material.PLASTER, BUILDING, house.wall_colour))
    front = np.array([[-0.55, 0.3], [0.55, 0.3], [0.55, 1.35], [-0.55, 1.35]])
    xs = cx[:, None] + front[None, :, 0]
    zs = np.broadcast_to(base + front[:, 1], xs.shape)
    pane = np.stack([xs, np.full_like(xs, y0 - 0.01), zs], axis=2)
    cell = rng.integers(0, SHEET_CELLS, 2)
    unit = np.array([[0.02, 0.02], [0.98, 0.02], [0.98, 0.98], [0.02, 0.98]])
    uv = np.broadcast_to((cell + unit) / SHEET_CELLS, (n, 4, 2))
    parts.append(quads(pane, Material.WINDOW, BUILDING, (1, 1, 1), uv))
    return parts


def _flat_roof(rng: Rng, house: House) -> list[Mesh]:
    """Roofing behind a parapet, with plant rooms."""
    w, d, z = house.width / 2, house.depth, house.eaves
    rim, t = z + rng.uniform(0.3, 0.9), 0.25
    lows = [[-w, 0, z], [-w, d - t, z], [-w, t, z], [w - t, t, z]]
    highs = [[w, t, rim], [w, d, rim], [-w + t, d - t, rim], [w, d - t, rim]]
    roof = quads(
        [[[-w, 0, z], [w, 0, z], [w, d, z], [-w, d, z]]],
        Material.ROOF_FLAT,
        BUILDING,
        (0.2, 0.2, 0.2),
    )
    x, y = rng.uniform(-0.6, 0.4) * w, rng.uniform(0.3, 0.6) * d
    plant = boxes(
        [[x, y, z]], [[x + 3, y + 2.5, z + 2.2]], Material.METAL, BUILDING, (0.4, 0.4, 0.4)
    )
    return [roof, boxes(lows, highs, house.wall, BUILDING, house.wall_colour), plant]
