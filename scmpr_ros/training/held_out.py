"""Hold out a stretch of a recording, to measure there what was learned on the rest of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.training.preparation import PreparedRecording, RecordingSource

_log = logging.getLogger(__name__)
_MIN_VIEWS = 8


@dataclass(frozen=True)
class HeldOutConfig:
    """Which part of each recording is held out.

    share: of the metres driven, at the end of the recording.
    gap_m: views of training are at least this far from all held-out ones, on whatever lap.
    min_length_m: shorter recordings are refused: a stretch of them would say nothing.
    spacing_m: distance between held-out views, larger if there would be more than `max_images` of
        a recording; those between are not used.
    """

    share: float = 0.25
    gap_m: float = 10.0
    min_length_m: float = 40.0
    spacing_m: float = 1.0
    max_images: int = 150

    def __post_init__(self) -> None:
        if not 0 < self.share <= 0.5:
            raise ConfigError(f"held_out.share is {self.share}; it must lie in (0, 0.5]")
        if min(self.gap_m, self.min_length_m, self.spacing_m) < 0:
            raise ConfigError("held_out: gap_m, min_length_m and spacing_m cannot be negative")
        if self.max_images < _MIN_VIEWS:
            raise ConfigError(f"held_out.max_images is {self.max_images}, less than {_MIN_VIEWS}")


class Split(NamedTuple):
    """A recording's views: those to learn from, and those of the held-out stretch."""

    training: PreparedRecording
    held_out: PreparedRecording


def split_recordings(
    sources: Sequence[RecordingSource], recordings: Sequence[PreparedRecording],
    config: HeldOutConfig,
) -> list[Split]:  # fmt: skip
    """Split each recording's views along its trajectory; both parts keep all places.

    Recordings that are too short are left out with a warning. Raises DatasetError if all are.
    """
    splits, faults = [], []
    for source, recording in zip(sources, recordings, strict=True):
        try:
            splits.append(split_recording(source.name, recording, config))
        except DatasetError as error:
            faults.append(str(error))
    if not splits:
        raise DatasetError("; ".join(faults))
    for fault in faults:
        _log.warning("left out %s", fault)
    return splits


def split_recording(name: str, recording: PreparedRecording, config: HeldOutConfig) -> Split:
    """Split the views of one recording. name: for messages. Raises DatasetError if too short."""
    xy_m = recording.poses[:, :2, 3].numpy()
    along_m = _distance_driven(xy_m, recording.camera.numpy())
    length_m = along_m[-1]
    if length_m < config.min_length_m:
        raise DatasetError(
            f"{name}: {length_m:.0f} m are too short to learn from one part and to measure on "
            f"another: record at least {config.min_length_m:g} m"
        )
    held_out = along_m > (1 - config.share) * length_m
    distance = torch.cdist(torch.from_numpy(xy_m), torch.from_numpy(xy_m[held_out])).amin(1)
    training = distance.numpy() >= config.gap_m
    spacing_m = max(config.spacing_m, config.share * length_m / config.max_images)
    spaced = held_out & _spaced(along_m, spacing_m)
    if min(training.sum(), spaced.sum()) < _MIN_VIEWS:
        raise DatasetError(
            f"{name}: only {training.sum()} images are {config.gap_m:g} m or more from the "
            f"{spaced.sum()} of the held-out stretch; {_MIN_VIEWS} of each are needed: record more "
            "streets, or set held_out.share, held_out.gap_m and held_out.spacing_m"
        )
    _log.info("%s: %d images to learn from, %d of %.0f m held out", name, training.sum(),
              spaced.sum(), config.share * length_m)  # fmt: skip
    return Split(select_views(recording, training), select_views(recording, spaced))


def select_views(recording: PreparedRecording, chosen: NDArray[np.bool_]) -> PreparedRecording:
    """The recording with some of its views only; chosen: (Q,)."""
    rows = torch.from_numpy(chosen)
    names = ("views", "masks", "depth", "poses", "camera")
    return replace(recording, **{name: getattr(recording, name)[rows] for name in names})


def _distance_driven(xy_m: NDArray[np.float64], drive: NDArray[np.int64]) -> NDArray[np.float64]:
    """Metres driven until each view (Q,), over all drives; views are in driving order."""
    steps_m = np.linalg.norm(np.diff(xy_m, axis=0), axis=1) * (np.diff(drive) == 0)
    return np.concatenate([[0.0], np.cumsum(steps_m)])


def _spaced(along_m: NDArray[np.float64], spacing_m: float) -> NDArray[np.bool_]:
    """Which views (Q,) are the first ones in steps of a distance."""
    steps = np.floor(along_m / spacing_m)
    return np.concatenate([[True], np.diff(steps) > 0])
