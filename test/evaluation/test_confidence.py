"""Precision, recall and calibration of confidences, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.classification import (
    binary_calibration_error,
    binary_precision_recall_curve,
)

from scmpr_ros.errors import ShapeError
from scmpr_ros.evaluation.confidence import (
    AcceptedAnswers,
    accepted_answers,
    calibration,
    precision_recall,
)


def test_precision_and_recall_by_hand() -> None:
    """Correct at 0.9, wrong at 0.8, correct and wrong at 0.5, and one query without an answer."""
    curve = precision_recall(
        np.array([0.5, 0.9, np.nan, 0.8, 0.5]), np.array([True, True, False, False, False])
    )
    assert curve.threshold.tolist() == [0.9, 0.8, 0.5]
    np.testing.assert_allclose(curve.precision, [1, 1 / 2, 2 / 4])
    np.testing.assert_allclose(curve.recall, [1 / 5, 1 / 5, 2 / 5])
    assert curve.best_f1 == pytest.approx(2 * 0.5 * 0.4 / 0.9)
    unanswered = precision_recall(np.full(3, np.nan), np.zeros(3, bool))
    assert len(unanswered.recall) == 0 and unanswered.best_f1 == 0


@given(st.integers(0, 1000))
def test_precision_and_recall_agree_with_torchmetrics(seed: int) -> None:
    """torchmetrics takes recall of the correct answers; times Recall@1 it is of all queries."""
    rng = np.random.default_rng(seed)
    scores = rng.choice([0.1, 0.2, 0.3, 0.4], 12).astype(np.float32)
    correct = rng.random(12) < 0.5
    correct[0] = True
    ours = precision_recall(scores, correct)
    precision, recall, thresholds = binary_precision_recall_curve(
        torch.from_numpy(scores), torch.from_numpy(correct.astype(int))
    )
    assert thresholds.flip(0).tolist() == pytest.approx(ours.threshold.tolist())
    np.testing.assert_allclose(precision[:-1].flip(0), ours.precision, rtol=1e-6)
    np.testing.assert_allclose(recall[:-1].flip(0) * correct.mean(), ours.recall, rtol=1e-6)


def test_accepted_answers_by_hand() -> None:
    rows = accepted_answers(
        np.array([np.nan, 0.4, 0.8, 0.8]), np.array([False, True, True, False]), (0.1, 0.9)
    )
    assert rows == (
        AcceptedAnswers(0.1, 0.75, pytest.approx(2 / 3)), AcceptedAnswers(0.9, 0.0, None)
    )  # fmt: skip


def test_calibration_by_hand() -> None:
    """Ten answers at 0.4 of which two are correct, ten at 0.9 of which all are; one unanswered."""
    confidences = np.array([0.4] * 10 + [0.9] * 10 + [np.nan])
    correct = np.array([True] * 2 + [False] * 8 + [True] * 10 + [False])
    found = calibration(confidences, correct)
    assert found is not None and [b.count for b in found.bins] == [10, 10]
    assert [b.right for b in found.bins] == pytest.approx([0.2, 1.0])
    assert [b.mean_confidence for b in found.bins] == pytest.approx([0.4, 0.9])
    assert found.expected_calibration_error == pytest.approx((0.2 + 0.1) / 2)
    assert calibration(np.full(3, np.nan), np.zeros(3, bool)) is None


def test_calibration_bins_have_equal_mass_and_keep_ties_together() -> None:
    rng = np.random.default_rng(0)
    confidences = np.concatenate([np.ones(300), rng.random(200)])
    found = calibration(confidences, rng.random(500) < confidences)
    assert found is not None
    assert [b.count for b in found.bins[:-1]] == [50, 50, 50, 50] and found.bins[-1].count == 300
    assert found.bins[-1].lowest == 1.0
    few = calibration(rng.random(31), np.zeros(31, bool))
    assert few is not None and len(few.bins) == 3 and min(b.count for b in few.bins) >= 10


def test_calibration_error_of_calibrated_and_overconfident_answers() -> None:
    rng = np.random.default_rng(1)
    confidences = rng.random(5000)
    calibrated = calibration(confidences, rng.random(5000) < confidences)
    overconfident = calibration(confidences, rng.random(5000) < confidences - 0.3)
    assert calibrated is not None and calibrated.expected_calibration_error < 0.03
    # The confidence promises x, but max(0, x - 0.3) are correct.
    expected = (0.3**2 / 2) + 0.7 * 0.3
    assert overconfident is not None
    assert overconfident.expected_calibration_error == pytest.approx(expected, abs=0.02)


def test_calibration_agrees_with_torchmetrics_for_uniform_confidences() -> None:
    rng = np.random.default_rng(2)
    confidences = (np.arange(1000) + 0.5) / 1000
    correct = rng.random(1000) < confidences**2
    ours = calibration(confidences, correct)
    theirs = binary_calibration_error(
        torch.from_numpy(confidences), torch.from_numpy(correct.astype(int)), n_bins=10, norm="l1"
    )
    assert ours is not None
    assert ours.expected_calibration_error == pytest.approx(float(theirs))


def test_scores_that_do_not_pair_up_are_refused() -> None:
    with pytest.raises(ShapeError, match="scores and correct"):
        precision_recall(np.zeros(3), np.zeros(2, bool))
    with pytest.raises(ShapeError, match="scores and correct"):
        calibration(np.zeros(0), np.zeros(0, bool))
