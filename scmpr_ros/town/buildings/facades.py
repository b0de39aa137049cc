"""Façades: openings of walls and the relief around them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.town.buildings import tints
from scmpr_ros.town.buildings.faces import FOUNDATION_M, Plane, Shell
from scmpr_ros.town.buildings.house_styles import House, Kind
from scmpr_ros.town.buildings.openings import Opening, Openings, cut
from scmpr_ros.town.materials import Material

Array = NDArray[np.float64]
Rng = np.random.Generator

_SHUTTER_TINTS = np.array([[0.62, 0.61, 0.58], [0.45, 0.42, 0.36], [0.12, 0.07, 0.05]])


def blind_wall(shell: Shell, wall: Plane, house: House, levels: Array) -> None:
    """A wall without openings, from the foundation up."""
    finish = house.finish
    low = wall.panels(0, wall.length, -FOUNDATION_M, levels[1])
    shell.quads(low, finish.ground_wall, finish.ground_colour)
    shell.quads(wall.panels(0, wall.length, levels[1], levels[-1]), finish.wall, finish.colour)
    if house.plinth > 0.05:
        _plinth_band(shell, wall, house, np.array([0.0]), np.array([wall.length]))


def firewall(shell: Shell, wall: Plane, house: House, levels: Array) -> None:
    """A bare plastered wall towards a neighbour."""
    faces = wall.panels(0, wall.length, -FOUNDATION_M, levels[-1])
    shell.quads(faces, Material.PLASTER, house.finish.colour * 0.9)


def plain_facade(rng: Rng, shell: Shell, wall: Plane, house: House, levels: Array,
                 blank: float) -> None:  # fmt: skip
    """A wall of windows with a share `blank` of empty cells, for sides, backs and gables."""
    if wall.length < house.windows.width + 0.5:
        low = levels[0] if levels[0] > house.plinth else -FOUNDATION_M
        shell.quads(
            wall.panels(0, wall.length, low, levels[-1]), house.finish.wall, house.finish.colour
        )
        return
    openings = draw_openings(rng, house, wall.length, levels)
    openings.kind[rng.random(len(openings.kind)) < blank] = Opening.BLANK
    finish_facade(rng, shell, wall, house, openings)


def draw_openings(rng: Rng, house: House, length: float, levels: Array) -> Openings:
    """A grid of windows; dwellings mix wide and narrow columns."""
    columns = max(1 + int(length > 4.5), int((length - 0.5) / house.windows.pitch))
    share = np.ones(columns)
    if house.kind in (Kind.DETACHED, Kind.TERRACE, Kind.SLAB):
        share = rng.choice([0.6, 1.0, 1.0, 1.6], columns)
    return Openings.grid(house, length, levels, columns, share)


def add_door(openings: Openings, house: House, column: int, rise: float) -> None:
    """Turn a ground-floor cell into an entrance, `rise` above the street."""
    cell = openings.at(0, column)
    middle = (openings.u0[cell] + openings.u1[cell]) / 2
    openings.kind[cell] = Opening.DOOR
    half = min(0.55 if house.kind is not Kind.TENEMENT else 0.75, openings.u1[cell] - middle - 0.15)
    openings.a0[cell], openings.a1[cell] = middle - half, middle + half
    openings.b0[cell] = rise
    openings.b1[cell] = min(max(rise, 0.3) + 2.1, openings.v1[cell] - 0.25)
    openings.depth[cell] = house.windows.recess + 0.15


def finish_facade(rng: Rng, shell: Shell, wall: Plane, house: House, openings: Openings) -> None:
    """Cut the wall and add plinth, sills or surrounds, and shutters."""
    cut(rng, shell, wall, openings, house)
    if openings.v0.min() <= house.plinth:
        _plinth(shell, wall, house, openings)
    windows = openings.where(openings.is_window)
    if house.windows.surround:
        _surrounds(shell, wall, house, windows.where(~windows.is_arched))
    else:
        sill = wall.blocks(
            (windows.a0 - 0.05, windows.a1 + 0.05), (windows.b0 - 0.05, windows.b0), (0, 0.06),
            ("front", "top", "bottom"),
        )  # fmt: skip
        shell.quads(sill, Material.METAL, tints.METAL)
    flat = windows.where(~windows.is_arched)
    if house.windows.shutters == "roller":
        _roller_shutters(rng, shell, wall, flat)
    elif house.windows.shutters == "folding":
        _folding_shutters(shell, wall, house, flat)


def _plinth(shell: Shell, wall: Plane, house: House, openings: Openings) -> None:
    """A band of stone between the entrances."""
    top = house.plinth
    o = openings.where(
        (openings.floor == 0) & (openings.kind != Opening.BLANK) & (openings.b0 < top)
    )
    ends = np.concatenate([o.a0 - 0.02, [wall.length]])
    starts = np.concatenate([[0.0], o.a1 + 0.02])
    wide = ends - starts > 0.05
    _plinth_band(shell, wall, house, starts[wide], ends[wide])
    below = wall.blocks((o.a0 - 0.02, o.a1 + 0.02), (-FOUNDATION_M, o.b0), (0, 0.035),
                        ("front", "top"))  # fmt: skip
    shell.quads(below, Material.CONCRETE, house.finish.plinth_colour)


def _plinth_band(shell: Shell, wall: Plane, house: House, u0: Array, u1: Array) -> None:
    is_stone = house.kind in (Kind.TENEMENT, Kind.VILLA, Kind.CHURCH)
    band = wall.blocks((u0, u1), (-FOUNDATION_M, house.plinth), (0, 0.035),
                       ("front", "top", "left", "right"))  # fmt: skip
    shell.quads(band, Material.STONE if is_stone else Material.CONCRETE, house.finish.plinth_colour)


def _surrounds(shell: Shell, wall: Plane, house: House, o: Openings) -> None:
    """Jambs, sills and lintels; hoods on upper floors and pediments on the first."""
    s, colour = 0.15, house.finish.trim_colour
    jamb = ("front", "left", "right")
    shell.quads(
        np.concatenate(
            [
                wall.blocks((o.a0 - s, o.a0), (o.b0, o.b1), (0, 0.04), jamb),
                wall.blocks((o.a1, o.a1 + s), (o.b0, o.b1), (0, 0.04), jamb),
                wall.blocks((o.a0 - s, o.a1 + s), (o.b1, o.b1 + s + 0.03), (0, 0.05)),
                wall.blocks((o.a0 - s - 0.05, o.a1 + s + 0.05), (o.b0 - 0.1, o.b0), (0, 0.1)),
            ]
        ),
        Material.STONE,
        colour,
    )
    if house.windows.surround == "plain":
        return
    hooded = o.where((o.v1 - o.b1 > s + 0.28) & (o.floor > 0))
    base = hooded.b1 + s + 0.03
    left, right = hooded.a0 - s - 0.1, hooded.a1 + s + 0.1
    shell.quads(wall.blocks((left, right), (base, base + 0.09), (0, 0.16)), Material.STONE, colour)
    if house.windows.surround == "pediment":
        first = hooded.floor == 1
        _pediments(shell, wall, left[first], right[first], base[first] + 0.09, colour)


def _pediments(
    shell: Shell, wall: Plane, left: Array, right: Array, base: Array, colour: Array
) -> None:
    """Low triangular gables over windows."""
    middle, top = (left + right) / 2, base + 0.3
    u, v = np.stack([left, right, middle], 1), np.stack([base, base, top], 1)
    shell.triangles(wall.points(u, v, np.full_like(u, 0.12)), Material.STONE, colour)
    for a, b, x, y in ((right, middle, base, top), (middle, left, top, base)):
        u, v = np.stack([a, b, b, a], 1), np.stack([x, y, y, x], 1)
        d = np.broadcast_to([0.14, 0.14, 0.0, 0.0], u.shape)
        shell.quads(wall.points(u, v, d), Material.STONE, colour)


def _roller_shutters(rng: Rng, shell: Shell, wall: Plane, o: Openings) -> None:
    """Roller shutters; a third are lowered, some of them fully."""
    count = len(o.kind)
    down = np.where(rng.random(count) < 0.35, rng.choice([0.15, 0.3, 0.5, 1.0], count), 0.07)
    top = o.b1 - (o.b1 - o.b0) * down
    panels = wall.panels(o.a0, o.a1, top, o.b1, -o.depth + 0.03)
    shell.quads(panels, Material.SHUTTER, tints.shade(rng, _SHUTTER_TINTS))


def _folding_shutters(shell: Shell, wall: Plane, house: House, o: Openings) -> None:
    """Open wooden shutters on both sides of windows, where there is room."""
    leaf = (o.a1 - o.a0) / 2
    roomy = (o.a0 - o.u0 > leaf + 0.2) & (leaf < 0.9)
    o, leaf = o.where(roomy), leaf[roomy]
    beside = 0.17 if house.windows.surround else 0.02
    for u0 in (o.a0 - beside - leaf, o.a1 + beside):
        leaves = wall.blocks((u0, u0 + leaf), (o.b0, o.b1), (0.02, 0.055), (
            "front", "top", "left", "right"))  # fmt: skip
        shell.quads(leaves, Material.WOOD, house.finish.accent_colour)


def band(shell: Shell, wall: Plane, house: House, v: float, height: float, out: float) -> None:
    """A string course or cornice along the whole wall."""
    faces = wall.blocks((0, wall.length), (v, v + height), (0, out))
    shell.quads(faces, Material.STONE, house.finish.trim_colour)


def pilasters(shell: Shell, wall: Plane, house: House, low: float, high: float) -> None:
    """Strips of stone at both ends of a front."""
    width = 0.38
    faces = wall.blocks(
        (np.array([0, wall.length - width]), np.array([width, wall.length])), (low, high),
        (0, 0.085), ("front", "left", "right", "top"),
    )  # fmt: skip
    shell.quads(faces, Material.STONE, house.finish.trim_colour)
