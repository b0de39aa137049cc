"""Fences, railings and garden walls between plots and pavements.

All kinds follow ground segments from `low` to `high`, each (N, 3) with z up. Segments that meet end
to end form a run, with posts at its ends and at every second joint.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.town.furniture.fence_parts import (
    BARRIER,
    FOOT_M,
    FenceLine,
    bar_field,
    diagonal_wires,
    pillars,
    rails,
    slab,
    square_posts,
    strips,
    uprights,
)
from scmpr_ros.town.furniture.solids import STEEL_GREYS
from scmpr_ros.town.materials import Material
from scmpr_ros.town.mesh import Mesh, quads

Array = NDArray[np.float64]
Rng = np.random.Generator


def fence(rng: Rng, kind: str, low: Array, high: Array) -> Mesh:
    """A fence of one of `FENCE_KINDS` along ground segments from `low` to `high`, each (N, 3)."""
    return _KINDS[kind](rng, FenceLine.of(rng, np.asarray(low), np.asarray(high)))


def _pickets(rng: Rng, line: FenceLine) -> Mesh:
    """Wooden slats of slightly varying height and tone on two rails."""
    height, tone = rng.uniform(0.8, 1.2), rng.uniform(0.10, 0.22)
    colour = tone * np.array([1, 0.68, 0.42])
    if rng.random() < 0.45:
        colour = rng.choice([[0.6, 0.58, 0.54], [0.30, 0.28, 0.25], [0.55, 0.33, 0.02]])
    foot, along, aside = uprights(line.low, line.high, 0.17)
    front = foot + 0.02 * aside
    z0, z1 = 0.06 + 0.01 * rng.random(len(foot)), height + rng.normal(0, 0.012, len(foot))
    width = 0.09
    shade = colour * rng.uniform(0.8, 1.15, (len(foot), 1))
    slats = quads(strips(front, along, z0, z1, width), Material.WOOD, BARRIER, shade)
    edges = np.concatenate(
        [strips(front + s * along * width / 2 - 0.01 * aside, aside, z0, z1, 0.02) for s in (-1, 1)]
    )
    ends = quads(edges, Material.WOOD, BARRIER, 0.7 * colour)
    beams = rails(line.low, line.high, (0.2, height - 0.25), 0.07, Material.WOOD, 0.8 * colour)
    posts = square_posts(line, 0.1, -FOOT_M, height - 0.05, Material.WOOD, 0.8 * colour)
    return Mesh.join([slats, ends, beams, posts])


def _iron_bars(rng: Rng, line: FenceLine) -> Mesh:
    """Plain bars between steel posts; gates are higher."""
    height, paint = rng.uniform(0.85, 1.3), STEEL_GREYS[rng.integers(4)]
    return Mesh.join([
        bar_field(*line.segments(gates=False), 0.05, height, 0.12, 0.02, paint),
        bar_field(*line.segments(gates=True), 0.05, height + 0.12, 0.1, 0.02, paint),
        square_posts(line, 0.06, -FOOT_M, height + 0.04, Material.METAL, paint),
    ])  # fmt: skip


def _masonry(rng: Rng) -> tuple[Material, Array]:
    material = Material(int(rng.choice([Material.BRICK, Material.STONE, Material.PLASTER,
                                        Material.CONCRETE])))  # fmt: skip
    tints = {
        Material.BRICK: (0.34, 0.15, 0.10), Material.STONE: (0.34, 0.28, 0.21),
        Material.PLASTER: (0.55, 0.53, 0.48), Material.CONCRETE: (0.36, 0.35, 0.32),
    }  # fmt: skip
    return material, np.array(tints[material]) * rng.uniform(0.75, 1.2)


def _wall(rng: Rng, line: FenceLine) -> Mesh:
    """A garden wall with a projecting cap, pillars at its ends and a barred gate."""
    height, (material, colour) = rng.uniform(0.7, 1.6), _masonry(rng)
    low, high = line.segments(gates=False)
    cap = colour * 0.8 if rng.random() < 0.5 else np.array([0.38, 0.37, 0.34])
    return Mesh.join([
        slab(low, high, -FOOT_M, height, 0.24, material, colour),
        slab(low, high, height, height + 0.06, 0.32, Material.CONCRETE, cap),
        pillars(line.ends(), height + 0.12, 0.36, material, colour, cap),
        bar_field(*line.segments(gates=True), 0.06, height, 0.1, 0.02,
                  STEEL_GREYS[rng.integers(1, 4)]),
    ])  # fmt: skip


def _low_wall_bars(rng: Rng, line: FenceLine) -> Mesh:
    """Bars on a low wall."""
    height, (material, colour) = rng.uniform(0.95, 1.4), _masonry(rng)
    base, paint = rng.uniform(0.25, 0.55), STEEL_GREYS[rng.integers(4)]
    low, high = line.segments(gates=False)
    return Mesh.join([
        slab(low, high, -FOOT_M, base, 0.24, material, colour),
        bar_field(low, high, base, height, 0.12, 0.02, paint),
        bar_field(*line.segments(gates=True), 0.06, height, 0.1, 0.022, paint),
        square_posts(line, 0.07, -FOOT_M, height + 0.05, Material.METAL, paint),
    ])  # fmt: skip


def _pillars_and_boards(rng: Rng, line: FenceLine) -> Mesh:
    """Masonry pillars on a low wall with horizontal boards between them."""
    height, (material, colour) = rng.uniform(0.85, 1.15), _masonry(rng)
    low, high = line.segments(gates=False)
    base, wood = rng.uniform(0.2, 0.4), rng.uniform(0.1, 0.3) * np.array([1, 0.7, 0.45])
    gap = (height - base - 0.04) / 3
    levels = base + 0.04 + gap * np.arange(3)
    boards = rails(line.low, line.high, levels, gap - 0.04, Material.WOOD, wood)
    walls = slab(low, high, -FOOT_M, base, 0.26, material, colour)
    shafts = pillars(line, height + 0.06, 0.32, material, colour, 0.8 * colour)
    return Mesh.join([walls, boards, shafts])


def _boards(rng: Rng, line: FenceLine) -> Mesh:
    """A privacy screen of overlapping vertical boards."""
    height, tone = rng.uniform(1.5, 1.9), rng.uniform(0.09, 0.24)
    colour = tone * np.array([1, 0.7, 0.45])
    foot, along, aside = uprights(line.low, line.high, 0.14)
    depth = 0.012 * (1 - 2 * (np.arange(len(foot)) % 2))[:, None]
    top = height + rng.normal(0, 0.006, len(foot))
    shade = colour * rng.uniform(0.82, 1.15, (len(foot), 1))
    boards = quads(
        strips(foot + depth * aside, along, 0.04, top, 0.165), Material.WOOD, BARRIER, shade
    )
    levels = (0.3, height - 0.3)
    beams = rails(line.low, line.high, levels, 0.08, Material.WOOD, 0.8 * colour, 0.07)
    posts = square_posts(line, 0.1, -FOOT_M, height + 0.05, Material.WOOD, 0.85 * colour)
    return Mesh.join([boards, beams, posts])


def _rod_mesh(rng: Rng, line: FenceLine) -> Mesh:
    """Welded mesh panels, green or grey."""
    height = rng.choice([0.8, 1.0, 1.2, 1.6])
    paint = ((0.015, 0.06, 0.03), (0.06, 0.065, 0.07), (0.33, 0.34, 0.34))[rng.integers(3)]
    foot, along, aside = uprights(line.low, line.high, 0.065)
    rods = quads(strips(foot, along, 0.04, height, 0.009), Material.METAL, BARRIER, paint)
    wires = rails(line.low, line.high, np.linspace(0.08, height - 0.04, 5), 0.012, Material.METAL,
                  paint, 0.008)  # fmt: skip
    posts = square_posts(line, 0.055, -FOOT_M, height + 0.04, Material.METAL, paint)
    return Mesh.join([rods, wires, posts])


def _chain_link(rng: Rng, line: FenceLine) -> Mesh:
    """Diamond wire mesh between posts, with a wire along its top."""
    height = rng.uniform(0.9, 1.5)
    paint = ((0.02, 0.07, 0.035), (0.33, 0.34, 0.34))[rng.integers(2)]
    wires = [diagonal_wires(line.low, line.high, 0.04, height, lean) for lean in (-1, 1)]
    top = rails(line.low, line.high, (height - 0.01,), 0.02, Material.METAL, paint, 0.02)
    posts = square_posts(line, 0.05, -FOOT_M, height + 0.05, Material.METAL, paint)
    return Mesh.join([quads(np.concatenate(wires), Material.METAL, BARRIER, paint), top, posts])


def _rails(rng: Rng, line: FenceLine) -> Mesh:
    """Horizontal boards or tubes with wide gaps between short posts."""
    height, count = rng.uniform(0.7, 1.0), int(rng.integers(2, 5))
    wood = rng.random() < 0.6
    material = Material.WOOD if wood else Material.METAL
    colour = STEEL_GREYS[rng.integers(3)]
    if wood:
        colour = rng.uniform(0.12, 0.3) * np.array([1, 0.75, 0.5])
    size = 0.11 if wood else 0.045
    levels = np.linspace(height, 0.3, count) - size
    beams = rails(line.low, line.high, levels, size, material, colour)
    posts = square_posts(line, 0.09, -FOOT_M, height + 0.06, material, 0.85 * colour)
    return Mesh.join([beams, posts])


def _gabions(rng: Rng, line: FenceLine) -> Mesh:
    """Gabions: wire cages filled with stones."""
    height, grey = rng.uniform(0.8, 1.6), rng.uniform(0.28, 0.42) * np.array([1, 0.97, 0.9])
    low, high = line.segments(gates=False)
    body = slab(low, high, -FOOT_M, height, 0.4, Material.COBBLE, grey)
    cage = []
    for side in (-0.206, 0.206):
        foot, along, aside = uprights(low, high, 0.2)
        cage.append(strips(foot + side * aside, along, 0.0, height, 0.012))
    wires = quads(np.concatenate(cage), Material.METAL, BARRIER, (0.3, 0.3, 0.3))
    gates = bar_field(*line.segments(gates=True), 0.06, height, 0.12, 0.022, STEEL_GREYS[2])
    return Mesh.join([body, wires, gates])


_KINDS: dict[str, Callable[[Rng, FenceLine], Mesh]] = {
    "pickets": _pickets,
    "bars": _iron_bars,
    "wall": _wall,
    "low_wall_bars": _low_wall_bars,
    "pillars": _pillars_and_boards,
    "boards": _boards,
    "mesh": _rod_mesh,
    "chain_link": _chain_link,
    "rails": _rails,
    "gabions": _gabions,
}
FENCE_KINDS = tuple(_KINDS)
