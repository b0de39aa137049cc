"""Notice poses in the axes of a camera, or of another sensor, which make a map silently wrong."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from scmpr_ros.errors import DatasetError

_log = logging.getLogger(__name__)
_MIN_CLIMB_M = 3.0
"""Heights by GNSS vary by metres, more than the position of a robot that stands."""
_STEEPEST = 2.0
_MIN_STEP_M = 1.0
_ALONG = 0.8  # of the path, driven along one axis
_MOST_TIPPED = 0.2
_TIPPED_DEG = 45.0
_COMPARED = 20  # poses that all are compared with: some, as the first, may be wrong
_TURNED_RAD = np.radians(10.0)


def check_world_up(source: str, T_world_body: NDArray[np.float64], advice: str) -> None:
    """Raise DatasetError if a vehicle with poses (N, 4, 4) climbs or tips over: z is not up.

    source: where the poses are from. advice: what to do, for the message.
    """
    low, high = np.percentile(T_world_body[:, :3, 3], [2, 98], axis=0)  # without a few outliers
    x, y, z = high - low
    up = T_world_body[:, 2, :3]  # in the body
    compared = up @ up[:: len(up) // _COMPARED + 1].T
    tipped = float(np.mean(compared < np.cos(np.radians(_TIPPED_DEG)), axis=0).min())
    if z > max(_MIN_CLIMB_M, _STEEPEST * np.hypot(x, y)):
        found = f"the motion is along the world's z axis, by {z:.0f} m"
    elif tipped > _MOST_TIPPED:
        found = f"{tipped:.0%} of the poses are tipped over by more than {_TIPPED_DEG:g} deg"
    else:
        return
    raise DatasetError(f"{source}: {found}, but z must be up in their world: {advice}")


def check_forward(source: str, T_world_lidar: NDArray[np.float64]) -> None:
    """Refuse poses (N, 4, 4) of KITTI's layout that were not those of its camera 0.

    Poses of the LiDAR, taken for the camera's, move sideways, and roll where they should turn.
    Raises DatasetError if they do both, and warns if they do not turn at all.
    """
    T = T_world_lidar[_moving(T_world_lidar[:, :3, 3])]
    if len(T) < 2:
        return
    local = np.einsum("nji,nj->ni", T[:-1, :3, :3], np.diff(T[:, :3, 3], axis=0))
    if np.abs(local[:, 1]).sum() < _ALONG * np.linalg.norm(local, axis=1).sum():
        return
    between = Rotation.from_matrix(np.swapaxes(T[:-1, :3, :3], 1, 2) @ T[1:, :3, :3])
    roll, _, yaw = np.abs(between.as_rotvec()).sum(axis=0)
    problem = (
        f"{source}: these poses move sideways: KITTI's are of camera 0 (x right, y down, z "
        "forward), in a world with its axes: poses T of the LiDAR become such by Tr @ T @ inv(Tr), "
        "with Tr of calib.txt"
    )
    if roll > max(yaw, _TURNED_RAD):
        raise DatasetError(problem)
    if yaw < _TURNED_RAD:
        _log.warning("%s", problem)


def _moving(positions: NDArray[np.float64]) -> list[int]:
    """Indices of positions (N, 3) that are a step from the one before."""
    chosen = [0]
    for index, position in enumerate(positions):
        if np.linalg.norm(position - positions[chosen[-1]]) > _MIN_STEP_M:
            chosen.append(index)
    return chosen
