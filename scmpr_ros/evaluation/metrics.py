"""How well a place was recognised: errors, Recall@K, precision, intervals, and what guessing gives.

Positions are compared in the map's horizontal plane (x, y of a z-up frame): places stand at one
height above the ground, so height says nothing about recognition. Shapes: N queries, K candidates
each (best first), P places, V headings at every place. A query without an answer has NaN for its
candidates; it is never correct, and it still counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import ConfigError, ShapeError
from scmpr_ros.geometry import wrap_angle
from scmpr_ros.semantics import IGNORE

FloatArray = NDArray[np.floating]
Axes = tuple[int, int]
"""Two axes of the z-up map in which distances are taken; (0, 1) is the ground plane."""


@dataclass(frozen=True)
class Tolerance:
    """How far from the truth a candidate may be and still be correct; both bounds are included."""

    radius_m: float = 5.0
    """Horizontal distance. Place recognition commonly asks for 5, 10 or 20 m."""
    angle_deg: float = 30.0
    """Difference of heading. 180 asks for the position only."""
    axes: Axes = (0, 1)
    """Of the distance; others than the ground plane are for protocols that took them."""

    def __post_init__(self) -> None:
        if not self.radius_m > 0:
            raise ConfigError(f"radius_m must be positive, got {self.radius_m}")
        if not 0 < self.angle_deg <= 180:
            raise ConfigError(f"angle_deg must lie in (0, 180], got {self.angle_deg}")

    @property
    def angle_rad(self) -> float:
        """`angle_deg` in radians."""
        return float(np.deg2rad(self.angle_deg))


def position_errors(
    estimated: FloatArray, true: FloatArray, axes: Axes = (0, 1)
) -> NDArray[np.float64]:
    """Distances in metres, in the ground plane unless `axes` are others.

    estimated: (N, D) or (N, K, D) positions, D of 2 or 3; true: (N, D).
    Returns (N,) or (N, K). Raises ShapeError where the two do not pair up.
    """
    estimated, true = np.asarray(estimated, np.float64), np.asarray(true, np.float64)
    if true.ndim != 2 or true.shape[1] not in (2, 3):
        raise ShapeError.of("true positions", "(N, 2) or (N, 3)", true.shape)
    if estimated.ndim not in (2, 3) or estimated.shape[0] != len(true) or estimated.shape[-1] < 2:
        raise ShapeError.of("estimated positions", f"({len(true)}, [K,] 2|3)", estimated.shape)
    chosen = list(axes)
    truth = true[:, chosen].reshape(len(true), *(1,) * (estimated.ndim - 2), 2)
    return np.linalg.norm(estimated[..., chosen] - truth, axis=-1)


def heading_errors(estimated_rad: FloatArray, true_rad: FloatArray) -> NDArray[np.float64]:
    """Absolute differences of heading in radians, in [0, pi].

    estimated_rad: (N,) or (N, K); true_rad: (N,). Returns the shape of `estimated_rad`.
    """
    estimated_rad, true_rad = np.asarray(estimated_rad), np.asarray(true_rad)
    if true_rad.ndim != 1 or estimated_rad.shape[:1] != true_rad.shape or estimated_rad.ndim > 2:
        raise ShapeError.of("headings", f"(N, [K]) against (N,) = {true_rad.shape}",
                            estimated_rad.shape)  # fmt: skip
    return np.abs(
        wrap_angle(estimated_rad - true_rad.reshape(-1, *(1,) * (estimated_rad.ndim - 1)))
    )


def within(
    position_error_m: FloatArray, heading_error_rad: FloatArray, tolerance: Tolerance
) -> NDArray[np.bool_]:
    """Whether errors of equal shape are both within the tolerance; NaN never is."""
    return (position_error_m <= tolerance.radius_m) & (heading_error_rad <= tolerance.angle_rad)


def recall_at(k: int, correct: NDArray[np.bool_]) -> float:
    """Recall@K: the share of queries with a correct candidate among the first `k`.

    correct: (N, K), candidates best first. Queries with fewer than `k` candidates count as they
    are. Raises ShapeError where there is no query, since 0/0 is not a recall of zero.
    """
    correct = np.asarray(correct, dtype=bool)
    if correct.ndim != 2 or len(correct) == 0:
        raise ShapeError.of("correct", "(N, K) with at least one query", correct.shape)
    if k < 1:
        raise ConfigError(f"Recall@K needs K of at least 1, got {k}")
    return float(correct[:, :k].any(axis=1).mean())


def first_right(correct: NDArray[np.bool_]) -> list[int | None]:
    """Rank of each query's first correct candidate, from 1; None where none of (N, K) is."""
    return [int(np.argmax(row)) + 1 if row.any() else None for row in np.asarray(correct)]


def one_percent(num_places: int) -> int:
    """K of Recall@1 %: one hundredth of the map's places, at least one."""
    return max(1, round(num_places / 100))


@dataclass(frozen=True)
class PrecisionRecall:
    """What accepting only answers of at least a score would give, from the strictest score down.

    threshold, precision, recall: (M,), one for each score that occurs. precision: share of the
    accepted answers that are right. recall: share of all queries that are accepted and right, so it
    ends at Recall@1: a wrong answer is a place that was not found.
    """

    threshold: NDArray[np.float64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]

    @property
    def best_f1(self) -> float:
        """Largest harmonic mean of precision and recall."""
        total = self.precision + self.recall
        f1 = np.divide(2 * self.precision * self.recall, total, where=total > 0, out=0 * total)
        return float(f1.max(initial=0.0))


