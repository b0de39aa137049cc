"""Evaluation without ROS, and the console scripts around it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from recording import write_recording

from scmpr_ros.cli import build_map as build_map_script
from scmpr_ros.cli import evaluate as evaluate_script
from scmpr_ros.errors import DatasetError
from scmpr_ros.evaluation.evaluate import EvaluationConfig, evaluate_recording
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.lidar.places import PlacesConfig
from scmpr_ros.methods.checkpoint import load_checkpoint, save_checkpoint
from scmpr_ros.methods.scmpr.network import ScmprConfig, ScmprNetwork
from scmpr_ros.pipeline.map_builder import MapBuilderConfig
from scmpr_ros.pipeline.map_source import MapSourceConfig
from scmpr_ros.retrieval.place_map import PlaceMap

TINY = ScmprConfig(
    view=AngularGrid(32, 64, 12.0, -15.0, 80.0), panorama=AngularGrid(8, 120, 16.0, -16.0)
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_checkpoint(ScmprNetwork(TINY), path)
    return path


def test_every_image_is_counted(recordings: Path, checkpoint: Path) -> None:
    network = load_checkpoint(checkpoint)
    (summary,) = evaluate_recording(recordings / "0000", network, EvaluationConfig())
    assert summary["num_queries"] == summary["num_answered"] == 12
    assert summary["num_places"] == 12  # 22.5 m, one every 2 m
    # By hand: within 5 m lie five places in the middle and fewer at the ends, of 12; within
    # 30 degrees lie 5 of 30 headings.
    assert 3 / 12 * 5 / 30 <= summary["chance"] <= 5 / 12 * 5 / 30
    assert 0 <= summary["recall_at_1"] <= summary["recall_at_5"] <= 1
    assert summary["latency_ms_p50"] > 0


def test_scripts_write_what_they_say(
    recordings: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = str(recordings / "0000"), tmp_path / "map"
    assert build_map_script.main([folder, str(out), "--checkpoint", str(checkpoint)]) == 0
    assert len(PlaceMap.load(out)) == 12
    numbers = tmp_path / "numbers.json"
    arguments = [folder, "--checkpoint", str(checkpoint), "--out", str(numbers)]
    assert evaluate_script.main(arguments) == 0
    (summary,) = json.loads(numbers.read_text())
    assert summary["recording"] == "0000" and np.isfinite(summary["recall_at_1"])
    assert "0000" in capsys.readouterr().out


def test_mistakes_are_one_line(
    recordings: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate_script.main([str(tmp_path), "--checkpoint", str(checkpoint)]) == 1
    assert capsys.readouterr().err.startswith("evaluate: ")
    nowhere = ["--checkpoint", str(tmp_path / "nowhere.safetensors")]
    assert build_map_script.main([str(recordings / "0000"), str(tmp_path / "m"), *nowhere]) == 1
    assert "no such checkpoint" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        build_map_script.main(["a", "b", "--settings.builder.colour", "red"])


def test_a_folder_without_images_is_named(
    recordings: Path, checkpoint: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "0002"
    (folder / "sequences").mkdir(parents=True)
    (folder / "sequences" / "00").symlink_to(recordings / "0000" / "sequences" / "00")
    (folder / "poses").symlink_to(recordings / "0000" / "poses")
    (folder / "map.ply").symlink_to(recordings / "0000" / "map.ply")
    with pytest.raises(DatasetError, match=r"none of its 1 drives has images to localise \(00\)"):
        evaluate_recording(folder, load_checkpoint(checkpoint), EvaluationConfig())


def test_a_damaged_image_can_be_left_out(checkpoint: Path, tmp_path: Path, caplog) -> None:
    folder = write_recording(tmp_path / "0003", seed=0, images=4)
    (folder / "sequences/01/image_2/000002.png").write_bytes(b"none")
    network = load_checkpoint(checkpoint)
    with pytest.raises(DatasetError, match=r"cannot read image .*000002\.png"):
        evaluate_recording(folder, network, EvaluationConfig())
    (summary,) = evaluate_recording(folder, network, EvaluationConfig(skip_bad=True))
    assert summary["num_queries"] == summary["num_answered"] == 3
    assert "left out frame 2: " in caplog.text


def test_the_mapped_drive_is_asked_first(checkpoint: Path, tmp_path: Path) -> None:
    """Each drive may have a world of its own; the one that was mapped is in the map's."""
    folder = write_recording(tmp_path / "0004", seed=0, images=4)
    two = folder / "sequences" / "02"
    two.symlink_to(folder / "sequences" / "01")
    (folder / "poses/02.txt").write_text((folder / "poses/01.txt").read_text().splitlines()[0])
    config = EvaluationConfig(source=MapSourceConfig(sequence="02"))
    (summary,) = evaluate_recording(folder, load_checkpoint(checkpoint), config)
    assert summary["num_queries"] == 1


def test_all_drives_of_a_prebuilt_map_are_localised(checkpoint: Path, tmp_path: Path) -> None:
    folder = write_recording(tmp_path / "0005", seed=0, images=4)
    (folder / "sequences" / "02").symlink_to(folder / "sequences" / "01")
    (folder / "poses/02.txt").write_bytes((folder / "poses/01.txt").read_bytes())
    (folder / "town.yaml").write_text("conditions: [overcast/summer, clear/summer, night/winter]")
    results = evaluate_recording(folder, load_checkpoint(checkpoint), EvaluationConfig())
    assert [(r["drive"], r["condition"]) for r in results] == [
        ("01", "clear/summer"), ("02", "night/winter")
    ]  # fmt: skip
    assert results[0]["pose_source"] == "poses/01.txt"
    assert results[0]["recall_at_1"] == results[1]["recall_at_1"]


def test_both_segmenters_are_measured_if_asked(checkpoint: Path, tmp_path: Path) -> None:
    folder = write_recording(tmp_path / "0006", seed=0, images=4)
    network = load_checkpoint(checkpoint)
    (silent,) = evaluate_recording(folder, network, EvaluationConfig())
    assert silent["image_miou"] is None and silent["map_miou"] is None
    (told,) = evaluate_recording(folder, network, EvaluationConfig(segmenters=True))
    assert set(told["image_iou"]) == {"building", "road"}  # all that its masks show
    assert 0 <= told["image_miou"] < 1
    assert told["map_iou"]["road"] > 0.9 > told["map_miou"] > 0


def test_the_real_kitti360_sample(checkpoint: Path, shared_data: Path) -> None:
    """Twenty scans, far apart along 2 km: a map of places every 50 m, and the twenty images."""
    config = EvaluationConfig(builder=MapBuilderConfig(places=PlacesConfig(spacing_m=50.0)))
    network = load_checkpoint(checkpoint)
    (summary,) = evaluate_recording(shared_data / "kitti360_sample", network, config)
    assert summary["num_queries"] == summary["num_answered"] == 20
    assert 30 < summary["num_places"] < 60
