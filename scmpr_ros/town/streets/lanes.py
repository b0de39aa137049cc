"""Lane lines: right-hand lanes joined by turns and roundabouts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from scmpr_ros.errors import DatasetError
from scmpr_ros.town.streets.network import StreetNetwork
from scmpr_ros.town.streets.plan_graph import Circle, bezier
from scmpr_ros.town.streets.street import Street

Array = NDArray[np.float64]

LANE_STEP_M = 0.25
_SMOOTH_M = 1.25
_SHORTEST_LANE_M = 3.0


def lane_path(network: StreetNetwork, route: Sequence[int], shift_m: float = 0.0) -> Array:
    """The line (N, 2) to drive along a route of crossings, a point every 0.25 m.

    It follows the outer right-hand lane, clear of parked cars. shift_m: offset to the right within
    the width of the lane. Raises DatasetError if no street joins two crossings of the route.
    """
    if len(route) < 2:
        raise DatasetError(f"a route needs two crossings, not {list(route)}")
    legs = [_leg(network, a, b) for a, b in zip(route[:-1], route[1:], strict=True)]
    gaps = [_end_gap(network, route[0])]
    gaps += [
        _gap(network, before, after, crossing)
        for before, after, crossing in zip(legs[:-1], legs[1:], route[1:-1], strict=True)
    ]
    gaps.append(_end_gap(network, route[-1]))
    joined: list[Array] = []
    for i, (street, forward) in enumerate(legs):
        trim = (gaps[i], gaps[i + 1])
        if 0 < i < len(legs) - 1 and street.length_m < sum(trim) + _SHORTEST_LANE_M:
            continue  # one turn across two crossings
        lane = _lane(street, forward, trim, shift_m)
        circle = network.circle_at(route[i])
        if joined and circle is not None:
            joined.append(_around(circle, joined[-1], lane))
        elif joined:
            joined.append(_turn(joined[-1], lane))
        joined.append(lane)
    line = evenly(np.concatenate(joined), LANE_STEP_M)
    sigma = _SMOOTH_M / LANE_STEP_M
    return evenly(gaussian_filter1d(line, sigma, axis=0, mode="nearest"), LANE_STEP_M)


def _leg(network: StreetNetwork, a: int, b: int) -> tuple[Street, bool]:
    found = network.street_between(a, b)
    if found is None:
        raise DatasetError(f"no street joins crossings {a} and {b} of the route")
    return found


def _heading(leg: tuple[Street, bool], at_end: bool) -> float:
    """Driving heading 9 m from the start or the end of a leg."""
    street, forward = leg
    near = min(9.0, street.length_m / 3)
    _, heading = street.frame(street.length_m - near if at_end == forward else near)
    return float(heading[0]) + (0.0 if forward else np.pi)


def _gap(
    network: StreetNetwork, before: tuple[Street, bool], after: tuple[Street, bool], crossing: int
) -> float:
    """Distance from a crossing at which lanes join a turn.

    It depends on the width of the road to the left, and on the angle of the kerb's corner to the
    right.
    """
    circle = network.circle_at(crossing)
    if circle is not None:
        return circle.radius_m + 7.0
    turn = (_heading(after, False) - _heading(before, True) + np.pi) % (2 * np.pi) - np.pi
    wide = max(before[0].half_width_m, after[0].half_width_m)
    if abs(turn) < np.radians(30):
        return 7.0
    if turn > 0:
        return wide + 6.0
    return float((wide + 5.0) * np.clip(np.tan(-turn / 2), 0.6, 2.5))


def _end_gap(network: StreetNetwork, crossing: int) -> float:
    circle = network.circle_at(crossing)
    return 0.0 if circle is None else circle.radius_m + 1.0


def _lane(street: Street, forward: bool, trim: tuple[float, float], shift_m: float) -> Array:
    """Line (N, 2) of the lane on one street, in driving direction, trimmed at its ends."""
    lane, lowest, highest = street.lane_m(forward)
    lane = float(np.clip(lane + shift_m, min(lowest, highest), highest))
    first, last = (min(t, street.length_m / 3) for t in trim)
    s = np.linspace(first, street.length_m - last, max(3, int(street.length_m * 2)))
    if forward:
        return street.frame(s, -lane)[0]
    return street.frame(street.length_m - s, lane)[0]


def _turn(before: Array, after: Array) -> Array:
    """A curve from the end of one line to the start of the next, tangent to both."""
    a, d = before[-1], after[0]
    t_in, t_out = before[-1] - before[-2], after[1] - after[0]
    t_in, t_out = t_in / np.linalg.norm(t_in), t_out / np.linalg.norm(t_out)
    # Handle length that approximates a circular arc for symmetric turns.
    angle = np.clip(np.arccos(np.clip(t_in @ t_out, -1, 1)), 0.1, np.pi)
    reach = np.linalg.norm(d - a) * 2 / 3 * np.tan(angle / 4) / np.sin(angle / 2)
    return bezier(a, a + reach * t_in, d - reach * t_out, d, 40)[1:-1]


def _around(circle: Circle, before: Array, after: Array) -> Array:
    """The line around a roundabout's island, counterclockwise."""
    radius = (circle.radius_m + circle.island_m) / 2
    angles = [np.arctan2(*(p - circle.centre)[::-1]) for p in (before[-1], after[0])]
    # The ring is joined a little after the entering arm.
    first, swept = angles[0] + 0.45, (angles[1] - angles[0]) % (2 * np.pi) - 0.9
    if swept < 0.1:
        return _turn(before, after)
    angle = first + np.linspace(0, swept, max(3, int(swept * radius * 2)))
    ring = circle.centre + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.concatenate([_turn(before, ring), ring, _turn(ring, after)])


def evenly(line: Array, step_m: float) -> Array:
    """Resample a line (N, 2) to points exactly `step_m` apart, dropping the remainder."""
    s = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    at = np.arange(0, s[-1], step_m)
    return np.stack([np.interp(at, s, line[:, i]) for i in (0, 1)], axis=1)
