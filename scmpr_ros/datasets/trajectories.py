"""Trajectories beside a cloud: the poses of the robot that mapped, as SLAM programs write them.

    TUM        stamp x y z qx qy qz qw; GLIM, FAST-LIO, KISS-ICP and evo write it
    KITTI      a 3x4 matrix in a line, row by row; KISS-ICP, SC-LIO-SAM; KITTI-360 with its frame
    EuRoC      CSV of ns, position and a quaternion that begins with w
    CSV        columns by their names: x, y, z, and a quaternion or yaw, stamps if there are some
    .npy       matrices (N, 4, 4); KISS-ICP
    .pcd       x, y, z, roll, pitch, yaw, time; LIO-SAM's transformations.pcd
    a bag      odometry, poses, a path or TF

Nothing is guessed: what does not look like a robot's poses is refused, with what to do about it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.datasets.bags.files import METADATA, is_bag_file
from scmpr_ros.datasets.bags.options import BagReaderConfig, load_options
from scmpr_ros.datasets.trajectory_arrays import read_npy_poses, read_pcd_poses
from scmpr_ros.datasets.trajectory_axes import Axes, check_upright, in_body_axes
from scmpr_ros.datasets.trajectory_text import QuaternionOrder, read_text_poses
from scmpr_ros.errors import DatasetError

Format = Literal["auto", "tum", "kitti", "euroc", "csv", "npy", "pcd", "bag"]


@dataclass(frozen=True)
class TrajectoryConfig:
    """What a trajectory file does not say.

    format: `auto` tells it from the name and the content.
    axes: `body` has x forward and z up, of the poses and of their world. Others are converted to
        it: `optical`, z forward and y down of both, as in KITTI's pose files; `camera`, of the
        poses only; `frd`, z down of the poses only, as in KITTI-360; `ned`, of both. `auto` takes
        `body`, and refuses poses that move along z.
    quaternion: order of a TUM file's last four numbers.
    """

    format: Format = "auto"
    axes: Axes = "auto"
    quaternion: QuaternionOrder = "xyzw"


@dataclass(frozen=True)
class Trajectory:
    """Poses of a robot in the frame of a map, in driving order.

    stamps_s: (N,) float64, increasing; None if the file has none. T_world_body: (N, 4, 4) float64,
    x forward, z up. source: file, or bag and topic.
    """

    stamps_s: NDArray[np.float64] | None
    T_world_body: NDArray[np.float64]
    source: str

    def __len__(self) -> int:
        return len(self.T_world_body)

    @property
    def positions(self) -> NDArray[np.float64]:
        """Positions (N, 3) in metres."""
        return self.T_world_body[:, :3, 3]


def read_trajectory(
    path: Path, config: TrajectoryConfig | None = None, bag: BagReaderConfig | None = None
) -> Trajectory:
    """Read a trajectory of any format above.

    bag: topics and frames, if it is a bag's.

    Raises DatasetError for files that are missing, damaged or of another kind, and for poses that
    are not finite, out of order or not upright.
    """
    path, config = Path(path), config or TrajectoryConfig()
    if not path.exists():
        raise DatasetError(f"no trajectory {path}: the file does not exist")
    kind = _format_of(path, config.format)
    stamps_s, T, source = (
        _read_bag(path, bag or BagReaderConfig()) if kind == "bag" else _READERS[kind](path, config)
    )
    _check(source, stamps_s, T)
    T = in_body_axes(source, T, config.axes)
    check_upright(source, T)
    return Trajectory(stamps_s, T, source)


def find_trajectory(folder: Path) -> Path | None:
    """The trajectory file of a folder with a map, by the names that SLAM programs give; or None.

    Raises DatasetError if the files of several programs, or of several runs, could be meant.
    """
    found = [file for names in _NAMES.values() for file in _best_called(folder, names)]
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise DatasetError(f"{folder} has several trajectories ({names}): name one")
    return found[0] if found else None


_NAMES: Mapping[str, tuple[str, ...]] = {
    "GLIM": ("traj_lidar.txt", "traj_imu.txt"),
    "KISS-ICP": ("*_poses_tum.txt", "*_poses.npy", "*_poses_kitti.txt"),
    "LIO-SAM": ("transformations.pcd",),
    "SC-LIO-SAM": ("optimized_poses.txt",),
    "any": (
        "trajectory.tum", "trajectory.txt", "trajectory.csv", "traj.tum", "traj.txt", "traj.csv",
        "poses.tum", "poses.txt", "poses.csv", "trajectory_tum.txt", "stamped_trajectory.txt",
        "stamped_traj_estimate.txt", "stamped_groundtruth.txt",
    ),
}  # fmt: skip
"""Names by program, the best of each first."""


def _best_called(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    """The files that match the first pattern which any file matches."""
    for pattern in patterns:
        if found := [path for path in sorted(folder.glob(pattern)) if path.is_file()]:
            return found
    return []


def _format_of(path: Path, wanted: Format) -> str:
    if wanted != "auto":
        return wanted
    if is_bag_file(path) or (path / METADATA).is_file():
        return "bag"
    if path.is_dir():
        raise DatasetError(f"{path} is a folder and not a trajectory: name the file")
    return {".npy": "npy", ".pcd": "pcd"}.get(path.suffix.lower(), "text")


_Poses = tuple[NDArray[np.float64] | None, NDArray[np.float64], str]


def _read_text(path: Path, config: TrajectoryConfig) -> _Poses:
    wanted = config.format if config.format in ("tum", "kitti", "euroc", "csv") else "auto"
    stamps_s, T = read_text_poses(path, wanted, config.quaternion)
    return stamps_s, T, str(path)


def _read_npy(path: Path, config: TrajectoryConfig) -> _Poses:
    return None, read_npy_poses(path), str(path)


def _read_pcd(path: Path, config: TrajectoryConfig) -> _Poses:
    return *read_pcd_poses(path), str(path)


def _read_bag(path: Path, bag: BagReaderConfig) -> _Poses:
    from scmpr_ros.datasets.bags.poses import read_bag_poses  # imports rosbags

    stamps_s, T, topic = read_bag_poses(path, load_options(path, bag))
    return stamps_s, T, f"{path} ({topic})"


_READERS: Mapping[str, Callable[[Path, TrajectoryConfig], _Poses]] = {
    "npy": _read_npy, "pcd": _read_pcd,
    **dict.fromkeys(("text", "tum", "kitti", "euroc", "csv"), _read_text),
}  # fmt: skip


_ROTATION_TOLERANCE = 1e-2


def _check(source: str, stamps_s: NDArray[np.float64] | None, T: NDArray[np.float64]) -> None:
    """Raise DatasetError unless poses are finite rotations and stamps increase; rows from 1."""
    if len(T) == 0:
        raise DatasetError(f"{source}: there are no poses in this trajectory")
    finite = np.isfinite(T).all(axis=(1, 2))
    if stamps_s is not None:
        finite &= np.isfinite(stamps_s)
    if not finite.all():
        rows = np.flatnonzero(~finite) + 1
        raise DatasetError(
            f"{source}: {len(rows)} of {len(T)} poses are not finite, the first is pose {rows[0]}: "
            "remove them"
        )
    R = T[:, :3, :3]
    error = np.abs(R @ R.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
    wrong = (error > _ROTATION_TOLERANCE) | (np.linalg.det(R) < 0)
    if wrong.any():
        raise DatasetError(
            f"{source}: {wrong.sum()} of {len(T)} poses have no rotation matrix, the first is pose "
            f"{int(np.argmax(wrong)) + 1}: is this a trajectory, and are its columns in order?"
        )
    if stamps_s is not None:
        late = np.flatnonzero(np.diff(stamps_s) <= 0)
        if len(late):
            at = int(late[0])
            raise DatasetError(
                f"{source}: stamps do not increase: that of pose {at + 2}, {stamps_s[at + 1]:.6f} "
                f"s, is not later than that of pose {at + 1}, {stamps_s[at]:.6f} s: sort the poses "
                "and remove doubles"
            )
