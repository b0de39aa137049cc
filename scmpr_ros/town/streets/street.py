"""One street: centre line, cross section and surfacing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.town.materials import Material
from scmpr_ros.town.quarters import Quarter

Array = NDArray[np.float64]
Colour = tuple[float, float, float]

PARKING_LANE_M = 2.1
_CAR_ROOM_M = 1.3
"""Minimum distance from the middle of a car to the kerb or to parked cars."""


@dataclass(frozen=True)
class Surfacing:
    """Materials of a street and their colours, as linear albedo.

    priority: where roads meet, the lower number has the continuous surface and the right of way.
    gutter: colour of the stones along the kerb, or None without them. bay: parking bays. walk:
    pavement. edge: strip of the pavement along the plots.
    """

    priority: int = 0
    road: Material = Material.ASPHALT
    road_colour: Colour = (0.13, 0.13, 0.135)
    gutter: Colour | None = None
    bay: Material = Material.COBBLE
    bay_colour: Colour = (0.17, 0.16, 0.15)
    walk: Material = Material.PAVING
    walk_colour: Colour = (0.30, 0.29, 0.27)
    edge: Material = Material.COBBLE
    edge_colour: Colour = (0.22, 0.21, 0.20)


@dataclass(frozen=True)
class Street:
    """One street between two crossings (or a crossing and a dead end).

    line: (K, 2) centre line, a point about every metre. start, end: crossings, -1 for a dead end.
    half_width_m: centre line to kerb. pavement_m: kerb to plots, left and right, including verge_m
    of grass at the kerb. parking: whether cars park, left and right. marked: whether lanes are
    painted. median_m: width of the kerbed green strip in the middle. cycle_track: whether wide
    pavements have a cycle track. driveways: side (1 left, -1 right) and arc length of each.
    """

    line: Array
    start: int
    end: int
    half_width_m: float
    pavement_m: tuple[float, float]
    parking: tuple[bool, bool]
    quarter: Quarter
    marked: bool
    surfacing: Surfacing = Surfacing()
    verge_m: tuple[float, float] = (0.0, 0.0)
    median_m: float = 0.0
    cycle_track: bool = False
    tram: bool = False
    driveways: tuple[tuple[int, float], ...] = ()

    @cached_property
    def _arc_m(self) -> Array:
        step = np.linalg.norm(np.diff(self.line, axis=0), axis=1)
        return np.concatenate([[0.0], np.cumsum(step)])

    @cached_property
    def _tangent(self) -> Array:
        return np.gradient(self.line, axis=0)

    @property
    def length_m(self) -> float:
        """Length of the centre line."""
        return float(self._arc_m[-1])

    @property
    def lanes(self) -> int:
        """Lanes per direction, without parking lanes."""
        return 2 if self.half_width_m - self.median_m / 2 - PARKING_LANE_M > 5.6 else 1

    def frame(self, s_m: Array | float, lateral_m: Array | float = 0.0) -> tuple[Array, Array]:
        """Points (N, 2) at arc lengths (N,), `lateral_m` to the left, and headings (N,) there."""
        s_m = np.atleast_1d(np.asarray(s_m, np.float64))
        xy = np.stack([np.interp(s_m, self._arc_m, self.line[:, i]) for i in (0, 1)], axis=1)
        t = np.stack([np.interp(s_m, self._arc_m, self._tangent[:, i]) for i in (0, 1)], axis=1)
        t /= np.linalg.norm(t, axis=1, keepdims=True)
        left = np.stack([-t[:, 1], t[:, 0]], axis=1)
        lateral = np.broadcast_to(np.asarray(lateral_m, np.float64), s_m.shape)
        return xy + lateral[:, None] * left, np.arctan2(t[:, 1], t[:, 0])

    def lane_m(self, forward: bool) -> tuple[float, float, float]:
        """Middle of the outer lane of one direction, and the limits for the middle of a car.

        All are offsets from the centre line to the right of the driver. Between parked cars the
        lane is limited to the remaining width.
        """
        right, left = (1, 0) if forward else (0, 1)
        free = self.half_width_m - PARKING_LANE_M * self.parking[right]
        inner = self.median_m / 2
        lane = free - (free - inner) / (2 * self.lanes)
        far = inner or -(self.half_width_m - PARKING_LANE_M * self.parking[left])
        lowest, highest = far + _CAR_ROOM_M, free - _CAR_ROOM_M
        return float(np.clip(lane, min(lowest, highest), highest)), lowest, highest
