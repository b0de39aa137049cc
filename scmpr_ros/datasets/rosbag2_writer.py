"""Write any drive as a rosbag2 directory (mcap) with the topics and frames of kitti2bag."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from scmpr_ros.datasets.drive import Drive
from scmpr_ros.datasets.ros_messages import pack_points, point_fields
from scmpr_ros.datasets.rosbag2 import TYPES, BagTopics
from scmpr_ros.errors import ConfigError, DatasetError

_NS = 1_000_000_000


@dataclass(frozen=True)
class BagWriterConfig:
    """How a drive is written as a bag."""

    topics: BagTopics = field(default_factory=BagTopics)
    image_format: Literal["raw", "png", "jpeg"] = "raw"
    jpeg_quality: int = 90
    scans: bool = True
    """Whether to write scans; without them the bag can be localised, but not mapped."""
    start_s: float = 1.0e9
    """Time of the recording's first frame; zero would mean "no time" to ROS."""
    map_frame: str = "map"
    lidar_frame: str = "velo_link"
    camera_frame: str = "camera_color_left"

    def __post_init__(self) -> None:
        if not 1 <= self.jpeg_quality <= 100:
            raise ConfigError(f"jpeg_quality must be 1 to 100, got {self.jpeg_quality}")
        if not self.start_s > 0:
            raise ConfigError(f"start_s must be positive, got {self.start_s}")


def write_drive_bag(
    drive: Drive, path: Path, config: BagWriterConfig | None = None, progress: bool = False
) -> None:
    """Write a drive as an mcap bag: images, camera_info, scans, poses of the LiDAR, tf_static.

    The directory is written under a temporary name, then renamed. Raises DatasetError where
    `path` exists.
    """
    path = Path(path)
    if path.exists():
        raise DatasetError(f"{path} exists already: remove it, or choose another name")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    with Writer(partial, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        _DriveWriter(drive, writer, config or BagWriterConfig()).write(progress)
    # the file inside carries the directory's name, as rosbag2 does it
    (mcap,) = partial.glob("*.mcap")
    metadata = partial / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace(mcap.name, f"{path.name}.mcap"))
    mcap.rename(partial / f"{path.name}.mcap")
    partial.rename(path)


