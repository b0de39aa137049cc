"""How a camera moves between images: by odometry, or as vehicles do."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import ConfigError
from scmpr_ros.geometry import wrap_angle
from scmpr_ros.pipeline.mixture import SCALE, SIZE, SPEED, TURN, YAW, Mixture, X, Y

Array = NDArray[np.float64]

_SLIP = 0.05
"""Share of the distance by which a vehicle moves otherwise than its speed says."""
_SCALE_CHANGES_M = 500.0
"""Distance over which odometry's scale may change by its standard deviation."""


@dataclass(frozen=True)
class MotionConfig:
    """Errors of odometry; and what is known of a camera's motion without it."""

    odometry_translation: float = 0.05
    """Standard deviation of odometry's position after one metre, in metres."""
    odometry_scale: float = 0.03
    """Standard deviation of odometry's constant error of scale, which is estimated: what a worn
    tyre or a monocular camera does."""
    odometry_yaw_deg: float = 0.5
    """Standard deviation of odometry's yaw after one metre, in degrees."""
    speed_m_s: float = 6.0
    """Mean speed before any image; used without odometry."""
    speed_deviation_m_s: float = 5.0
    """Standard deviation of that speed."""
    acceleration_m_s2: float = 3.0
    """Standard deviation of the speed's change in one second; used without odometry."""
    turn_deg_s: float = 15.0
    """Standard deviation of the turn rate before any image, and of its change in one second; used
    without odometry."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 < value < math.inf:
                raise ConfigError(f"motion.{name} must be positive, got {value}")


@dataclass(frozen=True)
class Motion:
    """How the camera moved from one image to the next.

    elapsed_s: between their stamps. T_before_now: (4, 4) pose of the camera's body axes (x forward,
    y left, z up) now in those before, from odometry; None without odometry.
    """

    elapsed_s: float
    T_before_now: Array | None = None

    @property
    def turn_rad(self) -> float:
        """Change of yaw, counter-clockwise; 0 without odometry."""
        T = self.T_before_now
        return 0.0 if T is None else math.atan2(T[1, 0], T[0, 0])


def move(mixture: Mixture, motion: Motion, config: MotionConfig) -> tuple[Mixture, float]:
    """Move all components; returns the distance in metres as well.

    Without odometry that is the mean over the components, and over what is known before any image
    for the mass that they lack.
    """
    if motion.T_before_now is not None:
        return _drive(mixture, motion, config)
    return _coast(mixture, motion.elapsed_s, config)


def _drive(mixture: Mixture, motion: Motion, config: MotionConfig) -> tuple[Mixture, float]:
    """Move by odometry, which gives speed and turn rate as well."""
    assert motion.T_before_now is not None
    forward_m, left_m = motion.T_before_now[:2, 3]
    distance_m, turn_rad = math.hypot(forward_m, left_m), motion.turn_rad
    mean = mixture.mean.copy()
    cos, sin = np.cos(mean[:, YAW]), np.sin(mean[:, YAW])
    told = np.stack([cos * forward_m - sin * left_m, sin * forward_m + cos * left_m], 1)
    step = mean[:, SCALE, None] * told
    mean[:, :2] += step
    mean[:, YAW] = wrap_angle(mean[:, YAW] + turn_rad)
    elapsed_s = max(motion.elapsed_s, 1e-3)
    mean[:, SPEED] = mean[:, SCALE] * forward_m / elapsed_s
    mean[:, TURN] = turn_rad / elapsed_s
    F = np.tile(np.diag([1.0, 1.0, 1.0, 0.0, 0.0, 1.0]), (len(mean), 1, 1))
    F[:, X, YAW], F[:, Y, YAW] = -step[:, 1], step[:, 0]
    F[:, :2, SCALE], F[:, SPEED, SCALE] = told, forward_m / elapsed_s
    # Errors of each metre are independent: variances grow with distance.
    position = config.odometry_translation**2 * distance_m
    yaw = math.radians(config.odometry_yaw_deg) ** 2 * distance_m + (_SLIP * turn_rad) ** 2
    scale = config.odometry_scale**2 * distance_m / _SCALE_CHANGES_M
    noise = [position, position, yaw, config.acceleration_m_s2**2, _turn_variance(config), scale]
    covariance = F @ mixture.covariance @ F.transpose(0, 2, 1) + np.diag(noise)
    return Mixture(mixture.weight, mean, covariance), distance_m


def _coast(mixture: Mixture, elapsed_s: float, config: MotionConfig) -> tuple[Mixture, float]:
    """Move on at the same speed and turn rate, both of which change at random."""
    mean = mixture.mean.copy()
    yaw = mean[:, YAW] + mean[:, TURN] * elapsed_s / 2
    step = mean[:, SPEED, None] * elapsed_s * np.stack([np.cos(yaw), np.sin(yaw)], 1)
    mean[:, :2] += step
    mean[:, YAW] = wrap_angle(mean[:, YAW] + mean[:, TURN] * elapsed_s)
    F = np.tile(np.eye(SIZE), (len(mean), 1, 1))
    F[:, X, YAW], F[:, Y, YAW] = -step[:, 1], step[:, 0]
    F[:, X, SPEED], F[:, Y, SPEED] = np.cos(yaw) * elapsed_s, np.sin(yaw) * elapsed_s
    F[:, X, TURN], F[:, Y, TURN] = (F[:, axis, YAW] * elapsed_s / 2 for axis in (X, Y))
    F[:, YAW, TURN] = elapsed_s
    slip = (_SLIP * config.speed_m_s * elapsed_s) ** 2
    speed, turn = config.acceleration_m_s2**2 * elapsed_s, _turn_variance(config) * elapsed_s
    noise = np.diag([slip, slip, 0.0, speed, turn, 0.0])
    covariance = F @ mixture.covariance @ F.transpose(0, 2, 1) + noise
    known = mixture.weight.sum()
    speed_m_s = mixture.weight @ np.abs(mean[:, SPEED]) + (1 - known) * config.speed_m_s
    return replace(mixture, mean=mean, covariance=covariance), float(speed_m_s) * elapsed_s


def compose(pose: Array, motion: Motion, travelled_m: float) -> Array:
    """The pose (3,), x, y and yaw, after a motion in its own axes; straight on without odometry."""
    T = motion.T_before_now
    forward_m, left_m = (travelled_m, 0.0) if T is None else T[:2, 3]
    cos, sin = math.cos(pose[YAW]), math.sin(pose[YAW])
    step = [cos * forward_m - sin * left_m, sin * forward_m + cos * left_m, motion.turn_rad]
    return np.asarray(pose + step)


def start(pose: Array, variance: Array, config: MotionConfig) -> Mixture:
    """Components of weight one at poses (N, 3), with variances (3,), whose motion is unknown."""
    N = len(pose)
    mean = np.column_stack([pose, np.full(N, config.speed_m_s), np.zeros(N), np.ones(N)])
    motion = config.speed_deviation_m_s**2, _turn_variance(config), config.odometry_scale**2
    return Mixture(np.ones(N), mean, np.tile(np.diag([*variance, *motion]), (N, 1, 1)))


def _turn_variance(config: MotionConfig) -> float:
    return math.radians(config.turn_deg_s) ** 2
