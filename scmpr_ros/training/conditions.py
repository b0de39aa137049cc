"""The drives of a prepared town that were recorded under some light and season."""

from __future__ import annotations

import numpy as np

from scmpr_ros.datasets.recordings import open_drives
from scmpr_ros.datasets.town_files import town_conditions
from scmpr_ros.errors import DatasetError
from scmpr_ros.training.held_out import select_views
from scmpr_ros.training.preparation import PreparedRecording, RecordingSource


def select_condition(
    source: RecordingSource, recording: PreparedRecording, condition: str
) -> PreparedRecording:
    """The recording with the views of one condition only, see `matches`; DatasetError if it has
    none."""
    of_drives = conditions_of_drives(source)
    chosen = np.array([matches(own, condition) for own in of_drives])
    if not chosen.any():
        raise DatasetError(
            f"{source.folder}: no drive with condition {condition!r}; there are "
            f"{', '.join(sorted(set(of_drives)))}"
        )
    return select_views(recording, chosen[recording.camera.numpy()])


def conditions_of_drives(source: RecordingSource) -> list[str]:
    """Condition of each camera of a prepared recording, in order; empty for what is no town."""
    conditions = town_conditions(source.folder)
    drives = open_drives(source.folder, source.drive, source.bag)
    return [conditions.get(drive.name, "") for drive in drives if len(drive.image_frames)]


def matches(own: str, condition: str) -> bool:
    """Whether a drive's light and season, `clear/summer`, are those of a condition: the same, or
    `night` in any season, or `winter` in any light."""
    return condition in (own, *own.split("/"))
