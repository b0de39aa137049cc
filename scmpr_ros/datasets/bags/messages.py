"""Build messages for a bag as objects of the `rosbags` library, without ROS."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from scmpr_ros.datasets.bags.storage import TYPES
from scmpr_ros.datasets.ros_clouds import is_dense, point_fields
from scmpr_ros.records import CameraModel


def message(kind: str, **values: Any) -> Any:
    """Build a message of a type such as `std_msgs/msg/Header`."""
    return TYPES.types[kind](**values)


def header(stamp_ns: int, frame_id: str) -> Any:
    """Build a std_msgs/Header."""
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    stamp = message("builtin_interfaces/msg/Time", sec=sec, nanosec=nanosec)
    return message("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)


def image(header: Any, pixels: NDArray[np.uint8]) -> Any:
    """Build a sensor_msgs/Image: rgb8 from pixels (H, W, 3), mono8 from pixels (H, W)."""
    height, width = pixels.shape[:2]
    encoding = "mono8" if pixels.ndim == 2 else "rgb8"
    data = np.ascontiguousarray(pixels).reshape(-1)
    return message("sensor_msgs/msg/Image", header=header, height=height, width=width,
                   encoding=encoding, is_bigendian=0, step=len(data) // height,
                   data=data)  # fmt: skip


def compressed_image(
    header: Any, rgb: NDArray[np.uint8], form: Literal["png", "jpeg"], jpeg_quality: int
) -> Any:
    """Build a sensor_msgs/CompressedImage from RGB pixels (H, W, 3)."""
    suffix, options = (".png", []) if form == "png" else \
        (".jpg", [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality])  # fmt: skip
    _, data = cv2.imencode(suffix, rgb[..., ::-1], options)
    return message("sensor_msgs/msg/CompressedImage", header=header, format=form,
                   data=data.reshape(-1))  # fmt: skip


def camera_info(header: Any, camera: CameraModel) -> Any:
    """Build a sensor_msgs/CameraInfo of rectified images."""
    P = np.hstack([camera.matrix, np.zeros((3, 1))])
    roi = message("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0,
                  do_rectify=False)  # fmt: skip
    return message(
        "sensor_msgs/msg/CameraInfo", header=header, height=camera.height, width=camera.width,
        distortion_model="plumb_bob", d=np.zeros(5), k=camera.matrix.ravel(), r=np.eye(3).ravel(),
        p=P.ravel(), binning_x=0, binning_y=0, roi=roi,
    )  # fmt: skip


def point_cloud(header: Any, points: NDArray[Any]) -> Any:
    """Build a sensor_msgs/PointCloud2 from a structured array (N,) of `pack_points`."""
    fields = [message("sensor_msgs/msg/PointField", **f) for f in point_fields(points.dtype)]
    return message(
        "sensor_msgs/msg/PointCloud2", header=header, height=1, width=len(points), fields=fields,
        is_bigendian=False, is_dense=is_dense(points), point_step=points.itemsize,
        row_step=points.nbytes, data=points.view(np.uint8),
    )  # fmt: skip


def odometry(
    header: Any,
    child_frame: str,
    T: NDArray[np.float64],
    velocity: NDArray[np.float64],
    variance: float = 0.0,
) -> Any:
    """Build a nav_msgs/Odometry.

    T: (4, 4) pose of the child frame in the header's frame.
    velocity: (6,) of the child frame in its own axes, m/s and rad/s.
    variance: diagonal of both covariances.
    """
    covariance = variance * np.eye(6).ravel()
    pose = message("geometry_msgs/msg/Pose", position=_vector("Point", T[:3, 3]),
                   orientation=_quaternion(T))  # fmt: skip
    twist = message("geometry_msgs/msg/Twist", linear=_vector("Vector3", velocity[:3]),
                    angular=_vector("Vector3", velocity[3:]))  # fmt: skip
    return message(
        "nav_msgs/msg/Odometry",
        header=header,
        child_frame_id=child_frame,
        pose=message("geometry_msgs/msg/PoseWithCovariance", pose=pose, covariance=covariance),
        twist=message("geometry_msgs/msg/TwistWithCovariance", twist=twist, covariance=covariance),
    )


def transforms(edges: Iterable[tuple[Any, str, NDArray[np.float64]]]) -> Any:
    """Build a tf2_msgs/TFMessage of (header of the parent, child frame, T_parent_child (4, 4))."""
    stamped = [
        message(
            "geometry_msgs/msg/TransformStamped", header=header, child_frame_id=child,
            transform=message("geometry_msgs/msg/Transform",
                              translation=_vector("Vector3", T[:3, 3]), rotation=_quaternion(T)),
        )
        for header, child, T in edges
    ]  # fmt: skip
    return message("tf2_msgs/msg/TFMessage", transforms=stamped)


def _vector(kind: str, xyz: NDArray[np.floating]) -> Any:
    x, y, z = (float(v) for v in xyz)
    return message(f"geometry_msgs/msg/{kind}", x=x, y=y, z=z)


def _quaternion(T: NDArray[np.floating]) -> Any:
    x, y, z, w = (float(v) for v in Rotation.from_matrix(T[:3, :3]).as_quat())
    return message("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w)
