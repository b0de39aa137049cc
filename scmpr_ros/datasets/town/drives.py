"""Drives: a route through the streets with a loop and a revisit, and the poses along it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from scmpr_ros.datasets.town.layout.street_network import StreetNetwork
from scmpr_ros.datasets.town.world import Town, stream
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.geometry import make_transform

Array = NDArray[np.float64]
Rng = np.random.Generator


@dataclass(frozen=True)
class DriveConfig:
    """How a drive runs along its route.

    spacing_m: distance between poses. length_m: where the drive ends. lane_shift_m, lane_jitter_m:
    mean (its sign alternates) and standard deviation of a traversal's constant shift within its
    lane. weave_m, heading_jitter_deg, pitch_jitter_deg: standard deviations of slow swaying.
    """

    spacing_m: float = 1.0
    length_m: float = 520.0
    lane_shift_m: float = 0.3
    lane_jitter_m: float = 0.15
    weave_m: float = 0.18
    heading_jitter_deg: float = 0.8
    pitch_jitter_deg: float = 0.4

    def __post_init__(self) -> None:
        if self.spacing_m <= 0 or self.length_m <= self.spacing_m:
            raise ConfigError(
                f"a drive of {self.length_m} m with a pose every {self.spacing_m} m has no poses"
            )


def plan_route(network: StreetNetwork, rng: Rng, length_m: float) -> list[int]:
    """Crossings in driving order: once around a block, then on over its first street.

    The revisit is the street that closes the loop: it is driven twice in the same direction.
    Raises DatasetError if the network holds no closed loop.
    """
    for block in rng.permutation(np.array(_blocks(network), dtype=object)):
        ring = [int(n) for n in block]
        turn = int(rng.integers(len(ring)))
        ring = ring[turn:] + ring[:turn]
        if rng.random() < 0.5:
            ring = ring[::-1]
        route = [*ring, ring[0], ring[1]]
        while _route_length(network, route) < length_m + 40:
            step = _next_crossing(network, rng, route)
            if step is None:
                break
            route.append(step)
        return route
    raise DatasetError("the street network has no closed loop to drive; use another town seed")


def _blocks(network: StreetNetwork) -> list[tuple[int, ...]]:
    """All loops over four crossings, each once."""
    count = len(network.crossings)
    near: list[set[int]] = [set() for _ in range(count)]
    for s in network.streets:
        if s.end >= 0:
            near[s.start].add(s.end)
            near[s.end].add(s.start)
    loops = {
        frozenset((a, b, c, d)): (a, b, c, d)
        for a in range(count)
        for b in near[a]
        for c in near[b] - {a}
        for d in (near[c] & near[a]) - {b}
    }
    return list(loops.values())


def _next_crossing(network: StreetNetwork, rng: Rng, route: list[int]) -> int | None:
    """Go on without turning back, rather where the route has not been."""
    here, before = route[-1], route[-2]
    options = [s.end if s.start == here else s.start for s in network.streets
               if here in (s.start, s.end) and s.end >= 0]  # fmt: skip
    options = [o for o in options if o != before]
    if not options:
        return None
    fresh = [o for o in options if o not in route] or options
    return int(fresh[rng.integers(len(fresh))])


def _route_length(network: StreetNetwork, route: list[int]) -> float:
    legs = zip(route[:-1], route[1:], strict=True)
    return float(sum(np.linalg.norm(network.crossings[a] - network.crossings[b]) for a, b in legs))


def _lane_line(network: StreetNetwork, route: list[int], shift_m: float) -> Array:
    """The driven line (N, 2), a point every 0.25 m: right-hand lanes joined by smooth turns."""
    pieces = []
    for a, b in zip(route[:-1], route[1:], strict=True):
        found = network.street_between(a, b)
        if found is None:
            raise DatasetError(f"no street joins crossings {a} and {b} of the route {route}")
        street, forward = found
        on_right = street.parking[1 if forward else 0]
        free = street.half_width_m - (2.1 if on_right else 0.0)
        lane = np.clip(free / 2, 0.35, max(0.35, free - 1.15)) + shift_m
        lane = min(lane, free - 1.0)
        trim = min(11.0, street.length_m / 3)
        s = np.arange(trim, street.length_m - trim, 0.5)
        xy, _ = street.frame(s if forward else s[::-1], -lane if forward else lane)
        pieces.append(xy)
    joined = [pieces[0]]
    for before, after in zip(pieces[:-1], pieces[1:], strict=True):
        joined += [_turn(before, after), after]
    line = _resample(np.concatenate(joined), 0.25)
    return _resample(gaussian_filter1d(line, 5.0, axis=0, mode="nearest"), 0.25)


def _turn(before: Array, after: Array) -> Array:
    """A cubic Bezier from the end of one piece to the start of the next, tangent to both."""
    a, d = before[-1], after[0]
    t_in, t_out = before[-1] - before[-2], after[1] - after[0]
    reach = 0.45 * np.linalg.norm(d - a)
    b = a + reach * t_in / np.linalg.norm(t_in)
    c = d - reach * t_out / np.linalg.norm(t_out)
    t = np.linspace(0, 1, 24)[1:-1, None]
    return (1 - t) ** 3 * a + 3 * t * (1 - t) ** 2 * b + 3 * t**2 * (1 - t) * c + t**3 * d


def _resample(line: Array, step_m: float) -> Array:
    s = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    at = np.arange(0, s[-1], step_m)
    return np.stack([np.interp(at, s, line[:, i]) for i in (0, 1)], axis=1)


def plan_drive(town: Town, traversal: int, config: DriveConfig | None = None) -> Array:
    """Base poses `T_world_base` (N, 4, 4) of one traversal: on the ground, x forward.

    All traversals of a town follow the same route; each has its own place in the lane, its own
    swaying and its own phase of the spacing, so that no pose is met twice.
    """
    config = config or DriveConfig()
    route = plan_route(town.network, stream(town.seed, "route"), config.length_m)
    rng = stream(town.seed, "drive", traversal)
    # Odd traversals keep to the middle of the road, even ones to its edge.
    side = config.lane_shift_m * (-1 if traversal % 2 else 1)
    shift = float(np.clip(side + rng.normal(0, config.lane_jitter_m), -0.8, 0.8))
    line = _lane_line(town.network, route, shift)
    heading = np.unwrap(np.arctan2(*np.gradient(line, axis=0).T[::-1]))
    weave = _slow_noise(rng, len(line), 60.0) * config.weave_m
    yaw_noise = _slow_noise(rng, len(line), 20.0) * np.radians(config.heading_jitter_deg)
    pitch_noise = _slow_noise(rng, len(line), 8.0) * np.radians(config.pitch_jitter_deg)
    stride = max(1, round(config.spacing_m / 0.25))
    phase = int(rng.integers(stride))
    index = np.arange(phase, min(len(line), int(config.length_m / 0.25)), stride)
    left = np.stack([-np.sin(heading), np.cos(heading)], axis=1)
    xy = line + weave[:, None] * left
    return _poses(town, xy[index], (heading + yaw_noise)[index], pitch_noise[index])


def _slow_noise(rng: Rng, count: int, scale_m: float) -> Array:
    """Smooth unit-variance noise along the line (0.25 m steps)."""
    noise = gaussian_filter1d(rng.standard_normal(count), scale_m / 0.25 / 4, mode="wrap")
    return noise / max(float(noise.std()), 1e-9)


def _poses(town: Town, xy: Array, yaw: Array, pitch_noise: Array) -> Array:
    """Poses that lie on the road's slope, over the length of a wheelbase."""
    forward = np.stack([np.cos(yaw), np.sin(yaw)], axis=1)
    left = np.stack([-forward[:, 1], forward[:, 0]], axis=1)
    relief = town.ground.relief
    rise = (relief(xy + 1.3 * forward) - relief(xy - 1.3 * forward)) / 2.6 + pitch_noise
    bank = (relief(xy + 0.7 * left) - relief(xy - 0.7 * left)) / 1.4
    x = np.concatenate([forward, rise[:, None]], axis=1)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    z = np.cross(x, np.concatenate([left, bank[:, None]], axis=1))
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    R = np.stack([x, np.cross(z, x), z], axis=2)
    t = np.concatenate([xy, relief(xy)[:, None]], axis=1)
    return np.stack([make_transform(r, p) for r, p in zip(R, t, strict=True)])


PATH_STEP_M = 0.25  # STUB
lane_path = random_route = drive_times = None
