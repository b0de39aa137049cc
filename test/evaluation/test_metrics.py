"""Errors, recall and chance against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.classification import (
    binary_precision_recall_curve,
    multiclass_jaccard_index,
)

from scmpr_ros.errors import ConfigError, ShapeError
from scmpr_ros.evaluation.metrics import (
    Tolerance,
    bootstrap_interval,
    chance_level,
    class_iou,
    first_right,
    heading_errors,
    near_places,
    one_percent,
    position_errors,
    precision_recall,
    recall_at,
    within,
)

ANGLES = st.floats(-20.0, 20.0)


def test_position_errors_are_horizontal() -> None:
    true = np.array([[0.0, 0.0, 0.0], [10.0, 0.0, 5.0]])
    best = np.array([[3.0, 4.0, 100.0], [10.0, 2.0, -5.0]])
    np.testing.assert_allclose(position_errors(best, true), [5.0, 2.0])
    candidates = np.stack([best, true], axis=1)
    np.testing.assert_allclose(position_errors(candidates, true), [[5.0, 0.0], [2.0, 0.0]])


def test_heading_errors_go_the_short_way_round() -> None:
    true = np.deg2rad([179.0, 0.0])
    estimated = np.deg2rad([-179.0, 270.0])
    np.testing.assert_allclose(np.rad2deg(heading_errors(estimated, true)), [2.0, 90.0])
    stacked = np.stack([estimated, true], axis=1)
    np.testing.assert_allclose(np.rad2deg(heading_errors(stacked, true))[:, 1], 0.0, atol=1e-9)


@given(ANGLES, ANGLES, st.integers(-3, 3))
def test_heading_error_is_a_distance_on_the_circle(a: float, b: float, turns: int) -> None:
    error = heading_errors(np.array([a]), np.array([b]))
    assert 0 <= error[0] <= np.pi
    np.testing.assert_allclose(error, heading_errors(np.array([b]), np.array([a])), atol=1e-9)
    turned = heading_errors(np.array([a + turns * 2 * np.pi]), np.array([b]))
    np.testing.assert_allclose(error, turned, atol=1e-9)


def test_recall_counts_queries_with_a_hit_among_the_first_k() -> None:
    correct = np.array([[1, 0, 0], [0, 0, 1], [0, 1, 1], [0, 0, 0]], dtype=bool)
    assert recall_at(1, correct) == 0.25
    assert recall_at(2, correct) == 0.5
    assert recall_at(3, correct) == recall_at(9, correct) == 0.75


def test_the_first_right_candidate_is_ranked_from_one() -> None:
    correct = np.array([[False, True, True], [True, False, False], [False, False, False]])
    assert first_right(correct) == [2, 1, None]


@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=20))
def test_recall_grows_with_k(rows: list[list[bool]]) -> None:
    recalls = [recall_at(k, np.array(rows)) for k in range(1, 5)]
    assert recalls == sorted(recalls)
    assert recalls[0] >= 0 and recalls[-1] <= 1


def test_bounds_are_included_and_a_missing_answer_is_wrong() -> None:
    tolerance = Tolerance(radius_m=5.0, angle_deg=90.0)
    distance, angle = np.array([5.0, 5.1, 0.0, np.nan]), np.array([np.pi / 2, 0.0, 2.0, np.nan])
    assert within(distance, angle, tolerance).tolist() == [True, False, False, False]


def test_chance_by_hand() -> None:
    """Four places on a line, four headings: the first query is near two and faces one of them."""
    places = np.array([[0, 0, 0], [4, 0, 0], [8, 0, 0], [100, 0, 0]], dtype=float)
    headings = np.deg2rad([0, 90, 180, 270])
    positions, yaws = np.array([[2.0, 0, 9], [50.0, 0, 9]]), np.deg2rad([10.0, 10.0])
    tolerance = Tolerance(radius_m=5.0, angle_deg=30.0)
    first = (2 / 4) * (1 / 4)
    assert chance_level(positions, yaws, places, headings, tolerance) == pytest.approx(first / 2)
    anywhere = Tolerance(radius_m=1e3, angle_deg=180.0)
    assert chance_level(positions, yaws, places, headings, anywhere) == 1.0


def test_chance_is_what_random_answers_reach() -> None:
    rng = np.random.default_rng(0)
    places, headings = rng.uniform(-20, 20, (50, 2)), np.arange(12) * np.pi / 6
    true, yaw = rng.uniform(-20, 20, (20, 2)), rng.uniform(-np.pi, np.pi, 20)
    tolerance = Tolerance(radius_m=8.0, angle_deg=40.0)
    drawn = rng.integers(50, size=(20, 4000)), rng.integers(12, size=(20, 4000))
    correct = within(
        position_errors(places[drawn[0]], true), heading_errors(headings[drawn[1]], yaw), tolerance
    )
    expected = chance_level(true, yaw, places, headings, tolerance)
    assert correct.mean() == pytest.approx(expected, rel=0.05)


def test_refusals() -> None:
    with pytest.raises(ShapeError, match=r"true positions: expected \(N, 2\)"):
        position_errors(np.zeros((2, 2)), np.zeros(3))
    with pytest.raises(ShapeError, match=r"estimated positions: expected \(2,"):
        position_errors(np.zeros((3, 2)), np.zeros((2, 2)))
    with pytest.raises(ShapeError, match="headings"):
        heading_errors(np.zeros(3), np.zeros(2))
    with pytest.raises(ShapeError, match="at least one query"):
        recall_at(1, np.zeros((0, 3), dtype=bool))
    with pytest.raises(ConfigError, match="at least 1, got 0"):
        recall_at(0, np.zeros((1, 3), dtype=bool))
    with pytest.raises(ShapeError, match="at least one query, one place"):
        chance_level(np.zeros((1, 2)), np.zeros(1), np.zeros((0, 2)), np.zeros(1), Tolerance())
    with pytest.raises(ConfigError, match="radius_m"):
        Tolerance(radius_m=0.0)
    with pytest.raises(ConfigError, match="angle_deg"):
        Tolerance(angle_deg=200.0)


def test_distances_may_be_taken_in_other_axes() -> None:
    true, best = np.zeros((1, 3)), np.array([[3.0, 100.0, 4.0]])
    np.testing.assert_allclose(position_errors(best, true, (0, 2)), [5.0])
    near = near_places(true, best, Tolerance(5.0, 180.0, axes=(0, 2)))
    assert near.tolist() == [[True]]
    assert near_places(true, best, Tolerance(5.0)).tolist() == [[False]]


@pytest.mark.parametrize(("places", "k"), [(1, 1), (149, 1), (151, 2), (4071, 41)])
def test_one_percent_of_the_places(places: int, k: int) -> None:
    assert one_percent(places) == k


def test_precision_and_recall_by_hand() -> None:
    """Right at 0.9, wrong at 0.8, right and wrong at 0.5, and one query without an answer."""
    curve = precision_recall(
        np.array([0.5, 0.9, np.nan, 0.8, 0.5]), np.array([True, True, False, False, False])
    )
    assert curve.threshold.tolist() == [0.9, 0.8, 0.5]
    np.testing.assert_allclose(curve.precision, [1, 1 / 2, 2 / 4])
    np.testing.assert_allclose(curve.recall, [1 / 5, 1 / 5, 2 / 5])
    assert curve.best_f1 == pytest.approx(2 * 0.5 * 0.4 / 0.9)
    nobody = precision_recall(np.full(3, np.nan), np.zeros(3, bool))
    assert len(nobody.recall) == 0 and nobody.best_f1 == 0


@given(st.integers(0, 1000))
def test_precision_is_that_of_torchmetrics(seed: int) -> None:
    """Its recall is of the right answers, ours of all queries: theirs times Recall@1."""
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


def test_the_interval_is_wider_where_neighbours_fail_together() -> None:
    rng = np.random.default_rng(0)
    alone = rng.random(400) < 0.5
    together = np.repeat(rng.random(40) < 0.5, 10)
    low, high = bootstrap_interval(alone)
    # Independent successes: the normal interval, +- 1.96 sqrt(p q / n).
    assert high - low == pytest.approx(2 * 1.96 * 0.5 / 20, rel=0.25)
    wide_low, wide_high = bootstrap_interval(together)
    assert wide_high - wide_low > 2 * (high - low)
    assert bootstrap_interval(alone) == (low, high), "the same seed"
    assert bootstrap_interval(np.ones(7, bool)) == (1.0, 1.0)


def test_chance_among_allowed_places() -> None:
    """Of the places that may answer, one in two is near; of all, one in four."""
    places = np.array([[0.0, 0], [100, 0], [200, 0], [300, 0]])
    arguments = np.zeros((1, 2)), np.zeros(1), places, np.zeros(1), Tolerance(5.0)
    assert chance_level(*arguments) == pytest.approx(0.25)
    allowed = np.array([[True, False, True, False]])
    assert chance_level(*arguments, allowed) == pytest.approx(0.5)
    assert chance_level(*arguments, np.zeros((1, 4), bool)) == 0


def test_iou_by_hand_and_as_torchmetrics_has_it() -> None:
    confusion = np.array([[9, 9, 9], [2, 5, 1], [0, 1, 3]])  # what is truly `ignore` counts nowhere
    assert class_iou(confusion)[1:] == pytest.approx([5 / 9, 3 / 5])
    assert np.isnan(class_iou(np.diag([4, 4, 0]))[[0, 2]]).all()
    generator = np.random.default_rng(0)
    true, predicted = generator.integers(0, 5, (2, 400))
    counts = np.bincount(true * 5 + predicted, minlength=25).reshape(5, 5)
    theirs = multiclass_jaccard_index(
        torch.from_numpy(predicted), torch.from_numpy(true), 5, average="none", ignore_index=0
    )
    assert class_iou(counts)[1:] == pytest.approx(theirs[1:].tolist())
    with pytest.raises(ShapeError, match="confusion"):
        class_iou(np.zeros((2, 3), int))
