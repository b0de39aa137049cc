"""Poses over time, and why there is none at some time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.datasets.pose_interpolation import interpolate_poses
from scmpr_ros.geometry import invert

BEFORE = "before the first pose"
AFTER = "after the last pose"


@dataclass(frozen=True)
class PosesAt:
    """The poses at wanted stamps. Each is in one of both.

    poses: (4, 4) by index of the stamp. missing: why there is no pose, by index of the stamp.
    """

    poses: Mapping[int, NDArray[np.float64]]
    missing: Mapping[int, str]


class Track(Protocol):
    """Poses of a frame in another over time."""

    @property
    def stamps(self) -> NDArray[np.int64]:
        """Stamps (N,) in ns, increasing, at which poses were measured."""

    def at(self, wanted: NDArray[np.int64], max_gap_s: float) -> PosesAt:
        """Poses at stamps (M,), interpolated across gaps of at most `max_gap_s`."""


@dataclass(frozen=True)
class PoseTrack:
    """Measured poses.

    name: of the topic or transform, for reasons. stamps: (N,) in ns, increasing.
    poses: (N, 4, 4). unusable: (K,) stamps of poses that were left out as they hold no numbers.
    """

    name: str
    stamps: NDArray[np.int64]
    poses: NDArray[np.float64]
    unusable: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def at(self, wanted: NDArray[np.int64], max_gap_s: float) -> PosesAt:
        """Interpolate: linear in position, slerp in rotation."""
        poses = interpolate_poses(self.stamps, self.poses, wanted, max_gap_s, unit=1e9)
        missing = {
            index: self._reason(stamp, max_gap_s)
            for index, stamp in enumerate(wanted.tolist())
            if index not in poses
        }
        return PosesAt(poses, missing)

    def inverse(self) -> PoseTrack:
        """The track of the other frame in this one."""
        inverted = np.stack([invert(T) for T in self.poses])
        return PoseTrack(self.name, self.stamps, inverted, self.unusable)

    def _reason(self, stamp: int, max_gap_s: float) -> str:
        after = int(np.searchsorted(self.stamps, stamp))
        gap = (
            self.stamps[after - 1] if after else np.iinfo(np.int64).min,
            self.stamps[after] if after < len(self.stamps) else np.iinfo(np.int64).max,
        )
        if np.any((gap[0] < self.unusable) & (self.unusable < gap[1])):
            return f"beside poses of {self.name} that are not finite"
        if after == 0:
            return f"{BEFORE} of {self.name}"
        if after == len(self.stamps):
            return f"{AFTER} of {self.name}"
        limit = f"max_pose_gap_s = {max_gap_s:g} s"
        return f"between poses of {self.name} that are more than {limit} apart"


@dataclass(frozen=True)
class TrackChain:
    """A product of fixed poses (4, 4) and tracks, at least one of which is a track."""

    links: Sequence[NDArray[np.float64] | PoseTrack]

    @property
    def stamps(self) -> NDArray[np.int64]:
        """Those of the track with most poses."""
        tracks = (link for link in self.links if isinstance(link, PoseTrack))
        return max((track.stamps for track in tracks), key=len)

    def at(self, wanted: NDArray[np.int64], max_gap_s: float) -> PosesAt:
        """Interpolate every track; a pose is missing where that of any track is."""
        poses = {index: np.eye(4) for index in range(len(wanted))}
        missing: dict[int, str] = {}
        for link in self.links:
            if not isinstance(link, PoseTrack):
                poses = {index: T @ link for index, T in poses.items()}
                continue
            found = link.at(wanted, max_gap_s)
            missing = {**found.missing, **missing}
            poses = {i: T @ found.poses[i] for i, T in poses.items() if i in found.poses}
        return PosesAt(poses, missing)
