"""Poses that others give: the message `initialpose` of RViz, AMCL's users and pose initialisers."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from numpy.typing import NDArray

from scmpr_ros.errors import ConfigError, ShapeError
from scmpr_ros.ros.conversions import pose_matrix

PRIOR_PROBABILITY = 0.9
"""That the pose of a message is right, within its covariance."""

_MIN_STD = np.array([0.1, 0.1, 0.1, 0.02, 0.02, 0.02])  # metres and radians
_UNKNOWN_STD = np.array([0.5, 0.5, 0.5, 0.26, 0.26, 0.26])  # AMCL's, for a covariance of zeros


def read_initial_pose(
    message: PoseWithCovarianceStamped, map_frame: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return `T_map_base` (4, 4) and its covariance (6, 6), of x, y, z, roll, pitch, yaw.

    A covariance of zeros is taken for an unknown one; single small variances are raised to
    what a person or another localizer can be sure of.

    Raises ConfigError for a pose in another frame than the map's, and ShapeError for numbers that
    are not finite or no covariance.
    """
    frame = message.header.frame_id
    if frame.lstrip("/") != map_frame:
        raise ConfigError(
            f"it is in the frame {frame!r}, but poses are in {map_frame!r}: set the fixed frame of "
            "RViz, or map_frame"
        )
    T_map_base = pose_matrix(message.pose.pose)
    covariance = np.reshape(message.pose.covariance, (6, 6)).astype(np.float64)
    if not (np.isfinite(T_map_base).all() and np.isfinite(covariance).all()):
        raise ShapeError("it has numbers that are not finite")
    if not covariance.any():
        return T_map_base, np.diag(_UNKNOWN_STD**2)
    covariance = (covariance + covariance.T) / 2
    if np.linalg.eigvalsh(covariance).min() < -1e-6:
        raise ShapeError("its covariance has negative eigenvalues")
    lacking = np.maximum(_MIN_STD**2 - np.diag(covariance), 0.0)
    return T_map_base, covariance + np.diag(lacking)
