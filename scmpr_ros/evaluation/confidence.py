"""How far the confidence of answers can be trusted: precision and recall, and calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import ShapeError

FloatArray = NDArray[np.floating]

_MAX_BINS, _BIN_ANSWERS = 10, 10


@dataclass(frozen=True)
class PrecisionRecall:
    """Precision and recall when only answers of at least a score are accepted.

    threshold, precision, recall: (M,), one for each score that occurs, from the highest down.
    precision: share of the accepted answers that are correct.
    recall: share of all queries that are accepted and correct. It ends at Recall@1: a wrong answer
        is a place that was not found.
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

    scores: (N,), NaN where a query has no answer. Answers of equal score are accepted together.
    correct: (N,).

    Raises ShapeError if the two do not pair up.
    """
    scores, correct = _paired(scores, correct)
    answered = np.isfinite(scores)
    order = np.argsort(-scores[answered], kind="stable")
    falling = scores[answered][order]
    hits = np.cumsum(correct[answered][order])
    last = np.flatnonzero(np.append(np.diff(falling) != 0, True)) if len(falling) else order
    return PrecisionRecall(falling[last], hits[last] / (last + 1), hits[last] / len(scores))


@dataclass(frozen=True)
class AcceptedAnswers:
    """What remains when answers below a confidence are held back.

    confidence: the threshold.
    answered: share of the queries that are answered with at least that confidence.
    right: share of those that are correct; None without any.
    """

    confidence: float
    answered: float
    right: float | None


def accepted_answers(
    confidences: FloatArray,
    correct: NDArray[np.bool_],
    thresholds: Sequence[float] = (0.5, 0.7, 0.9),
) -> tuple[AcceptedAnswers, ...]:
    """Coverage and accuracy for each confidence threshold.

    confidences: (N,), NaN where a query has no answer. correct: (N,).
    """
    confidences, correct = _paired(confidences, correct)
    rows = []
    for threshold in thresholds:
        kept = np.nan_to_num(confidences, nan=-1.0) >= threshold
        right = float(correct[kept].mean()) if kept.any() else None
        rows.append(AcceptedAnswers(threshold, float(kept.mean()), right))
    return tuple(rows)


@dataclass(frozen=True)
class ConfidenceBin:
    """Answers of similar confidence.

    lowest, highest: confidences that occur in it. count: number of answers.
    mean_confidence: what it promises. right: share of correct answers, what it keeps.
    """

    lowest: float
    highest: float
    count: int
    mean_confidence: float
    right: float


@dataclass(frozen=True)
class Calibration:
    """How close confidence is to the probability of a correct answer.

    expected_calibration_error: mean over the answers of |right - mean_confidence| of their bin; 0
        is perfect. Small samples raise it.
    bins: reliability by confidence, rising.
    """

    expected_calibration_error: float
    bins: tuple[ConfidenceBin, ...]


def calibration(confidences: FloatArray, correct: NDArray[np.bool_]) -> Calibration | None:
    """Expected calibration error with bins of about equal count (Naeini et al. 2015).

    At most ten bins of at least ten answers; equal confidences share a bin.

    confidences: (N,), NaN where a query has no answer; such queries are left out. correct: (N,).
    Returns None if there is no answer with a confidence.
    """
    confidences, correct = _paired(confidences, correct)
    known = np.isfinite(confidences)
    confidences, correct = confidences[known], correct[known]
    count = len(confidences)
    if count == 0:
        return None
    number = int(np.clip(count // _BIN_ANSWERS, 1, _MAX_BINS))
    edges = np.unique(np.quantile(confidences, np.arange(1, number) / number, method="higher"))
    members = np.searchsorted(edges, confidences, side="right")
    bins = []
    for index in np.unique(members):
        inside = members == index
        values = confidences[inside]
        bins.append(
            ConfidenceBin(float(values.min()), float(values.max()), int(inside.sum()),
                          float(values.mean()), float(correct[inside].mean()))
        )  # fmt: skip
    gaps = sum(b.count * abs(b.right - b.mean_confidence) for b in bins)
    return Calibration(gaps / count, tuple(bins))


def _paired(
    values: FloatArray, correct: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    if np.ndim(values) != 1 or np.shape(values) != np.shape(correct) or len(values) == 0:
        shapes = f"{np.shape(values)} {np.shape(correct)}"
        raise ShapeError.of("scores and correct", "(N,) each", shapes)
    return np.asarray(values, np.float64), np.asarray(correct, bool)
