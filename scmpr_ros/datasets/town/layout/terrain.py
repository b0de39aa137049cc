"""The ground: relief, road, kerb, pavement, verges, and the paint on the road."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.datasets.town.layout.street_network import (
    Quarter,
    Street,
    StreetField,
    StreetNetwork,
)
from scmpr_ros.datasets.town.materials import Material
from scmpr_ros.datasets.town.mesh import Mesh, quads, triangles
from scmpr_ros.semantics import class_id

Array = NDArray[np.float64]
Rng = np.random.Generator

KERB_HEIGHT_M = 0.12
KERB_WIDTH_M = 0.16
ROAD, SIDEWALK, TERRAIN = class_id("road"), class_id("sidewalk"), class_id("terrain")


@dataclass(frozen=True)
class Relief:
    """Gentle hills: a sum of plane waves. wave: (K, 2) rad/m; phase, height_m: (K,)."""

    wave: Array
    phase: Array
    height_m: Array

    @classmethod
    def generate(cls, rng: Rng) -> Relief:
        """Slopes of a few per cent over wavelengths of 100 to 350 m."""
        length, angle = rng.uniform(100, 350, 6), rng.uniform(0, 2 * np.pi, 6)
        k = 2 * np.pi / length
        wave = np.stack([k * np.cos(angle), k * np.sin(angle)], axis=1)
        slope = rng.uniform(0.001, 0.016, 6)
        return cls(wave, rng.uniform(0, 2 * np.pi, 6), slope / k)

    def __call__(self, xy: Array) -> Array:
        """Height of the road level (N,) at points (N, 2)."""
        return np.sin(np.asarray(xy) @ self.wave.T + self.phase) @ self.height_m


class Ground:
    """Relief and streets together: where is what, and how high."""

    def __init__(self, rng: Rng, network: StreetNetwork) -> None:
        self.network = network
        self.relief = Relief.generate(rng)
        self.field = StreetField(network)

    @property
    def extent(self) -> tuple[Array, Array]:
        """Lower corner (2,) and size (2,) of the town's plan."""
        return self.field.low, np.array(self.field.shape[::-1]) * self.field.CELL_M

    def beyond_kerb(self, xy: Array) -> Array:
        """Metres beyond the kerb, negative on the road."""
        return self.field(self.field.kerb, xy)

    def beyond_pavement(self, xy: Array) -> Array:
        """Metres beyond the pavement's outer edge, negative on road and pavement."""
        return self.field(self.field.pavement, xy)

    def height(self, xy: Array) -> Array:
        """Height of the surface (N,) at points (N, 2): road level, or a kerb above it."""
        xy = np.asarray(xy, np.float64).reshape(-1, 2)
        return self.relief(xy) + KERB_HEIGHT_M * (self.beyond_kerb(xy) > 0)

    def on_ground(self, xy: Array) -> Array:
        """Points (N, 3) on the surface."""
        xy = np.asarray(xy, np.float64).reshape(-1, 2)
        return np.concatenate([xy, self.height(xy)[:, None]], axis=1)

    def mesh(self, rng: Rng) -> Mesh:
        """Road, kerb stones, pavement, verge and the land around, cut along the exact kerb."""
        fine, coarse = self._lattice()
        cut = self.beyond_kerb(fine.reshape(-1, 2)).reshape(-1, 3)
        road, rest = split_triangles(fine, cut, 0.0)
        stone, rest = split_triangles(rest, self._values(rest, self.beyond_kerb), KERB_WIDTH_M)
        walk, land = split_triangles(rest, self._values(rest, self.beyond_pavement), 0.0)
        land = np.concatenate([land, coarse])
        walk_material = rng.choice([Material.PAVING, Material.PAVING, Material.COBBLE])
        parts = [
            self._lift(road, 0.0, Material.ASPHALT, ROAD, (0.13, 0.13, 0.135)),
            self._lift(stone, KERB_HEIGHT_M, Material.KERB, SIDEWALK, (0.34, 0.33, 0.32)),
            self._lift(walk, KERB_HEIGHT_M, walk_material, SIDEWALK, self._paving_colour(rng)),
            self._lift(land, KERB_HEIGHT_M, Material.GRASS, TERRAIN, (0.085, 0.108, 0.038)),
            self._kerb_faces(fine, cut),
            self._road_paint(rng),
            self._road_patches(rng),
            self._far_land(),
        ]
        return Mesh.join(parts)

    @staticmethod
    def _values(tris: Array, function) -> Array:  # type: ignore[no-untyped-def]
        return function(tris.reshape(-1, 2)).reshape(-1, 3)

    @staticmethod
    def _paving_colour(rng: Rng) -> Array:
        return rng.uniform(0.22, 0.36) * np.array(
            [1.0, rng.uniform(0.93, 1.0), rng.uniform(0.82, 1)]
        )

    def _lattice(self) -> tuple[Array, Array]:
        """Triangles (M, 3, 2): 1.2 m near streets, 6 m elsewhere."""
        step, coarse_step = 1.2, 6.0
        rows, cols = (int(n * self.field.CELL_M // coarse_step) for n in self.field.shape)
        corner = np.stack(np.meshgrid(np.arange(cols), np.arange(rows)), axis=-1).reshape(-1, 2)
        corner = corner * coarse_step + self.field.low
        near = self.beyond_pavement(corner + coarse_step / 2) < coarse_step
        sub = np.stack(np.meshgrid(np.arange(5), np.arange(5)), axis=-1).reshape(-1, 2) * step
        fine = (corner[near][:, None] + sub).reshape(-1, 2)
        return _cells(fine, step), _cells(corner[~near], coarse_step)

    def _lift(
        self, tris: Array, above_m: float, material: Material, label: int, colour: object
    ) -> Mesh:
        """Plan triangles (M, 3, 2) at the relief's height plus `above_m`; uv are plan metres."""
        z = self.relief(tris.reshape(-1, 2)).reshape(-1, 3, 1) + above_m
        return triangles(np.concatenate([tris, z], axis=2), material, label, colour, uv=tris)  # type: ignore[arg-type]

    def _kerb_faces(self, tris: Array, values: Array) -> Mesh:
        """Upright faces of the kerb along the zero line through the cut triangles."""
        a, b = zero_segments(tris, values)
        za, zb = self.relief(a)[:, None], self.relief(b)[:, None]
        up = KERB_HEIGHT_M
        corners = np.stack(
            [
                np.hstack([a, za]),
                np.hstack([b, zb]),
                np.hstack([b, zb + up]),
                np.hstack([a, za + up]),
            ],
            axis=1,
        )
        return quads(corners, Material.KERB, SIDEWALK, (0.30, 0.29, 0.28))

    def _strips(self, centre: Array, heading: Array, size: Array, lift_m: float) -> Array:
        """Rectangles (N, 4, 3) lying on the road; size (N, 2) is length and width."""
        signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) / 2
        local = signs[None] * size[:, None]
        c, s = np.cos(heading)[:, None], np.sin(heading)[:, None]
        xy = np.stack(
            [c * local[..., 0] - s * local[..., 1], s * local[..., 0] + c * local[..., 1]], -1
        )
        xy = xy + centre[:, None]
        z = self.relief(xy.reshape(-1, 2)).reshape(-1, 4, 1) + lift_m
        return np.concatenate([xy, z], axis=2)

    def _road_paint(self, rng: Rng) -> Mesh:
        """Dashes, edge and stop lines, zebra crossings."""
        rectangles = [np.zeros((0, 4, 3))]
        for street in self.network.streets:
            s, lateral, length, width = _paint_plan(rng, street)
            if len(s) == 0:
                continue
            xy, heading = street.frame(s, lateral)
            on_road = self.beyond_kerb(xy) < -0.15
            size = np.stack([length, width], axis=1)
            rectangles.append(self._strips(xy, heading, size, 0.012)[on_road])
        white = (0.55, 0.55, 0.53)
        return quads(np.concatenate(rectangles), Material.MARKING, ROAD, white)

    def _road_patches(self, rng: Rng) -> Mesh:
        """Repairs of other asphalt and manhole covers."""
        parts = []
        for street in self.network.streets:
            count = rng.poisson(street.length_m / 22)
            s = rng.uniform(3, street.length_m - 3, count)
            w = street.half_width_m
            xy, heading = street.frame(s, rng.uniform(-w + 1, w - 1, count))
            size = np.stack([rng.uniform(0.7, 6, count), rng.uniform(0.5, 2.0, count)], axis=1)
            keep = self.beyond_kerb(xy) < -1.0
            tone = rng.uniform(0.06, 0.2, (count, 1)) * np.ones(3)
            strips = self._strips(xy, heading, size, 0.006)[keep]
            parts.append(quads(strips, Material.ASPHALT, ROAD, tone[keep]))
        return Mesh.join(parts)

    def _far_land(self) -> Mesh:
        """Coarse land to the horizon, a little below the rest so that no gap shows the sky."""
        low = self.field.low - 1.0
        high = self.field.low + np.array(self.field.shape[::-1]) * self.field.CELL_M
        far = 700.0
        x = np.array([low[0] - far, low[0], high[0], high[0] + far])
        y = np.array([low[1] - far, low[1], high[1], high[1] + far])
        cells = np.array(
            [[[x[i], y[j]], [x[i + 1], y[j]], [x[i + 1], y[j + 1]], [x[i], y[j + 1]]]
             for i in range(3) for j in range(3)]
        )  # fmt: skip
        z = np.full((9, 4, 1), self.relief(self.network.crossings).min() - 0.6)
        return quads(
            np.concatenate([cells, z], axis=2),
            Material.GRASS,
            TERRAIN,
            (0.08, 0.10, 0.035),
            uv=cells,
        )


def _cells(corner: Array, step: float) -> Array:
    """Two triangles (2N, 3, 2) for each square cell with lower corner (N, 2)."""
    square = corner[:, None] + step * np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    return np.concatenate([square[:, [0, 1, 2]], square[:, [0, 2, 3]]])


def _crossing_points(tris: Array, values: Array) -> tuple[Array, Array]:
    """Where the zero line cuts the two edges at a triangle's lone corner, which comes first."""
    with np.errstate(divide="ignore", invalid="ignore"):
        t = values[:, :1] / (values[:, :1] - values[:, 1:])
    points = tris[:, :1] + t[..., None] * (tris[:, 1:] - tris[:, :1])
    return points[:, 0], points[:, 1]


def _lone_corner_first(tris: Array, values: Array) -> tuple[Array, Array]:
    """Rotate corners so that the one on its own side of zero comes first."""
    below = values < 0
    lone = np.where(below.sum(axis=1) == 1, below.argmax(axis=1), (~below).argmax(axis=1))
    order = (lone[:, None] + np.arange(3)) % 3
    return np.take_along_axis(tris, order[..., None], 1), np.take_along_axis(values, order, 1)


def zero_segments(tris: Array, values: Array) -> tuple[Array, Array]:
    """End points (S, 2) of the zero line of `values` (M, 3), linear over triangles (M, 3, 2)."""
    mixed = (values < 0).any(axis=1) & (values >= 0).any(axis=1)
    return _crossing_points(*_lone_corner_first(tris[mixed], values[mixed]))


def split_triangles(tris: Array, values: Array, level: float) -> tuple[Array, Array]:
    """Cut triangles (M, 3, 2) along `values == level`; returns those below and those above."""
    values = values - level
    below = values < 0
    mixed = below.any(axis=1) & ~below.all(axis=1)
    cut, cut_values = _lone_corner_first(tris[mixed], values[mixed])
    p, q = _crossing_points(cut, cut_values)
    lone = np.stack([cut[:, 0], p, q], axis=1)
    pair = np.concatenate(
        [np.stack([p, cut[:, 1], cut[:, 2]], axis=1), np.stack([p, cut[:, 2], q], axis=1)]
    )
    lone_below = cut_values[:, 0] < 0
    twice = np.tile(lone_below, 2)
    whole_below = below.all(axis=1)
    return (
        np.concatenate([tris[whole_below], lone[lone_below], pair[~twice]]),
        np.concatenate([tris[~below.any(axis=1)], lone[~lone_below], pair[twice]]),
    )


def _paint_plan(rng: Rng, street: Street) -> tuple[Array, Array, Array, Array]:
    """Arc length, lateral offset, length and width of each painted rectangle of a street."""
    total, w = street.length_m, street.half_width_m
    rows: list[Array] = []

    def add(s: Array | float, lateral: Array | float, length: float, width: float) -> None:
        rows.append(np.stack(np.broadcast_arrays(np.atleast_1d(s), lateral, length, width), axis=1))

    inner = (w + 6.0, total - (w + 6.0 if street.end >= 0 else 2.0))
    if street.marked and inner[1] > inner[0]:
        pitch = float(rng.choice([4.0, 6.0, 9.0]))
        add(np.arange(*inner, pitch), 0.0, pitch / 2, 0.13)
        for end, side in ((inner[0], 1), (inner[1], -1)):
            add(end - side * 1.2, side * w / 2, 0.45, w - 0.5)
    if rng.random() < (0.3 if street.quarter is not Quarter.PARK else 0.1):
        start = w + 3.0
        for lateral in np.arange(-w + 0.6, w - 0.4, 1.0):
            add(start, lateral, 2.6, 0.48)
    for side, parked in zip((1, -1), street.parking, strict=True):
        if parked and rng.random() < 0.5:
            add(
                np.arange(inner[0] + 3, max(inner[1] - 3, inner[0] + 3), 1.0),
                side * (w - 2.05),
                1.02,
                0.1,
            )
    if not rows:
        return (np.zeros(0),) * 4
    table = np.concatenate(rows)
    return table[:, 0], table[:, 1], table[:, 2], table[:, 3]
