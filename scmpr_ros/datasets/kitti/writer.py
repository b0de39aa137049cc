"""Write KITTI odometry layout with SemanticKITTI labels, image masks and depth images.

The layout is that of `KittiOdometryDrive`, plus

    sequences/SS/depth_2/%06d.png      optional, 16-bit: metres * 256, 0 for none

Files are written atomically. Numbers are written with all digits and read back bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from scmpr_ros.atomic_files import atomic_directory, write_file
from scmpr_ros.datasets.drive import Drive
from scmpr_ros.datasets.drive_frames import DriveFrame, DriveFrames, FrameChoice
from scmpr_ros.errors import DatasetError, ShapeError
from scmpr_ros.geometry import invert
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import from_joint

# A photograph (1241 x 376) takes 11 ms and 914 kB with OpenCV's default, 29 ms and 948 kB with
# level 1, 37 ms and 940 kB with level 3. For masks and depth images level 1 is as fast as the
# default and 4 to 6 times smaller; level 3 gains nothing.
_PHOTOGRAPH: tuple[int, ...] = ()
_FLAT = (cv2.IMWRITE_PNG_COMPRESSION, 1)


def write_drive_kitti(
    drive: Drive,
    root: Path,
    sequence: str,
    progress: bool = False,
    choice: FrameChoice | None = None,
) -> DriveFrames:
    """Write a drive, or a selection of its frames, as a sequence below `root`.

    Frames are renumbered from 0, since row i of poses and times is frame i; stamps are unchanged.
    The drive's single camera stands for KITTI's four: all P are K [I | 0] ([I | 0] without images),
    and Tr transforms to that camera. SemanticKITTI labels are unchanged, other labels are converted
    through the joint classes. A scan without intensity gets zeros.

    Returns the frames with their counts. Raises DatasetError if the sequence exists.
    """
    frames, poses_path = DriveFrames(drive, choice), Path(root) / "poses" / f"{sequence}.txt"
    if poses_path.exists():
        raise DatasetError(f"{poses_path} exists already: remove it, or choose another sequence")
    K = drive.camera.matrix if drive.image_frames else np.eye(3)
    T_camera_lidar = invert(drive.T_lidar_camera)
    folder = Path(root) / "sequences" / sequence
    with atomic_directory(folder, Path(root) / f".{sequence}.partial") as partial:
        write_calibration(partial, np.tile(np.column_stack([K, np.zeros(3)]), (4, 1, 1)),
                          T_camera_lidar)  # fmt: skip
        write_times(partial, [drive.stamp_s(frame) for frame in frames.numbers])
        for row, frame in enumerate(frames.read(progress)):
            _write_frame(partial, row, frame, frames.label_set)
        T_world_lidar = np.stack([drive.T_world_lidar(frame) for frame in frames.numbers])
    write_poses(poses_path, T_world_lidar, T_camera_lidar)
    return frames


def _write_frame(folder: Path, number: int, frame: DriveFrame, label_set: str) -> None:
    if frame.image is not None:
        write_image(folder, number, frame.image)
    if frame.mask is not None:
        write_mask(folder, number, frame.mask)
    if frame.scan is not None:
        raw = frame.point_labels if label_set == "semantickitti" else None
        write_scan(folder, number, frame.scan, raw)


def write_image(folder: Path, frame: int, rgb: NDArray[np.uint8]) -> None:
    """Write RGB pixels (H, W, 3) to image_2/%06d.png."""
    _write_png(folder / "image_2", frame, rgb[..., ::-1], _PHOTOGRAPH)


def write_mask(folder: Path, frame: int, joint: NDArray[np.uint8]) -> None:
    """Write joint ids (H, W) to mask_2/%06d.png, as Cityscapes ids."""
    _write_png(folder / "mask_2", frame, from_joint(joint, "cityscapes").astype(np.uint8), _FLAT)


def write_depth(folder: Path, frame: int, depth_m: NDArray[np.floating]) -> None:
    """Write metres (H, W) along the optical axis to depth_2/%06d.png.

    Values that are not finite, not positive, or above 255.99 m (the limit of 16 bits) become 0.
    """
    steps = np.rint(np.nan_to_num(depth_m, nan=0.0, posinf=0.0, neginf=0.0) * 256)
    steps[(steps < 0) | (steps > np.iinfo(np.uint16).max)] = 0
    _write_png(folder / "depth_2", frame, steps.astype(np.uint16), _FLAT)


def write_scan(
    folder: Path, frame: int, scan: PointCloud, raw_labels: NDArray[np.uint32] | None = None
) -> None:
    """Write velodyne/%06d.bin (x, y, z, intensity) and, if labelled, labels/%06d.label.

    raw_labels: (N,) SemanticKITTI labels with instances; by default the scan's joint ids are
        converted.
    """
    intensity = np.zeros(len(scan)) if scan.intensity is None else scan.intensity
    table = np.column_stack([scan.xyz, intensity]).astype("<f4")
    write_file(folder / "velodyne" / f"{frame:06d}.bin", table.tobytes())
    if raw_labels is None and scan.label is not None:
        raw_labels = from_joint(scan.label, "semantickitti").astype(np.uint32)
    if raw_labels is None:
        return
    if raw_labels.shape != (len(scan),):
        raise ShapeError.of(f"labels of scan {frame}", f"({len(scan)},)", raw_labels.shape)
    write_file(folder / "labels" / f"{frame:06d}.label", raw_labels.astype("<u4").tobytes())


def write_calibration(
    folder: Path, projections: NDArray[np.float64], T_cam0_lidar: NDArray[np.float64]
) -> None:
    """Write calib.txt: the projections (4, 3, 4) of cameras 0 to 3, and Tr."""
    rows = [*((f"P{i}", P) for i, P in enumerate(projections)), ("Tr", T_cam0_lidar[:3])]
    lines = [f"{name}: {_numbers(matrix.ravel())}\n" for name, matrix in rows]
    write_file(folder / "calib.txt", "".join(lines).encode())


def write_times(folder: Path, stamps_s: Iterable[float]) -> None:
    """Write times.txt: seconds since the start, to the nanosecond."""
    write_file(folder / "times.txt", "".join(f"{stamp:.9f}\n" for stamp in stamps_s).encode())


def write_poses(
    path: Path, T_world_lidar: NDArray[np.float64], T_cam0_lidar: NDArray[np.float64]
) -> None:
    """Write LiDAR poses (N, 4, 4) in a z-up world to poses/SS.txt.

    KITTI stores poses of camera 0 in a world with its axes: Tr T_world_lidar Tr^-1. Readers that
    undo this get the same world frame, whatever its origin.
    """
    T = T_cam0_lidar @ T_world_lidar @ invert(T_cam0_lidar)
    write_file(path, "".join(f"{_numbers(row)}\n" for row in T[:, :3].reshape(-1, 12)).encode())


def _numbers(values: NDArray[np.float64]) -> str:
    """Format as the shortest decimals that read back as the same float64."""
    return " ".join(repr(float(value)) for value in values)


def _write_png(
    folder: Path, frame: int, pixels: NDArray[np.generic], options: tuple[int, ...]
) -> None:
    try:
        _, data = cv2.imencode(".png", np.ascontiguousarray(pixels), options)
    except cv2.error as error:
        raise ShapeError(f"{folder.name} of frame {frame} cannot be a PNG: {error}") from error
    write_file(folder / f"{frame:06d}.png", data.tobytes())
