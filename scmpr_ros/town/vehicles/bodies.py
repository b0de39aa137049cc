"""Surfaces of vehicles: lower body with wheel arches, cabin with windows and pillars, roof."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scmpr_ros.town.materials import Material
from scmpr_ros.town.mesh import Mesh, boxes, quads
from scmpr_ros.town.vehicles.shapes import Body
from scmpr_ros.town.vehicles.sheets import cells, mirrored

Array = NDArray[np.float64]

BLACK = (0.012, 0.012, 0.013)
_ROWS = np.array([0, 0.12, 0.4, 0.68, 0.9, 1])
"""Rows of the lower body, as shares of the height from sill to shoulder."""
_PIVOT = 0.8
"""Wheel arches do not bend rows above this share."""
_ARCH_GAP_M = 0.055
_ARCH = np.array([-1.06, -0.95, -0.65, -0.22, 0.22, 0.65, 0.95, 1.06])
"""Stations of a wheel arch, as shares of its radius."""
_TAIL_CAP, _NOSE_CAP = np.array([0, 0.76, 0.95]), np.array([0, 0.45, 0.76, 0.95])
"""Stations of tail and nose, as shares of the half width."""
_LEDGE = 0.9
"""Share of the half width at which the cabin stands on the shoulder."""


class LowerBody:
    """Parametric surface between sill and shoulder on the left side, y >= 0.

    Parameters of a point are its x in plan, before nose and tail lean back, and its share of the
    height from sill to shoulder.
    """

    def __init__(self, body: Body) -> None:
        self.body = body
        self.half_width = body.width / 2
        self.arch_radius = body.wheel_radius + _ARCH_GAP_M
        shoulder = np.array(body.shoulder)
        self._along, self._height = shoulder.T

    def tail(self, share: ArrayLike) -> Array:
        """x of the rear end at shares of the half width."""
        n, bevel = self.body.corners[0], self.body.bevel[0]
        return bevel * (1 - (1 - np.asarray(share, float) ** n) ** (1 / n))

    def nose(self, share: ArrayLike) -> Array:
        """x of the front end at shares of the half width."""
        n, bevel = self.body.corners[1], self.body.bevel[1]
        return self.body.length - bevel * (1 - (1 - np.asarray(share, float) ** n) ** (1 / n))

    def _half_plan(self, x: Array) -> Array:
        """Half width at x, at the height where it is largest."""
        share = np.ones_like(x)
        ends = (self.body.bevel[0] - x, x - self.body.length + self.body.bevel[1])
        for depth, bevel, n in zip(ends, self.body.bevel, self.body.corners, strict=True):
            inside = np.clip(depth / bevel, 0, 1)
            share *= np.maximum(1 - inside**n, 0) ** (1 / n)
        middle = (x / self.body.length - 0.5) * 2
        return self.half_width * share * (1 - 0.02 * middle**2)

    def shoulder(self, x: ArrayLike) -> Array:
        """Height of the upper edge at x."""
        return np.interp(np.asarray(x, float), self._along, self._height)

    def arch(self, x: Array) -> Array:
        """Height of the lower edge at x: the sill, or a wheel arch."""
        edge = np.full_like(x, self.body.sill)
        for axle in self.body.axles:
            reach = np.abs(x - axle) / self.arch_radius
            top = self.body.wheel_radius + self.arch_radius * np.sqrt(np.clip(1 - reach**2, 0, 1))
            edge = np.where(reach < 0.999, np.maximum(top, edge), edge)
        return edge

    def over_wheel(self, x: Array) -> NDArray[np.bool_]:
        """Whether x (N,) is inside a wheel arch."""
        return np.abs(x[:, None] - self.body.axles).min(axis=1) < self.arch_radius

    def points(self, x: ArrayLike, share: ArrayLike, out_m: float = 0.0) -> Array:
        """Points (..., 3) at x and share, `out_m` outside the surface."""
        x, share = np.broadcast_arrays(np.asarray(x, float), np.asarray(share, float))
        body = self.body
        z = body.sill + share * (self.shoulder(x) - body.sill)
        y = self._half_plan(x)
        inward, outward = self._plan_normal(x)
        front = np.clip((x - body.length + body.bevel[1]) / body.bevel[1], 0, 1) ** 2
        rear = np.clip((body.bevel[0] - x) / body.bevel[0], 0, 1) ** 2
        back = np.interp(share, *np.array(body.nose).T) * front
        back = back - np.interp(share, *np.array(body.tail).T) * rear
        y = y * np.interp(share, *np.array(body.flank).T)
        return np.stack([x - back - inward * out_m, y + outward * out_m, z], axis=-1)

    def _plan_normal(self, x: Array) -> tuple[Array, Array]:
        """Components of the plan's unit normal along -x and y."""
        step = 1e-3
        inner = np.clip(x, step, self.body.length - step)
        gradient = (self._half_plan(inner + step) - self._half_plan(inner - step)) / (2 * step)
        length = np.hypot(gradient, 1)
        return gradient / length, 1 / length

    def stations(self) -> Array:
        """x of the surface's columns: dense at the ends and over the wheels."""
        ends = np.concatenate([self.tail(_TAIL_CAP), self.nose(_NOSE_CAP)])
        arches = np.array(self.body.axles)[:, None] + _ARCH * self.arch_radius
        from_axle = np.abs(ends[:, None] - self.body.axles).min(axis=1)
        clear = from_axle > _ARCH.max() * self.arch_radius + 0.03
        return np.sort(np.concatenate([ends[clear], arches.ravel()]))

    def shares(self, x: Array) -> Array:
        """Shares (rows, stations) of the surface's points, compressed above wheel arches."""
        lowest = (self.arch(x) - self.body.sill) / (self.shoulder(x) - self.body.sill)
        row = _ROWS[:, None]
        return np.where(row < _PIVOT, lowest + row * (_PIVOT - lowest) / _PIVOT, row)


