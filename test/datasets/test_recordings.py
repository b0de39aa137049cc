"""Opening recordings by their layout, and iterating over frames."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from recording import write_recording
from recording_kitti360 import NAME as KITTI360_NAME
from recording_kitti360 import write_kitti360
from recording_kitti_raw import NAME as RAW_NAME
from recording_kitti_raw import write_kitti_raw

from scmpr_ros.datasets.bags.reader import BagDrive
from scmpr_ros.datasets.bags.writer import write_drive_bag
from scmpr_ros.datasets.drive import FrameReader
from scmpr_ros.datasets.kitti.kitti360 import Kitti360Drive
from scmpr_ros.datasets.kitti.odometry import KittiOdometryDrive
from scmpr_ros.datasets.kitti.raw import KittiRawDrive
from scmpr_ros.datasets.recordings import is_recording, open_drives
from scmpr_ros.errors import DatasetError


@pytest.fixture
def odometry(tmp_path: Path) -> Path:
    return write_recording(tmp_path / "odometry", seed=0, images=2)


def test_kitti_odometry(odometry: Path) -> None:
    drives = open_drives(odometry)
    assert [drive.name for drive in drives] == ["00", "01"]
    assert all(isinstance(drive, KittiOdometryDrive) for drive in drives)
    assert [drive.name for drive in open_drives(odometry, "01")] == ["01"]
    with pytest.raises(DatasetError, match="no drive '02'; it has 00, 01"):
        open_drives(odometry, "02")


def test_sequences_without_poses_are_skipped(odometry: Path, caplog) -> None:
    """KITTI does not publish the poses of 11 to 21."""
    shutil.copytree(odometry / "sequences/01", odometry / "sequences/11")
    assert [drive.name for drive in open_drives(odometry)] == ["00", "01"]
    assert "skipped sequences without poses: 11" in caplog.text
    with pytest.raises(DatasetError, match="sequence 11 has no poses"):
        open_drives(odometry, "11")
    shutil.rmtree(odometry / "poses")
    with pytest.raises(DatasetError, match="sequence 00 has no poses"):
        open_drives(odometry)


def test_kitti_raw(tmp_path: Path) -> None:
    folder = write_kitti_raw(tmp_path)
    for path in (folder, folder.parent):
        (drive,) = open_drives(path)
        assert isinstance(drive, KittiRawDrive) and drive.name == RAW_NAME
    assert open_drives(folder.parent, RAW_NAME)[0].name == RAW_NAME


def test_kitti360(tmp_path: Path) -> None:
    write_kitti360(tmp_path)
    (drive,) = open_drives(tmp_path)
    assert isinstance(drive, Kitti360Drive) and drive.name == KITTI360_NAME
    (tmp_path / "data_2d_raw").rename(tmp_path / "elsewhere")
    (tmp_path / "data_3d_raw").rename(tmp_path / "elsewhere3")
    with pytest.raises(DatasetError, match="no drive with both poses and data"):
        open_drives(tmp_path)


def test_rosbag2(tmp_path: Path) -> None:
    write_drive_bag(KittiRawDrive(write_kitti_raw(tmp_path)), tmp_path / "bag")
    (drive,) = open_drives(tmp_path / "bag")
    assert isinstance(drive, BagDrive) and drive.name == "bag"


def test_unknown_layout(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError,
        match=r"no recording in .*: looked for sequences/ .*data_poses/ .*oxts/ .*metadata\.yaml",
    ):
        open_drives(tmp_path)
    with pytest.raises(DatasetError, match=r"no recording .*nowhere: the path does not exist"):
        open_drives(tmp_path / "nowhere")
    assert not is_recording(tmp_path)
    (tmp_path / "sequences").mkdir()
    with pytest.raises(DatasetError, match="no sequences in"):
        open_drives(tmp_path)


def test_folders_beside_the_one_to_name(odometry: Path, tmp_path: Path) -> None:
    for inside in ("sequences", "sequences/00", "sequences/00/velodyne"):
        with pytest.raises(DatasetError, match=rf"It is a part of the recording {odometry}: name"):
            open_drives(odometry / inside)
    (tmp_path / "all").mkdir()
    write_kitti_raw(tmp_path / "all")
    with pytest.raises(DatasetError, match=r"It holds 2011_09_26: name one of them"):
        open_drives(tmp_path / "all")


def test_an_unfinished_bag(tmp_path: Path) -> None:
    (tmp_path / "drive.bag.active").write_bytes(b"#ROSBAG V2.0")
    with pytest.raises(DatasetError, match=r"stopped before .*`rosbag reindex drive.bag.active`"):
        open_drives(tmp_path / "drive.bag.active")


class TestFrameReader:
    def damage(self, odometry: Path, *frames: int) -> KittiOdometryDrive:
        for frame in frames:
            path = odometry / f"sequences/00/velodyne/{frame:06d}.bin"
            path.write_bytes(path.read_bytes()[:-1])
        return KittiOdometryDrive(odometry, "00")

    def test_bad_frames_are_logged_and_counted(self, odometry: Path, caplog) -> None:
        drive = self.damage(odometry, 0, 7)
        reader = FrameReader(drive.scan_frames, drive.scan, skip_bad=True)
        assert [frame for frame, _ in reader] == [1, 2, 3, 4, 5, 6, *range(8, 16)]
        assert reader.skipped == 2 and len(reader) == 16
        assert "left out frame 7: " in caplog.text and "000007.bin has 159 bytes" in caplog.text
        assert "left out 2 of 16 frames" in caplog.text
        assert len(list(reader)) == 14 and reader.skipped == 2, "a second pass starts from zero"

    def test_good_frames_are_returned_without_a_warning(self, odometry: Path, caplog) -> None:
        drive = self.damage(odometry)
        with caplog.at_level(logging.INFO):
            for frame, scan in FrameReader(drive.scan_frames, drive.scan):
                np.testing.assert_array_equal(scan.xyz, drive.scan(frame).xyz)
        assert not caplog.text

    def test_the_first_error_is_raised_by_default(self, odometry: Path) -> None:
        drive = self.damage(odometry, 3, 7)
        with pytest.raises(DatasetError, match=r"000003\.bin"):
            list(FrameReader(drive.scan_frames, drive.scan))

    def test_only_bad_frames_is_an_error(self, odometry: Path) -> None:
        drive = self.damage(odometry, *range(16))
        with pytest.raises(DatasetError, match=r"none of 16 frames can be read.*000015\.bin"):
            list(FrameReader(drive.scan_frames, drive.scan, skip_bad=True))
