"""Odometry that drifts, made from true poses: for drives that were recorded without any."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import ConfigError
from scmpr_ros.geometry import body_from_optical, invert, optical_from_body, rotation_z


@dataclass(frozen=True)
class OdometryNoise:
    """Errors of wheel or visual odometry."""

    drift: float = 0.02
    """Standard deviation of a drive's constant error of scale, and of its error of each metre."""
    yaw_deg_per_m: float = 0.02
    """Standard deviation of a drive's constant error of yaw, in degrees per metre."""
    yaw_deg: float = 0.3
    """Standard deviation of the error of yaw after one metre, on top, in degrees."""

    def __post_init__(self) -> None:
        for name in ("drift", "yaw_deg_per_m", "yaw_deg"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"odometry.{name} cannot be {getattr(self, name)}")


def drifting_odometry(
    T_map_camera: NDArray[np.float64], noise: OdometryNoise, seed: int
) -> NDArray[np.float64]:
    """Poses of the optical frame in a drifting frame, (N, 4, 4), from true poses (N, 4, 4)."""
    return optical_from_body(drifting_poses(body_from_optical(T_map_camera), noise, seed))


def drifting_poses(
    T_map_body: NDArray[np.float64], noise: OdometryNoise, seed: int
) -> NDArray[np.float64]:
    """Poses in a drifting frame, (N, 4, 4), from true poses (N, 4, 4) of a body with z up.

    The first pose is true.
    """
    rng = np.random.default_rng(seed)
    scale = 1 + rng.normal(0, noise.drift)
    yaw_bias = math.radians(rng.normal(0, noise.yaw_deg_per_m))
    poses = [T_map_body[0]]
    for before, now in zip(T_map_body[:-1], T_map_body[1:], strict=True):
        step = invert(before) @ now
        distance_m = float(np.linalg.norm(step[:3, 3]))
        root_m = math.sqrt(distance_m)
        turn_rad = yaw_bias * distance_m
        turn_rad += math.radians(rng.normal(0, noise.yaw_deg)) * root_m
        step[:3, 3] *= scale
        step[:2, 3] += rng.normal(0, noise.drift, 2) * root_m
        step[:3, :3] = step[:3, :3] @ rotation_z(turn_rad)
        poses.append(poses[-1] @ step)
    return np.stack(poses)
