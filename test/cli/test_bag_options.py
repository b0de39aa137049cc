"""Every command that takes a recording takes the same options for bags."""

from __future__ import annotations

import importlib
from dataclasses import fields
from pathlib import Path

import pytest
from robot_bags import camera, lidar, mounting, odom, write

from scmpr_ros.cli import build_map, convert
from scmpr_ros.config import flatten
from scmpr_ros.datasets.bags.options import BagReaderConfig
from scmpr_ros.evaluation.suite.entry import RecordingEntry
from scmpr_ros.evaluation.suite.off_map import OffMapEntry
from scmpr_ros.pipeline.map_source import MapSourceConfig

TIMES = [0.0, 0.1, 0.2]


@pytest.mark.parametrize(
    ("command", "prefix"),
    [
        *((name, "bag") for name in ("adapt", "build_map", "compare_drives", "convert", "demo")),
        *((name, "bag") for name in ("diagnose", "evaluate", "train")),
        ("ablate", "train.bag"),
    ],
)
def test_help_lists_them(command: str, prefix: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit, match="0"):
        importlib.import_module(f"scmpr_ros.cli.{command}").main(["--help"])
    text = capsys.readouterr().out
    for key in flatten(BagReaderConfig()):
        assert f"--{prefix}.{key}" in text
    assert f"--{prefix} " in text


@pytest.mark.parametrize("cls", [MapSourceConfig, RecordingEntry, OffMapEntry])
def test_settings_hold_them(cls: type) -> None:
    assert "bag" in {field.name for field in fields(cls)}


def test_option_file_and_bag_yaml_in_this_order(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    bag = write(
        tmp_path / "b", lidar(TIMES), lidar(TIMES, "/rear"), camera(TIMES), odom(TIMES), mounting()
    )
    arguments = [str(bag), str(tmp_path / "kitti")]
    assert convert.main(arguments) == 1
    assert "2 topics could be the points topic" in capsys.readouterr().err
    (bag / "bag.yaml").write_text("topics: {points: /of_bag}")
    assert convert.main(arguments) == 1
    assert "no messages of topic /of_bag" in capsys.readouterr().err
    (tmp_path / "options.yaml").write_text("topics: {points: /of_file}")
    arguments += ["--bag", str(tmp_path / "options.yaml")]
    assert convert.main(arguments) == 1
    assert "no messages of topic /of_file" in capsys.readouterr().err
    assert convert.main([*arguments, "--bag.topics.points", "/rear"]) == 0


def test_settings_of_build_map_keep_theirs(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    bag = write(tmp_path / "b", lidar(TIMES), odom(TIMES), mounting())
    (tmp_path / "s.yaml").write_text("source: {bag: {topics: {points: /of_settings}}}")
    arguments = [str(bag), str(tmp_path / "map"), "--settings", str(tmp_path / "s.yaml")]
    assert build_map.main(arguments) == 1
    assert "no messages of topic /of_settings" in capsys.readouterr().err
    assert build_map.main([*arguments, "--bag.topics.points", "/given"]) == 1
    assert "no messages of topic /given" in capsys.readouterr().err


@pytest.mark.slow
def test_every_command_passes_them_on(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    bag = write(tmp_path / "b", lidar(TIMES), camera(TIMES), odom(TIMES), mounting())
    for command, arguments in {
        "compare_drives": [f"{bag},{bag}", "--out", str(tmp_path / "c")],
        "evaluate": [str(bag)],
        "evaluate_trajectory": [str(bag), "--trajectory"],
        "build_map": [str(bag), str(tmp_path / "map")],
        "demo": ["--data", str(bag), "--out", str(tmp_path / "demo")],
        "diagnose": [str(bag)],
        "train": ["--recordings", str(bag), "--out", str(tmp_path / "train")],
        "adapt": ["--recordings", str(bag), "--out", str(tmp_path / "adapt")],
    }.items():
        name = command.partition("_trajectory")[0]
        main = importlib.import_module(f"scmpr_ros.cli.{name}").main
        assert main([*arguments, "--bag.topics.pose", "/nowhere"]) == 1, command
        assert "no messages of topic /nowhere; it has" in capsys.readouterr().err, command
