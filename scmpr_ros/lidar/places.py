"""Choose the places of a map: along the mapping drive, or on a grid over the drivable ground."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.lidar.drivable_ground import DrivableGround
from scmpr_ros.lidar.ground import MAX_SLOPE
from scmpr_ros.lidar.horizon import Horizon
from scmpr_ros.lidar.obstacles import Obstacles
from scmpr_ros.lidar.place_checks import heights_above_ground
from scmpr_ros.lidar.point_cloud_map import PointCloudMap
from scmpr_ros.lidar.point_tiles import joined
from scmpr_ros.records import PointCloud

_log = logging.getLogger(__name__)
_AT_BORDER = "at the border of the map"
TILE_MARGIN_M = 60.0
"""Points this far around an area are all that `grid_places` needs for the places inside."""


@dataclass(frozen=True)
class PlacesConfig:
    """Spacing and height of the places, and which of those on a grid are dropped.

    spacing_m: distance between neighbouring places, along the trajectory or on the grid.
    sensor_height_m: height of places above the ground, if there is no trajectory.
    clearance_m: distance of grid places from obstacles between knee and roof height.
    min_ground_m2: smaller patches of ground, cut off from all other ground, have no grid places.
    max_unmapped_share: grid places are dropped if a larger share of the horizon is open, but leads
        out of the map: what a camera sees there is not known.
    min_view_share: grid places are dropped if structures within 40 m fill a smaller share of the
        horizon: an empty view looks like any other.
    """

    spacing_m: float = 2.0
    sensor_height_m: float = 1.65
    clearance_m: float = 1.0
    min_ground_m2: float = 100.0
    max_unmapped_share: float = 0.1
    min_view_share: float = 0.2

    def __post_init__(self) -> None:
        for name in ("spacing_m", "sensor_height_m", "clearance_m"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name}={getattr(self, name)} must be positive")
        if not self.min_ground_m2 >= 0:
            raise ConfigError(f"min_ground_m2={self.min_ground_m2} must not be negative")
        for name in ("max_unmapped_share", "min_view_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name}={getattr(self, name)} must lie in [0, 1]")


@dataclass(frozen=True)
class Places:
    """Places of a map, and why other candidates are none.

    positions: (P, 3) float64, relative to the origin of the cloud.
    dropped: number of candidates by reason.
    """

    positions: NDArray[np.float64]
    dropped: Mapping[str, int] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """One line: how many places there are, and how many candidates were dropped and why."""
        reasons = ", ".join(f"{count} {why}" for why, count in self.dropped.items())
        dropped = sum(self.dropped.values())
        why = f"; dropped {dropped} candidates: {reasons}" if dropped else ""
        return f"{len(self.positions)} places{why}"


def place_positions(point_map: PointCloudMap, config: PlacesConfig) -> Places:
    """Spread places over a map.

    They are spaced uniformly along the trajectory, without repeating roads driven twice; without a
    trajectory, on a grid over the drivable ground. Raises DatasetError if there are none.
    """
    if point_map.trajectory is not None:
        return Places(trajectory_places(point_map.trajectory, config.spacing_m))
    cloud = joined([point_map.cloud, point_map.moving])
    places = grid_places(cloud, config)
    if has_borders_only(len(places.positions), places.dropped):
        warn_of_borders(places.dropped)
        places = grid_places(cloud, with_borders(config))
    _log.info("%s", places.summary)
    check_grid_places(places, config)
    return places


def with_borders(config: PlacesConfig) -> PlacesConfig:
    """The settings with places at the border of the map, for maps that have no others."""
    return replace(config, max_unmapped_share=1.0)


def warn_of_borders(dropped: Mapping[str, int]) -> None:
    """Log that a map keeps the places at its border, as it has no others."""
    _log.warning(
        "all %d places of this small map are at its border and are kept: map more of the "
        "surroundings, or expect wrong answers", dropped[_AT_BORDER],
    )  # fmt: skip


def has_borders_only(places: int, dropped: Mapping[str, int]) -> bool:
    """Whether a whole map has no places but those at its border. places: those that were kept."""
    return places == 0 and _AT_BORDER in dropped


def check_grid_places(places: Places, config: PlacesConfig) -> None:
    """Raise DatasetError if a whole map has no places on its grid."""
    if len(places.positions):
        return
    if not places.dropped:
        raise DatasetError(
            f"no open ground of {config.spacing_m} m x {config.spacing_m} m in the map: give the "
            "trajectory, lower spacing_m, or check that z points up and units are metres"
        )
    raise DatasetError(
        f"no place of the map is usable ({places.summary}): give the trajectory, or change the "
        "settings of places that name the reason"
    )


def trajectory_places(trajectory: NDArray[np.float64], spacing_m: float) -> NDArray[np.float64]:
    """Places (P, 3) every `spacing_m` along a trajectory (S, 3), none where it comes by again."""
    return _drop_revisits(_resample(trajectory, spacing_m), spacing_m / 2)


def places_on_map(cloud: PointCloud, positions: NDArray[np.float64]) -> Places:
    """Those of the places (P, 3) along a trajectory that have points of the map within 3 m.

    Elsewhere panoramas are empty, and look like each other.
    """
    on_map = np.isfinite(heights_above_ground(cloud.xyz, positions))
    dropped = int(np.sum(~on_map))
    return Places(positions[on_map], {"off the map": dropped} if dropped else {})


def grid_places(
    cloud: PointCloud, config: PlacesConfig, area: NDArray[np.float64] | None = None
) -> Places:
    """Places on a grid over the drivable ground of a cloud, upright above the ground.

    Their x and y are odd multiples of half the spacing. So a map that is divided into areas, each
    with all points at most `TILE_MARGIN_M` around it, has the places of the map in one piece.

    cloud: labelled points, z up, N > 0. Points of vehicles and people may be among them; no place
        is inside those.
    area: (2, 2) smallest and largest x and y of the places and candidates that are looked at; the
        largest is outside. By default there is no limit.
    """
    ground = DrivableGround.of(cloud, config.spacing_m)
    inside = np.ones(len(ground.candidates), bool)
    if area is not None:
        inside = ((ground.candidates >= area[0]) & (ground.candidates < area[1])).all(axis=1)
    xy = ground.candidates[inside]
    places = np.column_stack([xy, ground.grid.at(xy) + config.sensor_height_m])
    fault = np.full(len(xy), "", dtype=object)

    def drop(why: str, where: NDArray[np.bool_]) -> None:
        fault[where & (fault == "")] = why

    drop("off the road", ~ground.on_road[inside])
    drop("on too steep a slope", ground.slope(xy) > MAX_SLOPE)
    drop("on ground cut off from the rest", ground.on_island(xy, config.min_ground_m2))
    drop("on a roof or in the air", ground.on_raised_patch(xy))
    for why, where in Obstacles.of(cloud, ground, config.sensor_height_m).faults(
        xy, config.clearance_m
    ):
        drop(why, where)
    open_places = np.flatnonzero(fault == "")
    views = Horizon.of(cloud, ground).views(xy[open_places])
    for why, poor in (
        (_AT_BORDER, views.unmapped_share > config.max_unmapped_share),
        ("with an empty view", views.structure_share < config.min_view_share),
    ):
        where = np.zeros(len(xy), bool)
        where[open_places[poor]] = True
        drop(why, where)
    dropped = Counter(fault[fault != ""])
    return Places(places[fault == ""], dict(sorted(dropped.items())))


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
    keep = np.ones(len(path), bool)
    nearby = cKDTree(path).query_ball_point(path, np.nextafter(radius_m, 0))
    for number, near in enumerate(nearby):
        if keep[number]:
            later = np.asarray(near)
            keep[later[later > number]] = False
    return path[keep]
