"""Drives: the poses along a route through the streets, and their times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.geometry import make_transform
from scmpr_ros.town.ground.ground import Ground
from scmpr_ros.town.streets.lanes import LANE_STEP_M, evenly, lane_path
from scmpr_ros.town.streets.routes import plan_route
from scmpr_ros.town.world import Town, stream

Array = NDArray[np.float64]
Rng = np.random.Generator

_KERB_CLEARANCE_M = 1.15
_MAX_LATERAL_M_S2 = 2.2


@dataclass(frozen=True)
class DriveConfig:
    """How a drive runs along its route.

    spacing_m: distance between poses. length_m: length of the drive. lane_shift_m, lane_jitter_m:
    mean (its sign alternates between traversals) and standard deviation of the constant lateral
    offset of a traversal. weave_m, heading_jitter_deg, pitch_jitter_deg: standard deviations of
    slow noise. reverse: drive the same streets in the other direction. max_speed_m_s,
    acceleration_m_s2: limits of `speed_profile`; lateral acceleration is limited to 2.2 m/s2.
    """

    spacing_m: float = 1.0
    length_m: float = 520.0
    lane_shift_m: float = 0.3
    lane_jitter_m: float = 0.15
    weave_m: float = 0.18
    heading_jitter_deg: float = 0.8
    pitch_jitter_deg: float = 0.4
    reverse: bool = False
    max_speed_m_s: float = 9.5
    acceleration_m_s2: float = 1.5

    def __post_init__(self) -> None:
        if self.spacing_m < LANE_STEP_M or self.length_m < 3 * self.spacing_m:
            raise ConfigError(
                f"a drive of {self.length_m} m with a pose every {self.spacing_m} m: poses are at "
                f"least {LANE_STEP_M} m apart, and there must be three of them"
            )
        if self.max_speed_m_s <= 0 or self.acceleration_m_s2 <= 0:
            raise ConfigError(
                f"a drive with max_speed_m_s {self.max_speed_m_s} and acceleration_m_s2 "
                f"{self.acceleration_m_s2} never arrives: both must be positive"
            )


def plan_drive(town: Town, traversal: int, config: DriveConfig | None = None) -> Array:
    """Base poses `T_world_base` (N, 4, 4) of one traversal: on the ground, x forward.

    All traversals of a town follow the same route. Each has its own lateral offset, its own noise
    and its own phase of the spacing, so no two traversals share a pose.
    """
    config = config or DriveConfig()
    route = plan_route(town.network, stream(town.seed, "route"), config.length_m)
    rng = stream(town.seed, "drive", traversal)
    # Odd traversals drive nearer to the middle of the road, even ones nearer to its edge.
    side = config.lane_shift_m * (-1 if traversal % 2 else 1)
    shift = float(np.clip(side + rng.normal(0, config.lane_jitter_m), -0.8, 0.8))
    line = lane_path(town.network, route, shift)
    count = min(len(line), int(config.length_m / LANE_STEP_M))
    if config.reverse:
        # Turns differ on the way back: find where it passes the end of the forward drive.
        back = lane_path(town.network, route[::-1], shift)
        share = (len(line) - count) / len(line)
        near = np.abs(np.arange(len(back)) - share * len(back)) < 20 / LANE_STEP_M
        apart = np.linalg.norm(back - line[count - 1], axis=1)
        line, count = back[int(np.where(near, apart, np.inf).argmin()) :], len(back)
    line = line[:count]
    weave = np.clip(_slow_noise(rng, len(line), 60.0) * config.weave_m, -0.3, 0.3)
    line = _keep_on_road(town.ground, line + weave[:, None] * _left(_heading(line)))
    yaw_noise = _slow_noise(rng, len(line), 20.0) * np.radians(config.heading_jitter_deg)
    pitch_noise = _slow_noise(rng, len(line), 8.0) * np.radians(config.pitch_jitter_deg)
    stride = config.spacing_m / LANE_STEP_M
    index = np.round(np.arange(rng.uniform(0, stride), len(line) - 1, stride)).astype(int)
    if len(index) < 2:
        raise DatasetError(
            f"the route of {len(line) * LANE_STEP_M:.0f} m is too short for poses every "
            f"{config.spacing_m} m: lower spacing_m, or use another town"
        )
    return _poses(town.ground, line[index], (_heading(line) + yaw_noise)[index], pitch_noise[index])


def _heading(line: Array) -> Array:
    return np.unwrap(np.arctan2(*np.gradient(line, axis=0).T[::-1]))


def _left(heading: Array) -> Array:
    return np.stack([-np.sin(heading), np.cos(heading)], axis=1)


def _keep_on_road(ground: Ground, line: Array) -> Array:
    """Push the line away from kerbs to at least `_KERB_CLEARANCE_M`."""
    for _ in range(6):
        left = _left(_heading(line))
        here = ground.beyond_kerb(line)
        slope = ground.beyond_kerb(line + 0.5 * left) - ground.beyond_kerb(line - 0.5 * left)
        excess = np.maximum(here + _KERB_CLEARANCE_M, 0) * -np.sign(slope)
        if not excess.any():
            break
        push = gaussian_filter1d(excess, 1.5 / LANE_STEP_M, mode="nearest")
        line = line + 1.3 * push[:, None] * left
    return evenly(line, LANE_STEP_M)


def _slow_noise(rng: Rng, count: int, scale_m: float) -> Array:
    """Smooth noise of unit variance along the line."""
    noise = gaussian_filter1d(rng.standard_normal(count), scale_m / LANE_STEP_M / 4, mode="wrap")
    return np.asarray(noise / max(float(noise.std()), 1e-9))


def _poses(ground: Ground, xy: Array, yaw: Array, pitch_noise: Array) -> Array:
    """Poses tilted with the road's slope, measured over a wheelbase and a track."""
    forward, left = np.stack([np.cos(yaw), np.sin(yaw)], axis=1), _left(yaw)
    relief = ground.relief
    rise = (relief(xy + 1.3 * forward) - relief(xy - 1.3 * forward)) / 2.6 + pitch_noise
    bank = (relief(xy + 0.7 * left) - relief(xy - 0.7 * left)) / 1.4
    x = np.concatenate([forward, rise[:, None]], axis=1)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    z = np.cross(x, np.concatenate([left, bank[:, None]], axis=1))
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    R = np.stack([x, np.cross(z, x), z], axis=2)
    t = np.concatenate([xy, relief(xy)[:, None]], axis=1)
    return np.stack([make_transform(r, p) for r, p in zip(R, t, strict=True)])


