"""KITTI-360 drives: the rectified left camera, raw scans, and the labelled static points.

Layout, below one root, where D is a drive like 2013_05_28_drive_0000_sync:

    calibration/{perspective,calib_cam_to_pose,calib_cam_to_velo}.txt
    data_poses/D/poses.txt                                       frame and 12 numbers, T_world_imu
    data_2d_raw/D/image_00/{data_rect/%010d.png,timestamps.txt}
    data_3d_raw/D/velodyne_points/data/%010d.bin                 float32 x, y, z, reflectance
    data_2d_semantics/train/D/image_00/semantic/%010d.png        optional, ids of the pixels
    data_3d_semantics/{train,test}/D/static/%010d_%010d.ply      optional, points of a window

The world frame is z-up and one for all drives, so its coordinates are kilometres: they stay
float64, and points come with an origin. Scans are not corrected for the car's motion.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

from scmpr_ros.datasets.kitti.file_drive import FileDrive
from scmpr_ros.datasets.kitti.files import (
    CalibrationFile,
    FrameFiles,
    read_rows,
    read_stamps_s,
    rigid_rows,
)
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.geometry import invert, make_transform, transform_points, voxel_keys
from scmpr_ros.ply import read_ply
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import to_joint

_ORIGIN_GRID_M = 100.0
_OVERLAP_VOXEL_M = 0.1


@dataclass(frozen=True)
class Kitti360Config:
    """How gaps between poses are bridged.

    max_pose_gap_frames: frames between two poses no further apart than this get a pose in between,
        others have none. KITTI-360 leaves poses out where the car is slow, so the way is short.
    """

    max_pose_gap_frames: int = 10

    def __post_init__(self) -> None:
        if self.max_pose_gap_frames < 1:
            raise ConfigError(
                f"max_pose_gap_frames is {self.max_pose_gap_frames}: 1 keeps the given poses only"
            )


@dataclass(frozen=True)
class SemanticWindow:
    """A file of static points that were seen in the frames from `start` to `end`, both included."""

    start: int
    end: int
    path: Path


def find_kitti360_drives(root: Path) -> list[str]:
    """Names of the drives below `root` that have poses and images, scans or static points."""
    root = Path(root)
    posed = {path.parent.name for path in root.glob("data_poses/*/poses.txt*")}
    data = [*root.glob("data_[23]d_raw/*"), *root.glob("data_3d_semantics/*/*")]
    return sorted(posed & {path.name for path in data})


class Kitti360Drive(FileDrive):
    """One drive of KITTI-360, as a `Drive`.

    origin: (3,) a round point near the drive's first pose, the origin of its static points.

    Raises CalibrationError for calibration files that are missing or impossible, DatasetError for
    poses that are missing or no rigid transforms.
    """

    label_set = mask_set = "kitti360"
    pose_source = "data_poses"

    def __init__(self, root: Path, name: str, config: Kitti360Config | None = None) -> None:
        self.root, self.config = Path(root), config or Kitti360Config()
        calibration = self.root / "calibration"
        cameras = CalibrationFile(calibration / "perspective.txt")
        K, T_camera_rect0 = cameras.pinhole("P_rect_00")
        T_rect0_cam0 = make_transform(cameras.rotation("R_rect_00"), np.zeros(3))
        T_imu_cam0 = CalibrationFile(calibration / "calib_cam_to_pose.txt").rigid("image_00")
        T_lidar_cam0 = CalibrationFile(calibration / "calib_cam_to_velo.txt").rigid("")
        frames, T_world_imu = _read_poses(self.root / "data_poses" / name)
        self.origin: NDArray[np.float64] = _ORIGIN_GRID_M * np.round(
            T_world_imu[0, :3, 3] / _ORIGIN_GRID_M
        )
        posed = _bridge_gaps(frames, T_world_imu, self.config.max_pose_gap_frames)
        self._image_folder = self.root / "data_2d_raw" / name / "image_00"
        semantics = self.root / "data_2d_semantics" / "train" / name / "image_00" / "semantic"
        scans = self.root / "data_3d_raw" / name / "velodyne_points" / "data"
        super().__init__(
            name,
            FrameFiles(self._image_folder / "data_rect", 10, ".png"),
            FrameFiles(scans, 10, ".bin"),
            K,
            T_lidar_cam0 @ invert(T_camera_rect0 @ T_rect0_cam0),
            {frame: T @ T_imu_cam0 @ invert(T_lidar_cam0) for frame, T in posed.items()},
            masks=FrameFiles(semantics, 10, ".png"),
        )
        self._recent: dict[SemanticWindow, PointCloud] = {}

    def stamp_s(self, frame: int) -> float:
        """Seconds since the first image."""
        if not 0 <= frame < len(self._stamps_s):
            raise DatasetError(
                f"{self._image_folder / 'timestamps.txt'} has {len(self._stamps_s)} rows, none "
                f"for frame {frame}"
            )
        return float(self._stamps_s[frame])

    def semantic_windows(self) -> list[SemanticWindow]:
        """The drive's files of static points, in driving order; those of the test split last."""
        windows = []
        for split in ("train", "test"):
            folder = self.root / "data_3d_semantics" / split / self.name / "static"
            for path in sorted(folder.glob("*_*.ply")):
                start, _, end = path.stem.partition("_")
                if not (start.isdigit() and end.isdigit()):
                    raise DatasetError(
                        f"{path} is not named by its first and last frame, as "
                        "0000000002_0000000385.ply is"
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
        """Points of a window in the world, minus `origin`; labels are joint ids.

        Windows of the test split have no labels. The last two windows read are kept, since a
        frame lies in two at most. Raises DatasetError for a file that is no PLY or has no points.
        """
        if window not in self._recent:
            newest = list(self._recent.items())[-1:]
            self._recent = {**dict(newest), window: self._read_window(window.path)}
        return self._recent[window]

    def static_clouds(self) -> Iterator[PointCloud]:
        """All windows, each without the points where an earlier window has some already."""
        taken = np.empty(0, np.int64)
        for window in self.semantic_windows():
            cloud = self.window_points(window)
            keys = voxel_keys(cloud.xyz, _OVERLAP_VOXEL_M)
            yield cloud.select(np.isin(keys, taken, invert=True))
            taken = np.union1d(taken, keys)

    def _labelled_points(self, frame: int) -> PointCloud | None:
        """Static points of the frame's windows, in its LiDAR frame."""
        around = [w for w in self.semantic_windows() if w.start <= frame <= w.end]
        clouds = [cloud for cloud in map(self.window_points, around) if cloud.label is not None]
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
                f"{path} has {len(rows)} points with the fields {', '.join(fields)}; a window "
                "needs points with x, y and z"
            )
        world = np.stack([rows[axis].astype(np.float64) for axis in "xyz"], axis=1)
        label = to_joint(rows["semantic"], self.label_set) if "semantic" in fields else None
        return PointCloud((world - self.origin).astype(np.float32), label, origin=self.origin)

    def _poses_near(self, frame: int) -> str:
        gap = self.config.max_pose_gap_frames
        return f"{super()._poses_near(frame)}; max_pose_gap_frames={gap} bridges no wider gap"

    @cached_property
    def _stamps_s(self) -> NDArray[np.float64]:
        return read_stamps_s(self._image_folder / "timestamps.txt")


