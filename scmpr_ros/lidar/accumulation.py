"""Accumulate posed scans into a map cloud of voxel means, incrementally."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.geometry import transform_points, voxel_keys
from scmpr_ros.lidar.cloud_files import choose_origin
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import IS_DYNAMIC, NUM_CLASSES

PosedScan = tuple[PointCloud, NDArray[np.float64]]
"""A scan in the LiDAR frame and its pose T_map_lidar (4, 4)."""

_FOLD_EVERY_POINTS = 4_000_000  # bounds the buffers to about 0.5 GB


@dataclass(frozen=True)
class AccumulationConfig:
    """How scans are accumulated.

    voxel_m: edge length of the voxels; each becomes a map point.
    min_hits: returns needed to keep a voxel; two remove most noise and rain.
    min_range_m, max_range_m: range of the returns used; nearer ones hit the vehicle itself, farther
        ones are too sparse.
    """

    voxel_m: float = 0.15
    min_hits: int = 2
    min_range_m: float = 2.5
    max_range_m: float = 70.0

    def __post_init__(self) -> None:
        if not self.voxel_m > 0 or self.min_hits < 1:
            raise ConfigError(
                f"voxel_m={self.voxel_m} must be positive and min_hits={self.min_hits} at least 1"
            )
        if not 0 <= self.min_range_m < self.max_range_m:
            raise ConfigError(
                f"min_range_m={self.min_range_m} must lie in [0, max_range_m={self.max_range_m})"
            )


def accumulate(
    scans: Iterable[PosedScan], config: AccumulationConfig, keep_dynamic: bool = False
) -> PointCloud:
    """Merge posed scans into a map cloud of voxel means.

    scans: iterated once; all or none of them have labels, and likewise intensity.
    keep_dynamic: keep points of dynamic classes.

    Returns a point per voxel: mean position and intensity, majority label. Coordinates are those of
    the map, minus an origin if they are large. Raises DatasetError if no points are left or the
    scans differ in their fields.
    """
    voxels: _VoxelSums | None = None
    buffer: list[PointCloud] = []
    buffered = 0
    for scan, T_map_lidar in scans:
        if voxels is None:
            voxels = _VoxelSums(config.voxel_m, choose_origin(T_map_lidar[None, :3, 3]))
        if scan.label is not None and not keep_dynamic:
            scan = scan.select(~IS_DYNAMIC[scan.label])
        buffer.append(_to_map(scan, T_map_lidar, voxels.origin, config))
        buffered += len(buffer[-1])
        if buffered > _FOLD_EVERY_POINTS:
            voxels.fold(_concatenate(buffer))
            buffer, buffered = [], 0
    if voxels is None:
        raise DatasetError("no scans to build a map from")
    voxels.fold(_concatenate(buffer))
    cloud = voxels.means(config.min_hits)
    if len(cloud) == 0:
        raise DatasetError(
            f"no voxel of {config.voxel_m} m was hit {config.min_hits} times: give more scans, "
            "larger voxels or a smaller min_hits"
        )
    return cloud


def _to_map(
    scan: PointCloud,
    T_map_lidar: NDArray[np.float64],
    origin: NDArray[np.float64],
    config: AccumulationConfig,
) -> PointCloud:
    """Transform a scan's points within range to the map frame, minus the origin."""
    range_m = np.linalg.norm(scan.xyz, axis=1)
    scan = scan.select((range_m >= config.min_range_m) & (range_m <= config.max_range_m))
    xyz = transform_points(T_map_lidar, scan.xyz + scan.origin) - origin
    return PointCloud(xyz.astype(np.float32), scan.label, scan.intensity, origin)


def _concatenate(clouds: list[PointCloud]) -> PointCloud:
    def join(name: str) -> NDArray | None:
        present = [getattr(c, name) for c in clouds if getattr(c, name) is not None]
        if present and len(present) < len(clouds):
            raise DatasetError(
                f"{len(present)} of {len(clouds)} scans have {name}: give all scans the same "
                "fields (is a label file missing?)"
            )
        return np.concatenate(present) if present else None

    if not clouds:
        return PointCloud(np.empty((0, 3), np.float32))
    xyz = np.concatenate([c.xyz for c in clouds])
    return PointCloud(xyz, join("label"), join("intensity"), clouds[0].origin)


class _VoxelSums:
    """Sums of positions, intensities and votes per voxel, sorted by voxel key."""

    def __init__(self, voxel_m: float, origin: NDArray[np.float64]) -> None:
        self.origin = origin
        self._voxel_m = voxel_m
        self._keys = np.empty(0, np.int64)
        self._sums: dict[str, NDArray] = {}

    def fold(self, cloud: PointCloud) -> None:
        """Add the points of a cloud."""
        if len(cloud) == 0:
            return
        keys = voxel_keys(cloud.xyz, self._voxel_m)
        order = np.argsort(keys, kind="stable")
        cells, starts = np.unique(keys[order], return_index=True)

        def reduce(values: NDArray) -> NDArray:
            return np.add.reduceat(values[order].astype(np.float64), starts, axis=0)

        sums = {"xyz": reduce(cloud.xyz), "hits": np.diff(starts, append=len(keys))}
        if cloud.intensity is not None:
            sums["intensity"] = reduce(cloud.intensity)
        if cloud.label is not None:
            row = np.repeat(np.arange(len(cells)), sums["hits"])
            flat = np.bincount(row * NUM_CLASSES + cloud.label[order],
                               minlength=len(cells) * NUM_CLASSES)  # fmt: skip
            sums["votes"] = flat.reshape(-1, NUM_CLASSES).astype(np.uint32)
        self._merge(cells, sums)

    def _merge(self, cells: NDArray[np.int64], sums: dict[str, NDArray]) -> None:
        if not self._sums:
            self._keys, self._sums = cells, sums
            return
        if self._sums.keys() != sums.keys():
            raise DatasetError("some scans have labels or intensity and some do not")
        keys = np.concatenate([self._keys, cells])
        order = np.argsort(keys, kind="stable")
        self._keys, starts = np.unique(keys[order], return_index=True)
        self._sums = {
            name: np.add.reduceat(np.concatenate([old, sums[name]])[order], starts, axis=0)
            for name, old in self._sums.items()
        }

    def means(self, min_hits: int) -> PointCloud:
        """One point for each voxel with at least `min_hits` returns."""
        if not self._sums:
            return PointCloud(np.empty((0, 3), np.float32), origin=self.origin)
        keep = self._sums["hits"] >= min_hits
        hits = self._sums["hits"][keep]
        votes, intensity = self._sums.get("votes"), self._sums.get("intensity")
        return PointCloud(
            (self._sums["xyz"][keep] / hits[:, None]).astype(np.float32),
            None if votes is None else votes[keep].argmax(axis=1).astype(np.uint8),
            None if intensity is None else (intensity[keep] / hits).astype(np.float32),
            self.origin,
        )
