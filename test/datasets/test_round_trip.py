"""Folder to bag to folder: the drive is unchanged."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from circle_drive import CircleDrive
from scipy.spatial.transform import Rotation

from scmpr_ros.datasets.bags.reader import BagDrive
from scmpr_ros.datasets.bags.writer import BagWriterConfig, write_drive_bag
from scmpr_ros.datasets.drive_frames import FrameChoice
from scmpr_ros.datasets.kitti.odometry import KittiOdometryDrive
from scmpr_ros.datasets.kitti.writer import write_drive_kitti
from scmpr_ros.geometry import make_transform


def convert_and_back(
    drive: KittiOdometryDrive, folder: Path, config: BagWriterConfig, choice: FrameChoice
) -> KittiOdometryDrive:
    write_drive_bag(drive, folder / "bag", config, choice=choice)
    write_drive_kitti(BagDrive(folder / "bag"), folder / "back", "00")
    return KittiOdometryDrive(folder / "back", "00")


def assert_same(before: KittiOdometryDrive, after: KittiOdometryDrive, frames: list[int]) -> None:
    """Compare files by bytes, images by pixels, poses and extrinsics to 1e-9."""
    assert list(after.frames) == frames
    for name in ("image_frames", "scan_frames"):
        assert list(getattr(after, name)) == [f for f in getattr(before, name) if f in frames]
    assert after.camera == before.camera
    np.testing.assert_allclose(after.T_lidar_camera, rigid(before.T_lidar_camera), atol=1e-9)
    for frame in frames:
        assert round(1e9 * after.stamp_s(frame)) == round(1e9 * before.stamp_s(frame))
        np.testing.assert_allclose(after.T_world_lidar(frame), rigid(before.T_world_lidar(frame)),
                                   atol=1e-9)  # fmt: skip
    for name in ("velodyne", "labels"):
        files = before.folder.glob(f"{name}/*")
        expected = {p.name: p.read_bytes() for p in files if int(p.stem) in frames}
        assert {p.name: p.read_bytes() for p in after.folder.glob(f"{name}/*")} == expected
    for path in (*after.folder.glob("image_2/*"), *after.folder.glob("mask_2/*")):
        original = before.folder / path.relative_to(after.folder)
        assert (pixels(path) == pixels(original)).all(), path


def rigid(T: np.ndarray) -> np.ndarray:
    """Normalise a rotation as a quaternion does: KITTI's are printed to 1e-7 only."""
    return make_transform(Rotation.from_matrix(T[:3, :3]).as_matrix(), T[:3, 3])


def pixels(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


@pytest.mark.parametrize("image_format", ["raw", "png"])
def test_synthetic_drive(tmp_path: Path, image_format: str) -> None:
    write_drive_kitti(CircleDrive(), tmp_path / "source", "05")
    source = KittiOdometryDrive(tmp_path / "source", "05")
    config = BagWriterConfig(image_format=image_format)  # type: ignore[arg-type]
    result = convert_and_back(source, tmp_path, config, FrameChoice())
    assert_same(source, result, list(range(12)))
    assert len(list(result.folder.glob("labels/*"))) == 4
    assert len(list(result.folder.glob("mask_2/*"))) == 3


def test_real_drive(shared_data: Path, tmp_path: Path) -> None:
    source = KittiOdometryDrive(shared_data / "kitti_drive_0005", "0005")
    result = convert_and_back(source, tmp_path, BagWriterConfig(), FrameChoice(0, 31))
    assert_same(source, result, list(range(31)))
    assert len(result.image_frames) == 7
    assert len(result.scan_frames) == 4
