"""Errors, recall and chance against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_jaccard_index

from scmpr_ros.errors import ConfigError, ShapeError
from scmpr_ros.evaluation.metrics import (
    Tolerance,
    chance_level,
    class_iou,
    first_correct_ranks,
    heading_errors,
    near_places,
    one_percent,
    position_errors,
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


def test_first_correct_candidate_is_ranked_from_one() -> None:
    correct = np.array([[False, True, True], [True, False, False], [False, False, False]])
    assert first_correct_ranks(correct) == (2, 1, None)


@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=20))
def test_recall_grows_with_k(rows: list[list[bool]]) -> None:
    recalls = [recall_at(k, np.array(rows)) for k in range(1, 5)]
    assert recalls == sorted(recalls)
    assert recalls[-1] == sum(map(any, rows)) / len(rows)


def test_bounds_are_included_and_a_missing_answer_is_wrong() -> None:
    distance = np.array([5.0, 5.1, 0.0, 0.0, np.nan])
    angle = np.array([np.pi / 2, 0.0, 2.0, np.nan, np.nan])
    correct = within(distance, angle, Tolerance(5.0, 90.0))
    assert correct.tolist() == [True, False, False, False, False]
    any_heading = within(distance, angle, Tolerance(5.0, 180.0))
    assert any_heading.tolist() == [True, False, True, True, False], "unknown headings, too"


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


def test_distances_in_other_axes() -> None:
    true, best = np.zeros((1, 3)), np.array([[3.0, 100.0, 4.0]])
    np.testing.assert_allclose(position_errors(best, true, (0, 2)), [5.0])
    near = near_places(true, best, Tolerance(5.0, 180.0, axes=(0, 2)))
    assert near.tolist() == [[True]]
    assert near_places(true, best, Tolerance(5.0)).tolist() == [[False]]


@pytest.mark.parametrize(("places", "k"), [(1, 1), (149, 1), (151, 2), (4071, 41)])
def test_one_percent_of_the_places(places: int, k: int) -> None:
    assert one_percent(places) == k


def test_chance_among_allowed_places() -> None:
    """Of the places that may answer, one in two is near; of all, one in four."""
    places = np.array([[0.0, 0], [100, 0], [200, 0], [300, 0]])
    arguments = np.zeros((1, 2)), np.zeros(1), places, np.zeros(1), Tolerance(5.0)
    assert chance_level(*arguments) == pytest.approx(0.25)
    allowed = np.array([[True, False, True, False]])
    assert chance_level(*arguments, allowed) == pytest.approx(0.5)
    assert chance_level(*arguments, np.zeros((1, 4), bool)) == 0


def test_chance_with_headings_of_each_place() -> None:
    """Near one of two places, which has one of two headings right; the other place has both."""
    places, headings = np.array([[0.0, 0], [100, 0]]), np.deg2rad([[0, 90], [0, 0]])
    arguments = np.zeros((1, 2)), np.zeros(1), places
    assert chance_level(*arguments, headings, Tolerance(5.0, 30.0)) == pytest.approx(1 / 4)
    assert chance_level(*arguments, headings[::-1], Tolerance(5.0, 30.0)) == pytest.approx(1 / 2)
    unknown = np.full((2, 1), np.nan)
    assert chance_level(*arguments, unknown, Tolerance(5.0, 180.0)) == pytest.approx(1 / 2)


def test_iou_by_hand_and_against_torchmetrics() -> None:
    confusion = np.array([[9, 9, 9], [2, 5, 1], [0, 1, 3]])  # true `ignore` is not scored
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
