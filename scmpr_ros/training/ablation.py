"""Ablations: the same training with one thing changed, on several seeds (table 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from scmpr_ros.atomic_files import write_json
from scmpr_ros.config import to_dict
from scmpr_ros.evaluation.result import Result
from scmpr_ros.evaluation.tables import make_table, pool
from scmpr_ros.training.evaluated_runs import (
    Evaluation,
    RecallExperimentConfig,
    RecallTest,
    evaluate_runs,
)
from scmpr_ros.training.experiment import Run, plan_run, train_runs
from scmpr_ros.training.preparation import RecordingSource, find_recordings
from scmpr_ros.training.settings import specialised, train_config_class
from scmpr_ros.training.split import check_split


@dataclass(frozen=True)
class AblationConfig(RecallExperimentConfig):
    """The rows of an ablation, and the recordings they are evaluated on.

    test: folder of the recordings to evaluate on.
    """

    test: Path = Path("data/towns/test")
    out: Path = Path("out/ablation")


@cache
def ablation_config_class(method_name: str) -> type[AblationConfig]:
    """`AblationConfig` whose `train` has the settings of a method."""
    train = train_config_class(method_name)
    return specialised(AblationConfig, train=(train, field(default_factory=train)))


def ablate(config: AblationConfig) -> Path:
    """Train and evaluate all rows; return the path of the table in Markdown."""
    test = RecallTest(config.test)
    runs: dict[str, list[Run]] = {
        name: [plan_run(config, config.rows[name], seed, f"row {name!r}") for seed in config.seeds]
        for name in config.selected
    }
    for row in runs.values():
        check_tests(row[0], test.folders)
    train_runs(config, {
        f"{name}, seed {run.config.seed}": run for name, row in runs.items() for run in row
    })  # fmt: skip
    evaluations = [
        Evaluation(run.weights, test, config.evaluation_of(config.rows[name], f"row {name!r}"))
        for name, row in runs.items()
        for run in row
    ]
    found = iter(evaluate_runs(evaluations, config.jobs))
    results = {name: [_result(run, next(found)) for run in row] for name, row in runs.items()}
    path = config.out / "results.json"
    write_json(path, {"rows": results, "config": to_dict(config)})
    return make_table("ablation", [path]).write(config.out)


def _result(run: Run, found: Sequence[Result]) -> dict[str, Any]:
    return {
        "seed": run.config.seed, **pool(found)._asdict(), "weights": str(run.weights),
        "drives": [result.to_json() for result in found],
    }  # fmt: skip


def check_tests(run: Run, test: Sequence[Path]) -> None:
    """Raise ConfigError if a run, or one it starts from, is trained or selected by what it is
    judged by."""
    sources = [RecordingSource(recording) for recording in test]
    for needed in run.with_starts():
        config = needed.config
        training = find_recordings(config.recordings, config.sequences, config.bag)
        validation = []
        if config.validation:
            validation = find_recordings(config.validation, config.validation_sequences, config.bag)
        check_split(training, validation, sources, config.allow_test_data)
