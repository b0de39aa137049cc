"""Which axes the poses of a trajectory have: a vehicle's, or those of a camera."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import DatasetError
from scmpr_ros.geometry import R_BODY_OPTICAL

_log = logging.getLogger(__name__)

Axes = Literal["auto", "body", "optical", "camera", "frd", "ned"]

_TURNED = np.diag([1.0, -1.0, -1.0])  # about x: z down to z up
_ROTATIONS: Mapping[Axes, tuple[NDArray[np.float64], NDArray[np.float64]]] = {
    "auto": (np.eye(3), np.eye(3)),
    "body": (np.eye(3), np.eye(3)),
    "optical": (R_BODY_OPTICAL, R_BODY_OPTICAL),
    "camera": (np.eye(3), R_BODY_OPTICAL),
    "frd": (np.eye(3), _TURNED),
    "ned": (_TURNED, _TURNED),
}
"""From the axes of the world and of the poses to x forward and z up."""

_MIN_STEP_M = 0.05
_ALONG = 0.8  # of the path, driven along one axis of the body
_UPRIGHT_DEG = 45.0


def in_body_axes(source: str, T_world_body: NDArray[np.float64], axes: Axes) -> NDArray[np.float64]:
    """Poses (N, 4, 4) with x forward and z up, of the body and of its world.

    Raises DatasetError for `auto` if the motion is along z, as that of a camera.
    """
    if axes == "auto" and _moves_along_z(T_world_body):
        up_in_world = -T_world_body[:, :3, 1].mean(axis=0)
        fitting = "camera" if up_in_world[2] > -up_in_world[1] else "optical"
        raise DatasetError(
            f"{source}: the motion is along the z axis of the poses, as for a camera, but x must "
            f"be forward and z up: set trajectory_file.axes to {fitting} to convert them (optical: "
            "their world has a camera's axes, too, as in KITTI; camera: it has z up), or to body "
            "to keep them"
        )
    R_world, R_body = _ROTATIONS[axes]
    T = T_world_body.copy()
    T[:, :3, :3] = R_world @ T_world_body[:, :3, :3] @ R_body.T
    T[:, :3, 3] = T_world_body[:, :3, 3] @ R_world.T
    return T


def turns_world(axes: Axes) -> bool:
    """Whether the world of poses with these axes is turned to z up, and not the poses alone."""
    return not np.array_equal(_ROTATIONS[axes][0], np.eye(3))


def check_upright(source: str, T_world_body: NDArray[np.float64], axes: Axes) -> None:
    """Raise DatasetError if half of the poses (N, 4, 4) lie on their side or on their head.

    Poses whose axes are said to be a body's may be those of a tilted sensor: they are warned of.
    """
    tilt_deg = np.degrees(np.arccos(np.clip(T_world_body[:, 2, 2], -1, 1)))
    median = float(np.median(tilt_deg))
    if median > _UPRIGHT_DEG and axes == "body":
        _log.warning("%s: half of the poses are tilted by %.0f deg or more", source, median)
    elif median > _UPRIGHT_DEG:
        raise DatasetError(
            f"{source}: half of the poses are tilted by {median:.0f} deg or more, but their z must "
            "be up: if the quaternion begins with w, set trajectory_file.quaternion to wxyz; if z "
            "is down, trajectory_file.axes to frd; if these are poses of a camera, to camera or "
            "optical; if the sensor is tilted, to body"
        )


def _moves_along_z(T: NDArray[np.float64]) -> bool:
    """Whether most of the path is driven along the z axis of the poses."""
    steps = np.diff(T[:, :3, 3], axis=0)
    local = np.einsum("nji,nj->ni", T[:-1, :3, :3], steps)
    length = np.linalg.norm(steps, axis=1)
    moving = length > _MIN_STEP_M
    if not moving.any():
        return False
    return bool(local[moving, 2].sum() > _ALONG * length[moving].sum())
