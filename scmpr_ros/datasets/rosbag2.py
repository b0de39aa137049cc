"""Read drives from rosbag2 directories (mcap or sqlite3), without ROS.

Topic names default to those of kitti2bag. What a bag must hold to be a `Drive`: images with
camera_info, scans, poses of some frame in the world (Odometry or PoseStamped), and on /tf_static
how LiDAR, camera and that frame are mounted.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader
from rosbags.rosbag2.errors import ReaderError
from rosbags.typesys import Stores, get_typestore
from scipy.spatial.transform import Rotation, Slerp

from scmpr_ros.datasets.ros_messages import (
    camera_from_info,
    cloud_from_pointcloud2,
    pose_matrix,
    rgb_from_compressed,
    rgb_from_image,
    stamp_ns,
    stamp_of_cdr,
)
from scmpr_ros.errors import CalibrationError, ConfigError, DatasetError
from scmpr_ros.geometry import invert, make_transform
from scmpr_ros.records import CameraModel, PointCloud
from scmpr_ros.semantics import LABEL_SETS

TYPES = get_typestore(Stores.ROS2_KILTED)
"""Message types of the `rosbags` library; those used here have not changed since Humble."""


@dataclass(frozen=True)
class BagTopics:
    """Names of a drive's topics in a bag."""

    image: str = "/kitti/camera_color_left/image_raw"
    """Raw images; where there are none, compressed ones at `<image>/compressed`."""
    camera_info: str = "/kitti/camera_color_left/camera_info"
    """Intrinsics of the images."""
    points: str = "/kitti/velo/pointcloud"
    """Scans."""
    pose: str = "/kitti/ground_truth/odometry"
    """nav_msgs/Odometry or geometry_msgs/PoseStamped."""
    tf_static: str = "/tf_static"
    """How sensors are mounted."""


@dataclass(frozen=True)
class BagReaderConfig:
    """Where in a bag a drive lies."""

    topics: BagTopics = field(default_factory=BagTopics)
    T_lidar_camera: tuple[float, ...] = ()
    """Row-major 3x4 extrinsics of the optical frame; empty: from tf_static."""
    pose_frame: str = ""
    """Frame whose pose the pose topic gives; empty: Odometry's child frame, else the LiDAR's."""
    max_pose_gap_s: float = 1.0
    """Stamps between two poses that are further apart than this have no pose."""
    label_set: str = "joint"
    """What the points' field `label` holds: joint ids, or one of `semantics.LABEL_SETS`."""

    def __post_init__(self) -> None:
        if len(self.T_lidar_camera) not in (0, 12):
            raise ConfigError(f"T_lidar_camera needs 12 numbers, got {len(self.T_lidar_camera)}")
        if self.label_set not in ("joint", *LABEL_SETS):
            raise ConfigError(f"label_set {self.label_set!r} should be joint or of {LABEL_SETS}")


@contextmanager
def open_bag(path: Path) -> Iterator[Reader]:
    """Open a rosbag2 directory; DatasetError where it, or what is read from it, is damaged."""
    path = Path(path)
    if not (path / "metadata.yaml").is_file():
        raise DatasetError(
            f"{path}: no metadata.yaml, so this is no rosbag2 directory; name the folder that "
            "holds it, and after a crashed recording run `ros2 bag reindex`"
        )
    try:
        with Reader(path) as reader:
            yield reader
    except (ReaderError, sqlite3.DatabaseError, struct.error) as error:
        raise DatasetError(
            f"{path}: the bag is damaged or of an unsupported kind: {error} Copy it again, or run "
            "`ros2 bag reindex`"
        ) from error


def find_connection(reader: Reader, topic: str) -> Connection:
    """The connection of a topic; DatasetError with the topics that there are."""
    for connection in reader.connections:
        if connection.topic == topic and connection.msgcount > 0:
            return connection
    there = ", ".join(sorted(f"{c.topic} ({c.msgtype})" for c in reader.connections))
    raise DatasetError(f"{reader.path}: no messages of topic {topic}; there are: {there or 'none'}")


