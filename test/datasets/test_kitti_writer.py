"""Writing KITTI odometry layout: exact bytes, and a drive that is read back unchanged."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from circle_drive import CircleDrive

from scmpr_ros.datasets.drive_frames import FrameChoice
from scmpr_ros.datasets.kitti import writer as kitti_writer
from scmpr_ros.datasets.kitti.odometry import KittiOdometryDrive
from scmpr_ros.datasets.kitti.writer import (
    write_calibration,
    write_depth,
    write_drive_kitti,
    write_image,
    write_mask,
    write_poses,
    write_scan,
    write_times,
)
from scmpr_ros.errors import DatasetError, ShapeError
from scmpr_ros.geometry import R_BODY_OPTICAL, make_transform
from scmpr_ros.records import CameraModel, PointCloud
from scmpr_ros.semantics import NUM_CLASSES, class_id, to_joint


def read_png(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def test_images_and_masks(tmp_path: Path) -> None:
    write_image(tmp_path, 7, np.full((2, 3, 3), (250, 20, 3), np.uint8))
    assert read_png(tmp_path / "image_2/000007.png")[0, 0].tolist() == [3, 20, 250]  # OpenCV's BGR
    write_mask(tmp_path, 7, np.array([[class_id("road"), class_id("sky"), 0]], np.uint8))
    assert read_png(tmp_path / "mask_2/000007.png").tolist() == [[7, 23, 0]]
    assert not list(tmp_path.rglob(".*")), "a temporary file is left"
    with pytest.raises(ShapeError, match="image_2 of frame 8 cannot be a PNG"):
        write_image(tmp_path, 8, np.zeros((0, 0, 3), np.uint8))


def test_depth_is_metres_times_256(tmp_path: Path) -> None:
    depth_m = np.array([[1.0, 80.25, 0.0, -2.0], [np.nan, np.inf, 255.99, 256.0]])
    write_depth(tmp_path, 0, depth_m)
    stored = read_png(tmp_path / "depth_2/000000.png")
    assert stored.dtype == np.uint16
    assert stored.tolist() == [[256, 20544, 0, 0], [0, 0, 65533, 0]]


def test_scans_and_labels(tmp_path: Path) -> None:
    xyz = np.array([[1, 2, 3], [-0.0, 5, 6]], np.float32)
    scan = PointCloud(xyz, np.array([class_id("road"), class_id("car")], np.uint8),
                      np.array([0.5, 0.25], np.float32))  # fmt: skip
    write_scan(tmp_path, 3, scan)
    expected = np.array([[1, 2, 3, 0.5], [-0.0, 5, 6, 0.25]], "<f4")
    assert (tmp_path / "velodyne/000003.bin").read_bytes() == expected.tobytes()
    labels = tmp_path / "labels/000003.label"
    assert np.fromfile(labels, "<u4").tolist() == [40, 10]
    raw = np.array([44, 9 << 16 | 252], np.uint32)
    write_scan(tmp_path, 3, scan, raw)
    assert np.fromfile(labels, "<u4").tolist() == raw.tolist()
    write_scan(tmp_path, 4, PointCloud(xyz))
    assert np.fromfile(tmp_path / "velodyne/000004.bin", "<f4")[3::4].tolist() == [0, 0]
    assert not (tmp_path / "labels/000004.label").exists()
    with pytest.raises(ShapeError, match=r"labels of scan 5: expected \(2,\), got \(3,\)"):
        write_scan(tmp_path, 5, scan, np.zeros(3, np.uint32))


def test_numbers_are_written_with_all_digits(tmp_path: Path) -> None:
    projections = np.random.default_rng(0).normal(size=(4, 3, 4)) * 1e3
    Tr = make_transform(R_BODY_OPTICAL.T, np.array([1 / 3, 0.1, -0.2]))
    write_calibration(tmp_path, projections, Tr)
    rows = dict(line.split(": ") for line in (tmp_path / "calib.txt").read_text().splitlines())
    assert list(rows) == ["P0", "P1", "P2", "P3", "Tr"]
    for i in range(4):
        assert np.array(rows[f"P{i}"].split(), float).tolist() == projections[i].ravel().tolist()
    assert np.array(rows["Tr"].split(), float).tolist() == Tr[:3].ravel().tolist()
    write_times(tmp_path, [0.0, 0.1, 123456.000000001])
    assert (tmp_path / "times.txt").read_text() == "0.000000000\n0.100000000\n123456.000000001\n"


def test_poses_are_those_of_camera_0(tmp_path: Path) -> None:
    """A LiDAR 2 m further along x is 2 m further along the camera's z."""
    T = np.stack([np.eye(4), make_transform(np.eye(3), np.array([2.0, 0, 0]))])
    write_poses(tmp_path / "poses/00.txt", T, make_transform(R_BODY_OPTICAL.T, np.zeros(3)))
    rows = [line.split() for line in (tmp_path / "poses/00.txt").read_text().splitlines()]
    assert np.array(rows[1], float).tolist() == [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2]