def _read_poses(folder: Path) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Frames (F,), rising, and poses (F, 4, 4) of the IMU in the world."""
    path = folder / "poses.txt"
    if not path.is_file() and (folder / "poses.txt.gz").is_file():
        path = folder / "poses.txt.gz"
    rows = read_rows(path, 13)
    frames = rows[:, 0].astype(np.int64)
    falling = np.flatnonzero(np.diff(frames) <= 0)
    if len(falling) or (frames != rows[:, 0]).any():
        number = int(falling[0]) + 2 if len(falling) else int(np.argmax(frames != rows[:, 0])) + 1
        raise DatasetError(f"{path}, row {number}: frames must be whole numbers that rise")
    return frames, rigid_rows(path, rows[:, 1:])


def _bridge_gaps(
    frames: NDArray[np.int64], poses: NDArray[np.float64], max_gap: int
) -> dict[int, NDArray[np.float64]]:
    """Poses by frame, also of frames in gaps: linear in position, slerp in rotation."""
    given = dict(zip(frames.tolist(), poses, strict=True))
    if len(frames) == 1:
        return given
    every = np.arange(frames[0], frames[-1] + 1)
    after = np.searchsorted(frames, every)
    gaps = np.diff(frames, prepend=frames[0])
    wanted = every[gaps[after] <= max_gap]
    rotations = Slerp(frames, Rotation.from_matrix(poses[:, :3, :3]))(wanted).as_matrix()
    positions = [np.interp(wanted, frames, poses[:, axis, 3]) for axis in range(3)]
    between = {
        frame: make_transform(R, t)
        for frame, R, t in zip(wanted.tolist(), rotations, np.stack(positions, axis=1), strict=True)
    }
    return dict(sorted((between | given).items()))
