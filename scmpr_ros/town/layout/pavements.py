"""Placing of street furniture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scmpr_ros.town.furniture.bins import litter_bin, recycling_container, wheeled_bin
from scmpr_ros.town.furniture.kerb_guards import (
    bicycle_rack,
    bollard,
    railing,
    works_barrier,
)
from scmpr_ros.town.furniture.lamps import street_lamp
from scmpr_ros.town.furniture.seating import bench, cafe_table, planter
from scmpr_ros.town.furniture.shelters import advertising_column, shelter
from scmpr_ros.town.furniture.signs import direction_board, hydrant_sign, traffic_sign
from scmpr_ros.town.furniture.street_boxes import (
    cabinet,
    parking_meter,
    post_box,
    telephone_box,
)
from scmpr_ros.town.layout.crossings import rule_crossings
from scmpr_ros.town.layout.kerbside import Kerbside, Room, Site
from scmpr_ros.town.mesh import Mesh
from scmpr_ros.town.quarters import Quarter
from scmpr_ros.town.streets.network import Street

Rng = np.random.Generator

_KERB_ZONE_M = 0.5
"""Distance of posts from the kerb."""
_WALKWAY_M = 1.1
"""Clear width between the kerb and objects at the back of the pavement."""
_BOTH_SIDES_M = 4.4
"""Half width above which lamps alternate between the sides."""


@dataclass(frozen=True)
class Fixture:
    """A kind of object that recurs on pavements.

    room: its plan. per_100_m: frequency by quarter, in the order of `Quarter`. at_kerb: place it in
    line with the posts at the kerb, not at the back of the pavement. row: how many stand together,
    pitch_m apart. in_bay: whether it may stand behind a narrow pavement.
    """

    build: Callable[[Rng], Mesh]
    room: float | Room
    per_100_m: tuple[float, float, float, float]
    at_kerb: bool = False
    row: tuple[int, int] = (1, 1)
    pitch_m: float = 0.0
    in_bay: bool = False

    def reach_m(self) -> tuple[float, float]:
        """Extent towards the road and away from it."""
        if not isinstance(self.room, Room):
            return self.room, self.room
        half = self.room.width_m / 2
        return half + self.room.middle_m, half - self.room.middle_m


FIXTURES: tuple[Fixture, ...] = (
    Fixture(shelter, Room(5.3, 1.95, 0.8), (0.35, 0.4, 0.35, 0.35), in_bay=True),
    Fixture(bicycle_rack, Room(4.7, 0.9), (0.5, 0.1, 0.1, 0.1)),
    Fixture(cafe_table, 1.2, (0.8, 0.0, 0.0, 0.0), row=(2, 5), pitch_m=2.5),
    Fixture(recycling_container, 0.85, (0.1, 0.2, 0.1, 0.1), row=(2, 3), pitch_m=1.8, in_bay=True),
    Fixture(advertising_column, 0.8, (0.5, 0.15, 0.0, 0.1)),
    Fixture(bench, Room(1.9, 0.65, 0.25), (0.5, 0.2, 0.0, 1.5), in_bay=True),
    Fixture(cabinet, Room(1.9, 0.5), (1.0, 0.9, 0.7, 0.3)),
    Fixture(telephone_box, 0.6, (0.1, 0.05, 0.0, 0.0)),
    Fixture(planter, 0.6, (0.5, 0.05, 0.0, 0.2)),
    Fixture(direction_board, Room(0.3, 1.4), (0.15, 0.1, 0.3, 0.1)),
    Fixture(works_barrier, Room(2.5, 0.9), (0.12, 0.12, 0.12, 0.0), row=(2, 4), pitch_m=2.5),
    Fixture(traffic_sign, 0.15, (1.8, 1.2, 1.2, 0.7), at_kerb=True),
    Fixture(railing, Room(2.0, 0.14), (0.3, 0.1, 0.0, 0.0), at_kerb=True, row=(2, 6), pitch_m=2.0),
    Fixture(bollard, 0.1, (1.2, 0.2, 0.0, 0.3), at_kerb=True, row=(5, 16), pitch_m=1.7),
    Fixture(parking_meter, 0.3, (0.6, 0.1, 0.0, 0.0), at_kerb=True),
    Fixture(litter_bin, 0.4, (0.8, 0.3, 0.1, 0.8), at_kerb=True),
    Fixture(post_box, 0.35, (0.25, 0.15, 0.0, 0.0)),
    Fixture(hydrant_sign, 0.15, (0.2, 0.3, 0.3, 0.1)),
    Fixture(wheeled_bin, Room(0.7, 0.75), (0.5, 1.6, 0.2, 0.3), row=(1, 3), pitch_m=0.8),
)
"""Large objects come first, as they find less room."""


def place_furniture(rng: Rng, site: Site) -> Mesh:
    """Place signs and signals of crossings, then lamps, then all fixtures."""
    parts = rule_crossings(rng, site)
    for street in site.streets:
        parts += _lamps(rng, site, street)
    for side in site.kerbsides():
        for fixture in FIXTURES:
            parts += _fixtures(rng, side, fixture)
    return Mesh.join(parts)


def _lamps(rng: Rng, site: Site, street: Street) -> list[Mesh]:
    """Place a row of equal lamps, alternating between the sides of wide streets."""
    first = int(rng.choice([-1, 1]))
    alternate = street.half_width_m > _BOTH_SIDES_M
    style = int(rng.integers(1 << 30))
    lamp = street_lamp(np.random.default_rng(style))
    parts: list[Mesh] = []
    spacing = rng.uniform(25, 33)
    for i, s in enumerate(np.arange(rng.uniform(8, 16), street.length_m - 4, spacing)):
        side = Kerbside(site, street, first * (-1) ** i if alternate else first)
        for shift in (0.0, 1.0, -1.0, 2.0, -2.0):
            found = side.stand(rng, float(s) + shift, _KERB_ZONE_M, lambda _: lamp, 0.2)
            if found:
                parts += found
                break
    return parts


def _fixtures(rng: Rng, side: Kerbside, fixture: Fixture) -> list[Mesh]:
    """Place all fixtures of one kind on one side of a street."""
    often = fixture.per_100_m[list(Quarter).index(side.quarter)] / 100
    ahead, behind = fixture.reach_m()
    beyond = _KERB_ZONE_M
    if not fixture.at_kerb:
        beyond = max(side.pavement_m - 0.1 - behind, _WALKWAY_M + ahead)
        if beyond + behind > side.pavement_m + 0.2 and not fixture.in_bay:
            return []
    parts: list[Mesh] = []
    for s in side.spread(rng, 6, 1 / often) if often else ():
        if fixture.at_kerb and fixture.row[1] > 1 and side.has_parking:
            break  # bollards and railings stand only where no cars park
        for i in range(rng.integers(fixture.row[0], fixture.row[1] + 1)):
            at = float(s) + i * fixture.pitch_m
            if at < side.length_m - 3:
                parts += side.stand(rng, at, beyond, fixture.build, fixture.room)
    return parts
