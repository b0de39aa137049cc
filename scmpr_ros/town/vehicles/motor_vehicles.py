"""Complete motor vehicles: cars, vans and buses of one body, lorries, and trailers."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scmpr_ros.town.materials import Material
from scmpr_ros.town.mesh import Mesh, boxes, quads, triangles, tubes
from scmpr_ros.town.vehicles import details
from scmpr_ros.town.vehicles.bodies import BLACK, LowerBody, cabin, lower_body
from scmpr_ros.town.vehicles.details import Lamps, Trim
from scmpr_ros.town.vehicles.shapes import BODIES, OTHER, Body, vary
from scmpr_ros.town.vehicles.sheets import cells, mirrored, without_slivers

Array = NDArray[np.float64]
Rng = np.random.Generator
Vehicle = tuple[Mesh, float, float]
"""Mesh centred at the origin, pointing along +x; length, and width without mirrors, in metres."""

_PROUD_M = 0.05
"""Extent of plates, strips and bumpers beyond a body."""

_PAINTS = np.array(
    [[0.60, 0.60, 0.59], [0.34, 0.35, 0.36], [0.13, 0.135, 0.14], [0.05, 0.052, 0.055],
     [0.010, 0.010, 0.012], [0.022, 0.033, 0.08], [0.26, 0.012, 0.015], [0.09, 0.01, 0.015],
     [0.09, 0.15, 0.24], [0.015, 0.05, 0.03], [0.22, 0.18, 0.12], [0.50, 0.36, 0.03],
     [0.16, 0.24, 0.10]]
)  # fmt: skip
_PAINT_SHARES = (0.13, 0.25, 0.12, 0.09, 0.19, 0.07, 0.05, 0.02, 0.03, 0.02, 0.015, 0.01, 0.005)
_LIVERIES = np.array(
    [[0.60, 0.60, 0.59], [0.55, 0.56, 0.56], [0.5, 0.36, 0.02], [0.5, 0.13, 0.015],
     [0.03, 0.08, 0.25], [0.30, 0.02, 0.02]]
)  # fmt: skip
_LIVERY_SHARES = (0.42, 0.2, 0.12, 0.1, 0.08, 0.08)
_TARPAULINS = np.array(
    [[0.35, 0.36, 0.36], [0.05, 0.09, 0.2], [0.04, 0.12, 0.07], [0.4, 0.1, 0.02]]
)


def draw_paint(rng: Rng) -> Array:
    """Draw a passenger car's colour (3,), with the frequencies of Europe around 2010."""
    return _PAINTS[rng.choice(len(_PAINTS), p=_PAINT_SHARES)] * rng.uniform(0.8, 1.12)


def _livery(rng: Rng) -> Array:
    return _LIVERIES[rng.choice(len(_LIVERIES), p=_LIVERY_SHARES)]


def of_one_body(rng: Rng, kind: str, lamps: Lamps) -> Vehicle:
    """A car, van or bus, of a kind of `BODIES`."""
    body = vary(BODIES[kind], rng)
    paint = draw_paint(rng) if body.label != OTHER else _livery(rng)
    mesh = without_slivers(_parts(rng, body, paint, lamps))
    return _shifted(mesh, -body.length / 2), body.length + _PROUD_M, body.width + _PROUD_M


def _shifted(mesh: Mesh, x: float) -> Mesh:
    T = np.eye(4)
    T[0, 3] = x
    return mesh.transformed(T)


def _parts(rng: Rng, body: Body, paint: ArrayLike, lamps: Lamps) -> list[Mesh]:
    surface = LowerBody(body)
    trim = Trim(surface)
    details.front(rng, trim, lamps)
    details.rear(rng, trim, lamps)
    details.flanks(rng, trim, paint)
    parts = [
        lower_body(surface, paint),
        cabin(surface, paint, has_black_pillars=rng.random() < 0.7),
        details.wheels(rng, surface),
        details.mirrors(surface, paint),
        *trim.parts,
    ]
    if body.cabin.has_rails and rng.random() < 0.5:
        parts.append(details.roof_rails(surface, rng.choice([0.012, 0.35]) * np.ones(3)))
    return parts


def lorry(rng: Rng, kind: str, lamps: Lamps) -> Vehicle:
    """A cab ("cab" or "lorry_cab" of `BODIES`) with a box, an open bed, or a covered bed."""
    body = vary(BODIES[kind], rng)
    paint = _livery(rng)
    if kind == "cab":
        length, wider, floor, top = rng.uniform(3.3, 3.9), rng.uniform(0.08, 0.2), 0.88, 2.9
    else:
        length, wider, floor, top = rng.uniform(4.6, 5.6), 0.25, 1.05, 3.4
    width, total = body.width + wider, length + body.length
    parts = [
        _shifted(Mesh.join(_parts(rng, body, paint, lamps)), length - 0.02),
        *_load(rng, length - 0.12, width, (floor, top), paint),
        *_chassis(length + 0.4, width, 0.27 * length, body.wheel_radius, floor, lamps),
        _tank(length, width / 2, floor),
    ]
    return _shifted(without_slivers(parts), -total / 2), total + _PROUD_M, width + _PROUD_M


