"""Parts of fences: the line they follow, slabs, posts, bars, wires and pillars."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scmpr_ros.semantics import class_id
from scmpr_ros.town.materials import Material
from scmpr_ros.town.mesh import Mesh, quads

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Rng = np.random.Generator

BARRIER = class_id("barrier")
FOOT_M = 0.4
"""Depth of walls and posts below the ground."""


@dataclass(frozen=True)
class FenceLine:
    """Ground line of a fence.

    low, high: (N, 3) ends of its segments. post: (P, 3) feet of posts; along: (P, 2) unit direction
    of the fence there; is_end: (P,) whether a run or a gate ends there. gate: (N,) segments that
    are gates.
    """

    low: Array
    high: Array
    post: Array
    along: Array
    is_end: Mask
    gate: Mask

    @classmethod
    def of(cls, rng: Rng, low: Array, high: Array) -> FenceLine:
        """Find the runs, place posts, and put a gate into some of the longer runs."""
        follows = np.r_[False, np.linalg.norm(low[1:] - high[:-1], axis=1) < 0.05]
        run = np.cumsum(~follows) - 1
        place = np.arange(len(low)) - np.flatnonzero(~follows)[run]
        size = np.bincount(run)[run]
        gate = np.zeros(len(low), bool)
        for first in np.flatnonzero((place == 0) & (size >= 4)):
            gate[first + rng.integers(1, size[first] - 1)] = rng.random() < 0.6
        is_last = place == size - 1
        beside_gate = gate | np.r_[False, gate[:-1] & follows[1:]]
        ends = (place == 0) | beside_gate
        starts = (place % 2 == 0) | ends
        unit = (high - low)[:, :2] / np.linalg.norm((high - low)[:, :2], axis=1, keepdims=True)
        post = np.concatenate([low[starts], high[is_last]])
        along = np.concatenate([unit[starts], unit[is_last]])
        return cls(low, high, post, along, np.r_[ends[starts], is_last[is_last]], gate)

    def ends(self) -> FenceLine:
        """The line with posts only at the ends of runs and beside gates."""
        return replace(self, post=self.post[self.is_end], along=self.along[self.is_end],
                       is_end=self.is_end[self.is_end])  # fmt: skip

    def segments(self, gates: bool) -> tuple[Array, Array]:
        """Ends of the segments that are gates, or of those that are not."""
        chosen = self.gate if gates else ~self.gate
        return self.low[chosen], self.high[chosen]


def slab(
    low: Array, high: Array, z0: float, z1: float, thick_m: float, material: Material,
    colour: ArrayLike, is_closed: bool = True,
) -> Mesh:  # fmt: skip
    """A wall of given thickness between two heights; is_closed: whether segments have end faces."""
    along = high - low
    n = np.stack([-along[:, 1], along[:, 0], np.zeros(len(along))], axis=1)
    n *= thick_m / 2 / np.linalg.norm(along[:, :2], axis=1, keepdims=True)
    b, t = np.array([0, 0, z0]), np.array([0, 0, z1])
    faces = [
        np.stack([low + n + b, high + n + b, high + n + t, low + n + t], axis=1),
        np.stack([low - n + b, high - n + b, high - n + t, low - n + t], axis=1),
        np.stack([low - n + t, high - n + t, high + n + t, low + n + t], axis=1),
    ]
    for end in (low, high) if is_closed else ():
        faces.append(np.stack([end - n + b, end + n + b, end + n + t, end - n + t], axis=1))
    return quads(np.concatenate(faces), material, BARRIER, colour)


def rails(
    low: Array, high: Array, levels: Iterable[float], size_m: float, material: Material,
    colour: ArrayLike, thick_m: float = 0.035,
) -> Mesh:  # fmt: skip
    """Horizontal beams, `size_m` high, with their undersides at `levels` above the ground."""
    beams = [slab(low, high, z, z + size_m, thick_m, material, colour, False) for z in levels]
    # The texture shows vertical planks, rails are horizontal.
    return Mesh.join(replace(beam, uv=beam.uv[..., ::-1]) for beam in beams)


def square_posts(
    line: FenceLine, width: float, z0: float, z1: float, material: Material, colour: ArrayLike,
    peak_m: float = 0.0,
) -> Mesh:  # fmt: skip
    """Square posts from z0 to z1, with a pyramid of height `peak_m` on top."""
    along = np.column_stack([line.along, np.zeros(len(line.along))]) * width / 2
    aside = np.stack([-along[:, 1], along[:, 0], along[:, 2]], axis=1)
    ring = np.stack([along + aside, aside - along, -along - aside, along - aside], axis=1)
    base, top = line.post[:, None] + ring + (0, 0, z0), line.post[:, None] + ring + (0, 0, z1)
    after = np.roll(np.arange(4), -1)
    sides = np.stack([base, base[:, after], top[:, after], top], axis=2).reshape(-1, 4, 3)
    if peak_m == 0:
        return quads(np.concatenate([sides, top]), material, BARRIER, colour)
    tip = line.post[:, None] + 0.1 * ring + (0, 0, z1 + peak_m)
    slopes = np.stack([top, top[:, after], tip[:, after], tip], axis=2).reshape(-1, 4, 3)
    return quads(np.concatenate([sides, slopes]), material, BARRIER, colour)


def uprights(low: Array, high: Array, spacing: float) -> tuple[Array, Array, Array]:
    """Feet of evenly spaced uprights, and the horizontal unit directions along the fence and to its
    left, (K, 3) each."""
    length = np.linalg.norm((high - low)[:, :2], axis=1)
    counts = np.maximum((length / spacing).round().astype(int), 1)
    which = np.repeat(np.arange(len(low)), counts)
    number = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    share = (number + 0.5) / counts[which]
    along = ((high - low) / length[:, None] * (1, 1, 0))[which]
    aside = np.stack([-along[:, 1], along[:, 0], along[:, 2]], axis=1)
    return low[which] + share[:, None] * (high - low)[which], along, aside


def strips(foot: Array, across: Array, z0: ArrayLike, z1: ArrayLike, width: float) -> Array:
    """Vertical quads (K, 4, 3) over feet (K, 3), `width` wide along unit `across` (K, 3)."""
    up = np.array([0.0, 0.0, 1.0])
    half = across * width / 2
    below, above = (foot + np.broadcast_to(z, len(foot))[:, None] * up for z in (z0, z1))
    return np.stack([below - half, below + half, above + half, above - half], axis=1)


def bar_field(
    low: Array, high: Array, z0: float, z1: float, spacing: float, width: float, colour: ArrayLike
) -> Mesh:
    """Thin vertical metal bars, each two crossed strips, on two rails."""
    foot, along, aside = uprights(low, high, spacing)
    crossed = [strips(foot, (along + s * aside) * 0.71, z0, z1, width) for s in (-1, 1)]
    bars = quads(np.concatenate(crossed), Material.METAL, BARRIER, colour)
    beams = rails(low, high, (z0 + 0.08, z1 - 0.14), 0.035, Material.METAL, colour, 0.03)
    return Mesh.join([bars, beams])


def pillars(line: FenceLine, height: float, width: float, material: Material, colour: Array,
             cap: Array) -> Mesh:  # fmt: skip
    """Masonry pillars with pyramidal caps, at the posts of a line."""
    shaft = square_posts(line, width, -FOOT_M, height, material, colour)
    lid = square_posts(line, width + 0.08, height, height + 0.05, Material.CONCRETE, cap, 0.07)
    return Mesh.join([shaft, lid])


def diagonal_wires(low: Array, high: Array, z0: float, z1: float, lean: int) -> Array:
    """Wires at 45 degrees, clipped to their segments, as quads (K, 4, 3).

    lean: 1 if they rise along the fence, -1 if they fall.
    """
    length = np.linalg.norm((high - low)[:, :2], axis=1)
    wires = []
    for a, b, end in zip(low, high, length, strict=True):
        start = np.arange(z0 - z1 + 0.06, end - 0.02, 0.18)
        x = np.stack([start, start + z1 - z0], axis=1).clip(0, end)
        z = z0 + x - start[:, None]
        x = x if lean > 0 else end - x
        point = a + x[..., None] / end * (b - a) + z[..., None] * np.array([0, 0, 1.0])
        half = 0.006 * (b - a) / end
        feet, tops = point[:, 0], point[:, 1]
        wires.append(np.stack([feet - half, feet + half, tops + half, tops - half], axis=1))
    return np.concatenate(wires)
