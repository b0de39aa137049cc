"""Street plans: lines between numbered crossings, before streets get cross sections."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from scmpr_ros.town.quarters import Quarter

Array = NDArray[np.float64]
Rng = np.random.Generator

_STRAIGHT_ON = np.cos(np.radians(40))


@dataclass(frozen=True)
class StreetPlan:
    """Crossings (N, 2), centre lines (K, 2), and the crossings at the ends of each (-1: none)."""

    crossings: Array
    lines: tuple[Array, ...]
    ends: tuple[tuple[int, int], ...]
    quarters: tuple[Quarter, ...]
    route: tuple[int, ...] = ()

    def arms(self, crossing: int) -> list[tuple[int, float]]:
        """Indices of lines that meet at a crossing, and their headings away from it."""
        return arms(crossing, self.lines, self.ends)


@dataclass(frozen=True)
class Circle:
    """A roundabout at a crossing, or a turning circle at a dead end (crossing -1).

    island_m: radius of the kerbed island in its middle, 0 for none.
    """

    crossing: int
    centre: Array
    radius_m: float
    island_m: float


@dataclass(frozen=True)
class Square:
    """A paved rectangle: half its sides (2,), turned by heading_rad about its centre (2,)."""

    centre: Array
    heading_rad: float
    half_m: Array


def arms(
    crossing: int, lines: tuple[Array, ...] | list[Array], ends: tuple | list
) -> list[tuple[int, float]]:
    """Indices of lines that meet at a crossing, and their headings away from it."""
    result = []
    for number, ((start, end), line) in enumerate(zip(ends, lines, strict=True)):
        for meets, away in ((start, line), (end, line[::-1])):
            if meets == crossing >= 0:
                dx, dy = away[min(8, len(away) - 1)] - away[0]
                result.append((number, float(np.arctan2(dy, dx))))
    return result


def through_chains(
    lines: tuple[Array, ...] | list[Array], ends: tuple | list
) -> list[tuple[int, bool]]:
    """For each line, the number of its chain and whether it has the chain's direction.

    Lines that continue straight across crossings share a chain.
    """
    chain = [(number, True) for number in range(len(lines))]
    for crossing in range(max(max(e) for e in ends) + 1):
        meeting = arms(crossing, lines, ends)
        pairs = sorted(
            (float(np.cos(a - b)), i, j)
            for n, (i, a) in enumerate(meeting)
            for j, b in meeting[n + 1 :]
        )
        taken: set[int] = set()
        for opposition, i, j in pairs:
            if opposition < -_STRAIGHT_ON and chain[i][0] != chain[j][0] and not taken & {i, j}:
                taken |= {i, j}
                arrives_once = (ends[i][1] == crossing) != (ends[j][1] == crossing)
                turned = arrives_once != (chain[i][1] == chain[j][1])
                chain = [(chain[i][0], along != turned) if c == chain[j][0] else (c, along)
                         for c, along in chain]  # fmt: skip
    return chain


def zones(rng: Rng, points: Array) -> list[Quarter]:
    """Contiguous quarters for points (N, 2), each from the nearest of two or three seed points.

    Seeds are far apart and of different quarters, so every town has at least two quarters.
    """
    kinds, weights = list(Quarter), np.array([0.34, 0.42, 0.12, 0.12])
    count = min(len(points), int(rng.integers(2, 4)))
    chosen = rng.choice(len(kinds), count, replace=False, p=weights)
    seeds = [int(rng.integers(len(points)))]
    while len(seeds) < count:
        apart = np.linalg.norm(points[:, None] - points[seeds], axis=2).min(axis=1)
        seeds.append(int(apart.argmax()))
    nearest = np.linalg.norm(points[:, None] - points[seeds], axis=2).argmin(axis=1)
    return [kinds[chosen[i]] for i in nearest]


def resample(line: Array, step_m: float) -> Array:
    """Resample a line (N, 2) to points about `step_m` apart, keeping its ends."""
    s = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    at = np.linspace(0, s[-1], max(2, round(s[-1] / step_m) + 1))
    return np.stack([np.interp(at, s, line[:, i]) for i in (0, 1)], axis=1)


def hermite(start: Array, end: Array, heading_start: float, heading_end: float) -> Array:
    """A curve (K, 2) with given headings at its ends, a point every metre."""
    reach = np.linalg.norm(end - start) / 3
    first = start + reach * np.array([np.cos(heading_start), np.sin(heading_start)])
    last = end - reach * np.array([np.cos(heading_end), np.sin(heading_end)])
    return resample(bezier(start, first, last, end, 60), 1.0)


def bezier(a: Array, b: Array, c: Array, d: Array, count: int) -> Array:
    """Points (count, 2) of a cubic Bezier curve, ends included."""
    t = np.linspace(0, 1, count)[:, None]
    return np.asarray((1 - t) ** 3 * a + 3 * t * (1 - t) ** 2 * b + 3 * t**2 * (1 - t) * c
                      + t**3 * d)  # fmt: skip


def branch_off(
    rng: Rng, lines: list[Array], origin: Array, taken_rad: list[float], wanted_rad: float,
    length_m: tuple[float, float], clearance_m: float = 24.0,
) -> Array | None:  # fmt: skip
    """A line for a new dead-end street from `origin`, near the wanted heading, clear of others.

    taken_rad: headings of the arms at `origin`. Returns None if no heading is 60 degrees from all
    of them, or if less than 25 m would be clear of the other lines.
    """
    options = wanted_rad + np.linspace(-0.7, 0.7, 15)
    gap = np.abs((options[:, None] - np.array(taken_rad) + np.pi) % (2 * np.pi) - np.pi).min(axis=1)
    length, bend = float(rng.uniform(*length_m)), rng.normal(0, 0.22, 2)
    best = int((np.minimum(gap, 1.3) - 0.3 * np.abs(options - wanted_rad)).argmax())
    if gap[best] < np.radians(60):
        return None
    heading = float(options[best])
    end = origin + length * np.array([np.cos(heading), np.sin(heading)])
    line = hermite(origin, end, heading + bend[0] * 0.4, heading + bend[1])
    near = cKDTree(np.concatenate(lines)).query(line)[0] < clearance_m
    along = np.arange(len(line))
    # Near its origin the street is necessarily close to the one it leaves.
    blocked = np.flatnonzero(near & (along > clearance_m / np.sin(min(gap[best], 1.5)) + 4))
    if len(blocked):
        line = line[: max(blocked[0], 2)]
    return line if len(line) >= 25 else None
