"""KITTI odometry drives, with SemanticKITTI labels and image masks where they exist.

Layout, below one root:

    poses/SS.txt                       12 numbers a row, T_cam0frame0_cam0framei
    sequences/SS/calib.txt             P0..P3 (3x4, rectified) and Tr (velodyne to camera 0)
    sequences/SS/times.txt             seconds since the start, a row a frame
    sequences/SS/image_2/%06d.png      colour images
    sequences/SS/velodyne/%06d.bin     float32 x, y, z, reflectance
    sequences/SS/labels/%06d.label     optional, uint32 SemanticKITTI labels
    sequences/SS/mask_2/%06d.png       optional, 8-bit Cityscapes ids of the image's pixels

Images and scans may be kept for some frames only; a file's number is its frame, and row i of poses
and times belongs to frame i. KITTI's poses have a camera's axes (y down). Here the world frame is
z-up: the velodyne of the frame whose pose is the identity.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from scmpr_ros.errors import CalibrationError, DatasetError
from scmpr_ros.geometry import invert, make_transform
from scmpr_ros.records import CameraModel, PointCloud
from scmpr_ros.semantics import to_joint

_log = logging.getLogger(__name__)
_SCAN_POINT_BYTES = 16
_ROTATION_TOLERANCE = 1e-3  # far above printed digits, far below what a wrong file shows


def find_sequences(root: Path) -> list[str]:
    """Names of the sequences below `root`, sorted; DatasetError where there is none."""
    folder = Path(root) / "sequences"
    names = sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    if not names:
        raise DatasetError(
            f"no sequences in {folder}: point to the folder of the KITTI odometry layout that "
            "holds sequences/ and poses/"
        )
    return names


class KittiOdometryDrive:
    """One sequence in KITTI odometry layout, as a `Drive`.

    Calibration and poses are read at once, everything else when it is asked for.
    Raises CalibrationError for a missing or impossible calib.txt, DatasetError for a sequence
    that does not exist and for poses that are missing or are no rigid transforms.
    """

    def __init__(self, root: Path, sequence: str) -> None:
        known = find_sequences(root)
        if sequence not in known:
            raise DatasetError(
                f"no sequence {sequence!r} in {Path(root) / 'sequences'}; there are: "
                f"{', '.join(known)}"
            )
        self.name = sequence
        self.folder = Path(root) / "sequences" / sequence
        calibration = _read_calibration(self.folder / "calib.txt")
        self._P2 = calibration["P2"]
        # x = P2 X means a shift of camera 2 against camera 0 by K^-1 P2[:, 3], in all three axes.
        T_camera_cam0 = make_transform(np.eye(3), np.linalg.solve(self._P2[:, :3], self._P2[:, 3]))
        T_cam0_lidar = np.vstack([calibration["Tr"], [0, 0, 0, 1]])
        self.T_lidar_camera: NDArray[np.float64] = invert(T_camera_cam0 @ T_cam0_lidar)
        T_first_cam0 = _read_poses(Path(root) / "poses" / f"{sequence}.txt", self.folder)
        self._T_world_lidar = invert(T_cam0_lidar) @ T_first_cam0 @ T_cam0_lidar

    @cached_property
    def camera(self) -> CameraModel:
        """Camera 2; its size is that of the first image, since KITTI states it nowhere else."""
        if not self.image_frames:
            raise DatasetError(f"no images in {self.folder / 'image_2'}, so no camera")
        path = self._path("image_2", self.image_frames[0], "png")
        try:
            with Image.open(path) as image:
                width, height = image.size
        except OSError as error:
            raise DatasetError(f"cannot read image {path}: {error}") from error
        return CameraModel.from_matrix(self._P2, width, height)

    @property
    def frames(self) -> Sequence[int]:
        """Frames that have a pose."""
        return range(len(self._T_world_lidar))

    @cached_property
    def image_frames(self) -> Sequence[int]:
        """Frames that have an image and a pose; none where there is no image_2."""
        return self._frames_of("image_2", "png")

    @cached_property
    def scan_frames(self) -> Sequence[int]:
        """Frames that have a scan and a pose; none where there is no velodyne."""
        return self._frames_of("velodyne", "bin")

    def stamp_s(self, frame: int) -> float:
        """Seconds since the start of the recording."""
        if not 0 <= frame < len(self._stamps_s):
            raise DatasetError(
                f"{self.folder / 'times.txt'} has {len(self._stamps_s)} rows, none for frame "
                f"{frame}"
            )
        return float(self._stamps_s[frame])

    def T_world_lidar(self, frame: int) -> NDArray[np.float64]:
        """Pose (4, 4) of the velodyne in the world."""
        if not 0 <= frame < len(self._T_world_lidar):
            raise DatasetError(
                f"sequence {self.name} has {len(self._T_world_lidar)} pose rows, none for frame "
                f"{frame}"
            )
        return self._T_world_lidar[frame].copy()

    def T_world_camera(self, frame: int) -> NDArray[np.float64]:
        """Pose (4, 4) of camera 2's optical frame in the world."""
        return self.T_world_lidar(frame) @ self.T_lidar_camera

    def image(self, frame: int) -> NDArray[np.uint8]:
        """RGB image (H, W, 3)."""
        return _read_image(self._path("image_2", frame, "png"), "RGB")

    def scan(self, frame: int) -> PointCloud:
        """Scan in the velodyne frame with intensity, and joint labels where labels/ has them."""
        path = self._path("velodyne", frame, "bin")
        points = _read_records(path, np.dtype("<f4"), _SCAN_POINT_BYTES).reshape(-1, 4)
        label = None
        label_path = self._path("labels", frame, "label")
        if label_path.is_file():
            raw = _read_records(label_path, np.dtype("<u4"), 4)
            if len(raw) != len(points):
                raise DatasetError(
                    f"{label_path} labels {len(raw)} points, but {path} has {len(points)}: the "
                    "two are of different recordings or one is truncated"
                )
            label = to_joint(raw, "semantickitti")
        finite = np.isfinite(points).all(axis=1)
        cloud = PointCloud(points[:, :3].copy(), label, points[:, 3].copy())
        return cloud if finite.all() else cloud.select(finite)

    def mask(self, frame: int) -> NDArray[np.uint8] | None:
        """Joint ids (H, W) of the image's pixels, or None where mask_2/ has no such frame."""
        path = self._path("mask_2", frame, "png")
        if not path.is_file():
            return None
        joint = to_joint(_read_image(path, "L"), "cityscapes")
        if joint.shape != (self.camera.height, self.camera.width):
            raise DatasetError(
                f"mask {path} is {joint.shape[1]}x{joint.shape[0]}, the images are "
                f"{self.camera.width}x{self.camera.height}"
            )
        return joint

    @cached_property
    def _stamps_s(self) -> NDArray[np.float64]:
        return _read_rows(self.folder / "times.txt", 1)[:, 0]

    def _path(self, folder: str, frame: int, suffix: str) -> Path:
        return self.folder / folder / f"{frame:06d}.{suffix}"

    def _frames_of(self, folder: str, suffix: str) -> Sequence[int]:
        path = self.folder / folder
        if not path.is_dir():
            return []
        numbers = sorted(int(p.stem) for p in path.glob(f"*.{suffix}") if p.stem.isdigit())
        posed = [n for n in numbers if n < len(self._T_world_lidar)]
        if not posed:
            raise DatasetError(
                f"{path} has {len(numbers)} files like 000000.{suffix}, none of them with a pose "
                f"(there are {len(self._T_world_lidar)} pose rows)"
            )
        if len(posed) < len(numbers):
            _log.warning("%s: %d of %d files have no pose row", path, len(numbers) - len(posed),
                         len(numbers))  # fmt: skip
        return posed


