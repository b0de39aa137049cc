"""Houses: façades with recessed windows and doors, plinths, shops, balconies, and their roofs.

A house is built in its own frame: x along the street, y into the plot, z up; the street front is
the plane y = 0, the origin is the middle of the front at street level.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scmpr_ros.datasets.town.materials import SHEET_CELLS, Material
from scmpr_ros.datasets.town.mesh import Mesh, quads
from scmpr_ros.datasets.town.objects.house_styles import House
from scmpr_ros.datasets.town.objects.roofs import build_roof
from scmpr_ros.semantics import class_id

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Rng = np.random.Generator

BUILDING = class_id("building")
FOUNDATION_M = 2.5
"""How far walls reach below street level, so that no slope shows their lower edge."""


def build_house(rng: Rng, house: House) -> Mesh:
    """The mesh of a house in its own frame."""
    w, d = house.width, house.depth
    plan = np.array([[-w / 2, 0], [w / 2, 0], [w / 2, d], [-w / 2, d]])
    parts = []
    for side in range(4):
        start, end = plan[side], plan[(side + 1) % 4]
        if side in (1, 3) and house.blind_sides:
            parts.append(_blind_wall(start, end, house))
        else:
            parts += _facade(rng, start, end, house, is_front=side == 0)
    parts += build_roof(rng, house)
    return Mesh.join(parts)


def _wall_frame(start: Array, end: Array) -> tuple[Array, Array, float]:
    length = float(np.linalg.norm(end - start))
    along = (end - start) / length
    return along, np.array([-along[1], along[0]]), length


def _on_wall(start: Array, along: Array, inward: Array, u: Array, v: Array, depth: Array) -> Array:
    """Wall coordinates (any shape) to points (..., 3)."""
    xy = start + u[..., None] * along + depth[..., None] * inward
    return np.concatenate([xy, v[..., None]], axis=-1)


def _blind_wall(start: Array, end: Array, house: House) -> Mesh:
    along, inward, length = _wall_frame(start, end)
    u = np.array([[0, length, length, 0]])
    v = np.array([[-FOUNDATION_M, -FOUNDATION_M, house.eaves, house.eaves]])
    corners = _on_wall(start, along, inward, u, v, np.zeros_like(u))
    return quads(corners, Material.PLASTER, BUILDING, house.wall_colour * 0.8,
                 np.stack([u, v], axis=-1))  # fmt: skip


def _facade(rng: Rng, start: Array, end: Array, house: House, is_front: bool) -> list[Mesh]:
    """One wall with a grid of openings, each cut out and set back."""
    along, inward, length = _wall_frame(start, end)
    columns = max(1, int((length - 0.6) / house.window_pitch))
    floor, col = (a.ravel() for a in np.mgrid[0 : house.floors, 0:columns])
    pitch = length / columns
    u0, u1 = col * pitch, (col + 1) * pitch
    v0 = house.plinth + floor * house.floor_height
    v1 = v0 + house.floor_height
    width = min(house.window[0], pitch - 0.35)
    a0 = (u0 + u1 - width) / 2
    sill = np.full(len(col), max(0.5, min(0.95, house.floor_height - house.window[1] - 0.4)))
    b0 = v0 + sill
    b1 = np.minimum(b0 + house.window[1], v1 - 0.25)
    a1 = a0 + width
    ground = floor == 0
    v0 = np.where(ground, 0.0, v0)
    has_door = is_front or rng.random() < 0.3
    is_door = ground & (col == (rng.integers(columns) if has_door else -1))
    is_shop = ground & is_front & house.shop & ~is_door & (rng.random(len(col)) < 0.85)
    a0, a1 = np.where(is_shop, u0 + 0.2, a0), np.where(is_shop, u1 - 0.2, a1)
    b0, b1 = np.where(is_shop, 0.35, b0), np.where(is_shop, v1 - 0.3, b1)
    b0 = np.where(is_door, 0.05, b0)
    b1 = np.where(is_door, np.minimum(house.plinth + 2.2, v1 - 0.2), b1)
    blank = ~is_door & ~is_shop & (rng.random(len(col)) < (0.04 if is_front else 0.35))
    hole = np.stack([a0, a1, b0, b1], axis=1)

    def wall(u: Array, v: Array, depth: ArrayLike) -> Array:
        return _on_wall(start, along, inward, u, v, np.broadcast_to(np.asarray(depth), u.shape))

    def panel(ua: Array, ub: Array, va: Array, vb: Array, depth: ArrayLike) -> tuple[Array, Array]:
        u, v = np.stack([ua, ub, ub, ua], axis=1), np.stack([va, va, vb, vb], axis=1)
        depth = np.asarray(depth)
        return wall(u, v, depth[:, None] if depth.ndim else depth), np.stack([u, v], axis=-1)

    def add(material: Material, colour: ArrayLike, *panels: tuple[Array, Array]) -> None:
        corners, uv = (np.concatenate(p) for p in zip(*panels, strict=True))
        parts.append(quads(corners, material, BUILDING, colour, uv))

    parts: list[Mesh] = []
    o = ~blank
    add(
        house.wall, house.wall_colour,
        panel(u0[blank], u1[blank], v0[blank], v1[blank], 0.0),
        panel(u0[o], a0[o], v0[o], v1[o], 0.0), panel(a1[o], u1[o], v0[o], v1[o], 0.0),
        panel(a0[o], a1[o], v0[o], b0[o], 0.0), panel(a0[o], a1[o], b1[o], v1[o], 0.0),
    )  # fmt: skip
    base = np.array([0.0]), np.array([length]), np.array([-FOUNDATION_M]), np.array([0.0])
    add(Material.CONCRETE, house.plinth_colour, panel(*base, 0.0))
    parts += _reveals(wall, hole[o], house)
    parts += _panes(rng, panel, hole[o], is_door[o], is_shop[o], house)
    has_window = o & ~is_door & ~is_shop
    if house.surround:
        s = house.surround
        x0, x1, y0, y1 = hole[has_window].T
        add(
            Material.STONE, house.trim_colour,
            panel(x0 - s, x0, y0 - s, y1 + s, -0.04), panel(x1, x1 + s, y0 - s, y1 + s, -0.04),
            panel(x0, x1, y0 - s, y0, -0.07), panel(x0, x1, y1, y1 + s, -0.04),
        )  # fmt: skip
    if house.plinth > 0.45:
        g = ground & ~is_shop
        top = np.full(g.sum(), house.plinth)
        low = np.zeros(g.sum())
        stop0, stop1 = np.where(is_door, a0, u1)[g], np.where(is_door, a1, u1)[g]
        add(Material.STONE, house.plinth_colour, panel(u0[g], stop0, low, top, -0.04),
            panel(stop1, u1[g], low, top, -0.04))  # fmt: skip
    if house.cornice:
        parts += _cornices(start, along, inward, length, house)
    if house.balconies and (is_front or rng.random() < 0.5):
        upper = (
            has_window & (floor > 0) & np.isin(col, rng.permutation(columns)[: 1 + columns // 3])
        )
        parts += _balconies(rng, wall, hole[upper], house)
    return parts


def _reveals(wall, hole: Array, house: House) -> list[Mesh]:  # type: ignore[no-untyped-def]
    """The four inner faces around each opening."""
    a0, a1, b0, b1 = hole.T
    zero, deep = np.zeros(len(hole)), np.full(len(hole), house.recess)
    corners = []
    for (ua, va), (ub, vb) in (((a0, b0), (a1, b0)), ((a1, b0), (a1, b1)), ((a1, b1), (a0, b1)),
                               ((a0, b1), (a0, b0))):  # fmt: skip
        corners.append(
            wall(np.stack([ua, ub, ub, ua], 1), np.stack([va, vb, vb, va], 1),
                 np.stack([zero, zero, deep, deep], 1))
        )  # fmt: skip
    colour = house.trim_colour if house.surround else house.wall_colour
    return [quads(np.concatenate(corners), Material.PLASTER, BUILDING, colour)]


def _panes(  # type: ignore[no-untyped-def]
    rng: Rng, panel, hole: Array, is_door: Mask, is_shop: Mask, house: House
) -> list[Mesh]:
    """Windows, doors and shop fronts at the back of their openings, each with its own picture."""
    cell = rng.integers(0, SHEET_CELLS, (len(hole), 2))
    own = rng.integers(0, SHEET_CELLS, 2)  # most windows of a house look alike
    cell = np.where((rng.random(len(hole)) < 0.6)[:, None], own, cell)
    unit = np.array([[0.02, 0.02], [0.98, 0.02], [0.98, 0.98], [0.02, 0.98]])
    uv = (cell[:, None] + unit) / SHEET_CELLS
    corners, _ = panel(*hole.T, np.full(len(hole), house.recess))
    kinds = (
        (Material.WINDOW, ~is_door & ~is_shop),
        (Material.DOOR, is_door),
        (Material.SHOP, is_shop),
    )
    return [quads(corners[k], material, BUILDING, (1, 1, 1), uv[k]) for material, k in kinds]


def _cornices(start: Array, along: Array, inward: Array, length: float, house: House) -> list[Mesh]:
    """Bands that stand out at the first floor and below the eaves."""
    heights = [
        (house.plinth + house.floor_height - 0.14, 0.16, 0.10),
        (house.eaves - 0.4, 0.4, 0.22),
    ]
    parts = []
    for v, height, out in heights:
        u = np.array([[0, length, length, 0]] * 3)
        v_ = np.array([[v, v, v + height, v + height], [v, v, v, v], [v + height] * 4])
        depth = -out * np.array([[1, 1, 1, 1], [0, 0, 1, 1], [1, 1, 0, 0]])
        corners = _on_wall(start, along, inward, u, v_, depth)
        parts.append(quads(corners, Material.STONE, BUILDING, house.trim_colour))
    return parts


def _balconies(rng: Rng, wall, hole: Array, house: House) -> list[Mesh]:  # type: ignore[no-untyped-def]
    """Slabs with a parapet in front of upper windows."""
    if len(hole) == 0:
        return []
    a0, a1, b0, _ = hole.T
    a0, a1 = a0 - 0.5, a1 + 0.5
    low, top, out = b0 - 1.0, b0 + 0.05, np.full(len(hole), -rng.uniform(0.8, 1.4))
    zero = np.zeros(len(hole))

    def face(*points: tuple[Array, Array, Array]) -> Array:
        u, v, depth = (np.stack(axis, axis=1) for axis in zip(*points, strict=True))
        return wall(u, v, depth)

    faces = [
        face((a0, low, zero), (a1, low, zero), (a1, low, out), (a0, low, out)),
        face(
            (a0, low + 0.15, zero),
            (a1, low + 0.15, zero),
            (a1, low + 0.15, out),
            (a0, low + 0.15, out),
        ),
        face((a0, low, out), (a1, low, out), (a1, top, out), (a0, top, out)),
        face((a0, low, zero), (a0, low, out), (a0, top, out), (a0, top, zero)),
        face((a1, low, zero), (a1, low, out), (a1, top, out), (a1, top, zero)),
    ]
    material = Material.CONCRETE if rng.random() < 0.6 else Material.METAL
    return [quads(np.concatenate(faces), material, BUILDING, house.trim_colour)]
