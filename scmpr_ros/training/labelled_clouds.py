"""Clouds with labels that the networks of map points learn from (`training.point_segmentation`).

Each recording with labelled scans gives the map accumulated from its true poses, maps from wrong
poses, a map with noise, and single scans. Vehicles, moving and parked, stay in, as in maps without
labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from scmpr_ros.datasets.bags.options import BagReaderConfig
from scmpr_ros.datasets.drive import Drive
from scmpr_ros.datasets.recordings import open_drives
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.lidar.accumulation import AccumulationConfig, PosedScan, accumulate
from scmpr_ros.lidar.point_shape import DescribedVoxels, describe_points
from scmpr_ros.pipeline.map_source import drives_share_frame
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import IGNORE, NUM_CLASSES
from scmpr_ros.training.preparation import RecordingSource, finished_recordings


@dataclass(frozen=True, kw_only=True)
class LabelledCloudConfig:
    """Which clouds each recording gives.

    blurred: maps from wrong poses, beside the true map and one with noise.
    position_error_m, angle_error_deg: largest standard deviations of these poses.
    single_scans: number of single scans.
    voxels: largest number of voxels of each cloud to learn from.
    """

    blurred: int = 1
    position_error_m: float = 0.15
    angle_error_deg: float = 0.4
    single_scans: int = 4
    voxels: int = 60_000
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.blurred, self.single_scans, self.position_error_m, self.angle_error_deg) < 0:
            raise ConfigError("blurred, single_scans and the errors cannot be negative")
        if self.voxels < 1:
            raise ConfigError("voxels must be positive")


class LabelledVoxels(NamedTuple):
    """The voxels of a cloud with their features and classes.

    chosen: (S,) indices of voxels to learn from. label: (S,) uint8 joint ids of these.
    """

    described: DescribedVoxels
    chosen: NDArray[np.int64]
    label: NDArray[np.uint8]

    def save(self, path: Path) -> None:
        """Write what learning needs; features in half precision, as they are many."""
        centre, height_m, features, _ = self.described
        np.savez(
            path, centre=centre.astype(np.float32), height_m=height_m.astype(np.float32),
            features=features.astype(np.float16), chosen=self.chosen, label=self.label,
        )  # fmt: skip

    @classmethod
    def load(cls, path: Path) -> LabelledVoxels:
        """Read a file of `save`; the voxels of single points are not kept."""
        with np.load(path, allow_pickle=False) as file:
            described = DescribedVoxels(
                file["centre"], file["height_m"], file["features"].astype(np.float32),
                np.empty(0, np.int64),
            )  # fmt: skip
            return cls(described, file["chosen"], file["label"])


def find_labelled(folder: Path, bag: BagReaderConfig | None = None) -> list[RecordingSource]:
    """Recordings with scans in a folder, or the folder itself. Images are not needed.

    Drives that share the frame of a map.ply count as one.
    bag: options of all recordings that are bags.
    """
    bag = bag or BagReaderConfig()
    found = []
    for recording in finished_recordings(folder):
        scanning = [drive for drive in open_drives(recording, bag=bag) if drive.scan_frames]
        if scanning and drives_share_frame(recording):
            found.append(RecordingSource(recording, bag=bag))
        else:
            found += [RecordingSource(recording, drive.name, bag) for drive in scanning]
    return found


def labelled_voxels(
    source: RecordingSource, config: LabelledCloudConfig
) -> Iterator[LabelledVoxels]:
    """Voxels of the clouds of one recording, at most `config.voxels` of each chosen at random."""
    rng = random_of(source, config)
    for cloud, label in labelled_clouds(source, config, rng):
        described = describe_points(cloud.xyz, cloud.intensity)
        size = len(described.features)
        votes = np.bincount(described.voxel * NUM_CLASSES + label, minlength=size * NUM_CLASSES)
        votes = votes.reshape(-1, NUM_CLASSES)
        votes[:, IGNORE] = 0
        chosen = rng.permutation(np.flatnonzero(votes.any(axis=1)))[: config.voxels]
        yield LabelledVoxels(described, chosen, votes[chosen].argmax(axis=1).astype(np.uint8))


def random_of(source: RecordingSource, config: LabelledCloudConfig) -> np.random.Generator:
    """A generator of a recording's own, so that its clouds do not depend on the others."""
    return np.random.default_rng([config.seed, *source.name.encode()])


def labelled_clouds(
    source: RecordingSource, config: LabelledCloudConfig, rng: np.random.Generator
) -> Iterator[tuple[PointCloud, NDArray[np.uint8]]]:
    """The recording's map from true and from wrong poses, and single scans, with their labels.

    Raises DatasetError if its scans have no labels.
    """
    drives = open_drives(*source)
    drive = next(drive for drive in drives if drive.scan_frames)
    if drive.scan(drive.scan_frames[0]).label is None:
        raise DatasetError(f"{source.folder}: fitting a segmenter needs labelled scans")
    for number, error in enumerate((0.0, *rng.uniform(0, 1, config.blurred))):
        scans = _posed_scans(drive, error * config.position_error_m,
                             error * config.angle_error_deg, rng)  # fmt: skip
        cloud = accumulate(scans, AccumulationConfig(), keep_dynamic=True)
        yield cloud, _label(cloud)
        if number == 0:
            deviation_m = rng.uniform(0, config.position_error_m)
            noise_m = rng.normal(0, deviation_m, cloud.xyz.shape)
            noisy = replace(cloud, xyz=(cloud.xyz + noise_m).astype(np.float32))
            yield noisy, _label(noisy)
    count = min(config.single_scans, len(drive.scan_frames))
    for frame in rng.choice(np.array(drive.scan_frames), count, replace=False):
        scan = drive.scan(int(frame))
        yield scan, _label(scan)


def _label(cloud: PointCloud) -> NDArray[np.uint8]:
    assert cloud.label is not None  # `accumulate` refuses to mix scans with and without labels
    return cloud.label


def _posed_scans(
    drive: Drive, position_error_m: float, angle_error_deg: float, rng: np.random.Generator
) -> Iterator[PosedScan]:
    """Yield all scans of a drive with independent pose errors of these standard deviations.

    Errors along z and about x and y are half as large, as those of wheel or LiDAR odometry.
    """
    for frame in drive.scan_frames:
        pose = drive.T_world_lidar(frame).copy()
        turn = rng.normal(0, 1, 3) * angle_error_deg * np.array([1.0, 0.5, 0.5])
        pose[:3, :3] = Rotation.from_euler("ZYX", turn, degrees=True).as_matrix() @ pose[:3, :3]
        pose[:3, 3] += rng.normal(0, 1, 3) * position_error_m * np.array([1.0, 1.0, 0.5])
        yield drive.scan(frame), pose
