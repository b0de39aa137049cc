"""The first step of building a map: from files to a static, labelled point cloud.

Files become one cloud; ghosts of moving objects go; points get their classes (3DSegmentation in
eq. 5); and what can drive away, moving or not, goes as well.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from scmpr_ros.datasets.drive import Drive
from scmpr_ros.datasets.kitti import KittiOdometryDrive
from scmpr_ros.errors import DatasetError
from scmpr_ros.lidar.accumulation import AccumulationConfig, PosedScan, accumulate
from scmpr_ros.lidar.cloud_files import read_cloud
from scmpr_ros.lidar.ghosts import GhostConfig, remove_ghosts
from scmpr_ros.lidar.point_cloud_map import PointCloudMap
from scmpr_ros.lidar.segmentation import segment_points
from scmpr_ros.records import PointCloud

_log = logging.getLogger(__name__)
PREBUILT_MAP = "map.ply"


@dataclass(frozen=True)
class MapSourceConfig:
    """What a map is made of.

    sequence: the drive in a folder of KITTI layout; empty takes the only one that has scans.
    label_set: what a cloud file's labels are, see `read_cloud`.
    """

    sequence: str = ""
    label_set: str = "auto"
    accumulation: AccumulationConfig = field(default_factory=AccumulationConfig)
    ghosts: GhostConfig = field(default_factory=GhostConfig)


def load_point_cloud_map(source: Path, config: MapSourceConfig) -> PointCloudMap:
    """Make the map of a point cloud file, or of a folder in KITTI odometry layout.

    A folder's map.ply is taken as the cloud; without one, its scans are accumulated. Where there
    are scans and poses, they carve the ghosts out and give the trajectory. A cloud that nobody
    labelled is segmented. Raises DatasetError for sources that are missing or hold nothing usable.
    """
    source = Path(source)
    drive: Drive | None = None
    if source.is_dir():
        drive = _mapping_drive(source, config.sequence)
        cloud = _folder_cloud(source, drive, config)
    else:
        cloud = read_cloud(source, config.label_set)
    _log.info("%s: %d points", source, len(cloud))

    if cloud.label is None:  # else the labels already say what moves
        if drive is not None:
            cloud = _without_ghosts(cloud, drive, config.ghosts)
        cloud = replace(cloud, label=segment_points(cloud))
    point_map = PointCloudMap.of(cloud, None if drive is None else _trajectory(drive, cloud.origin))
    _log.info("%d points are of dynamic classes, %d remain", len(cloud) - len(point_map.cloud),
              len(point_map.cloud))  # fmt: skip
    return point_map


def _mapping_drive(folder: Path, sequence: str) -> Drive | None:
    """The drive whose scans made the map, or None where the folder holds a cloud and no scans."""
    if sequence:
        return KittiOdometryDrive(folder, sequence)
    scanned = sorted(p.parent.name for p in folder.glob("sequences/*/velodyne"))
    if not scanned and (folder / PREBUILT_MAP).is_file():
        return None
    if len(scanned) != 1:
        raise DatasetError(
            f"{folder} has {len(scanned)} sequences with scans ({', '.join(scanned) or 'none'}): "
            "name the one to map with `sequence`"
        )
    return KittiOdometryDrive(folder, scanned[0])


def _folder_cloud(folder: Path, drive: Drive | None, config: MapSourceConfig) -> PointCloud:
    prebuilt = folder / PREBUILT_MAP
    if drive is None or prebuilt.is_file():
        return read_cloud(prebuilt, config.label_set)
    if not drive.scan_frames:
        raise DatasetError(
            f"{folder} has no {PREBUILT_MAP}, and sequence {drive.name} has no scans in velodyne/ "
            "to make a map of: name another `sequence`"
        )
    return accumulate(_posed_scans(drive, "accumulating scans"), config.accumulation)


def _without_ghosts(cloud: PointCloud, drive: Drive, config: GhostConfig) -> PointCloud:
    keep = remove_ghosts(cloud, _posed_scans(drive, "carving ghosts"), config)
    _log.info("%d points are ghosts of moving objects: later scans see through them", np.sum(~keep))
    return cloud.select(keep)


def _posed_scans(drive: Drive, what: str) -> Iterator[PosedScan]:
    for frame in tqdm(drive.scan_frames, desc=what, unit="scan", disable=None):
        yield drive.scan(frame), drive.T_world_lidar(frame)


def _trajectory(drive: Drive, origin: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([drive.T_world_lidar(frame)[:3, 3] for frame in drive.frames]) - origin
