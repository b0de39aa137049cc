"""Drives of KITTI raw, synchronised and rectified ("sync"), with poses from GPS and IMU.

Layout, below the folder of a date:

    calib_cam_to_cam.txt, calib_velo_to_cam.txt, calib_imu_to_velo.txt
    DATE_drive_NNNN_sync/image_02/data/%010d.png            colour images; else 03, 00, 01
    DATE_drive_NNNN_sync/velodyne_points/data/%010d.bin     float32 x, y, z, reflectance
    DATE_drive_NNNN_sync/oxts/data/%010d.txt                30 numbers: latitude, longitude, ...
    DATE_drive_NNNN_sync/oxts/timestamps.txt                a date and time for each frame

The world frame is z-up, x east, y north, in metres of the Mercator projection at the drive's first
latitude, as in KITTI's devkit. Its origin is the drive's first position, so each drive has its own
world frame. Scans are not corrected for the car's motion.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from scmpr_ros.datasets.camera_images import CameraImageConfig, load_camera_options
from scmpr_ros.datasets.kitti.file_drive import FileDrive
from scmpr_ros.datasets.kitti.files import (
    IMAGE_SUFFIXES,
    CalibrationFile,
    FrameFiles,
    choose_camera,
    read_rows,
)
from scmpr_ros.errors import DatasetError
from scmpr_ros.geometry import invert, make_transform

_EARTH_RADIUS_M = 6378137.0  # as in the devkit
_OXTS_NUMBERS = 30
_CAMERAS = (2, 3, 0, 1)  # colour before grey, left before right


def find_raw_drives(date_folder: Path) -> list[Path]:
    """Folders of the synchronised drives of a date, sorted."""
    return sorted(p for p in Path(date_folder).glob("*_drive_*_sync") if p.is_dir())


class KittiRawDrive(FileDrive):
    """A synchronised drive of KITTI raw, as a `Drive`; its parent folder holds the calibration.

    origin: (3,) Mercator coordinates (east, north, altitude in metres) of the world frame's origin.

    Raises CalibrationError for missing or invalid calibration files, DatasetError for missing or
    damaged OXTS packets.
    """

    pose_source = "oxts"

    def __init__(self, folder: Path, config: CameraImageConfig | None = None) -> None:
        """config: by default that of `camera.yaml` in the folder of the drive or of the date."""
        self.folder = Path(folder)
        date = self.folder.parent
        cameras = CalibrationFile(date / "calib_cam_to_cam.txt")
        camera = choose_camera({
            number: FrameFiles(self.folder / f"image_{number:02d}" / "data", 10, IMAGE_SUFFIXES)
            for number in _CAMERAS
        })  # fmt: skip
        rectified = f"P_rect_{camera:02d}"
        pinhole, T_camera_rect0 = cameras.pinhole(rectified, f"S_rect_{camera:02d}")
        T_rect0_cam0 = make_transform(cameras.rotation("R_rect_00"), np.zeros(3))
        T_cam0_lidar = _read_mounting(date / "calib_velo_to_cam.txt")
        T_lidar_imu = _read_mounting(date / "calib_imu_to_velo.txt")
        packets = self._read_packets()
        T_mercator_imu = mercator_poses(np.stack(list(packets.values())))
        self.origin: NDArray[np.float64] = T_mercator_imu[0, :3, 3].copy()
        T_mercator_imu[:, :3, 3] -= self.origin
        super().__init__(
            self.folder.name,
            FrameFiles(self.folder / f"image_{camera:02d}" / "data", 10, IMAGE_SUFFIXES),
            FrameFiles(self.folder / "velodyne_points" / "data", 10, (".bin",)),
            pinhole,
            f"{rectified} of {cameras.path}",
            invert(T_camera_rect0 @ T_rect0_cam0 @ T_cam0_lidar),
            dict(zip(packets, T_mercator_imu @ invert(T_lidar_imu), strict=True)),
            self.folder / "oxts" / "timestamps.txt",
            config=config or load_camera_options(self.folder, date),
        )

    def _read_packets(self) -> dict[int, NDArray[np.float64]]:
        """OXTS packets (30,) by frame."""
        files = FrameFiles(self.folder / "oxts" / "data", 10, (".txt",))
        frames = files.numbers()
        if not frames:
            raise DatasetError(
                f"no packets in {files.folder}, so {self.folder.name} has no poses: expected "
                "oxts/data/0000000000.txt and so on, as in KITTI raw"
            )
        return {frame: read_rows(files.path(frame), _OXTS_NUMBERS)[0] for frame in frames}


def mercator_poses(packets: NDArray[np.float64]) -> NDArray[np.float64]:
    """Poses (F, 4, 4) of the IMU, in Mercator metres, from OXTS packets (F, >= 6).

    Columns: latitude and longitude in degrees, altitude in metres, roll, pitch and yaw in radians.
    The scale of the projection is that at the first latitude.
    """
    latitude, longitude = np.radians(packets[:, 0]), np.radians(packets[:, 1])
    metres = np.cos(latitude[0]) * _EARTH_RADIUS_M
    poses = np.tile(np.eye(4), (len(packets), 1, 1))
    poses[:, 0, 3] = metres * longitude
    poses[:, 1, 3] = metres * np.log(np.tan(np.pi / 4 + latitude / 2))
    poses[:, 2, 3] = packets[:, 2]
    poses[:, :3, :3] = Rotation.from_euler("ZYX", packets[:, 5:2:-1]).as_matrix()
    return poses


def _read_mounting(path: Path) -> NDArray[np.float64]:
    """Read a rigid transform (4, 4) stored as rows R and T."""
    calibration = CalibrationFile(path)
    return make_transform(calibration.rotation("R"), calibration.matrix("T", 1, 3)[0])
