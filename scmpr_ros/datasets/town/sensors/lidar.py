"""A rotating LiDAR: beams like an HDL-64's, noise, drop-outs, intensity by material and angle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.datasets.town.materials import column
from scmpr_ros.datasets.town.sensors.scene import Scene
from scmpr_ros.errors import ConfigError
from scmpr_ros.records import PointCloud

Rng = np.random.Generator


@dataclass(frozen=True)
class LidarConfig:
    """Beams and errors; the defaults are those of a Velodyne HDL-64E at half its columns."""

    rings: int = 64
    columns: int = 1024
    fov_up_deg: float = 2.0
    fov_down_deg: float = -24.8
    min_range_m: float = 2.0
    max_range_m: float = 100.0
    range_noise_m: float = 0.02
    dropout: float = 0.02

    def __post_init__(self) -> None:
        if self.rings < 1 or self.columns < 1:
            raise ConfigError(
                f"a LiDAR of {self.rings} rings x {self.columns} columns sees nothing"
            )
        if self.fov_up_deg <= self.fov_down_deg:
            raise ConfigError(
                f"LiDAR field of view: top {self.fov_up_deg} deg must be above bottom "
                f"{self.fov_down_deg} deg"
            )

    def directions(self) -> NDArray[np.float32]:
        """Unit directions (rings * columns, 3) in the LiDAR frame, ring by ring from the top."""
        elevation = np.radians(np.linspace(self.fov_up_deg, self.fov_down_deg, self.rings))
        azimuth = np.pi - (np.arange(self.columns) + 0.5) * 2 * np.pi / self.columns
        e, a = np.meshgrid(elevation, azimuth, indexing="ij")
        xyz = np.stack([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)], axis=-1)
        return xyz.reshape(-1, 3).astype(np.float32)


def simulate_scan(
    scene: Scene, T_world_lidar: NDArray[np.floating], config: LidarConfig, rng: Rng
) -> PointCloud:
    """One scan (N,) in the LiDAR frame with joint labels and intensity in [0, 1].

    The chance of a return falls with range and grazing incidence and with what the material
    swallows (glass, dark paint); range noise is Gaussian along the beam.
    """
    local = config.directions()
    # The head's rotation starts anywhere, and mirrors shake a little.
    local = local + rng.normal(0, 4e-4, local.shape).astype(np.float32)
    local /= np.linalg.norm(local, axis=1, keepdims=True)
    world = local @ T_world_lidar[:3, :3].T.astype(np.float32)
    hits = scene.cast(T_world_lidar[:3, 3].astype(np.float32), world)
    material = scene.mesh.material[hits.triangle]
    incidence = np.abs(np.einsum("ij,ij->i", hits.normal, world[hits.ray])).clip(0.0, 1.0)
    tint = scene.mesh.colour[hits.triangle].mean(axis=1)
    reflectance = column("lidar_reflectance")[material] * (0.6 + 0.8 * np.sqrt(tint).clip(0, 1))
    signal = reflectance * incidence / (1 + (hits.distance / 60.0) ** 2)
    lost = config.dropout + column("lidar_loss")[material]
    lost = 1 - (1 - lost) * (1 - np.exp(-signal * 60.0))
    noise = rng.normal(0, config.range_noise_m, len(hits.ray)).astype(np.float32)
    distance = hits.distance + noise * (1 + hits.distance / 80.0)
    keep = (rng.random(len(hits.ray)) >= lost) & (distance > config.min_range_m)
    keep &= distance < config.max_range_m
    intensity = reflectance * incidence**0.5 * (1 + rng.normal(0, 0.08, len(hits.ray)))
    return PointCloud(
        (local[hits.ray] * distance[:, None])[keep].astype(np.float32),
        scene.mesh.label[hits.triangle][keep],
        intensity.clip(0, 0.99)[keep].astype(np.float32),
    )
