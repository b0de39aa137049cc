"""Houses along the streets and behind them, and the fences, walls and hedges of their plots."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.datasets.town.layout.kerbside import Kerbside, Site
from scmpr_ros.datasets.town.layout.occupancy import rectangle
from scmpr_ros.datasets.town.layout.street_network import Quarter
from scmpr_ros.datasets.town.mesh import Mesh
from scmpr_ros.datasets.town.objects import plants, street_furniture
from scmpr_ros.datasets.town.objects.buildings import build_house
from scmpr_ros.datasets.town.objects.house_styles import House, draw_house
from scmpr_ros.geometry import make_transform, rotation_z

Array = NDArray[np.float64]
Rng = np.random.Generator

_SETBACK_M = {
    Quarter.OLD_TOWN: (0.0, 0.6), Quarter.SUBURB: (2.5, 8.0),
    Quarter.INDUSTRIAL: (4.0, 14.0), Quarter.PARK: (8.0, 16.0),
}  # fmt: skip
_GAP_M = {
    Quarter.OLD_TOWN: (0.0, 0.3), Quarter.SUBURB: (2.5, 9.0),
    Quarter.INDUSTRIAL: (6.0, 18.0), Quarter.PARK: (15.0, 45.0),
}  # fmt: skip
_FENCED = {
    Quarter.OLD_TOWN: 0.45, Quarter.SUBURB: 0.85, Quarter.INDUSTRIAL: 0.7, Quarter.PARK: 0.35,
}  # fmt: skip


def place_houses(rng: Rng, site: Site) -> Mesh:
    """Houses along both sides of every street, then some in the land behind."""
    parts = [house for side in site.kerbsides() for house in _frontage(rng, side)]
    return Mesh.join(parts + _backland(rng, site))


def _frontage(rng: Rng, side: Kerbside) -> list[Mesh]:
    """March along one side of a street and build wherever a house fits."""
    parts = []
    line = float(rng.uniform(*_SETBACK_M[side.quarter]))
    s = rng.uniform(3, 9)
    while s < side.length_m - 6:
        house = draw_house(rng, side.quarter)
        setback = line if rng.random() < 0.7 else float(rng.uniform(*_SETBACK_M[side.quarter]))
        front, heading = side.at(s + house.width / 2, side.pavement_m + setback)
        # A house's y axis points away from the street: its x axis runs against the traffic.
        yaw = side.along_traffic(float(heading[0])) + np.pi
        if _try_plot(side.site, front[0], yaw, house):
            parts.append(_erect(rng, side.site, front[0], yaw, house))
            s += house.width + rng.uniform(*_GAP_M[side.quarter])
            if rng.random() < 0.07:
                s += rng.uniform(8, 22)  # a vacant plot
        else:
            s += 2.5
    return parts


def _footprint(front: Array, yaw: float, width: float, depth: float) -> Array:
    centre = front + depth / 2 * np.array([-np.sin(yaw), np.cos(yaw)])
    return rectangle(centre, yaw, width, depth, 0.4)


def _try_plot(site: Site, front: Array, yaw: float, house: House) -> bool:
    """Claim the footprint unless it meets another house or reaches over a pavement."""
    # Neighbours in a terrace touch: test a slightly smaller plan than is claimed.
    if not site.taken.is_free(_footprint(front, yaw, house.width - 0.9, house.depth - 0.5)).all():
        return False
    outline = _footprint(front, yaw, house.width, house.depth)
    if site.ground.beyond_pavement(outline).min() < -0.3:
        return False
    site.taken.claim(outline)
    return True


def _erect(rng: Rng, site: Site, front: Array, yaw: float, house: House) -> Mesh:
    """A house whose street level is the highest ground along its front."""
    level = site.ground.height(_footprint(front, yaw, house.width, 0.0)).max()
    return build_house(rng, house).transformed(
        make_transform(rotation_z(yaw), np.array([*front, level]))
    )


def _backland(rng: Rng, site: Site) -> list[Mesh]:
    """Houses off the streets, seen through gaps."""
    parts = []
    low, size = site.ground.extent
    for _ in range(70):
        position = low + rng.random(2) * size
        quarter = Quarter.SUBURB if rng.random() < 0.8 else Quarter.INDUSTRIAL
        house, yaw = draw_house(rng, quarter), rng.uniform(-np.pi, np.pi)
        plan = _footprint(position, yaw, house.width + 4, house.depth + 4)
        if site.ground.beyond_pavement(plan).min() > 6 and site.taken.is_free(plan).all():
            site.taken.claim(_footprint(position, yaw, house.width, house.depth))
            parts.append(_erect(rng, site, position, yaw, house))
    return parts


def place_fences(rng: Rng, site: Site) -> Mesh:
    """Fences, walls and hedges at the pavement's edge, plot by plot, with gateways."""
    parts: list[Mesh] = []
    for side in site.kerbsides():
        s = rng.uniform(2, 5)
        while s < side.length_m - 4:
            plot = rng.uniform(7, 19)
            if rng.random() < _FENCED[side.quarter]:
                parts += _plot_edge(rng, side, s, min(s + plot, side.length_m - 2))
            s += plot + rng.choice([0.0, rng.uniform(1.2, 3.5)])
    return Mesh.join(parts)


def _plot_edge(rng: Rng, side: Kerbside, start: float, end: float) -> list[Mesh]:
    """The street edge of one plot, left out where something stands already."""
    ground, taken = side.site.ground, side.site.taken
    beyond = side.pavement_m + rng.uniform(0.25, 0.5)
    s = np.linspace(start, end, max(2, int((end - start) / 1.4) + 1))
    xy, _ = side.at(s, beyond)
    middle = (xy[1:] + xy[:-1]) / 2
    post_clear = (ground.beyond_pavement(xy) > 0.05) & taken.is_free(xy)
    clear = post_clear[1:] & post_clear[:-1] & taken.is_free(middle)
    if not clear.any():
        return []
    points = ground.on_ground(xy)
    low, high = points[:-1][clear], points[1:][clear]
    taken.claim(np.concatenate([xy[1:][clear], xy[:-1][clear], middle[clear]]))
    if rng.random() < 0.42:
        return [plants.hedge(rng, low, high, rng.uniform(0.8, 2.1), rng.uniform(0.5, 0.9))]
    kind = street_furniture.FENCE_KINDS[rng.integers(len(street_furniture.FENCE_KINDS))]
    parts = [street_furniture.fence(rng, kind, low, high)]
    if rng.random() < 0.35:  # a hedge that looks over its fence
        step = side.at(s.mean(), beyond + 0.6)[0] - side.at(s.mean(), beyond)[0]
        inward = np.array([*step[0], 0.0])
        if taken.is_free((low + inward)[:, :2]).all():
            parts.append(plants.hedge(rng, low + inward, high + inward, rng.uniform(1.2, 2.2), 0.6))
    return parts
