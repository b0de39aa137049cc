"""Entries `recall`: a drive's images in the drive's own map, by where the places are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scmpr_ros.datasets.drive import Drive
from scmpr_ros.evaluation.evaluate import localize_drive
from scmpr_ros.evaluation.intervals import recall_interval
from scmpr_ros.evaluation.localized_drive import LocalizedDrive
from scmpr_ros.evaluation.metrics import recall_at
from scmpr_ros.evaluation.suite.entry import Column, Numbers, RecordingEntry, camera_drive
from scmpr_ros.evaluation.suite.workbench import Places, Workbench
from scmpr_ros.evaluation.tracking import EncodedDrive, TrackingTrials, summary, track
from scmpr_ros.pipeline.localizer import Localizer
from scmpr_ros.pipeline.map_source import PREBUILT_MAP
from scmpr_ros.retrieval.place_map import PlaceMap

_INTERVAL = "{0[0]:.0%}-{0[1]:.0%}"
_RANKS = (1, 5, 10)
_SETTLING_M = 30.0


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
        "of the map. Tracked: images whose tracked pose is within 5 m and 15 deg, with odometry "
        "that drifts by 2 %, from 30 m after the start on. LOC: those that leave the tracker "
        "LOCALIZED; wrong: LOCALIZED elsewhere."
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
        Column("tracked", "tracked_right", "{:.0%}"),
        Column("ECE", "tracked_calibration_error", "{:.2f}"),
        Column("LOC", "localized", "{:.0%}"),
        Column("wrong", "wrong_localized", "{:.0%}"),
    )

    def needs(self, bench: Workbench) -> list[Path]:
        """The recording, and its map.ply if nothing else is given."""
        folder = bench.data / self.recording
        return [folder, folder / PREBUILT_MAP] if self.places == "bare" else [folder]

    def measure(self, bench: Workbench) -> Numbers:
        """Build the map, localise every image, score."""
        folder = bench.data / self.recording
        drive = camera_drive(folder, self.sequence, self.drive, self.bag)
        localizer = bench.localizer(folder, self.sequence, self.places, self.mount, self.bag)
        localized = localize_drive(drive, localizer, bench.config.skip_bad, progress=False)
        return {
            "places": self.places, "pose_source": drive.pose_source,
            **_numbers(localized, localizer.place_map, bench),
            **_tracked(drive, localizer, bench),
        }  # fmt: skip


def _numbers(localized: LocalizedDrive, place_map: PlaceMap, bench: Workbench) -> Numbers:
    tolerance = bench.config.tolerance
    scores = localized.score(place_map.positions, place_map.headings_rad, tolerance)
    correct, confidences = localized.correct(tolerance), localized.confidences
    assert scores.calibration is not None  # every image has an answer with a confidence
    numbers: Numbers = {
        "num_images": scores.num_queries, "num_places": scores.num_places,
        "chance": scores.chance, "mean_confidence": float(np.nanmean(confidences)),
        "expected_calibration_error": scores.calibration.expected_calibration_error,
        "median_error_m": scores.median_position_error_m,
        "frames": list(localized.frames), "first_right_rank": list(scores.first_right_rank),
        "confidence": [round(float(c), 4) for c in confidences],
    }  # fmt: skip
    for k in _RANKS:
        found = np.asarray(correct[:, :k].any(axis=1))
        numbers[f"recall_at_{k}"] = recall_at(k, correct)
        numbers[f"recall_at_{k}_interval"] = recall_interval(
            found, localized.T_map_camera[:, :2, 3]
        )
    return numbers


def _tracked(drive: Drive, localizer: Localizer, bench: Workbench) -> Numbers:
    """What a tracker makes of the drive once it has settled."""
    encoded = EncodedDrive.encode(drive, localizer, bench.config.skip_bad, progress=False)
    tracked = track(encoded, localizer, bench.config.tracking, TrackingTrials(), progress=False)
    numbers = summary([tracked], settling_m=_SETTLING_M)
    return {
        "tracked_right": numbers["right"], "localized": numbers["localized"],
        "wrong_localized": numbers["wrong_localized"],
        "tracked_calibration_error": numbers["tracked_calibration_error"],
        "tracked_median_error_m": numbers["median_position_error_m"],
        "nees_in_band": numbers["nees_in_band"],
    }  # fmt: skip
