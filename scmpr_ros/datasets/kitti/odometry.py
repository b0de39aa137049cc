"""Drives in KITTI odometry layout, with SemanticKITTI labels and image masks if present.

Layout, below a root:

    poses/SS.txt                       12 numbers per row, T_cam0frame0_cam0framei
    sequences/SS/calib.txt             P0..P3 (3x4, rectified) and Tr (velodyne to camera 0)
    sequences/SS/times.txt             seconds since the start, a row per frame
    sequences/SS/image_2/%06d.png      colour images; else of cameras 3, 0 (grey) or 1
    sequences/SS/velodyne/%06d.bin     float32 x, y, z, reflectance
    sequences/SS/labels/%06d.label     optional, uint32 SemanticKITTI labels
    sequences/SS/poses.txt             optional, SemanticKITTI's poses; used if poses/ has none
    sequences/SS/mask_2/%06d.png       optional, 8-bit Cityscapes ids of the image's pixels

Images may be PNG or JPEG, and names have other digits. A file's number is its frame; images and
scans may exist for some frames only. Row i of poses and times is frame i. KITTI's poses are in
camera axes (y down); here the world frame is z-up: the velodyne frame at the pose that is the
identity.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.datasets.camera_images import CameraImageConfig, load_camera_options
from scmpr_ros.datasets.kitti.file_drive import FileDrive
from scmpr_ros.datasets.kitti.files import (
    IMAGE_SUFFIXES,
    CalibrationFile,
    FrameFiles,
    choose_camera,
    read_rows,
    rigid_rows,
)
from scmpr_ros.datasets.pose_checks import check_forward
from scmpr_ros.errors import DatasetError
from scmpr_ros.geometry import invert

_CAMERAS = (2, 3, 0, 1)  # colour before grey, left before right


def find_sequences(root: Path) -> list[str]:
    """Names of the sequences below `root`, sorted; DatasetError if there are none."""
    folder = Path(root) / "sequences"
    names = sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    if not names:
        raise DatasetError(
            f"no sequences in {folder}: give the folder that holds sequences/ and poses/ of the "
            "KITTI odometry layout"
        )
    return names


def pose_file(root: Path, sequence: str) -> Path | None:
    """Pose file of a sequence: KITTI's, else SemanticKITTI's beside the scans, else None."""
    root = Path(root)
    paths = (root / "poses" / f"{sequence}.txt", root / "sequences" / sequence / "poses.txt")
    return next((path for path in paths if path.is_file()), None)


class KittiOdometryDrive(FileDrive):
    """A sequence in KITTI odometry layout, as a `Drive`.

    Calibration and poses are read at once, everything else on demand.
    Raises CalibrationError for a missing or invalid calib.txt, DatasetError for an unknown
    sequence and for poses that are missing, not rigid transforms or not those of camera 0.
    """

    def __init__(self, root: Path, sequence: str, config: CameraImageConfig | None = None) -> None:
        """config: by default that of `camera.yaml` in the sequence's folder or in `root`."""
        known = find_sequences(root)
        if sequence not in known:
            raise DatasetError(
                f"no sequence {sequence!r} in {Path(root) / 'sequences'}; it has {', '.join(known)}"
            )
        self.folder = Path(root) / "sequences" / sequence
        calibration = CalibrationFile(self.folder / "calib.txt")
        camera = choose_camera(
            {n: FrameFiles(self.folder / f"image_{n}", 6, IMAGE_SUFFIXES) for n in _CAMERAS}
        )
        pinhole, T_camera_cam0 = calibration.pinhole(f"P{camera}")
        T_cam0_lidar = calibration.rigid("Tr")
        T_first_cam0 = _read_poses(Path(root), sequence)
        T_world_lidar = invert(T_cam0_lidar) @ T_first_cam0 @ T_cam0_lidar
        check_forward(str(pose_file(root, sequence)), T_world_lidar)
        super().__init__(
            sequence,
            FrameFiles(self.folder / f"image_{camera}", 6, IMAGE_SUFFIXES),
            FrameFiles(self.folder / "velodyne", 6, (".bin",)),
            pinhole,
            f"P{camera} of {calibration.path}",
            invert(T_camera_cam0 @ T_cam0_lidar),
            dict(enumerate(T_world_lidar)),
            self.folder / "times.txt",
            lambda path: read_rows(path, 1)[:, 0],
            FrameFiles(self.folder / "labels", 6, (".label",)),
            FrameFiles(self.folder / f"mask_{camera}", 6, (".png",)),
            config or load_camera_options(self.folder, Path(root)),
        )
        self.pose_source = str((pose_file(root, sequence) or self.folder).relative_to(root))


def _read_poses(root: Path, sequence: str) -> NDArray[np.float64]:
    """Poses (F, 4, 4) of camera 0 in the first one's frame."""
    path = pose_file(root, sequence)
    if path is None:
        raise DatasetError(
            f"sequence {sequence} has no poses: missing {root / 'poses' / sequence}.txt and "
            f"{root / 'sequences' / sequence / 'poses.txt'}; KITTI has them for 00 to 10 only, "
            "SemanticKITTI has them beside its scans"
        )
    return rigid_rows(path, read_rows(path, 12))
