"""Shop fronts with awnings and sign boards, and gateways."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.town.buildings import tints
from scmpr_ros.town.buildings.balconies import LOWEST_M
from scmpr_ros.town.buildings.faces import Plane, Shell
from scmpr_ros.town.buildings.openings import Opening, Openings
from scmpr_ros.town.materials import Material

Array = NDArray[np.float64]
Rng = np.random.Generator


def open_shops(rng: Rng, openings: Openings) -> None:
    """Turn most windows of the ground floor into shop fronts."""
    shop = (openings.floor == 0) & openings.is_window & (rng.random(len(openings.kind)) < 0.85)
    openings.kind[shop] = Opening.SHOP
    openings.a0[shop], openings.a1[shop] = openings.u0[shop] + 0.2, openings.u1[shop] - 0.2
    openings.b0[shop] = 0.4
    openings.b1[shop] = openings.v1[shop] - 0.8


def open_gateway(openings: Openings, column: int) -> Openings:
    """Open a dark passage to the yard, two columns wide."""
    cell = openings.at(0, column)
    openings = openings.merge_right(cell)
    middle = (openings.u0[cell] + openings.u1[cell]) / 2
    half = min(1.45, middle - openings.u0[cell] - 0.2)
    openings.kind[cell] = Opening.GATE
    openings.a0[cell], openings.a1[cell] = middle - half, middle + half
    openings.b0[cell], openings.b1[cell] = 0.02, min(3.4, openings.v1[cell] - 0.4)
    openings.depth[cell] = 2.4
    return openings


def dress_shops(rng: Rng, shell: Shell, wall: Plane, openings: Openings) -> None:
    """Add sign boards above the panes, and awnings to some."""
    shops = openings.where(openings.kind == Opening.SHOP)
    if len(shops.kind) == 0:
        return
    colour = tints.shade(rng, tints.STRONG)
    base = shops.b1 + (0.1 if not shops.is_arched.any() else 0.25)
    u0, u1 = shops.u0 + 0.12, shops.u1 - 0.12
    shell.quads(wall.blocks((u0, u1), (base, base + 0.42), (0, 0.12)), Material.METAL, colour)
    text = np.full(3, 0.7) if colour.mean() < 0.35 else np.full(3, 0.04)
    for a, b, v in zip(u0, u1, base, strict=True):
        lettering(rng, shell, wall, (a + 0.2, b - 0.2), v + 0.1, 0.22, 0.135, text)
    if rng.random() < 0.5:
        chosen = (rng.random(len(base)) < 0.6) & (base > LOWEST_M + 0.3)
        _awnings(rng, shell, wall, u0[chosen], u1[chosen], base[chosen] - 0.04)


def lettering(
    rng: Rng, shell: Shell, wall: Plane, span: tuple[float, float], v: float, height: float,
    d: float, colour: Array,
) -> None:  # fmt: skip
    """Mock lettering, each letter an upright and a bar."""
    pitch = height * 0.85
    count = min(int((span[1] - span[0]) / pitch), int(rng.integers(4, 11)))
    if count < 2:
        return
    u = (span[0] + span[1] - count * pitch) / 2 + pitch * np.arange(count)
    stroke = height * 0.2
    bar = v + rng.choice([0.0, 0.4, 0.8], count) * height
    upright = wall.panels(u, u + stroke, v, v + height, d)
    bars = wall.panels(u + stroke, u + pitch * 0.75, bar, bar + stroke, d)
    shell.quads(np.concatenate([upright, bars]), Material.METAL, colour)


def _awnings(rng: Rng, shell: Shell, wall: Plane, u0: Array, u1: Array, v: Array) -> None:
    """Cloth awnings over the pavement, with a valance."""
    reach = float(rng.uniform(0.8, 1.35))
    low = np.maximum(v - 0.5 * reach, LOWEST_M + 0.18)
    u = np.stack([u0, u1, u1, u0], 1)
    slope = wall.points(u, np.stack([low, low, v, v], 1), np.array([reach, reach, 0.14, 0.14]))
    hem = wall.points(u, np.stack([low - 0.17, low - 0.17, low, low], 1), np.full(4, reach))
    shell.quads(np.concatenate([slope, hem]), Material.CLOTH, tints.shade(rng, tints.STRONG))


def sign_board(rng: Rng, shell: Shell, wall: Plane, v: float, height: float, width: float) -> None:
    """A company sign at a random position along a wall."""
    u0 = float(rng.uniform(0.3, max(0.31, wall.length - width - 0.3)))
    colour = tints.shade(rng, tints.STRONG)
    shell.quads(wall.blocks((u0, u0 + width), (v, v + height), (0.0, 0.12)), Material.METAL, colour)
    text = np.full(3, 0.72) if colour.mean() < 0.35 else np.full(3, 0.04)
    lettering(rng, shell, wall, (u0 + 0.2, u0 + width - 0.2), v + 0.2 * height, 0.6 * height,
              0.135, text)  # fmt: skip
