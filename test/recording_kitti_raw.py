"""Write a tiny KITTI raw drive: calibration of a date, OXTS packets, images and scans."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

NAME = "2011_09_26_drive_0005_sync"
EARTH_RADIUS_M = 6378137.0
P_RECT_02 = np.array([[50.0, 0, 31.5, 3], [0, 50, 11.5, 0.2], [0, 0, 1, 0.003]])
R_RECT_00 = Rotation.from_euler("xyz", [0.01, -0.005, 0.002]).as_matrix()
R_CAM_VELO = np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]])
T_CAM_VELO = np.array([0.0, -0.08, -0.27])
R_VELO_IMU = Rotation.from_euler("z", 0.015).as_matrix()
T_VELO_IMU = np.array([-0.8, 0.3, -0.8])
LATITUDE, LONGITUDE = 49.0, 8.4
STEP_DEG = 1e-4


def row(matrix: np.ndarray) -> str:
    return " ".join(f"{v:.12e}" for v in np.ravel(matrix))


def write_calibration(date: Path) -> None:
    cameras = ["calib_time: 09-Jan-2012 13:57:47", "corner_dist: 9.950000e-02"]
    for i in range(4):
        P = P_RECT_02 if i == 2 else P_RECT_02 * [1, 1, 1, 0]
        cameras += [f"R_rect_{i:02d}: {row(R_RECT_00)}", f"P_rect_{i:02d}: {row(P)}"]
    (date / "calib_cam_to_cam.txt").write_text("\n".join(cameras) + "\n")
    mountings = {"velo_to_cam": (R_CAM_VELO, T_CAM_VELO), "imu_to_velo": (R_VELO_IMU, T_VELO_IMU)}
    for name, (R, T) in mountings.items():
        text = f"calib_time: 15-Mar-2012 11:37:16\nR: {row(R)}\nT: {row(T)}\n"
        (date / f"calib_{name}.txt").write_text(text)


def write_kitti_raw(root: Path) -> Path:
    """Write three frames: at the origin, a step to the east, a step to the north facing north."""
    date = root / "2011_09_26"
    drive = date / NAME
    for name in ("image_02", "velodyne_points", "oxts"):
        (drive / name / "data").mkdir(parents=True)
    write_calibration(date)
    steps = [(0, 0, 0), (0, STEP_DEG, 0), (STEP_DEG, STEP_DEG, np.pi / 2)]
    for frame, (north, east, yaw) in enumerate(steps):
        packet = [LATITUDE + north, LONGITUDE + east, 110.0 + frame, 0.0, 0.0, yaw]
        rest = "0.5 " * 19 + "4 11 6 6 6"
        text = " ".join(f"{value:.13f}" for value in packet) + f" {rest}\n"
        (drive / f"oxts/data/{frame:010d}.txt").write_text(text)
        image = np.full((24, 64, 3), (255, frame, 0), np.uint8)
        Image.fromarray(image).save(drive / f"image_02/data/{frame:010d}.png")
        points = np.array([[5, 0, frame, 0.5], [6, 1, -1, 0.25]], "<f4")
        points.tofile(drive / f"velodyne_points/data/{frame:010d}.bin")
    (drive / "oxts/timestamps.txt").write_text(
        "2011-09-26 23:59:59.964389445\n2011-09-27 00:00:00.064389445\n"
        "2011-09-27 00:00:00.164000000\n"
    )
    return drive