class _DriveWriter:
    """One message of each kind at a time, in the order of the frames."""

    def __init__(self, drive: Drive, writer: Writer, config: BagWriterConfig) -> None:
        self.drive, self.writer, self.config = drive, writer, config
        self.connections: dict[str, Connection] = {}

    def write(self, progress: bool) -> None:
        images, scans = set(self.drive.image_frames), set(self.drive.scan_frames)
        frames = list(self.drive.frames)
        if not frames:
            raise DatasetError(f"drive {self.drive.name} has no frames with a pose")
        self._mounting(frames[0])
        for frame in tqdm(frames, desc="writing bag", unit="frame", disable=not progress):
            self._pose(frame)
            if frame in images:
                self._camera_info(frame)
                self._image(frame)
            if self.config.scans and frame in scans:
                self._scan(frame)

    def _stamp_ns(self, frame: int) -> int:
        return round((self.config.start_s + self.drive.stamp_s(frame)) * _NS)

    def _header(self, frame: int, frame_id: str) -> Any:
        sec, nanosec = divmod(self._stamp_ns(frame), _NS)
        stamp = message("builtin_interfaces/msg/Time", sec=sec, nanosec=nanosec)
        return message("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)

    def _send(self, topic: str, content: Any, frame: int, latched: bool = False) -> None:
        kind = content.__msgtype__
        if topic not in self.connections:
            self.connections[topic] = self.writer.add_connection(
                topic, kind, typestore=TYPES, offered_qos_profiles=[_qos(latched)]
            )
        data = TYPES.serialize_cdr(content, kind)
        self.writer.write(self.connections[topic], self._stamp_ns(frame), data)

    def _mounting(self, frame: int) -> None:
        transform = message(
            "geometry_msgs/msg/TransformStamped",
            header=self._header(frame, self.config.lidar_frame),
            child_frame_id=self.config.camera_frame,
            transform=_transform(self.drive.T_lidar_camera),
        )
        content = message("tf2_msgs/msg/TFMessage", transforms=[transform])
        self._send(self.config.topics.tf_static, content, frame, latched=True)

    def _pose(self, frame: int) -> None:
        T, zeros = self.drive.T_world_lidar(frame), np.zeros(36)
        pose = message("geometry_msgs/msg/Pose", position=_vector("Point", T[:3, 3]),
                       orientation=_quaternion(T))  # fmt: skip
        still = message("geometry_msgs/msg/Twist", linear=_vector("Vector3", np.zeros(3)),
                        angular=_vector("Vector3", np.zeros(3)))  # fmt: skip
        content = message(
            "nav_msgs/msg/Odometry",
            header=self._header(frame, self.config.map_frame),
            child_frame_id=self.config.lidar_frame,
            pose=message("geometry_msgs/msg/PoseWithCovariance", pose=pose, covariance=zeros),
            twist=message("geometry_msgs/msg/TwistWithCovariance", twist=still, covariance=zeros),
        )
        self._send(self.config.topics.pose, content, frame)

    def _camera_info(self, frame: int) -> None:
        camera = self.drive.camera
        P = np.hstack([camera.matrix, np.zeros((3, 1))])
        roi = message("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0,
                      width=0, do_rectify=False)  # fmt: skip
        content = message(
            "sensor_msgs/msg/CameraInfo",
            header=self._header(frame, self.config.camera_frame),
            height=camera.height, width=camera.width, distortion_model="plumb_bob", d=np.zeros(5),
            k=camera.matrix.ravel(), r=np.eye(3).ravel(), p=P.ravel(), binning_x=0, binning_y=0,
            roi=roi,
        )  # fmt: skip
        self._send(self.config.topics.camera_info, content, frame, latched=True)

    def _image(self, frame: int) -> None:
        rgb, topic = self.drive.image(frame), self.config.topics.image
        header = self._header(frame, self.config.camera_frame)
        if self.config.image_format == "raw":
            height, width, _ = rgb.shape
            content = message("sensor_msgs/msg/Image", header=header, height=height, width=width,
                              encoding="rgb8", is_bigendian=0, step=3 * width,
                              data=np.ascontiguousarray(rgb).reshape(-1))  # fmt: skip
            return self._send(topic, content, frame)
        options = [cv2.IMWRITE_JPEG_QUALITY, self.config.jpeg_quality]
        suffix, options = (".png", []) if self.config.image_format == "png" else (".jpg", options)
        _, data = cv2.imencode(suffix, rgb[..., ::-1], options)
        content = message("sensor_msgs/msg/CompressedImage", header=header,
                          format=self.config.image_format, data=data.reshape(-1))  # fmt: skip
        self._send(f"{topic}/compressed", content, frame)

    def _scan(self, frame: int) -> None:
        points = pack_points(self.drive.scan(frame))
        content = message(
            "sensor_msgs/msg/PointCloud2",
            header=self._header(frame, self.config.lidar_frame),
            height=1, width=len(points), is_bigendian=False, is_dense=True,
            fields=[message("sensor_msgs/msg/PointField", **f) for f in point_fields(points.dtype)],
            point_step=points.itemsize, row_step=points.nbytes, data=points.view(np.uint8),
        )  # fmt: skip
        self._send(self.config.topics.points, content, frame)


def message(kind: str, **values: Any) -> Any:
    """A message of the `rosbags` library, e.g. of kind `std_msgs/msg/Header`."""
    return TYPES.types[kind](**values)


def _vector(kind: str, xyz: NDArray[np.floating]) -> Any:
    x, y, z = (float(v) for v in xyz)
    return message(f"geometry_msgs/msg/{kind}", x=x, y=y, z=z)


def _quaternion(T: NDArray[np.floating]) -> Any:
    x, y, z, w = (float(v) for v in Rotation.from_matrix(T[:3, :3]).as_quat())
    return message("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w)


def _transform(T: NDArray[np.floating]) -> Any:
    return message("geometry_msgs/msg/Transform", translation=_vector("Vector3", T[:3, 3]),
                   rotation=_quaternion(T))  # fmt: skip


def _qos(latched: bool) -> Qos:
    durability = QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE
    never = QosTime(9223372036, 854775807)
    return Qos(QosHistory.KEEP_LAST, 10, QosReliability.RELIABLE, durability, never, never,
               QosLiveliness.AUTOMATIC, never, False)  # fmt: skip
