"""Points of a map, as a background for viewers and figures."""

from __future__ import annotations

import numpy as np

from scmpr_ros.geometry import round_origin, voxel_keys
from scmpr_ros.records import PointCloud
from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.semantics import IGNORE

_MAX_RANGE_M = 40.0  # farther cells are too coarse to draw a surface


def place_map_points(place_map: PlaceMap, voxel_m: float = 0.4) -> PointCloud:
    """What the panoramas of all places saw, with labels, one point for each voxel.

    A place map holds no point cloud, but the range and class of every panorama cell.
    """
    origin = round_origin(place_map.positions.mean(axis=0))
    directions = place_map.grid.directions()
    xyz, label = np.zeros((0, 3), np.float32), np.zeros(0, np.uint8)
    for place, axes in enumerate(place_map.axes):
        range_m = place_map.panorama_ranges[place].astype(np.float64)
        seen = (range_m > 0) & (range_m < _MAX_RANGE_M)
        seen &= place_map.panorama_labels[place] != IGNORE
        offset = place_map.positions[place] - origin
        points = (directions[seen] * range_m[seen, None]) @ axes.T + offset
        xyz = np.concatenate([xyz, points.astype(np.float32)])
        label = np.concatenate([label, place_map.panorama_labels[place][seen]])
        if len(xyz) > 2_000_000 or place == len(place_map) - 1:
            _, first = np.unique(voxel_keys(xyz, voxel_m), return_index=True)
            xyz, label = xyz[first], label[first]
    return PointCloud(xyz, label, origin=origin)


def thin(cloud: PointCloud, max_points: int, voxel_m: float = 0.2) -> PointCloud:
    """Keep one point a voxel; voxels grow until at most `max_points` remain."""
    while True:
        _, first = np.unique(voxel_keys(cloud.xyz, voxel_m), return_index=True)
        cloud = cloud.select(np.sort(first))
        if len(cloud) <= max_points:
            return cloud
        voxel_m *= 1.5
