"""Rotating LiDAR: beams of an HDL-64E, noise, dropouts, intensity by material and angle.

The parameters are fitted to scans of KITTI's HDL-64E: two blocks of rings, the lowest of which are
half hidden by the car's roof; intensity in steps of 0.01 that fades to zero at 60 m.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import ConfigError
from scmpr_ros.records import PointCloud
from scmpr_ros.stages import stage
from scmpr_ros.town.materials import column
from scmpr_ros.town.sensors.scene import Hits, Scene

Array = NDArray[np.floating]
Rng = np.random.Generator

_ROOF_BELOW_M = 0.34
_ROOF_LOW, _ROOF_HIGH = (-2.0, -0.62), (0.75, 0.62)
"""Corners of the car's roof relative to the LiDAR (x forward, y left), fitted to KITTI's scans."""


@dataclass(frozen=True)
class LidarConfig:
    """Beams and errors; the defaults are those of a Velodyne HDL-64E with half its columns.

    rings: number of beams, spaced as in an HDL-64E (the lower half 1.5 times as wide as the upper)
    and scaled to the field of view. dropout: share of beams lost at random. sweep_s: duration of a
    turn, during which the car moves. compensated: whether points are motion-compensated to the
    scan's stamp, as in KITTI odometry; those of KITTI raw and KITTI-360 are not.
    """

    rings: int = 64
    columns: int = 1024
    fov_up_deg: float = 2.4
    fov_down_deg: float = -23.8
    min_range_m: float = 1.5
    max_range_m: float = 80.0
    range_noise_m: float = 0.02
    dropout: float = 0.015
    sweep_s: float = 0.1
    compensated: bool = True

    def __post_init__(self) -> None:
        if self.rings < 1 or self.columns < 1:
            raise ConfigError(
                f"a LiDAR of {self.rings} rings x {self.columns} columns: at least 1 x 1"
            )
        if self.fov_up_deg <= self.fov_down_deg:
            raise ConfigError(
                f"LiDAR field of view: top {self.fov_up_deg} deg must be above bottom "
                f"{self.fov_down_deg} deg"
            )
        if self.sweep_s < 0:
            raise ConfigError(f"a sweep of {self.sweep_s} s: must be 0 (instantaneous) or more")

    def elevations(self) -> NDArray[np.float64]:
        """Elevation of each ring in radians, from the top down."""
        step = np.where(np.arange(self.rings - 1) < self.rings // 2, 1 / 3, 1 / 2)
        below = np.concatenate([[0.0], np.cumsum(step)])
        below *= (self.fov_up_deg - self.fov_down_deg) / max(below[-1], 1e-9)
        return np.radians(self.fov_up_deg - below)

    def directions(self) -> NDArray[np.float32]:
        """Unit directions (rings * columns, 3) in the LiDAR frame, ring by ring from the top."""
        azimuth = np.pi - (np.arange(self.columns) + 0.5) * 2 * np.pi / self.columns
        e, a = np.meshgrid(self.elevations(), azimuth, indexing="ij")
        xyz = np.stack([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)], axis=-1)
        return xyz.reshape(-1, 3).astype(np.float32)


def simulate_scan(
    scene: Scene, T_world_lidar: NDArray[np.floating], config: LidarConfig, rng: Rng,
    velocity: Array | None = None, yaw_rate: float = 0.0,
) -> PointCloud:  # fmt: skip
    """Simulate one scan (N,) in the LiDAR frame, with joint labels and intensity in [0, 1].

    velocity: (3,) m/s of the LiDAR in its own frame; yaw_rate: rad/s. Each column is cast from the
    pose at its time; the stamp is the middle of the sweep. The probability of a return falls with
    range, grazing incidence, rain and fog, and with the absorption of the material (glass, dark
    paint, wet asphalt). Range noise is Gaussian along the beam.
    """
    local = config.directions()
    # Jitter of the rotating head.
    local = local + np.float32(4e-4) * rng.standard_normal(local.shape, np.float32)
    local /= np.linalg.norm(local, axis=1, keepdims=True)
    start, swept = _sweep(local, config, velocity, yaw_rate)
    R, t = T_world_lidar[:3, :3].astype(np.float32), T_world_lidar[:3, 3].astype(np.float32)
    world = swept @ R.T
    with stage("cast"):
        hits = scene.cast(start @ R.T + t, world)
    with stage("returns"):
        distance, intensity, keep = _returns(scene, hits, world, config, rng)
        keep &= ~_behind_roof(local)
        if config.compensated:
            points = start[keep] + swept[keep] * distance[keep, None]
        else:
            points = local[keep] * distance[keep, None]
    return PointCloud(points.astype(np.float32), hits.label[keep], intensity[keep])


def _sweep(
    local: Array, config: LidarConfig, velocity: Array | None, yaw_rate: float
) -> tuple[Array, Array]:
    """Origin and direction (N, 3) of each beam in the LiDAR's frame at the stamp."""
    if velocity is None and yaw_rate == 0.0:
        return np.zeros_like(local), local
    velocity = np.zeros(3) if velocity is None else np.asarray(velocity)
    column_time = ((np.arange(config.columns) + 0.5) / config.columns - 0.5) * config.sweep_s
    time = np.tile(column_time, config.rings).astype(np.float32)
    start = time[:, None] * velocity.astype(np.float32)
    c, s = np.cos(yaw_rate * time), np.sin(yaw_rate * time)
    x, y, z = local.T
    return start, np.stack([c * x - s * y, s * x + c * y, z], axis=1).astype(np.float32)