def test_a_drive_is_read_back_unchanged(tmp_path: Path) -> None:
    written = CircleDrive()
    frames = write_drive_kitti(written, tmp_path, "05")
    assert dict(frames.counts) == {"images": 6, "masks": 3, "scans": 4, "labelled scans": 4}
    read = KittiOdometryDrive(tmp_path, "05")
    assert read.camera == written.camera
    np.testing.assert_allclose(read.T_lidar_camera, written.T_lidar_camera, atol=1e-12)
    for name in ("frames", "image_frames", "scan_frames"):
        assert tuple(getattr(read, name)) == getattr(written, name)
    for frame in written.frames:
        assert read.stamp_s(frame) == pytest.approx(written.stamp_s(frame), abs=1e-9)
        np.testing.assert_allclose(read.T_world_camera(frame), written.T_world_camera(frame),
                                   atol=1e-12)  # fmt: skip
    for frame in written.image_frames:
        np.testing.assert_array_equal(read.image(frame), written.image(frame))
        np.testing.assert_array_equal(read.mask(frame, sparse=False), written.mask(frame))
    labels = np.fromfile(read.folder / "labels/000003.label", "<u4")
    np.testing.assert_array_equal(labels, written.point_labels(3))
    scan = read.scan(3)
    assert scan.xyz.tobytes() == written.scan(3).xyz.tobytes()
    assert scan.intensity.tobytes() == written.scan(3).intensity.tobytes()


def test_other_label_sets_are_converted_through_joint_classes(tmp_path: Path) -> None:
    raw = np.array([7, 26, 34, 44], np.uint32)  # road, car, garage, unknown vehicle

    class Kitti360Drive(CircleDrive):
        label_set = "kitti360"

        def point_labels(self, frame: int) -> np.ndarray:
            return raw

        def scan(self, frame: int) -> PointCloud:
            return PointCloud(np.ones((4, 3), np.float32), to_joint(raw, "kitti360"))

    write_drive_kitti(Kitti360Drive(), tmp_path, "00")
    stored = np.fromfile(tmp_path / "sequences/00/labels/000000.label", "<u4")
    assert stored.tolist() == [40, 10, 50, 0]  # a garage is a building


def test_every_joint_class_is_kept(tmp_path: Path) -> None:
    every = np.arange(NUM_CLASSES, dtype=np.uint8)

    class EveryClass(CircleDrive):
        label_set = "joint"
        camera = CameraModel(NUM_CLASSES, 1, 10, 10, 7, 0)

        def image(self, frame: int) -> np.ndarray:
            return np.zeros((1, NUM_CLASSES, 3), np.uint8)

        def mask(self, frame: int, sparse: bool = True) -> np.ndarray:
            return every[None]

        def scan(self, frame: int) -> PointCloud:
            return PointCloud(np.ones((NUM_CLASSES, 3), np.float32), every)

    write_drive_kitti(EveryClass(), tmp_path, "00")
    read = KittiOdometryDrive(tmp_path, "00")
    assert read.mask(0).tolist() == [every.tolist()]
    expected = every.tolist()
    expected[class_id("sky")] = 0  # not a class of SemanticKITTI's scans
    assert read.scan(0).label.tolist() == expected


def test_a_drive_without_images_has_no_intrinsics(tmp_path: Path) -> None:
    class WithoutImages(CircleDrive):
        image_frames = ()

        @property
        def camera(self) -> CameraModel:
            raise DatasetError("no camera")

    write_drive_kitti(WithoutImages(), tmp_path, "00")
    read = KittiOdometryDrive(tmp_path, "00")
    np.testing.assert_allclose(read.T_lidar_camera, CircleDrive.T_lidar_camera, atol=1e-12)
    assert not (read.folder / "image_2").exists()
    assert len(read.scan_frames) == 4


def test_selected_frames_are_renumbered(tmp_path: Path) -> None:
    frames = write_drive_kitti(CircleDrive(), tmp_path, "00", choice=FrameChoice(4, 9))
    assert frames.numbers == [4, 5, 6, 7, 8]
    read = KittiOdometryDrive(tmp_path, "00")
    assert list(read.image_frames) == [0, 2, 4]
    assert list(read.scan_frames) == [2]
    np.testing.assert_array_equal(read.image(2), CircleDrive().image(6))
    assert read.stamp_s(0) == pytest.approx(CircleDrive().stamp_s(4), abs=1e-9)
    np.testing.assert_allclose(read.T_world_lidar(1), CircleDrive().T_world_lidar(5), atol=1e-12)


def test_a_sequence_is_written_atomically(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "root"

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(kitti_writer, "write_scan", stop)
        write_drive_kitti(CircleDrive(), root, "00")
    assert not root.exists()
    write_drive_kitti(CircleDrive(), root, "00")
    write_drive_kitti(CircleDrive(), root, "01", choice=FrameChoice(0, 2))
    assert sorted(p.name for p in root.iterdir()) == ["poses", "sequences"]
    with pytest.raises(DatasetError, match=r"poses/00\.txt exists already"):
        write_drive_kitti(CircleDrive(), root, "00")
    (root / "poses/00.txt").unlink()
    with pytest.raises(DatasetError, match="sequences/00 exists already"):
        write_drive_kitti(CircleDrive(), root, "00")
    assert len(KittiOdometryDrive(root, "01").frames) == 2
