"""Read drives from rosbag2 directories (mcap or sqlite3), without ROS.

Topic names default to those of kitti2bag. A bag needs poses of some frame in the world (Odometry,
PoseStamped), the mounting of LiDAR, camera and that frame on /tf_static, and images with
camera_info, or scans, or both. Bags of `write_drive_bag` store what has no message in the custom
data of their metadata.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag2 import Reader

from scmpr_ros.datasets.camera_images import CameraImages, ImageSource
from scmpr_ros.datasets.drive import Drive
from scmpr_ros.datasets.pose_interpolation import interpolate_poses
from scmpr_ros.datasets.projection import project_labels
from scmpr_ros.datasets.ros_cameras import RosCamera
from scmpr_ros.datasets.ros_clouds import cloud_from_pointcloud2, labels_from_pointcloud2
from scmpr_ros.datasets.ros_headers import stamp_ns
from scmpr_ros.datasets.ros_images import mask_from_image, size_of_image
from scmpr_ros.datasets.rosbag2.options import (
    KNOWN_LABEL_SETS,
    OPTIONS,
    BagReaderConfig,
    load_options,
)
from scmpr_ros.datasets.rosbag2.poses import StaticTransforms, read_poses
from scmpr_ros.datasets.rosbag2.topics import (
    CAMERA_INFOS,
    IMAGES,
    POINT_CLOUDS,
    RAW_IMAGES,
    BagHandle,
    has_kind,
    has_topic,
    read_messages,
    read_stamps,
)
from scmpr_ros.errors import CalibrationError, DatasetError, ScmprError, ShapeError
from scmpr_ros.geometry import invert, make_transform, transform_points
from scmpr_ros.records import CameraModel, PointCloud
from scmpr_ros.semantics import NUM_CLASSES

LABEL_SET_KEY = "scmpr_ros.label_set"
"""Custom data: label set of the points' field `label`."""
START_KEY = "scmpr_ros.start_ns"
"""Custom data: the time in the bag at which the drive's stamps are zero."""
CAMERA_FRAME_KEY = "scmpr_ros.camera_frame"
"""Custom data: name of the optical frame, for bags without images."""


