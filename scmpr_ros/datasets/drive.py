"""What every recording offers, whatever it is stored as, and how its frames are gone through."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.cancellation import raise_if_cancelled
from scmpr_ros.errors import DatasetError, ScmprError
from scmpr_ros.records import CameraModel, PointCloud

_log = logging.getLogger(__name__)
Item = TypeVar("Item")


class Drive(Protocol):
    """One recording: a camera and a LiDAR on a moving base, with poses in one world frame.

    The world frame is z-up. Frames are numbered as in the files, so a recording that keeps every
    fifth image has `image_frames` 0, 5, 10 ... and poses for all frames.
    """

    name: str
    T_lidar_camera: NDArray[np.float64]
    """(4, 4): p_lidar = T_lidar_camera @ p_camera (optical frame)."""
    label_set: str
    """What `point_labels` are: "semantickitti", "kitti360" or "joint"."""
    pose_source: str
    """Where the poses are from: a file or a topic, to be told beside what is measured by them."""

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

    def point_labels(self, frame: int) -> NDArray[np.uint32] | None:
        """Raw ids (N,) of the points that `scan` gives, as they are stored, or None without."""

    def mask(self, frame: int, sparse: bool = True) -> NDArray[np.uint8] | None:
        """Joint ids (H, W) of the image's pixels.

        Dense where the recording has masks, else, unless `sparse` is false, made of projected
        labelled points (IGNORE between them), None where nothing is labelled.
        """


class FrameReader(Generic[Item]):
    """Goes through frames, and past damaged ones if it may: `for frame, item in FrameReader(...)`.

    read: gives what is wanted of a frame, or raises a ScmprError.
    skip_bad: log a frame that cannot be read with its cause, and go on; else its error is raised.
    skipped: frames that the last pass left out.

    Raises DatasetError where all frames were left out.
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
