"""Roofs over rectangles: profiles extruded along a ridge, hips, flat roofs behind parapets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scmpr_ros.town.buildings import tints
from scmpr_ros.town.buildings.faces import Plane, Shell
from scmpr_ros.town.buildings.house_styles import House, Roof
from scmpr_ros.town.materials import Material

Array = NDArray[np.float64]
Rng = np.random.Generator

THICKNESS_M = 0.16
"""Height of rafters and tiles together."""
HALF_HIP = 0.58
"""Share of a half-hipped gable's height that is vertical."""
SEAT_M = 0.03
"""Overlap of walls with the rafters, to avoid gaps."""
BITE_M = 0.05
"""The same for gables; larger, so that the top strip of a gable is not degenerate."""


@dataclass(frozen=True)
class RoofForm:
    """A roof over a rectangle, with coordinates s along its ridge, t across it, h above the walls.

    centre: (3,) middle of the rectangle at the height of the walls. axis: (2,) unit, along s.
    half_length, half_span: of the walls. profile: (K, 2) t and h of the rafters' underside, from
    one eave to the other. ridge: s of both ends of the ridge. eave, verge: overhangs.
    """

    centre: Array
    axis: Array
    half_length: float
    half_span: float
    profile: Array
    ridge: tuple[float, float]
    eave: float
    verge: float

    def points(self, s: ArrayLike, t: ArrayLike, h: ArrayLike) -> Array:
        """Points (..., 3) at roof coordinates, which broadcast."""
        s, t, h = np.broadcast_arrays(*(np.asarray(a, float) for a in (s, t, h)))
        x, y = self.axis
        return self.centre + np.stack([s * x - t * y, s * y + t * x, h], axis=-1)

    def height(self, t: ArrayLike) -> Array:
        """Height of the tiles above the walls at t, between the ends of the ridge."""
        return np.interp(np.asarray(t, float), *self.profile.T) + THICKNESS_M

    @property
    def top(self) -> float:
        """Height of the ridge above the walls."""
        return float(self.profile[:, 1].max()) + THICKNESS_M

    def slope(self, side: int) -> Plane:
        """Plane of the tiles from the eave up; side: -1 for negative t, 1 for positive t."""
        profile = self.profile if side < 0 else self.profile[::-1]
        ends = np.array([-1, 1]) * (self.half_length + self.verge) * -side
        (t0, h0), (t1, h1) = profile[:2]
        a, b = self.points(ends, t0, h0 + THICKNESS_M)
        along = (b - a) / np.linalg.norm(b - a)
        up = self.points(0.0, t1, h1) - self.points(0.0, t0, h0)
        up /= np.linalg.norm(up)
        return Plane(a, along, up, np.cross(along, up), float(np.linalg.norm(b - a)))


def roof_over(
    house: House, plan: tuple[float, float, float, float], top: float, shape: str,
    ridge_along: str = "x", reach: tuple[float, float] = (0.0, 0.0),
) -> RoofForm:  # fmt: skip
    """The roof of `shape` over the plan (x0, x1, y0, y1) of walls that end at height `top`.

    reach: extension beyond each end of the plan, into a neighbouring roof.
    """
    x0, x1, y0, y1 = plan
    half = np.array([x1 - x0, y1 - y0]) / 2
    axis = np.array([1.0, 0.0]) if ridge_along == "x" else np.array([0.0, 1.0])
    length, span = half if ridge_along == "x" else half[::-1]
    length += sum(reach) / 2
    middle = np.array([x0 + x1, y0 + y1]) / 2 + axis * (reach[1] - reach[0]) / 2
    profile = _profile(house.roof, shape, span)
    end = length + house.roof.verge
    if shape == "hip":
        end = max(length + house.roof.eave - (span + house.roof.eave), 0.25)
    elif shape == "half_hip":
        end = length + house.roof.verge - (1 - HALF_HIP) * span
    return RoofForm(np.array([*middle, top]), axis, float(length), float(span), profile,
                 (-end, end), house.roof.eave, house.roof.verge)  # fmt: skip


