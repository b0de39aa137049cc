"""What a map loader publishes of a place map."""

from __future__ import annotations

import array

import numpy as np
from geometry_msgs.msg import Pose
from nav_msgs.msg import OccupancyGrid
from std_msgs.msg import Header

from scmpr_ros.geometry import make_transform, rotation_z
from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.ros.conversions import pose_message

_MAX_POSES = 100_000
_MAX_CELLS = 4_000_000
_COVERED = 100


def viewpoint_poses(place_map: PlaceMap) -> list[Pose]:
    """The poses of all viewpoints; of a large map those of places only, in their first heading."""
    headings = place_map.headings_rad
    if len(place_map) * len(headings) > _MAX_POSES:
        headings = headings[:1]
    return [
        pose_message(make_transform(axes @ rotation_z(heading), position))
        for position, axes in zip(place_map.positions, place_map.axes, strict=True)
        for heading in headings
    ]


def coverage_grid(place_map: PlaceMap, spacing_m: float, header: Header) -> OccupancyGrid:
    """Where the map has places: cells of 100 within half a spacing of one, unknown elsewhere.

    The cells grow with the map, so that viewers can take them.
    """
    xy = place_map.positions[:, :2]
    low, extent = xy.min(axis=0) - spacing_m, np.ptp(xy, axis=0) + 2 * spacing_m
    cell_m = max(spacing_m / 2, float(np.sqrt(extent.prod() / _MAX_CELLS)))
    columns, rows = (np.ceil(extent / cell_m).astype(int)).tolist()
    cells = np.full((rows, columns), -1, np.int8)
    index = ((xy - low) / cell_m).astype(np.int64)
    reach = round(spacing_m / 2 / cell_m)
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            column = np.clip(index[:, 0] + dx, 0, columns - 1)
            row = np.clip(index[:, 1] + dy, 0, rows - 1)
            cells[row, column] = _COVERED
    grid = OccupancyGrid(header=header)
    grid.info.map_load_time = header.stamp
    grid.info.resolution = cell_m
    grid.info.width, grid.info.height = columns, rows
    grid.info.origin.position.x, grid.info.origin.position.y = (float(value) for value in low)
    grid.info.origin.position.z = float(place_map.positions[:, 2].min())
    grid.data = array.array("b", cells.tobytes())
    return grid