class Rosbag2Drive:
    """A bag as a `Drive`.

    Frames are the distinct header stamps of images, scans and poses, numbered from 0 in order of
    time. Poses are interpolated at the stamps of images and scans; a stamp that has no pose near
    it on both sides is no frame of the drive. The world is the frame that the poses are given in.
    """

    def __init__(self, path: Path, config: BagReaderConfig | None = None) -> None:
        """Index the bag; images and scans are read when they are asked for.

        Raises DatasetError for a damaged bag and for missing topics, CalibrationError where the
        mounting of camera and LiDAR is neither in tf_static nor in the config.
        """
        self.path, self.config = Path(path), config or BagReaderConfig()
        self.name = self.path.name
        topics = self.config.topics
        with open_bag(self.path) as reader:
            available = {c.topic for c in reader.connections if c.msgcount > 0}
            compressed = f"{topics.image}/compressed"
            use_compressed = topics.image not in available and compressed in available
            self._image_topic = compressed if use_compressed else topics.image
            images = _stamps(reader, self._image_topic)
            scans = _stamps(reader, topics.points)
            pose_stamps, poses, posed_frame = _poses(reader, topics.pose)
            lidar_frame = next(_messages(reader, topics.points)).header.frame_id
            camera_info = next(_messages(reader, topics.camera_info))
            mounting = _Mounting(reader, topics.tf_static)
        self.camera: CameraModel = camera_from_info(camera_info)
        if self.config.T_lidar_camera:
            rows = np.reshape(self.config.T_lidar_camera, (3, 4))
            self.T_lidar_camera: NDArray[np.float64] = make_transform(rows[:, :3], rows[:, 3])
        else:
            self.T_lidar_camera = mounting.between(lidar_frame, camera_info.header.frame_id)
        T_posed_lidar = mounting.between(self.config.pose_frame or posed_frame or lidar_frame,
                                         lidar_frame)  # fmt: skip
        stamps = np.unique(np.concatenate([pose_stamps, list(images), list(scans)]))
        self._stamps: NDArray[np.int64] = stamps.astype(np.int64)
        self._T_world_lidar = {
            frame: T_world_posed @ T_posed_lidar
            for frame, T_world_posed in _interpolate(
                pose_stamps, poses, self._stamps, self.config.max_pose_gap_s
            ).items()
        }
        frame_of = {stamp: frame for frame, stamp in enumerate(self._stamps.tolist())}
        self._image_log_ns = {frame_of[stamp]: log for stamp, log in images.items()}
        self._scan_log_ns = {frame_of[stamp]: log for stamp, log in scans.items()}

    @property
    def frames(self) -> Sequence[int]:
        """Frames that have a pose."""
        return list(self._T_world_lidar)

    @property
    def image_frames(self) -> Sequence[int]:
        """Frames that have an image and a pose."""
        return [frame for frame in self._T_world_lidar if frame in self._image_log_ns]

    @property
    def scan_frames(self) -> Sequence[int]:
        """Frames that have a scan and a pose."""
        return [frame for frame in self._T_world_lidar if frame in self._scan_log_ns]

    def stamp_s(self, frame: int) -> float:
        """Seconds since the bag's first stamp."""
        return float(self._stamps[frame] - self._stamps[0]) / 1e9

    def stamp_ns(self, frame: int) -> int:
        """Header stamp in nanoseconds, as the messages carry it."""
        return int(self._stamps[frame])

    def T_world_lidar(self, frame: int) -> NDArray[np.float64]:
        """Pose (4, 4) of the LiDAR in the world."""
        if frame not in self._T_world_lidar:
            raise DatasetError(f"{self.path}: frame {frame} has no pose within its reach")
        return self._T_world_lidar[frame]

    def T_world_camera(self, frame: int) -> NDArray[np.float64]:
        """Pose (4, 4) of the optical frame in the world."""
        return self.T_world_lidar(frame) @ self.T_lidar_camera

    def image(self, frame: int) -> NDArray[np.uint8]:
        """RGB image (H, W, 3)."""
        content = self._read(self._image_topic, self._image_log_ns, frame)
        return rgb_from_image(content) if hasattr(content, "encoding") else \
            rgb_from_compressed(content)  # fmt: skip

    def scan(self, frame: int) -> PointCloud:
        """Scan in the LiDAR frame, with intensity and joint labels where the bag has them."""
        content = self._read(self.config.topics.points, self._scan_log_ns, frame)
        return cloud_from_pointcloud2(content, self.config.label_set)

    def mask(self, frame: int) -> None:
        """Bags carry no masks."""
        del frame

    def _read(self, topic: str, log_ns: dict[int, int], frame: int) -> Any:
        if frame not in log_ns:
            raise DatasetError(f"{self.path}: frame {frame} has no message of {topic}")
        start = log_ns[frame]
        with open_bag(self.path) as reader:
            for content in _messages(reader, topic, start, start + 1):
                if stamp_ns(content.header) == self._stamps[frame]:
                    return content
        raise DatasetError(f"{self.path}: the message of {topic} at {start} ns is gone")


