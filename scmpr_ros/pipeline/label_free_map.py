"""The map of a recording built as if its points had no labels, as most real maps are built.

Moving and parked vehicles are still in the cloud when it is segmented by its geometry, and what the
segmentation misses stays in the map. Training and evaluation compare such maps with labelled ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.datasets.drive import Drive, FrameReader
from scmpr_ros.datasets.recordings import is_recording, open_drives
from scmpr_ros.lidar.accumulation import accumulate
from scmpr_ros.lidar.cloud_files import open_cloud
from scmpr_ros.lidar.ghosts import remove_ghosts
from scmpr_ros.lidar.point_cloud_map import PointCloudMap
from scmpr_ros.lidar.segmentation import point_confusion, segment_points
from scmpr_ros.lidar.vehicle_remains import remove_vehicle_remains
from scmpr_ros.pipeline.map_source import PREBUILT_MAP, MapSourceConfig, posed_scans
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import label_confusion


@dataclass(frozen=True)
class LabelFreeMap:
    """A cloud without ghosts, labelled by its geometry.

    cloud: all points with predicted labels, those of dynamic classes included.
    true_label: (N,) uint8 joint ids from the recording's own labels.
    """

    cloud: PointCloud
    true_label: NDArray[np.uint8]

    @property
    def static(self) -> PointCloudMap:
        """The map: points that are predicted to be static."""
        return PointCloudMap.of(self.cloud, confusion=point_confusion())


def load_label_free_map(
    folder: Path, config: MapSourceConfig, labelled: PointCloudMap
) -> LabelFreeMap | None:
    """Build the map of a recording, using its labels for `true_label` only.

    The cloud is accumulated from the scans of `config.sequence`, or of the first drive with scans,
    if they have labels; otherwise it is the folder's map.ply, or the points of `labelled`, which
    lack the dynamic classes.

    labelled: the map that `load_point_cloud_map` returns for the same arguments.
    Returns None if the recording has no labels of its own: then `labelled` is label-free already.
    """
    if not np.array_equal(labelled.confusion, label_confusion()):
        return None
    known = is_recording(folder)
    drives = open_drives(folder, config.sequence, config.bag) if known else []
    drive = next((drive for drive in drives if drive.scan_frames), None)
    cloud = _cloud_with_vehicles(folder, drive, config, labelled)
    is_ghost = np.zeros(len(cloud), bool)
    if drive is not None:
        scans = posed_scans(drive, "carving ghosts", config)
        is_ghost = ~remove_ghosts(cloud, scans, config.ghosts)
    cloud, ghosts = cloud.select(~is_ghost), cloud.select(is_ghost)
    assert cloud.label is not None
    predicted = segment_points(replace(cloud, label=None))
    keep = remove_vehicle_remains(cloud.xyz, predicted, ghosts.xyz)
    return LabelFreeMap(replace(cloud, label=predicted).select(keep), cloud.label[keep])


def _cloud_with_vehicles(
    folder: Path, drive: Drive | None, config: MapSourceConfig, labelled: PointCloudMap
) -> PointCloud:
    """The labelled cloud that holds the most of what moves."""
    if drive is not None:
        label_reader = FrameReader(drive.scan_frames, drive.point_labels, config.skip_bad)
        if next(iter(label_reader))[1] is not None:
            scans = posed_scans(drive, "accumulating scans", config)
            return accumulate(scans, config.accumulation, keep_dynamic=True)
    prebuilt = folder / PREBUILT_MAP
    return open_cloud(prebuilt, config.cloud).read() if prebuilt.is_file() else labelled.cloud
