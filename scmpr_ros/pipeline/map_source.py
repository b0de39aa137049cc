"""What a map is made of: a point cloud file, static clouds of a data set, or a drive's scans."""

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
from scmpr_ros.datasets.bags.options import BagReaderConfig, options_file
from scmpr_ros.datasets.drive import Drive, FrameReader
from scmpr_ros.datasets.recordings import is_bag, is_recording, open_drives
from scmpr_ros.datasets.trajectories import TrajectoryConfig, find_trajectory, read_trajectory
from scmpr_ros.datasets.trajectory_axes import turns_world
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.geometry import make_transform
from scmpr_ros.lidar.accumulation import (
    AccumulationConfig,
    ClassifiedScan,
    ClassifiedVoxels,
    PosedScan,
    accumulate,
    accumulate_classes,
)
from scmpr_ros.lidar.cloud_files import CloudConfig, CloudStream, open_cloud
from scmpr_ros.lidar.clouds.formats.registry import TILE_SUFFIXES
from scmpr_ros.lidar.clouds.tables import open_tables
from scmpr_ros.lidar.clouds.tile_folders import (
    check_no_dump,
    find_cloud_folders,
    holds_clouds,
    is_tile_folder,
)
from scmpr_ros.lidar.ghosts import GhostConfig
from scmpr_ros.lidar.ground_ghosts import GroundGhostConfig
from scmpr_ros.lidar.point_classes import PointClassConfig, PointClassifier
from scmpr_ros.lidar.point_tiles import Box, PointTiles, TileGrid
from scmpr_ros.lidar.range_view.description import load_description
from scmpr_ros.lidar.tiled_accumulation import accumulate_tiles
from scmpr_ros.records import PointCloud
from scmpr_ros.retrieval.place_map.manifest import is_own_manifest

_log = logging.getLogger(__name__)
PREBUILT_MAP = "map.ply"


@dataclass(frozen=True)
class MapSourceConfig:
    """How a map source is read.

    sequence: the drive to map in a folder with several; empty takes the only one with scans.
    cloud: how a point cloud file is read. classes: what gives points their classes.
    bag: topics, frames and conventions of a bag.
    trajectory: file with the poses of the sensor that mapped, in the frame of the map: places lie
        along it; empty takes one that lies beside the map in its folder, or a drive's poses.
    trajectory_file: what that file does not say.
    skip_bad: skip damaged scans with a warning instead of stopping at the first.
    voxel_m: clouds that are denser than that are thinned to one point for each voxel of this size.
    ghosts: removal of ghosts by scans. ground_ghosts: by the ground, for clouds without scans.
    """

    sequence: str = ""
    cloud: CloudConfig = field(default_factory=CloudConfig)
    classes: PointClassConfig = field(default_factory=PointClassConfig)
    skip_bad: bool = False
    trajectory: str = ""
    trajectory_file: TrajectoryConfig = field(default_factory=TrajectoryConfig)
    voxel_m: float = 0.1
    bag: BagReaderConfig = field(default_factory=BagReaderConfig)
    accumulation: AccumulationConfig = field(default_factory=AccumulationConfig)
    ghosts: GhostConfig = field(default_factory=GhostConfig)
    ground_ghosts: GroundGhostConfig = field(default_factory=GroundGhostConfig)

    def __post_init__(self) -> None:
        if not 0 <= self.voxel_m < np.inf:
            raise ConfigError(f"voxel_m is {self.voxel_m}; 0 keeps all points")


class MapSource(ABC):
    """Where the points of a map come from."""

    drive: Drive | None
    """The drive that mapped: its scans carve ghosts out, its poses are the trajectory."""

    @abstractmethod
    def voxels(self, config: MapSourceConfig, classifier: PointClassifier) -> ClassifiedVoxels:
        """Read or accumulate all points in memory, with the classes that they have by then."""

    @abstractmethod
    def tiles(
        self, config: MapSourceConfig, classifier: PointClassifier, folder: Path, grid: TileGrid
    ) -> PointTiles:
        """The same points, in the tiles of an empty folder."""

    @property
    def has_scans(self) -> bool:
        """Whether there are scans that ghosts can be carved out by."""
        return self.drive is not None and len(self.drive.scan_frames) > 0

    @property
    @abstractmethod
    def mapped_frames(self) -> Sequence[int]:
        """Frames of the drive between which the map was made."""

    def positions(self) -> NDArray[np.float64]:
        """Positions (S, 3) of the drive's LiDAR, from the first to the last mapped frame."""
        assert self.drive is not None
        mapped = range(min(self.mapped_frames), max(self.mapped_frames) + 1)
        frames = [frame for frame in self.drive.frames if frame in mapped]
        return np.stack([self.drive.T_world_lidar(frame)[:3, 3] for frame in frames])