def speed_profile(poses: Array, config: DriveConfig | None = None) -> Array:
    """Speeds (N,) in m/s at poses (N, 4, 4), limited by curvature and acceleration."""
    config = config or DriveConfig()
    xy = poses[:, :2, 3]
    step = np.linalg.norm(np.diff(xy, axis=0), axis=1)
    if len(step) < 2:
        return np.full(len(poses), config.max_speed_m_s)
    s = np.concatenate([[0.0], np.cumsum(step)])
    curvature = np.abs(np.gradient(_heading(xy), s))
    squared = np.minimum(_MAX_LATERAL_M_S2 / np.maximum(curvature, 1e-6), config.max_speed_m_s**2)
    # Over a step ds, v**2 changes by at most 2 a ds: limit acceleration, then braking.
    gain = 2 * config.acceleration_m_s2 * step
    for i in range(len(step)):
        squared[i + 1] = min(squared[i + 1], squared[i] + gain[i])
    for i in reversed(range(len(step))):
        squared[i] = min(squared[i], squared[i + 1] + gain[i])
    return np.sqrt(squared)


def drive_times(poses: Array, config: DriveConfig | None = None) -> Array:
    """Seconds (N,) since the first of the poses (N, 4, 4), at the speeds of `speed_profile`."""
    speed = speed_profile(poses, config)
    step = np.linalg.norm(np.diff(poses[:, :2, 3], axis=0), axis=1)
    return np.concatenate([[0.0], np.cumsum(2 * step / (speed[:-1] + speed[1:]))])
