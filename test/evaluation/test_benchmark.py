"""The benchmarks run end to end and report what they measured; times are not tested."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from place_maps import example
from torch import nn
from window_methods import small_network

from scmpr_ros.cli import benchmark
from scmpr_ros.cli.benchmark import main
from scmpr_ros.evaluation.benchmark.index import enlarged
from scmpr_ros.evaluation.benchmark.machine import Machine, work_of
from scmpr_ros.evaluation.benchmark.queries import STAGES
from scmpr_ros.evaluation.benchmark.renders import BLOCK_M, repeat_blocks, street_block
from scmpr_ros.evaluation.benchmark.timing import Timing, time_in_turn
from scmpr_ros.methods.checkpoint import save_checkpoint
from scmpr_ros.town.benchmark import TownTiming, time_task
from scmpr_ros.town.drives import DriveConfig
from scmpr_ros.town.export import Task, TownExportConfig
from scmpr_ros.town.sensors.lidar import LidarConfig
from scmpr_ros.town.streets.network import StreetNetworkConfig
from scmpr_ros.town.traversal import TraversalConfig
from scmpr_ros.town.world import TownConfig

CPU = torch.device("cpu")
MACHINE = Machine("by hand", "", 1, float32=100, bfloat16=400, copy=10)


@pytest.fixture
def known_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the measurement of the machine's rates, which takes seconds."""
    monkeypatch.setattr(benchmark, "measure_machine", lambda device: MACHINE)


def run(tmp_path: Path, kind: str, *settings: str) -> dict:
    assert main([kind, "--out", str(tmp_path), *settings]) == 0
    with Image.open(tmp_path / f"{kind}.png") as picture:
        assert picture.width > 800 and picture.convert("L").getextrema() == (0, 255)
    report: dict = json.loads((tmp_path / f"{kind}.json").read_text())
    assert report["machine"]["float32"] > 0 and report["machine"]["copy"] > 0
    return report


