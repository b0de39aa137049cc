"""Methods side by side: trained on the same recordings, measured on the same queries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch

from scmpr_ros.atomic_files import write_json
from scmpr_ros.config import to_dict
from scmpr_ros.evaluation.benchmark.machine import device_name, measure_machine
from scmpr_ros.evaluation.benchmark.networks import count_parameters
from scmpr_ros.evaluation.benchmark.queries import (
    QueryBenchmarkConfig,
    QueryTiming,
    benchmark_queries,
    descriptor_dim,
)
from scmpr_ros.evaluation.method_report import MethodCost, write_report
from scmpr_ros.evaluation.method_scores import MethodScores
from scmpr_ros.methods.registry import find_method
from scmpr_ros.networks.device import choose_device
from scmpr_ros.training.evaluated_runs import RecallExperimentConfig, RecallTest, evaluate_runs
from scmpr_ros.training.experiment import Run, trained_rows


@dataclass(frozen=True)
class ComparisonConfig(RecallExperimentConfig):
    """Methods to compare, and what they are compared by.

    rows: the methods by name, each with its `method` and what differs from `train`; the first one
        is compared with all others.
    tests: by name, what is searched in what.
    queries: images that latencies are measured on; 0 measures none.
    places: of the random map in which they are searched.
    """

    out: Path = Path("out/rivals")
    tests: dict[str, RecallTest] = field(
        default_factory=lambda: {"towns": RecallTest(Path("data/towns/test"))}
    )
    queries: int = 100
    places: int = 10_000


def compare_methods(config: ComparisonConfig) -> Path:
    """Train, evaluate and time all methods; return the report in Markdown."""
    unseen = [folder for test in config.tests.values() if not test.trained_on
              for folder in test.folders]  # fmt: skip
    tests = list(config.tests.values())
    runs = trained_rows(config, unseen, partial(config.is_measured_by, tests))
    found = iter(evaluate_runs([
        config.evaluation_by(test, name, run)
        for test in tests for name, row in runs.items() for run in row
    ], config.jobs))  # fmt: skip
    results = {
        test: {name: [next(found) for _ in row] for name, row in runs.items()}
        for test in config.tests
    }
    scores = {
        test: {name: MethodScores.of(seeds) for name, seeds in methods.items()}
        for test, methods in results.items()
    }
    costs = {name: _cost(row) for name, row in runs.items()}
    device = choose_device(config.evaluation.localizer.device)
    timings = _timings(runs, config, device) if config.queries else {}
    write_json(config.out / "results.json", {
        "results": {
            test: {name: [[x.to_json() for x in seed] for seed in seeds]
                   for name, seeds in methods.items()}
            for test, methods in results.items()
        },
        "costs": {name: to_dict(cost) for name, cost in costs.items()},
        "timings": {name: to_dict(timing) for name, timing in timings.items()},
        "weights": {name: [str(run.weights) for run in row] for name, row in runs.items()},
        "config": to_dict(config),
    })  # fmt: skip
    timed = f"{config.places:,} places, {device_name(device)}, {torch.get_num_threads()} threads"
    return write_report(config.out, scores, costs, timings, config.seeds, timed)


def _cost(row: list[Run]) -> MethodCost:
    """Mean cost of a method's runs, and the size of its network and maps."""
    costs = [run.cost() for run in row]
    config = row[0].config
    network = find_method(config.method).network(config.module.network).eval()
    return MethodCost(
        float(np.mean([cost.views for cost in costs])),
        float(np.mean([cost.processor_s for cost in costs])),
        float(np.mean([cost.wall_s for cost in costs])), count_parameters(network),
        network.config.num_headings * descriptor_dim(network) * np.dtype(np.float16).itemsize,
    )  # fmt: skip


def _timings(
    runs: Mapping[str, list[Run]], config: ComparisonConfig, device: torch.device
) -> dict[str, QueryTiming]:
    """Time of queries, by method, of those whose weights are here; all take turns.

    Rows with a search of their own are left out: all are timed by the same.
    """
    here = {
        name: [run.weights for run in row if run.weights.is_file()] for name, row in runs.items()
        if config.evaluation_of(config.rows[name], name) == config.evaluation
    }  # fmt: skip
    weights = {name: paths[0] for name, paths in here.items() if paths}
    if not weights:
        return {}
    machine = measure_machine(device)
    settings = QueryBenchmarkConfig(
        networks=tuple(map(str, weights.values())), peers=(), queries=config.queries,
        places=config.places, localizer=config.evaluation.localizer,
    )  # fmt: skip
    measured = benchmark_queries(settings, machine).timings
    return dict(zip(weights, measured, strict=True))
