"""Answers of a running localizer are scored with the bag that was played."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from circle_drive import CircleDrive

from scmpr_ros.cli.evaluate import main
from scmpr_ros.datasets.bags.reader import BagDrive
from scmpr_ros.datasets.bags.writer import write_drive_bag
from scmpr_ros.datasets.kitti.writer import write_drive_kitti
from scmpr_ros.errors import DatasetError
from scmpr_ros.evaluation.metrics import Tolerance
from scmpr_ros.evaluation.protocols import map_protocol
from scmpr_ros.evaluation.recorded_answers import predict_from_answers
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.semantics import STATIC_IDS

PROTOCOL = map_protocol(Tolerance(5.0, 30.0))


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bags") / "circle"
    write_drive_bag(CircleDrive(), folder)
    return folder


@pytest.fixture(scope="module")
def place_map(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A map of two places with one heading."""
    folder = tmp_path_factory.mktemp("maps") / "circle"
    descriptors = np.zeros((2, 1, 4), np.float16)
    descriptors[..., 0] = 1
    PlaceMap(
        np.zeros((2, 3)), np.stack([np.eye(3)] * 2), np.zeros(1), descriptors,
        np.zeros((2, 4, 8), np.uint8), np.zeros((2, 4, 8), np.float16),
        np.eye(len(STATIC_IDS), dtype=np.float32), np.zeros((len(STATIC_IDS), 4), np.float32),
        AngularGrid(4, 8, 10.0, -10.0), "f" * 64,
    ).save(folder)  # fmt: skip
    return folder


@pytest.fixture
def answers(bag: Path, tmp_path: Path) -> Path:
    """Of six images the first is right, the second 100 m off, the others have no answer."""
    drive, lines = BagDrive(bag), []
    for frame, offset_m in zip(drive.image_frames, (0.0, 100.0), strict=False):
        T = drive.T_world_camera(frame)
        T[0, 3] += offset_m
        record = {"stamp_ns": drive.stamp_ns(frame), "T_map_camera": T.tolist(),
                  "candidates": None, "confidence": None, "latency_s": 0.1}  # fmt: skip
        lines.append(json.dumps(record) + "\n")
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(lines))
    return path


def test_images_without_an_answer_count_as_wrong(bag, place_map, answers: Path) -> None:
    result = predict_from_answers(bag, answers, place_map, PROTOCOL).score(PROTOCOL)
    assert result.scores.recall_at_1 == pytest.approx(1 / 6)
    assert result.scores.num_queries == 6
    assert result.scores.num_answered == 2
    assert result.provenance.fingerprint == "f" * 64


def test_command(bag, place_map, answers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [str(bag), "--answers", str(answers), str(place_map)]
    assert main(command) == 0
    assert "16.7%" in capsys.readouterr().out
    assert main([*command, "--protocol", "lip_loc"]) == 1
    assert "--answers takes one recording" in capsys.readouterr().err


def test_answers_of_another_bag(bag, place_map, answers: Path, tmp_path: Path) -> None:
    record = json.loads(answers.read_text().splitlines()[0])
    answers.write_text(json.dumps(record | {"stamp_ns": 5}))
    with pytest.raises(DatasetError, match=r"is it the bag that was played\?"):
        predict_from_answers(bag, answers, place_map, PROTOCOL)
    write_drive_kitti(CircleDrive(), tmp_path / "kitti", "07")
    with pytest.raises(DatasetError, match="is no bag"):
        predict_from_answers(tmp_path / "kitti", answers, place_map, PROTOCOL)