def test_queries(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = run(
        tmp_path, "query", "--settings.queries=2", "--settings.places=60",
        "--settings.networks=[nano]", "--settings.peers=[timm/test_resnet]",
    )  # fmt: skip
    (timing,) = report["results"]["timings"]
    assert set(timing["stages"]) == set(STAGES) - {"RGB branch", "descriptor"}
    assert all(stage["runs"] == 2 and stage["median_ms"] > 0 for stage in timing["stages"].values())
    assert timing["total"]["median_ms"] > timing["without_decode"]["median_ms"]
    assert timing["floors_ms"]["backbone + SAFF"] > 0
    assert report["results"]["viewpoints"] == 60 * 30
    assert report["results"]["peers"]["timm/test_resnet"]["runs"] == 2
    printed = capsys.readouterr().out
    assert all(stage in printed for stage in timing["stages"])


@pytest.mark.usefixtures("known_machine")
def test_queries_of_other_methods(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By name and by weights, each with the stages that it has."""
    weights = tmp_path / "run" / "model.safetensors"
    save_checkpoint(small_network("i2p_rec"), weights)
    report = run(
        tmp_path, "query", "--settings.queries=1", "--settings.places=20",
        f"--settings.networks=[{weights}, modalink]", "--settings.peers=[]",
    )  # fmt: skip
    rivals = [set(timing["stages"]) for timing in report["results"]["timings"]]
    common = {"decode", "preprocess", "search", "psi"}
    assert rivals == [common | {"backbone", "SAFF", "descriptor"}, common | {"RGB branch"}]
    assert "modalink" in capsys.readouterr().out


@pytest.mark.usefixtures("known_machine")
def test_indexes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place_map = example(40)
    place_map.save(tmp_path / "map")
    settings = {
        "map": tmp_path / "map", "indexes": '[exact, "IVF16,SQ8"]', "viewpoints": 3000,
        "queries": 20, "neighbours": 5,
    }  # fmt: skip
    given = [f"--settings.{name}={value}" for name, value in settings.items()]
    assert main(["index", "--out", str(tmp_path), *given]) == 0
    results = json.loads((tmp_path / "index.json").read_text())["results"]
    exact, compressed = results["timings"]
    assert results["viewpoints"] == 3000 and results["queries"] == 20
    assert exact["recall"] == 1 and exact["bytes_per_viewpoint"] == 2 * 8
    assert compressed["recall"] > 0.95 and compressed["recall_of_codes"] > 0.5
    assert 16 <= compressed["bytes_per_viewpoint"] < 25
    assert "IVF16,SQ8" in capsys.readouterr().out
    big = enlarged(np.asarray(place_map.descriptors), 3000, np.random.default_rng(0))
    assert big.shape == (500, 6, 8)
    np.testing.assert_array_equal(big[:40], place_map.descriptors)
    np.testing.assert_allclose(np.linalg.norm(big.astype(float), axis=2), 1, atol=2e-3)


@pytest.mark.usefixtures("known_machine")
def test_networks_and_training(tmp_path: Path) -> None:
    small = ("--settings.runs=1", "--settings.image_size=[64, 64]")
    networks = run(tmp_path, "networks", *small, "--settings.networks=[nano, timm/test_resnet]")
    kinds = {(r["network"], r["precision"], r["scan"]) for r in networks["results"]}
    assert ("nano", "float32", "torch") in kinds and ("timm/test_resnet", "bfloat16", "") in kinds
    training = run(tmp_path, "training", *small, "--settings.networks=[nano]", "--settings.batch=2")
    assert training["results"][0]["timing"]["runs"] == 1


@pytest.mark.usefixtures("known_machine")
def test_scans(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = run(
        tmp_path, "scan", "--settings.runs=1", "--settings.network=nano",
        "--settings.image_size=[64, 64]", "--settings.backends=[torch, mamba_ssm]",
    )  # fmt: skip
    assert {r["backend"] for r in report["results"]} == {"torch"}
    assert len(report["results"]) == 4 * 2
    assert all(r["error"] < 1e-5 for r in report["results"])
    assert "mamba_ssm" in capsys.readouterr().out


@pytest.mark.usefixtures("known_machine")
def test_renders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = run(
        tmp_path, "render", "--settings.runs=1", "--settings.places=2", "--settings.points=900_000",
        "--settings.blocks_of_small=1", "--settings.grids=[[8, 64]]",
    )  # fmt: skip
    small, large = ([r for r in report["results"] if r["extent_m"] == m] for m in (60, 120))
    assert {r["way"] for r in small} == {r["way"] for r in large} > {"rays, torch"}
    assert large[0]["points"] == 2 * small[0]["points"]
    assert all(0 < r["reached"] <= r["points"] and r["floor_ms"] > 0 for r in report["results"])
    assert "peer: all points" in capsys.readouterr().out


def test_blocks_surround_the_first() -> None:
    points, label = street_block()
    repeated, labels, extent_m = repeat_blocks(points, label, 9)
    assert extent_m == 3 * BLOCK_M and len(repeated) == len(labels) == 9 * len(points)
    low, high = repeated.amin(0), repeated.amax(0)
    assert torch.allclose(low[:2], torch.tensor(-1.5 * BLOCK_M), atol=0.1)
    assert torch.allclose(high[:2], torch.tensor(1.5 * BLOCK_M), atol=0.2)


@pytest.mark.usefixtures("known_machine")
def test_a_mistake_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["networks", "--out", str(tmp_path), "--settings.official", str(tmp_path)]
    assert main(arguments) == 1
    assert "github.com/MzeroMiko/VMamba" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_town_frames_are_timed_stage_by_stage(tmp_path: Path) -> None:
    config = TownExportConfig(
        image_width=124, image_height=38, lidar=LidarConfig(rings=16, columns=256),
        town=TownConfig(StreetNetworkConfig(columns=2, rows=2)),
        traversals=(TraversalConfig(drive=DriveConfig(spacing_m=12.0, length_m=40.0)),),
    )  # fmt: skip
    once_s, seconds, stages = time_task(Task(tmp_path / "timed", 4, config, 0, range(1, 3)))
    assert once_s > 0 and seconds > 0
    assert {"traffic", "cast", "shading", "shadows", "development", "files"} <= set(stages)
    whole = stages.pop("whole frame")
    assert sum(stages.values()) <= whole == pytest.approx(1000 * seconds / 2)
    assert not (tmp_path / "timed").exists(), "frames written for timing are removed"


@pytest.mark.usefixtures("known_machine")
def test_towns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = {"cast": 4.0, "files": 5.0, "whole frame": 10.0}
    timings = [TownTiming("320x96", 30.0, condition, 200.0, stages, 1.5)
               for condition in ("clear", "night")]  # fmt: skip
    monkeypatch.setattr(benchmark, "benchmark_towns", lambda settings: timings)
    report = run(tmp_path, "town")
    assert [row["condition"] for row in report["results"]] == ["clear", "night"]
    printed = capsys.readouterr().out
    assert "night" in printed and "200.0" in printed and "whole frame" in printed


def test_functions_take_turns() -> None:
    calls: list[str] = []
    times = time_in_turn(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3, CPU, warm_ups=1
    )
    assert "".join(calls) == "ab" * 4 and times["a"].runs == 3


def test_summaries_and_floors_by_hand() -> None:
    timing = Timing.of([0.001, 0.003, 0.002])
    assert (timing.median_ms, timing.min_ms) == pytest.approx((2, 1))
    assert MACHINE.floor_ms(2e9, 1e6, torch.float32) == pytest.approx(20)
    assert MACHINE.floor_ms(2e9, 1e6, torch.bfloat16) == pytest.approx(5)
    assert MACHINE.floor_ms(2e9, 1e9, torch.float32) == pytest.approx(100)
    work = work_of(nn.Linear(30, 50, bias=False), torch.zeros(7, 30))
    assert work.flops == 2 * 7 * 30 * 50
    assert work.num_bytes == 4 * (30 * 50 + 7 * 30 + 7 * 50)
