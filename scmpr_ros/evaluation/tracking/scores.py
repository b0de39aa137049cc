"""Numbers of tracked drives, wake-ups and kidnaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from scmpr_ros.evaluation.confidence import calibration, precision_recall
from scmpr_ros.evaluation.intervals import recall_interval
from scmpr_ros.evaluation.tracking.drives import travelled_m
from scmpr_ros.evaluation.tracking.trials import Kidnap, WakeUp
from scmpr_ros.evaluation.trajectory import TrackedDrive
from scmpr_ros.geometry import camera_yaw, wrap_angle
from scmpr_ros.pipeline.states import LOCALIZED

Array = NDArray[np.float64]
_SIGMAS = (1, 2, 3)
_PRECISION = 0.99
_LEFT_S, _RIGHT_S = 5.0, 20.0


def normalised_errors(drive: TrackedDrive) -> Array:
    """Squared errors of x, y and yaw, normalised by their covariance (NEES), (N,)."""
    offset = drive.T_tracked[:, :2, 3] - drive.T_true[:, :2, 3]
    yaw = wrap_angle(camera_yaw(drive.T_tracked) - camera_yaw(drive.T_true))
    error = np.column_stack([offset, yaw])
    planar = drive.covariance[:, [0, 1, 5]][:, :, [0, 1, 5]]
    return np.asarray(np.einsum("ni,nij,nj->n", error, np.linalg.inv(planar), error))


def summary(
    drives: Sequence[TrackedDrive], settling_s: float = 0.0, settling_m: float = 0.0,
    recordings: Sequence[str] = (),
) -> dict[str, Any]:  # fmt: skip
    """Numbers of several drives together, from that time and distance after each start on.

    recordings: name of each drive's recording, whose frame its poses are in; one for all by
    default.

    Beside the fields of `TrackedScores`:

    right_interval: 95 % interval of `right`, see `recall_interval`.
    wrong_localized: share of all images that are LOCALIZED elsewhere.
    tracked_calibration_error, single_calibration_error: of the probability to be near, and of the
        confidence of the single image.
    tracked_recall_at_99, single_recall_at_99: share of the images that are accepted and right if a
        threshold of that probability keeps 99 % precision.
    nees_in_band: share of LOCALIZED poses whose normalised squared error of x, y and yaw lies in
        the central 95 % of its chi-square distribution; 0.95 for an honest covariance. nees_mean: 3
        for an honest one.
    coverage: share within 1, 2 and 3 standard deviations, of which a Gaussian has 0.20, 0.74, 0.97.
    mean_off_map: mean probability of being off the map.
    """
    parts = [settled(drive, settling_s, settling_m) for drive in drives]
    whole = _joined(parts)
    names = np.repeat(list(recordings) or [""] * len(parts), [len(part.state) for part in parts])
    localized, right = whole.state == LOCALIZED, whole.near(whole.T_tracked)
    nees = normalised_errors(whole)[localized]
    low, high = chi2.ppf((0.025, 0.975), 3)
    return {
        **asdict(whole.score()),
        "right_interval": recall_interval(right, whole.T_true[:, :2, 3], names),
        "wrong_localized": float((localized & ~right).mean()),
        **_confidence("tracked", whole.near_probability, right),
        **_confidence("single", whole.single_confidence, whole.near(whole.T_single)),
        "nees_in_band": float(((nees >= low) & (nees <= high)).mean()) if len(nees) else None,
        "nees_mean": float(nees.mean()) if len(nees) else None,
        "coverage": [float((nees <= k * k).mean()) for k in _SIGMAS] if len(nees) else None,
        "mean_off_map": float(whole.off_map_probability.mean()),
    }


def _confidence(name: str, probability: Array, right: NDArray[np.bool_]) -> dict[str, Any]:
    measured, curve = calibration(probability, right), precision_recall(probability, right)
    error = None if measured is None else measured.expected_calibration_error
    recall = curve.recall[curve.precision >= _PRECISION].max(initial=0.0)
    return {f"{name}_calibration_error": error, f"{name}_recall_at_99": float(recall)}


def summarise_wake_ups(results: Sequence[WakeUp]) -> dict[str, Any]:
    """Time and distance to the first LOCALIZED pose, and how many of them were wrong."""
    found = [each for each in results if each.time_s is not None]
    times, distances = ([getattr(e, name) for e in found] for name in ("time_s", "distance_m"))
    count = max(1, len(results))
    return {
        "starts": len(results), "localized": len(found) / count,
        "false_locks": sum(not e.right for e in found) / count,
        "time_s_median_95": _percentiles(times), "distance_m_median_95": _percentiles(distances),
    }  # fmt: skip


def summarise_kidnaps(results: Sequence[Kidnap]) -> dict[str, Any]:
    """How soon a jump was noticed, and the right pose found again."""
    count = max(1, len(results))
    left = sum(e.left_s is not None and e.left_s <= _LEFT_S for e in results)
    right_s = [e.right_s for e in results if e.right_s is not None]
    return {
        "trials": len(results),
        "smallest_jump_m": min((e.jump_m for e in results), default=None),
        "left_within_5_s": left / count,
        "right_within_20_s": sum(s <= _RIGHT_S for s in right_s) / count,
        "ended_right": sum(e.ended_right for e in results) / count,
        "right_s_median_95": _percentiles(right_s),
    }


def _percentiles(values: Sequence[float]) -> list[float] | None:
    return [float(v) for v in np.percentile(np.array(values), (50, 95))] if values else None


def settled(drive: TrackedDrive, settling_s: float, settling_m: float = 0.0) -> TrackedDrive:
    """The drive from that time and distance after its first image on; at least the last image."""
    late = drive.stamps_s - drive.stamps_s[0] >= settling_s
    keep = late & (travelled_m(drive.T_true) >= settling_m)
    keep[-1] = True
    return replace(drive, **{name: values[keep] for name, values in vars(drive).items()})


def _joined(drives: Sequence[TrackedDrive]) -> TrackedDrive:
    """All images of several drives; stamps are those of each."""
    return TrackedDrive(
        *(np.concatenate([getattr(d, name) for d in drives]) for name in vars(drives[0]))
    )