def trailer(rng: Rng) -> Vehicle:
    """A parked single-axle trailer."""
    length, width, floor = rng.uniform(2.2, 3.4), rng.uniform(1.5, 1.9), 0.55
    bars = [[(length - 0.2, y, 0.48), (length + 1.1, 0, 0.45)] for y in (-0.5, 0.5)]
    stand = [(length + 0.85, 0, 0.5), (length + 0.85, 0, 0.0)]
    total = length + 1.14
    parts = [
        *_load(rng, length, width, (floor, rng.uniform(1.6, 2.2)), (0.45, 0.45, 0.45)),
        *_chassis(length, width, 0.46 * length, 0.29, floor, details.PARKED),
        tubes(np.array([*bars, stand]), 0.04, 5, Material.METAL, OTHER, (0.25, 0.25, 0.25)),
    ]
    return _shifted(without_slivers(parts), -total / 2), total + _PROUD_M, width + _PROUD_M


def _load(
    rng: Rng, length: float, width: float, height: tuple[float, float], paint: ArrayLike
) -> list[Mesh]:
    """A box, bed or covered bed from x = 0 to `length`, between the heights of floor and roof."""
    (floor, top), half = height, width / 2
    kind = rng.choice(["box", "cover", "bed"])
    if kind == "box":
        skin = paint if rng.random() < 0.3 else (0.58, 0.58, 0.57)
        seam_and_rail = boxes(
            [(-0.006, -0.01, floor + 0.1), (-0.01, -half, floor - 0.08)],
            [(0.0, 0.01, top - 0.1), (length, half, floor + 0.03)],
            Material.METAL, OTHER, (0.12, 0.12, 0.12),
        )  # fmt: skip
        return [_vault(length, half, floor, top, 0.04, Material.CORRUGATED, skin), seam_and_rail]
    wall = floor + 0.32
    bed = boxes(
        [(0, -half, floor), (0, -half, floor), (0, half - 0.04, floor), (0, -half, floor),
         (length - 0.05, -half, floor)],
        [(length, half, floor + 0.05), (length, 0.04 - half, wall), (length, half, wall),
         (0.04, half, wall), (length, half, wall + 0.15 * floor)],
        Material.CORRUGATED, OTHER, paint if rng.random() < 0.4 else (0.32, 0.32, 0.32),
    )  # fmt: skip
    if kind == "bed":
        return [bed]
    colour = _TARPAULINS[rng.integers(len(_TARPAULINS))]
    return [bed, _vault(length, half, wall, top, 0.14, Material.CLOTH, colour)]


def _vault(
    length: float, half: float, low: float, high: float, radius: float,
    material: Material, colour: ArrayLike,
) -> Mesh:  # fmt: skip
    """A box from x = 0 to `length` with rounded upper edges and without a floor."""
    angle = np.radians([0, 30, 60, 90])
    y = np.concatenate([[half], half - radius + radius * np.cos(angle)])
    z = np.concatenate([[low], high - radius + radius * np.sin(angle)])
    contour = np.stack([np.zeros(10), [*y, *-y[::-1]], [*z, *z[::-1]]], axis=1)
    skin = np.stack([contour, contour + (length, 0, 0)], axis=1)
    middle = np.broadcast_to((0, 0, low), contour[1:].shape)
    rear = np.stack([middle, contour[1:], contour[:-1]], axis=1)
    front = rear[:, [0, 2, 1]] + (length, 0, 0)
    return Mesh.join([
        quads(cells(skin), material, OTHER, colour),
        triangles(np.concatenate([rear, front]), material, OTHER, colour),
    ])  # fmt: skip


def _tank(length: float, half: float, floor: float) -> Mesh:
    """Boxes between a lorry's axles."""
    low = [(0.5 * length, half - 0.5, floor - 0.45), (0.55 * length, 0.1 - half, floor - 0.42)]
    high = [(0.75 * length, half - 0.1, floor - 0.1), (0.72 * length, 0.5 - half, floor - 0.1)]
    return boxes(low, high, Material.METAL, OTHER, (0.07, 0.07, 0.07))


def _chassis(
    length: float, width: float, axle: float, radius: float, floor: float, lamps: Lamps
) -> list[Mesh]:
    """Frame, wheels under mudguards, tail lamps and plate of a lorry or trailer."""
    half, low = width / 2, floor - 0.33
    one = details.wheel(radius, 0.3 if radius > 0.3 else 0.18, 8, 0.6, (0.2, 0.2, 0.2), OTHER)
    angle = np.radians(np.linspace(20, 160, 6))
    x = axle + (radius + 0.07) * np.cos(angle)
    z = np.minimum(radius + (radius + 0.07) * np.sin(angle), floor - 0.01)
    guard = np.stack(np.broadcast_arrays(x, [[half - 0.04], [half - 0.34]], z), axis=-1)
    y = np.array([[-0.26, 0.26], [half - 0.42, half - 0.12], [0.12 - half, 0.42 - half]])
    rear = np.stack([np.full((3, 4), -0.012), y[:, [0, 0, 1, 1]],
                     low + np.array([0, 0.12, 0.12, 0]) * np.ones((3, 1))], axis=2)  # fmt: skip
    return [
        boxes([(0.1, -0.45, floor - 0.3), (0, 0.08 - half, low - 0.01)],
              [(length, 0.45, floor), (0.06, half - 0.08, floor - 0.2)],
              Material.RUBBER, OTHER, BLACK),
        *details.wheel_pair(one, axle, half - 0.05, radius),
        quads(mirrored(cells(guard)), Material.RUBBER, OTHER, BLACK),
        quads(rear[:1], Material.PLATE, OTHER, details.PLATE),
        quads(rear[1:], lamps.tail, OTHER, details.RED),
        *lamps.beams(0.0, half - 0.27, low + 0.06, -1),
    ]  # fmt: skip
