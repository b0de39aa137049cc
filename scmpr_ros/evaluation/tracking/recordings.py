"""Trials on the drives of recordings, and their report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scmpr_ros.config import to_dict
from scmpr_ros.datasets.drive import Drive
from scmpr_ros.errors import DatasetError
from scmpr_ros.evaluation.evaluate import (
    EvaluationConfig,
    MappedRecording,
    PlacePositions,
    provenance,
    query_drives,
)
from scmpr_ros.evaluation.rerun_recording import RerunRecording
from scmpr_ros.evaluation.result import Provenance
from scmpr_ros.evaluation.tracking.drives import EncodedDrive, travelled_m
from scmpr_ros.evaluation.tracking.scores import (
    normalised_errors,
    summarise_kidnaps,
    summarise_wake_ups,
    summary,
)
from scmpr_ros.evaluation.tracking.trials import (
    Kidnap,
    TrackingTrials,
    WakeUp,
    check_kidnaps,
    kidnap,
    track,
    wake_up,
)
from scmpr_ros.evaluation.trajectory import NEAR, TrackedDrive
from scmpr_ros.pipeline.tracking_localizer import TrackedAnswer

FORMAT = "scmpr_ros trajectory/1"


@dataclass(frozen=True)
class DriveTrials:
    """A drive, tracked from its first image to its last, and what else was tried on it."""

    source: Provenance
    num_places: int
    tracked: TrackedDrive
    wake_ups: tuple[WakeUp, ...] = ()
    kidnaps: tuple[Kidnap, ...] = ()

    @property
    def name(self) -> str:
        """Recording and drive."""
        return f"{self.source.recording}/{self.source.drive}"


def chosen_drives(folder: Path, config: EvaluationConfig, names: Sequence[str]) -> list[Drive]:
    """Drives of a recording that are tracked: those with images, or of them the named ones.

    Raises DatasetError if there is none.
    """
    drives = query_drives(folder, config.source.sequence, config.source.bag)
    chosen = [drive for drive in drives if not names or drive.name in names]
    if not chosen:
        found = ", ".join(drive.name for drive in drives)
        raise DatasetError(
            f"{folder} has no drive {' or '.join(names)} with images: it has {found}"
        )
    return chosen


def check_drive(drive: Drive, trials: TrackingTrials) -> None:
    """Raise DatasetError if the trials cannot be made on a drive."""
    frames = drive.image_frames
    if len(frames) < 2:
        raise DatasetError(f"drive {drive.name} has a single image: tracking needs at least two")
    stamps_s = np.array([drive.stamp_s(frame) for frame in frames])
    late = np.flatnonzero(np.diff(stamps_s) <= 0)
    if len(late):
        raise DatasetError(
            f"drive {drive.name}: the stamp of image {frames[late[0] + 1]}, "
            f"{stamps_s[late[0] + 1]:g} s, is not later than that of the one before: tracking "
            "needs rising stamps"
        )
    duration_s = float(stamps_s[-1] - stamps_s[0])
    if duration_s <= trials.settling_s:
        raise DatasetError(
            f"drive {drive.name} lasts {duration_s:.1f} s, but numbers begin "
            f"{trials.settling_s:g} s after its start: set --trials.settling_s"
        )
    if trials.kidnaps:
        T_true = np.stack([drive.T_world_camera(frame) for frame in frames])
        check_kidnaps(drive.name, T_true, stamps_s, trials)


def try_drives(
    folder: Path, mapped: MappedRecording, config: EvaluationConfig, trials: TrackingTrials,
    names: Sequence[str] = (), recording: RerunRecording | None = None,
) -> Iterator[DriveTrials]:  # fmt: skip
    """Encode, track and try the drives of a recording.

    names: of drives; by default all with images. recording: shows map, images, answers and truth.
    """
    localizer = mapped.localizer
    if recording is not None:
        recording.log_map(localizer.place_map, mapped.point_map.cloud)
    for drive in mapped.drives:
        if names and drive.name not in names:
            continue
        encoded = EncodedDrive.encode(drive, localizer, config.skip_bad)
        on_answer = None if recording is None else _recorder(recording, drive, encoded)
        tracked = track(encoded, localizer, config.tracking, trials, on_answer=on_answer)
        yield DriveTrials(
            provenance(folder, drive, "map", localizer, mapped.mount),
            len(localizer.place_map), tracked,
            tuple(wake_up(encoded, localizer, config.tracking, trials)) if trials.starts else (),
            tuple(kidnap(encoded, localizer, config.tracking, trials)) if trials.kidnaps else (),
        )  # fmt: skip


def _recorder(
    recording: RerunRecording, drive: Drive, encoded: EncodedDrive
) -> Callable[[int, TrackedAnswer], None]:
    """Return an `on_answer` that shows each image, read again, with its answer and the truth."""
    recording.log_true_track(encoded.T_true)

    def record(row: int, answer: TrackedAnswer) -> None:
        image, T_true = drive.image(encoded.frames[row]), encoded.T_true[row]
        recording.log_answer(float(encoded.stamps_s[row]), image, drive.camera, answer, T_true)

    return record


# --- the report ------------------------------------------------------------------------------


def numbers_of(results: Sequence[DriveTrials], trials: TrackingTrials) -> dict[str, Any]:
    """Numbers of several drives together; see `summary`, `summarise_wake_ups` and `_kidnaps`."""
    numbers = summary(
        [each.tracked for each in results], trials.settling_s,
        recordings=[each.source.recording for each in results],
    )  # fmt: skip
    if trials.starts:
        numbers["wake_up"] = summarise_wake_ups([w for each in results for w in each.wake_ups])
    if trials.kidnaps:
        numbers["kidnap"] = summarise_kidnaps([k for each in results for k in each.kidnaps])
    return numbers


def rules(trials: TrackingTrials, places: PlacePositions) -> list[str]:
    """The protocol in words."""
    noise = trials.odometry
    near = f"within {NEAR.radius_m:g} m and {NEAR.angle_deg:g} deg of the true pose"
    lines = [
        {"path": "Places of the map are along the path of the drive that mapped.",
         "grid": "Places of the map are all over its open ground."}[places],
        "No odometry: motion is guessed." if noise is None else
        "Odometry is made from the true poses. It drifts: standard deviation of the scale and of "
        f"each metre {noise.drift:.1%}, of yaw {noise.yaw_deg_per_m:g} deg per metre for the whole "
        f"drive and {noise.yaw_deg:g} deg after each metre.",
        f"Each drive is tracked once, from its first image, with nothing known. Numbers are of the "
        f"images from {trials.settling_s:g} s after that on.",
        f"A pose is right {near}, in the horizontal plane. Errors are of LOCALIZED poses.",
        "single: the answer to the image alone, right by the same rule.",
        "Intervals, 95 %: images of a recording in one cell of 300 m fail together.",
        "ECE: mean difference of the promised probability to be right and the share that is.",
        "NEES: squared errors of x, y and yaw of LOCALIZED poses, normalised by their covariance; "
        "95 % in the band and a mean of 3 are honest.",
    ]  # fmt: skip
    if trials.starts:
        lines.append(
            f"Wake-up: {trials.starts} starts a drive at random images, with nothing known, until "
            f"the first LOCALIZED pose, at most {trials.wake_up_s:g} s. A false lock is one that "
            "is wrong."
        )
    if trials.kidnaps:
        lines.append(
            f"Kidnap: up to {trials.kidnaps} jumps a drive, of at least {trials.kidnap_m:g} m, "
            f"after {trials.kidnap_after} images that end LOCALIZED and right; odometry and stamps "
            f"go on as if nothing had happened. The drive goes on for {trials.kidnap_s:g} s. Left: "
            "no longer LOCALIZED, or LOCALIZED at the new place."
        )
    return lines


def report(
    results: Sequence[DriveTrials], config: EvaluationConfig, trials: TrackingTrials,
    places: PlacePositions, checkpoint: str,
) -> dict[str, Any]:  # fmt: skip
    """Settings, rules and all numbers, by drive and together, for JSON."""
    return {
        "format": FORMAT,
        "checkpoint": checkpoint,
        "rules": rules(trials, places),
        "places": places,
        "trials": to_dict(trials),
        "settings": to_dict(config),
        "drives": [_drive_report(each, trials) for each in results],
        "together": numbers_of(results, trials),
    }


def _drive_report(result: DriveTrials, trials: TrackingTrials) -> dict[str, Any]:
    tracked = result.tracked
    return {
        **to_dict(result.source),
        "num_places": result.num_places,
        "duration_s": round(float(tracked.stamps_s[-1] - tracked.stamps_s[0]), 3),
        "length_m": round(float(travelled_m(tracked.T_true)[-1]), 2),
        **numbers_of([result], trials),
        "wake_ups": [asdict(each) for each in result.wake_ups],
        "kidnaps": [asdict(each) for each in result.kidnaps],
        "images": {
            "stamp_s": _rounded(tracked.stamps_s),
            "state": tracked.state.tolist(),
            "position_error_m": _rounded(tracked.position_errors_m(tracked.T_tracked)),
            "heading_error_deg": _rounded(
                np.rad2deg(tracked.heading_errors_rad(tracked.T_tracked))
            ),
            "near_probability": _rounded(tracked.near_probability),
            "nees": _rounded(normalised_errors(tracked)),
            "single_position_error_m": _rounded(tracked.position_errors_m(tracked.T_single)),
            "single_confidence": _rounded(tracked.single_confidence),
        },
    }


def _rounded(values: Any) -> list[float]:
    return [round(float(value), 4) for value in values]