class _Mounting:
    """The static transforms of a bag, composed along their tree."""

    def __init__(self, reader: Reader, topic: str) -> None:
        self._path, self._topic = reader.path, topic
        self._neighbours: dict[str, dict[str, NDArray[np.float64]]] = {}
        if topic not in {c.topic for c in reader.connections}:
            return
        for content in _messages(reader, topic):
            for edge in content.transforms:
                parent, child = edge.header.frame_id.lstrip("/"), edge.child_frame_id.lstrip("/")
                T_parent_child = pose_matrix(edge.transform)
                self._neighbours.setdefault(parent, {})[child] = T_parent_child
                self._neighbours.setdefault(child, {})[parent] = invert(T_parent_child)

    def between(self, a: str, b: str) -> NDArray[np.float64]:
        """T_a_b; CalibrationError where nothing connects the frames."""
        a, b = a.lstrip("/"), b.lstrip("/")
        reached = {a: np.eye(4)}
        frontier = [a]
        while frontier:
            here = frontier.pop()
            for there, T_here_there in self._neighbours.get(here, {}).items():
                if there not in reached:
                    reached[there] = reached[here] @ T_here_there
                    frontier.append(there)
        if b not in reached:
            raise CalibrationError(
                f"{self._path}: {self._topic} does not connect {a!r} with {b!r} (it reaches "
                f"{', '.join(reached)}); give the extrinsics in the reader's config"
            )
        return reached[b]


def _messages(
    reader: Reader, topic: str, start: int | None = None, stop: int | None = None
) -> Iterator[Any]:
    """Decoded messages of a topic, in order of their log time."""
    connection = find_connection(reader, topic)
    for _, _, raw in reader.messages([connection], start=start, stop=stop):
        yield TYPES.deserialize_cdr(raw, connection.msgtype)


def _stamps(reader: Reader, topic: str) -> dict[int, int]:
    """Log time of each header stamp of a topic, both in ns, without decoding the messages."""
    connection = find_connection(reader, topic)
    return {stamp_of_cdr(raw): log for _, log, raw in reader.messages([connection])}


def _poses(reader: Reader, topic: str) -> tuple[NDArray[np.int64], NDArray[np.float64], str]:
    """Stamps (N,) in ns and poses (N, 4, 4) in order of time, and the frame they are of, or ''."""
    by_stamp: dict[int, NDArray[np.float64]] = {}
    posed_frame = ""
    for content in _messages(reader, topic):
        posed_frame = getattr(content, "child_frame_id", "")
        pose = content.pose.pose if hasattr(content.pose, "pose") else content.pose
        by_stamp[stamp_ns(content.header)] = pose_matrix(pose)
    order = sorted(by_stamp)
    return np.array(order, np.int64), np.stack([by_stamp[s] for s in order]), posed_frame


def _interpolate(
    stamps: NDArray[np.int64], poses: NDArray[np.float64], at: NDArray[np.int64], max_gap_s: float
) -> dict[int, NDArray[np.float64]]:
    """Poses at other stamps, `{index into at: (4, 4)}`: linear in position, slerp in rotation."""
    after = np.searchsorted(stamps, at, side="left")
    exact = stamps[np.minimum(after, len(stamps) - 1)] == at
    inside = (after > 0) & (after < len(stamps))
    gap_s = np.diff(stamps, prepend=stamps[0])[np.minimum(after, len(stamps) - 1)] / 1e9
    posed = np.flatnonzero(exact | (inside & (gap_s <= max_gap_s)))
    if len(stamps) == 1:
        return {int(i): poses[0] for i in posed}
    seconds, wanted = (stamps - stamps[0]) / 1e9, (at[posed] - stamps[0]) / 1e9
    rotations = Slerp(seconds, Rotation.from_matrix(poses[:, :3, :3]))(wanted).as_matrix()
    positions = [np.interp(wanted, seconds, poses[:, axis, 3]) for axis in range(3)]
    return {
        int(i): make_transform(R, np.array(t))
        for i, R, t in zip(posed, rotations, np.stack(positions, axis=1), strict=True)
    }
