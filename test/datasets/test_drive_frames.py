"""Reading a drive frame by frame: selection, order, counts and damaged files."""

from __future__ import annotations

import numpy as np
import pytest
from circle_drive import CircleDrive

from scmpr_ros.datasets.drive_frames import DriveFrames, FrameChoice
from scmpr_ros.errors import ConfigError, DatasetError, ShapeError
from scmpr_ros.records import PointCloud


class Damaged(CircleDrive):
    """Image 4 is damaged, mask 8 has the wrong size, scan 6 is empty."""

    def image(self, frame: int) -> np.ndarray:
        if frame == 4:
            raise DatasetError("cannot read image 4")
        return super().image(frame)

    def mask(self, frame: int, sparse: bool = True) -> np.ndarray | None:
        if frame == 8:
            raise ShapeError("mask 8 has the wrong size")
        return super().mask(frame, sparse)

    def scan(self, frame: int) -> PointCloud:
        scan = super().scan(frame)
        return scan.select(np.full(len(scan), frame != 6))


def test_frames_hold_the_data_of_the_drive() -> None:
    frames = list(DriveFrames(CircleDrive()).read())
    assert [f.number for f in frames] == list(range(12))
    assert [f.number for f in frames if f.image is not None] == [0, 2, 4, 6, 8, 10]
    assert [f.number for f in frames if f.mask is not None] == [0, 4, 8]
    assert [f.number for f in frames if f.scan is not None] == [0, 3, 6, 9]
    np.testing.assert_array_equal(frames[3].point_labels, CircleDrive().point_labels(3))


def test_joint_labels_are_not_repeated_as_raw_labels() -> None:
    class Joint(CircleDrive):
        label_set = "joint"

        def scan(self, frame: int) -> PointCloud:
            return PointCloud(np.ones((1, 3), np.float32), np.array([3], np.uint8))

    frame = next(DriveFrames(Joint()).read())
    assert frame.scan.label.tolist() == [3]
    assert frame.point_labels is None


def test_damaged_files_raise_or_are_skipped() -> None:
    with pytest.raises(DatasetError, match="cannot read image 4"):
        list(DriveFrames(Damaged()).read())
    frames = DriveFrames(Damaged(), FrameChoice(skip_bad=True))
    given = list(frames.read())
    assert [f.number for f in given if f.image is not None] == [0, 2, 6, 8, 10]
    assert [f.number for f in given if f.mask is not None] == [0, 4]
    assert [f.number for f in given if f.scan is not None] == [0, 3, 9]
    assert dict(frames.counts) == {"images": 5, "masks": 2, "scans": 3, "labelled scans": 3}
    assert frames.skipped == [
        "cannot read image 4",
        "drive circle: the scan of frame 6 has no finite points; skip_bad leaves such scans out",
        "mask 8 has the wrong size",
    ]  # fmt: skip


def test_frame_selection() -> None:
    assert DriveFrames(CircleDrive(), FrameChoice(3, 6)).numbers == [3, 4, 5]
    assert DriveFrames(CircleDrive(), FrameChoice(10)).numbers == [10, 11]
    with pytest.raises(DatasetError, match="no frames with a pose in 12:; it has frames 0 to 11"):
        DriveFrames(CircleDrive(), FrameChoice(12))
    for first, stop in ((5, 5), (-1, None)):
        with pytest.raises(ConfigError, match="need 0 <= first < stop"):
            FrameChoice(first, stop)
