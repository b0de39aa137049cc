"""The first step of building a map: from files to a static, labelled point cloud.

Files become one cloud; ghosts of moving objects go; points get their classes (3DSegmentation in
eq. 5); and what can drive away, moving or not, goes as well.
"""

from __future__ import annotations

import logging
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
from scmpr_ros.lidar.point_cloud_map import PointCloudMap
from scmpr_ros.lidar.segmentation import point_confusion, segment_points
from scmpr_ros.records import PointCloud

_log = logging.getLogger(__name__)
PREBUILT_MAP = "map.ply"


@dataclass(frozen=True)
class MapSourceConfig:
    """What a map is made of.

    sequence: the drive in a folder that has several; empty takes the only one that has scans.
    label_set: what a cloud file's labels are, see `read_cloud`.
    skip_bad: leave damaged scans out, with a warning, instead of stopping at the first.
    """

    sequence: str = ""
    label_set: str = "auto"
    skip_bad: bool = False
    accumulation: AccumulationConfig = field(default_factory=AccumulationConfig)
    ghosts: GhostConfig = field(default_factory=GhostConfig)


def load_point_cloud_map(source: Path, config: MapSourceConfig) -> PointCloudMap:
    """Make the map of a point cloud file, or of a recording that `open_drives` knows.

    A folder's map.ply is taken as the cloud; without one, KITTI-360's static points; without those,
    its scans are accumulated. Where there are scans and poses, they carve the ghosts out and give
    the trajectory. A cloud that nobody labelled is segmented. Raises DatasetError for sources that
    are missing or hold nothing usable.
    """
    source = Path(source)
    drive: Drive | None = None
    if source.is_dir():
        drive = _mapping_drive(source, config.sequence)
        cloud = _folder_cloud(source, drive, config)
    else:
        cloud = read_cloud(source, config.label_set)
    _log.info("%s: %d points", source, len(cloud))

    confusion = None
    if cloud.label is None:  # else the labels already say what moves
        if drive is not None:
            cloud = _without_ghosts(cloud, drive, config)
        cloud, confusion = replace(cloud, label=segment_points(cloud)), point_confusion()
    trajectory = None if drive is None else _trajectory(drive, _mapped_frames(source, drive))
    trajectory = None if trajectory is None else trajectory - cloud.origin
    point_map = PointCloudMap.of(cloud, trajectory, confusion)
    _log.info("%d points are of dynamic classes, %d remain", len(cloud) - len(point_map.cloud),
              len(point_map.cloud))  # fmt: skip
    return point_map


def makes_map(drive: Drive) -> bool:
    """Whether a drive has something to make a map of: scans, or KITTI-360's static points."""
    return len(drive.scan_frames) > 0 or len(drive.mapped_frames) > 0


def _mapping_drive(folder: Path, sequence: str) -> Drive | None:
    """The drive whose scans made the map, or None where the folder holds a cloud and no scans."""
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


def _folder_cloud(folder: Path, drive: Drive | None, config: MapSourceConfig) -> PointCloud:
    prebuilt = folder / PREBUILT_MAP
    if drive is None or prebuilt.is_file():
        return read_cloud(prebuilt, config.label_set)
    if drive.mapped_frames:
        whole = replace(config.accumulation, min_hits=1, min_range_m=0.0, max_range_m=np.inf)
        return accumulate(_static_points(drive), whole)
    if not drive.scan_frames:
        raise DatasetError(
            f"{folder} has no {PREBUILT_MAP}, and sequence {drive.name} has no scans to make a map "
            "of: name another `sequence`"
        )
    return accumulate(_posed_scans(drive, "accumulating scans", config), config.accumulation)


def _static_points(drive: Drive) -> Iterator[PosedScan]:
    """Windows as if each were a scan, taken without rotation at the points' origin."""
    clouds = tqdm(drive.static_clouds(), desc="reading windows", unit="window", disable=None)
    for cloud in clouds:
        raise_if_cancelled()
        yield PointCloud(cloud.xyz, cloud.label), make_transform(np.eye(3), cloud.origin)


def _without_ghosts(cloud: PointCloud, drive: Drive, config: MapSourceConfig) -> PointCloud:
    keep = remove_ghosts(cloud, _posed_scans(drive, "carving ghosts", config), config.ghosts)
    _log.info("%d points are ghosts of moving objects: later scans see through them", np.sum(~keep))
    return cloud.select(keep)


def _posed_scans(drive: Drive, what: str, config: MapSourceConfig) -> Iterator[PosedScan]:
    def read(frame: int) -> PosedScan:
        return drive.scan(frame), drive.T_world_lidar(frame)

    scans = FrameReader(drive.scan_frames, read, config.skip_bad)
    for _, scan in tqdm(scans, desc=what, unit="scan", disable=None):
        yield scan


def _mapped_frames(folder: Path, drive: Drive) -> range:
    """From the first to the last frame that the map was made of; a prebuilt map knows no frames."""
    frames: Sequence[int] = drive.frames
    if not (folder / PREBUILT_MAP).is_file():
        frames = drive.mapped_frames or drive.scan_frames
    return range(min(frames), max(frames) + 1)


def _trajectory(drive: Drive, mapped: range) -> NDArray[np.float64]:
    """Positions (S, 3) of the LiDAR in the world, in driving order."""
    frames = [frame for frame in drive.frames if frame in mapped]
    return np.stack([drive.T_world_lidar(frame)[:3, 3] for frame in frames])
