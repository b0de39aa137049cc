"""Read drives from bags (rosbag2 and ROS 1), without ROS.

Topic names default to those of kitti2bag. A bag needs poses of some frame in the world, scans or
images, and for what is asked of it how LiDAR, camera and posed frame are mounted. Bags of
`write_drive_bag` store what has no message in the custom data of their metadata.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.datasets.bags.files import bag_name
from scmpr_ros.datasets.bags.options import (
    KNOWN_LABEL_SETS,
    NO_LABELS,
    BagReaderConfig,
    load_options,
)
from scmpr_ros.datasets.bags.poses import check_stamps, find_poses
from scmpr_ros.datasets.bags.stamp_warnings import warn_of_clocks, warn_of_left_out
from scmpr_ros.datasets.bags.storage import Bag
from scmpr_ros.datasets.bags.topics import (
    CAMERA_INFOS,
    IMAGES,
    POINT_CLOUDS,
    RAW_IMAGES,
    SensorTopic,
    choose_camera_info,
    choose_image,
    choose_points,
    no_sensors,
    unreadable,
)
from scmpr_ros.datasets.bags.transforms import TransformTree
from scmpr_ros.datasets.camera_images import CameraImages, ImageSource
from scmpr_ros.datasets.drive import Drive
from scmpr_ros.datasets.pixel_depth import some_frames
from scmpr_ros.datasets.pose_checks import check_world_up
from scmpr_ros.datasets.projection import project_labels
from scmpr_ros.datasets.ros_cameras import RosCamera, is_calibrated
from scmpr_ros.datasets.ros_clouds import cloud_from_pointcloud2, labels_from_pointcloud2
from scmpr_ros.datasets.ros_headers import stamp_ns
from scmpr_ros.datasets.ros_images import mask_from_image, size_of_image
from scmpr_ros.datasets.scan_checks import check_units
from scmpr_ros.errors import CalibrationError, DatasetError, ShapeError
from scmpr_ros.geometry import (
    invert,
    is_body_frame,
    make_transform,
    optical_from_body,
    transform_points,
)
from scmpr_ros.label_sets import is_own_set, open_label_set
from scmpr_ros.records import CameraModel, PointCloud
from scmpr_ros.semantics import NUM_CLASSES

_log = logging.getLogger(__name__)
_IMAGE_OPTIONS = "bag.images"
_Z_UP = (
    "take them from TF in a frame with z up (bag.topics.pose /tf, bag.world_frame), or name "
    "another topic with bag.topics.pose"
)

LABEL_SET_KEY = "scmpr_ros.label_set"
"""Custom data: label set of the points' field `label`."""
START_KEY = "scmpr_ros.start_ns"
"""Custom data: the time in the bag at which the drive's stamps are zero."""
CAMERA_FRAME_KEY = "scmpr_ros.camera_frame"
"""Custom data: name of the optical frame, for bags without images."""


