"""Does a trajectory belong to the map, and which part of it?"""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from scmpr_ros.errors import DatasetError
from scmpr_ros.lidar.ground import GroundGrid, cell_means

_log = logging.getLogger(__name__)
_REACH_M = 3.0
_MIN_ON_MAP = 0.5
_LOWEST_M, _HIGHEST_M = 0.2, 5.0


def heights_above_ground(
    xyz: NDArray[np.floating], positions: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Height (S,) of positions (S, 3) above the ground of map points (N, 3).

    NaN where the map has no point within 3 m horizontally.
    """
    heights_m = np.full(len(positions), np.nan)
    if len(xyz) and len(positions):
        distance_m, _ = cKDTree(cell_means(xyz)[:, :2]).query(
            positions[:, :2], distance_upper_bound=_REACH_M
        )
        above = np.isfinite(distance_m)
        if above.any():
            ground_m = GroundGrid.of(xyz).at(positions[above])
            heights_m[above] = positions[above, 2] - ground_m
    return heights_m


def check_trajectory_on_map(
    positions: NDArray[np.floating], heights_m: NDArray[np.floating],
    bounds: NDArray[np.floating],
) -> None:  # fmt: skip
    """Check that a trajectory lies on the map, and at a vehicle's height.

    positions: (S, 3) in the map frame. heights_m: (S,) of `heights_above_ground`, taken from the
        map in one piece or from the tile that each position is in. bounds: (2, 3) smallest and
        largest coordinates of the map, in the frame of the positions.

    Warns of heights that no vehicle's sensor has. Raises DatasetError if most of the trajectory is
    off the map.
    """
    on_map = float(np.isfinite(heights_m).mean())
    if on_map < _MIN_ON_MAP:
        raise DatasetError(
            f"{1 - on_map:.0%} of the trajectory has no point of the map within {_REACH_M:.0f} m "
            f"(map: {_span(bounds)}; trajectory: {_span(positions)}): give it in the map's frame "
            "and units"
        )
    median_m = float(np.nanmedian(heights_m))
    if not _LOWEST_M <= median_m <= _HIGHEST_M:
        _log.warning(
            "the trajectory is %.1f m above the map's ground in the median, where sensors of "
            "vehicles are %.1f to %.1f m: check that its positions are those of the sensor, and "
            "its frame", median_m, _LOWEST_M, _HIGHEST_M,
        )  # fmt: skip


def _span(positions: NDArray[np.floating]) -> str:
    (x0, y0), (x1, y1) = positions[:, :2].min(axis=0), positions[:, :2].max(axis=0)
    return f"x {x0:.0f} to {x1:.0f} m, y {y0:.0f} to {y1:.0f} m"
