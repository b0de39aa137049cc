"""Trees, shrubs, hedges and grass tufts: branches as tubes, foliage as textured cards.

Cards are quads whose textures have holes, see `textures/foliage.py`; in winter those of deciduous
plants (`Material.LEAVES`) show bare twigs instead. All plants stand at the origin, z up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scmpr_ros.semantics import class_id
from scmpr_ros.town.materials import SHEET_CELLS, Material
from scmpr_ros.town.mesh import Mesh, quads, triangles, tubes

Array = NDArray[np.float64]
Rng = np.random.Generator

VEGETATION, TERRAIN = class_id("vegetation"), class_id("terrain")
_TREE_ROWS, _SHRUB_ROWS, _HEDGE_ROWS = (0, 1), (2,), (3,)
_SPRUCE_ROWS, _YEW_ROWS = (0, 1), (2, 3)
_GRASS_ROWS, _FLOWER_ROWS = (0, 1, 2), (3,)


@dataclass(frozen=True)
class Species:
    """Ranges to draw a tree of a species from. Lengths in metres.

    crown: width over height of the crown. bare: share of the tree's height below the crown.
    clusters: number of leaf clusters, each at the end of a branch. droop: how far they hang below
    that end. card: edge of a leaf card. cards: number of cards of a tree.
    """

    height: tuple[float, float]
    crown: tuple[float, float]
    bare: tuple[float, float]
    clusters: int
    card: float
    cards: int
    droop: float
    colours: tuple[tuple[float, float, float], ...]
    bark: tuple[float, float, float]


SPECIES: dict[str, Species] = {
    "linden": Species((8, 14), (0.9, 1.2), (0.22, 0.32), 22, 1.0, 620, 0.2,
                      ((0.055, 0.10, 0.018), (0.075, 0.12, 0.022)), (0.12, 0.10, 0.08)),
    "plane": Species((10, 17), (1.0, 1.35), (0.25, 0.35), 24, 1.15, 680, 0.1,
                     ((0.07, 0.115, 0.022), (0.10, 0.12, 0.03)), (0.22, 0.20, 0.15)),
    "birch": Species((9, 15), (0.45, 0.65), (0.2, 0.3), 18, 0.85, 430, 1.0,
                     ((0.08, 0.125, 0.025), (0.10, 0.135, 0.03)), (0.45, 0.44, 0.42)),
    "poplar": Species((12, 20), (0.22, 0.32), (0.08, 0.15), 20, 0.95, 480, 0.0,
                      ((0.05, 0.09, 0.018),), (0.12, 0.10, 0.08)),
    "maple": Species((6, 9), (0.8, 1.1), (0.28, 0.4), 14, 0.85, 380, 0.1,
                     ((0.075, 0.04, 0.016), (0.06, 0.10, 0.02), (0.09, 0.125, 0.025)),
                     (0.12, 0.09, 0.07)),
    "fruit": Species((3.5, 5.5), (0.9, 1.3), (0.25, 0.35), 10, 0.65, 230, 0.2,
                     ((0.07, 0.11, 0.03), (0.09, 0.135, 0.035)), (0.12, 0.09, 0.07)),
}  # fmt: skip


def cards(
    rng: Rng, position: Array, out: Array, size: ArrayLike, colour: ArrayLike, material: Material,
    rows: tuple[int, ...], label: int = VEGETATION, normal: Array | None = None,
) -> Mesh:  # fmt: skip
    """Square cards centred at `position` (N, 3), their pictures pointing along unit `out` (N, 3).

    size: (N,) edges in metres. colour: (3,) or (N, 3). rows: rows of the picture sheet to use.
    normal: (N, 3) shading normals, by default `out`; those of a crown point outwards, so that it is
    shaded as one body.
    """
    count = len(position)
    across = np.cross(out, rng.standard_normal((count, 3)))
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)
    half = np.broadcast_to(np.asarray(size, np.float64), count)[:, None] / 2
    sign = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    corners = position[:, None] + sign[:, :1] * (half * across)[:, None]
    corners = corners + sign[:, 1:] * (half * out)[:, None]
    cell = np.stack([rng.integers(0, SHEET_CELLS, count), np.array(rows)[
        rng.integers(0, len(rows), count)]], axis=1)  # fmt: skip
    unit = np.array([[0.01, 0.01], [0.99, 0.01], [0.99, 0.99], [0.01, 0.99]])
    flip = rng.random((count, 1)) < 0.5
    u = np.where(flip, 1 - unit[:, 0], unit[:, 0])
    uv = (cell[:, None] + np.stack([u, np.broadcast_to(unit[:, 1], u.shape)], -1)) / SHEET_CELLS
    split = [0, 1, 2, 0, 2, 3]
    colour = np.broadcast_to(np.asarray(colour, np.float64), (count, 3))
    normal = out if normal is None else normal
    return triangles(
        corners[:, split].reshape(-1, 3, 3), material, label, np.repeat(colour, 2, 0),
        uv[:, split].reshape(-1, 3, 2), np.repeat(normal, 2, 0),
    )  # fmt: skip


def leaves(
    rng: Rng, centre: ArrayLike, radius: ArrayLike, count: int, size: float, colour: ArrayLike,
    material: Material = Material.LEAVES, rows: tuple[int, ...] = _TREE_ROWS, hollow: float = 0.45,
) -> Mesh:  # fmt: skip
    """`count` cards spread over ellipsoids with centres and radii (K, 3), denser outwards.

    Inner and lower leaves are darker, as they see less sky.
    """
    centre, radius = np.atleast_2d(centre), np.atleast_2d(radius)
    weight = radius.prod(axis=1) ** (2 / 3)
    which = rng.choice(len(centre), count, p=weight / weight.sum())
    out = _unit(rng.standard_normal((count, 3)))
    r = rng.random(count)[:, None] ** hollow * rng.uniform(0.85, 1.1, (count, 1))
    position = centre[which] + r * out * radius[which]
    crown = _unit(position - centre.mean(axis=0))
    grow = _unit(0.7 * out + 0.5 * crown + 0.55 * rng.standard_normal((count, 3)) + (0, 0, 0.15))
    normal = _unit(0.9 * out + 0.8 * crown + (0, 0, 0.25) + 0.35 * rng.standard_normal((count, 3)))
    light = (0.45 + 0.55 * r**2) * (0.85 + 0.25 * (out[:, 2:] + crown[:, 2:]) / 2)
    tint = np.asarray(colour) * light * rng.lognormal(0, 0.18, (count, 1))
    tint = np.clip(tint * rng.normal(1, 0.06, (count, 3)), 0.004, 0.6)
    edge = size * rng.uniform(0.7, 1.25, count)
    return cards(rng, position, grow, edge, tint, material, rows, normal=normal)


def _unit(v: Array) -> Array:
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-9)


def tree(rng: Rng, species: Species, detail: float = 1.0) -> Mesh:
    """A broad-leaved tree: leaning trunk, branches, and leaf cards at their ends.

    detail: share of the cards; fewer cards are larger. Below 0.5, for distant trees, there are no
    branches.
    """
    height = rng.uniform(*species.height)
    bare = height * rng.uniform(*species.bare)
    half = (height - bare) / 2
    width = half * rng.uniform(*species.crown)
    stem, girth, trunk = _trunk(rng, species, height, half)
    n = species.clusters
    direction = _unit(rng.standard_normal((n, 3)))
    reach = rng.uniform(0.45, 0.85, (n, 1))
    lean = stem[-1, :2] / max(stem[-1, 2], 1e-6) * height
    middle = np.array([lean[0] * 0.6, lean[1] * 0.6, bare + half])
    centre = middle + direction * reach * np.array([width, width, half])
    centre[:, 2] -= species.droop * rng.random(n) * 0.25 * half
    size = rng.uniform(0.24, 0.46, (n, 1)) * np.array(
        [width, width, half * (0.7 + 0.5 * species.droop)]
    )
    colour = np.array(species.colours[rng.integers(len(species.colours))]) * rng.uniform(0.8, 1.25)
    volume = (height / np.mean(species.height)) ** 2
    count = max(12, int(species.cards * detail * volume))
    crown = leaves(rng, centre, size, count, species.card * min(1.0, detail) ** -0.5, colour)
    if detail < 0.5:
        return Mesh.join([trunk, crown])
    return Mesh.join([trunk, _branches(rng, stem, girth, centre, species), crown])


def _trunk(rng: Rng, species: Species, height: float, half: float) -> tuple[Array, float, Mesh]:
    """Axis (6, 3) of the trunk, its radius, and its mesh."""
    lean = rng.normal(0, 0.025, 2) * height
    t = np.linspace(0, 1, 6)[:, None]
    stem = np.concatenate([t**1.5 * lean, t * height * 0.85], axis=1)
    stem[0, 2] = -0.3  # into the slope
    stem[2:-1, :2] += rng.normal(0, 0.02 * half, (3, 2))
    girth = 0.018 * height * rng.uniform(0.8, 1.3)
    radius = girth * np.array([1.35, 1.0, 0.85, 0.65, 0.4, 0.12])
    return stem, girth, tubes(stem, radius, 8, Material.BARK, VEGETATION, species.bark)


def _branches(rng: Rng, stem: Array, girth: float, ends: Array, species: Species) -> Mesh:
    """Bent branches from the trunk to the clusters, forking inside them."""
    count = len(ends)
    height = np.clip(ends[:, 2] - rng.uniform(0.8, 2.2, count), stem[1, 2], stem[-1, 2] * 0.95)
    root = np.stack([np.interp(height, stem[:, 2], stem[:, i]) for i in (0, 1)] + [height], axis=1)
    bend = (root + ends) / 2 + np.array([0, 0, -0.15]) + rng.normal(0, 0.15, (count, 3))
    path = np.stack([root, bend, ends], axis=1)
    radius = girth * rng.uniform(0.2, 0.38, (count, 1)) * np.array([1.0, 0.7, 0.25])
    limbs = tubes(path, radius, 5, Material.BARK, VEGETATION, species.bark)
    forks = 3
    tips = np.repeat(ends, forks, 0) + rng.normal(0, 0.55, (count * forks, 3)) + (0, 0, 0.15)
    start = np.repeat((bend + 2 * ends) / 3, forks, 0)
    thin = np.repeat(radius[:, 1:2], forks, 0) * np.array([0.5, 0.15])
    twigs = tubes(np.stack([start, tips], axis=1), thin, 3, Material.BARK, VEGETATION, species.bark)
    return Mesh.join([limbs, twigs])


def conifer(rng: Rng, detail: float = 1.0) -> Mesh:
    """A spruce: whorls of drooping cards on a straight trunk, narrower towards the top."""
    height = rng.uniform(6, 14)
    width = height * rng.uniform(0.13, 0.19)
    count = int(430 * detail)
    t = 1 - np.sqrt(rng.uniform(0.0, 0.9, count))  # more at the foot
    t = 0.06 + 0.94 * np.round(t * 16 + rng.normal(0, 0.12, count)) / 16  # whorls
    angle = rng.uniform(0, 2 * np.pi, count)
    out = np.stack([np.cos(angle), np.sin(angle), np.zeros(count)], axis=1)
    reach = width * (1.02 - t) * rng.uniform(0.3, 0.95, count)
    position = reach[:, None] * out + np.stack([0 * t, 0 * t, t * height - 0.25 * reach], axis=1)
    grow = _unit(out + (0, 0, -0.25) + 0.25 * rng.standard_normal((count, 3)))
    colour = np.array([0.022, 0.048, 0.024]) * rng.uniform(0.8, 1.4)
    inner = (0.45 + 0.55 * reach / np.maximum(width * (1.02 - t), 0.1))[:, None]
    tint = colour * inner * rng.lognormal(0, 0.18, (count, 1))
    size = (0.45 + 0.55 * width * (1.02 - t)) * min(1.0, detail) ** -0.5
    normal = _unit(out + (0, 0, 0.6) + 0.3 * rng.standard_normal((count, 3)))
    foliage = cards(rng, position, grow, size, tint, Material.NEEDLES, _SPRUCE_ROWS, normal=normal)
    trunk = np.array([[0, 0, -0.3], [0, 0, height * 0.95]])
    bark = tubes(trunk, [0.02 * height, 0.02], 7, Material.BARK, VEGETATION, (0.10, 0.07, 0.05))
    return Mesh.join([bark, foliage])


_SHRUB_COLOURS = np.array(
    [[0.045, 0.08, 0.018], [0.075, 0.11, 0.024], [0.08, 0.04, 0.022], [0.10, 0.11, 0.04]]
)


def bush(rng: Rng, radius_m: float) -> Mesh:
    """An irregular shrub, deciduous or evergreen."""
    n = int(rng.integers(3, 6))
    centre = np.concatenate(
        [rng.uniform(-0.38, 0.38, (n, 2)), rng.uniform(0.35, 0.85, (n, 1))], axis=1
    ) * radius_m  # fmt: skip
    size = rng.uniform(0.35, 0.58, (n, 3)) * radius_m
    count = int(85 * radius_m**1.6) + 25
    edge = 0.24 + 0.2 * radius_m
    if rng.random() < 0.25:
        dark = np.array([0.03, 0.055, 0.025]) * rng.uniform(0.8, 1.5)
        return leaves(rng, centre, size, count, edge, dark, Material.NEEDLES, _YEW_ROWS)
    colour = _SHRUB_COLOURS[rng.choice(4, p=(0.45, 0.32, 0.11, 0.12))] * rng.uniform(0.8, 1.2)
    return leaves(rng, centre, size, count, edge, colour, Material.LEAVES, _SHRUB_ROWS)


def hedge(rng: Rng, low: Array, high: Array, height_m: float, width_m: float) -> Mesh:
    """A clipped hedge along segments from `low` to `high`, each (N, 3): a dark core under cards.

    Half of all hedges are evergreen.
    """
    along = high - low
    length = np.linalg.norm(along[:, :2], axis=1)
    count = int(length.sum() * 17 * (2 * height_m + width_m))
    which = rng.choice(len(low), count, p=length / length.sum())
    unit = along[which] / length[which][:, None]
    left = np.stack([-unit[:, 1], unit[:, 0], np.zeros(count)], axis=1)
    on_top = rng.random(count) < width_m / (width_m + 2 * height_m)
    flank = rng.choice([-0.5, 0.5], count) * rng.uniform(0.75, 1.0, count)
    side = np.where(on_top, rng.uniform(-0.5, 0.5, count), flank)
    up = np.where(on_top, rng.uniform(0.93, 1.0, count), rng.random(count))
    position = low[which] + rng.random((count, 1)) * along[which]
    position = position + (side * width_m)[:, None] * left
    position[:, 2] += up * height_m
    face = np.where(on_top[:, None], (0.0, 0.0, 1.0), np.sign(side)[:, None] * left)
    grow = _unit(0.5 * face + (0, 0, 0.45) + 0.6 * rng.standard_normal((count, 3)))
    normal = _unit(face + 0.4 * rng.standard_normal((count, 3)))
    evergreen = rng.random() < 0.5
    colour = np.array([[0.035, 0.06, 0.02], [0.055, 0.095, 0.022], [0.05, 0.06, 0.018]])[
        rng.integers(3)] * rng.uniform(0.8, 1.2)  # fmt: skip
    tint = colour * (0.55 + 0.45 * up[:, None]) * rng.lognormal(0, 0.2, (count, 1))
    material, rows = (Material.NEEDLES, _YEW_ROWS) if evergreen else (Material.LEAVES, _HEDGE_ROWS)
    size = rng.uniform(0.22, 0.36, count)
    sprays = cards(rng, position, grow, size, tint, material, rows, normal=normal)
    return Mesh.join([_hedge_core(low, high, 0.36 * width_m, 0.94 * height_m, colour), sprays])


def _hedge_core(low: Array, high: Array, half_m: float, height_m: float, colour: Array) -> Mesh:
    """The dark, opaque inside of a hedge."""
    along = high - low
    n = np.stack([-along[:, 1], along[:, 0], np.zeros(len(along))], 1)
    n *= half_m / np.linalg.norm(along[:, :2], axis=1, keepdims=True)
    top = np.array([0, 0, height_m])
    faces = [np.stack([low + k * n, high + k * n, high + k * n + top, low + k * n + top], 1)
             for k in (-1, 1)]  # fmt: skip
    faces.append(np.stack([low - n + top, high - n + top, high + n + top, low + n + top], 1))
    faces += [np.stack([p - n, p + n, p + n + top, p - n + top], 1) for p in (low, high)]
    return quads(np.concatenate(faces), Material.BARK, VEGETATION, colour * 0.55)


def grass_tufts(rng: Rng, points: Array, height_m: float = 0.22) -> Mesh:
    """Tufts of grass and weeds at ground points (N, 3), each one upright card."""
    return _tufts(rng, points, height_m, (0.075, 0.10, 0.03), _GRASS_ROWS, TERRAIN)


def flower_bed(rng: Rng, radius_m: float) -> Mesh:
    """Flowers of one colour among green tufts."""
    colours = np.array([[0.45, 0.05, 0.05], [0.5, 0.35, 0.04], [0.4, 0.35, 0.4], [0.25, 0.06, 0.3]])
    bloom = colours[rng.integers(len(colours))]
    angle, away = rng.uniform(0, 2 * np.pi, 60), radius_m * np.sqrt(rng.random(60))
    points = np.stack([away * np.cos(angle), away * np.sin(angle), np.zeros(60)], axis=1)
    green = _tufts(rng, points[:40], 0.35, (0.05, 0.085, 0.02), _GRASS_ROWS, VEGETATION)
    return Mesh.join([green, _tufts(rng, points[40:], 0.4, bloom * 0.6, _FLOWER_ROWS, VEGETATION)])


def _tufts(
    rng: Rng, points: Array, height_m: float, colour: ArrayLike, rows: tuple[int, ...], label: int
) -> Mesh:
    count = len(points)
    size = height_m * rng.uniform(0.6, 1.4, count)
    upright = _unit(np.array([0, 0, 1.0]) + 0.15 * rng.standard_normal((count, 3)))
    tint = np.asarray(colour) * rng.lognormal(0, 0.2, (count, 1)) * rng.normal(1, 0.1, (count, 3))
    position = points + size[:, None] * 0.48 * upright
    up = np.broadcast_to(np.array([0.0, 0.0, 1.0]), position.shape)
    return cards(rng, position, upright, size, np.clip(tint, 0.004, 0.7), Material.BLADES, rows,
                 label, up)  # fmt: skip
