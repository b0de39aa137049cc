"""Routes through a street network, as crossings in driving order."""

from __future__ import annotations

from collections import deque

import numpy as np

from scmpr_ros.errors import DatasetError
from scmpr_ros.town.streets.network import StreetNetwork

Rng = np.random.Generator

_REVISIT_M = 90.0
_SHORT = 1.15


def plan_route(network: StreetNetwork, rng: Rng, length_m: float) -> list[int]:
    """Crossings of a drive: around a loop, over its first streets again, then onwards at random.

    Those first streets are revisited in the same direction. A longer route extends a shorter one. A
    network that follows a trajectory has its own route, which is returned unchanged. Raises
    DatasetError if the network has no closed loop.
    """
    if network.route:
        return list(network.route)
    loops = _loops(network)
    if not loops:
        raise DatasetError("the street network has no closed loop to drive: use another seed")
    around = [route_length(network, [*loop, loop[0]]) for loop in loops]
    # One of the shorter loops, so that the drive reaches its revisit.
    short = [loop for loop, m in zip(loops, around, strict=True) if m < _SHORT * min(around)]
    ring = short[rng.integers(len(short))]
    turn = int(rng.integers(len(ring)))
    ring = ring[turn:] + ring[:turn]
    if rng.random() < 0.5:
        ring = ring[::-1]
    route, again = [*ring, ring[0]], 1
    while route_length(network, ring[:1] + route[len(ring) + 1 :]) < _REVISIT_M:
        route.append(ring[again % len(ring)])
        again += 1
    return _extended(network, rng, route, length_m + 40)


def random_route(network: StreetNetwork, rng: Rng, start: int, length_m: float) -> list[int]:
    """Crossings of a drive from `start` without U-turns; shorter than `length_m` at dead ends.

    Raises DatasetError if no street joins `start` to another crossing.
    """
    options = network.neighbours(start)
    if not options:
        raise DatasetError(f"no street leads from crossing {start} to another crossing")
    first = options[rng.integers(len(options))]
    return _extended(network, rng, [start, first], length_m)


def route_length(network: StreetNetwork, route: list[int]) -> float:
    """Length of a route along the streets in metres."""
    legs = (network.street_between(a, b) for a, b in zip(route[:-1], route[1:], strict=True))
    return float(sum(leg[0].length_m for leg in legs if leg is not None))


def _extended(network: StreetNetwork, rng: Rng, route: list[int], length_m: float) -> list[int]:
    """Extend a route without U-turns, preferring crossings it has not visited."""
    route = list(route)
    while route_length(network, route) < length_m:
        options = [o for o in network.neighbours(route[-1]) if o != route[-2]]
        if not options:
            break
        fresh = [o for o in options if o not in route] or options
        route.append(int(fresh[rng.integers(len(fresh))]))
    return route


def _loops(network: StreetNetwork) -> list[list[int]]:
    """Distinct loops, each the shortest way from the end of a street back to its start."""
    loops: dict[frozenset[int], list[int]] = {}
    for street in network.streets:
        if street.end >= 0:
            way = _way(network, street.end, street.start)
            if way is not None:
                loops.setdefault(frozenset(way), way)
    return list(loops.values())


def _way(network: StreetNetwork, start: int, goal: int) -> list[int] | None:
    """Path over the fewest crossings that does not use the direct street; None if there is none."""
    came_from, queue = {start: start}, deque([start])
    while queue:
        here = queue.popleft()
        for there in network.neighbours(here):
            if there in came_from or (here, there) == (start, goal):
                continue
            came_from[there] = here
            if there == goal:
                way = [goal]
                while way[-1] != start:
                    way.append(came_from[way[-1]])
                return way[::-1]
            queue.append(there)
    return None