def _profile(roof: Roof, shape: str, span: float) -> Array:
    """Underside of the rafters (K, 2) across a rectangle of half width `span`."""
    p, e = roof.pitch, roof.eave
    if shape == "mansard":
        bend_t, bend_h = span - 0.95, 2.7
        ridge = bend_h + 0.45 * bend_t
        half = [(-span - e, -0.35 * e), (-span, 0.0), (-bend_t, bend_h), (0.0, ridge)]
    elif shape == "shed":
        slope = min(p, 0.3)
        return np.array([(-span - e, -slope * e), (span + e, slope * (2 * span + e))])
    else:
        half = [(-span - e, -p * e), (0.0, p * span)]
    mirrored = [(-t, h) for t, h in half[-2::-1]]
    return np.array(half + mirrored)


def build_roof(
    shell: Shell, roof: RoofForm, house: House, shape: str,
    material: Material = Material.ROOF_TILES,
) -> None:  # fmt: skip
    """Build tiles, underside and edge boards of a roof."""
    board = house.finish.accent_colour if house.finish.accent_colour[0] < 0.3 else tints.METAL
    if shape in ("hip", "half_hip"):
        _build_hips(shell, roof, house, board, 0.0 if shape == "hip" else HALF_HIP)
        return
    t, h = roof.profile.T
    s = roof.half_length + roof.verge
    low = [roof.points(end, t, h) for end in (-s, s)]
    high = [roof.points(end, t, h + THICKNESS_M) for end in (-s, s)]
    top = np.stack([high[0][:-1], high[1][:-1], high[1][1:], high[0][1:]], axis=1)
    under = np.stack([low[0][:-1], low[0][1:], low[1][1:], low[1][:-1]], axis=1)
    shell.quads(top, material, house.roof.colour)
    edges = [under]
    for a, b in ((low[1], high[1]), (high[0], low[0])):
        edges.append(np.stack([a[:-1], a[1:], b[1:], b[:-1]], axis=1))
    for k in (0, -1):
        edges.append(np.stack([low[0][k], low[1][k], high[1][k], high[0][k]])[None])
    shell.quads(np.concatenate(edges), Material.WOOD, board)
    if shape == "shed":  # extend the wall on the high side up to the rafters
        ends = np.array([1, -1, -1, 1]) * roof.half_length
        rise = np.interp(roof.half_span, t, h) + BITE_M
        wall = roof.points(ends, roof.half_span, np.array([0, 0, rise, rise]))
        shell.quads(wall, house.finish.wall, house.finish.colour)


def _build_hips(shell: Shell, roof: RoofForm, house: House, board: Array, share: float) -> None:
    """Build a roof whose ends slope above `share` of its height."""
    outer, base, crown = -roof.profile[0, 0], roof.profile[0, 1], roof.profile[1, 1]
    side = roof.half_length + (roof.eave if share == 0 else roof.verge)
    bend_t, bend_h = outer * (1 - share), base + share * (crown - base)

    def corner(s: int, t: int) -> Array:
        return roof.points(s * side, t * outer, base)

    def bend(s: int, t: int) -> Array:
        return roof.points(s * side, t * bend_t, bend_h)

    def ridge(s: int) -> Array:
        return roof.points(s * roof.ridge[1], 0.0, crown)

    slopes = [[bend(t, t), bend(-t, t), ridge(-t), ridge(t)] for t in (-1, 1)]
    if share > 0:
        slopes += [[corner(t, t), corner(-t, t), bend(-t, t), bend(t, t)] for t in (-1, 1)]
    ends = np.array([[bend(s, -s), bend(s, s), ridge(s)] for s in (-1, 1)])
    lift = np.array([0.0, 0.0, THICKNESS_M])
    for move, material, colour in (
        (lift, Material.ROOF_TILES, house.roof.colour), (0 * lift, Material.WOOD, board),
    ):  # fmt: skip
        shell.quads(np.array(slopes) + move, material, colour)
        shell.triangles(ends + move, material, colour)
    line = [corner(-1, -1), corner(1, -1), corner(1, 1), corner(-1, 1)]
    if share > 0:
        line[2:2] = [bend(1, -1), bend(1, 1)]
        line += [bend(-1, 1), bend(-1, -1)]
    a, b = np.array(line), np.array(line[1:] + line[:1])
    shell.quads(np.stack([a, b, b + lift, a + lift], axis=1), Material.WOOD, board)


