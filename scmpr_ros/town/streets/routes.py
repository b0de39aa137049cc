"""Ways through a street network, as crossings in driving order."""

from __future__ import annotations

from collections import deque

import numpy as np

from scmpr_ros.errors import DatasetError
from scmpr_ros.town.streets.network import StreetNetwork

Rng = np.random.Generator

_REVISIT_M = 90.0
_SHORT = 1.15


def plan_route(network: StreetNetwork, rng: Rng, length_m: float) -> list[int]:
    """Crossings of a drive: once around a block, on over its first streets, then anywhere.

    The streets that close the loop are driven twice in the same direction; a longer route only
    goes on where a shorter one ends. A network that follows a trajectory has its own route, which
    is taken as it is. Raises DatasetError if the network holds no closed loop.
    """
    if network.route:
        return list(network.route)
    loops = _loops(network)
    if not loops:
        raise DatasetError("the street network has no closed loop to drive; use another town seed")
    around = [route_length(network, [*loop, loop[0]]) for loop in loops]
    # One of the shorter loops, so that a drive gets to its revisit.
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
    return _continued(network, rng, route, length_m + 40)


def random_route(network: StreetNetwork, rng: Rng, start: int, length_m: float) -> list[int]:
    """Crossings of a drive from `start` that never turns back; it ends early where it must.

    Raises DatasetError if no street joins `start` to another crossing.
    """
    options = network.neighbours(start)
    if not options:
        raise DatasetError(f"no street leads from crossing {start} to another crossing")
    first = options[rng.integers(len(options))]
    return _continued(network, rng, [start, first], length_m)


def route_length(network: StreetNetwork, route: list[int]) -> float:
    """Metres from crossing to crossing along the streets."""
    legs = (network.street_between(a, b) for a, b in zip(route[:-1], route[1:], strict=True))
    return float(sum(leg[0].length_m for leg in legs if leg is not None))


def _continued(network: StreetNetwork, rng: Rng, route: list[int], length_m: float) -> list[int]:
    """Go on without turning back, rather where the route has not been."""
    route = list(route)
    while route_length(network, route) < length_m:
        options = [o for o in network.neighbours(route[-1]) if o != route[-2]]
        if not options:
            break
        fresh = [o for o in options if o not in route] or options
        route.append(int(fresh[rng.integers(len(fresh))]))
    return route


def _loops(network: StreetNetwork) -> list[list[int]]:
    """For each street the shortest way back from its end to its start, where there is one."""
    loops: dict[frozenset[int], list[int]] = {}
    for street in network.streets:
        if street.end >= 0:
            way = _way(network, street.end, street.start)
            if way is not None:
                loops.setdefault(frozenset(way), way)
    return list(loops.values())


def _way(network: StreetNetwork, start: int, goal: int) -> list[int] | None:
    """The way over the fewest crossings that does not use the street that joins the two."""
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
