"""The first step of building a map: from files to a static, labelled point cloud.

A source gives one cloud. Ghosts of moving objects are removed from it, its points get their classes
(3DSegmentation in eq. 5), and then everything that can drive away is removed as well.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from scmpr_ros.cancellation import raise_if_cancelled
from scmpr_ros.datasets.drive import Drive, FrameReader
from scmpr_ros.datasets.recordings import is_recording, open_drives
from scmpr_ros.errors import DatasetError
from scmpr_ros.geometry import make_transform
from scmpr_ros.lidar.accumulation import AccumulationConfig, PosedScan, accumulate
from scmpr_ros.lidar.cloud_files import read_cloud
from scmpr_ros.lidar.ghosts import GhostConfig, remove_ghosts
from scmpr_ros.lidar.ground_ghosts import GroundGhostConfig, remove_ghosts_by_ground
from scmpr_ros.lidar.point_cloud_map import PointCloudMap
from scmpr_ros.lidar.segmentation import point_confusion, segment_with_confidence
from scmpr_ros.lidar.vehicle_remains import remove_vehicle_remains
from scmpr_ros.records import PointCloud

_log = logging.getLogger(__name__)
PREBUILT_MAP = "map.ply"


@dataclass(frozen=True)
class MapSourceConfig:
    """How a map source is read.

    sequence: the drive to map in a folder with several; empty takes the only one with scans.
    label_set: the label set of a cloud file, see `read_cloud`.
    skip_bad: skip damaged scans with a warning instead of stopping at the first.
    ghosts: removal of ghosts by scans. ground_ghosts: by the ground, for clouds without scans.
    """

    sequence: str = ""
    label_set: str = "auto"
    skip_bad: bool = False
    accumulation: AccumulationConfig = field(default_factory=AccumulationConfig)
    ghosts: GhostConfig = field(default_factory=GhostConfig)
    ground_ghosts: GroundGhostConfig = field(default_factory=GroundGhostConfig)


def load_point_cloud_map(source: Path, config: MapSourceConfig) -> PointCloudMap:
    """Make the map of a point cloud file, or of a recording that `open_drives` knows.

    Raises DatasetError for sources that are missing or hold nothing usable.
    """
    return load_labelled_cloud(source, config).static_map()


@dataclass(frozen=True)
class LabelledCloud:
    """The labelled points that a map is made of, before dynamic classes are removed.

    confidence: (N,) float32 probability of each label, None if the source came with labels.
    trajectory, confusion: as in `PointCloudMap`; confusion is None if the labels are correct.
    """

    cloud: PointCloud
    confidence: NDArray[np.float32] | None
    trajectory: NDArray[np.float64] | None
    confusion: NDArray[np.float32] | None

    def static_map(self) -> PointCloudMap:
        """The map of the points of static classes."""
        point_map = PointCloudMap.of(self.cloud, self.trajectory, self.confusion)
        dynamic = len(self.cloud) - len(point_map.cloud)
        _log.info("removed %d points of dynamic classes, %d remain", dynamic, len(point_map.cloud))
        return point_map


def load_labelled_cloud(source: Path, config: MapSourceConfig) -> LabelledCloud:
    """Read or accumulate the points of a map; without labels, remove ghosts and segment them.

    Raises DatasetError as `load_point_cloud_map` does.
    """
    origin = open_map_source(Path(source), config.sequence)
    cloud = origin.cloud(config)
    _log.info("%s: %d points", source, len(cloud))
    confidence = confusion = None
    if cloud.label is None:  # labels would already say what moves
        cloud, ghosts = _without_ghosts(cloud, origin.drive, config)
        label, confidence = segment_with_confidence(cloud)
        cloud, confusion = replace(cloud, label=label), point_confusion()
        keep = remove_vehicle_remains(cloud.xyz, label, ghosts.xyz)
        _log.info("removed %d points amid those of vehicles and ghosts", np.sum(~keep))
        cloud, confidence = cloud.select(keep), confidence[keep]
    return LabelledCloud(cloud, confidence, origin.trajectory(cloud.origin), confusion)


class MapSource(ABC):
    """Where the points of a map come from."""

    drive: Drive | None
    """The drive that mapped: its scans carve ghosts out, its poses are the trajectory."""

    @abstractmethod
    def cloud(self, config: MapSourceConfig) -> PointCloud:
        """Read or accumulate the points."""

    @property
    @abstractmethod
    def mapped_frames(self) -> Sequence[int]:
        """Frames of the drive between which the map was made."""

    def trajectory(self, origin: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Positions (S, 3) of the LiDAR relative to `origin`, in driving order; None without drive.

        From the first to the last mapped frame.
        """
        if self.drive is None:
            return None
        mapped = range(min(self.mapped_frames), max(self.mapped_frames) + 1)
        frames = [frame for frame in self.drive.frames if frame in mapped]
        return np.stack([self.drive.T_world_lidar(frame)[:3, 3] for frame in frames]) - origin


