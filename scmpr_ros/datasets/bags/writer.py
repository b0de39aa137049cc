"""Write any drive as a rosbag2 directory (mcap) with the topics and frames of kitti2bag."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

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

from scmpr_ros.atomic_files import atomic_directory
from scmpr_ros.datasets.bags import messages as make
from scmpr_ros.datasets.bags.options import BagTopics
from scmpr_ros.datasets.bags.reader import CAMERA_FRAME_KEY, LABEL_SET_KEY, START_KEY
from scmpr_ros.datasets.bags.storage import TYPES
from scmpr_ros.datasets.drive import Drive
from scmpr_ros.datasets.drive_frames import DriveFrame, DriveFrames, FrameChoice
from scmpr_ros.datasets.ros_clouds import pack_points
from scmpr_ros.datasets.simulated_odometry import OdometryNoise, drifting_poses
from scmpr_ros.errors import CalibrationError, ConfigError, DatasetError
from scmpr_ros.geometry import invert, make_transform, rotation_z

_NS = 1_000_000_000
_ODOMETRY_VARIANCE = 1e-4  # small, but filters refuse zero


@dataclass(frozen=True)
class BagWriterConfig:
    """Topics, frames and formats of a bag."""

    topics: BagTopics = field(default_factory=BagTopics)
    image_format: Literal["raw", "png", "jpeg"] = "raw"
    """raw and png are lossless, jpeg is not."""
    jpeg_quality: int = 90
    scans: bool = True
    """Write scans; without them the bag can be localised but not mapped."""
    odometry: bool = True
    """Write odometry: the motion since the first frame, made from the true poses."""
    odometry_drift_deg_per_m: float = 0.0
    """Drift of the odometry: error in yaw, to the left, per metre travelled."""
    odometry_noise: OdometryNoise = field(default_factory=lambda: OdometryNoise(0.0, 0.0, 0.0))
    """Random errors of the odometry, on top; zero is the true motion."""
    odometry_seed: int = 0
    """Of these errors."""
    tf: bool = False
    """Also write the odometry as transforms."""
    start_s: float = 1.0e9
    """Time in the bag at which the drive's stamps are zero; ROS reads zero as no time."""
    map_frame: str = "map"
    odom_frame: str = "odom"
    base_frame: str = "base_link"
    lidar_frame: str = "velo_link"
    camera_frame: str = "camera_color_left"
    lidar_xyz: tuple[float, float, float] = (0.0, 0.0, 1.73)
    """Position of the LiDAR on the base, in metres; their axes are parallel."""

    def __post_init__(self) -> None:
        if not 1 <= self.jpeg_quality <= 100:
            raise ConfigError(f"jpeg_quality must be 1 to 100, got {self.jpeg_quality}")
        if not self.start_s > 0:
            raise ConfigError(f"start_s must be positive, got {self.start_s}")

    def stamp_ns(self, stamp_s: float) -> int:
        """Time in the bag of a drive's stamp; the sum would exceed the digits of a float."""
        return round(self.start_s * _NS) + round(stamp_s * _NS)


def write_drive_bag(
    drive: Drive,
    path: Path,
    config: BagWriterConfig | None = None,
    progress: bool = False,
    choice: FrameChoice | None = None,
) -> DriveFrames:
    """Write a drive, or a selection of its frames, as an mcap bag, atomically.

    The bag holds images, camera_info, masks (joint ids), scans, true poses of the LiDAR, odometry,
    and base, LiDAR and camera on tf_static. The field `label` of points holds raw ids if the drive
    has them, else joint ids; the metadata's custom data name the label set.

    Returns the frames with their counts. Raises DatasetError if `path` exists or stamps do not
    increase.
    """
    config, frames = config or BagWriterConfig(), DriveFrames(drive, choice)
    with (
        atomic_directory(Path(path)) as partial,
        Writer(partial, version=8, storage_plugin=StoragePlugin.MCAP) as writer,
    ):
        _DriveWriter(frames, writer, config).write(progress)
    return frames


