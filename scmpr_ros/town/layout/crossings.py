"""Crossings: their arms, and their signs and signals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from scmpr_ros.town.furniture.signals import traffic_signal
from scmpr_ros.town.furniture.signs import name_plate, traffic_sign
from scmpr_ros.town.layout.kerbside import Kerbside, Site
from scmpr_ros.town.mesh import Mesh
from scmpr_ros.town.quarters import Quarter
from scmpr_ros.town.streets.network import Street

Rng = np.random.Generator

_WIDE_M = 4.2
"""Half width above which an arm has a second signal on the other side of the road."""
_RULES = ("signals", "priority", "right_first")
_RULE_SHARES: dict[Quarter, tuple[float, float, float]] = {
    Quarter.OLD_TOWN: (0.4, 0.35, 0.25), Quarter.SUBURB: (0.1, 0.4, 0.5),
    Quarter.INDUSTRIAL: (0.25, 0.6, 0.15), Quarter.PARK: (0.1, 0.5, 0.4),
}  # fmt: skip
POSTS: dict[str, Callable[[Rng], Mesh]] = {
    "signal": traffic_signal,
    "priority": partial(traffic_sign, face_name="priority"),
    "give_way": partial(traffic_sign, face_name="give_way"),
    "name": name_plate,
}
"""Posts at crossings; all face the traffic of their kerbside."""


@dataclass(frozen=True)
class Arm:
    """A street seen from one of its crossings."""

    site: Site
    street: Street
    is_start: bool

    @property
    def heading_rad(self) -> float:
        """Heading away from the crossing, over the first 12 m of the street."""
        points = self.street.frame(np.array([self.s_m(0.0), self.s_m(12.0)]))[0]
        return float(np.arctan2(*(points[1] - points[0])[::-1]))

    def s_m(self, distance_m: float) -> float:
        """Arc length of the street at a distance from the crossing."""
        return distance_m if self.is_start else self.street.length_m - distance_m

    @property
    def left(self) -> Kerbside:
        """Kerbside on the left of the outward heading, where traffic approaches the crossing."""
        return Kerbside(self.site, self.street, 1 if self.is_start else -1)

    @property
    def right(self) -> Kerbside:
        """Kerbside on the right of the outward heading."""
        return Kerbside(self.site, self.street, -1 if self.is_start else 1)


def arms(site: Site, crossing: int) -> list[Arm]:
    """The arms of a crossing, anticlockwise."""
    found = [Arm(site, street, is_start)
             for street in site.streets
             for is_start, node in ((True, street.start), (False, street.end))
             if node == crossing]  # fmt: skip
    return sorted(found, key=lambda arm: arm.heading_rad)


def rule_crossings(rng: Rng, site: Site) -> list[Mesh]:
    """Place signals, priority signs or nothing at each crossing, and name plates."""
    parts: list[Mesh] = []
    for crossing in range(len(site.ground.network.crossings)):
        found = arms(site, crossing)
        if len(found) > 2:
            quarter = found[rng.integers(len(found))].street.quarter
            rule = _RULES[rng.choice(len(_RULES), p=_RULE_SHARES[quarter])]
            parts += _RULE_PLACERS[rule](rng, found)
        for arm in found:
            if rng.random() < 0.5:
                parts += _post(rng, arm, arm.right, "name", 0.7)
    return parts


def _signals(rng: Rng, found: list[Arm]) -> list[Mesh]:
    parts = []
    for arm in found:
        parts += _post(rng, arm, arm.left, "signal", 0.5)
        if arm.street.half_width_m > _WIDE_M:
            parts += _post(rng, arm, arm.right, "signal", 0.5, np.pi)
    return parts


def _priority(rng: Rng, found: list[Arm]) -> list[Mesh]:
    """Give priority to the two arms that are closest to a straight line."""
    heading = np.array([arm.heading_rad for arm in found])
    bend = np.abs(np.abs((heading[:, None] - heading + np.pi) % (2 * np.pi) - np.pi) - np.pi)
    bend += 10 * np.eye(len(found))
    main = np.unravel_index(bend.argmin(), bend.shape)
    parts = []
    for i, arm in enumerate(found):
        parts += _post(rng, arm, arm.left, "priority" if i in main else "give_way", 0.55)
    return parts


def _right_first(rng: Rng, found: list[Arm]) -> list[Mesh]:
    """Traffic from the right has priority, without signs."""
    return []


_RULE_PLACERS = {"signals": _signals, "priority": _priority, "right_first": _right_first}


def _post(
    rng: Rng, arm: Arm, side: Kerbside, kind: str, beyond_kerb_m: float, turn_rad: float = 0.0
) -> list[Mesh]:
    """Place a post as near to the crossing as the pavement allows."""
    for distance in np.arange(4.0, 20.0, 0.5):
        s = arm.s_m(float(distance))
        xy = side.at(s, beyond_kerb_m)[0]
        if side.site.ground.beyond_kerb(xy)[0] < beyond_kerb_m - 0.12:
            continue  # within the rounded corner
        parts = side.stand(rng, s, beyond_kerb_m, POSTS[kind], 0.15, turn_rad)
        if parts:
            return parts
    return []
