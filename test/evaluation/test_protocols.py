"""Protocols: which places may answer, and what a file of predictions refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from camera_poses import level_camera_pose
from circle_drive import CircleDrive
from scored_drives import provenance

from scmpr_ros.cli import evaluate as evaluate_script
from scmpr_ros.datasets.kitti.writer import write_drive_kitti
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.evaluation import evaluate
from scmpr_ros.evaluation.evaluate import EvaluationConfig
from scmpr_ros.evaluation.localized_drive import Answer, LocalizedDrive
from scmpr_ros.evaluation.predictions import Predictions
from scmpr_ros.evaluation.protocols import PROTOCOLS, find_protocol
from scmpr_ros.geometry import make_transform
from scmpr_ros.methods.network import PlaceNetwork

REVISIT, RANGEBEV, SCMPR = (PROTOCOLS[name] for name in ("revisit", "rangebev", "scmpr"))


def test_which_scans_may_answer() -> None:
    frames, stamps_s = np.arange(4), np.array([0.0, 5.0, 12.0, 15.0])
    assert SCMPR.allowed_places(3, 15.0, frames, stamps_s).all()
    assert RANGEBEV.allowed_places(3, 15.0, frames, stamps_s).tolist() == [True, True, True, False]
    assert REVISIT.allowed_places(3, 15.0, frames, stamps_s).tolist() == [True, False, False, False]
    assert REVISIT.allowed_places(2, 10.0, frames, stamps_s).sum() == 0, "more than ten seconds"


def test_published_codes_drop_a_horizontal_axis() -> None:
    """In KITTI's camera frame (x right, y down, z ahead) LIP-Loc takes y, z; ModaLink x, y."""
    assert PROTOCOLS["lip_loc"].tolerance.axes == (0, 1)
    assert PROTOCOLS["lip_loc"].code_faithful().tolerance.axes == (0, 2)
    assert PROTOCOLS["modalink"].code_faithful().rules().distance_axes == "yz"
    with pytest.raises(ConfigError, match="no protocol 'best'; choose one of scmpr, lip_loc"):
        find_protocol("best")


def pose(x: float) -> np.ndarray:
    return level_camera_pose(np.array([x, 0.0, 1.6]), 0.0)


def answered(answer_m: float, protocol=REVISIT) -> Predictions:
    """A road driven twice, at 0 to 2 s and at 20 to 22 s; all queries answer `answer_m`."""
    x, stamps_s = np.array([0.0, 50, 100, 0, 50, 200]), np.array([0.0, 1, 2, 20, 21, 22])
    frames = np.arange(6)
    truth = {f: pose(x[f]) for f in range(6)}
    answers = {f: Answer(pose(answer_m)[None], 0.1, 0.5) for f in range(6)}
    allowed = np.stack([protocol.allowed_places(f, stamps_s[f], frames, stamps_s) for f in frames])
    positions = np.stack([x, 0 * x, 0 * x], axis=1)
    drive = LocalizedDrive.join(truth, {f: f for f in truth}, answers)
    return Predictions(
        drive, positions, np.zeros(1), allowed, provenance(drive="00", database="scans"),
        protocol.include_self, protocol.min_gap_s,
    )  # fmt: skip


def test_only_revisits_are_scored_and_the_rules_stand_beside() -> None:
    result = answered(0.0).score(REVISIT)
    # Frames 3 and 4 come back; 0 to 2 are new, and so is 5, which lies elsewhere.
    assert result.scores.num_queries == 2 and result.scores.recall_at_1 == 0.5
    assert result.scores.chance == pytest.approx(1 / 3), "of the three scans that are old enough"
    rules = result.rules
    assert (rules.protocol, rules.min_gap_s, rules.include_self) == ("revisit", 10.0, False)
    assert rules.distance_axes == "xy" and rules.radius_m == 5.0


def test_the_identical_frame_cannot_raise_a_revisit_score() -> None:
    """Frame 2 is passed once: its own scan is correct by scmpr, and no query by revisit."""
    assert answered(100.0, SCMPR).score(SCMPR).scores.recall_at_1 == pytest.approx(1 / 6)
    assert answered(100.0).score(REVISIT).scores.recall_at_1 == 0
    assert not answered(100.0).allowed[2, 2]


def test_predictions_of_other_rules_are_refused() -> None:
    with pytest.raises(ConfigError, match="with include_self True, but protocol revisit"):
        answered(0.0, SCMPR).score(REVISIT)
    with pytest.raises(ConfigError, match="predict them again"):
        answered(0.0, RANGEBEV).score(REVISIT)
    nothing = answered(0.0)
    nothing.allowed[:] = False
    with pytest.raises(DatasetError, match="none of its 6 queries is a revisit"):
        nothing.score(REVISIT)


