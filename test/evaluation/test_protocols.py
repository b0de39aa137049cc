"""Protocols: who may answer, by hand, and what a file of predictions refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from circle_drive import CircleDrive

from scmpr_ros.cli import evaluate as evaluate_script
from scmpr_ros.datasets.kitti.writer import write_drive_kitti
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.evaluation.localized_drive import Answer, LocalizedDrive
from scmpr_ros.evaluation.predictions import Predictions
from scmpr_ros.evaluation.protocols import PROTOCOLS, find_protocol
from scmpr_ros.geometry import AngularGrid, level_camera_pose
from scmpr_ros.networks.checkpoint import save_checkpoint
from scmpr_ros.networks.scmpr import ScmprConfig, ScmprNetwork

REVISIT, RANGEBEV, SCMPR = (PROTOCOLS[name] for name in ("revisit", "rangebev", "scmpr"))


def test_who_may_answer() -> None:
    frames, stamps_s = np.arange(4), np.array([0.0, 5.0, 12.0, 15.0])
    assert SCMPR.may_answer(3, 15.0, frames, stamps_s).all()
    assert RANGEBEV.may_answer(3, 15.0, frames, stamps_s).tolist() == [True, True, True, False]
    assert REVISIT.may_answer(3, 15.0, frames, stamps_s).tolist() == [True, False, False, False]
    assert REVISIT.may_answer(2, 10.0, frames, stamps_s).sum() == 0, "more than ten seconds"


def test_published_codes_drop_a_horizontal_axis() -> None:
    """In KITTI's camera frame (x right, y down, z ahead) LIP-Loc takes y, z; ModaLink x, y."""
    assert PROTOCOLS["lip_loc"].tolerance.axes == (0, 1)
    assert PROTOCOLS["lip_loc"].code_faithful().tolerance.axes == (0, 2)
    assert PROTOCOLS["modalink"].code_faithful().rules()["distance_axes"] == "yz"
    with pytest.raises(ConfigError, match="no protocol 'best'; there are scmpr, lip_loc"):
        find_protocol("best")


def pose(x: float) -> np.ndarray:
    return level_camera_pose(np.array([x, 0.0, 1.6]), 0.0)


def answered(answer_m: float, protocol=REVISIT) -> Predictions:
    """A road driven twice, at 0 to 2 s and at 20 to 22 s; all queries answer `answer_m`."""
    x, stamps_s = np.array([0.0, 50, 100, 0, 50, 200]), np.array([0.0, 1, 2, 20, 21, 22])
    frames = np.arange(6)
    truth = {f: pose(x[f]) for f in range(6)}
    answers = {f: Answer(pose(answer_m)[None], 0.1, 0.5) for f in range(6)}
    allowed = np.stack([protocol.may_answer(f, stamps_s[f], frames, stamps_s) for f in frames])
    facts = {"drive": "00", "include_self": protocol.include_self, "min_gap_s": protocol.min_gap_s}
    positions = np.stack([x, 0 * x, 0 * x], axis=1)
    drive = LocalizedDrive.join(truth, {f: f for f in truth}, answers)
    return Predictions(drive, positions, np.zeros(1), allowed, facts)


def test_only_revisits_are_asked_for_and_the_rules_stand_beside() -> None:
    scores = answered(0.0).score(REVISIT)
    # Frames 3 and 4 come back; 0 to 2 are new, and so is 5, which lies elsewhere.
    assert scores["num_queries"] == 2 and scores["recall_at_1"] == 0.5
    assert scores["chance"] == pytest.approx(1 / 3), "of the three scans that are old enough"
    assert (scores["protocol"], scores["min_gap_s"], scores["include_self"]) == (
        "revisit", 10.0, False
    )  # fmt: skip
    assert scores["distance_axes"] == "xy" and scores["radius_m"] == 5.0


def test_the_identical_frame_cannot_raise_a_revisit_score() -> None:
    """Frame 2 is met once only: whoever finds itself there is right by scmpr, unasked here."""
    assert answered(100.0, SCMPR).score(SCMPR)["recall_at_1"] == pytest.approx(1 / 6)
    assert answered(100.0).score(REVISIT)["recall_at_1"] == 0
    assert not answered(100.0).allowed[2, 2]


def test_predictions_of_other_rules_are_refused() -> None:
    with pytest.raises(ConfigError, match="given with include_self True, protocol revisit"):
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
    assert after.facts == before.facts and after.score(REVISIT) == before.score(REVISIT)
    np.testing.assert_array_equal(after.allowed, before.allowed)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DatasetError, match="holds no predictions"):
        Predictions.load(path)
    with pytest.raises(DatasetError, match="holds no predictions"):
        Predictions.load(tmp_path / "none.safetensors")


def test_a_drive_is_evaluated_among_its_own_scans(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    grids = AngularGrid(32, 64, 12.0, -15.0, 80.0), AngularGrid(8, 120, 16.0, -16.0)
    save_checkpoint(ScmprNetwork(ScmprConfig(view=grids[0], panorama=grids[1])), tmp_path / "w")
    drive = CircleDrive()
    write_drive_kitti(drive, tmp_path / "kitti", "00")
    arguments = [
        str(tmp_path / "kitti"), "--checkpoint", str(tmp_path / "w"), "--sequences", "00",
        "--protocol", "scmpr", "--predictions", str(tmp_path / "kept"), "--out",
        str(tmp_path / "numbers.json"),
    ]  # fmt: skip
    assert evaluate_script.main(arguments) == 0
    (numbers,) = json.loads((tmp_path / "numbers.json").read_text())
    assert numbers["num_queries"] == len(drive.image_frames)
    assert numbers["num_places"] == len(drive.scan_frames)
    assert (numbers["database"], numbers["pose_source"]) == ("scans", "poses/00.txt")
    assert "kitti/00" in capsys.readouterr().out

    (kept,) = (tmp_path / "kept").iterdir()
    again = [str(kept), "--score", "--protocol", "lip_loc", "--code_faithful"]
    assert evaluate_script.main([*again, "--out", str(tmp_path / "numbers.json")]) == 0
    (rescored,) = json.loads((tmp_path / "numbers.json").read_text())
    assert rescored["recall_at_1"] >= numbers["recall_at_1"], "20 m instead of 5"
    assert rescored["distance_axes"] == "xz"
    assert evaluate_script.main([str(kept), "--score", "--protocol", "revisit"]) == 1
    assert "predict them again" in capsys.readouterr().err
