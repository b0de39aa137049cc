"""What every recording offers, whatever it is stored as."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.records import CameraModel, PointCloud


class Drive(Protocol):
    """One recording: a camera and a LiDAR on a moving base, with poses in one world frame.

    The world frame is z-up. Frames are numbered as in the files, so a recording that keeps every
    fifth image has `image_frames` 0, 5, 10 ... and poses for all frames.
    """

    name: str
    T_lidar_camera: NDArray[np.float64]
    """(4, 4): p_lidar = T_lidar_camera @ p_camera (optical frame)."""

    @property
    def camera(self) -> CameraModel:
        """Intrinsics of the images as they are stored."""

    @property
    def frames(self) -> Sequence[int]:
        """Frames that have a pose."""

    @property
    def image_frames(self) -> Sequence[int]:
        """Frames that have an image and a pose."""

    @property
    def scan_frames(self) -> Sequence[int]:
        """Frames that have a scan and a pose."""

    def stamp_s(self, frame: int) -> float:
        """Seconds since the start of the recording."""

    def T_world_camera(self, frame: int) -> NDArray[np.float64]:
        """Pose (4, 4) of the optical frame in the world."""

    def T_world_lidar(self, frame: int) -> NDArray[np.float64]:
        """Pose (4, 4) of the LiDAR in the world."""

    def image(self, frame: int) -> NDArray[np.uint8]:
        """RGB image (H, W, 3)."""

    def scan(self, frame: int) -> PointCloud:
        """Scan in the LiDAR frame; labels are joint ids where the recording has labels."""

    def mask(self, frame: int) -> NDArray[np.uint8] | None:
        """Joint ids (H, W) of the image's pixels, or None where nobody labelled them."""
