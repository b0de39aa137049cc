"""Say which images and scans have no pose, and which stamps are by different clocks."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_log = logging.getLogger(__name__)
_DELAY_S = 10.0
"""A slow SLAM publishes some seconds late; GPS time is ahead of UTC by 18 s, TAI by 37 s."""


def warn_of_clocks(path: Path, log_ns: Mapping[str, Mapping[int, int]]) -> None:
    """Warn if the stamps of some topics are ahead of others' that were recorded with them.

    Poses would be interpolated at the wrong time where the clocks overlap, and nothing else says
    so. log_ns: log time by stamp, of each topic.
    """
    ahead = {
        topic: float(np.median([stamp - log for stamp, log in index.items()])) / 1e9
        for topic, index in log_ns.items()
        if index
    }
    if not ahead:
        return
    first, last = min(ahead, key=lambda t: ahead[t]), max(ahead, key=lambda t: ahead[t])
    if ahead[last] - ahead[first] > _DELAY_S:
        _log.warning(
            "%s: the stamps of %s are %.1f s ahead of those of %s that were recorded at the same "
            "time: set both clocks to one time (GPS is 18 s ahead of UTC, TAI 37 s)",
            path, last, ahead[last] - ahead[first], first,
        )  # fmt: skip


def warn_of_left_out(
    path: Path, what: str, frames: Iterable[int], left_out: Mapping[int, str],
    stamps: NDArray[np.int64], posed: NDArray[np.int64],
) -> None:  # fmt: skip
    """Say of images or scans that have no pose how many they are, and why.

    frames: of the sensor. left_out: reasons, by frame. stamps: (F,) in ns, of all frames.
    posed: (N,) in ns, stamps of the poses.
    """
    numbers = list(frames)
    reasons = [left_out[frame] for frame in numbers if frame in left_out]
    if not reasons:
        return
    _log.warning("%s: left out %d of %d %s without a pose: %s", path, len(reasons), len(numbers),
                 what, count_reasons(reasons))  # fmt: skip
    if len(reasons) == len(numbers):
        of_sensor, of_poses = stamps[numbers] / 1e9, posed / 1e9
        _log.warning(
            "%s: the clocks do not meet: %s are from %.1f to %.1f s, poses from %.1f to %.1f s",
            path, what, of_sensor.min(), of_sensor.max(), of_poses.min(), of_poses.max(),
        )  # fmt: skip


def count_reasons(reasons: Iterable[str]) -> str:
    """Reasons with how often they are given, the most frequent first."""
    return "; ".join(f"{count} {reason}" for reason, count in Counter(reasons).most_common())