def lower_body(surface: LowerBody, paint: ArrayLike) -> Mesh:
    """Flanks, nose, tail, bonnet and boot, a dark sill, wheel wells and floor."""
    body, x = surface.body, surface.stations()
    skin = surface.points(x, surface.shares(x))
    ledge = skin[-1] * (1, _LEDGE / np.interp(1, *np.array(body.flank).T), 1) + (0, 0, 0.012)
    # Bonnet and boot begin behind the edges of nose and tail, which rounds them.
    ledge[:, 0] -= np.clip(0.8 * (x - ledge[:, 0]), -0.06, 0.08)
    faces = cells(np.concatenate([skin, ledge[None]]))
    in_arch = surface.over_wheel(x)
    dark = np.zeros(faces.shape[:2], bool)
    dark[0] = True if body.has_cladding else ~(in_arch[:-1] | in_arch[1:])
    parts = [
        quads(mirrored(faces[dark]), Material.RUBBER, body.label, BLACK),
        quads(mirrored(faces[~dark]), Material.CAR_PAINT, body.label, paint),
    ]
    for keep in (
        ledge[:, 0] > body.cabin.foot[1] - body.cabin.bow - 0.1,
        ledge[:, 0] < body.cabin.foot[0] + 0.25,
    ):
        if keep.sum() > 1:
            parts.append(_lid(ledge[keep], 0.05, 2, Material.CAR_PAINT, body.label, paint))
    return Mesh.join([*parts, _underside(surface, x, skin[0])])


def _lid(
    edge: Array, crown_m: float, columns: int, material: Material, label: int, colour: ArrayLike
) -> Mesh:
    """A convex surface from an edge (N, 3) on the left to its mirror image on the right."""
    share = np.cos(np.linspace(0, np.pi / 2, columns + 1))[:, None]
    reach = edge[:, 1] / edge[:, 1].max()
    lines = np.stack(
        [
            np.broadcast_to(edge[:, 0], (columns + 1, len(edge))),
            share * edge[:, 1],
            edge[:, 2] + crown_m * (1 - share**2) * reach,
        ],
        axis=-1,
    )
    return quads(mirrored(cells(lines)), material, label, colour)


def _underside(surface: LowerBody, x: Array, edge: Array) -> Mesh:
    """Dark wheel wells and floor."""
    body = surface.body
    in_arch = surface.over_wheel(x)
    inner = edge.copy()
    inner[:, 1] = np.maximum(edge[:, 1] - 0.27, 0)
    well = cells(np.stack([inner, edge]))[0][in_arch[:-1] & in_arch[1:]]
    low = [0.35, -surface.half_width + 0.28, body.sill]
    high = [body.length - 0.35, surface.half_width - 0.28, body.sill + 0.5]
    return Mesh.join(
        [
            quads(mirrored(well), Material.RUBBER, body.label, BLACK),
            boxes([low], [high], Material.RUBBER, body.label, BLACK),
        ]
    )


