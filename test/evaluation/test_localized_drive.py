"""Answers are read from a recorder's file, paired with the truth, and scored."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from camera_poses import level_camera_pose

from scmpr_ros.errors import DatasetError, ShapeError
from scmpr_ros.evaluation.confidence import AcceptedAnswers
from scmpr_ros.evaluation.localized_drive import Answer, LocalizedDrive, read_answers
from scmpr_ros.evaluation.metrics import Tolerance


def pose(x: float, y: float, yaw_deg: float) -> np.ndarray:
    return level_camera_pose(np.array([x, y, 1.6]), np.deg2rad(yaw_deg))


@pytest.fixture
def drive() -> LocalizedDrive:
    """Four queries: found, found second, turned the wrong way, and without an answer."""
    truth = {f: pose(10.0 * f, 0, 0) for f in range(4)}
    answers = {
        100: Answer(np.stack([pose(1, 0, 5), pose(50, 0, 0)]), 0.1, 0.9),
        101: Answer(np.stack([pose(50, 0, 0), pose(13, 0, 0)]), 0.2, 0.6),
        102: Answer(np.stack([pose(20, 0, 180)]), 0.3),
    }
    return LocalizedDrive.join(truth, {f: 100 + f for f in range(4)}, answers)


def test_join_keeps_order_and_unanswered_queries(drive: LocalizedDrive) -> None:
    assert drive.frames == (0, 1, 2, 3)
    assert drive.answered.tolist() == [True, True, True, False]
    np.testing.assert_allclose(drive.position_errors_m[:3, 0], [1, 40, 0], atol=1e-9)
    np.testing.assert_allclose(np.rad2deg(drive.heading_errors_rad[:3, 0]), [5, 0, 180])


def test_scores_by_hand(drive: LocalizedDrive) -> None:
    places, headings = np.array([[0.0, 0, 0], [100.0, 0, 0]]), np.deg2rad([0, 90, 180, 270])
    scores = drive.score(places, headings, Tolerance(5.0, 30.0))
    assert scores.recall_at_1 == 0.25
    assert scores.recall_at_5 == 0.5
    assert scores.chance == pytest.approx((1 / 2 * 1 / 4) / 4)
    assert scores.recall_at_10 is None, "two candidates were kept"
    assert scores.recall_at_1_percent == 0.25, "one of two places"
    assert scores.first_right_rank == (1, 2, None, None)
    # Accepting only the confidence 0.9: all of it correct, a quarter of the queries found.
    assert scores.best_f1 == pytest.approx(2 * 1 * 0.25 / 1.25)
    assert scores.by_confidence == (
        AcceptedAnswers(0.5, 0.5, 0.5), AcceptedAnswers(0.7, 0.25, 1.0),
        AcceptedAnswers(0.9, 0.25, 1.0),
    )  # fmt: skip
    # One bin of two answers, 0.9 and 0.6, of which one is correct.
    assert scores.calibration is not None
    assert scores.calibration.expected_calibration_error == pytest.approx(0.25)
    assert scores.query_confidence == (0.9, 0.6, None, None)
    assert scores.query_xy_m == ((0.0, 0.0), (10.0, 0.0), (20.0, 0.0), (30.0, 0.0))
    assert scores.heading_within_15_deg == 0.5, "of two that are near, one faces backwards"
    low, high = scores.recall_at_1_interval
    assert low < 0.05 and high > 0.8, "thirty metres of one street"
    assert (scores.num_queries, scores.num_answered) == (4, 3)
    assert (scores.num_places, scores.num_headings) == (2, 4)
    assert scores.median_position_error_m == pytest.approx(1.0)
    assert scores.median_heading_error_deg == pytest.approx(5.0)
    assert scores.latency_ms_p50 == pytest.approx(200.0)
    assert scores.latency_ms_p95 == pytest.approx(290.0)


def test_without_answers_errors_are_unknown_and_recall_is_zero() -> None:
    drive = LocalizedDrive.join({0: pose(0, 0, 0)}, {0: 5}, {})
    scores = drive.score(np.zeros((1, 3)), np.zeros(1), Tolerance())
    assert scores.recall_at_1 == 0.0
    assert scores.median_position_error_m is None and scores.heading_within_15_deg is None
    assert scores.latency_ms_p50 is None
    assert scores.best_f1 is None and scores.calibration is None


def test_reads_the_recorders_file(tmp_path: Path) -> None:
    best, second = pose(1, 2, 3).tolist(), pose(4, 5, 6).tolist()
    lines = [
        {"stamp_ns": 7, "T_map_camera": best, "candidates": [best, second], "latency_s": 0.5},
        {
            "stamp_ns": 8,
            "T_map_camera": best,
            "candidates": None,
            "latency_s": None,
            "confidence": 1,
        },
    ]
    path = tmp_path / "answers.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    answers = read_answers(path)
    np.testing.assert_array_equal(answers[7].candidates, [best, second])
    assert answers[7].latency_s == 0.5
    assert answers[8].candidates.shape == (1, 4, 4)
    assert np.isnan(answers[8].latency_s)
    assert np.isnan(answers[7].confidence) and answers[8].confidence == 1.0


def test_refusals(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    with pytest.raises(DatasetError, match="no answers in"):
        read_answers(path)
    for text in ("{", '{"stamp_ns": 1}', "[1]"):
        path.write_text(text)
        with pytest.raises(DatasetError, match="line 1 is not an answer"):
            read_answers(path)
    record = {"stamp_ns": 1, "T_map_camera": [1.0], "candidates": None, "latency_s": None}
    path.write_text(json.dumps(record))
    with pytest.raises(DatasetError, match=r"not \(K, 4, 4\)"):
        read_answers(path)
    with pytest.raises(ShapeError, match="at least one query"):
        LocalizedDrive((), np.zeros((0, 4, 4)), np.zeros((0, 1, 4, 4)), *np.zeros((2, 0)))
    with pytest.raises(ShapeError, match="T_map_camera"):
        LocalizedDrive((1,), np.zeros((4, 4)), np.zeros((1, 1, 4, 4)), *np.zeros((2, 1)))
    with pytest.raises(ShapeError, match="candidates"):
        LocalizedDrive((1,), np.zeros((1, 4, 4)), np.zeros((1, 4, 4)), *np.zeros((2, 1)))
