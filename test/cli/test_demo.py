"""The demo from end to end on a very small town, and what it refuses."""

from __future__ import annotations

import contextlib
import json
from dataclasses import fields
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image
from recording import write_recording
from tiny_runs import TINY

from scmpr_ros.cli import demo
from scmpr_ros.cli.make_town import make_towns
from scmpr_ros.datasets.town_files import SEEDS
from scmpr_ros.errors import ConfigError
from scmpr_ros.evaluation.result import Scores
from scmpr_ros.methods.checkpoint import save_checkpoint
from scmpr_ros.methods.scmpr.network import ScmprNetwork
from scmpr_ros.resources import FASTDDS_PROFILE, resource
from scmpr_ros.town.drives import DriveConfig
from scmpr_ros.town.export import TownExportConfig
from scmpr_ros.town.sensors.lidar import LidarConfig
from scmpr_ros.town.streets.network import StreetNetworkConfig
from scmpr_ros.town.traversal import TraversalConfig
from scmpr_ros.town.world import TownConfig

KEYS = {field.name for field in fields(Scores)} | {
    "tracked", "odometry", "data", "map", "seed", "zero_shot", "checkpoint", "fingerprint",
    "duration_s",
}  # fmt: skip
SMALL = TownExportConfig(
    image_width=186, image_height=56, lidar=LidarConfig(rings=16, columns=256),
    town=TownConfig(StreetNetworkConfig(columns=2, rows=2)),
    traversals=(
        TraversalConfig(images=False, drive=DriveConfig(spacing_m=2.0, length_m=40.0)),
        TraversalConfig(1, scans=False, drive=DriveConfig(spacing_m=10.0, length_m=40.0)),
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "untrained.safetensors"
    save_checkpoint(ScmprNetwork(TINY), path)
    return path


def processes_of(folder: Path) -> list[str]:
    """Command lines that name a folder; this process' own names none."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    return [line for line in lines if str(folder) in line]


@pytest.mark.end_to_end
def test_demo_on_a_small_town(
    tmp_path: Path, untrained: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    """Everything is real but the training: towns, bag, nodes, DDS, score and picture."""
    monkeypatch.setattr(demo, "TOWN", SMALL)
    monkeypatch.setattr(demo, "make_towns", partial(make_towns, jobs=1))  # prepares the town once
    assert demo.main(["--out", str(tmp_path / "out"), "--checkpoint", str(untrained)]) == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert set(summary) == KEYS
    assert summary["num_answered"] == summary["num_queries"] >= 4
    assert 0 < summary["chance"] < 0.5
    assert 0 < summary["latency_ms_p50"] <= summary["latency_ms_p95"]
    assert summary["seed"] in SEEDS["test"]
    assert summary["tracked"]["num_images"] == summary["num_queries"]
    assert summary["odometry"]["drift"] > 0
    for name in ("report.png", "trajectory.png"):
        with Image.open(tmp_path / "out" / name) as picture:
            assert picture.width > 1500
    assert "Recall@1" in capfd.readouterr().out
    assert not processes_of(tmp_path), "a node outlived the demo"


def test_refusals(
    tmp_path: Path, untrained: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert demo.main(["--checkpoint", "gone.safetensors"]) == 1
    assert "no checkpoint gone.safetensors" in capsys.readouterr().err
    assert not (tmp_path / "out").exists(), "refused before anything was written"
    weights = ["--checkpoint", str(untrained)]
    assert demo.main([*weights, "--seed", str(SEEDS["train"][0])]) == 1
    assert "is not a test town" in capsys.readouterr().err
    assert demo.main([*weights, "--data", "nowhere"]) == 1
    assert "nowhere" in capsys.readouterr().err
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").touch()
    assert demo.main([*weights, "--out", "home"]) == 1
    assert "not the output of a demo" in capsys.readouterr().err
    assert (tmp_path / "home" / "thesis.tex").exists()
    two = write_recording(tmp_path / "two", seed=0, images=2)
    (two / "sequences" / "02").symlink_to(two / "sequences" / "01")
    (two / "poses" / "02.txt").symlink_to(two / "poses" / "01.txt")
    assert demo.main([*weights, "--data", "two"]) == 1
    assert "2 sequences with images (01, 02): name one with --sequence" in capsys.readouterr().err


def test_resources_lie_beside_the_package_or_in_its_share_folder(tmp_path: Path) -> None:
    assert resource(FASTDDS_PROFILE).is_file()
    with pytest.raises(ConfigError, match=r"models/none.*install it again"):
        resource("models/none.safetensors")


def test_help_names_the_options(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit, match="0"):
        demo.main(["--help"])
    assert "--data" in capsys.readouterr().out
