"""The demo from end to end on a very small town, and what it refuses."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from recording import write_recording

from scmpr_ros.cli import demo
from scmpr_ros.datasets.town_files import SEEDS
from scmpr_ros.errors import ConfigError
from scmpr_ros.methods.checkpoint import save_checkpoint
from scmpr_ros.methods.scmpr.network import ScmprConfig, ScmprNetwork
from scmpr_ros.resources import FASTDDS_PROFILE, resource
from scmpr_ros.town.drives import DriveConfig
from scmpr_ros.town.export import TownExportConfig
from scmpr_ros.town.sensors.lidar import LidarConfig
from scmpr_ros.town.traversal import TraversalConfig

KEYS = {
    "recall_at_1", "recall_at_1_interval", "recall_at_5", "recall_at_10", "recall_at_1_percent",
    "first_right_rank",
    "best_f1", "by_confidence", "heading_within_15_deg", "chance", "radius_m",
    "num_queries", "num_places",
    "median_position_error_m", "median_heading_error_deg", "latency_ms_p50", "latency_ms_p95",
    "max_heading_error_deg", "num_answered", "num_headings", "data", "map", "seed", "zero_shot",
    "checkpoint", "fingerprint", "duration_s",
}  # fmt: skip


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "untrained.safetensors"
    save_checkpoint(ScmprNetwork(ScmprConfig()), path)
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
    small = TownExportConfig(
        image_width=186,
        image_height=56,
        lidar=LidarConfig(rings=16, columns=256),
        traversals=(
            TraversalConfig(images=False, drive=DriveConfig(spacing_m=2.0, length_m=40.0)),
            TraversalConfig(1, scans=False, drive=DriveConfig(spacing_m=10.0, length_m=40.0)),
        ),
    )
    monkeypatch.setattr(demo, "TOWN", small)
    assert demo.main(["--out", str(tmp_path / "out"), "--checkpoint", str(untrained)]) == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert set(summary) == KEYS
    assert summary["num_answered"] == summary["num_queries"] >= 4
    assert 0 < summary["chance"] < 0.5
    assert 0 < summary["latency_ms_p50"] <= summary["latency_ms_p95"]
    assert summary["seed"] in SEEDS["test"]
    with Image.open(tmp_path / "out" / "report.png") as picture:
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
    assert "none of a test town" in capsys.readouterr().err
    assert demo.main([*weights, "--data", "nowhere"]) == 1
    assert "nowhere" in capsys.readouterr().err
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").touch()
    assert demo.main([*weights, "--out", "home"]) == 1
    assert "not of an earlier demo" in capsys.readouterr().err
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


def test_is_a_console_script() -> None:
    command = [sys.executable, "-m", "scmpr_ros.cli.demo", "--help"]
    answer = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))
    assert answer.returncode == 0, answer.stderr
    assert "--data" in answer.stdout
