"""Splits a drive into the queries and the database scans of a protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol as TypingProtocol
from typing import runtime_checkable

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.datasets.drive import Drive
from scmpr_ros.errors import DatasetError
from scmpr_ros.evaluation.protocols import Protocol


@runtime_checkable
class DriveWithOrigin(TypingProtocol):
    """A drive whose world coordinates are map coordinates minus an origin."""

    origin: NDArray[np.float64]


@dataclass(frozen=True)
class DriveSplit:
    """The frames of one drive that a protocol uses.

    queries: (N,) frames of the images to localise.
    scans: (P,) frames of the scans of the database; stamps_s: (P,) their times.
    """

    drive: Drive
    protocol: Protocol
    queries: tuple[int, ...]
    scans: NDArray[np.int64]
    stamps_s: NDArray[np.float64]

    @classmethod
    def of(cls, drive: Drive, protocol: Protocol) -> DriveSplit:
        """Apply a protocol; raises DatasetError if no scan or no image is left."""
        scans = np.asarray(drive.scan_frames, np.int64)
        if len(scans) == 0:
            raise DatasetError(f"drive {drive.name} has no scans to search in")
        scans = scans[protocol.keyframes(_positions(drive, scans))]
        stamps_s = np.array([drive.stamp_s(int(frame)) for frame in scans])
        return cls(drive, protocol, _queries(drive, protocol), scans, stamps_s)

    def allowed(self, frame: int) -> NDArray[np.bool_]:
        """Which scans (P,) may answer the image of a frame."""
        stamp_s = self.drive.stamp_s(frame)
        return self.protocol.allowed_places(frame, stamp_s, self.scans, self.stamps_s)


def _queries(drive: Drive, protocol: Protocol) -> tuple[int, ...]:
    frames = np.asarray(drive.image_frames, np.int64)
    if len(frames):
        frames = frames[protocol.keyframes(_positions(drive, frames))]
        origin = drive.origin if isinstance(drive, DriveWithOrigin) else None
        positions = _positions(drive, frames)
        frames = frames[protocol.in_query_regions(drive.name, positions, origin)]
    if len(frames) == 0:
        raise DatasetError(f"drive {drive.name} has no query images by protocol {protocol.name}")
    return tuple(int(frame) for frame in frames)


def _positions(drive: Drive, frames: NDArray[np.int64]) -> NDArray[np.float64]:
    """LiDAR position at each frame, (F, 3)."""
    return np.array([drive.T_world_lidar(int(frame))[:3, 3] for frame in frames]).reshape(-1, 3)
