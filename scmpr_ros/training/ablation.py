"""Ablations: the same training with one thing changed, on several seeds (table 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from scmpr_ros.atomic_files import write_json
from scmpr_ros.config import to_dict
from scmpr_ros.evaluation.result import Result
from scmpr_ros.evaluation.tables import make_table, pool
from scmpr_ros.training.evaluated_runs import RecallExperimentConfig, RecallTest, evaluate_runs
from scmpr_ros.training.experiment import Run, trained_rows


@dataclass(frozen=True)
class AblationConfig(RecallExperimentConfig):
    """The rows of an ablation, and the recordings they are evaluated on.

    test: folder of the recordings to evaluate on.
    """

    test: Path = Path("data/towns/test")
    out: Path = Path("out/ablation")


def ablate(config: AblationConfig) -> Path:
    """Train and evaluate all rows; return the path of the table in Markdown."""
    test = RecallTest(config.test)
    runs = trained_rows(config, test.folders, partial(config.is_measured_by, [test]))
    evaluations = [
        config.evaluation_by(test, name, run) for name, row in runs.items() for run in row
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
