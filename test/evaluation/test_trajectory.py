"""Tracked drives: read from a recorder's file, scored by hand, and drawn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from camera_poses import level_camera_pose
from PIL import Image
from tracked_drives import tracked_drive

from scmpr_ros.errors import DatasetError, ShapeError
from scmpr_ros.evaluation.figures import PAPER
from scmpr_ros.evaluation.state_colours import STATE_COLOURS
from scmpr_ros.evaluation.trajectory import TrackedDrive, read_tracked_drive
from scmpr_ros.evaluation.trajectory_picture import draw_trajectory, headline
from scmpr_ros.pipeline.states import LOCALIZED, LOST, TENTATIVE
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import class_id

STATES = (LOST, TENTATIVE, LOCALIZED, LOCALIZED, LOCALIZED)


def test_scores_by_hand() -> None:
    drive = tracked_drive(
        STATES, errors_m=(20.0, 4.0, 1.0, 2.0, 9.0), single_errors_m=(1, 9, 9, 9, 9)
    )
    scores = drive.score()
    assert (scores.num_images, scores.localized) == (5, 0.6)
    assert scores.right_when_localized == pytest.approx(2 / 3)
    assert (scores.right, scores.single_right) == (0.6, 0.2)
    assert scores.median_position_error_m == pytest.approx(2.0)
    assert scores.median_heading_error_deg == pytest.approx(0.0, abs=1e-6)
    assert "LOCALIZED at 60.0% of 5 images, 66.7% of these within 5 m and 15°" in headline(drive)
    assert "single images: 20.0%" in headline(drive)


def test_turned_poses_are_not_near() -> None:
    drive = tracked_drive((LOCALIZED, LOCALIZED), errors_m=(0, 0), turned_deg=16.0)
    assert not drive.near(drive.T_tracked).any()
    assert drive.score().median_heading_error_deg == pytest.approx(16.0)


def test_never_localized() -> None:
    scores = tracked_drive((LOST,), errors_m=(0.5,)).score()
    assert scores.right_when_localized is None and scores.median_position_error_m is None
    assert headline(tracked_drive((LOST,), errors_m=(0.5,))).startswith("never LOCALIZED")


def test_arrays_must_fit_together() -> None:
    arrays = vars(tracked_drive(STATES))
    with pytest.raises(ShapeError, match=r"covariance: expected \(5, 6, 6\), got \(4, 6, 6\)"):
        TrackedDrive(**{**arrays, "covariance": arrays["covariance"][:4]})
    with pytest.raises(ShapeError, match="at least one image"):
        TrackedDrive(**{name: values[:0] for name, values in arrays.items()})


def line(stamp_ns: int, x: float, state: str | None = LOCALIZED) -> str:
    pose = level_camera_pose(np.array([x, 0, 0]), 0.0).tolist()
    return json.dumps(
        {
            "stamp_ns": stamp_ns, "T_map_camera": pose, "covariance": np.eye(6).tolist(),
            "latency_s": 0.1, "state": state, "near_probability": 0.9,
            "off_map_probability": 0.01, "candidates": [pose], "confidence": 0.5,
        }
    )  # fmt: skip


def test_answers_are_paired_with_the_truth(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text(
        "\n".join([line(2 * 10**9, 2), line(10**9, 1), line(99, 9), line(3 * 10**9, 3, None)])
    )
    truth = {7: np.eye(4), 8: 2 * np.eye(4), 9: 3 * np.eye(4)}
    drive = read_tracked_drive(path, truth, {7: 10**9, 8: 2 * 10**9, 9: 3 * 10**9})
    assert drive.stamps_s.tolist() == [1.0, 2.0], "in the order of time; others are left out"
    assert drive.T_true[:, 0, 0].tolist() == [1.0, 2.0]
    assert drive.T_tracked[:, 0, 3].tolist() == drive.T_single[:, 0, 3].tolist() == [1.0, 2.0]
    assert drive.near_probability.tolist() == [0.9, 0.9] and drive.state.tolist() == [LOCALIZED] * 2


def test_unusable_answers_are_named(tmp_path: Path) -> None:
    path, truth, stamps_ns = tmp_path / "answers.jsonl", {0: np.eye(4)}, {0: 5}
    with pytest.raises(DatasetError, match="no answers in"):
        read_tracked_drive(path, truth, stamps_ns)
    path.write_text(line(6, 0.0))
    with pytest.raises(DatasetError, match="no tracked pose of any of the 1 images"):
        read_tracked_drive(path, truth, stamps_ns)
    path.write_text('{"stamp_ns": 5}')
    with pytest.raises(DatasetError, match="line 1 is not an answer"):
        read_tracked_drive(path, truth, stamps_ns)


@pytest.mark.parametrize("states", [STATES * 12, (LOST, LOST), (LOCALIZED,)])
def test_every_kind_of_drive_is_drawn(tmp_path: Path, states: tuple[str, ...]) -> None:
    path = tmp_path / "new" / "trajectory.png"
    drive = tracked_drive(states)
    rng = np.random.default_rng(0)
    xyz = rng.uniform((-20, -20, 0), (60, 60, 5), (4000, 3)).astype(np.float32)
    cloud = PointCloud(xyz, np.full(len(xyz), class_id("building"), np.uint8))
    draw_trajectory(drive, drive.T_true[:, :3, 3], path, cloud)
    assert [p.name for p in path.parent.iterdir()] == ["trajectory.png"]
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    paper = np.array(list(bytes.fromhex(PAPER[1:])))
    for state, colour in STATE_COLOURS.items():  # each is a band of the background
        band = 0.16 * np.array(list(bytes.fromhex(colour[1:]))) + 0.84 * paper
        assert (np.abs(pixels - band).max(axis=1) < 3).any() == (state in states), state


def test_draws_without_a_background(tmp_path: Path) -> None:
    drive = tracked_drive(STATES)
    draw_trajectory(drive, drive.T_true[:, :3, 3], tmp_path / "plain.png")
    assert (tmp_path / "plain.png").stat().st_size > 10_000
