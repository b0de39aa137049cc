"""Choose the places of a map: along the mapping drive, or on a grid over the road."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.lidar.ground import GroundGrid
from scmpr_ros.lidar.point_cloud_map import PointCloudMap
from scmpr_ros.semantics import class_id

_ROAD = class_id("road")
_PATCH_M = 0.5
_GROUND_TOLERANCE_M = 0.15


@dataclass(frozen=True)
class PlacesConfig:
    """Spacing and height of the places.

    spacing_m: distance between neighbouring places, along the trajectory or on the grid.
    sensor_height_m: height of places above the ground, if there is no trajectory.
    clearance_m: distance of grid places from obstacles between knee and roof height.
    """

    spacing_m: float = 2.0
    sensor_height_m: float = 1.65
    clearance_m: float = 1.0

    def __post_init__(self) -> None:
        for name in ("spacing_m", "sensor_height_m", "clearance_m"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name}={getattr(self, name)} must be positive")


def place_positions(point_map: PointCloudMap, config: PlacesConfig) -> NDArray[np.float64]:
    """Spread places over a map.

    Returns positions (P, 3) relative to the map's origin, like `point_map.cloud.xyz`. They are
    spaced uniformly along the trajectory, without repeating roads driven twice; without a
    trajectory, on a grid over the drivable area. Raises DatasetError if there are none.
    """
    if point_map.trajectory is not None:
        return places_along(point_map.trajectory, config)
    places = _drivable_grid(point_map, config)
    if len(places) == 0:
        raise DatasetError(
            f"no open ground of {config.spacing_m} m x {config.spacing_m} m in a map of "
            f"{len(point_map.cloud)} points: give the trajectory, or lower spacing_m or clearance_m"
        )
    return places


def places_along(trajectory: NDArray[np.float64], config: PlacesConfig) -> NDArray[np.float64]:
    """Places (P, 3) along a trajectory (S, 3), without repeating roads driven twice."""
    path = _resample(trajectory, config.spacing_m)
    return _drop_revisits(path, config.spacing_m / 2)


def _resample(trajectory: NDArray[np.float64], spacing_m: float) -> NDArray[np.float64]:
    """Resample a trajectory every `spacing_m` of path length."""
    corners = [trajectory[0]]
    for position in trajectory:  # without the jitter of a stationary vehicle
        if np.linalg.norm(position - corners[-1]) >= spacing_m / 4:
            corners.append(position)
    path = np.array(corners)
    travelled = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    stops = np.arange(0, travelled[-1] + 1e-9, spacing_m)
    return np.stack([np.interp(stops, travelled, axis) for axis in path.T], axis=1)


def _drop_revisits(path: NDArray[np.float64], radius_m: float) -> NDArray[np.float64]:
    """Drop positions within `radius_m` of an earlier one that is kept."""
    kept = np.empty_like(path)
    count = 0
    for position in path:
        if not (np.linalg.norm(kept[:count] - position, axis=1) < radius_m).any():
            kept[count] = position
            count += 1
    return kept[:count]


def _drivable_grid(point_map: PointCloudMap, config: PlacesConfig) -> NDArray[np.float64]:
    """Centres of the grid cells at least half covered by open ground."""
    xyz = point_map.cloud.xyz.astype(np.float64)
    ground = GroundGrid.of(xyz)
    height_m = xyz[:, 2] - ground.at(xyz)
    surface = np.abs(height_m) < _GROUND_TOLERANCE_M
    label = point_map.cloud.label
    if label is not None and (label == _ROAD).any():
        surface &= label == _ROAD

    per_cell = max(1, round(config.spacing_m / _PATCH_M))
    corner = xyz[:, :2].min(axis=0)
    patches = np.unique(((xyz[surface, :2] - corner) / _PATCH_M).astype(np.int64), axis=0)
    cells, covered = np.unique(patches // per_cell, axis=0, return_counts=True)
    cells = cells[covered >= per_cell**2 / 2]
    xy = (cells + 0.5) * (per_cell * _PATCH_M) + corner
    places = np.column_stack([xy, ground.at(xy) + config.sensor_height_m])

    obstacle = (height_m > 0.4) & (height_m < config.sensor_height_m + 0.5)
    return places[_is_clear(places, xyz[obstacle], config.clearance_m)]


def _is_clear(
    places: NDArray[np.float64], obstacles: NDArray[np.float64], clearance_m: float
) -> NDArray[np.bool_]:
    """Which places (P, 3) have no obstacle (M, 3) within a horizontal distance."""
    if len(obstacles) == 0 or len(places) == 0:
        return np.ones(len(places), bool)
    distance_m, _ = cKDTree(obstacles[:, :2]).query(places[:, :2])
    return distance_m >= clearance_m