class Rosbag2Drive(Drive):
    """A bag as a `Drive`.

    Frames are the distinct header stamps of images, scans and poses, numbered from 0 in order of
    time. Poses are interpolated at the stamps of images and scans; stamps without poses close by on
    both sides are not frames of the drive. The world is the frame that the poses are in. In a bag
    without scans, the posed frame takes the place of the LiDAR frame.
    """

    def __init__(self, path: Path, config: BagReaderConfig | None = None) -> None:
        """Index the bag; images and scans are read on demand.

        config: by default that of the bag's options file, see `options`.

        Raises DatasetError for a damaged bag or missing topics, CalibrationError if the mounting of
        camera and LiDAR is neither in tf_static nor in the config.
        """
        self.path = Path(path)
        self.config = load_options(self.path) if config is None else config
        self.name, self._bag = self.path.name, BagHandle(self.path)
        self.pose_source = self.config.topics.pose
        with self._bag.reader() as reader:
            custom = reader.storage.metadata.custom or {}
            log_ns = self._index(reader)
            pose_stamps, poses, posed_frame = read_poses(reader, self.config.topics.pose)
            T_posed_lidar = self._mount(reader, posed_frame, custom.get(CAMERA_FRAME_KEY, ""))
        self.label_set: str = self.config.label_set or custom.get(LABEL_SET_KEY, "joint")
        if self.label_set not in KNOWN_LABEL_SETS:
            raise DatasetError(
                f"{self.path}: unknown label set {self.label_set!r} in its metadata; set label_set "
                f"to one of {', '.join(KNOWN_LABEL_SETS)}"
            )
        stamps = set(pose_stamps.tolist()).union(*log_ns.values())
        self._stamps: NDArray[np.int64] = np.array(sorted(stamps), np.int64)
        self._start_ns = int(custom.get(START_KEY, self._stamps[0]))
        gap_s = self.config.max_pose_gap_s
        posed = interpolate_poses(pose_stamps, poses, self._stamps, gap_s, unit=1e9)
        self._T_world_lidar = {frame: T @ T_posed_lidar for frame, T in posed.items()}
        frame_of = {stamp: frame for frame, stamp in enumerate(self._stamps.tolist())}
        self._log_ns = {
            topic: {frame_of[stamp]: log for stamp, log in index.items()}
            for topic, index in log_ns.items()
        }

    def _index(self, reader: Reader) -> dict[str, dict[int, int]]:
        """Log time by header stamp, of every topic that frames are read from.

        A bag may have no images, or no scans. But if it has some under another name, the configured
        topic is missing, which is an error.
        """
        topics, kinds = self.config.topics, dict[str, tuple[str, ...]]()
        compressed = f"{topics.image}/compressed"
        use_compressed = not has_topic(reader, topics.image) and has_topic(reader, compressed)
        self._image_topic = compressed if use_compressed else topics.image
        self._has_images = has_kind(reader, IMAGES, besides=topics.mask)
        self._has_scans = has_kind(reader, POINT_CLOUDS)
        if self._has_images:
            kinds[self._image_topic] = IMAGES
        if self._has_scans or not self._has_images:
            kinds[topics.points] = POINT_CLOUDS
        if has_topic(reader, topics.mask):
            kinds[topics.mask] = RAW_IMAGES
        return {topic: read_stamps(reader, topic, kind) for topic, kind in kinds.items()}

    def _mount(self, reader: Reader, posed_frame: str, camera_frame: str) -> NDArray[np.float64]:
        """Set the camera and its extrinsics; return T_posed_lidar.

        posed_frame: frame of the poses, or ''. camera_frame: optical frame by the metadata, or ''.
        """
        config, self._info = self.config, None
        mounting = StaticTransforms(reader, config.topics.tf_static)
        posed_frame = lidar_frame = config.pose_frame or posed_frame
        if self._has_images:
            self._info = next(read_messages(reader, config.topics.camera_info, CAMERA_INFOS))
            camera_frame = self._info.header.frame_id
        if self._has_scans:
            cloud = next(read_messages(reader, config.topics.points, POINT_CLOUDS))
            lidar_frame = cloud.header.frame_id
        if config.T_lidar_camera:
            rows = np.reshape(config.T_lidar_camera, (3, 4))
            self.T_lidar_camera: NDArray[np.float64] = make_transform(rows[:, :3], rows[:, 3])
        elif camera_frame:
            self.T_lidar_camera = mounting.between(lidar_frame, camera_frame)
        else:
            raise CalibrationError(
                f"{self.path}: no images, so the camera's frame is unknown: set T_lidar_camera"
            )
        return mounting.between(posed_frame or lidar_frame, lidar_frame)

    @cached_property
    def _ros_camera(self) -> RosCamera:
        if self._info is None:
            raise DatasetError(f"{self.path}: no images, so no camera")
        calibration = f"{self.config.topics.camera_info} of {self.path}"
        source = ImageSource(self._image_topic, calibration, OPTIONS)
        return RosCamera(self._info, self.config.images, source)

    @cached_property
    def _camera_images(self) -> CameraImages:
        """What the images become; they have the size of the first one."""
        camera = self._ros_camera
        with self._bag.reader() as reader:
            first = next(read_messages(reader, self._image_topic, IMAGES))
        return camera.images(size_of_image(first))

    @property
    def camera(self) -> CameraModel:
        """Intrinsics of the images, which are rectified.

        Raises DatasetError without images, CalibrationError if camera_info does not fit them.
        """
        return self._camera_images.camera

    @property
    def frames(self) -> Sequence[int]:
        """Frames that have a pose."""
        return list(self._T_world_lidar)

    @property
    def image_frames(self) -> Sequence[int]:
        """Frames that have an image and a pose."""
        return self._frames_of(self._image_topic)

    @property
    def scan_frames(self) -> Sequence[int]:
        """Frames that have a scan and a pose."""
        return self._frames_of(self.config.topics.points)

    def stamp_s(self, frame: int) -> float:
        """Seconds since the start of the drive: the first stamp, or the time in the metadata."""
        return (int(self._stamps[frame]) - self._start_ns) / 1e9

    def stamp_ns(self, frame: int) -> int:
        """Header stamp of the messages in nanoseconds."""
        return int(self._stamps[frame])

    def T_world_lidar(self, frame: int) -> NDArray[np.float64]:
        """Pose (4, 4) of the LiDAR in the world."""
        if frame not in self._T_world_lidar:
            raise DatasetError(f"{self.path}: frame {frame} has no pose")
        return self._T_world_lidar[frame]

    def T_world_camera(self, frame: int) -> NDArray[np.float64]:
        """Pose (4, 4) of the optical frame in the world."""
        return self.T_world_lidar(frame) @ self.T_lidar_camera

    def image(self, frame: int) -> NDArray[np.uint8]:
        """RGB image (H, W, 3)."""
        content, images = self._read(self._image_topic, frame), self._camera_images
        try:
            if size_of_image(content) != images.size:
                raise ShapeError.of("image size", "{}x{}".format(*images.size),
                                    "{}x{}".format(*size_of_image(content)))  # fmt: skip
            return images.rectified(self._ros_camera.decode(content))
        except ScmprError as error:
            raise DatasetError(
                f"{self.path}, {self._image_topic}, frame {frame}: {error}"
            ) from None

    def scan(self, frame: int) -> PointCloud:
        """Scan in the LiDAR frame, with intensity and joint ids if the bag has them."""
        content = self._read(self.config.topics.points, frame)
        return cloud_from_pointcloud2(content, self.label_set)

    def point_labels(self, frame: int) -> NDArray[np.uint32] | None:
        """Raw ids (N,) of `label_set` for the points of the scan; None without labels."""
        return labels_from_pointcloud2(self._read(self.config.topics.points, frame))

    def mask(self, frame: int, sparse: bool = True) -> NDArray[np.uint8] | None:
        """Joint ids (H, W): the bag's mask, else sparse from a labelled scan, else None.

        sparse: whether to fall back to a scan with the image's stamp.
        """
        topic = self.config.topics.mask
        if frame not in self._log_ns.get(topic, {}):
            return self._sparse_mask(frame) if sparse else None
        mask = self._camera_images.rectified_mask(mask_from_image(self._read(topic, frame)))
        size = (self.camera.height, self.camera.width)
        if mask.shape != size or mask.max() >= NUM_CLASSES:
            raise DatasetError(
                f"{self.path}: the mask of frame {frame} has shape {mask.shape} and ids up to "
                f"{mask.max()}, expected {size} and joint ids below {NUM_CLASSES}"
            )
        return mask

    def _sparse_mask(self, frame: int) -> NDArray[np.uint8] | None:
        scan = (
            self.scan(frame) if frame in self._log_ns.get(self.config.topics.points, {}) else None
        )
        if scan is None or scan.label is None:
            return None
        points_camera = transform_points(invert(self.T_lidar_camera), scan.xyz)
        return project_labels(points_camera, scan.label, self.camera)

    def _frames_of(self, topic: str) -> Sequence[int]:
        index = self._log_ns.get(topic, {})
        return [frame for frame in self._T_world_lidar if frame in index]

    def _read(self, topic: str, frame: int) -> Any:
        index = self._log_ns.get(topic, {})
        if frame not in index:
            raise DatasetError(f"{self.path}: frame {frame} has no message of {topic}")
        start = index[frame]
        with self._bag.reader() as reader:
            for content in read_messages(reader, topic, start=start, stop=start + 1):
                if stamp_ns(content.header) == self._stamps[frame]:
                    return content
        raise DatasetError(f"{self.path}: the message of {topic} at {start} ns is missing")