def _behind_roof(direction: Array) -> NDArray[np.bool_]:
    """Mask of beams (N, 3) that hit the roof below the LiDAR."""
    down = direction[:, 2] < -0.05
    at_roof = direction[:, :2] * (_ROOF_BELOW_M / np.maximum(-direction[:, 2:], 0.05))
    inside = (at_roof > _ROOF_LOW) & (at_roof < _ROOF_HIGH)
    return down & inside.all(axis=1)


def _returns(
    scene: Scene, hits: Hits, direction: Array, config: LidarConfig, rng: Rng
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Measured distance, intensity, and whether there is a return, each (N,)."""
    condition, material = scene.condition, hits.material
    reach = np.where(np.isfinite(hits.distance), hits.distance, np.float32(1e4))
    incidence = np.abs(np.einsum("ij,ij->i", hits.facet, direction)).clip(0.0, 1.0)
    tint = hits.colour.mean(axis=1)
    bare = column("lidar_reflectance")[material]
    reflectance = bare * (0.75 + 0.5 * np.sqrt(tint).clip(0, 1))
    flat = hits.facet[:, 2] > 0.7
    reflectance = reflectance * np.where(flat, 1 - 0.5 * condition.wetness, 1.0)
    signal = reflectance * incidence / (1 + (reach / 60.0) ** 2)
    signal *= np.exp(-2 * reach / max(8 * condition.haze_m, 200.0)) * (1 - 0.25 * condition.rain)
    lost = config.dropout + column("lidar_loss")[material]
    lost = 1 - (1 - lost) * (1 - np.exp(-signal * 150.0))
    noise = np.float32(config.range_noise_m) * rng.standard_normal(len(reach), np.float32)
    distance = (reach + noise * (1 + reach / 80.0)).astype(np.float32)
    keep = (rng.random(len(reach)) >= lost) & (distance > config.min_range_m)
    keep &= distance < config.max_range_m
    # The sensor normalises intensity over near ranges; retroreflectors saturate at any range.
    fade = np.clip(1.05 - (reach / 58.0) ** 2.2, 0, 1)
    intensity = reflectance * (0.75 + 0.25 * incidence) * fade * rng.normal(1, 0.22, len(reach))
    intensity = np.where(bare > 0.9, 0.99, intensity.clip(0, 0.99))
    return distance, (np.round(intensity * 100) / 100).astype(np.float32), keep
