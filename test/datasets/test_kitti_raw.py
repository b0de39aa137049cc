"""KITTI raw: poses from GPS and IMU, also against pykitti, and an error for each bad file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from recording_kitti_raw import (
    EARTH_RADIUS_M,
    LATITUDE,
    LONGITUDE,
    NAME,
    P_RECT_02,
    R_CAM_VELO,
    R_RECT_00,
    R_VELO_IMU,
    STEP_DEG,
    T_CAM_VELO,
    T_VELO_IMU,
    row,
    write_kitti_raw,
)

from scmpr_ros.datasets.drive import Drive
from scmpr_ros.datasets.kitti.raw import KittiRawDrive, find_raw_drives
from scmpr_ros.errors import CalibrationError, DatasetError
from scmpr_ros.geometry import camera_yaw, invert, transform_points


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_kitti_raw(tmp_path)


def test_a_drive_is_read(folder: Path) -> None:
    drive: Drive = KittiRawDrive(folder)
    assert find_raw_drives(folder.parent) == [folder]
    assert drive.name == NAME
    assert list(drive.frames) == list(drive.image_frames) == list(drive.scan_frames) == [0, 1, 2]
    assert drive.image(2)[0, 0].tolist() == [255, 2, 0]
    np.testing.assert_array_equal(drive.scan(1).xyz, [[5, 0, 1], [6, 1, -1]])
    assert drive.scan(1).intensity.tolist() == [0.5, 0.25]
    assert drive.point_labels(1) is None and drive.mask(1) is None
    assert drive.stamp_s(1) == pytest.approx(0.1) and drive.stamp_s(2) == pytest.approx(0.199610555)


def test_poses_are_metres_east_and_north(folder: Path) -> None:
    drive = KittiRawDrive(folder)
    T_velo_imu = np.eye(4)
    T_velo_imu[:3, :3], T_velo_imu[:3, 3] = R_VELO_IMU, T_VELO_IMU
    T_world_imu = [drive.T_world_lidar(frame) @ T_velo_imu for frame in drive.frames]
    np.testing.assert_allclose(T_world_imu[0], np.eye(4), atol=1e-9)
    step_m = np.radians(STEP_DEG) * EARTH_RADIUS_M
    east = step_m * np.cos(np.radians(LATITUDE))
    np.testing.assert_allclose(T_world_imu[1][:3, 3], [east, 0, 1], atol=1e-6)
    # The scale of the projection changes with latitude: by 1e-6 for 1e-4 degrees.
    np.testing.assert_allclose(T_world_imu[2][:3, 3], [east, step_m, 2], atol=1e-4)
    np.testing.assert_allclose(
        T_world_imu[2][:3, :3], [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-9
    )
    np.testing.assert_allclose(
        drive.origin[[0, 2]], [np.radians(LONGITUDE) * EARTH_RADIUS_M * east / step_m, 110]
    )
    assert camera_yaw(drive.T_world_camera(2)) == pytest.approx(np.pi / 2, abs=0.03)


def test_projection_equals_that_of_the_devkit(folder: Path) -> None:
    drive = KittiRawDrive(folder)
    point = np.array([[8.0, 1.5, -0.7]])
    uv, visible = drive.camera.project(transform_points(invert(drive.T_lidar_camera), point))
    x = P_RECT_02 @ np.append(R_RECT_00 @ (R_CAM_VELO @ point[0] + T_CAM_VELO), 1)
    np.testing.assert_allclose(uv[0], x[:2] / x[2], atol=1e-9)
    assert visible.all() and (drive.camera.width, drive.camera.height) == (64, 24)


def test_pykitti_agrees(folder: Path) -> None:
    pykitti = pytest.importorskip("pykitti")
    theirs = pykitti.raw(str(folder.parents[1]), "2011_09_26", "0005")
    drive = KittiRawDrive(folder)
    for frame, oxts in enumerate(theirs.oxts):
        expected = oxts.T_w_imu @ np.linalg.inv(theirs.calib.T_velo_imu)
        np.testing.assert_allclose(drive.T_world_lidar(frame), expected, atol=1e-6)
        np.testing.assert_array_equal(drive.image(frame), np.asarray(theirs.get_cam2(frame)))
        np.testing.assert_array_equal(drive.scan(frame).xyz, theirs.get_velo(frame)[:, :3])
    T_camera_lidar = invert(drive.T_lidar_camera)
    # Of the offset of camera 2 from camera 0, pykitti uses only the x component.
    np.testing.assert_allclose(T_camera_lidar[:3, :3], theirs.calib.T_cam2_velo[:3, :3], atol=1e-9)
    np.testing.assert_allclose(T_camera_lidar[:3, 3], theirs.calib.T_cam2_velo[:3, 3], atol=5e-3)
    np.testing.assert_allclose(drive.camera.matrix, theirs.calib.K_cam2)


@pytest.mark.parametrize("name", ["cam_to_cam", "velo_to_cam", "imu_to_velo"])
def test_missing_calibration(folder: Path, name: str) -> None:
    (folder.parent / f"calib_{name}.txt").unlink()
    with pytest.raises(CalibrationError, match=rf"missing .*calib_{name}\.txt"):
        KittiRawDrive(folder)


def test_invalid_mounting(folder: Path) -> None:
    path = folder.parent / "calib_imu_to_velo.txt"
    path.write_text(f"R: {row(2 * np.eye(3))}\nT: 0 0 0\n")
    with pytest.raises(CalibrationError, match=r"imu_to_velo.txt: the left 3x3 of R is not a rot"):
        KittiRawDrive(folder)
    path.write_text(f"R: {row(np.eye(3))}\n")
    with pytest.raises(CalibrationError, match="no row 'T:' of 3 numbers"):
        KittiRawDrive(folder)


def test_no_packets(folder: Path) -> None:
    (folder / "oxts").rename(folder / "elsewhere")
    with pytest.raises(DatasetError, match=r"no packets in .*oxts/data, so .* has no poses"):
        KittiRawDrive(folder)


def test_damaged_packet(folder: Path) -> None:
    (folder / "oxts/data/0000000001.txt").write_text("49.0 8.4 110.0\n")
    with pytest.raises(DatasetError, match=r"0000000001.txt, row 1: expected 30 finite numbers"):
        KittiRawDrive(folder)


def test_frames_without_a_packet_have_no_pose(folder: Path) -> None:
    (folder / "oxts/data/0000000001.txt").unlink()
    drive = KittiRawDrive(folder)
    assert list(drive.image_frames) == [0, 2]
    with pytest.raises(DatasetError, match=r"frame 1 has no pose; the nearest of 2 .*: 0 and 2"):
        drive.T_world_lidar(1)


def test_truncated_scan(folder: Path) -> None:
    (folder / "velodyne_points/data/0000000000.bin").write_bytes(b"\x00" * 24)
    with pytest.raises(DatasetError, match="24 bytes, not a positive multiple of 16"):
        KittiRawDrive(folder).scan(0)


def test_bad_stamps(folder: Path) -> None:
    drive = KittiRawDrive(folder)
    with pytest.raises(DatasetError, match=r"timestamps\.txt has 3 rows, none for frame 3"):
        drive.stamp_s(3)
    (folder / "oxts/timestamps.txt").write_text("2011-09-26 13:02:25.9\nyesterday\n")
    with pytest.raises(DatasetError, match=r"not a date and time: .*yesterday"):
        KittiRawDrive(folder).stamp_s(0)
    (folder / "oxts/timestamps.txt").unlink()
    with pytest.raises(DatasetError, match=r"missing .*timestamps\.txt"):
        KittiRawDrive(folder).stamp_s(0)
