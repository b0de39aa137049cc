"""Traffic of a traversal: vehicles and cyclists in lanes, people on pavements.

Every mover has a path and a speed, so its position is a function of time. Vehicles that would come
too close to the recording car or to each other are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.town.layout.kerbside import Kerbside, Site
from scmpr_ros.town.mesh import EMPTY, Mesh
from scmpr_ros.town.quarters import Quarter
from scmpr_ros.town.streets.lanes import LANE_STEP_M, evenly, lane_path
from scmpr_ros.town.streets.routes import random_route
from scmpr_ros.town.vehicles.pool import Pool

Array = NDArray[np.float64]
Rng = np.random.Generator

_STREET_M_PER_VEHICLE = 75.0
_STREET_M_PER_CYCLIST = 260.0
_PAVEMENT_M_PER_WALKER = {
    Quarter.OLD_TOWN: 45.0, Quarter.SUBURB: 130.0, Quarter.INDUSTRIAL: 200.0, Quarter.PARK: 80.0,
}  # fmt: skip
_SAFE_M = 2.3
"""Minimum distance between the middles of two vehicles' thirds."""


@dataclass(frozen=True)
class Mover:
    """An object that moves along a path.

    mesh: about the origin, x forward. path: (K, 2) points every `LANE_STEP_M`. start_m: position on
    the path at time 0. length_m: length of the object. turns_back: whether it goes back and forth
    instead of disappearing at the end of its path.
    """

    mesh: Mesh
    path: Array
    start_m: float
    speed_m_s: float
    length_m: float
    turns_back: bool = False

    def at(self, time_s: Array | float, ahead_m: float = 0.0) -> tuple[Array, Array]:
        """Positions (N, 2) and headings (N,) at times (N,), of a point `ahead_m` before its middle.

        Positions are NaN off the path.
        """
        s = self.start_m + self.speed_m_s * np.atleast_1d(np.asarray(time_s, np.float64))
        end = (len(self.path) - 1) * LANE_STEP_M
        way, gone = np.ones(len(s)), np.zeros(len(s), bool)
        if self.turns_back:
            phase = s % (2 * end)
            way = np.where(phase < end, 1.0, -1.0)
            s = np.where(phase < end, phase, 2 * end - phase)
        else:
            gone = (s < 0) | (s > end)
        index = np.clip(s + way * ahead_m, 0, end) / LANE_STEP_M
        before = np.clip(index.astype(int), 0, len(self.path) - 2)
        step = self.path[before + 1] - self.path[before]
        xy = self.path[before] + (index - before)[:, None] * step
        xy[gone] = np.nan
        return xy, np.arctan2(way * step[:, 1], way * step[:, 0])

    def thirds(self, times_s: Array) -> Array:
        """Middles (N, 3, 2) of its rear, middle and front third at times (N,)."""
        reach = (-self.length_m / 3, 0.0, self.length_m / 3)
        return np.stack([self.at(times_s, ahead)[0] for ahead in reach], axis=1)


@dataclass(frozen=True)
class Traffic:
    """All movers of one traversal."""

    site: Site
    movers: tuple[Mover, ...] = field(default=())

    def at(self, time_s: float, around: Array, reach_m: float = 90.0) -> Mesh:
        """Mesh of the movers within `reach_m` of a point (2,) at a time."""
        places = [mover.at(time_s) for mover in self.movers]
        near = [i for i, (xy, _) in enumerate(places)
                if np.hypot(*(xy[0] - around)) < reach_m]  # fmt: skip  # False for NaN
        if not near:
            return EMPTY
        xy, yaw = (np.concatenate([places[i][k] for i in near]) for k in (0, 1))
        poses = self.site.on_wheels(xy, yaw)
        return Mesh.join(
            self.movers[i].mesh.transformed(T) for i, T in zip(near, poses, strict=True)
        )


def plan_traffic(rng: Rng, site: Site, pool: Pool, drive_xy: Array, stamps_s: Array) -> Traffic:
    """Draw movers that keep clear of a drive, (N, 2) at stamps (N,), and of each other."""
    heading = np.gradient(drive_xy, axis=0)
    heading /= np.maximum(np.linalg.norm(heading, axis=1, keepdims=True), 1e-9)
    steps = np.array([-1.4, 0.0, 1.4])[None, :, None]
    taken = [drive_xy[:, None] + steps * heading[:, None]]
    movers = []
    for mover in _candidates(rng, site, pool, float(stamps_s[-1])):
        own = mover.thirds(stamps_s)
        if all(_keep_clear(own, other) for other in taken):
            movers.append(mover)
            taken.append(own)
    return Traffic(site, (*movers, *_walkers(rng, site, pool)))


def _keep_clear(a: Array, b: Array) -> bool:
    distance = np.linalg.norm(a[:, :, None] - b[:, None], axis=-1)
    return not (distance < _SAFE_M).any()


def _candidates(rng: Rng, site: Site, pool: Pool, duration_s: float) -> Iterator[Mover]:
    """Vehicles and cyclists on random routes, mostly longer than the drive."""
    network = site.ground.network
    total_m = sum(s.length_m for s in site.streets)
    kinds = ((_STREET_M_PER_VEHICLE, False), (_STREET_M_PER_CYCLIST, True))
    for metres, on_bicycle in kinds:
        for _ in range(int(total_m / metres)):
            start = int(rng.integers(len(network.crossings)))
            speed = float(rng.uniform(3.5, 6.0) if on_bicycle else rng.uniform(6.5, 10.5))
            ahead_m = float(rng.uniform(0, 500))
            route = random_route(network, rng, start, 400.0 + ahead_m + speed * duration_s)
            path = lane_path(network, route)
            if on_bicycle:
                mesh, length, path = pool.cyclist(rng), 1.9, _shifted(path, 0.9)
            else:
                mesh, length, _ = pool.driving_vehicle(rng)
            yield Mover(mesh, path, ahead_m, speed, float(length))


def _shifted(path: Array, right_m: float) -> Array:
    """The path shifted to the right, resampled evenly."""
    tangent = np.gradient(path, axis=0)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)
    return evenly(path + right_m * np.stack([tangent[:, 1], -tangent[:, 0]], axis=1), LANE_STEP_M)


def _walkers(rng: Rng, site: Site, pool: Pool) -> Iterator[Mover]:
    """People who walk back and forth on free stretches of pavement."""
    for side in site.kerbsides():
        count = rng.poisson(side.length_m / _PAVEMENT_M_PER_WALKER[side.quarter])
        for _ in range(count):
            mover = _walker(rng, side, pool)
            if mover is not None:
                yield mover


def _walker(rng: Rng, side: Kerbside, pool: Pool) -> Mover | None:
    beyond = rng.uniform(0.6, max(0.7, side.pavement_m - 0.5))
    stretches = [s for s in side.free_stretches(beyond, 0.35) if s[1] - s[0] > 8.0]
    if not stretches:
        return None
    low, high = stretches[rng.integers(len(stretches))]
    path, _ = side.at(np.arange(low, high, LANE_STEP_M), beyond)
    speed = rng.uniform(0.9, 1.7)
    return Mover(pool.person(rng), path, rng.uniform(0, 1e3), speed, 0.5, turns_back=True)
