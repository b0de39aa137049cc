"""Streets as curved centre lines between crossings, and the fields that follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from scmpr_ros.errors import ConfigError

Array = NDArray[np.float64]
Rng = np.random.Generator


class Quarter(Enum):
    """The character of a street: what stands beside it, how wide and how green it is."""

    OLD_TOWN = "old_town"
    SUBURB = "suburb"
    INDUSTRIAL = "industrial"
    PARK = "park"


@dataclass(frozen=True)
class Street:
    """One street between two crossings (or a crossing and a dead end).

    line: (K, 2) centre line, about every metre. half_width_m: centre line to kerb.
    pavement_m: width of each pavement, left and right. parking: whether cars park at each kerb.
    """

    line: Array
    start: int
    end: int
    half_width_m: float
    pavement_m: tuple[float, float]
    parking: tuple[bool, bool]
    quarter: Quarter
    marked: bool

    @property
    def length_m(self) -> float:
        """Length of the centre line."""
        return float(np.linalg.norm(np.diff(self.line, axis=0), axis=1).sum())

    def frame(self, s_m: Array | float, lateral_m: Array | float = 0.0) -> tuple[Array, Array]:
        """Points (N, 2) at arc length `s_m`, `lateral_m` to the left, and headings (N,) there."""
        step = np.linalg.norm(np.diff(self.line, axis=0), axis=1)
        s = np.concatenate([[0.0], np.cumsum(step)])
        s_m = np.atleast_1d(np.asarray(s_m, np.float64))
        xy = np.stack([np.interp(s_m, s, self.line[:, i]) for i in (0, 1)], axis=1)
        tangent = np.gradient(self.line, axis=0)
        t = np.stack([np.interp(s_m, s, tangent[:, i]) for i in (0, 1)], axis=1)
        t /= np.linalg.norm(t, axis=1, keepdims=True)
        left = np.stack([-t[:, 1], t[:, 0]], axis=1)
        lateral = np.broadcast_to(np.asarray(lateral_m, np.float64), s_m.shape)
        return xy + lateral[:, None] * left, np.arctan2(t[:, 1], t[:, 0])


@dataclass(frozen=True)
class StreetNetworkConfig:
    """columns x rows crossings about `spacing_m` apart; `bend` is sagitta over length."""

    columns: int = 3
    rows: int = 3
    spacing_m: tuple[float, float] = (78.0, 112.0)
    bend: float = 0.09
    stub_m: tuple[float, float] = (45.0, 80.0)

    def __post_init__(self) -> None:
        if self.columns < 2 or self.rows < 2:
            raise ConfigError(
                f"a street network of {self.columns}x{self.rows} crossings has no loop: "
                "columns and rows must be at least 2"
            )


@dataclass(frozen=True)
class StreetNetwork:
    """Crossings (N, 2) and the streets between them."""

    crossings: Array
    streets: tuple[Street, ...]

    @classmethod
    def generate(cls, rng: Rng, config: StreetNetworkConfig) -> StreetNetwork:
        """A jittered, slightly rotated lattice with some streets left out and stubs outwards."""
        crossings = _crossings(rng, config)
        links = _links(rng, config)
        quarters = _quarters(rng, len(links), crossings, links)
        streets = [
            _street(rng, crossings[a], crossings[b], a, b, config.bend, quarter)
            for (a, b), quarter in zip(links, quarters, strict=True)
        ]
        streets += _stubs(rng, config, crossings, streets)
        return cls(crossings, tuple(streets))

    def street_between(self, a: int, b: int) -> tuple[Street, bool] | None:
        """The street that joins two crossings, and whether it runs from `a` to `b`."""
        for street in self.streets:
            if (street.start, street.end) == (a, b):
                return street, True
            if (street.start, street.end) == (b, a):
                return street, False
        return None


def _crossings(rng: Rng, config: StreetNetworkConfig) -> Array:
    x = np.cumsum(rng.uniform(*config.spacing_m, config.columns))
    y = np.cumsum(rng.uniform(*config.spacing_m, config.rows))
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    grid = grid - grid.mean(axis=0) + rng.uniform(-11, 11, grid.shape)
    angle = rng.uniform(0, 2 * np.pi)
    c, s = np.cos(angle), np.sin(angle)
    return grid @ np.array([[c, s], [-s, c]])


def _links(rng: Rng, config: StreetNetworkConfig) -> list[tuple[int, int]]:
    """Lattice links; up to a twelfth is left out among the inner ones, which leaves T crossings."""
    links = []
    for row in range(config.rows):
        for col in range(config.columns):
            node = row * config.columns + col
            if col + 1 < config.columns:
                links.append((node, node + 1, 0 < row < config.rows - 1))
            if row + 1 < config.rows:
                links.append((node, node + config.columns, 0 < col < config.columns - 1))
    inner = [i for i, link in enumerate(links) if link[2]]
    drop = set(rng.permutation(inner)[: rng.integers(0, len(links) // 12 + 1)].tolist())
    return [link[:2] for i, link in enumerate(links) if i not in drop]


def _quarters(
    rng: Rng, count: int, crossings: Array, links: list[tuple[int, int]]
) -> list[Quarter]:
    """Quarters vary slowly over the town: each street takes that of the nearest of a few seeds."""
    kinds = list(Quarter)
    weights = np.array([0.42, 0.40, 0.08, 0.10])
    seeds = rng.permutation(crossings)[:4] + rng.normal(0, 15, (min(4, len(crossings)), 2))
    seed_kinds = rng.choice(len(kinds), len(seeds), p=weights)
    result = []
    for a, b in links[:count]:
        middle = (crossings[a] + crossings[b]) / 2
        nearest = np.linalg.norm(seeds - middle, axis=1).argmin()
        result.append(kinds[seed_kinds[nearest]])
    return result


def _street(
    rng: Rng, start: Array, end: Array, a: int, b: int, bend: float, quarter: Quarter
) -> Street:
    """A cubic Bezier curve whose inner control points lie off the chord: an arc or a slight S."""
    chord = end - start
    normal = np.array([-chord[1], chord[0]])
    off = np.clip(rng.normal(0, bend, 2), -2 * bend, 2 * bend)
    control = [start, start + chord / 3 + off[0] * normal, start + 2 * chord / 3 + off[1] * normal]
    t = np.linspace(0, 1, max(4, int(np.linalg.norm(chord)) + 1))[:, None]
    basis = [(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3]
    line = sum(w * p for w, p in zip(basis, [*control, end], strict=True))
    wide = quarter is Quarter.INDUSTRIAL or rng.random() < 0.2
    half_width = rng.uniform(4.3, 5.2) if wide else rng.uniform(3.1, 4.3)
    pavement = rng.uniform(1.6, 4.2, 2) if quarter is Quarter.OLD_TOWN else rng.uniform(1.2, 2.6, 2)
    parking = rng.random(2) < (0.55 if half_width > 3.5 else 0.35)
    if half_width < 4.2 and parking.all():
        half_width = rng.uniform(4.4, 5.0)
    marked = bool(half_width > 4.0 and rng.random() < 0.7)
    return Street(
        np.asarray(line), a, b, float(half_width), (float(pavement[0]), float(pavement[1])),
        (bool(parking[0]), bool(parking[1])), quarter, marked,
    )  # fmt: skip


def _stubs(
    rng: Rng, config: StreetNetworkConfig, crossings: Array, streets: list[Street]
) -> list[Street]:
    """Streets that leave the town at outer crossings, so that views do not end there."""
    result = []
    centre = crossings.mean(axis=0)
    for node, position in enumerate(crossings):
        around = [crossings[s.end if s.start == node else s.start] - position
                  for s in streets if node in (s.start, s.end)]  # fmt: skip
        outward = position - centre
        if len(around) > 3 or np.linalg.norm(outward) < 30 or rng.random() < 0.25:
            continue
        taken = np.array([np.arctan2(d[1], d[0]) for d in around])
        wanted = np.arctan2(outward[1], outward[0]) + rng.normal(0, 0.2)
        options = wanted + np.linspace(-0.9, 0.9, 19)
        gap = np.abs((options[:, None] - taken + np.pi) % (2 * np.pi) - np.pi).min(axis=1)
        if gap.max() < 1.1:
            continue
        heading = options[gap.argmax()]
        end = position + rng.uniform(*config.stub_m) * np.array([np.cos(heading), np.sin(heading)])
        neighbour = next(s for s in streets if node in (s.start, s.end))
        stub = _street(rng, position, end, node, -1, config.bend, neighbour.quarter)
        result.append(stub)
    return result


class StreetField:
    """Signed distances over the plan, sampled on a grid and read by bilinear interpolation.

    Values are metres beyond the kerb (negative on the road); corners of crossings are rounded by a
    smooth minimum over the streets. `pavement` is metres beyond the outer edge of the pavement.
    """

    CELL_M = 1.0
    FAR_M = 60.0

    def __init__(self, network: StreetNetwork, margin_m: float = 75.0) -> None:
        every = np.concatenate([s.line for s in network.streets])
        self.low = np.floor(every.min(axis=0) - margin_m)
        size = np.ceil((every.max(axis=0) + margin_m - self.low) / self.CELL_M).astype(int) + 1
        self.shape = (int(size[1]), int(size[0]))
        self.kerb = np.full(self.shape, self.FAR_M)
        self.pavement = np.full(self.shape, self.FAR_M)
        for street in network.streets:
            self._add(street)

    def _add(self, street: Street) -> None:
        reach = 34.0
        first = np.maximum((street.line.min(axis=0) - reach - self.low) // self.CELL_M, 0)
        last = (street.line.max(axis=0) + reach - self.low) // self.CELL_M + 1
        x0, y0, x1, y1 = (int(v) for v in (*first, *last))
        rows, cols = slice(y0, min(y1, self.shape[0])), slice(x0, min(x1, self.shape[1]))
        y, x = np.mgrid[rows, cols]
        points = np.stack([x, y], axis=-1) * self.CELL_M + self.low
        dense, heading = street.frame(np.arange(0, street.length_m, 0.4))
        distance, nearest = cKDTree(dense).query(points.reshape(-1, 2))
        offset = points.reshape(-1, 2) - dense[nearest]
        left = offset[:, 1] * np.cos(heading[nearest]) - offset[:, 0] * np.sin(heading[nearest]) > 0
        kerb = (distance - street.half_width_m).reshape(x.shape)
        width = np.where(left, *street.pavement_m).reshape(x.shape)
        self.kerb[rows, cols] = smooth_minimum(self.kerb[rows, cols], kerb, 5.0)
        self.pavement[rows, cols] = smooth_minimum(self.pavement[rows, cols], kerb - width, 2.0)

    def __call__(self, field: Array, xy: Array) -> Array:
        """Read `self.kerb`, `self.pavement` or any grid of that shape at points (N, 2)."""
        g = (np.asarray(xy, np.float64) - self.low) / self.CELL_M
        x = np.clip(g[:, 0], 0, self.shape[1] - 1.001)
        y = np.clip(g[:, 1], 0, self.shape[0] - 1.001)
        i, j = y.astype(int), x.astype(int)
        fy, fx = y - i, x - j
        top = field[i, j] * (1 - fx) + field[i, j + 1] * fx
        return top * (1 - fy) + (field[i + 1, j] * (1 - fx) + field[i + 1, j + 1] * fx) * fy


def smooth_minimum(a: Array, b: Array, radius_m: float) -> Array:
    """Polynomial smooth minimum: rounds the inner corner where two distance fields meet."""
    h = np.maximum(radius_m - np.abs(a - b), 0) / radius_m
    return np.minimum(a, b) - h * h * radius_m / 4
