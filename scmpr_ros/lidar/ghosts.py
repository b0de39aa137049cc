"""Find ghosts, the traces of moving objects in a map, by visibility.

The space between the sensor and each return was empty when the scan was taken. A map point clearly
in front of the returns of several scans, and rarely hit itself, is therefore a ghost.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from scmpr_ros.errors import ConfigError
from scmpr_ros.geometry import invert, spherical, transform_points, voxel_keys
from scmpr_ros.lidar.accumulation import PosedScan
from scmpr_ros.lidar.ground import GroundGrid
from scmpr_ros.records import PointCloud


@dataclass(frozen=True)
class GhostConfig:
    """When a map point is a ghost.

    azimuth_step_rad, elevation_step_rad: cell size of a scan's range image, about the resolution of
        the sensor.
    min_range_m, max_range_m: range of the map points and returns used.
    margin_m, margin_per_m: a scan sees through a point if its return is this much farther, plus a
        part that grows with range, as the effect of pose errors does.
    min_seen_through: number of scans that must see through a point.
    max_confirmed_share: largest fraction of hits among the scans that see through a point or hit
        it; foliage and fences are both seen through and hit.
    block_m: edge length of the blocks over which the evidence is averaged.
    ground_height_m: points lower than this above the ground are kept, since rays graze the ground.
    scan_spacing_m: scans nearer than this to the last one are skipped as redundant.
    """

    azimuth_step_rad: float = 0.0035
    elevation_step_rad: float = 0.0075
    min_range_m: float = 2.5
    max_range_m: float = 45.0
    margin_m: float = 0.4
    margin_per_m: float = 0.02
    min_seen_through: int = 2
    max_confirmed_share: float = 0.35
    block_m: float = 0.4
    ground_height_m: float = 0.15
    scan_spacing_m: float = 1.0

    def __post_init__(self) -> None:
        for name in ("azimuth_step_rad", "elevation_step_rad", "margin_m", "block_m"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name}={getattr(self, name)} must be positive")
        if not 0 <= self.min_range_m < self.max_range_m:
            raise ConfigError(
                f"min_range_m={self.min_range_m} must lie in [0, max_range_m={self.max_range_m})"
            )
        if self.min_seen_through < 1 or not 0 <= self.max_confirmed_share < 1:
            raise ConfigError(
                f"min_seen_through={self.min_seen_through} must be at least 1 and "
                f"max_confirmed_share={self.max_confirmed_share} in [0, 1)"
            )


def remove_ghosts(
    cloud: PointCloud, scans: Iterable[PosedScan], config: GhostConfig
) -> NDArray[np.bool_]:
    """Find the points of a map to keep.

    cloud: the map. scans: with poses in the frame of `cloud.xyz + cloud.origin`.
    Returns a mask (N,), False for ghosts.
    """
    xyz = cloud.xyz
    above_ground = xyz[:, 2] - GroundGrid.of(xyz).at(xyz) > config.ground_height_m
    candidates = np.flatnonzero(above_ground)
    seen_through = np.zeros(len(candidates), np.int32)
    confirmed = np.zeros(len(candidates), np.int32)
    last_position: NDArray[np.float64] | None = None
    for scan, T_map_lidar in scans:
        position = T_map_lidar[:3, 3] - cloud.origin
        if last_position is not None and (
            np.linalg.norm(position - last_position) < config.scan_spacing_m
        ):
            continue
        last_position = position
        near = np.abs(xyz[candidates] - position).max(axis=1) < config.max_range_m
        T_lidar_map = invert(T_map_lidar)
        points = transform_points(T_lidar_map, xyz[candidates[near]] + cloud.origin)
        through, hit = _compare(points.astype(np.float32), scan, config)
        seen_through[near] += through
        confirmed[near] += hit

    ghost = np.zeros(len(cloud), bool)
    ghost[candidates] = _classify_blocks(xyz[candidates], seen_through, confirmed, config)
    return ~ghost


def _compare(
    points: NDArray[np.float32], scan: PointCloud, config: GhostConfig
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which points (N, 3) in the LiDAR frame a scan sees through, and which it hits."""
    image = _range_image(scan.xyz, config)
    # The nearest return around a ray, so that edges and grazed surfaces do not count as gaps.
    nearest = ndimage.minimum_filter(image, size=(3, 5), mode=("nearest", "wrap"))
    row, column, range_m = _cells(points, config)
    margin = config.margin_m + config.margin_per_m * range_m
    usable = (range_m >= config.min_range_m) & (range_m <= config.max_range_m)
    at_ray, around_ray = image[row, column], nearest[row, column]
    through = usable & np.isfinite(around_ray) & (around_ray > range_m + margin)
    hit = usable & ((np.abs(at_ray - range_m) < margin) | (np.abs(around_ray - range_m) < margin))
    return through, hit


def _range_image(xyz: NDArray[np.float32], config: GhostConfig) -> NDArray[np.float32]:
    """Range image of a scan: the nearest return in each cell, inf for none."""
    row, column, range_m = _cells(xyz, config)
    shape = (int(np.pi / config.elevation_step_rad) + 1, _columns(config))
    image = np.full(shape, np.inf, np.float32)
    usable = range_m >= config.min_range_m
    np.minimum.at(image, (row[usable], column[usable]), range_m[usable])
    return image


def _cells(
    xyz: NDArray[np.float32], config: GhostConfig
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    azimuth, elevation, range_m = spherical(xyz)
    row = ((elevation + np.pi / 2) / config.elevation_step_rad).astype(np.int64)
    columns = _columns(config)
    column = ((azimuth + np.pi) * (columns / (2 * np.pi))).astype(np.int64) % columns
    return row, column, range_m


def _columns(config: GhostConfig) -> int:
    return int(round(2 * np.pi / config.azimuth_step_rad))


def _classify_blocks(
    xyz: NDArray[np.float32],
    seen_through: NDArray[np.int32],
    confirmed: NDArray[np.int32],
    config: GhostConfig,
) -> NDArray[np.bool_]:
    """Find ghosts by the mean evidence of each point's block: single points are noisy."""
    _, block = np.unique(voxel_keys(xyz, config.block_m), return_inverse=True)
    size = np.bincount(block)
    through = np.bincount(block, seen_through) / size
    hit = np.bincount(block, confirmed) / size
    ghost = (through >= config.min_seen_through) & (
        hit <= config.max_confirmed_share * (through + hit)
    )
    return ghost[block]