def _read_calibration(path: Path) -> dict[str, NDArray[np.float64]]:
    """The 3x4 matrices P2 and Tr of a calib.txt."""
    if not path.is_file():
        raise CalibrationError(f"missing {path}: it comes with KITTI odometry's calibration files")
    matrices: dict[str, NDArray[np.float64]] = {}
    for line in path.read_text().splitlines():
        key, _, numbers = line.partition(":")
        if key.strip() in ("P2", "Tr"):
            matrices[key.strip()] = _matrix_3x4(numbers, f"{path}, row {key.strip()}")
    for key in ("P2", "Tr"):
        if key not in matrices:
            raise CalibrationError(f"{path} has no row '{key}:' of 12 numbers")
    if not _are_rotations(matrices["Tr"][:, :3]):
        raise CalibrationError(f"{path}: the left 3x3 of Tr is not a rotation")
    P2 = matrices["P2"]
    if not (P2[0, 0] > 0 and P2[1, 1] > 0 and P2[2, 2] == 1):
        raise CalibrationError(f"{path}: P2 is no pinhole projection, its left 3x3 is\n{P2[:, :3]}")
    return matrices


def _matrix_3x4(numbers: str, where: str) -> NDArray[np.float64]:
    try:
        matrix = np.array(numbers.split(), dtype=np.float64)
    except ValueError as error:
        raise CalibrationError(f"{where}: {error}") from error
    if matrix.size != 12 or not np.isfinite(matrix).all():
        raise CalibrationError(f"{where}: expected 12 finite numbers, found {numbers.split()}")
    return matrix.reshape(3, 4)


