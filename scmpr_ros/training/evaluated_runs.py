"""Recall of an experiment's runs on recordings; results are kept beside the weights."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from scmpr_ros.config import flatten, from_dict, to_dict, unflatten
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.evaluation.evaluate import (
    EvaluationConfig,
    PlacePositions,
    predict_by_protocol,
)
from scmpr_ros.evaluation.protocols import find_protocol, map_protocol
from scmpr_ros.evaluation.result import Result, read_results, write_results
from scmpr_ros.methods.checkpoint import load_checkpoint
from scmpr_ros.process_pool import run_all
from scmpr_ros.training.experiment import ExperimentConfig, Run
from scmpr_ros.training.preparation import finished_recordings
from scmpr_ros.training.settings import TrainConfig

_SEARCH = "evaluation."
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RecallTest:
    """Recordings, and the protocol by which images are searched in them.

    recordings: a recording, or a folder of such. protocol: `map`, or one of the literature's, by
        which a drive's images are searched among its own scans. sequences: drives to test on; those
        of the protocol if empty. places: of maps, along the mapping drive's path, or all over the
        open ground. trained_on: whether these are recordings that the methods learn from: such a
        test shows what was learned, and not what it is worth elsewhere.
    """

    recordings: Path
    protocol: str = "map"
    sequences: tuple[str, ...] = ()
    places: PlacePositions = "path"
    trained_on: bool = False

    def __post_init__(self) -> None:
        if self.protocol == "map":
            if self.sequences:
                raise ConfigError("sequences are for protocols that search single scans")
            return
        if not (self.sequences or find_protocol(self.protocol).sequences):
            raise ConfigError(f"protocol {self.protocol} needs sequences")

    @property
    def folders(self) -> list[Path]:
        """The recordings; DatasetError if there are none."""
        found = finished_recordings(self.recordings)
        if not found:
            raise DatasetError(f"{self.recordings}: no recordings to test on")
        return found


@dataclass(frozen=True)
class RecallExperimentConfig(ExperimentConfig):
    """An experiment whose runs are measured by what they find.

    rows: settings below `evaluation.` change the search; rows that change only that share their
        weights.
    """

    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.selected:
            self.evaluation_of(self.rows[name], f"row {name!r}")

    def training_of(self, changes: Mapping[str, Any], source: str) -> TrainConfig:
        """Settings of a row's training."""
        training = {k: v for k, v in changes.items() if not k.startswith(_SEARCH)}
        return super().training_of(training, source)

    def evaluation_of(self, changes: Mapping[str, Any], source: str) -> EvaluationConfig:
        """Settings of a row's search; ConfigError, which names the source, for unknown ones."""
        search = {k.removeprefix(_SEARCH): v for k, v in changes.items() if k.startswith(_SEARCH)}
        return from_dict(EvaluationConfig, unflatten(flatten(self.evaluation) | search), source)

    def evaluation_by(self, test: RecallTest, name: str, run: Run) -> Evaluation:
        """How a run of a row is measured by a test."""
        return Evaluation(run.weights, test, self.evaluation_of(self.rows[name], f"row {name!r}"))

    def is_measured_by(self, tests: Sequence[RecallTest], name: str, run: Run) -> bool:
        """Whether all results of a row's run are there."""
        return all(self.evaluation_by(test, name, run).file.is_file() for test in tests)


class Evaluation(NamedTuple):
    """Weights, what they are tested on, and how their maps are built and searched."""

    weights: Path
    test: RecallTest
    config: EvaluationConfig

    @property
    def file(self) -> Path:
        """Where the results are kept."""
        settings = json.dumps([to_dict(self.config), to_dict(self.test)], sort_keys=True)
        digest = hashlib.sha256(settings.encode()).hexdigest()[:12]
        return self.weights.parent / f"evaluated-{digest}.json"


def evaluate_runs(evaluations: Sequence[Evaluation], jobs: int) -> list[list[Result]]:
    """Results of all drives for each evaluation; what was evaluated before is not done again."""
    by_file = {each.file: each for each in evaluations}
    missing = [each for file, each in by_file.items() if not file.is_file()]
    run_all(_evaluate, missing, jobs, "evaluations", "run")
    try:
        return [read_results(each.file) for each in evaluations]
    except DatasetError as error:
        raise DatasetError(f"{error}; delete the file to measure that run again") from error


def _evaluate(evaluation: Evaluation) -> None:
    network = load_checkpoint(evaluation.weights)
    test, config = evaluation.test, evaluation.config
    _log.info("evaluating %s", evaluation.weights)
    searches_map = test.protocol == "map"
    protocol = map_protocol(config.tolerance) if searches_map else find_protocol(test.protocol)
    results = [
        predictions.score(protocol)
        for folder in test.folders
        for predictions in predict_by_protocol(
            folder, protocol, network, config, test.sequences, places=test.places
        )
    ]
    write_results(results, evaluation.file)
