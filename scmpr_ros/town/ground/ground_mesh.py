"""Mesh of the ground: a lattice cut along kerbs, gutters, pavements, paths and yards."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from scmpr_ros.semantics import class_id
from scmpr_ros.town.ground.dropped_kerbs import LATTICE_M
from scmpr_ros.town.ground.ground import Ground
from scmpr_ros.town.ground.plan_triangles import lattice, split_triangles, zero_segments
from scmpr_ros.town.ground.relief import Relief, camber
from scmpr_ros.town.materials import Material
from scmpr_ros.town.mesh import Mesh, quads, triangles

Array = NDArray[np.float64]
Rng = np.random.Generator

KERB_WIDTH_M = 0.16
GUTTER_M = 0.32
EDGE_STRIP_M = 0.35
_PARTS = 5
ROAD, SIDEWALK, TERRAIN = class_id("road"), class_id("sidewalk"), class_id("terrain")

_GRASS = np.array([0.085, 0.108, 0.038])
_SOIL = np.array([0.10, 0.075, 0.05])
_GRAVEL = np.array([0.26, 0.235, 0.195])
_YARD_STONE = np.array([0.24, 0.235, 0.225])
_KERB_STONE = np.array([0.34, 0.33, 0.32])

# Attributes of triangle corners; from SURFACE on, one per surfacing.
X, Y, Z, KERB, PAVEMENT, FOOTWAY, PATH, YARD, SOIL, SURFACE = range(10)


def build_ground(rng: Rng, ground: Ground) -> Mesh:
    """Build the ground, without paint and wear."""
    noises = Relief.noise(rng, (28, 80)), Relief.noise(rng, (12, 40))
    fine, coarse = _lattice(ground)
    road, rest = split_triangles(fine, fine[..., KERB])
    a, b = zero_segments(fine, fine[..., KERB])
    faces = _kerb_faces(ground, a, b)
    road = _lift(ground, road, is_raised=False)
    rest = _lift(ground, rest, is_raised=True)
    stone, rest = split_triangles(rest, rest[..., KERB], KERB_WIDTH_M)
    walk, land = split_triangles(rest, rest[..., PAVEMENT])
    verge, walk = split_triangles(walk, walk[..., FOOTWAY])
    land = np.concatenate([land, _lift(ground, coarse, is_raised=True)])
    along = _StreetCoordinates(ground)
    stones = triangles(
        stone[..., :3], Material.KERB, SIDEWALK, _KERB_STONE, uv=along(stone[..., :2])
    )
    parts = [stones, faces, *_roads(ground, road, along), *_walks(ground, walk, along)]
    parts += [
        _grass(noises[0], verge),
        *_land(noises, land),
        _far_land(rng, ground, land[..., Z].min() - 0.4),
    ]
    return Mesh.join(parts)


def _lattice(ground: Ground) -> tuple[Array, Array]:
    """Triangles (M, 3, A) with attributes: fine ones near streets and paths, and coarse ones.

    Heights are left at zero: they are discontinuous at kerbs and set after the cut.
    """
    field, cell = ground.field, LATTICE_M * _PARTS
    rows, cols = (int(n * field.CELL_M // cell) for n in field.shape)
    middle = np.stack(np.meshgrid(np.arange(cols), np.arange(rows)), axis=-1) * cell + cell / 2
    middle = (middle + field.low).reshape(-1, 2)
    near = field(np.stack([field.pavement, field.path]), middle).min(axis=0) < 0.75 * cell
    fine, coarse = lattice(field.low, near.reshape(rows, cols), cell, _PARTS)
    grids = np.concatenate(
        [np.stack([field.kerb, field.pavement, field.footway, field.path, field.yard]),
         np.zeros((1, *field.shape)), field.surfaces]
    )  # fmt: skip
    result = []
    for tris in (fine, coarse):
        plan = tris.reshape(-1, 2)
        read = field(grids, plan).T
        table = np.concatenate([plan, np.zeros((len(plan), 1)), read], axis=1)
        result.append(table.reshape(len(tris), 3, -1))
    return result[0], result[1]


def _lift(ground: Ground, tris: Array, is_raised: bool) -> Array:
    """Set the height of triangles, in place: road level, plus the kerb if `is_raised`."""
    plan = tris[..., :2].reshape(-1, 2)
    z = ground.hills(plan) + camber(tris[..., KERB].ravel())
    if is_raised:
        z = z + ground.kerb_height(plan)
    tris[..., Z] = z.reshape(-1, 3)
    return tris


def _kerb_faces(ground: Ground, a: Array, b: Array) -> Mesh:
    """Vertical faces of the kerb over segments from `a` to `b` (S, A)."""
    low, up = (
        [ground.hills(p[:, :2]) for p in (a, b)],
        [ground.kerb_height(p[:, :2]) for p in (a, b)],
    )
    corners = np.stack(
        [
            np.column_stack([a[:, :2], low[0]]),
            np.column_stack([b[:, :2], low[1]]),
            np.column_stack([b[:, :2], low[1] + up[1]]),
            np.column_stack([a[:, :2], low[0] + up[0]]),
        ],
        axis=1,
    )
    return quads(corners, Material.KERB, SIDEWALK, 0.88 * _KERB_STONE)


class _StreetCoordinates:
    """Texture coordinates along and across the nearest street, so that paving follows the kerb."""

    def __init__(self, ground: Ground) -> None:
        points, headings, starts = [], [], []
        for number, street in enumerate(ground.network.streets):
            s = np.arange(0, street.length_m, 0.7)
            xy, heading = street.frame(s)
            points.append(xy)
            headings.append(heading)
            starts.append(np.stack([s, np.full(len(s), float(number))], axis=1))
        self._points, self._headings = np.concatenate(points), np.concatenate(headings)
        self._s, self._street = np.concatenate(starts).T
        self._tree = cKDTree(self._points)

    def __call__(self, tris: Array) -> Array:
        """Texture coordinates (M, 3, 2) in metres of plan triangles (M, 3, 2)."""
        k = self._tree.query(tris.reshape(-1, 2))[1].reshape(-1, 3)
        # Corners of one triangle must use the same street, or its texture would be torn.
        torn = (self._street[k] != self._street[k[:, :1]]).any(axis=1)
        k[torn] = k[torn, :1]
        offset = tris - self._points[k]
        c, s = np.cos(self._headings[k]), np.sin(self._headings[k])
        u = self._s[k] + c * offset[..., 0] + s * offset[..., 1]
        return np.stack([u, c * offset[..., 1] - s * offset[..., 0]], axis=-1)


def _by_surface(ground: Ground, tris: Array) -> list[Array]:
    """Split triangles by surfacing: the first whose strip covers them, else a near one."""
    pieces, last = [], len(ground.field.surfacings) - 1
    for i in range(last):
        own, tris = split_triangles(tris, tris[..., SURFACE + i])
        pieces.append(own)
    strips = tris[..., SURFACE : SURFACE + last + 1].mean(axis=1)
    # The rest, at rounded corners, goes to the surfacing of lowest priority within 4 m.
    near = (strips < strips.min(axis=1, keepdims=True) + 4.0).cumsum(axis=1).argmax(axis=1)
    pieces.append(np.zeros((0, *tris.shape[1:])))
    return [np.concatenate([piece, tris[near == i]]) for i, piece in enumerate(pieces)]


def _roads(ground: Ground, road: Array, along: _StreetCoordinates) -> list[Mesh]:
    """Roads by surfacing, with gutters along kerbs where the surfacing has them."""
    parts = []
    for surfacing, tris in zip(ground.field.surfacings, _by_surface(ground, road), strict=True):
        if surfacing.gutter is not None:
            tris, gutter = split_triangles(tris, tris[..., KERB], -GUTTER_M)
            uv = along(gutter[..., :2])
            parts.append(triangles(gutter[..., :3], Material.PAVING, ROAD, surfacing.gutter, uv))
        uv = tris[..., :2] if surfacing.road is Material.ASPHALT else along(tris[..., :2])
        parts.append(triangles(tris[..., :3], surfacing.road, ROAD, surfacing.road_colour, uv))
    return parts


def _walks(ground: Ground, walk: Array, along: _StreetCoordinates) -> list[Mesh]:
    """Pavements by nearest surfacing, mitred where two meet, with an edge strip at the plots."""
    parts = []
    for i, surfacing in enumerate(ground.field.surfacings):
        others = walk[..., SURFACE + i + 1 :]
        own, walk = walk, walk[:0]
        if others.shape[-1]:
            own, walk = split_triangles(own, own[..., SURFACE + i] - others.min(axis=-1))
        inner, edge = split_triangles(own, own[..., PAVEMENT], -EDGE_STRIP_M)
        for tris, material, colour in (
            (inner, surfacing.walk, surfacing.walk_colour),
            (edge, surfacing.edge, surfacing.edge_colour),
        ):
            uv = along(tris[..., :2])
            parts.append(triangles(tris[..., :3], material, SIDEWALK, colour, uv))
    return parts


def _shaded(noise: Relief, tris: Array, colour: Array, amount: float) -> Array:
    """Colours (M, 3) with slow variation over the plan."""
    tone = np.clip(noise(tris[..., :2].mean(axis=1)), -2, 2)
    return np.asarray(colour * (1 + amount * tone[:, None]))


def _grass(noise: Relief, tris: Array) -> Mesh:
    colour = _shaded(noise, tris, _GRASS, 0.10)
    return triangles(tris[..., :3], Material.GRASS, TERRAIN, colour, uv=tris[..., :2])


def _land(noises: tuple[Relief, Relief], land: Array) -> list[Mesh]:
    """Lawns, bare soil, gravel and paved yards by quarter, and gravel paths."""
    path, land = split_triangles(land, land[..., PATH])
    first, second = (n(land[..., :2].reshape(-1, 2)).reshape(-1, 3) for n in noises)
    land[..., SOIL] = second
    green, yard = split_triangles(land, first + land[..., YARD], 1.0)
    stone, gravel = split_triangles(yard, yard[..., SOIL])
    soil, lawn = split_triangles(green, -green[..., SOIL], -1.7)
    parts = [_grass(noises[0], lawn)]
    for tris, material, colour in (
        (path, Material.GRAVEL, _GRAVEL), (gravel, Material.GRAVEL, 0.8 * _GRAVEL),
        (stone, Material.PAVING, _YARD_STONE), (soil, Material.SOIL, _SOIL),
    ):  # fmt: skip
        shade = _shaded(noises[1], tris, colour, 0.06)
        parts.append(triangles(tris[..., :3], material, TERRAIN, shade, uv=tris[..., :2]))
    return parts


def _far_land(rng: Rng, ground: Ground, height_m: float) -> Mesh:
    """Meadows and fields to the horizon, below the rest of the ground to close gaps."""
    low, size = ground.extent
    low = low - 1.0
    cell, far = 50.0, 700.0
    corner = [np.arange(low[i] - far, low[i] + size[i] + far, cell) for i in (0, 1)]
    plan = np.stack(np.meshgrid(*corner), axis=-1).reshape(-1, 1, 2)
    square = plan + cell * np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    z = np.full((*square.shape[:2], 1), height_m)
    kind = rng.choice(4, len(square), p=(0.55, 0.2, 0.15, 0.1))
    tint = np.array(
        [[0.08, 0.10, 0.035], [0.11, 0.12, 0.045], [0.15, 0.125, 0.06], [0.1, 0.08, 0.05]]
    )
    colour: ArrayLike = tint[kind] * rng.uniform(0.9, 1.1, (len(square), 1))
    return quads(np.concatenate([square, z], axis=2), Material.GRASS, TERRAIN, colour, uv=square)