def _read_poses(path: Path, sequence_folder: Path) -> NDArray[np.float64]:
    """Poses (F, 4, 4) of camera 0; SemanticKITTI keeps its own beside the scans."""
    if not path.is_file() and (sequence_folder / "poses.txt").is_file():
        path = sequence_folder / "poses.txt"
    rows = _read_rows(path, 12)
    poses = np.tile(np.eye(4), (len(rows), 1, 1))
    poses[:, :3] = rows.reshape(-1, 3, 4)
    rigid = _are_rotations(poses[:, :3, :3])
    if not rigid.all():
        raise DatasetError(
            f"{path}, row {int(np.argmin(rigid)) + 1}: the left 3x3 is not a rotation"
        )
    return poses


def _read_rows(path: Path, columns: int) -> NDArray[np.float64]:
    """Rows (F, columns) of finite numbers of a text file."""
    if not path.is_file():
        raise DatasetError(f"missing {path}")
    rows = [line.split() for line in path.read_text().splitlines() if line.strip()]
    for number, row in enumerate(rows, start=1):
        try:
            usable = len(row) == columns and np.isfinite(np.array(row, dtype=np.float64)).all()
        except ValueError:
            usable = False
        if not usable:
            raise DatasetError(
                f"{path}, row {number}: expected {columns} finite numbers, found '{' '.join(row)}'"
            )
    if not rows:
        raise DatasetError(f"{path} is empty")
    return np.array(rows, dtype=np.float64)


def _read_records(path: Path, dtype: np.dtype, record_bytes: int) -> NDArray:
    """Flat array of a file that consists of whole records."""
    if not path.is_file():
        raise DatasetError(f"missing {path}")
    size = path.stat().st_size
    if size == 0 or size % record_bytes:
        raise DatasetError(
            f"{path} has {size} bytes, not a positive multiple of {record_bytes}: it is empty or "
            "truncated; copy it again"
        )
    return np.fromfile(path, dtype=dtype)


def _read_image(path: Path, mode: str) -> NDArray[np.uint8]:
    if not path.is_file():
        raise DatasetError(f"missing {path}")
    try:
        with Image.open(path) as image:
            return np.array(
                image if image.mode == mode else image.convert(mode)
            )  # writable, for torch
    except OSError as error:
        raise DatasetError(f"cannot read image {path}: {error}; copy it again") from error


def _are_rotations(R: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether each (..., 3, 3) is orthonormal and right-handed."""
    error = np.abs(R @ np.swapaxes(R, -1, -2) - np.eye(3)).max(axis=(-2, -1))
    return (error < _ROTATION_TOLERANCE) & (np.linalg.det(R) > 0)