def gable_wall(shell: Shell, roof: RoofForm, house: House, end: int,
               rect: tuple[float, float] = (0.0, 0.0), is_clad: bool = False,
               ceiling: float = np.inf) -> None:  # fmt: skip
    """Build the gable between the walls and the rafters.

    rect: half width and height of a rectangle in its middle to leave out. ceiling: h at which a
    half hip begins.
    """
    m, inner_top = rect
    t = np.unique(np.concatenate([roof.profile[:, 0], [-roof.half_span, roof.half_span, -m, m]]))
    if np.isfinite(ceiling):
        crown_t = np.interp(ceiling, *roof.profile[: len(roof.profile) // 2 + 1].T[::-1])
        t = np.unique(np.concatenate([t, [crown_t, -crown_t]]))
    t = t[np.abs(t) <= roof.half_span + 1e-9]
    high = np.minimum(np.interp(t, *roof.profile.T), ceiling) + BITE_M
    middle = (t[1:] + t[:-1]) / 2
    low = np.where(np.abs(middle) < m, inner_top, SEAT_M)
    s = end * roof.half_length
    corners = np.stack(
        [roof.points(s, t[:-1], low), roof.points(s, t[1:], low), roof.points(s, t[1:], high[1:]),
         roof.points(s, t[:-1], high[:-1])], axis=1)  # fmt: skip
    corners = corners[:, :: 1 if end > 0 else -1]
    colour = house.finish.accent_colour if is_clad else house.finish.colour
    shell.quads(corners, Material.WOOD if is_clad else house.finish.wall, colour)


def flat_roof(
    rng: Rng, shell: Shell, house: House, plan: tuple[float, float, float, float], top: float,
    rim: float,
) -> None:  # fmt: skip
    """A deck behind a parapet with a metal coping; large roofs have a plant room."""
    x0, x1, y0, y1 = plan
    t = 0.22
    deck = [[x0, y0, top], [x1, y0, top], [x1, y1, top], [x0, y1, top]]
    shell.quads(deck, Material.ROOF_FLAT, np.full(3, rng.uniform(0.14, 0.3)))
    lows = np.array([[x0, y0], [x0, y1 - t], [x0, y0 + t], [x1 - t, y0 + t]])
    highs = np.array([[x1, y0 + t], [x1, y1], [x0 + t, y1 - t], [x1, y1 - t]])
    level = np.full((4, 1), top)
    shell.boxes(np.hstack([lows, level]), np.hstack([highs, level + rim]), house.finish.wall,
                house.finish.colour)  # fmt: skip
    o = 0.03
    cap_low = lows + np.array([[-o, -o], [-o, -o], [-o, o], [-o, o]])
    cap_high = highs + np.array([[o, o], [o, o], [o, -o], [o, -o]])
    shell.boxes(np.hstack([cap_low, level + rim]), np.hstack([cap_high, level + rim + 0.05]),
                Material.METAL, tints.METAL)  # fmt: skip
    if rim > 0.2 and (x1 - x0) * (y1 - y0) > 90:
        x, y = x0 + (x1 - x0) * rng.uniform(0.2, 0.6), y0 + (y1 - y0) * rng.uniform(0.35, 0.55)
        size = np.array([rng.uniform(1.5, 3.5), rng.uniform(1.5, 3.0), rng.uniform(0.8, 2.4)])
        shell.boxes([[x, y, top]], [np.array([x, y, top]) + size], Material.METAL, np.full(3, 0.4))