def precision_recall(scores: FloatArray, correct: NDArray[np.bool_]) -> PrecisionRecall:
    """Precision and recall of first answers by score.

    scores: (N,), NaN where a query has no answer; correct: (N,). Answers of one score are accepted
    together. Raises ShapeError where the two do not pair up.
    """
    scores, correct = np.asarray(scores, np.float64), np.asarray(correct, bool)
    if scores.ndim != 1 or scores.shape != correct.shape or len(scores) == 0:
        raise ShapeError.of("scores and correct", "(N,) each", f"{scores.shape} {correct.shape}")
    answered = np.isfinite(scores)
    order = np.argsort(-scores[answered], kind="stable")
    falling = scores[answered][order].astype(np.float64)
    right = np.cumsum(correct[answered][order])
    last = np.flatnonzero(np.append(np.diff(falling) != 0, True)) if len(falling) else order
    return PrecisionRecall(falling[last], right[last] / (last + 1), right[last] / len(scores))


def right_by_confidence(
    confidences: FloatArray, correct: NDArray[np.bool_], least: Sequence[float] = (0.5, 0.7, 0.9)
) -> list[dict[str, float | None]]:
    """How much is answered, and how much of it is right, if less confident answers are held back.

    confidences: (N,), NaN where a query has no answer; correct: (N,). For each of `least`: the
    share of the queries whose answer has at least that confidence, and the share of those that are
    right, None where there are none.
    """
    told: list[dict[str, float | None]] = []
    for threshold in least:
        kept = np.nan_to_num(confidences, nan=-1.0) >= threshold
        right = float(correct[kept].mean()) if kept.any() else None
        told.append({"confidence": threshold, "answered": float(kept.mean()), "right": right})
    return told


def bootstrap_interval(
    successes: NDArray[np.bool_], block: int = 10, samples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """95 % interval of the mean of successes (N,), by the circular block bootstrap.

    Neighbours along a drive see the same street and fail together: runs of `block` queries are
    drawn with replacement, not single ones, which would make the interval too narrow (Politis and
    Romano 1992).
    """
    successes = np.asarray(successes, np.float64)
    if successes.ndim != 1 or len(successes) == 0:
        raise ShapeError.of("successes", "(N,) with at least one query", successes.shape)
    count, block = len(successes), max(1, min(block, len(successes) // 2))
    doubled = np.concatenate([[0.0], np.cumsum(np.concatenate([successes, successes]))])
    starts = np.random.default_rng(seed).integers(0, count, (samples, -(-count // block)))
    means = (doubled[starts + block] - doubled[starts]).mean(axis=1) / block
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def chance_level(
    true_positions: FloatArray,
    true_headings_rad: FloatArray,
    place_positions: FloatArray,
    place_headings_rad: FloatArray,
    tolerance: Tolerance,
    allowed: NDArray[np.bool_] | None = None,
) -> float:
    """Recall@1 of an answer drawn at random: what a score has to be held against.

    For one query, the share of the map's P * V viewpoints (place, heading) that would count as
    correct; chance is the mean of that over the queries. Headings are the same at every place, so
    the share is that of places within the radius times that of headings within the angle.

    true_positions: (N, 2|3); true_headings_rad: (N,); place_positions: (P, 2|3);
    place_headings_rad: (V,). allowed: (N, P) places that may answer each query; all if None.
    """
    if len(place_positions) == 0 or len(place_headings_rad) == 0 or len(true_positions) == 0:
        raise ShapeError("chance needs at least one query, one place and one heading")
    N, P, V = len(true_positions), len(place_positions), len(place_headings_rad)
    near = near_places(true_positions, place_positions, tolerance)
    headings = np.broadcast_to(np.asarray(place_headings_rad)[None], (N, V))
    aligned = heading_errors(headings, true_headings_rad) <= tolerance.angle_rad
    allowed = np.ones((N, P), bool) if allowed is None else allowed
    share = (near & allowed).sum(axis=1) / np.maximum(allowed.sum(axis=1), 1)
    return float((share * aligned.mean(axis=1)).mean())


def near_places(
    true_positions: FloatArray, place_positions: FloatArray, tolerance: Tolerance
) -> NDArray[np.bool_]:
    """Which places (N, P) lie within the radius of each query, whatever the heading."""
    places = np.broadcast_to(np.asarray(place_positions), (len(true_positions),
                             *np.shape(place_positions)))  # fmt: skip
    errors = position_errors(places, np.asarray(true_positions), tolerance.axes)
    return errors <= tolerance.radius_m


def class_iou(confusion: NDArray[np.integer]) -> NDArray[np.float64]:
    """Intersection over union of every class, (C,), NaN for classes that do not occur.

    confusion: (C, C) counts by true (row) and predicted class. What is truly `ignore`, the first
    row, is not scored.
    """
    counts = np.array(confusion, np.float64)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise ShapeError.of("confusion", "(C, C)", counts.shape)
    counts[IGNORE] = 0
    found, true = np.diag(counts), counts.sum(axis=1)
    union = true + counts.sum(axis=0) - found
    return np.divide(found, union, where=true > 0, out=np.full(len(counts), np.nan))
