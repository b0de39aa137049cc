"""Accumulate posed scans into a map cloud of voxel means, incrementally."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.geometry import transform_points, voxel_keys
from scmpr_ros.lidar.cloud_files import choose_origin
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import IS_DYNAMIC, NUM_CLASSES

PosedScan = tuple[PointCloud, NDArray[np.float64]]
"""A scan in the LiDAR frame and its pose T_map_lidar (4, 4)."""


class ClassifiedScan(NamedTuple):
    """A scan in the LiDAR frame, its pose, and how sure its labels are.

    T_map_lidar: (4, 4). confidence: (N,) float32 probability of each label, None for certain ones.
    """

    scan: PointCloud
    T_map_lidar: NDArray[np.float64]
    confidence: NDArray[np.float32] | None


class ClassifiedVoxels(NamedTuple):
    """A map of voxel means and how sure its labels are.

    confidence: (N,) float32, mean over the returns in a voxel of what they give to its label; None
    without labels.
    """

    cloud: PointCloud
    confidence: NDArray[np.float32] | None


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
    certain = (ClassifiedScan(scan, T_map_lidar, None) for scan, T_map_lidar in scans)
    return accumulate_classes(certain, config, keep_dynamic).cloud


def accumulate_classes(
    scans: Iterable[ClassifiedScan], config: AccumulationConfig, keep_dynamic: bool = False
) -> ClassifiedVoxels:
    """Merge scans as `accumulate` does; each return votes for its label with its confidence.

    keep_dynamic: let all returns vote, so that single wrong labels leave no holes in the map.
    Raises DatasetError as `accumulate` does.
    """
    voxels: VoxelSums | None = None
    for returns, confidence in _batches(scans, config, keep_dynamic):
        voxels = voxels or VoxelSums(config.voxel_m, returns.origin)
        voxels.fold(returns, confidence)
    assert voxels is not None
    result = voxels.means(config.min_hits)
    if len(result.cloud) == 0:
        raise no_voxels(config)
    return result


def voxel_sums(scans: Iterable[ClassifiedScan], config: AccumulationConfig) -> Iterator[VoxelSums]:
    """Sums of batches of scans, which `VoxelSums.merge` adds up, for maps larger than memory.

    Raises DatasetError as `accumulate` does.
    """
    for returns, confidence in _batches(scans, config, keep_dynamic=False):
        voxels = VoxelSums(config.voxel_m, returns.origin)
        voxels.fold(returns, confidence)
        yield voxels


def no_voxels(config: AccumulationConfig) -> DatasetError:
    """The error for scans that leave no voxel."""
    return DatasetError(
        f"no voxel of {config.voxel_m} m was hit {config.min_hits} times: give more scans, "
        "larger voxels or a smaller min_hits"
    )


def mixed_fields() -> DatasetError:
    """The error for scans that do not have the same fields."""
    return DatasetError("some scans have labels or intensity and some do not")


def _batches(
    scans: Iterable[ClassifiedScan], config: AccumulationConfig, keep_dynamic: bool
) -> Iterator[tuple[PointCloud, NDArray[np.float32] | None]]:
    """Returns of several scans in the map frame, with the confidence of their labels."""
    origin: NDArray[np.float64] | None = None
    buffer: list[ClassifiedScan] = []
    buffered = 0
    for scan, T_map_lidar, confidence in scans:
        if origin is None:
            origin = choose_origin(T_map_lidar[None, :3, 3])
        used = _used_returns(scan, config, keep_dynamic)
        in_map = _to_map(scan.select(used), T_map_lidar, origin)
        weight = None if confidence is None else confidence[used]
        buffer.append(ClassifiedScan(in_map, T_map_lidar, weight))
        buffered += len(in_map)
        if buffered > _FOLD_EVERY_POINTS:
            yield _concatenate(buffer)
            buffer, buffered = [], 0
    if origin is None:
        raise DatasetError("no scans to build a map from")
    if buffer:
        yield _concatenate(buffer)


def _used_returns(
    scan: PointCloud, config: AccumulationConfig, keep_dynamic: bool
) -> NDArray[np.bool_]:
    """Mask (N,) of the returns within range, without dynamic classes unless they are kept."""
    range_m = np.linalg.norm(scan.xyz, axis=1)
    used = (range_m >= config.min_range_m) & (range_m <= config.max_range_m)
    if scan.label is not None and not keep_dynamic:
        used &= ~IS_DYNAMIC[scan.label]
    return used


def _to_map(
    scan: PointCloud, T_map_lidar: NDArray[np.float64], origin: NDArray[np.float64]
) -> PointCloud:
    """Transform a scan to the map frame, minus the origin."""
    xyz = transform_points(T_map_lidar, scan.xyz + scan.origin) - origin
    return PointCloud(xyz.astype(np.float32), scan.label, scan.intensity, origin)


def _concatenate(
    scans: list[ClassifiedScan],
) -> tuple[PointCloud, NDArray[np.float32] | None]:
    """The points of scans in the map frame, and the confidence of their labels."""

    def join(name: str, arrays: list[NDArray | None]) -> NDArray | None:
        present = [array for array in arrays if array is not None]
        if present and len(present) < len(arrays):
            raise DatasetError(
                f"{len(present)} of {len(arrays)} scans have {name}: give all scans the same "
                "fields (is a label file missing?)"
            )
        return np.concatenate(present) if present else None

    clouds = [scan.scan for scan in scans]
    label = join("label", [cloud.label for cloud in clouds])
    intensity = join("intensity", [cloud.intensity for cloud in clouds])
    xyz = np.concatenate([cloud.xyz for cloud in clouds])
    confidence = join("confidence", [scan.confidence for scan in scans])
    return PointCloud(xyz, label, intensity, clouds[0].origin), confidence


class VoxelSums:
    """Sums of positions, intensities and votes per voxel, sorted by voxel key."""

    def __init__(self, voxel_m: float, origin: NDArray[np.float64]) -> None:
        self.origin = origin
        self._voxel_m = voxel_m
        self._keys = np.empty(0, np.int64)
        self._sums: dict[str, NDArray] = {}

    def fold(self, cloud: PointCloud, confidence: NDArray[np.float32] | None = None) -> None:
        """Add the points of a cloud; confidence: (N,) weight of their votes, None for one."""
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
            weight = None if confidence is None else confidence[order]
            flat = np.bincount(row * NUM_CLASSES + cloud.label[order], weight,
                               minlength=len(cells) * NUM_CLASSES)  # fmt: skip
            sums["votes"] = flat.reshape(-1, NUM_CLASSES).astype(np.float32)
        self._merge(cells, sums)

    def __len__(self) -> int:
        return len(self._keys)

    def records(self) -> NDArray[np.void]:
        """The sums as a structured array (V,), for files; see `of_records`."""
        fields = [("key", np.int64)]
        fields += [(name, v.dtype, v.shape[1:]) for name, v in self._sums.items()]  # type: ignore[misc]
        rows = np.empty(len(self), fields)
        rows["key"] = self._keys
        for name, values in self._sums.items():
            rows[name] = values
        return rows

    @classmethod
    def of_records(
        cls, rows: NDArray[np.void], voxel_m: float, origin: NDArray[np.float64]
    ) -> VoxelSums:
        """Add up the `records` of several batches, in the order of the batches."""
        voxels = cls(voxel_m, origin)
        names = [name for name in rows.dtype.names or () if name != "key"]
        voxels._merge(rows["key"][:0], {name: rows[name][:0] for name in names})
        voxels._merge(rows["key"], {name: rows[name] for name in names})
        return voxels

    def _merge(self, cells: NDArray[np.int64], sums: dict[str, NDArray]) -> None:
        if not self._sums:
            self._keys, self._sums = cells, sums
            return
        if self._sums.keys() != sums.keys():
            raise mixed_fields()
        keys = np.concatenate([self._keys, cells])
        order = np.argsort(keys, kind="stable")
        self._keys, starts = np.unique(keys[order], return_index=True)
        self._sums = {
            name: np.add.reduceat(np.concatenate([old, sums[name]])[order], starts, axis=0)
            for name, old in self._sums.items()
        }

    def means(self, min_hits: int) -> ClassifiedVoxels:
        """One point for each voxel with at least `min_hits` returns."""
        if not self._sums:
            return ClassifiedVoxels(
                PointCloud(np.empty((0, 3), np.float32), origin=self.origin), None
            )
        keep = self._sums["hits"] >= min_hits
        hits = self._sums["hits"][keep]
        votes, intensity = self._sums.get("votes"), self._sums.get("intensity")
        label = confidence = None
        if votes is not None:
            votes = votes[keep]
            label = votes.argmax(axis=1).astype(np.uint8)
            confidence = (votes.max(axis=1) / hits).astype(np.float32)
        cloud = PointCloud(
            (self._sums["xyz"][keep] / hits[:, None]).astype(np.float32),
            label,
            None if intensity is None else (intensity[keep] / hits).astype(np.float32),
            self.origin,
        )
        return ClassifiedVoxels(cloud, confidence)
