"""A drive whose images and scans are files numbered by frame: the base of KITTI's layouts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.datasets.camera_images import (
    CAMERA_OPTIONS,
    CameraImageConfig,
    CameraImages,
    ImageSource,
)
from scmpr_ros.datasets.drive import Drive
from scmpr_ros.datasets.kitti.files import (
    FrameFiles,
    check_scan_rows,
    read_deep_image,
    read_ids,
    read_image,
    read_image_size,
    read_labels,
    read_points,
    read_stamps_s,
)
from scmpr_ros.datasets.pixel_depth import find_white_level, some_frames, to_8_bit
from scmpr_ros.datasets.projection import project_labels
from scmpr_ros.datasets.rectification import Calibration
from scmpr_ros.datasets.scan_checks import check_units
from scmpr_ros.errors import DatasetError, ShapeError
from scmpr_ros.geometry import invert, transform_points
from scmpr_ros.label_sets import check_scan_ids, open_label_set
from scmpr_ros.records import CameraModel, PointCloud
from scmpr_ros.semantics import to_joint

_log = logging.getLogger(__name__)


class FileDrive(Drive):
    """A `Drive` of files; readers of the layouts inherit from it.

    images, scans: the frames' files; a folder may be missing or incomplete.
    calibration: of the images; without a size, it is of the size of the first one.
    calibrated_by: file and row of the calibration, for messages. T_lidar_camera: (4, 4).
    T_world_lidar: pose (4, 4) of each frame.
    stamps_path: file with a stamp for each frame. read_stamps: reads it as seconds (F,).
    labels, masks: like `images`, or None if the layout has none; masks hold ids of `mask_set`.
    """

    label_set = "semantickitti"
    mask_set = "cityscapes"
    pose_source = ""

    def __init__(
        self,
        name: str,
        images: FrameFiles,
        scans: FrameFiles,
        calibration: Calibration,
        calibrated_by: str,
        T_lidar_camera: NDArray[np.float64],
        T_world_lidar: Mapping[int, NDArray[np.float64]],
        stamps_path: Path,
        read_stamps: Callable[[Path], NDArray[np.float64]] = read_stamps_s,
        labels: FrameFiles | None = None,
        masks: FrameFiles | None = None,
        config: CameraImageConfig | None = None,
    ) -> None:
        self.name = name
        self.T_lidar_camera: NDArray[np.float64] = T_lidar_camera
        self._T_world_lidar = dict(T_world_lidar)
        self._calibration, self._calibrated_by = calibration, calibrated_by
        self._config = config or CameraImageConfig()
        self._images, self._scans, self._labels, self._masks = images, scans, labels, masks
        self._stamps_path, self._read_stamps = stamps_path, read_stamps
        self._knows_rows = False

    @property
    def camera(self) -> CameraModel:
        """The camera of the images; its size is that of the first readable one.

        Raises CalibrationError if the calibration cannot be of images of that size.
        """
        return self._camera_images.camera

    @cached_property
    def _camera_images(self) -> CameraImages:
        size = self._first_size()
        calibration = self._calibration
        if not calibration.width:
            calibration = replace(calibration, width=size[0], height=size[1])
        source = ImageSource(str(self._images.folder), self._calibrated_by, CAMERA_OPTIONS)
        images = CameraImages(calibration, size, self._config, source)
        for note in images.notes:
            _log.warning("%s", note)
        return images

    def _first_size(self) -> tuple[int, int]:
        """Width and height of the first readable image."""
        for frame in self._posed_images:
            try:
                return read_image_size(self._images.path(frame))
            except DatasetError as error:
                _log.warning("%s", error)
        raise DatasetError(f"no readable images in {self._images.folder}, so no camera")

    @property
    def frames(self) -> Sequence[int]:
        """Frames that have a pose."""
        return list(self._T_world_lidar)

    @cached_property
    def image_frames(self) -> Sequence[int]:
        """Frames that have an image and a pose; empty if the folder of images is missing.

        Raises CalibrationError if the images have no usable camera, before anything is made of
        them.
        """
        frames = self._posed_images
        return frames if frames and self.camera else []

    @cached_property
    def _posed_images(self) -> Sequence[int]:
        return self._posed_frames(self._images)

    @cached_property
    def scan_frames(self) -> Sequence[int]:
        """Frames that have a scan and a pose; empty if the folder of scans is missing."""
        return self._posed_frames(self._scans)

    def stamp_s(self, frame: int) -> float:
        """Seconds since the start of the drive."""
        if not 0 <= frame < len(self._stamps_s):
            raise DatasetError(
                f"{self._stamps_path} has {len(self._stamps_s)} rows, none for frame {frame}"
            )
        return float(self._stamps_s[frame])

    @cached_property
    def _stamps_s(self) -> NDArray[np.float64]:
        return self._read_stamps(self._stamps_path)

    def T_world_lidar(self, frame: int) -> NDArray[np.float64]:
        """Pose (4, 4) of the LiDAR in the world."""
        if frame not in self._T_world_lidar:
            raise DatasetError(
                f"drive {self.name}: frame {frame} has no pose; {self._poses_near(frame)}"
            )
        return self._T_world_lidar[frame].copy()

    def T_world_camera(self, frame: int) -> NDArray[np.float64]:
        """Pose (4, 4) of the optical frame in the world."""
        return self.T_world_lidar(frame) @ self.T_lidar_camera

    def image(self, frame: int) -> NDArray[np.uint8]:
        """RGB image (H, W, 3); DatasetError if it has another size than the drive's camera."""
        path = self._images.path(frame)
        deep = read_deep_image(path)
        image = read_image(path) if deep is None else to_8_bit(deep, self._white_level)
        height, width, _ = image.shape
        if (width, height) != self._camera_images.size:
            first = "{}x{}".format(*self._camera_images.size)
            raise DatasetError(f"image {path} is {width}x{height}, but others of its drive are "
                               f"{first}: separate drives of different cameras")  # fmt: skip
        return self._camera_images.rectified(image)

    @cached_property
    def _white_level(self) -> int:
        """Value of white in 16-bit images: as configured, else found in some of all the drive."""
        if self._config.white_level:
            return self._config.white_level
        some = some_frames(self._posed_images)
        images = (read_deep_image(self._images.path(frame)) for frame in some)
        folder = self._images.folder
        try:
            return find_white_level((i for i in images if i is not None), str(folder))
        except ShapeError as error:
            raise DatasetError(f"{folder}: {error} in {CAMERA_OPTIONS}") from None

    def scan(self, frame: int) -> PointCloud:
        """Scan in the LiDAR frame with intensity and, if labelled, joint ids."""
        points, raw = self._finite_scan(frame)
        label = None if raw is None else to_joint(raw, self.label_set)
        scan = PointCloud(points[:, :3].copy(), label, points[:, 3].copy())
        try:
            check_units(scan)
        except ShapeError as error:
            raise DatasetError(f"{self._scans.path(frame)}: {error}") from None
        if raw is not None and self._labels is not None:
            try:
                check_scan_ids(raw, open_label_set(self.label_set))
            except ShapeError as error:
                raise DatasetError(f"{self._labels.path(frame)}: {error}") from None
        return scan

    def point_labels(self, frame: int) -> NDArray[np.uint32] | None:
        """Raw ids (N,) of the points of `scan`, or None if unlabelled."""
        return self._finite_scan(frame)[1]

    def mask(self, frame: int, sparse: bool = True) -> NDArray[np.uint8] | None:
        """Joint ids (H, W), dense from a mask file, else sparse from labelled points, else None.

        sparse: whether to fall back to labelled points.
        """
        path = None if self._masks is None else self._masks.path(frame)
        if path is not None and path.is_file():
            return self._dense_mask(path)
        cloud = self._labelled_points(frame) if sparse else None
        if cloud is None or cloud.label is None:
            return None
        points_camera = transform_points(invert(self.T_lidar_camera), cloud.xyz)
        return project_labels(points_camera, cloud.label, self.camera)

    def _dense_mask(self, path: Path) -> NDArray[np.uint8]:
        joint = to_joint(read_ids(path), self.mask_set)
        if joint.shape != (self.camera.height, self.camera.width):
            raise DatasetError(
                f"mask {path} is {joint.shape[1]}x{joint.shape[0]}, the images are "
                f"{self.camera.width}x{self.camera.height}"
            )
        return joint

    def _labelled_points(self, frame: int) -> PointCloud | None:
        """Labelled points, in the LiDAR frame, for a sparse mask: those of the scan."""
        if self._labels is None or not self._labels.path(frame).is_file():
            return None
        return self.scan(frame)

    def _finite_scan(self, frame: int) -> tuple[NDArray[np.float32], NDArray[np.uint32] | None]:
        """Finite points (N, 4) of a scan and their raw labels (N,)."""
        path = self._scans.path(frame)
        points, raw = read_points(path), None
        if not self._knows_rows:  # those of a drive are all alike
            check_scan_rows(path)
            self._knows_rows = True
        label_path = None if self._labels is None else self._labels.path(frame)
        if label_path is not None and label_path.is_file():
            raw = read_labels(label_path)
            if len(raw) != len(points):
                raise DatasetError(
                    f"{label_path} labels {len(raw)} points, but {path} has {len(points)}: they "
                    "belong to different drives, or one is truncated"
                )
        finite = np.isfinite(points).all(axis=1)
        return points[finite], None if raw is None else raw[finite]

    def _posed_frames(self, files: FrameFiles) -> Sequence[int]:
        if not files.folder.is_dir():
            return []
        numbers = files.numbers()
        posed = [n for n in numbers if n in self._T_world_lidar]
        if not posed:
            if not numbers:
                found = next((path.name for path in sorted(files.folder.iterdir())), "none at all")
                raise DatasetError(
                    f"{files.folder} has no file that is named by its frame, like "
                    f"{files.path(0).name}; it has {found}"
                )
            raise DatasetError(
                f"{files.folder} has {len(numbers)} files like {files.path(0).name}, none of them "
                f"with a pose ({len(self._T_world_lidar)} frames have poses)"
            )
        if len(posed) < len(numbers):
            _log.warning("%s: %d of %d files have no pose", files.folder,
                         len(numbers) - len(posed), len(numbers))  # fmt: skip
        return posed

    def _poses_near(self, frame: int) -> str:
        """For error messages: the nearest frames with poses."""
        before = max((f for f in self._T_world_lidar if f < frame), default=None)
        after = min((f for f in self._T_world_lidar if f > frame), default=None)
        near = " and ".join(str(f) for f in (before, after) if f is not None)
        return f"the nearest of {len(self._T_world_lidar)} frames with poses: {near}"
