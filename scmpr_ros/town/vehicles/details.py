"""Details of vehicles: wheels, lamps, plates, grilles, seams, mirrors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scmpr_ros.town.materials import Material
from scmpr_ros.town.mesh import Mesh, light, quads, triangles, tubes
from scmpr_ros.town.vehicles.bodies import BLACK, GLASS_TINT, LowerBody
from scmpr_ros.town.vehicles.sheets import cells, ellipses, mirrored

Array = NDArray[np.float64]
Rng = np.random.Generator

RED, _CHROME, _BLUE = (0.2, 0.008, 0.007), (0.18, 0.18, 0.185), (0.02, 0.05, 0.3)
PLATE, _LETTERS = (0.62, 0.62, 0.6), (0.16, 0.16, 0.16)
_SIDES = 12
"""Sides of a wheel; one of its corners touches the road."""


def wheels(rng: Rng, surface: LowerBody) -> Mesh:
    """Wheels of one design under the arches."""
    body = surface.body
    count, share = int(rng.choice([5, 5, 6, 7, 9, 10])), rng.uniform(0.35, 0.75)
    metal = np.array((1, 1, 1.02)) * rng.choice([0.07, 0.17, 0.27], p=(0.2, 0.4, 0.4))
    one = wheel(body.wheel_radius, 0.2, count, share, metal, body.label)
    inset = 0.035 + (surface.half_width - surface.points(body.axles, 0.3)[:, 1])
    parts = []
    for axle, y in zip(body.axles, surface.half_width - inset, strict=True):
        parts += wheel_pair(one, axle, float(y), body.wheel_radius)
    return Mesh.join(parts)


def wheel_pair(one: Mesh, x: float, y: float, radius: float) -> list[Mesh]:
    """A wheel on each side of an axle, outer faces at y and -y."""
    pair = []
    for side in (1.0, -1.0):
        T = np.diag([side, side, 1.0, 1.0])  # half turn about z: the outer face stays outside
        T[:3, 3] = (x, side * y, radius)
        pair.append(one.transformed(T))
    return pair


def wheel(
    radius: float, width: float, spokes: int, share: float, metal: ArrayLike, label: int
) -> Mesh:
    """A wheel about the origin with its outer face towards +y; share: part of the rim in spokes."""
    rim = 0.68 * radius
    angle = np.arange(_SIDES + 1) * 2 * np.pi / _SIDES + np.pi / 2

    def ring(r: float, y: float) -> Array:
        return _on_circle(r, angle, y)

    tread = cells(np.stack([ring(radius, -width), ring(radius, -0.02)]))[0]
    below = np.sin(angle) < 0.3
    tread = tread[below[:-1] & below[1:]]  # the rest is hidden by the arch
    wall = cells(np.stack([ring(radius, -0.02), ring(rim, 0.0)]))[0]
    edge = cells(np.stack([ring(rim, -0.004), ring(0.9 * rim, -0.014)]))
    hub = np.broadcast_to((0, -0.05, 0), (_SIDES, 3))
    hollow = np.stack([hub, ring(rim, -0.006)[1:], ring(rim, -0.006)[:-1]], axis=1)
    return Mesh.join([
        quads(np.concatenate([tread, wall]), Material.RUBBER, label, BLACK),
        triangles(hollow, Material.RUBBER, label, (0.02, 0.02, 0.021)),
        quads(edge, Material.METAL, label, metal),
        quads(_spokes(rim, spokes, share), Material.METAL, label, metal),
    ])  # fmt: skip


def _on_circle(radius: float, angle: Array, y: float) -> Array:
    return np.stack([radius * np.cos(angle), np.full_like(angle, y), radius * np.sin(angle)], -1)


def _spokes(rim: float, count: int, share: float) -> Array:
    """Spokes (count, 4, 3), wider at the hub."""
    middle = np.arange(count) * 2 * np.pi / count + np.pi / 2
    half = np.pi * share / count
    corners = [(0.2, 1.8), (0.97, 0.75), (0.97, -0.75), (0.2, -1.8)]
    return np.stack([_on_circle(r * rim, middle + s * half, -0.012) for r, s in corners], axis=1)


class Trim:
    """Patches on the surface of a lower body, a few millimetres outside it."""

    def __init__(self, surface: LowerBody) -> None:
        self.surface = surface
        self._stations = surface.stations()
        self.parts: list[Mesh] = []

    def patch(
        self, x: ArrayLike, low: ArrayLike, high: ArrayLike, material: Material,
        colour: ArrayLike, out_m: float = 0.009, sides: tuple[int, ...] = (0, 1),
    ) -> None:  # fmt: skip
        """Add a strip along x (N,), between shares `low` and `high` of the height, (N,) or ().

        colour: (3,), or (N - 1, 3) per piece of the strip. sides: 0 for left, 1 for right.
        """
        x = np.asarray(x, float)
        order = np.argsort(x)
        # Include the surface's stations, or the strip would cut through its edges.
        inside = self._stations[(self._stations > x.min()) & (self._stations < x.max())]
        fine = np.union1d(x, inside)
        share = np.stack(
            [np.interp(fine, x[order], np.broadcast_to(s, x.shape)[order]) for s in (low, high)]
        )
        faces = mirrored(cells(self.surface.points(fine, share, out_m)))
        colour = np.broadcast_to(np.asarray(colour, float), (len(x) - 1, 3))
        piece = np.searchsorted(x[order], fine[:-1], side="right") - 1
        colour = (colour if order[0] == 0 else colour[::-1])[piece]
        halves = np.split(faces, 2)
        for side in sides:
            self.parts.append(quads(halves[side], material, self.surface.body.label, colour))

    def seam(self, x: float, low: float) -> None:
        """Add the dark gap between two doors."""
        share = np.array([low, 0.4, 0.68, 1])[:, None] if low < 0.4 else np.array([[low], [1]])
        edges = self.surface.points(np.array([x - 0.007, x + 0.007]), share, 0.007)
        faces = mirrored(cells(edges))
        self.parts.append(quads(faces, Material.RUBBER, self.surface.body.label, BLACK))

    def plate(self, end: Literal["nose", "tail"], share: float) -> None:
        """Add a number plate centred at a share of the height of nose or tail."""
        surface = self.surface
        ends = surface.nose if end == "nose" else surface.tail
        half = 0.055 / float(surface.shoulder(ends(0)) - surface.body.sill)
        left_of_viewer = (1,) if end == "nose" else (0,)
        for y, up, colour, out_m, sides in (
            ((0, 0.26), half, PLATE, 0.019, (0, 1)),
            ((0.22, 0.26), half, _BLUE, 0.021, left_of_viewer),
            ((0.02, 0.09), 0.55 * half, _LETTERS, 0.021, (0, 1)),
            ((0.12, 0.20), 0.55 * half, _LETTERS, 0.021, (0, 1)),
        ):
            x = ends(np.array(y) / surface.half_width)
            self.patch(x, share - up, share + up, Material.PLATE, colour, out_m, sides)


@dataclass(frozen=True)
class Lamps:
    """Materials of head and tail lamps, and whether they emit light at night."""

    head: Material
    tail: Material
    are_on: bool

    def beams(self, x: float, y: float, z: float, forwards: int) -> list[Mesh]:
        """Two cones of light from (x, +-y, z): low beams, or weak red light to the rear."""
        if not self.are_on:
            return []
        intensity = (6.0, 5.5, 5.0) if forwards > 0 else (0.12, 0.008, 0.006)
        dip = np.radians(4.0)
        direction = (forwards * np.cos(dip), 0.0, -np.sin(dip))
        half_angle_deg = 35.0 if forwards > 0 else 70.0
        # Slightly ahead of the glass, or the vehicle would shadow its own lights.
        start = x + 0.06 * forwards
        return [light((start, s * y, z), direction, intensity, half_angle_deg) for s in (1, -1)]


PARKED = Lamps(Material.GLASS, Material.GLASS, are_on=False)
DRIVING = Lamps(Material.HEADLIGHT, Material.TAILLIGHT, are_on=True)


def front(rng: Rng, trim: Trim, lamps: Lamps) -> None:
    """Add headlamps, grille and badge, bumper with air intakes, and plate."""
    nose = trim.surface.nose
    low, high = rng.uniform((0.58, 0.80), (0.66, 0.88))
    inner, outer = rng.uniform((0.50, 0.95), (0.62, 0.992))
    share = np.array([inner, 0.5 * (inner + outer), outer])
    lift = rng.uniform(0, 0.10) * np.array([0, 0.5, 1.0])
    bottom, top = low + lift, high + 0.3 * lift - np.array([0.02, 0, 0.05])
    trim.patch(nose(share), bottom, top, Material.GLASS, [(0.14,) * 3, (0.26,) * 3])
    for k in (0.2, 0.62):
        reflector = inner + (outer - inner) * np.array([k, k + 0.2])
        trim.patch(nose(reflector), low + 0.06 + k * lift[2], high - 0.05 + 0.4 * k * lift[2],
                   lamps.head, (0.5,) * 3, 0.014)  # fmt: skip
    _, y, z = trim.surface.points(nose(share[:1]), low)[0]
    trim.parts += lamps.beams(trim.surface.body.length, float(y), float(z), 1)
    across = np.array([0, 1]) * (inner - rng.uniform(0.03, 0.2))
    grille = (low + 0.02, high - rng.uniform(0.02, 0.08))
    trim.patch(nose(across), grille[0], grille[1], Material.RUBBER, BLACK)
    if rng.random() < 0.5:
        bar = (grille[0] + grille[1]) / 2
        trim.patch(nose(across), bar - 0.012, bar + 0.012, Material.METAL, _CHROME, 0.014)
    trim.patch(nose([0, 0.055]), high - 0.08, high, Material.METAL, _CHROME, 0.016)
    intake = nose([0, rng.uniform(0.45, 0.7)])
    trim.patch(intake, 0.13, rng.uniform(0.27, 0.36), Material.RUBBER, BLACK, 0.014)
    trim.patch(nose([0.72, 0.86]), 0.17, 0.3, Material.RUBBER, BLACK)
    trim.plate("nose", rng.uniform(0.36, 0.45))


def rear(rng: Rng, trim: Trim, lamps: Lamps) -> None:
    """Add tail lamps, seams of the hatch or doors, badge, bumper and plate."""
    tail, style = trim.surface.tail, trim.surface.body.tail_lamps
    if style == "none":
        return
    if style == "upright":
        low, high = rng.uniform(0.5, 0.68), 0.99
        share = np.array([rng.uniform(0.82, 0.88), 0.95, 0.999])
    else:
        low, high = rng.uniform(0.58, 0.7), rng.uniform(0.84, 0.95)
        share = np.array([rng.uniform(0.58, 0.72), 0.76, 0.985])
    middle = low + 0.3 * (high - low)
    trim.patch(tail(share), low, middle, Material.GLASS, [(0.3, 0.22, 0.2), RED])
    trim.patch(tail(share), middle, high, lamps.tail, RED)
    _, y, z = trim.surface.points(tail(share[:1]), low)[0]
    trim.parts += lamps.beams(0.0, float(y), float(z), -1)
    if trim.surface.body.cabin.has_rear_window:
        trim.patch(tail([0, 0.8]), 0.42, 0.428, Material.RUBBER, BLACK, 0.006)
    else:
        trim.parts += _van_doors(rng, trim)
    trim.patch(tail([0, 0.05]), 0.8, 0.86, Material.METAL, _CHROME)
    trim.patch(tail([0, 0.7]), 0.02, rng.uniform(0.1, 0.25), Material.RUBBER, BLACK)
    trim.plate("tail", rng.choice([0.27, rng.uniform(0.55, 0.62)]))


def _van_doors(rng: Rng, trim: Trim) -> list[Mesh]:
    """Rear doors of vans: the seam, and at times windows."""
    surface, shape = trim.surface, trim.surface.body.cabin
    trim.patch(surface.tail([0, 0.01]), 0.1, 1.0, Material.RUBBER, BLACK, 0.006)
    foot = np.array([shape.foot[0] - 0.01, 0, surface.shoulder(0)])
    up = np.array([shape.head[0] - 0.01, 0, shape.roof[0] - 0.1]) - foot

    def pane(y0: float, y1: float, low: float, high: float) -> Array:
        edge = foot + np.array([[low], [high]]) * up
        return cells(np.stack([edge + (0.015 * (y1 > 0.1), y1, 0), edge + (0, y0, 0)], axis=1))

    label = surface.body.label
    parts = [quads(mirrored(pane(0, 0.009, 0, 1)), Material.RUBBER, label, BLACK)]
    if rng.random() < 0.5:
        glass = mirrored(pane(0.12, 0.66, 0.08, 0.6))
        parts.append(quads(glass, Material.GLASS, label, GLASS_TINT))
    return parts


def flanks(rng: Rng, trim: Trim, paint: ArrayLike) -> None:
    """Add door seams and handles, and at times a rubbing strip."""
    body = trim.surface.body
    handle = (Material.CAR_PAINT, paint) if rng.random() < 0.6 else (Material.METAL, BLACK)
    for rear_edge, front_edge in zip(body.doors[:-1], body.doors[1:], strict=True):
        x = rear_edge + np.array([0.06, 0.24])
        if front_edge - rear_edge > 0.5:
            trim.patch(x, 0.86, 0.9, handle[0], handle[1], 0.03)
            trim.patch(x + (0, -0.02), 0.84, 0.86, Material.RUBBER, BLACK, 0.005)
    for door, is_over_wheel in zip(
        body.doors, trim.surface.over_wheel(np.array(body.doors)), strict=True
    ):
        trim.seam(door, 0.75 if is_over_wheel else 0.12)
    if len(body.axles) == 2 and rng.random() < 0.3:
        reach = trim.surface.arch_radius + 0.05
        x = np.array([body.axles[0] + reach, np.mean(body.axles), body.axles[-1] - reach])
        trim.patch(x, 0.44, 0.52, Material.RUBBER, BLACK, 0.015)


def mirrors(surface: LowerBody, paint: ArrayLike) -> Mesh:
    """Wing mirrors at the base of the windscreen."""
    body = surface.body
    x = body.cabin.foot[1] - body.cabin.bow - 0.22
    y = float(surface.points(x, 1.0)[1]) - 0.02
    size = 1.0 if body.sill < 0.27 else 1.4
    z = float(surface.shoulder(x)) + 0.08 * size
    centre = np.array([(x, y, z - 0.02), (x + 0.02, y + 0.1, z), (x, y + 0.21, z)])
    radius = np.array([0.03, 0.08, 0.05])[:, None] * size
    shell = cells(ellipses(centre, radius * (0.75, 0, 0), radius * (0, 0, 1), 5))
    return quads(mirrored(shell), Material.CAR_PAINT, body.label, paint)


def roof_rails(surface: LowerBody, colour: ArrayLike) -> Mesh:
    """Rails along both edges of the roof."""
    body, cabin = surface.body, surface.body.cabin
    rear, front = cabin.head[0] + 0.2, cabin.head[1] - 0.25
    x = np.linspace(rear, front, 4)
    z = np.interp(x, [rear, (rear + front) / 2, front], cabin.roof)
    z += np.array([-0.06, 0.01, 0.01, -0.06])
    y = np.full(4, surface.half_width * cabin.head_width * 0.93)
    path = np.stack([x, y, z], axis=1)
    return tubes([path, path * (1, -1, 1)], 0.02, 4, Material.METAL, body.label, colour)
