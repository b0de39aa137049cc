"""Experiments: what rows and stages share, what starts from what, and what a run costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import tiny_run

from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.methods.checkpoint import load_checkpoint
from scmpr_ros.training.cost import TrainingCost
from scmpr_ros.training.experiment import ExperimentConfig, plan_run, train_runs

READING = {"task": "segmentation"}
ON_IT = {"perception": "@reading", "module.frozen_perception": True}


def experiment(recordings: Path, out: Path, **settings: Any) -> ExperimentConfig:
    train = replace(tiny_run(recordings, out, 2), validation=None)
    return ExperimentConfig(out=out, train=train, **settings)


def test_a_row_starts_from_its_stage_of_the_same_seed(recordings: Path, tmp_path: Path) -> None:
    config = experiment(recordings, tmp_path, stages={"reading": READING}, rows={"on it": ON_IT})
    runs = [plan_run(config, ON_IT, seed, "row") for seed in (0, 1)]
    (first,), (second,) = (run.starts for run in runs)
    assert first.config.seed == 0 and second.config.seed == 1
    assert first.config.task == "segmentation"
    assert runs[0].config.perception == first.weights
    assert len({run.config.out for run in [*runs, first, second]}) == 4
    assert list(runs[0].with_starts()) == [first, runs[0]]


def test_settings_that_change_nothing_do_not_change_the_folder(
    recordings: Path, tmp_path: Path
) -> None:
    config = experiment(recordings, tmp_path, stages={"reading": READING}, rows={"on it": ON_IT})
    moved = replace(config, out=tmp_path / "elsewhere", train=replace(config.train, jobs=7))
    names = [plan_run(each, ON_IT, 0, "row").config.out.name for each in (config, moved)]
    assert names[0] == names[1]
    other = replace(config, stages={"reading": {**READING, "batch_size": 4}})
    assert plan_run(other, ON_IT, 0, "row").config.out.name != names[0], "another stage"


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_run_is_trained_once_and_its_cost_known(
    recordings: Path, tmp_path: Path, jobs: int
) -> None:
    config = experiment(
        recordings, tmp_path, jobs=jobs, stages={"reading": READING},
        rows={"on it": ON_IT, "alone": {}},
    )  # fmt: skip
    runs = {name: plan_run(config, config.rows[name], 0, name) for name in config.rows}
    train_runs(config, runs)
    reading, on_it = runs["on it"].with_starts()
    assert all(run.weights.is_file() for run in (reading, on_it, runs["alone"]))
    own, before = (TrainingCost.read(run.config.out) for run in (on_it, reading))
    assert own.views == before.views == 2 * config.train.batch_size
    whole = on_it.cost()
    assert whole == own + before and whole.processor_s > own.processor_s > 0
    perception = {
        name: value for name, value in load_checkpoint(reading.weights).state_dict().items()
        if name.startswith("vmamba.")
    }  # fmt: skip
    trained = load_checkpoint(on_it.weights).state_dict()
    assert all(torch.equal(trained[name], value) for name, value in perception.items())
    written = [run.weights.stat().st_mtime_ns for run in runs.values()]
    train_runs(config, runs)
    assert [run.weights.stat().st_mtime_ns for run in runs.values()] == written


def test_a_file_on_the_way_can_be_started_from(recordings: Path, tmp_path: Path) -> None:
    stages = {"short": {"keep_steps": [1]}}
    row = {"initial": "@short/step-1.safetensors"}
    config = experiment(recordings, tmp_path, stages=stages, rows={"from it": row})
    run = plan_run(config, row, 0, "row")
    whole = plan_run(config, {"initial": "@short"}, 0, "row")
    assert run.config.initial == run.starts[0].config.out / "step-1.safetensors"
    assert run.config.out != whole.config.out
    train_runs(config, {"from it": run})
    first, last = (load_checkpoint(path).state_dict() for path in
                   (run.config.initial, run.starts[0].weights))  # fmt: skip
    assert any(not torch.equal(first[name], last[name]) for name in first)


def test_what_cannot_be_started_from_is_named(recordings: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="row 'a': no stage 'gone'; there are none"):
        experiment(recordings, tmp_path, rows={"a": {"initial": "@gone"}})
    circle = {"one": {"initial": "@two"}, "two": {"initial": "@one"}}
    with pytest.raises(ConfigError, match="stages start from each other: one -> two -> one"):
        experiment(recordings, tmp_path, rows={"a": {}}, stages=circle)
    with pytest.raises(ConfigError, match="jobs is 0"):
        experiment(recordings, tmp_path, rows={"a": {}}, jobs=0)


def test_a_cost_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"cost\.json"):
        TrainingCost.read(tmp_path)


def test_a_resumed_run_counts_all_of_its_time(recordings: Path, tmp_path: Path) -> None:
    from scmpr_ros.training.train import train

    config = replace(tiny_run(recordings, tmp_path, 4), validation=None)
    short = replace(config.module.optimiser, max_steps=2)
    train(replace(config, module=replace(config.module, optimiser=short)))
    first = TrainingCost.read(tmp_path)
    train(config)
    whole = TrainingCost.read(tmp_path)
    assert first.views == 2 * config.batch_size and whole.views == 4 * config.batch_size
    assert whole.processor_s > first.processor_s and whole.wall_s > first.wall_s
