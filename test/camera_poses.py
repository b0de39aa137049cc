"""Camera poses for tests."""

from __future__ import annotations

import numpy as np

from scmpr_ros.geometry import camera_pose_on_ground


def level_camera_pose(position: np.ndarray, yaw_rad: float) -> np.ndarray:
    """Pose `T_map_camera` (4, 4) of a level camera at `position` (3,) looking along `yaw_rad`."""
    return camera_pose_on_ground(position, np.eye(3), yaw_rad, np.eye(3))
