"""Drives of KITTI-360: a rectified camera, raw scans, and labelled static points.

Layout, below a root, where D is a drive like 2013_05_28_drive_0000_sync:

    calibration/{perspective,calib_cam_to_pose,calib_cam_to_velo}.txt
    data_poses/D/poses.txt                                       frame and 12 numbers, T_world_imu
    data_2d_raw/D/image_00/{data_rect/%010d.png,timestamps.txt}  else image_01
    data_3d_raw/D/velodyne_points/data/%010d.bin                 float32 x, y, z, reflectance
    data_2d_semantics/train/D/image_00/semantic/%010d.png        optional, pixel ids
    data_3d_semantics/{train,test}/D/static/%010d_%010d.ply      optional, a window of points; the
                                                                 first release had no train/

The world frame is z-up and shared by all drives. Its coordinates are kilometres, so they stay
float64, and points have an origin. Scans are not corrected for the car's motion.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.datasets.camera_images import CameraImageConfig, load_camera_options
from scmpr_ros.datasets.kitti.file_drive import FileDrive
from scmpr_ros.datasets.kitti.files import (
    IMAGE_SUFFIXES,
    CalibrationFile,
    FrameFiles,
    choose_camera,
    read_rows,
    rigid_rows,
)
from scmpr_ros.datasets.pose_interpolation import interpolate_poses
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.geometry import (
    invert,
    make_transform,
    round_origin,
    transform_points,
    voxel_keys,
)
from scmpr_ros.ply import read_ply
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import to_joint

_OVERLAP_VOXEL_M = 0.1


@dataclass(frozen=True)
class Kitti360Config:
    """How poses are interpolated.

    max_pose_gap_frames: largest gap between two poses that is interpolated, at 10 frames a second.
        KITTI-360 omits poses while the car is slow, so the distances are short.
    """

    max_pose_gap_frames: int = 10

    def __post_init__(self) -> None:
        if self.max_pose_gap_frames < 1:
            raise ConfigError(
                f"max_pose_gap_frames is {self.max_pose_gap_frames}: must be at least 1 (no gaps)"
            )


@dataclass(frozen=True)
class SemanticWindow:
    """A file of static points, accumulated from the frames `start` to `end`, inclusive."""

    start: int
    end: int
    path: Path


def find_kitti360_drives(root: Path) -> list[str]:
    """Names of the drives below `root` that have poses and images, scans or static points."""
    root = Path(root)
    posed = {path.parent.name for path in root.glob("data_poses/*/poses.txt*")}
    data = [*root.glob("data_[23]d_raw/*"), *root.glob("data_3d_semantics/*/*")]
    data += root.glob("data_3d_semantics/*")
    return sorted(posed & {path.name for path in data})


class Kitti360Drive(FileDrive):
    """A drive of KITTI-360, as a `Drive`.

    origin: (3,) of its static points: the drive's first position, rounded.

    Raises CalibrationError for missing or invalid calibration files, DatasetError for poses that
    are missing or not rigid transforms.
    """

    label_set = mask_set = "kitti360"
    pose_source = "data_poses"

    def __init__(
        self,
        root: Path,
        name: str,
        config: Kitti360Config | None = None,
        images_config: CameraImageConfig | None = None,
    ) -> None:
        """images_config: by default that of `camera.yaml` in `root`."""
        self.root, self.config = Path(root), config or Kitti360Config()
        calibration = self.root / "calibration"
        cameras = CalibrationFile(calibration / "perspective.txt")
        folders = self.root / "data_2d_raw" / name
        camera = choose_camera({
            n: FrameFiles(folders / f"image_{n:02d}" / "data_rect", 10, IMAGE_SUFFIXES)
            for n in (0, 1)
        })  # fmt: skip
        rectified = f"P_rect_{camera:02d}"
        pinhole, T_camera_rect0 = cameras.pinhole(rectified, f"S_rect_{camera:02d}")
        T_rect0_cam0 = make_transform(cameras.rotation("R_rect_00"), np.zeros(3))
        T_imu_cam0 = CalibrationFile(calibration / "calib_cam_to_pose.txt").rigid("image_00")
        T_lidar_cam0 = CalibrationFile(calibration / "calib_cam_to_velo.txt").rigid("")
        frames, T_world_imu = _read_poses(self.root / "data_poses" / name)
        self.origin: NDArray[np.float64] = round_origin(T_world_imu[0, :3, 3])
        posed = _interpolate(frames, T_world_imu, self.config.max_pose_gap_frames)
        images = folders / f"image_{camera:02d}"
        semantics = self.root / "data_2d_semantics" / "train" / name / images.name / "semantic"
        scans = self.root / "data_3d_raw" / name / "velodyne_points" / "data"
        super().__init__(
            name,
            FrameFiles(images / "data_rect", 10, IMAGE_SUFFIXES),
            FrameFiles(scans, 10, (".bin",)),
            pinhole,
            f"{rectified} of {cameras.path}",
            T_lidar_cam0 @ invert(T_camera_rect0 @ T_rect0_cam0),
            {frame: T @ T_imu_cam0 @ invert(T_lidar_cam0) for frame, T in posed.items()},
            images / "timestamps.txt",
            masks=FrameFiles(semantics, 10, (".png",)),
            config=images_config or load_camera_options(self.root),
        )
        self._recent: dict[SemanticWindow, PointCloud] = {}

    def semantic_windows(self) -> list[SemanticWindow]:
        """The drive's files of static points in driving order, the training split first."""
        windows = []
        for split in ("train", "test", ""):
            folder = self.root / "data_3d_semantics" / split / self.name / "static"
            for path in sorted(folder.glob("*_*.ply")):
                start, _, end = path.stem.partition("_")
                if not (start.isdigit() and end.isdigit()):
                    raise DatasetError(
                        f"{path} is not named by its first and last frame like "
                        "0000000002_0000000385.ply"
                    )
                windows.append(SemanticWindow(int(start), int(end), path))
        return windows

    @property
    def mapped_frames(self) -> Sequence[int]:
        """Frames from the start of the first to the end of the last window of static points."""
        windows = self.semantic_windows()
        if not windows:
            return ()
        return range(min(w.start for w in windows), max(w.end for w in windows) + 1)

    def window_points(self, window: SemanticWindow) -> PointCloud:
        """Points of a window in the world frame, minus `origin`; labels are joint ids.

        Windows of the test split have no labels. The last two windows are cached, since a frame is
        in two at most. Raises DatasetError if the file is not a PLY or has no points.
        """
        if window not in self._recent:
            newest = list(self._recent.items())[-1:]
            self._recent = {**dict(newest), window: self._read_window(window.path)}
        return self._recent[window]

    def static_clouds(self) -> Iterator[PointCloud]:
        """All windows, each without the voxels that an earlier window covers."""
        covered = np.empty(0, np.int64)
        for window in self.semantic_windows():
            cloud = self.window_points(window)
            keys = voxel_keys(cloud.xyz, _OVERLAP_VOXEL_M)
            yield cloud.select(np.isin(keys, covered, invert=True))
            covered = np.union1d(covered, keys)

    def _labelled_points(self, frame: int) -> PointCloud | None:
        """Static points, in the LiDAR frame, of the windows that contain a frame."""
        windows = [w for w in self.semantic_windows() if w.start <= frame <= w.end]
        clouds = [cloud for cloud in map(self.window_points, windows) if cloud.label is not None]
        if not clouds:
            return None
        xyz = np.concatenate([cloud.xyz for cloud in clouds])
        T_lidar_world = invert(self.T_world_lidar(frame))
        T_lidar_origin = T_lidar_world @ make_transform(np.eye(3), self.origin)
        return PointCloud(
            transform_points(T_lidar_origin, xyz).astype(np.float32),
            np.concatenate([cloud.label for cloud in clouds if cloud.label is not None]),
        )

    def _read_window(self, path: Path) -> PointCloud:
        rows = read_ply(path)
        fields = rows.dtype.names or ()
        if len(rows) == 0 or not {"x", "y", "z"} <= set(fields):
            raise DatasetError(
                f"{path} has {len(rows)} points with the fields {', '.join(fields)}: expected "
                "points with x, y and z"
            )
        world = np.stack([rows[axis].astype(np.float64) for axis in "xyz"], axis=1)
        label = to_joint(rows["semantic"], self.label_set) if "semantic" in fields else None
        return PointCloud((world - self.origin).astype(np.float32), label, origin=self.origin)

    def _poses_near(self, frame: int) -> str:
        gap = self.config.max_pose_gap_frames
        return f"{super()._poses_near(frame)}; wider gaps than max_pose_gap_frames={gap} stay open"


def _read_poses(folder: Path) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Read frames (F,), increasing, and poses (F, 4, 4) of the IMU in the world."""
    path = folder / "poses.txt"
    if not path.is_file() and (folder / "poses.txt.gz").is_file():
        path = folder / "poses.txt.gz"
    rows = read_rows(path, 13)
    frames = rows[:, 0].astype(np.int64)
    wrong = frames != rows[:, 0]
    wrong[1:] |= np.diff(frames) <= 0
    if wrong.any():
        raise DatasetError(
            f"{path}, row {int(np.argmax(wrong)) + 1}: frames must be increasing whole numbers"
        )
    return frames, rigid_rows(path, rows[:, 1:])


def _interpolate(
    frames: NDArray[np.int64], poses: NDArray[np.float64], max_gap_frames: int
) -> dict[int, NDArray[np.float64]]:
    """Poses by frame: the given ones, and interpolated ones in gaps that are not too wide."""
    every = np.arange(frames[0], frames[-1] + 1)
    posed = interpolate_poses(frames, poses, every, max_gap_frames)
    given = dict(zip(frames.tolist(), poses, strict=True))
    return {int(every[i]): T for i, T in posed.items()} | given
