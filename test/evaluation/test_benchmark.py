"""The benchmarks run end to end and report what they say; their times are nobody's test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from scmpr_ros.cli.benchmark import main
from scmpr_ros.evaluation.benchmark.machine import Machine, work_of
from scmpr_ros.evaluation.benchmark.queries import STAGES
from scmpr_ros.evaluation.benchmark.timing import Timing, time_in_turn

CPU = torch.device("cpu")


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
    assert set(timing["stages"]) == set(STAGES) - {"RGB branch"}
    assert all(stage["runs"] == 2 and stage["median_ms"] > 0 for stage in timing["stages"].values())
    assert timing["total"]["median_ms"] > timing["without_decode"]["median_ms"]
    assert timing["floors_ms"]["backbone + SAFF"] > 0
    assert report["results"]["viewpoints"] == 60 * 30
    assert report["results"]["peers"]["timm/test_resnet"]["runs"] == 2
    printed = capsys.readouterr().out
    assert all(stage in printed for stage in timing["stages"])


def test_networks_and_training(tmp_path: Path) -> None:
    small = ("--settings.runs=1", "--settings.image_size=[64, 64]")
    networks = run(tmp_path, "networks", *small, "--settings.networks=[nano, timm/test_resnet]")
    kinds = {(r["network"], r["precision"], r["scan"]) for r in networks["results"]}
    assert ("nano", "float32", "torch") in kinds and ("timm/test_resnet", "bfloat16", "") in kinds
    training = run(tmp_path, "training", *small, "--settings.networks=[nano]", "--settings.batch=2")
    assert training["results"][0]["timing"]["runs"] == 1


def test_scans(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = run(
        tmp_path, "scan", "--settings.runs=1", "--settings.network=nano",
        "--settings.image_size=[64, 64]", "--settings.backends=[torch, mamba_ssm]",
    )  # fmt: skip
    assert {r["backend"] for r in report["results"]} == {"torch"}
    assert len(report["results"]) == 4 * 2
    assert all(r["error"] < 1e-5 for r in report["results"])
    assert "mamba_ssm" in capsys.readouterr().out


def test_a_mistake_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["networks", "--out", str(tmp_path), "--settings.official", str(tmp_path)]
    assert main(arguments) == 1
    assert "github.com/MzeroMiko/VMamba" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_functions_take_turns() -> None:
    calls: list[str] = []
    times = time_in_turn(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3, CPU, warm_ups=1
    )
    assert "".join(calls) == "ab" * 4 and times["a"].runs == 3


def test_summaries_and_floors_by_hand() -> None:
    timing = Timing.of([0.001, 0.003, 0.002])
    assert (timing.median_ms, timing.min_ms) == pytest.approx((2, 1))
    machine = Machine("by hand", "", 1, float32=100, bfloat16=400, copy=10)
    assert machine.floor_ms(2e9, 1e6, torch.float32) == pytest.approx(20)
    assert machine.floor_ms(2e9, 1e6, torch.bfloat16) == pytest.approx(5)
    assert machine.floor_ms(2e9, 1e9, torch.float32) == pytest.approx(100)
    work = work_of(nn.Linear(30, 50, bias=False), torch.zeros(7, 30))
    assert work.flops == 2 * 7 * 30 * 50
    assert work.num_bytes == 4 * (30 * 50 + 7 * 30 + 7 * 50)
