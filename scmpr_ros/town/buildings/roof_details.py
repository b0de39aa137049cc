"""Roof details: chimneys, dormers, skylights, solar panels, dishes, gutters, downpipes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scmpr_ros.town.buildings import tints
from scmpr_ros.town.buildings.faces import FOUNDATION_M, Shell
from scmpr_ros.town.buildings.house_styles import House
from scmpr_ros.town.buildings.roofs import THICKNESS_M, RoofForm
from scmpr_ros.town.materials import Material

Array = NDArray[np.float64]
Rng = np.random.Generator
_Placing = Callable[[Array, ArrayLike, ArrayLike], Array]
"""Maps s relative to the middles of N dormers, t and h, to points (N, K, 3)."""


def chimneys(rng: Rng, shell: Shell, roof: RoofForm, count: int) -> None:
    """Stacks with a cap and a dark mouth, near the ridge."""
    low_s, high_s = roof.ridge[0] + 0.6, roof.ridge[1] - 0.6
    if high_s <= low_s or count == 0:
        return
    s = rng.uniform(low_s, high_s, count)
    t = rng.choice([-1, 1], count) * rng.uniform(0.35, 0.22 * roof.half_span + 0.4, count)
    foot = roof.height(t) - 0.5
    top = roof.top + rng.uniform(0.3, 0.9)
    half = rng.uniform(0.22, 0.34)
    middle = roof.points(s, t, 0.0)
    size = np.array([half, half * rng.uniform(1.0, 1.7), 0.0])
    up = np.array([0.0, 0.0, 1.0])
    brick = tints.shade(rng, tints.BRICKS) if rng.random() < 0.6 else np.full(3, 0.28)
    low = middle - size + up * foot[:, None]
    high = middle + size + up * top
    shell.boxes(low, high, Material.BRICK, brick)
    rim = np.array([0.05, 0.05, 0.0])
    shell.boxes(middle - size - rim + up * top, middle + size + rim + up * (top + 0.08),
                Material.CONCRETE, np.full(3, 0.3))  # fmt: skip
    pot = middle + up * (top + 0.06)
    shell.boxes(pot - 0.11 * np.array([1, 1, 0]), pot + np.array([0.11, 0.11, 0.16]),
                Material.METAL, np.full(3, 0.05))  # fmt: skip


def dormers(rng: Rng, shell: Shell, roof: RoofForm, house: House, side: int, s: Array) -> None:
    """Dormers at s (N,) on one side: gabled or flat."""
    kind = rng.choice(["gabled", "flat"])
    half = float(rng.uniform(0.6, 0.85))
    inset = float(rng.uniform(0.25, 0.8)) if len(roof.profile) == 3 else 0.15
    face = roof.half_span - inset
    low, top = float(roof.height(face)) - 0.1, float(roof.height(face)) + rng.uniform(1.35, 1.65)
    top = min(top, roof.top - 0.55)
    if top - low < 1.1:
        return
    back = _distance_at(roof, top)

    def at(ds: Array, t: ArrayLike, h: ArrayLike) -> Array:
        return roof.points(s[:, None] - side * ds, side * np.asarray(t), h)

    front = at(np.array([-half, half, half, -half]), face, np.array([low, low, top, top]))
    shell.quads(front, house.finish.wall, house.finish.trim_colour)
    for x in (-half, half):
        cheek = at(np.full(4, x), np.array([face, back, back, face]),
                   np.array([low, low, top, top]))  # fmt: skip
        shell.quads(cheek, Material.METAL, tints.METAL)
    pane = half - 0.12
    panes = at(np.array([-pane, pane, pane, -pane]), face + 0.02,
               np.array([low + 0.32, low + 0.32, top - 0.12, top - 0.12]))  # fmt: skip
    shell.pictures(rng, panes, Material.WINDOW, house.windows.cell)
    wide, lip = half + 0.14, face + 0.16
    if kind == "flat":
        _flat_lid(shell, at, wide, lip, back, top)
    else:
        _gabled_lid(shell, roof, house, at, wide, lip, top)


def _distance_at(roof: RoofForm, h: float) -> float:
    """Distance from the ridge at which the tiles are at height h."""
    half = len(roof.profile) // 2 + 1
    t, heights = roof.profile[:half].T
    return -float(np.interp(h - THICKNESS_M, heights, t))


def _flat_lid(shell: Shell, at: _Placing, wide: float, lip: float, back: float, top: float) -> None:
    """A flat roof of sheet metal."""
    x = np.array([-wide, wide, wide, -wide])
    t = np.array([lip, lip, back - 0.1, back - 0.1])
    shell.quads(at(x, t, top + 0.12), Material.METAL, tints.METAL)
    shell.quads(at(x[::-1], t[::-1], top), Material.METAL, tints.METAL)
    z = np.array([top, top, top + 0.12, top + 0.12])
    shell.quads(at(x, lip, z), Material.METAL, tints.METAL * 0.8)
    for edge in (-wide, wide):
        sides = at(np.full(4, edge), np.array([lip, back, back, lip]), z)
        shell.quads(sides, Material.METAL, tints.METAL * 0.8)


def _gabled_lid(
    shell: Shell, roof: RoofForm, house: House, at: _Placing, wide: float, lip: float, top: float
) -> None:
    """Two small slopes that run back into the main one."""
    ridge = min(top + 0.75 * wide, roof.top - 0.08)
    foot, back, ridge_back = (
        top - 0.06,
        _distance_at(roof, top) - 0.15,
        _distance_at(roof, ridge) - 0.1,
    )
    for x in (-wide, wide):
        slope = at(np.array([x, 0.0, 0.0, x]), np.array([lip, lip, ridge_back, back]),
                   np.array([foot, ridge, ridge, foot]))  # fmt: skip
        shell.quads(slope, Material.ROOF_TILES, house.roof.colour)
    tri = at(np.array([-wide + 0.1, wide - 0.1, 0.0]), lip - 0.14,
             np.array([top, top, ridge - 0.06]))  # fmt: skip
    shell.triangles(tri, house.finish.wall, house.finish.trim_colour)


def skylights(rng: Rng, shell: Shell, roof: RoofForm, side: int, count: int) -> None:
    """Windows in the slope, slightly above the tiles."""
    plane = roof.slope(side)
    rise = _slope_length(roof)
    margin = (roof.half_length + roof.verge) - roof.ridge[1] + 0.8
    if count == 0 or rise < 3 or plane.length - 2 * margin < count * 1.3:
        return
    u = margin + (np.arange(count) + 0.5) * (plane.length - 2 * margin) / count
    v = rise * float(rng.uniform(0.4, 0.55))
    blocks = plane.blocks((u - 0.4, u + 0.4), (v, v + 1.2), (-0.02, 0.07), (
        "top", "bottom", "left", "right"))  # fmt: skip
    shell.quads(blocks, Material.METAL, np.full(3, 0.09))
    panes = plane.panels(u - 0.4, u + 0.4, v, v + 1.2, 0.07)
    shell.pictures(rng, panes, Material.WINDOW, kinds=("roof",))


def _slope_length(roof: RoofForm) -> float:
    (t0, h0), (t1, h1) = roof.profile[:2]
    return float(np.hypot(t1 - t0, h1 - h0))


def solar_panels(rng: Rng, shell: Shell, roof: RoofForm, side: int) -> None:
    """An array of solar modules."""
    plane = roof.slope(side)
    rise, margin = _slope_length(roof), (roof.half_length + roof.verge) - roof.ridge[1] + 0.7
    columns = int((plane.length - 2 * margin) / 1.03)
    rows = int((rise - 1.6) / 1.7)
    if columns < 3 or rows < 1:
        return
    columns, rows = int(rng.integers(3, columns + 1)), int(rng.integers(1, rows + 1))
    first = margin + rng.uniform(0, plane.length - 2 * margin - columns * 1.03)
    row, column = (a.ravel() for a in np.mgrid[0:rows, 0:columns])
    u, v = first + column * 1.03, 0.8 + row * 1.7
    modules = plane.panels(u, u + 1.0, v, v + 1.66, 0.1)
    shell.quads(modules, Material.GLASS, np.array([0.02, 0.024, 0.045]))
    edge = plane.blocks((first, first + columns * 1.03 - 0.03), (0.8, 0.8 + rows * 1.7 - 0.04),
                        (0.03, 0.095), ("top", "bottom", "left", "right"))  # fmt: skip
    shell.quads(edge, Material.METAL, np.full(3, 0.12))


def satellite_dish(rng: Rng, shell: Shell, roof: RoofForm, side: int) -> None:
    """A dish on a pole near the ridge."""
    s, t = rng.uniform(*roof.ridge) * 0.7, side * rng.uniform(0.8, 1.6)
    foot = float(roof.height(t))
    base, top = roof.points(s, t, foot - 0.3), roof.points(s, t, foot + 0.9)
    shell.tubes(np.stack([base, top])[None], 0.025, Material.METAL, tints.METAL)
    aim = np.array([0.55, -0.7, 0.45])  # all dishes face south
    shell.discs(top[None] + 0.07 * aim, aim / np.linalg.norm(aim), 0.4, Material.METAL,
                np.full(3, rng.uniform(0.25, 0.6)))  # fmt: skip


def gutters(shell: Shell, roof: RoofForm, pipes: dict[int, list[float]], street: float) -> None:
    """Gutters along the eaves, and downpipes into the ground.

    pipes: s of the downpipes by side. street: height of the walls above the street.
    """
    t0, h0 = roof.profile[0]
    last_t, last_h = roof.profile[-1]
    s = roof.half_length + roof.verge
    ends = np.array([-s, s])
    lines = [
        roof.points(ends, t0 - 0.065, h0 + 0.04), roof.points(ends, last_t + 0.065, last_h + 0.04)
    ]  # fmt: skip
    if last_h > 0.5:  # a shed roof drains to one side
        lines = lines[:1]
    shell.tubes(np.array(lines), 0.055, Material.METAL, tints.METAL)
    paths = []
    for side, places in pipes.items():
        wall_t = side * (roof.half_span + 0.08)
        for s in places:
            eave = roof.points(s, side * abs(t0), h0)
            bend = roof.points(s, wall_t, min(h0, 0.0) - 0.45)
            paths.append([eave, bend, roof.points(s, wall_t, -street - FOUNDATION_M)])
    if paths:
        shell.tubes(np.array(paths), 0.045, Material.METAL, tints.METAL)