@dataclass(frozen=True)
class CloudFile(MapSource):
    """A point cloud file or a folder of tiles, alone, or the prebuilt map of a drive."""

    path: Path
    drive: Drive | None = None

    def voxels(self, config: MapSourceConfig, classifier: PointClassifier) -> ClassifiedVoxels:
        """Read the whole file."""
        return ClassifiedVoxels(self.stream(config).read(), None)

    def tiles(
        self, config: MapSourceConfig, classifier: PointClassifier, folder: Path, grid: TileGrid
    ) -> PointTiles:
        """Stream the file."""
        stream = self.stream(config)
        classifier.check(stream.has_label)
        return PointTiles.spread(stream.blocks(), folder, grid, config.voxel_m, stream.georeference)

    def stream(self, config: MapSourceConfig) -> CloudStream:
        """Open the file."""
        return open_cloud(self.path, config.cloud)

    @property
    def mapped_frames(self) -> Sequence[int]:
        """All: a file does not say which ones it was made of."""
        return () if self.drive is None else self.drive.frames


@dataclass(frozen=True)
class StaticClouds(MapSource):
    """Clouds of the static scene that a drive offers, as KITTI-360 does."""

    drive: Drive

    def voxels(self, config: MapSourceConfig, classifier: PointClassifier) -> ClassifiedVoxels:
        """Join the clouds."""
        classifier.check(has_label=True)
        return ClassifiedVoxels(accumulate(self._as_scans(), _whole(config.accumulation)), None)

    def tiles(
        self, config: MapSourceConfig, classifier: PointClassifier, folder: Path, grid: TileGrid
    ) -> PointTiles:
        """Join the clouds."""
        classifier.check(has_label=True)
        scans = (ClassifiedScan(*scan, None) for scan in self._as_scans())
        return accumulate_tiles(scans, _whole(config.accumulation), folder, grid)

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

    def voxels(self, config: MapSourceConfig, classifier: PointClassifier) -> ClassifiedVoxels:
        """Accumulate the scans."""
        scans = posed_scans(self.drive, "accumulating scans", config)
        classified = classifier.of_scans(scans)
        return accumulate_classes(classified, config.accumulation, classifier.needs_scans)

    def tiles(
        self, config: MapSourceConfig, classifier: PointClassifier, folder: Path, grid: TileGrid
    ) -> PointTiles:
        """Accumulate the scans."""
        scans = posed_scans(self.drive, "accumulating scans", config)
        classified, keep_dynamic = classifier.of_scans(scans), classifier.needs_scans
        return accumulate_tiles(classified, config.accumulation, folder, grid, keep_dynamic)

    @property
    def mapped_frames(self) -> Sequence[int]:
        """Those with a scan."""
        return self.drive.scan_frames


def open_map_source(path: Path, config: MapSourceConfig | None = None) -> MapSource:
    """Decide what a map is made of: a file, or in a folder the first of these that is there.

    A map.ply, static clouds, scans, tiles of a cloud.
    """
    config = config or MapSourceConfig()
    if is_own_manifest(path):
        raise DatasetError(
            f"{path} is a place map, whose points are thinned for viewers: name the point cloud or "
            "recording that it was built from (see `inspect_map`)"
        )
    prebuilt = path / PREBUILT_MAP
    is_cloud = not path.is_dir() or (is_tile_folder(path) and not prebuilt.is_file())
    if is_cloud and not is_recording(path):
        return CloudFile(path)
    if path.is_dir() and not prebuilt.is_file():
        _check_folder(path)
    drive = _mapping_drive(path, config)
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


def _check_folder(path: Path) -> None:
    """Refuse a folder without a map.ply whose map could be another one than what it is read as."""
    if is_bag(path) and holds_clouds(path):
        raise DatasetError(
            f"{path} holds both point clouds and a bag: name the file that the map is to be made of"
        )
    if is_recording(path):
        return
    check_no_dump(path)
    inner = find_cloud_folders(path)
    what = f"{path} holds neither a recording nor point clouds"
    if len(inner) == 1:
        open_tables(inner[0], CloudConfig())  # which refuses scans, and so that advice
        raise DatasetError(
            f"{what}, but its folder {inner[0].name} holds point clouds: name that one, {inner[0]}"
        )
    if inner:
        raise DatasetError(
            f"{what}, but {len(inner)} of its folders hold point clouds, such as {inner[0].name}: "
            "name the one of the map, or, if each has a part of it, put their files into one"
        )
    try:
        open_drives(path)
    except DatasetError as error:
        raise DatasetError(f"{error}; {', '.join(TILE_SUFFIXES)} (point clouds)") from None


