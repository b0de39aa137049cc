"""The interface of a drive, whatever format it is stored in.

A *recording* is a folder or bag as a data set or a recorder wrote it; it holds one or several
drives. A *drive* is one traversal: poses, images and scans, numbered by frame.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from scmpr_ros.cancellation import raise_if_cancelled
from scmpr_ros.errors import DatasetError, ScmprError
from scmpr_ros.geometry import R_BODY_OPTICAL
from scmpr_ros.records import CameraModel, PointCloud

_log = logging.getLogger(__name__)
Item = TypeVar("Item")


class Drive(Protocol):
    """One traversal by a camera and a LiDAR on a moving base, with poses in one world frame.

    The world frame is z-up. Frames are numbered as in the files, so a drive that keeps every
    fifth image has `image_frames` 0, 5, 10 ... and poses for all frames. Readers inherit from this
    class for the defaults of what few drives have: `static_clouds`,
    `mapped_frames` and `left_out`.
    """

    name: str
    T_lidar_camera: NDArray[np.float64]
    """(4, 4): p_lidar = T_lidar_camera @ p_camera (optical frame)."""
    label_set: str
    """What `point_labels` are: "semantickitti", "kitti360" or "joint"."""
    pose_source: str
    """Where the poses come from: a file or topic, reported beside results that depend on them."""
    left_out: Mapping[int, str] = MappingProxyType({})
    """Why frames with an image or a scan have no pose, by frame; empty if all have one."""

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
        """Seconds since the start of the drive."""

    def T_world_camera(self, frame: int) -> NDArray[np.float64]:
        """Pose (4, 4) of the optical frame in the world."""

    def T_world_lidar(self, frame: int) -> NDArray[np.float64]:
        """Pose (4, 4) of the LiDAR in the world."""

    def image(self, frame: int) -> NDArray[np.uint8]:
        """RGB image (H, W, 3)."""

    def scan(self, frame: int) -> PointCloud:
        """Scan in the LiDAR frame; labels, if any, are joint ids."""

    def point_labels(self, frame: int) -> NDArray[np.uint32] | None:
        """Raw ids (N,), as stored, of the points that `scan` returns; None without labels."""

    def mask(self, frame: int, sparse: bool = True) -> NDArray[np.uint8] | None:
        """Joint ids (H, W) of the image's pixels.

        Dense if the drive has masks. Otherwise, if `sparse`, labelled points are projected
        (IGNORE between them). None if nothing is labelled.
        """

    @property
    def mapped_frames(self) -> Sequence[int]:
        """Frames that `static_clouds` was made from; empty if the drive has no such clouds."""
        return ()

    def static_clouds(self) -> Iterable[PointCloud]:
        """Clouds of the static scene in the world frame (plus their origin), without overlap.

        KITTI-360 publishes them as windows of accumulated scans. None by default.
        """
        return ()


class FrameReader(Generic[Item]):
    """Iterate over frames, skipping damaged ones on request: `for frame, item in FrameReader(...)`.

    read: reads an item of a frame, or raises a ScmprError.
    skip_bad: log and skip a frame that cannot be read, instead of raising its error.
    skipped: number of frames that the last iteration skipped.

    Raises DatasetError if all frames were skipped.
    """

    def __init__(
        self, frames: Sequence[int], read: Callable[[int], Item], skip_bad: bool = False
    ) -> None:
        self.frames, self.read, self.skip_bad = frames, read, skip_bad
        self.skipped = 0

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Generator[tuple[int, Item], None, None]:
        self.skipped = 0
        for frame in self.frames:
            raise_if_cancelled()
            try:
                item = self.read(frame)
            except ScmprError as error:
                if not self.skip_bad:
                    raise
                self.skipped += 1
                if self.skipped == len(self.frames):
                    raise DatasetError(
                        f"none of {len(self.frames)} frames can be read; the last: {error}"
                    ) from error
                _log.warning("left out frame %d: %s", frame, error)
            else:
                yield frame, item
        if self.skipped:
            _log.warning("left out %d of %d frames", self.skipped, len(self.frames))


_LIDAR_TILT_RAD = np.radians(2.0)


def camera_tilt(drive: Drive) -> tuple[float, float, float]:
    """Roll and pitch of the camera, and 0 for its yaw, in radians, to level the images.

    The LiDAR is taken to stand level on the vehicle, as in the bags of `convert`. It does so to a
    degree or two: smaller tilts may as well be its own, and the camera is taken for level.
    """
    R_level_body = drive.T_lidar_camera[:3, :3] @ R_BODY_OPTICAL.T
    roll, pitch, _ = Rotation.from_matrix(R_level_body).as_euler("xyz")
    if max(abs(roll), abs(pitch)) < _LIDAR_TILT_RAD:
        return 0.0, 0.0, 0.0
    return float(roll), float(pitch), 0.0
