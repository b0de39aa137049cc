"""Read cameras from the camera_info of ROS.

Messages are duck-typed: those of rclpy and those read by `rosbags` have the same attributes. So
the nodes and the bag reader share this code, which imports neither ROS nor a message package.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scmpr_ros.errors import CalibrationError
from scmpr_ros.records import CameraModel


def camera_from_info(message: Any) -> CameraModel:
    """Read the intrinsics of rectified images from a sensor_msgs/CameraInfo.

    P describes rectified images; K is used only if P is zero and there is no distortion. Binning
    and region of interest are applied: the camera has the size of the published images.

    Raises CalibrationError if the camera is not calibrated, or distorted without P.
    """
    P = np.asarray(message.p, dtype=np.float64).reshape(3, 4)
    K = np.asarray(message.k, dtype=np.float64).reshape(3, 3)
    if not P.any() and np.any(message.d):
        raise CalibrationError(
            "camera_info has distortion but no projection matrix P: rectify the images, and "
            "publish the camera_info of the rectified camera"
        )
    matrix = P if P.any() else K
    if not matrix.any():
        raise CalibrationError(
            "camera_info has neither P nor K: the camera is not calibrated; calibrate it, or give "
            "its driver the calibration file"
        )
    roi, bin_x, bin_y = message.roi, message.binning_x or 1, message.binning_y or 1
    return CameraModel(
        width=(roi.width or message.width) // bin_x,
        height=(roi.height or message.height) // bin_y,
        fx=matrix[0, 0] / bin_x,
        fy=matrix[1, 1] / bin_y,
        cx=(matrix[0, 2] - roi.x_offset) / bin_x,
        cy=(matrix[1, 2] - roi.y_offset) / bin_y,
    )
