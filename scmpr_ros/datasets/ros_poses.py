"""Read the poses and transforms of ROS messages.

Messages are duck-typed: those of rclpy and those read by `rosbags` have the same attributes. So
the nodes and the bag reader share this code, which imports neither ROS nor a message package.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from scmpr_ros.errors import ShapeError
from scmpr_ros.geometry import make_transform


def pose_matrix(pose: Any) -> NDArray[np.float64]:
    """Matrix (4, 4) of a geometry_msgs/Pose or Transform; ShapeError for a zero quaternion."""
    position = pose.position if hasattr(pose, "position") else pose.translation
    quaternion = pose.orientation if hasattr(pose, "orientation") else pose.rotation
    xyzw = np.array([quaternion.x, quaternion.y, quaternion.z, quaternion.w])
    if not np.isfinite(xyzw).all() or np.linalg.norm(xyzw) < 1e-6:
        raise ShapeError.of("pose orientation", "a quaternion of length 1", xyzw.tolist())
    return make_transform(
        Rotation.from_quat(xyzw).as_matrix(), np.array([position.x, position.y, position.z])
    )