GLASS_TINT = (0.02, 0.025, 0.025)
_HEIGHTS = np.array([0, 0.45, 0.88, 1])
"""Rows of the cabin, as shares of the height from shoulder to roof."""
_REAR_WINDOW, _SCREEN = np.array([0, 0.7, 0.93]), np.array([0, 0.5, 0.8, 0.93])
"""Stations of rear window and windscreen, as shares of the half width; the last is their edge."""


def cabin(surface: LowerBody, paint: ArrayLike, has_black_pillars: bool) -> Mesh:
    """Windows, roof and pillars; those between side windows may be black."""
    body, shape = surface.body, surface.body.cabin
    foot, head = _cabin_edges(surface)
    wall = foot + _HEIGHTS[:, None, None] * (head - foot)
    wall[..., 1] *= 1 + 0.022 * np.sin(np.pi * _HEIGHTS)[:, None]
    faces = cells(wall)
    is_glass, is_pillar = np.zeros((2, *faces.shape[:2]), bool)
    first, last = len(_REAR_WINDOW) + 1, faces.shape[1] - len(_SCREEN) - 1
    is_glass[:2, first : last + 1 : 2] = True
    is_pillar[:2, first + 1 : last : 2] = has_black_pillars
    # Windscreens of cars reach the roof; those of vans end below a strip of metal.
    is_glass[: 3 if shape.roof[2] < 2.2 else 2, 1 - len(_SCREEN) :] = True
    is_glass[:2, : len(_REAR_WINDOW) - 1] = shape.has_rear_window
    return Mesh.join([
        quads(mirrored(faces[is_glass]), Material.GLASS, body.label, GLASS_TINT),
        quads(mirrored(faces[is_pillar]), Material.METAL, body.label, BLACK),
        quads(mirrored(faces[~is_glass & ~is_pillar]), Material.CAR_PAINT, body.label, paint),
        _lid(wall[-1], 0.05, 2, Material.CAR_PAINT, body.label, paint),
    ])  # fmt: skip


def _cabin_edges(surface: LowerBody) -> tuple[Array, Array]:
    """Left halves (stations, 3) of the cabin's outline at shoulder and roof, rear to front."""
    shape = surface.body.cabin
    u = np.array([0, *np.ravel(shape.panes), 1])
    share = np.concatenate([_REAR_WINDOW, np.ones_like(u), _SCREEN[::-1]])
    foot_x = _along(shape.foot, shape.bow, u)
    head_x = _along(shape.head, 0.75 * shape.bow, u)
    # Pillars between doors lean less than the ends of the cabin.
    side = slice(len(_REAR_WINDOW), len(_REAR_WINDOW) + len(u))
    upright = 0.8 * np.clip(np.minimum(u, 1 - u) / 0.2, 0, 1)
    head_x[side] += upright * (foot_x[side] - head_x[side])

    # Corners of the cabin are not rounded like the plan.
    plan = surface.points(np.clip(foot_x, 0.3, surface.body.length - 0.5), 1.0)[:, 1]
    foot_z = surface.shoulder(foot_x) + 0.03 * (1 - share**2) - 0.01
    middle = (shape.head[0] + shape.head[1]) / 2
    arc = np.polyfit([shape.head[0], middle, shape.head[1]], shape.roof, 2)
    head_z = np.polyval(arc, head_x) - 0.05 * share**2
    head_y = share * shape.head_width * surface.half_width
    return (
        np.stack([foot_x, 0.965 * share * plan, foot_z], axis=1),
        np.stack([head_x, head_y, head_z], axis=1),
    )


def _along(ends: tuple[float, float], bow: float, u: Array) -> Array:
    """x of a cabin's stations: rear window, sides at shares `u`, windscreen."""
    rear, front = (1 - (1 - share**2.3) ** (1 / 2.3) for share in (_REAR_WINDOW, _SCREEN))
    low, high = ends[0] + bow / 3, ends[1] - bow
    return np.concatenate(
        [ends[0] + rear * bow / 3, low + u * (high - low), (ends[1] - front * bow)[::-1]]
    )
