"""The first step of building a map: from a source to labelled points.

Ghosts of moving objects are removed, points get their classes (3DSegmentation in eq. 5), and then
everything that can drive away is removed as well.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.datasets.drive import Drive
from scmpr_ros.lidar.accumulation import ClassifiedVoxels
from scmpr_ros.lidar.ghosts import remove_ghosts
from scmpr_ros.lidar.ground_ghosts import remove_ghosts_by_ground
from scmpr_ros.lidar.point_classes import ClassifiedCloud, PointClassConfig, PointClassifier
from scmpr_ros.lidar.point_cloud_map import PointCloudMap
from scmpr_ros.lidar.point_tiles import Box, PointTiles, TileGrid
from scmpr_ros.lidar.vehicle_remains import remove_vehicle_remains
from scmpr_ros.pipeline.map_source import (
    MapSource,
    MapSourceConfig,
    carving_frames,
    find_positions,
    open_map_source,
    posed_scans,
)
from scmpr_ros.records import PointCloud

_log = logging.getLogger(__name__)
_STORAGE_GRID = TileGrid(50.0)


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
    """Read or accumulate the points of a map; remove ghosts and classify what has no labels.

    Raises DatasetError as `load_point_cloud_map` does.
    """
    origin = open_map_source(Path(source), config)
    classifier = PointClassifier(config.classes)
    points = origin.voxels(config, classifier)
    _log.info("%s: %d points", source, len(points.cloud))
    if _are_labels_certain(points.cloud.label is not None, config):  # they already say what moves
        classified = classifier.of_cloud(*points)
    else:
        carved = carve_ghosts(points, origin, config)
        separated = _ghosts_by_ground(points, config) if carved is None else carved
        classified = _classified(separated, classifier)
    cloud, confidence, confusion = classified
    positions = find_positions(Path(source), origin, config)
    trajectory = None if positions is None else positions - cloud.origin
    return LabelledCloud(cloud, confidence, trajectory, confusion)


class Separated(NamedTuple):
    """Points of a map, and the ghosts of moving objects that were among them."""

    points: ClassifiedVoxels
    ghosts: PointCloud


class GatheredPoints(NamedTuple):
    """The points of a map in tiles, as they came.

    carve: whether ghosts are to be carved out by scans. by_geometry: whether points are to be
    classified by their geometry. georeference: of the coordinates; empty if unknown.
    """

    tiles: PointTiles
    carve: bool
    by_geometry: bool
    georeference: str


def gather_points(origin: MapSource, config: MapSourceConfig, folder: Path) -> GatheredPoints:
    """Spread the points of a map over tiles in a folder; memory holds a part of them at a time."""
    tiles = origin.tiles(config, PointClassifier(config.classes), folder, _STORAGE_GRID)
    return GatheredPoints(
        tiles,
        carve=origin.has_scans and not _are_labels_certain(tiles.has_label, config),
        by_geometry=config.classes.source == "geometry" or not tiles.has_label,
        georeference=config.cloud.georeference or tiles.georeference,
    )


def carve_tile(
    cloud: PointCloud, box: Box, source: Path, config: MapSourceConfig, build: str
) -> Separated:
    """Carve ghosts out of the points in a box by the scans that see them.

    box: relative to the cloud's origin. build: digest of the build, during which the source does
    not change.
    """
    drive = _mapping_drive(source, config, build)
    frames = carving_frames(drive, cloud.origin, box, config.ghosts)
    keep = np.ones(len(cloud), bool)
    if frames and len(cloud):
        scans = posed_scans(drive, "carving ghosts", config, frames)
        keep = remove_ghosts(cloud, scans, config.ghosts)
    _log.info("removed %d ghosts of moving objects, which later scans see through", np.sum(~keep))
    return Separated(ClassifiedVoxels(cloud.select(keep), None), cloud.select(~keep))


@lru_cache(maxsize=1)
def _mapping_drive(source: Path, config: MapSourceConfig, build: str) -> Drive:
    """The drive whose scans made a map, kept open between the tiles of a build."""
    del build
    drive = open_map_source(source, config).drive
    assert drive is not None, "only maps with scans are carved"
    return drive


def close_drive() -> None:
    """Let go of the drive of the last build in this process."""
    _mapping_drive.cache_clear()


def label_points(
    cloud: PointCloud, carved: Separated | None, config: MapSourceConfig
) -> PointCloud:
    """Classify points by their geometry, without what remains of ghosts and vehicles.

    carved: the points without ghosts; None to look for ghosts by the ground.
    """
    separated = carved or _ghosts_by_ground(ClassifiedVoxels(cloud, None), config)
    return _classified(separated, PointClassifier(PointClassConfig("geometry"))).cloud


def carve_ghosts(
    points: ClassifiedVoxels, origin: MapSource, config: MapSourceConfig
) -> Separated | None:
    """Separate what later scans see through; None without scans."""
    if origin.drive is None or not origin.has_scans:
        return None
    scans = posed_scans(origin.drive, "carving ghosts", config)
    keep = remove_ghosts(points.cloud, scans, config.ghosts)
    _log.info("removed %d ghosts of moving objects, which later scans see through", np.sum(~keep))
    return Separated(_select(points, keep), points.cloud.select(~keep))


def _ghosts_by_ground(points: ClassifiedVoxels, config: MapSourceConfig) -> Separated:
    """Separate what has no hole beneath it."""
    keep = remove_ghosts_by_ground(points.cloud.xyz, config.ground_ghosts)
    _log.info(
        "removed %d ghosts of moving objects, beneath which the ground was seen", np.sum(~keep)
    )
    return Separated(_select(points, keep), points.cloud.select(~keep))


def _classified(separated: Separated, classifier: PointClassifier) -> ClassifiedCloud:
    """Classify points, and remove what lies amid ghosts and vehicles if geometry found these."""
    cloud, confidence, confusion = classifier.of_cloud(*separated.points)
    if confusion is None or confidence is None or len(cloud) == 0:
        return ClassifiedCloud(cloud, confidence, confusion)
    assert cloud.label is not None
    keep = remove_vehicle_remains(cloud.xyz, cloud.label, separated.ghosts.xyz)
    _log.info("removed %d points amid those of vehicles and ghosts", np.sum(~keep))
    return ClassifiedCloud(cloud.select(keep), confidence[keep], confusion)


def _select(points: ClassifiedVoxels, keep: NDArray[np.bool_]) -> ClassifiedVoxels:
    confidence = None if points.confidence is None else points.confidence[keep]
    return ClassifiedVoxels(points.cloud.select(keep), confidence)


def _are_labels_certain(has_label: bool, config: MapSourceConfig) -> bool:
    """Whether points came with labels that are to be kept, which say what moves."""
    return has_label and config.classes.source in ("auto", "labels")
