"""Trees, bushes and hedges: real branches, and crowns of separate leaves with gaps between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scmpr_ros.datasets.town.materials import Material
from scmpr_ros.datasets.town.mesh import Mesh, quads, triangles, tubes
from scmpr_ros.semantics import class_id

Array = NDArray[np.float64]
Rng = np.random.Generator

VEGETATION = class_id("vegetation")


@dataclass(frozen=True)
class Species:
    """Ranges that a tree of a kind is drawn from. Lengths in metres.

    crown: crown width over height of the crown; bare: share of the height without crown;
    droop: how far clusters hang below the end of their branch; leaf: edge of a leaf cluster.
    """

    height: tuple[float, float]
    crown: tuple[float, float]
    bare: tuple[float, float]
    clusters: int
    leaf: float
    leaves: int
    droop: float
    colours: tuple[tuple[float, float, float], ...]
    bark: tuple[float, float, float]


SPECIES: dict[str, Species] = {
    "linden": Species((8, 14), (0.9, 1.2), (0.22, 0.32), 16, 0.27, 2200, 0.2,
                      ((0.075, 0.13, 0.025), (0.10, 0.15, 0.03)), (0.13, 0.10, 0.075)),
    "plane": Species((10, 17), (1.0, 1.35), (0.25, 0.35), 18, 0.31, 2500, 0.1,
                     ((0.09, 0.14, 0.03), (0.14, 0.15, 0.04)), (0.22, 0.20, 0.15)),
    "birch": Species((9, 15), (0.45, 0.65), (0.2, 0.3), 14, 0.24, 1500, 1.0,
                     ((0.10, 0.16, 0.035), (0.14, 0.17, 0.04)), (0.45, 0.44, 0.42)),
    "poplar": Species((12, 20), (0.22, 0.32), (0.08, 0.15), 16, 0.30, 1700, 0.0,
                      ((0.06, 0.11, 0.025),), (0.12, 0.10, 0.08)),
    "maple": Species((6, 9), (0.8, 1.1), (0.28, 0.4), 10, 0.26, 1100, 0.1,
                     ((0.09, 0.05, 0.02), (0.22, 0.12, 0.03), (0.11, 0.15, 0.03)),
                     (0.12, 0.09, 0.07)),
    "fruit": Species((3.5, 5.5), (0.9, 1.3), (0.25, 0.35), 7, 0.20, 750, 0.2,
                     ((0.09, 0.14, 0.04), (0.12, 0.17, 0.05)), (0.12, 0.09, 0.07)),
}  # fmt: skip


def leaves(
    rng: Rng, centre: ArrayLike, radius: ArrayLike, count: int, size: float, colour: ArrayLike,
    hollow: float = 0.45,
) -> Mesh:  # fmt: skip
    """`count` leaf clusters spread over ellipsoids with centres and radii (K, 3).

    Inner and lower leaves are darker (they see less sky). Shading normals lean outwards, so that
    the crown is lit as a body and not as confetti.
    """
    centre, radius = np.atleast_2d(centre), np.atleast_2d(radius)
    weight = radius.prod(axis=1) ** (2 / 3)
    which = rng.choice(len(centre), count, p=weight / weight.sum())
    out = rng.standard_normal((count, 3))
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    r = rng.random(count)[:, None] ** hollow * rng.uniform(0.9, 1.12, (count, 1))
    position = centre[which] + r * out * radius[which]
    own = rng.standard_normal((count, 3)) + 0.6 * out + (0, 0, 0.4)
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    side = np.cross(own, rng.standard_normal((count, 3)))
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    other = np.cross(own, side)
    angle = (
        rng.uniform(0, 2 * np.pi, (count, 1))
        + np.array([0, 2.1, 4.2])
        + rng.normal(0, 0.35, (count, 3))
    )
    reach = size * rng.uniform(0.35, 0.85, (count, 3))
    corners = position[:, None] + reach[..., None] * (
        np.cos(angle)[..., None] * side[:, None] + np.sin(angle)[..., None] * other[:, None]
    )
    crown = position - centre.mean(axis=0)
    crown /= np.maximum(np.linalg.norm(crown, axis=1, keepdims=True), 1e-6)
    normal = own + 0.9 * out + 0.6 * crown
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    light = (0.35 + 0.65 * r**2) * (0.85 + 0.25 * (out[:, 2:] + crown[:, 2:]) / 2)
    tint = (
        np.asarray(colour)
        * light
        * rng.lognormal(0, 0.22, (count, 1))
        * rng.normal(1, 0.08, (count, 3))
    )
    tint = np.clip(tint, 0.004, 0.6)
    uv = rng.uniform(0, 2, (count, 1, 2)) + reach[..., None] * np.stack(
        [np.cos(angle), np.sin(angle)], -1
    )
    return triangles(corners, Material.LEAVES, VEGETATION, tint, uv, normal)


def tree(rng: Rng, species: Species, detail: float = 1.0) -> Mesh:
    """A broad-leaved tree at the origin: leaning trunk, branches, leaves at their ends."""
    height = rng.uniform(*species.height)
    bare = height * rng.uniform(*species.bare)
    half = (height - bare) / 2
    width = half * rng.uniform(*species.crown)
    lean = rng.normal(0, 0.025, 2) * height
    stem_t = np.linspace(0, 1, 6)[:, None]
    stem = np.concatenate([stem_t**1.5 * lean, stem_t * height * 0.85], axis=1)
    stem[1:-1, :2] += rng.normal(0, 0.02 * half, (4, 2))
    girth = 0.018 * height * rng.uniform(0.8, 1.3)
    radius = girth * np.array([1.35, 1.0, 0.85, 0.65, 0.4, 0.12])
    parts = [tubes(stem, radius, 8, Material.BARK, VEGETATION, species.bark)]
    n = species.clusters
    direction = rng.standard_normal((n, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    reach = rng.uniform(0.45, 0.85, (n, 1))
    middle = np.array([lean[0] * 0.6, lean[1] * 0.6, bare + half])
    centre = middle + direction * reach * np.array([width, width, half])
    centre[:, 2] -= species.droop * rng.random(n) * 0.25 * half
    size = rng.uniform(0.26, 0.5, (n, 1)) * np.array(
        [width, width, half * (0.7 + 0.5 * species.droop)]
    )
    parts.append(_branches(rng, stem, girth, centre, species))
    colour = np.array(species.colours[rng.integers(len(species.colours))]) * rng.uniform(0.8, 1.25)
    count = int(species.leaves * detail)
    leaf = species.leaf * (1.0 if detail >= 1 else detail**-0.5)
    parts.append(leaves(rng, centre, size, count, leaf, colour))
    return Mesh.join(parts)


def _branches(rng: Rng, stem: Array, girth: float, ends: Array, species: Species) -> Mesh:
    """Bent branches from the trunk to the clusters."""
    count = len(ends)
    height = np.clip(ends[:, 2] - rng.uniform(0.8, 2.2, count), stem[1, 2], stem[-1, 2] * 0.95)
    root = np.stack([np.interp(height, stem[:, 2], stem[:, i]) for i in (0, 1)] + [height], axis=1)
    bend = (root + ends) / 2 + np.array([0, 0, -0.15]) + rng.normal(0, 0.15, (count, 3))
    path = np.stack([root, bend, ends], axis=1)
    radius = girth * rng.uniform(0.2, 0.38, (count, 1)) * np.array([1.0, 0.7, 0.25])
    return tubes(path, radius, 5, Material.BARK, VEGETATION, species.bark)


def conifer(rng: Rng, detail: float = 1.0) -> Mesh:
    """A spruce: whorls of needles on a straight trunk, narrower towards the top."""
    height = rng.uniform(6, 14)
    width = height * rng.uniform(0.16, 0.24)
    rings = 14
    t = np.repeat(np.linspace(0.08, 0.98, rings), 5)
    angle = rng.uniform(0, 2 * np.pi, len(t))
    r = width * (1 - t) * rng.uniform(0.45, 0.7, len(t))
    centre = np.stack([r * np.cos(angle), r * np.sin(angle), t * height - 0.15 * r], axis=1)
    size = np.stack(
        [0.55 * width * (1 - t) + 0.12] * 2 + [np.full(len(t), height / rings * 0.55)], 1
    )
    colour = np.array([0.028, 0.06, 0.028]) * rng.uniform(0.8, 1.4)
    needles = leaves(
        rng, centre, size, int(1500 * detail), 0.3 * max(1.0, detail**-0.5), colour, 0.5
    )
    trunk = np.array([[0, 0, 0], [0, 0, height * 0.95]])
    bark = tubes(trunk, [0.02 * height, 0.02], 7, Material.BARK, VEGETATION, (0.10, 0.07, 0.05))
    return Mesh.join([bark, needles])


def bush(rng: Rng, radius_m: float) -> Mesh:
    """An irregular shrub at the origin."""
    n = rng.integers(2, 5)
    centre = (
        np.concatenate([rng.normal(0, 0.4, (n, 2)), rng.uniform(0.4, 0.8, (n, 1))], axis=1)
        * radius_m
    )
    size = rng.uniform(0.5, 0.85, (n, 3)) * radius_m
    colours = ((0.06, 0.10, 0.025), (0.10, 0.14, 0.03), (0.09, 0.05, 0.025), (0.12, 0.13, 0.05))
    colour = colours[rng.choice(4, p=(0.4, 0.3, 0.15, 0.15))]
    return leaves(rng, centre, size, int(330 * radius_m**1.5) + 60, 0.17, colour)


def hedge(rng: Rng, low: Array, high: Array, height_m: float, width_m: float) -> Mesh:
    """A clipped hedge along segments from `low` to `high`, each (N, 3): a dark core and leaves."""
    along = high - low
    length = np.linalg.norm(along[:, :2], axis=1)
    per_metre = int(130 * (height_m + width_m))
    count = int(length.sum() * per_metre)
    which = rng.choice(len(low), count, p=length / length.sum())
    unit = along[which] / length[which][:, None]
    left = np.stack([-unit[:, 1], unit[:, 0], np.zeros(count)], axis=1)
    side = rng.choice([-0.5, 0.5], count) + rng.normal(0, 0.05, count)
    up = rng.random(count)
    on_top = rng.random(count) < width_m / (width_m + 2 * height_m)
    side, up = np.where(on_top, rng.uniform(-0.5, 0.5, count), side), np.where(on_top, 1.0, up)
    up = up + rng.normal(0, 0.03, count)
    position = low[which] + rng.random((count, 1)) * along[which]
    position = (
        position + (side * width_m)[:, None] * left + np.stack([0 * up, 0 * up, up * height_m], 1)
    )
    colour = np.array(
        ((0.05, 0.09, 0.025), (0.07, 0.12, 0.03), (0.06, 0.07, 0.02))[rng.integers(3)]
    )
    foliage = _loose_leaves(
        rng,
        position,
        np.where(on_top[:, None], (0, 0, 1), np.sign(side)[:, None] * left),
        0.12,
        colour * (0.5 + 0.5 * up[:, None]),
    )
    inner = 0.38 * width_m
    n = np.stack([-along[:, 1], along[:, 0], np.zeros(len(along))], 1) / length[:, None] * inner
    zed = np.array([0, 0, 0.93 * height_m])
    faces = [
        np.stack([low + k * n, high + k * n, high + k * n + zed, low + k * n + zed], 1)
        for k in (-1, 1)
    ]
    faces.append(np.stack([low - n + zed, high - n + zed, high + n + zed, low + n + zed], 1))
    core = quads(np.concatenate(faces), Material.LEAVES, VEGETATION, colour * 0.4)
    return Mesh.join([core, foliage])


def _loose_leaves(rng: Rng, position: Array, out: Array, size: float, colour: Array) -> Mesh:
    """Leaf clusters at given places whose shading normals lean along `out` (N, 3)."""
    count = len(position)
    corners = position[:, None] + rng.normal(0, size * 0.5, (count, 3, 3))
    normal = out + 0.5 * rng.standard_normal((count, 3))
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    tint = np.clip(colour * rng.lognormal(0, 0.25, (count, 1)), 0.004, 0.6)
    uv = rng.uniform(0, 2, (count, 3, 2))
    return triangles(corners, Material.LEAVES, VEGETATION, tint, uv, normal)