@dataclass(frozen=True)
class CloudFile(MapSource):
    """A point cloud file, alone or as the prebuilt map of a drive."""

    path: Path
    drive: Drive | None = None

    def cloud(self, config: MapSourceConfig) -> PointCloud:
        """Read the file."""
        return read_cloud(self.path, config.label_set)

    @property
    def mapped_frames(self) -> Sequence[int]:
        """All: a file does not say which ones it was made of."""
        return () if self.drive is None else self.drive.frames


@dataclass(frozen=True)
class StaticClouds(MapSource):
    """Clouds of the static scene that a drive offers, as KITTI-360 does."""

    drive: Drive

    def cloud(self, config: MapSourceConfig) -> PointCloud:
        """Join the clouds."""
        whole = replace(config.accumulation, min_hits=1, min_range_m=0.0, max_range_m=np.inf)
        return accumulate(self._as_scans(), whole)

    @property
    def mapped_frames(self) -> Sequence[int]:
        """Those that the clouds were made from."""
        return self.drive.mapped_frames

    def _as_scans(self) -> Iterator[PosedScan]:
        """Each cloud as a scan taken without rotation at the cloud's origin."""
        clouds = self.drive.static_clouds()
        for cloud in tqdm(clouds, desc="reading windows", unit="window", disable=None):
            raise_if_cancelled()
            yield PointCloud(cloud.xyz, cloud.label), make_transform(np.eye(3), cloud.origin)


@dataclass(frozen=True)
class AccumulatedScans(MapSource):
    """The scans of a drive, accumulated."""

    drive: Drive

    def cloud(self, config: MapSourceConfig) -> PointCloud:
        """Accumulate the scans."""
        return accumulate(
            posed_scans(self.drive, "accumulating scans", config), config.accumulation
        )

    @property
    def mapped_frames(self) -> Sequence[int]:
        """Those with a scan."""
        return self.drive.scan_frames


def open_map_source(path: Path, sequence: str = "") -> MapSource:
    """Decide what a map is made of: a file, or in a folder the first of these that is there.

    A map.ply, static clouds, scans. sequence: the drive in a folder that has several.
    """
    if not path.is_dir():
        return CloudFile(path)
    prebuilt = path / PREBUILT_MAP
    drive = _mapping_drive(path, sequence)
    if prebuilt.is_file() or drive is None:
        return CloudFile(prebuilt, drive)
    if drive.mapped_frames:
        return StaticClouds(drive)
    if not drive.scan_frames:
        raise DatasetError(
            f"{path} has no {PREBUILT_MAP}, and sequence {drive.name} has no scans to make a map "
            "of: name another `sequence`"
        )
    return AccumulatedScans(drive)


def makes_map(drive: Drive) -> bool:
    """Whether a map can be made of a drive: it has scans or static clouds."""
    return len(drive.scan_frames) > 0 or len(drive.mapped_frames) > 0


def posed_scans(drive: Drive, purpose: str, config: MapSourceConfig) -> Iterator[PosedScan]:
    """Scans of a drive with their poses; `purpose` labels the progress bar."""

    def read(frame: int) -> PosedScan:
        return drive.scan(frame), drive.T_world_lidar(frame)

    scans = FrameReader(drive.scan_frames, read, config.skip_bad)
    for _, scan in tqdm(scans, desc=purpose, unit="scan", disable=None):
        yield scan


def _mapping_drive(folder: Path, sequence: str) -> Drive | None:
    """The drive that made the map; None if the folder holds a map.ply and no scans."""
    prebuilt = (folder / PREBUILT_MAP).is_file()
    if prebuilt and not sequence and not is_recording(folder):
        return None
    drives = open_drives(folder, sequence)
    if sequence:
        return drives[0]
    mapping = [drive for drive in drives if makes_map(drive)]
    if not mapping and prebuilt:
        return None
    if len(mapping) != 1:
        names = ", ".join(drive.name for drive in mapping) or "none"
        raise DatasetError(
            f"{folder} has {len(mapping)} sequences with scans ({names}): name the one to map with "
            "`sequence`"
        )
    return mapping[0]


def _without_ghosts(
    cloud: PointCloud, drive: Drive | None, config: MapSourceConfig
) -> tuple[PointCloud, PointCloud]:
    """Separate ghosts: what later scans see through; without scans, what has no hole beneath it."""
    if drive is not None and len(drive.scan_frames) > 0:
        keep = remove_ghosts(cloud, posed_scans(drive, "carving ghosts", config), config.ghosts)
        why = "which later scans see through"
    else:
        keep = remove_ghosts_by_ground(cloud.xyz, config.ground_ghosts)
        why = "beneath which the ground was seen"
    _log.info("removed %d ghosts of moving objects, %s", np.sum(~keep), why)
    return cloud.select(keep), cloud.select(~keep)
