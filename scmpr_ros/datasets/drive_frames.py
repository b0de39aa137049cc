"""Read a drive frame by frame, to write it in another format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from scmpr_ros.datasets.drive import Drive
from scmpr_ros.errors import ConfigError, DatasetError, ScmprError
from scmpr_ros.records import PointCloud

Content = TypeVar("Content")


@dataclass(frozen=True)
class FrameChoice:
    """Selection of a drive's frames: first <= frame < stop.

    skip_bad: skip images, masks and scans that cannot be read, instead of stopping.
    """

    first: int = 0
    stop: int | None = None
    skip_bad: bool = False

    def __post_init__(self) -> None:
        if self.first < 0 or (self.stop is not None and self.stop <= self.first):
            raise ConfigError(f"frames {self}: need 0 <= first < stop")

    def __str__(self) -> str:
        return f"{self.first}:{'' if self.stop is None else self.stop}"

    def __contains__(self, frame: int) -> bool:
        return self.first <= frame and (self.stop is None or frame < self.stop)


@dataclass(frozen=True)
class DriveFrame:
    """The data of one frame; None for what the drive does not have.

    image: (H, W, 3) uint8, RGB. mask: (H, W) uint8, joint ids.
    scan: in the LiDAR frame.
    point_labels: (N,) uint32 raw ids of the drive's label set for the points of the scan; None if
        the drive stores joint ids only.
    """

    number: int
    image: NDArray[np.uint8] | None
    mask: NDArray[np.uint8] | None
    scan: PointCloud | None
    point_labels: NDArray[np.uint32] | None


class DriveFrames:
    """The selected frames of a drive in order, with a count of what was read.

    numbers: the selected frames; all have a pose.
    counts: number of "images", "masks", "scans" and "labelled scans" read so far.
    skipped: an error message for each image, mask or scan that could not be read.

    Raises DatasetError if no frame is selected.
    """

    def __init__(self, drive: Drive, choice: FrameChoice | None = None) -> None:
        self.drive, self.choice = drive, choice or FrameChoice()
        frames = list(drive.frames)
        self.numbers: list[int] = [frame for frame in frames if frame in self.choice]
        if not self.numbers:
            found = f"it has frames {frames[0]} to {frames[-1]}" if frames else "it has none at all"
            raise DatasetError(
                f"drive {drive.name} has no frames with a pose in {self.choice}; {found}"
            )
        self.label_set = drive.label_set
        self.counts: Counter[str] = Counter()
        self.skipped: list[str] = []

    def read(self, progress: bool = False, scans: bool = True) -> Iterator[DriveFrame]:
        """Read all selected frames, including those that have only a pose.

        Raises the drive's errors unless `choice.skip_bad`.
        """
        images, scanned = set(self.drive.image_frames), set(self.drive.scan_frames)
        for number in tqdm(self.numbers, unit="frame", disable=not progress):
            image = mask = scan = labels = None
            if number in images:
                image = self._try("images", number, self.drive.image)
                mask = self._try("masks", number, partial(self.drive.mask, sparse=False))
            if scans and number in scanned:
                scan = self._try("scans", number, self._scan)
            if scan is not None and scan.label is not None:
                self.counts["labelled scans"] += 1
                labels = self._raw_labels(number)
            yield DriveFrame(number, image, mask, scan, labels)

    def _scan(self, number: int) -> PointCloud:
        scan = self.drive.scan(number)
        if len(scan) == 0:
            raise DatasetError(
                f"drive {self.drive.name}: the scan of frame {number} has no finite points; "
                "skip_bad leaves such scans out"
            )
        return scan

    def _raw_labels(self, number: int) -> NDArray[np.uint32] | None:
        return None if self.label_set == "joint" else self.drive.point_labels(number)

    def _try(self, kind: str, number: int, read: Callable[[int], Content | None]) -> Content | None:
        try:
            content = read(number)
        except ScmprError as error:
            if not self.choice.skip_bad:
                raise
            self.skipped.append(str(error))
            return None
        self.counts[kind] += content is not None
        return content