def drive_odometry(
    T_world_base: NDArray[np.float64], stamps_s: NDArray[np.float64], drift_rad_per_m: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Simulate odometry of true poses (N, 4, 4) at stamps (N,).

    drift_rad_per_m: error in yaw, to the left, added at each step.
    Returns poses T_odom_base (N, 4, 4), starting with the identity, and velocities (N, 6) of the
    base in its own axes (m/s, rad/s), from each frame to the next; the last repeats.
    """
    steps = invert(T_world_base[:-1]) @ T_world_base[1:]
    lengths = np.linalg.norm(steps[:, :3, 3], axis=1)
    T_odom_base, velocities = [np.eye(4)], np.zeros((len(T_world_base), 6))
    for index, (step, length) in enumerate(zip(steps, lengths, strict=True)):
        step[:3, :3] = rotation_z(drift_rad_per_m * length) @ step[:3, :3]
        T_odom_base.append(T_odom_base[-1] @ step)
        turn = Rotation.from_matrix(step[:3, :3]).as_rotvec()
        seconds = stamps_s[index + 1] - stamps_s[index]
        velocities[index : index + 2] = np.concatenate([step[:3, 3], turn]) / seconds
    return np.stack(T_odom_base), velocities


class _DriveWriter:
    """Writes the messages of a drive in the order of its frames."""

    def __init__(self, frames: DriveFrames, writer: Writer, config: BagWriterConfig) -> None:
        self.frames, self.drive = frames, frames.drive
        self.writer, self.config, self.topics = writer, config, config.topics
        self.connections: dict[str, Connection] = {}
        self.stamps_ns = {
            frame: config.stamp_ns(self.drive.stamp_s(frame)) for frame in frames.numbers
        }

    def write(self, progress: bool) -> None:
        config, stamps = self.config, np.array(list(self.stamps_ns.values()))
        if (np.diff(stamps) <= 0).any():
            late = self.frames.numbers[int(np.argmax(np.diff(stamps) <= 0)) + 1]
            raise DatasetError(
                f"drive {self.drive.name}: the stamp of frame {late} is not later than that of the "
                "frame before; a bag identifies frames by their stamps"
            )
        self.writer.set_custom_data(LABEL_SET_KEY, self.frames.label_set)
        self.writer.set_custom_data(START_KEY, str(config.stamp_ns(0.0)))
        self.writer.set_custom_data(CAMERA_FRAME_KEY, config.camera_frame)
        T_base_lidar = make_transform(np.eye(3), np.array(config.lidar_xyz))
        T_world_lidar = np.stack([self.drive.T_world_lidar(f) for f in self.frames.numbers])
        T_world_base = T_world_lidar @ invert(T_base_lidar)
        T_odom_base, velocities = drive_odometry(
            drifting_poses(T_world_base, config.odometry_noise, config.odometry_seed),
            (stamps - stamps[0]) / _NS,
            np.radians(config.odometry_drift_deg_per_m),
        )  # fmt: skip
        self._mounting(T_base_lidar)
        for row, frame in enumerate(self.frames.read(progress, config.scans)):
            self._truth(frame.number, T_world_lidar[row])
            self._odometry(frame.number, T_odom_base[row], velocities[row])
            self._sensors(frame)

    def _header(self, frame: int, frame_id: str) -> Any:
        return make.header(self.stamps_ns[frame], frame_id)

    def _send(self, topic: str, content: Any, frame: int, latched: bool = False) -> None:
        kind = content.__msgtype__
        if topic not in self.connections:
            self.connections[topic] = self.writer.add_connection(
                topic, kind, typestore=TYPES, offered_qos_profiles=[_qos(latched)]
            )
        data = TYPES.serialize_cdr(content, kind)
        self.writer.write(self.connections[topic], self.stamps_ns[frame], data)

    def _mounting(self, T_base_lidar: NDArray[np.float64]) -> None:
        config, first = self.config, self.frames.numbers[0]
        base, lidar = (self._header(first, f) for f in (config.base_frame, config.lidar_frame))
        edges = [(base, config.lidar_frame, T_base_lidar)]
        try:
            edges.append((lidar, config.camera_frame, self.drive.T_lidar_camera))
        except CalibrationError:
            if self.drive.image_frames:
                raise
        self._send(self.topics.tf_static, make.transforms(edges), first, latched=True)

    def _truth(self, frame: int, T_world_lidar: NDArray[np.float64]) -> None:
        content = make.odometry(self._header(frame, self.config.map_frame), self.config.lidar_frame,
                                T_world_lidar, np.zeros(6))  # fmt: skip
        self._send(self.topics.pose, content, frame)

    def _odometry(
        self, frame: int, T_odom_base: NDArray[np.float64], velocity: NDArray[np.float64]
    ) -> None:
        header, base = self._header(frame, self.config.odom_frame), self.config.base_frame
        if self.config.odometry:
            content = make.odometry(header, base, T_odom_base, velocity, _ODOMETRY_VARIANCE)
            self._send(self.topics.odometry, content, frame)
        if self.config.tf:
            content = make.transforms([(header, base, T_odom_base)])
            self._send(self.topics.tf, content, frame)

    def _sensors(self, frame: DriveFrame) -> None:
        camera_header = self._header(frame.number, self.config.camera_frame)
        if frame.image is not None:
            info = make.camera_info(camera_header, self.drive.camera)
            self._send(self.topics.camera_info, info, frame.number, latched=True)
            self._image(camera_header, frame.image, frame.number)
        if frame.mask is not None:
            self._send(self.topics.mask, make.image(camera_header, frame.mask), frame.number)
        if frame.scan is not None:
            points = pack_points(frame.scan, frame.point_labels)
            lidar_header = self._header(frame.number, self.config.lidar_frame)
            self._send(self.topics.points, make.point_cloud(lidar_header, points), frame.number)

    def _image(self, header: Any, rgb: NDArray[np.uint8], frame: int) -> None:
        form = self.config.image_format
        if form == "raw":
            self._send(self.topics.image, make.image(header, rgb), frame)
        else:
            content = make.compressed_image(header, rgb, form, self.config.jpeg_quality)
            self._send(f"{self.topics.image}/compressed", content, frame)


def _qos(latched: bool) -> Qos:
    durability = QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE
    never = QosTime(9223372036, 854775807)
    return Qos(QosHistory.KEEP_LAST, 10, QosReliability.RELIABLE, durability, never, never,
               QosLiveliness.AUTOMATIC, never, False)  # fmt: skip
