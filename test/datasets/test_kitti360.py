"""KITTI-360: sparse poses, windows of static points, bad files, and the real sample."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from recording_kitti360 import (
    NAME,
    R_RECT,
    START,
    T_IMU_CAM0,
    T_VELO_CAM0,
    K,
    T_world_imu,
    row,
    static_folder,
    write_kitti360,
    write_window,
)

from scmpr_ros.datasets.drive import Drive
from scmpr_ros.datasets.kitti.kitti360 import Kitti360Config, Kitti360Drive, find_kitti360_drives
from scmpr_ros.errors import CalibrationError, ConfigError, DatasetError
from scmpr_ros.geometry import invert, transform_points
from scmpr_ros.semantics import IGNORE, class_id

ROAD, BUILDING, TREE = class_id("road"), class_id("building"), class_id("vegetation")


def wall(ahead_m: float, half_width_m: float) -> np.ndarray:
    """Points, 5 cm apart, of a wall across the road, `ahead_m` in front of frame 1's camera."""
    across, up = np.meshgrid(np.arange(-half_width_m, half_width_m, 0.05), np.arange(-0.4, 2, 0.05))
    x = np.full(across.size, 1 + T_IMU_CAM0[0, 3] + ahead_m)
    return START + np.stack([x, across.ravel(), up.ravel()], axis=1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_kitti360(tmp_path)
    return tmp_path


def test_frames_near_given_poses_have_poses(root: Path, caplog) -> None:
    drive: Drive = Kitti360Drive(root, NAME)
    assert find_kitti360_drives(root) == [NAME]
    assert list(drive.frames) == [*range(1, 10), 30]
    assert list(drive.image_frames) == list(drive.scan_frames) == [1, 5]
    assert "data_rect: 1 of 3 files have no pose" in caplog.text
    assert drive.image(5)[0, 0].tolist() == [255, 5, 0]
    assert drive.scan(5).xyz.tolist() == [[5, 0, 5]] and drive.scan(5).label is None
    assert drive.point_labels(5) is None
    assert drive.stamp_s(5) == pytest.approx(0.5)


def test_poses_use_the_calibration(root: Path) -> None:
    drive = Kitti360Drive(root, NAME)
    for frame in (1, 5, 30):
        T_world_rect = T_world_imu(frame) @ T_IMU_CAM0
        T_world_rect[:3, :3] = T_world_rect[:3, :3] @ R_RECT.T
        np.testing.assert_allclose(drive.T_world_camera(frame), T_world_rect, atol=1e-8)
        T_world_velo = T_world_imu(frame) @ T_IMU_CAM0 @ np.linalg.inv(T_VELO_CAM0)
        np.testing.assert_allclose(drive.T_world_lidar(frame), T_world_velo, atol=1e-8)
    assert drive.T_world_lidar(1)[2, 2] == pytest.approx(1), "the world is z-up"


def test_projection_uses_the_rectification(root: Path) -> None:
    drive = Kitti360Drive(root, NAME)
    point = np.array([[8.0, 1.5, -0.7]])
    uv, _ = drive.camera.project(transform_points(invert(drive.T_lidar_camera), point))
    x = K @ R_RECT @ (np.linalg.inv(T_VELO_CAM0) @ np.append(point[0], 1))[:3]
    np.testing.assert_allclose(uv[0], x[:2] / x[2], atol=1e-8)


def test_pose_gap_is_configurable(root: Path) -> None:
    assert 20 in Kitti360Drive(root, NAME, Kitti360Config(max_pose_gap_frames=21)).image_frames
    assert list(Kitti360Drive(root, NAME, Kitti360Config(1)).frames) == [1, 9, 30]
    with pytest.raises(DatasetError, match=r"frame 20 has no pose; the nearest of 10 frames with "
                       r"poses: 9 and 30; wider gaps than max_pose_gap_frames=10"):  # fmt: skip
        Kitti360Drive(root, NAME).T_world_lidar(20)
    with pytest.raises(ConfigError, match="max_pose_gap_frames is 0"):
        Kitti360Config(0)


def test_poses_may_be_gzipped(root: Path) -> None:
    path = root / "data_poses" / NAME / "poses.txt"
    path.with_name("poses.txt.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert len(Kitti360Drive(root, NAME).frames) == 10
    path.with_name("poses.txt.gz").write_bytes(b"\x1f\x8b nothing")
    with pytest.raises(DatasetError, match=r"poses\.txt\.gz is damaged"):
        Kitti360Drive(root, NAME)


def test_a_dense_mask_has_precedence(root: Path) -> None:
    write_window(static_folder(root) / "0000000001_0000000009.ply", wall(10, 2), 7)
    mask = Kitti360Drive(root, NAME).mask(5)
    assert (mask == BUILDING).all() and mask.shape == (24, 64)


def test_static_points_replace_a_missing_mask(root: Path) -> None:
    """A wall of vegetation hides the middle of a building ten metres behind it."""
    drive = Kitti360Drive(root, NAME)
    assert drive.mask(1) is None and not drive.mapped_frames and not list(drive.static_clouds())
    write_window(static_folder(root) / "0000000001_0000000004.ply", wall(10, 2), 21)
    write_window(static_folder(root) / "0000000001_0000000009.ply", wall(20, 12), 11)
    write_window(static_folder(root) / "0000000006_0000000030.ply", wall(5, 12), 7)
    mask = drive.mask(1)
    middle, side = mask[8:12, 24:39], mask[10:12, :16]
    assert set(np.unique(middle)) <= {IGNORE, TREE} and (middle == TREE).any()
    assert set(np.unique(side)) <= {IGNORE, BUILDING} and (side == BUILDING).any()


def test_windows_keep_world_coordinates(root: Path) -> None:
    xyz = wall(10, 1)
    write_window(static_folder(root) / "0000000005_0000000009.ply", xyz, 7)
    write_window(static_folder(root) / "0000000001_0000000006.ply", xyz - [3, 0, 0], 34)
    drive = Kitti360Drive(root, NAME)
    windows = drive.semantic_windows()
    assert [(w.start, w.end) for w in windows] == [(1, 6), (5, 9)]
    cloud = drive.window_points(windows[1])
    assert cloud.xyz.dtype == np.float32 and np.abs(cloud.xyz).max() < 300
    np.testing.assert_array_equal(cloud.origin, [1200, 3900, 100])
    np.testing.assert_allclose(cloud.xyz + cloud.origin, xyz, atol=3e-4)  # the file's own float32
    assert set(cloud.label) == {ROAD} and set(drive.window_points(windows[0]).label) == {BUILDING}


def test_static_clouds_do_not_overlap(root: Path) -> None:
    xyz = wall(10, 1)
    apart = xyz + [0, 5, 0]
    folder = static_folder(root)
    write_window(folder / "0000000001_0000000006.ply", xyz, 7)
    write_window(folder / "0000000005_0000000009.ply", np.concatenate([xyz, apart]), 11)
    drive = Kitti360Drive(root, NAME)
    assert drive.mapped_frames == range(1, 10)
    first, second = drive.static_clouds()
    assert len(first) == len(xyz) and len(second) == len(apart)
    np.testing.assert_allclose(second.xyz + second.origin, apart, atol=3e-4)


def test_windows_of_the_first_release(root: Path) -> None:
    """Which had no folder train/."""
    folder = root / "data_3d_semantics" / NAME / "static"
    write_window(folder / "0000000001_0000000006.ply", wall(10, 1), 7)
    shutil.rmtree(root / "data_3d_raw")
    shutil.rmtree(root / "data_2d_raw")
    assert find_kitti360_drives(root) == [NAME]
    assert [w.end for w in Kitti360Drive(root, NAME).semantic_windows()] == [6]


def test_windows_of_the_test_split_have_no_labels(root: Path) -> None:
    path = static_folder(root, "test") / "0000000001_0000000009.ply"
    write_window(path, wall(10, 1), 7, labelled=False)
    drive = Kitti360Drive(root, NAME)
    assert drive.window_points(drive.semantic_windows()[0]).label is None
    assert drive.mask(1) is None


class TestBadFiles:
    @pytest.mark.parametrize("name", ["perspective", "calib_cam_to_pose", "calib_cam_to_velo"])
    def test_missing_calibration(self, root: Path, name: str) -> None:
        (root / f"calibration/{name}.txt").unlink()
        with pytest.raises(CalibrationError, match=rf"missing .*{name}\.txt"):
            Kitti360Drive(root, NAME)

    def test_calibration_without_a_rotation(self, root: Path) -> None:
        (root / "calibration/calib_cam_to_velo.txt").write_text("2 " * 12)
        with pytest.raises(CalibrationError, match=r"cam_to_velo\.txt: .* not a rotation"):
            Kitti360Drive(root, NAME)

    def test_missing_poses(self, root: Path) -> None:
        with pytest.raises(DatasetError, match=r"missing .*drive_0099_sync/poses\.txt"):
            Kitti360Drive(root, "2013_05_28_drive_0099_sync")

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ("1 " + "0 " * 12, "row 1: the left 3x3 is not a rotation"),
            ("1 1 0 0", "row 1: expected 13 finite numbers"),
            (f"9 {row(np.eye(3, 4))}\n4 {row(np.eye(3, 4))}", "row 2: frames must be increasing"),
            (f"0.5 {row(np.eye(3, 4))}", "row 1: frames must be increasing"),
        ],
    )
    def test_bad_poses(self, root: Path, rows: str, message: str) -> None:
        (root / "data_poses" / NAME / "poses.txt").write_text(rows)
        with pytest.raises(DatasetError, match=message):
            Kitti360Drive(root, NAME)

    def test_truncated_scan(self, root: Path) -> None:
        (root / "data_3d_raw" / NAME / "velodyne_points/data/0000000001.bin").write_bytes(b"1234")
        with pytest.raises(DatasetError, match="4 bytes, not a positive multiple of 16"):
            Kitti360Drive(root, NAME).scan(1)

    def test_unreadable_image(self, root: Path) -> None:
        path = root / "data_2d_raw" / NAME / "image_00/data_rect/0000000005.png"
        path.write_bytes(path.read_bytes()[:50])
        with pytest.raises(DatasetError, match=r"cannot read image .*0000000005\.png"):
            Kitti360Drive(root, NAME).image(5)

    def test_mask_of_another_size(self, root: Path) -> None:
        folder = root / "data_2d_semantics/train" / NAME / "image_00/semantic"
        Image.fromarray(np.zeros((3, 4), np.uint8)).save(folder / "0000000005.png")
        with pytest.raises(DatasetError, match="is 4x3, the images are 64x24"):
            Kitti360Drive(root, NAME).mask(5)

    def test_bad_windows(self, root: Path) -> None:
        path = static_folder(root) / "0000000001_0000000009.ply"
        write_window(path, wall(10, 1), 7)
        complete = path.read_bytes()
        drive = Kitti360Drive(root, NAME)
        path.write_bytes(complete[:-30])
        with pytest.raises(DatasetError, match=r"0000000009\.ply is truncated"):
            drive.mask(1)
        write_window(path, wall(10, 1)[:0], 7)
        with pytest.raises(DatasetError, match="has 0 points"):
            drive.mask(1)
        path.rename(path.with_name("left_right.ply"))
        with pytest.raises(DatasetError, match=r"left_right\.ply is not named by its first and"):
            drive.semantic_windows()


def test_real_sample(shared_data: Path) -> None:
    root = shared_data / "kitti360_sample"
    drive = Kitti360Drive(root, NAME)
    assert find_kitti360_drives(root) == [NAME]
    assert len(drive.image_frames) == len(drive.scan_frames) == 20
    assert (drive.camera.width, drive.camera.height) == (1408, 376)
    assert drive.camera.fx == pytest.approx(552.554261)
    poses = root / "data_poses" / NAME
    given = np.loadtxt(poses / "cam0_to_world.txt")
    ours = np.stack([drive.T_world_camera(int(frame)) for frame in given[:, 0]])
    np.testing.assert_allclose(ours, given[:, 1:].reshape(-1, 4, 4), atol=1e-3)
    given = np.loadtxt(poses / "sample_frames_velo_to_world.txt")
    ours = np.stack([drive.T_world_lidar(int(frame))[:3] for frame in given[:, 0]])
    np.testing.assert_allclose(ours, given[:, 2:].reshape(-1, 3, 4), atol=1e-5)
    assert given[:, 1].sum() == 1, "one of them, frame 100, is interpolated"
