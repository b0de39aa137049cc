"""KITTI odometry drives, with SemanticKITTI labels and image masks where they exist.

Layout, below one root:

    poses/SS.txt                       12 numbers a row, T_cam0frame0_cam0framei
    sequences/SS/calib.txt             P0..P3 (3x4, rectified) and Tr (velodyne to camera 0)
    sequences/SS/times.txt             seconds since the start, a row a frame
    sequences/SS/image_2/%06d.png      colour images
    sequences/SS/velodyne/%06d.bin     float32 x, y, z, reflectance
    sequences/SS/labels/%06d.label     optional, uint32 SemanticKITTI labels
    sequences/SS/poses.txt             optional, SemanticKITTI's poses; taken where poses/ has none
    sequences/SS/mask_2/%06d.png       optional, 8-bit Cityscapes ids of the image's pixels

Images and scans may be kept for some frames only; a file's number is its frame, and row i of poses
and times belongs to frame i. KITTI's poses have a camera's axes (y down). Here the world frame is
z-up: the velodyne of the frame whose pose is the identity.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.datasets.kitti.file_drive import FileDrive
from scmpr_ros.datasets.kitti.files import CalibrationFile, FrameFiles, read_rows, rigid_rows
from scmpr_ros.errors import DatasetError
from scmpr_ros.geometry import invert


def find_sequences(root: Path) -> list[str]:
    """Names of the sequences below `root`, sorted; DatasetError where there is none."""
    folder = Path(root) / "sequences"
    names = sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    if not names:
        raise DatasetError(
            f"no sequences in {folder}: point to the folder of the KITTI odometry layout that "
            "holds sequences/ and poses/"
        )
    return names


def pose_file(root: Path, sequence: str) -> Path | None:
    """The poses of a sequence: KITTI's, else SemanticKITTI's beside the scans, else None."""
    root = Path(root)
    paths = (root / "poses" / f"{sequence}.txt", root / "sequences" / sequence / "poses.txt")
    return next((path for path in paths if path.is_file()), None)


class KittiOdometryDrive(FileDrive):
    """One sequence in KITTI odometry layout, as a `Drive`.

    Calibration and poses are read at once, everything else when it is asked for.
    Raises CalibrationError for a missing or impossible calib.txt, DatasetError for a sequence
    that does not exist and for poses that are missing or are no rigid transforms.
    """

    def __init__(self, root: Path, sequence: str) -> None:
        known = find_sequences(root)
        if sequence not in known:
            raise DatasetError(
                f"no sequence {sequence!r} in {Path(root) / 'sequences'}; there are: "
                f"{', '.join(known)}"
            )
        self.folder = Path(root) / "sequences" / sequence
        calibration = CalibrationFile(self.folder / "calib.txt")
        K, T_camera_cam0 = calibration.pinhole("P2")
        T_cam0_lidar = calibration.rigid("Tr")
        T_first_cam0 = _read_poses(Path(root), sequence)
        super().__init__(
            sequence,
            FrameFiles(self.folder / "image_2", 6, ".png"),
            FrameFiles(self.folder / "velodyne", 6, ".bin"),
            K,
            invert(T_camera_cam0 @ T_cam0_lidar),
            dict(enumerate(invert(T_cam0_lidar) @ T_first_cam0 @ T_cam0_lidar)),
            FrameFiles(self.folder / "labels", 6, ".label"),
            FrameFiles(self.folder / "mask_2", 6, ".png"),
        )
        self.pose_source = str((pose_file(root, sequence) or self.folder).relative_to(root))

    def stamp_s(self, frame: int) -> float:
        """Seconds since the start of the recording."""
        if not 0 <= frame < len(self._stamps_s):
            raise DatasetError(
                f"{self.folder / 'times.txt'} has {len(self._stamps_s)} rows, none for frame "
                f"{frame}"
            )
        return float(self._stamps_s[frame])

    @cached_property
    def _stamps_s(self) -> NDArray[np.float64]:
        return read_rows(self.folder / "times.txt", 1)[:, 0]


def _read_poses(root: Path, sequence: str) -> NDArray[np.float64]:
    """Poses (F, 4, 4) of camera 0 in the first one's frame."""
    path = pose_file(root, sequence)
    if path is None:
        raise DatasetError(
            f"sequence {sequence} has no poses: missing {root / 'poses' / sequence}.txt and "
            f"{root / 'sequences' / sequence / 'poses.txt'}; KITTI gives them for 00 to 10 only, "
            "SemanticKITTI beside its scans"
        )
    return rigid_rows(path, read_rows(path, 12))
