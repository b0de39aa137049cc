"""Entries `recall`: a drive's images in the drive's own map, by where the places are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scmpr_ros.evaluation.confidence import accepted_answers, calibration
from scmpr_ros.evaluation.evaluate import localize_drive
from scmpr_ros.evaluation.intervals import recall_interval
from scmpr_ros.evaluation.localized_drive import LocalizedDrive
from scmpr_ros.evaluation.metrics import chance_level, first_correct_ranks, recall_at
from scmpr_ros.evaluation.suite.entry import Column, Numbers, RecordingEntry, camera_drive
from scmpr_ros.evaluation.suite.workbench import Places, Workbench
from scmpr_ros.geometry import camera_yaw
from scmpr_ros.pipeline.map_source import PREBUILT_MAP
from scmpr_ros.pipeline.states import StateConfig
from scmpr_ros.retrieval.place_map import PlaceMap

_INTERVAL = "{0[0]:.0%}-{0[1]:.0%}"
_RANKS = (1, 5, 10)


@dataclass(frozen=True)
class RecallEntry(RecordingEntry):
    """Recall@1, @5 and @10 of the images of a drive.

    places: along the driven `path`, on a `grid` over the open ground, or on a grid over the `bare`
    map.ply.
    """

    places: Places = "path"

    title = "Recall"
    rules = (
        "Correct within 5 m and 30 deg of the true pose. Places: on the driven path, or on a grid "
        "over the open ground; both with ghosts removed by scans; or on a grid over the bare "
        "map.ply, ghosts removed by the ground beneath them. The map is of the drive's own scans, "
        "which flatters. Intervals, 95 %: failures correlate over 50 m. Chance: a random viewpoint "
        "of the map. LOC: answers whose confidence makes the localizer LOCALIZED, and how many of "
        "those are correct."
    )
    columns = (
        Column("places", "places", "{}"),
        Column("N", "num_images", "{}"),
        Column("P", "num_places", "{}"),
        Column("R@1", "recall_at_1"),
        Column("95 %", "recall_at_1_interval", _INTERVAL),
        Column("R@5", "recall_at_5"),
        Column("R@10", "recall_at_10"),
        Column("95 %", "recall_at_10_interval", _INTERVAL),
        Column("chance", "chance"),
        Column("conf.", "mean_confidence", "{:.2f}"),
        Column("ECE", "expected_calibration_error", "{:.2f}"),
        Column("LOC", "localized", "{:.0%}"),
        Column("right", "localized_correct", "{:.0%}"),
    )

    def needs(self, bench: Workbench) -> list[Path]:
        """The recording, and its map.ply if nothing else is given."""
        folder = bench.data / self.recording
        return [folder, folder / PREBUILT_MAP] if self.places == "bare" else [folder]

    def measure(self, bench: Workbench) -> Numbers:
        """Build the map, localise every image, score."""
        folder = bench.data / self.recording
        drive = camera_drive(folder, self.sequence, self.drive)
        localizer = bench.localizer(folder, self.sequence, self.places, self.mount)
        localized = localize_drive(drive, localizer, bench.config.skip_bad, progress=False)
        return {
            "places": self.places, "pose_source": drive.pose_source,
            **_numbers(localized, localizer.place_map, bench),
        }  # fmt: skip


def _numbers(localized: LocalizedDrive, place_map: PlaceMap, bench: Workbench) -> Numbers:
    tolerance = bench.config.tolerance
    correct, true = localized.correct(tolerance), localized.T_map_camera
    numbers: Numbers = {"num_images": len(true), "num_places": len(place_map)}
    for k in _RANKS:
        numbers[f"recall_at_{k}"] = recall_at(k, correct)
        found = np.asarray(correct[:, :k].any(axis=1))
        numbers[f"recall_at_{k}_interval"] = recall_interval(found, true[:, :2, 3])
    numbers["chance"] = chance_level(
        true[:, :3, 3], camera_yaw(true), place_map.positions, place_map.headings_rad, tolerance
    )
    confidences, first = localized.confidences, correct[:, 0]
    numbers["mean_confidence"] = float(np.nanmean(confidences))
    found_calibration = calibration(confidences, first)
    assert found_calibration is not None  # every image has an answer with a confidence
    numbers["expected_calibration_error"] = found_calibration.expected_calibration_error
    threshold = StateConfig().localized_confidence
    (accepted,) = accepted_answers(confidences, first, (threshold,))
    numbers |= {"localized": accepted.answered, "localized_correct": accepted.right}
    numbers["median_error_m"] = float(np.median(localized.position_errors_m[:, 0]))
    numbers["frames"] = list(localized.frames)
    numbers["first_right_rank"] = list(first_correct_ranks(correct))
    numbers["confidence"] = [round(float(c), 4) for c in confidences]
    return numbers
