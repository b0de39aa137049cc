"""Borders of plots: fences, walls and hedges, with gates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scmpr_ros.town import plants
from scmpr_ros.town.furniture.fences import FENCE_KINDS, fence
from scmpr_ros.town.layout.kerbside import Frontage, Plot, Site, Span, runs
from scmpr_ros.town.layout.land_use import LAND
from scmpr_ros.town.mesh import Mesh
from scmpr_ros.town.quarters import Quarter

Array = NDArray[np.float64]
Rng = np.random.Generator

_PANEL_M = 1.6
_SHORTEST_M = 1.2
"""Shorter pieces of border are omitted."""
_GATE_POST_M = 0.25


@dataclass(frozen=True)
class Border:
    """A kind of border. build: makes its mesh along segments (N, 3); thick_m: its thickness."""

    build: Callable[[Rng, Array, Array], Mesh]
    thick_m: float


def _fence(kind: str) -> Border:
    return Border(lambda rng, low, high: fence(rng, kind, low, high), 0.3)


BORDERS: dict[str, Border] = {
    **{kind: _fence(kind) for kind in FENCE_KINDS},
    "hedge": Border(
        lambda rng, low, high: plants.hedge(rng, low, high, rng.uniform(0.9, 1.5), 0.6), 0.7
    ),
    "high_hedge": Border(
        lambda rng, low, high: plants.hedge(rng, low, high, rng.uniform(1.6, 2.2), 0.8), 0.9
    ),
}
_FRONT: dict[Quarter, tuple[tuple[str, float], ...]] = {
    Quarter.OLD_TOWN: (("bars", 0.6), ("low_wall_bars", 0.4)),
    Quarter.SUBURB: (("hedge", 0.28), ("pickets", 0.2), ("bars", 0.12), ("mesh", 0.06),
                     ("low_wall_bars", 0.16), ("wall", 0.12), ("high_hedge", 0.06)),
    Quarter.INDUSTRIAL: (("mesh", 0.75), ("bars", 0.1), ("wall", 0.1), ("high_hedge", 0.05)),
    Quarter.PARK: (("low_wall_bars", 0.3), ("hedge", 0.3), ("bars", 0.25), ("high_hedge", 0.15)),
}  # fmt: skip
_BETWEEN: tuple[tuple[str, float], ...] = (
    ("mesh", 0.35), ("boards", 0.3), ("pickets", 0.15), ("hedge", 0.2),
)  # fmt: skip
"""Borders towards the street by quarter, and between plots, with their shares."""


def place_fences(rng: Rng, site: Site) -> Mesh:
    """Place the borders of all plots: along the pavement with gates, and between plots."""
    parts: list[Mesh] = []
    for frontage in site.frontages:
        for plot in frontage.plots:
            if rng.random() < LAND[frontage.side.quarter].fenced:
                parts += _plot_border(rng, frontage, plot)
        for passage in frontage.passages:
            parts += _passage(rng, frontage, passage)
    return Mesh.join(parts)


def _draw(rng: Rng, kinds: tuple[tuple[str, float], ...]) -> Border:
    names, shares = zip(*kinds, strict=True)
    return BORDERS[names[rng.choice(len(names), p=shares)]]


def _plot_border(rng: Rng, frontage: Frontage, plot: Plot) -> list[Mesh]:
    """Place the border towards the street with its gates, then the one to the next plot."""
    border = _draw(rng, _FRONT[frontage.side.quarter])
    inset = 0.15 + border.thick_m / 2
    beyond = frontage.edge_m + inset
    if plot.setback_m - beyond < 1.2:
        return []
    start, end = plot.land[0] + 0.05, plot.land[1] - 0.05
    lines = [
        frontage.side.grid(_panels(a, b), np.array([beyond]))[:, 0]
        for a, b in _without(start, end, plot.gates)
    ]
    parts = _run(rng, frontage.side.site, lines, border)
    back = plot.setback_m + 0.7 * plot.house.depth
    side_line = frontage.side.grid(np.array([end]), _panels(beyond + 0.6, back))[0]
    return parts + _run(rng, frontage.side.site, [side_line], _draw(rng, _BETWEEN))


def _panels(start: float, end: float) -> Array:
    return np.linspace(start, end, max(2, 1 + round((end - start) / _PANEL_M)))


def _without(start: float, end: float, gates: tuple[Span, ...]) -> list[Span]:
    """Stretches between gates, without short ones."""
    stretches = []
    for a, b in sorted(gates):
        stretches.append((start, min(a - _GATE_POST_M, end)))
        start = max(start, b + _GATE_POST_M)
    return [(a, b) for a, b in [*stretches, (start, end)] if b - a > _SHORTEST_M]


def _run(rng: Rng, site: Site, lines: list[Array], border: Border) -> list[Mesh]:
    """Build a border along lines of posts (K, 2), omitting panels on occupied land."""
    low, high = [np.zeros((0, 3))], [np.zeros((0, 3))]
    for posts in lines:
        across = _widened(posts, border.thick_m)
        flat = across.reshape(-1, 2)
        clear = site.taken.is_free(flat) & (site.ground.beyond_pavement(flat) > 0)
        whole = _without_isolated(clear.reshape(across.shape[:2]).all(axis=1))
        points = site.ground.on_ground(posts)
        low.append(points[:-1][whole])
        high.append(points[1:][whole])
        site.taken.claim(across[whole].reshape(-1, 2))
    start, end = np.concatenate(low), np.concatenate(high)
    return [border.build(rng, start, end)] if len(start) else []


def _without_isolated(panels: ArrayLike) -> NDArray[np.bool_]:
    """Drop isolated panels of a longer border."""
    kept = np.zeros(np.shape(panels), bool)
    for start, end in zip(*runs(panels), strict=True):
        kept[start:end] = end - start > 1 or len(kept) == 1
    return kept


def _widened(posts: Array, thick_m: float) -> Array:
    """Points (K - 1, M, 2) that cover each panel between posts (K, 2)."""
    along = np.diff(posts, axis=0)
    unit = along / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    left = np.stack([-unit[:, 1], unit[:, 0]], axis=1)
    t = np.linspace(0.0, 1.0, 1 + int(np.ceil(_PANEL_M * 1.5 / 0.17)))
    side = np.linspace(-thick_m / 2, thick_m / 2, 2 + int(thick_m / 0.17))
    t, side = (a.ravel() for a in np.meshgrid(t, side))
    return posts[:-1, None] + t[:, None] * along[:, None] + side[:, None] * left[:, None]


def _passage(rng: Rng, frontage: Frontage, passage: Span) -> list[Mesh]:
    """Place a gate across the passage to a courtyard."""
    beyond = frontage.edge_m + 0.8
    line = frontage.side.grid(np.linspace(*passage, 3), np.array([beyond]))[:, 0]
    return _run(rng, frontage.side.site, [line], BORDERS["bars"])
