"""Where street furniture stands: lamps in rows, signs towards the traffic, clutter anywhere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from scmpr_ros.datasets.town.layout.kerbside import Kerbside, Site
from scmpr_ros.datasets.town.layout.street_network import Street
from scmpr_ros.datasets.town.mesh import Mesh
from scmpr_ros.datasets.town.objects import street_furniture as furniture

Rng = np.random.Generator

_CLUTTER: tuple[tuple[Callable[[Rng], Mesh], float, float], ...] = (
    (furniture.wheeled_bin, 0.35, 0.58),
    (furniture.cabinet, 0.6, 0.24),
    (furniture.bench, 0.8, 0.12),
    (furniture.advertising_column, 0.65, 0.02),
    (furniture.shelter, 1.6, 0.04),
)
"""What stands about, the radius it needs in metres, and its share."""


def place_furniture(rng: Rng, site: Site) -> Mesh:
    """Lamps, signs, bollards, bins and the rest along the pavements."""
    parts: list[Mesh] = []
    for street in site.streets:
        sides = [Kerbside(site, street, side) for side in (1, -1)]
        parts += _lamps(rng, site, street)
        for side in sides:
            parts += _signs(rng, side)
        for side in sides:
            parts += _bollards(rng, side) + _clutter(rng, side)
    return Mesh.join(parts)


def _lamps(rng: Rng, site: Site, street: Street) -> list[Mesh]:
    """A row of equal lamps on one side of a street."""
    side = Kerbside(site, street, int(rng.choice([-1, 1])))
    style = int(rng.integers(1 << 30))
    parts = []
    for s in np.arange(rng.uniform(5, 20), street.length_m - 4, rng.uniform(22, 34)):
        lamp = furniture.street_lamp(np.random.default_rng(style))
        parts += side.stand(rng, float(s), 0.45, lambda _, lamp=lamp: lamp, 0.2)  # type: ignore[misc]
    return parts


def _signs(rng: Rng, side: Kerbside) -> list[Mesh]:
    """Signs anywhere, signals and name plates at crossings, all towards this side's traffic."""
    parts: list[Mesh] = []
    for s in side.spread(rng, 5, 38):
        parts += side.stand(rng, float(s), rng.uniform(0.4, 0.8), furniture.traffic_sign, 0.15)
    corner = side.street.half_width_m + 4.0
    for s in (corner, side.length_m - corner):
        kind = str(rng.choice(["name", "signal", "sign", "none"], p=[0.3, 0.2, 0.25, 0.25]))
        build = {"name": furniture.name_plate, "signal": furniture.traffic_signal,
                 "sign": furniture.traffic_sign}.get(kind)  # fmt: skip
        if build:
            parts += side.stand(rng, float(s), 0.55, build, 0.15)
    return parts


def _bollards(rng: Rng, side: Kerbside) -> list[Mesh]:
    """Now and then a row of bollards along the kerb."""
    parts: list[Mesh] = []
    if rng.random() < 0.25:
        first = rng.uniform(3, side.length_m * 0.6)
        for s in np.arange(first, min(first + rng.uniform(6, 25), side.length_m - 3), 1.7):
            parts += side.stand(rng, float(s), 0.35, furniture.bollard, 0.08)
    return parts


def _clutter(rng: Rng, side: Kerbside) -> list[Mesh]:
    """Bins, cabinets, benches and shelters at the back of the pavement."""
    parts: list[Mesh] = []
    shares = [share for _, _, share in _CLUTTER]
    for s in side.spread(rng, 4, 18):
        build, radius, _ = _CLUTTER[rng.choice(len(_CLUTTER), p=shares)]
        beyond = max(side.pavement_m - 0.4, radius + 0.3)
        parts += side.stand(rng, float(s), beyond, build, radius, rng.normal(0, 0.06))
    return parts