def test_predictions_come_back_from_their_file(tmp_path: Path) -> None:
    path, before = tmp_path / "new" / "answers.safetensors", answered(0.0)
    before.save(path)
    after = Predictions.load(path)
    assert after.score(REVISIT) == before.score(REVISIT)
    assert (after.include_self, after.min_gap_s) == (False, 10.0)
    np.testing.assert_array_equal(after.allowed, before.allowed)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DatasetError, match="holds no predictions"):
        Predictions.load(path)
    with pytest.raises(DatasetError, match="holds no predictions"):
        Predictions.load(tmp_path / "none.safetensors")


def test_a_drive_is_evaluated_among_its_own_scans(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drive = CircleDrive()
    write_drive_kitti(drive, tmp_path / "kitti", "00")
    arguments = [
        str(tmp_path / "kitti"), "--checkpoint", str(checkpoint), "--sequences", "00",
        "--protocol", "scmpr", "--predictions", str(tmp_path / "kept"), "--out",
        str(tmp_path / "numbers.json"), "--settings.localizer.belief.cluster_radius_m", "50",
        "--settings.localizer.belief.cluster_heading_deg", "180",
    ]  # fmt: skip
    assert evaluate_script.main(arguments) == 0
    (numbers,) = json.loads((tmp_path / "numbers.json").read_text())
    assert numbers["num_queries"] == len(drive.image_frames)
    assert numbers["num_places"] == len(drive.scan_frames)
    assert (numbers["database"], numbers["pose_source"]) == ("scans", "poses/00.txt")
    assert "kitti/00" in capsys.readouterr().out

    (kept,) = (tmp_path / "kept").iterdir()
    answers = Predictions.load(kept)
    found = answers.drive.candidates[..., :3, 3].reshape(-1, 1, 3)
    off_m = np.linalg.norm(found - answers.positions, axis=2).min(1)
    assert off_m.max() < 1e-6, "single scans, not the mean of neighbours"
    again = [str(kept), "--score", "--protocol", "lip_loc", "--code_faithful"]
    assert evaluate_script.main([*again, "--out", str(tmp_path / "numbers.json")]) == 0
    (rescored,) = json.loads((tmp_path / "numbers.json").read_text())
    assert rescored["recall_at_1"] >= numbers["recall_at_1"], "20 m instead of 5"
    assert rescored["distance_axes"] == "xz"
    assert evaluate_script.main([str(kept), "--score", "--protocol", "revisit"]) == 1
    assert "predict them again" in capsys.readouterr().err


VXP = PROTOCOLS["vxp"]
NAME_OF_00 = "2011_10_03_drive_0027_sync"


def test_keyframes_are_20_m_apart() -> None:
    along = np.stack([np.arange(0, 100, 7.0), np.zeros(15), np.zeros(15)], axis=1)
    assert along[VXP.keyframes(along), 0].tolist() == [0, 21, 42, 63, 84]
    assert len(REVISIT.keyframes(along)) == 15
    assert len(VXP.keyframes(np.zeros((0, 3)))) == 0


def test_vxp_queries_lie_in_its_squares() -> None:
    origin = np.array([613180.0, 4116330.0, 110.0])
    at = np.array([[0.0, 0, 0], [50, -50, 0], [51, 0, 0], [0, 400, 0]])
    assert VXP.in_query_regions(NAME_OF_00, at, origin).tolist() == [True, True, False, False]
    assert VXP.in_query_regions("another drive", at, None).all()
    with pytest.raises(DatasetError, match="use KITTI raw's own layout"):
        VXP.in_query_regions(NAME_OF_00, at, None)
    assert VXP.tolerance.angle_rad == pytest.approx(0.5) and VXP.rules().keyframe_m == 20.0


class RoundTrip(CircleDrive):
    """KITTI's 00 by name: east for 100 m and, after a pause, the same again."""

    name = NAME_OF_00
    origin = np.array([613130.0, 4116330.0, 0.0])
    frames = image_frames = scan_frames = tuple(range(20))

    def stamp_s(self, frame: int) -> float:
        return float(frame + 30 * (frame >= 10))

    def T_world_lidar(self, frame: int) -> np.ndarray:
        return make_transform(np.eye(3), np.array([10.0 * (frame % 10), 0.0, 0.0]))


def test_a_drive_by_the_rules_of_vxp(
    network: PlaceNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "open_drives", lambda *_: [RoundTrip()])
    answers = evaluate.predict_in_scans(tmp_path, NAME_OF_00, VXP, network, EvaluationConfig())
    # Travelled: 90 m, 90 m back in one leap, 90 m; a keyframe for every 20 m of them.
    assert answers.drive.frames == tuple(range(0, 20, 2))
    assert len(answers.positions) == 10
    scores = answers.score(VXP).scores
    assert scores.num_queries == 5, "the second time, each with its place seen before"
    assert not answers.allowed[:5].any() and answers.allowed[5:, :5].all()
