"""Convert between ROS messages and the package's records.

cv_bridge, sensor_msgs_py and tf_transformations are used if installed. Each has a small equivalent
here or in `datasets.ros_*`, for environments of pip wheels alone. cv_bridge publishes images, but
`datasets.ros_images` decodes them: cv_bridge takes all 16 bits for used, and asks nobody.

Published poses follow REP-103: x forward along the view. Internally `T_map_camera` is the pose of
the optical frame, z forward; `body_from_optical` and `optical_from_body` convert.
"""

from __future__ import annotations

import array
import importlib
from typing import Any

import numpy as np
from geometry_msgs.msg import Point, Pose, Quaternion
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import Image, PointCloud2, PointField
from std_msgs.msg import Header

from scmpr_ros.datasets.ros_clouds import is_dense, pack_points, point_fields
from scmpr_ros.datasets.ros_headers import stamp_ns
from scmpr_ros.datasets.ros_poses import pose_matrix
from scmpr_ros.errors import ShapeError
from scmpr_ros.geometry import body_from_optical, optical_from_body
from scmpr_ros.records import PointCloud

__all__ = [
    "body_from_optical", "cloud_message", "image_message", "optical_from_body", "pack_points",
    "points_message", "pose_matrix", "pose_message", "quaternion_xyzw", "stamp_ns",
]  # fmt: skip


def _optional(module: str) -> Any:
    """Import a module; None if it is missing or was built for another numpy."""
    try:
        return importlib.import_module(module)
    except Exception:
        return None


cv_bridge = _optional("cv_bridge")
point_cloud2 = _optional("sensor_msgs_py.point_cloud2")
tf_transformations = _optional("tf_transformations")


def image_message(rgb: NDArray[np.uint8], header: Header) -> Image:
    """Return an rgb8 Image of pixels (H, W, 3) uint8."""
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise ShapeError.of("image", "(H, W, 3) uint8", f"{rgb.shape} {rgb.dtype}")
    if cv_bridge is not None:
        message: Image = cv_bridge.CvBridge().cv2_to_imgmsg(rgb, "rgb8", header)
        return message
    height, width, _ = rgb.shape
    return Image(header=header, height=height, width=width, encoding="rgb8", step=3 * width,
                 data=_byte_array(rgb))  # fmt: skip


def cloud_message(cloud: PointCloud, header: Header) -> PointCloud2:
    """Return a PointCloud2 with x, y, z, and intensity, label and rgb if the cloud has them."""
    return points_message(pack_points(cloud), header)


def points_message(points: NDArray[Any], header: Header) -> PointCloud2:
    """Return a PointCloud2 of a structured array as made by `pack_points`.

    is_dense is True if all coordinates are finite, whichever library makes the message.
    """
    fields = [PointField(**field) for field in point_fields(points.dtype)]
    if point_cloud2 is not None:
        message = point_cloud2.create_cloud(header, fields, points)
    else:
        message = PointCloud2(
            header=header, height=1, width=len(points), fields=fields, is_bigendian=False,
            point_step=points.itemsize, row_step=points.nbytes, data=_byte_array(points),
        )  # fmt: skip
    message.is_dense = is_dense(points)
    return message


def quaternion_xyzw(T: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the unit quaternion (x, y, z, w) of a (4, 4) transform's rotation."""
    if tf_transformations is not None:
        return np.asarray(tf_transformations.quaternion_from_matrix(T))
    return Rotation.from_matrix(T[:3, :3]).as_quat()


def pose_message(T: NDArray[np.floating]) -> Pose:
    """Return the Pose of a (4, 4) transform."""
    x, y, z = (float(v) for v in T[:3, 3])
    qx, qy, qz, qw = (float(v) for v in quaternion_xyzw(T))
    return Pose(position=Point(x=x, y=y, z=z), orientation=Quaternion(x=qx, y=qy, z=qz, w=qw))


def _byte_array(values: NDArray[Any]) -> array.array[int]:
    """Return an array's bytes in the only type that message fields take without a copy per byte."""
    data = array.array("B")
    data.frombytes(np.ascontiguousarray(values).tobytes())
    return data