def input_files(path: Path, config: MapSourceConfig) -> list[Path]:
    """The source, and the files that say how it is read: a map depends on all of them."""
    named = [config.trajectory, config.cloud.label_set, config.bag.label_set, config.classes.source]
    files = [Path(name) for name in named if name and Path(name).exists()]
    if config.classes.is_network:
        files.append(load_description(Path(config.classes.source))[1])
    options = options_file(path)
    return [path, *files, *([] if options is None else [options])]


def find_positions(
    path: Path, origin: MapSource, config: MapSourceConfig
) -> NDArray[np.float64] | None:
    """Positions (S, 3) of the sensor that mapped, in the map's frame, in driving order.

    Those of the trajectory that the config names, else of the drive, else of a trajectory that lies
    in the map's folder; None if there is none of these.
    """
    file = Path(config.trajectory) if config.trajectory else None
    if file is None and origin.drive is not None:
        return origin.positions()
    if file is None and path.is_dir():
        file = find_trajectory(path)
    if file is None:
        return None
    _log.info("places lie along the trajectory %s", file)
    return _positions_in(file, config)


def check_trajectory(config: MapSourceConfig) -> None:
    """Refuse a trajectory that is named and cannot be read, before a large map is.

    Of a bag, which takes long to read, only whether it is there. Raises DatasetError.
    """
    file = Path(config.trajectory)
    if config.trajectory and not (file.exists() and is_bag(file)):
        _positions_in(file, config)


def _positions_in(file: Path, config: MapSourceConfig) -> NDArray[np.float64]:
    """Positions (S, 3) of a trajectory file in the map's axes."""
    read_as = config.trajectory_file
    if config.cloud.up not in ("", "+z") and read_as.axes == "auto":
        read_as = replace(read_as, axes="body")  # its axes are the cloud's, which are turned
    positions = read_trajectory(file, read_as, config.bag).positions
    if turns_world(read_as.axes):
        return positions
    turned: NDArray[np.float64] = positions @ config.cloud.R_map_file.T  # as the cloud's points
    return turned


def _whole(config: AccumulationConfig) -> AccumulationConfig:
    """How clouds that are a map already are accumulated: no return is left out."""
    return replace(config, min_hits=1, min_range_m=0.0, max_range_m=np.inf)


def drives_share_frame(folder: Path) -> bool:
    """Whether the drives of a recording are known to have poses in one frame, that of its map."""
    return (folder / PREBUILT_MAP).is_file()


def makes_map(drive: Drive) -> bool:
    """Whether a map can be made of a drive: it has scans or static clouds."""
    return len(drive.scan_frames) > 0 or len(drive.mapped_frames) > 0


def posed_scans(
    drive: Drive, purpose: str, config: MapSourceConfig, frames: Sequence[int] | None = None
) -> Iterator[PosedScan]:
    """Scans of a drive with their poses.

    purpose: label of the progress bar. frames: some of those with a scan; all if None.
    """

    def read(frame: int) -> PosedScan:
        return drive.scan(frame), drive.T_world_lidar(frame)

    scans = FrameReader(drive.scan_frames if frames is None else frames, read, config.skip_bad)
    for _, scan in tqdm(scans, desc=purpose, unit="scan", disable=None):
        yield scan


def carving_frames(
    drive: Drive, origin: NDArray[np.float64], around: Box, config: GhostConfig
) -> list[int]:
    """Frames whose scans may see through points around a tile: near it, and not redundant.

    origin: (3,) that `around` is relative to.
    """
    frames: list[int] = []
    last: NDArray[np.float64] | None = None
    reach = around.grown(config.max_range_m)
    for frame in drive.scan_frames:
        position = drive.T_world_lidar(frame)[:3, 3] - origin
        if last is not None and np.linalg.norm(position - last) < config.scan_spacing_m:
            continue
        last = position
        if reach.contains(position[None]).all():
            frames.append(frame)
    return frames


def _mapping_drive(folder: Path, config: MapSourceConfig) -> Drive | None:
    """The drive that made the map; None if the folder holds a map.ply and no scans."""
    prebuilt, sequence = (folder / PREBUILT_MAP).is_file(), config.sequence
    if prebuilt and not sequence and not is_recording(folder):
        return None
    drives = open_drives(folder, sequence, config.bag)
    if sequence:
        return drives[0]
    mapping = [drive for drive in drives if makes_map(drive)]
    if not mapping and prebuilt:
        return None
    if prebuilt and len(mapping) > 1:  # others may have a LiDAR beside the camera
        mapping = [drive for drive in mapping if not drive.image_frames] or mapping
    if not mapping:
        raise DatasetError(f"{folder} has no scans, which a map could be made of")
    if len(mapping) != 1:
        names = ", ".join(drive.name for drive in mapping)
        raise DatasetError(
            f"{folder} has {len(mapping)} sequences with scans ({names}): name the one to map with "
            "`sequence`"
        )
    return mapping[0]