class BagDrive(Drive):
    """A bag as a `Drive`.

    Frames are the distinct header stamps of images, scans and poses, numbered from 0 in order of
    time. Poses are interpolated at the stamps of images and scans; stamps without poses close by on
    both sides are not frames of the drive, see `left_out`. The world is the frame that the poses
    are in. In a bag without scans, the posed frame takes the place of the LiDAR frame.

    What is missing is an error only when it is asked for: a bag without a camera makes a map.
    """

    def __init__(
        self,
        path: Path,
        config: BagReaderConfig | None = None,
        files: Sequence[Path] = (),
        name: str = "",
    ) -> None:
        """Index the bag; images and scans are read on demand.

        config: by default that of the bag's options file, see `options`.
        files: the parts of the bag, if `path` is a folder of several. name: of the drive; by
        default that of the bag.

        Raises DatasetError for a damaged bag, and without poses or without images and scans,
        CalibrationError if the mounting of the LiDAR in the posed frame is unknown.
        """
        self.path = Path(path)
        self.config = load_options(self.path) if config is None else config
        self._bag = Bag(self.path, files)
        self.name = name or bag_name(self.path)
        self._custom = dict(self._bag.custom_data)
        self._image = choose_image(self._bag, self.config)
        self._points = choose_points(self._bag, self.config.topics)
        log_ns = self._index()
        self._tree = TransformTree(self._bag, self.config.topics.tf_static, self.config.topics.tf)
        self._lidar_frame = self._frame_of(self._points, POINT_CLOUDS)
        sensor = self._lidar_frame or self._frame_of(self._image, IMAGES)
        self._poses = find_poses(self._bag, self.config, self._tree, sensor)
        self.pose_source = self._poses.topic
        self._ids_of = self._label_set()
        self.label_set: str = self._ids_of if self._ids_of in KNOWN_LABEL_SETS else "joint"
        own = is_own_set(self._ids_of)  # a file, which is read once and not for each scan
        self._scan_ids = open_label_set(self._ids_of) if own else self._ids_of
        self._assumes_joint = not self.config.label_set and LABEL_SET_KEY not in self._custom
        stamps = set(self._poses.track.stamps.tolist()).union(*log_ns.values())
        self._stamps: NDArray[np.int64] = np.array(sorted(stamps), np.int64)
        start = self._custom.get(START_KEY, "")
        self._start_ns = int(start) if start.isdecimal() else int(self._stamps[0])
        posed = self._poses.track.at(self._stamps, self.config.max_pose_gap_s)
        T_posed_lidar = self._lidar_mounting()
        if posed.poses:
            check_world_up(f"{self.path}: {self.pose_source}", np.stack(list(posed.poses.values())),
                           _Z_UP)  # fmt: skip
        self._T_world_lidar = {frame: T @ T_posed_lidar for frame, T in posed.poses.items()}
        frame_of = {stamp: frame for frame, stamp in enumerate(self._stamps.tolist())}
        self._log_ns = {
            topic: {frame_of[stamp]: log for stamp, log in index.items()}
            for topic, index in log_ns.items()
        }
        self.left_out: Mapping[int, str] = posed.missing
        warn_of_clocks(self.path, {**log_ns, self.pose_source: self._poses.log_ns})
        for what, topic in (("images", self._image.name), ("scans", self._points.name)):
            warn_of_left_out(self.path, what, self._log_ns.get(topic, {}), self.left_out,
                             self._stamps, self._poses.track.stamps)  # fmt: skip

    def _index(self) -> dict[str, dict[int, int]]:
        """Log time by header stamp, of every topic that frames are read from."""
        if not (self._image or self._points):
            raise no_sensors(self._bag)
        lacking = (() if self._image else IMAGES) + (() if self._points else POINT_CLOUDS)
        for sentence in unreadable(self._bag, lacking):
            _log.warning("%s: %s", self.path, sentence)
        kinds: dict[str, tuple[str, ...]] = {}
        if self._image.name:
            kinds[self._image.name] = IMAGES
        if self._points.name:
            kinds[self._points.name] = POINT_CLOUDS
        if self.config.topics.mask in self._bag.topics:
            kinds[self.config.topics.mask] = RAW_IMAGES
        index = {topic: self._bag.stamps(topic, kind) for topic, kind in kinds.items()}
        for topic, stamps in index.items():
            check_stamps(self._bag, topic, len(stamps), self._bag.topics[topic].count)
        return index

    def _label_set(self) -> str:
        if self.config.label_set == NO_LABELS:
            return "joint"
        if self.config.label_set:
            return self.config.label_set
        label_set = self._custom.get(LABEL_SET_KEY, "joint")
        if label_set not in KNOWN_LABEL_SETS:
            raise DatasetError(
                f"{self.path}: unknown label set {label_set!r} in its metadata; set bag.label_set "
                f"to one of {', '.join(KNOWN_LABEL_SETS)}"
            )
        return label_set

    def _frame_of(self, topic: SensorTopic, kinds: tuple[str, ...]) -> str:
        """Frame of a sensor by its first message; empty without messages."""
        if not topic.name:
            return ""
        return str(next(self._bag.messages(topic.name, kinds)).header.frame_id).lstrip("/")

    def _lidar_mounting(self) -> NDArray[np.float64]:
        """T_posed_lidar."""
        config, posed = self.config, self._poses.frame
        if config.T_pose_lidar:
            return _matrix(config.T_pose_lidar)
        if not posed and self._lidar_frame:
            _log.warning("%s: the poses of %s do not say what they are of, and are taken for those "
                         "of %s; set bag.pose_frame if they are of another frame", self.path,
                         self.pose_source, self._lidar_frame)  # fmt: skip
        if posed and self._points.name and not self._lidar_frame:
            _log.warning("%s: the points of %s name no frame, and are taken for being in %s; set "
                         "bag.T_pose_lidar if they are in another", self.path, self._points.name,
                         posed)  # fmt: skip
        if not posed or not self._lidar_frame:
            return np.eye(4)
        if self._lidar_frame == self._poses.world:
            raise CalibrationError(
                f"{self.path}: the points of {self._points.name} are in {self._lidar_frame!r}, the "
                "frame that the poses are in: name the topic of scans in the LiDAR's own frame "
                "with bag.topics.points"
            )
        return self._tree.mounting(posed, self._lidar_frame)

    @cached_property
    def T_lidar_camera(self) -> NDArray[np.float64]:  # type: ignore[override]
        """(4, 4): p_lidar = T_lidar_camera @ p_camera; CalibrationError if it is unknown."""
        if self.config.T_lidar_camera:
            return _matrix(self.config.T_lidar_camera)
        camera_frame = self._camera_frame()
        if not camera_frame:
            why = "its messages name none" if self._image.name else "no images"
            raise CalibrationError(
                f"{self.path}: {why}, so the camera's frame is unknown: set bag.T_lidar_camera"
            )
        T = self._tree.mounting(self._lidar_frame or self._poses.frame, camera_frame)
        are_body = [is_body_frame(T_world @ T) for T_world in self._T_world_lidar.values()]
        if sum(are_body) <= len(are_body) / 2:
            return T
        _log.warning(
            "%s: %s is not an optical frame: its z axis points up. It is taken for the camera's "
            "body axes (x forward); if it is not, set bag.T_lidar_camera", self.path, camera_frame,
        )  # fmt: skip
        return optical_from_body(T)

    def _camera_frame(self) -> str:
        if not self._image.required():
            return self._custom.get(CAMERA_FRAME_KEY, "")
        return str(self._camera_info.header.frame_id) or self._frame_of(self._image, IMAGES)

    @cached_property
    def _camera_info(self) -> Any:
        image = self._image.required()
        if not image:
            raise DatasetError(f"{self.path}: no images, so no camera")
        topics = self.config.topics
        name = choose_camera_info(self._bag, topics, image).required() or topics.camera_info
        infos = self._bag.messages(name, CAMERA_INFOS)
        first = next(infos)
        return next((info for info in chain([first], infos) if is_calibrated(info)), first)

    @cached_property
    def _ros_camera(self) -> RosCamera:
        info_topic = choose_camera_info(self._bag, self.config.topics, self._image.name).name
        source = ImageSource(self._image.name, f"{info_topic} of {self.path}", _IMAGE_OPTIONS)
        return RosCamera(self._camera_info, self.config.images, source)

    @cached_property
    def _camera_images(self) -> CameraImages:
        """What becomes of the images; all have the size of the first one."""
        camera = self._ros_camera
        first = next(self._bag.messages(self._image.name, IMAGES))
        try:
            return camera.images(size_of_image(first))
        except ShapeError as error:
            raise DatasetError(f"{self.path}: {self._image.name}: {error}") from error

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
        """Frames that have an image and a pose.

        Raises CalibrationError if the images have no usable camera, before anything is made of
        them.
        """
        frames = self._frames_of(self._image.required())
        return frames if frames and self.camera else []

    @property
    def scan_frames(self) -> Sequence[int]:
        """Frames that have a scan and a pose."""
        return self._frames_of(self._points.required())

    def stamp_s(self, frame: int) -> float:
        """Seconds since the start of the drive: the first stamp, or the time in the metadata."""
        return (int(self._stamps[frame]) - self._start_ns) / 1e9

    def stamp_ns(self, frame: int) -> int:
        """Header stamp of the messages in nanoseconds."""
        return int(self._stamps[frame])

    def T_world_lidar(self, frame: int) -> NDArray[np.float64]:
        """Pose (4, 4) of the LiDAR in the world."""
        if frame not in self._T_world_lidar:
            reason = self.left_out.get(frame, "there is no such frame")
            raise DatasetError(f"{self.path}: frame {frame} has no pose: {reason}")
        return self._T_world_lidar[frame]

    def T_world_camera(self, frame: int) -> NDArray[np.float64]:
        """Pose (4, 4) of the optical frame in the world."""
        return self.T_world_lidar(frame) @ self.T_lidar_camera

    def image(self, frame: int) -> NDArray[np.uint8]:
        """RGB image (H, W, 3)."""
        content, images = self._read(self._image.required(), frame), self._camera_images
        try:
            if size_of_image(content) != images.size:
                raise ShapeError.of("image size", "{}x{}".format(*images.size),
                                    "{}x{}".format(*size_of_image(content)))  # fmt: skip
            return images.rectified(self._ros_camera.decode(content, self._some_images))
        except ShapeError as error:
            raise DatasetError(
                f"{self.path}: frame {frame} of {self._image.name}: {error}"
            ) from error

    def _some_images(self) -> Iterator[Any]:
        frames = some_frames(self._frames_of(self._image.name))
        return (self._read(self._image.name, frame) for frame in frames)

    def scan(self, frame: int) -> PointCloud:
        """Scan in the LiDAR frame, with intensity and joint ids if the bag has them.

        Raises DatasetError for labels that are not ids of the label set, and for points in other
        units than metres.
        """
        content = self._read(self._points.required(), frame)
        label_set = None if self.config.label_set == NO_LABELS else self._scan_ids
        try:
            cloud = cloud_from_pointcloud2(content, label_set)
            check_units(cloud)
        except ShapeError as error:
            raise DatasetError(
                f"{self.path}: frame {frame} of {self._points.name}: {error}"
            ) from error
        if self._assumes_joint and cloud.label is not None:
            self._assumes_joint = False
            _log.warning("%s: the field label of %s is taken for joint classes (1 road, 2 sidewalk,"
                         " ...): set bag.label_set if it holds other ids", self.path,
                         self._points.name)  # fmt: skip
        return cloud

    def point_labels(self, frame: int) -> NDArray[np.uint32] | None:
        """Raw ids (N,) of `label_set` for the points of the scan; None without labels."""
        if self.config.label_set == NO_LABELS:
            return None
        if self._ids_of != self.label_set:  # what nobody but the user's file explains
            label = self.scan(frame).label
            return None if label is None else label.astype(np.uint32)
        return labels_from_pointcloud2(self._read(self._points.required(), frame))

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
        scan = self.scan(frame) if frame in self._log_ns.get(self._points.name, {}) else None
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
            of = f"of {topic}" if topic else "of that sensor"
            raise DatasetError(f"{self.path}: frame {frame} has no message {of}")
        start = index[frame]
        for content in self._bag.messages(topic, start=start, stop=start + 1):
            if stamp_ns(content.header) == self._stamps[frame]:
                return content
        raise DatasetError(f"{self.path}: the message of {topic} at {start} ns is missing")


def _matrix(rows: Sequence[float]) -> NDArray[np.float64]:
    """Transform (4, 4) of twelve numbers, row by row."""
    T = np.reshape(rows, (3, 4))
    return make_transform(T[:, :3], T[:, 3])
