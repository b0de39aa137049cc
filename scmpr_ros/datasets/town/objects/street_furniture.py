"""What stands on pavements: lamps, signs, signals, bollards, bins, benches, cabinets, fences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scmpr_ros.datasets.town.materials import SHEET_CELLS, Material
from scmpr_ros.datasets.town.mesh import Mesh, boxes, discs, quads, triangles, tubes
from scmpr_ros.semantics import IGNORE, class_id

Array = NDArray[np.float64]
Rng = np.random.Generator

POLE, SIGN, BARRIER = class_id("pole"), class_id("traffic_sign"), class_id("barrier")
_GREYS = np.array([[0.30, 0.31, 0.32], [0.12, 0.13, 0.13], [0.06, 0.10, 0.08], [0.42, 0.42, 0.40]])


def _pole(height_m: float, radius_m: float, colour: ArrayLike) -> Mesh:
    path = np.array([[0, 0, -0.3], [0, 0, height_m * 0.5], [0, 0, height_m]])
    return tubes(path, radius_m * np.array([1.15, 1.0, 0.8]), 8, Material.METAL, POLE, colour)


def street_lamp(rng: Rng) -> Mesh:
    """A lamp whose arm reaches over the road (towards +y), or a lantern on a short post."""
    colour = _GREYS[rng.integers(len(_GREYS))]
    if rng.random() < 0.4:
        height = rng.uniform(3.4, 4.6)
        head = boxes(
            [[-0.2, -0.2, height]],
            [[0.2, 0.2, height + 0.4]],
            Material.METAL,
            POLE,
            (0.5, 0.5, 0.48),
        )
        return Mesh.join([_pole(height, 0.06, colour), head])
    height, reach = rng.uniform(6.0, 9.0), rng.uniform(0.8, 2.2)
    arm = np.array([[0, 0, height - 0.2], [0, reach * 0.4, height + 0.2], [0, reach, height + 0.3]])
    head = boxes(
        [[-0.14, reach - 0.3, height + 0.2]],
        [[0.14, reach + 0.5, height + 0.36]],
        Material.METAL,
        POLE,
        (0.45, 0.45, 0.45),
    )
    return Mesh.join(
        [_pole(height, 0.08, colour), tubes(arm, 0.04, 6, Material.METAL, POLE, colour), head]
    )


def traffic_sign(rng: Rng) -> Mesh:
    """One or two plates on a post, facing -x: the traffic that comes along +x."""
    height = rng.uniform(2.1, 2.9)
    parts = [_pole(height + 0.3, 0.035, _GREYS[0])]
    for i in range(rng.choice([1, 1, 2])):
        z, size = height - 0.75 * i, rng.uniform(0.28, 0.42)
        kind = rng.choice(["disc", "square", "triangle"])
        cell = rng.integers(0, SHEET_CELLS, 2)
        sides = {"disc": 16, "square": 4, "triangle": 3}[kind]
        plate = _plate(sides, z, size, cell)
        parts.append(plate)
    return Mesh.join(parts)


def _plate(sides: int, z: float, size: float, cell: NDArray[np.integer]) -> Mesh:
    angle = np.arange(sides + 1) * 2 * np.pi / sides + (np.pi / 2 if sides == 3 else np.pi / sides)
    rim = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    corners2d = np.stack([np.zeros_like(rim[1:]), rim[:-1], rim[1:]], axis=1)
    corners = np.concatenate([np.full((sides, 3, 1), -0.045), size * corners2d + (0, z)], axis=2)
    uv = (cell + 0.5 + 0.47 * corners2d * (-1, 1)) / SHEET_CELLS
    face = triangles(corners, Material.SIGN, SIGN, (1, 1, 1), uv)
    back = triangles(corners + np.array([0.008, 0, 0]), Material.METAL, SIGN, (0.3, 0.3, 0.3))
    return Mesh.join([face, back])


def name_plate(rng: Rng) -> Mesh:
    """A street name on a thin post."""
    width = rng.uniform(0.6, 1.1)
    plate = boxes([[-0.02, -width / 2, 2.3]], [[0.02, width / 2, 2.52]], Material.METAL, SIGN,
                  rng.choice([[0.04, 0.10, 0.4], [0.7, 0.7, 0.68]]))  # fmt: skip
    return Mesh.join([_pole(2.5, 0.03, _GREYS[0]), plate])


def traffic_signal(rng: Rng) -> Mesh:
    """A signal head on a post, facing -x."""
    post = _pole(3.3, 0.06, rng.choice(_GREYS[:2]))
    head = boxes(
        [[-0.32, -0.16, 2.4]], [[-0.06, 0.16, 3.25]], Material.METAL, SIGN, (0.03, 0.035, 0.03)
    )
    lit = rng.integers(3)
    colours = np.array([[0.9, 0.05, 0.02], [0.9, 0.5, 0.02], [0.02, 0.8, 0.3]])
    colours[np.arange(3) != lit] *= 0.06
    centre = np.stack([np.full(3, -0.33), np.zeros(3), [3.1, 2.83, 2.56]], axis=1)
    lamps = discs(centre, [[-1, 0, 0]], 0.105, 12, Material.METAL, SIGN, colours)
    return Mesh.join([post, head, lamps])


def bollard(rng: Rng) -> Mesh:
    """A short post with a reflecting band."""
    height = rng.uniform(0.8, 1.1)
    body = tubes(
        [[0, 0, -0.1], [0, 0, height]], 0.05, 8, Material.METAL, POLE, rng.choice(_GREYS[:3])
    )
    cap = discs([[0, 0, height]], [[0, 0, 1]], 0.05, 8, Material.METAL, POLE, (0.2, 0.2, 0.2))
    band = tubes([[0, 0, height - 0.25], [0, 0, height - 0.12]], 0.053, 8, Material.METAL, POLE,
                 rng.choice([[0.7, 0.7, 0.7], [0.6, 0.05, 0.04]]))  # fmt: skip
    return Mesh.join([body, cap, band])


def wheeled_bin(rng: Rng) -> Mesh:
    """A wheeled household bin."""
    colour = np.array(
        [[0.05, 0.05, 0.05], [0.03, 0.06, 0.16], [0.20, 0.11, 0.03], [0.3, 0.22, 0.02]]
    )[rng.integers(4)]
    body = boxes([[-0.28, -0.3, 0.0]], [[0.28, 0.3, 1.0]], Material.CAR_PAINT, IGNORE, colour * 0.8)
    lid = boxes([[-0.31, -0.33, 1.0]], [[0.31, 0.35, 1.08]], Material.CAR_PAINT, IGNORE, colour)
    return Mesh.join([body, lid])


def cabinet(rng: Rng) -> Mesh:
    """A telecom or power cabinet, often sprayed."""
    w, h = rng.uniform(0.4, 0.9), rng.uniform(0.9, 1.5)
    colour = rng.choice([[0.35, 0.36, 0.33], [0.22, 0.26, 0.22], [0.45, 0.44, 0.40]])
    return boxes([[-w, -0.22, -0.1]], [[w, 0.22, h]], Material.CONCRETE, IGNORE, colour)


def bench(rng: Rng) -> Mesh:
    """A bench that faces +y."""
    slats = [([-0.9, 0.05 + 0.13 * i, 0.42], [0.9, 0.15 + 0.13 * i, 0.46]) for i in range(4)]
    back = [([-0.9, -0.03, 0.55 + 0.14 * i], [0.9, 0.0, 0.65 + 0.14 * i]) for i in range(3)]
    legs = [([x, 0.0, -0.05], [x + 0.07, 0.5, 0.42]) for x in (-0.75, 0.68)]
    low, high = zip(*slats, *back, *legs, strict=True)
    return boxes(
        low, high, Material.WOOD, IGNORE, rng.uniform(0.1, 0.25) * np.array([1, 0.7, 0.45])
    )


def advertising_column(rng: Rng) -> Mesh:
    """A round column with posters."""
    h, r = rng.uniform(2.6, 3.4), 0.6
    body = tubes([[0, 0, -0.1], [0, 0, h]], r, 18, Material.SHOP, IGNORE, (1.2, 1.2, 1.2))
    body = replace(body, uv=body.uv * np.float32(0.24) + rng.random(2).astype(np.float32))
    cap = tubes(
        [[0, 0, h], [0, 0, h + 0.25]], [0.7, 0.5], 18, Material.METAL, IGNORE, (0.1, 0.14, 0.1)
    )
    return Mesh.join(
        [
            body,
            cap,
            discs(
                [[0, 0, h + 0.25]], [[0, 0, 1]], 0.5, 18, Material.METAL, IGNORE, (0.1, 0.14, 0.1)
            ),
        ]
    )


def shelter(rng: Rng) -> Mesh:
    """A bus shelter open towards +y: posts, roof, glass back and a poster case."""
    w, d, h = rng.uniform(3.0, 4.5), 1.4, 2.4
    grey = _GREYS[rng.integers(2)]
    posts = [
        ([x - 0.04, y - 0.04, -0.1], [x + 0.04, y + 0.04, h])
        for x in (-w / 2, w / 2)
        for y in (0.05, d)
    ]
    low, high = zip(*posts, strict=True)
    roof = boxes(
        [[-w / 2 - 0.15, -0.15, h]],
        [[w / 2 + 0.15, d + 0.3, h + 0.14]],
        Material.METAL,
        IGNORE,
        grey,
    )
    case = boxes(
        [[w / 2 - 0.06, 0.1, 0.3]],
        [[w / 2 + 0.06, d - 0.1, 2.1]],
        Material.SHOP,
        IGNORE,
        (1.3, 1.3, 1.3),
    )
    glass = boxes(
        [[-w / 2, 0.0, 0.35]], [[w / 2, 0.02, 2.2]], Material.GLASS, IGNORE, (0.1, 0.12, 0.12)
    )
    return Mesh.join([boxes(low, high, Material.METAL, POLE, grey), roof, case, glass])


FENCE_KINDS = ("pickets", "bars", "wall", "low_wall_bars", "boards", "mesh")


def fence(rng: Rng, kind: str, low: Array, high: Array) -> Mesh:
    """A fence of one kind along ground segments from `low` to `high`, each (N, 3)."""
    height = rng.uniform(0.8, 1.4) if kind != "boards" else rng.uniform(1.5, 1.9)
    if kind == "wall":
        material = Material(
            int(rng.choice([Material.BRICK, Material.STONE, Material.PLASTER, Material.CONCRETE]))
        )
        colour = rng.uniform(0.2, 0.55) * np.array(
            [1, rng.uniform(0.75, 1), rng.uniform(0.6, 0.95)]
        )
        return _slab(low, high, -0.4, height, 0.28, material, colour)
    if kind == "boards":
        return _slab(
            low,
            high,
            0.05,
            height,
            0.04,
            Material.WOOD,
            rng.uniform(0.1, 0.3) * np.array([1, 0.75, 0.5]),
        )
    if kind == "low_wall_bars":
        base = _slab(
            low, high, -0.4, 0.45, 0.28, Material.STONE, rng.uniform(0.25, 0.45) * np.ones(3)
        )
        return Mesh.join(
            [
                base,
                _bars(
                    low,
                    high,
                    0.45,
                    height + 0.2,
                    0.13,
                    0.03,
                    _GREYS[rng.integers(3)],
                    Material.METAL,
                ),
            ]
        )
    if kind == "pickets":
        colour = rng.choice([[0.6, 0.58, 0.54], [0.25, 0.16, 0.09], [0.16, 0.11, 0.07]])
        return _bars(low, high, 0.06, height, 0.13, 0.085, colour, Material.WOOD)
    spacing, width = (0.12, 0.025) if kind == "bars" else (0.09, 0.012)
    return _bars(low, high, 0.03, height, spacing, width, _GREYS[rng.integers(3)], Material.METAL)


def _slab(
    low: Array,
    high: Array,
    z0: float,
    z1: float,
    thick_m: float,
    material: Material,
    colour: ArrayLike,
) -> Mesh:
    along = high - low
    n = np.stack([-along[:, 1], along[:, 0], np.zeros(len(along))], axis=1)
    n *= thick_m / 2 / np.linalg.norm(along[:, :2], axis=1, keepdims=True)
    b, t = np.array([0, 0, z0]), np.array([0, 0, z1])
    faces = [
        np.stack([low + n + b, high + n + b, high + n + t, low + n + t], axis=1),
        np.stack([low - n + b, high - n + b, high - n + t, low - n + t], axis=1),
        np.stack([low - n + t, high - n + t, high + n + t, low + n + t], axis=1),
        np.stack([low - n + b, low + n + b, low + n + t, low - n + t], axis=1),
        np.stack([high - n + b, high + n + b, high + n + t, high - n + t], axis=1),
    ]
    return quads(np.concatenate(faces), material, BARRIER, colour)


def _bars(
    low: Array,
    high: Array,
    z0: float,
    z1: float,
    spacing: float,
    width: float,
    colour: ArrayLike,
    material: Material,
) -> Mesh:
    """Upright bars between two rails."""
    length = np.linalg.norm((high - low)[:, :2], axis=1)
    counts = np.maximum((length / spacing).astype(int), 1)
    which = np.repeat(np.arange(len(low)), counts)
    t = (np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts) + 0.5) / counts[
        which
    ]
    unit = ((high - low) / length[:, None])[which]
    foot = low[which] + t[:, None] * (high - low)[which]
    h, b, top = unit * width / 2, np.array([0, 0, z0]), np.array([0, 0, z1])
    bars = np.stack([foot - h + b, foot + h + b, foot + h + top, foot - h + top], axis=1)
    rails = [_slab(low, high, z, z + 0.06, 0.04, material, colour) for z in (z0 + 0.12, z1 - 0.18)]
    return Mesh.join([quads(bars, material, BARRIER, colour), *rails])
