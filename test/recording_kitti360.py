"""Write a tiny KITTI-360 recording: sparse poses, a calibration, windows of points."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from scmpr_ros.geometry import make_transform
from scmpr_ros.ply import write_ply

NAME = "2013_05_28_drive_0000_sync"
START = np.array([1203.25, 3911.5, 115.125])

K = np.array([[50.0, 0, 31.5], [0, 50, 11.5], [0, 0, 1]])
R_RECT = np.array([[np.cos(0.01), -np.sin(0.01), 0], [np.sin(0.01), np.cos(0.01), 0], [0, 0, 1]])
# The IMU's axes are x forward, y right, z down; the velodyne's x forward, y left, z up.
T_IMU_CAM0 = make_transform(np.array([[0, 0, 1], [1, 0, 0], [0, 1.0, 0]]), np.array([1.5, 0, -0.6]))
T_VELO_CAM0 = make_transform(
    np.array([[0, 0, 1.0], [-1, 0, 0], [0, -1, 0]]), np.array([0.8, 0.3, -0.2])
)

STATIC = [("x", "f4"), ("y", "f4"), ("z", "f4"), ("red", "u1"), ("green", "u1"), ("blue", "u1"),
          ("semantic", "i4"), ("instance", "i4"), ("visible", "u1"),
          ("confidence", "f4")]  # fmt: skip


def row(matrix: np.ndarray) -> str:
    return " ".join(f"{v:.10f}" for v in np.ravel(matrix))


def T_world_imu(frame: int) -> np.ndarray:
    """Level pose, one metre per frame along the world's x."""
    return make_transform(np.diag([1.0, -1, -1]), START + [frame, 0, 0])


def write_window(
    path: Path, xyz: np.ndarray, semantic: int | np.ndarray, labelled: bool = True
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = np.zeros(len(xyz), STATIC)
    for axis, name in enumerate("xyz"):
        rows[name] = xyz[:, axis]
    rows["semantic"], rows["instance"] = semantic, np.multiply(semantic, 1000) + 1
    unlabelled = ["x", "y", "z", "red", "green", "blue", "visible"]
    write_ply(path, rows if labelled else rows[unlabelled])


def write_kitti360(root: Path) -> None:
    """Write poses of frames 1, 9 and 30, images and scans of 1, 5 and 20, a mask of frame 5."""
    (root / "calibration").mkdir()
    P = np.column_stack([K, np.zeros(3)])
    (root / "calibration/perspective.txt").write_text(
        "calib_time: 17-Feb-2016 14:23:48\ncorner_dist: 0.100000\nS_rect_00: 64.0 24.0\n"
        f"R_rect_00: {row(R_RECT)}\nP_rect_00: {row(P)}\n"
    )
    (root / "calibration/calib_cam_to_pose.txt").write_text(
        f"image_00: {row(T_IMU_CAM0[:3])} \nimage_01: {row(T_IMU_CAM0[:3])} \n"
    )
    (root / "calibration/calib_cam_to_velo.txt").write_text(f"{row(T_VELO_CAM0[:3])}\n")
    poses, images = root / "data_poses" / NAME, root / "data_2d_raw" / NAME / "image_00"
    scans = root / "data_3d_raw" / NAME / "velodyne_points/data"
    masks = root / "data_2d_semantics/train" / NAME / "image_00/semantic"
    for folder in (poses, images / "data_rect", scans, masks):
        folder.mkdir(parents=True)
    rows = [f"{frame} {row(T_world_imu(frame)[:3])}" for frame in (1, 9, 30)]
    (poses / "poses.txt").write_text("\n".join(rows) + "\n")
    stamps = [f"2013-05-28 08:46:{2 + 0.1 * frame:012.9f}" for frame in range(31)]
    (images / "timestamps.txt").write_text("\n".join(stamps) + "\n")
    for frame in (1, 5, 20):
        image = np.full((24, 64, 3), (255, frame, 0), np.uint8)
        Image.fromarray(image).save(images / f"data_rect/{frame:010d}.png")
        np.array([[5, 0, frame, 0.5]], "<f4").tofile(scans / f"{frame:010d}.bin")
    Image.fromarray(np.full((24, 64), 34, np.uint8)).save(masks / "0000000005.png")  # a garage


def static_folder(root: Path, split: str = "train") -> Path:
    return root / "data_3d_semantics" / split / NAME / "static"
