"""Ablations: the same training with one thing changed, on several seeds (table 3).

A row is a set of settings that differ from the base run's. Rows that change only the search share
their weights. Finished runs are not repeated.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from scmpr_ros.atomic_files import write_json
from scmpr_ros.config import flatten, from_dict, to_dict, unflatten
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.evaluation.evaluate import EvaluationConfig, evaluate_recording
from scmpr_ros.evaluation.result import read_results, write_results
from scmpr_ros.evaluation.tables import make_table, pool
from scmpr_ros.methods.checkpoint import load_checkpoint
from scmpr_ros.training.preparation import RecordingSource, find_recordings
from scmpr_ros.training.settings import TrainConfig, specialised, train_config_class
from scmpr_ros.training.split import check_split
from scmpr_ros.training.train import train

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AblationConfig:
    """The rows of an ablation, and the recordings they are evaluated on.

    rows: by name, the settings that differ, such as `module.loss.semantic_weight: 0`; settings
        below `evaluation.` change the search.
    only: the rows to train and evaluate now; all if empty.
    seeds: of the runs of each row. test: folder of the recordings to evaluate on.
    train: settings shared by all rows; its `out` and `seed` are not used.
    """

    rows: dict[str, dict[str, Any]]
    only: list[str] = field(default_factory=list)
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    test: Path = Path("data/towns/test")
    out: Path = Path("out/ablation")
    train: TrainConfig = field(default_factory=train_config_class("scmpr"))
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        if not self.rows or not self.seeds:
            raise ConfigError("an ablation needs at least one row and one seed")
        if unknown := set(self.only) - set(self.rows):
            raise ConfigError(f"only: no rows {sorted(unknown)}; there are {list(self.rows)}")
        for name in self.selected:
            self.settings_of(name, self.rows[name])  # raises for settings that do not exist

    @property
    def selected(self) -> list[str]:
        """Names of the rows to train and evaluate now."""
        return self.only or list(self.rows)

    def settings_of(
        self, name: str, changes: Mapping[str, Any]
    ) -> tuple[TrainConfig, EvaluationConfig]:
        """Training and evaluation of a row; ConfigError for settings that do not exist."""
        training, evaluation = flatten(self.train), flatten(self.evaluation)
        method = changes.get("method", self.train.method)
        if method != self.train.method:  # start from the other method's defaults
            own = ("module.network.", "module.loss.")
            training = {name: x for name, x in training.items() if not name.startswith(own)}
        for setting, value in changes.items():
            if setting.startswith("evaluation."):
                evaluation[setting.removeprefix("evaluation.")] = value
            else:
                training[setting] = value
        source = f"row {name!r}"
        return (
            from_dict(train_config_class(method), unflatten(training), source),
            from_dict(EvaluationConfig, unflatten(evaluation), source),
        )


@cache
def ablation_config_class(method_name: str) -> type[AblationConfig]:
    """`AblationConfig` whose `train` has the settings of a method."""
    train = train_config_class(method_name)
    return specialised(AblationConfig, train=(train, field(default_factory=train)))


def ablate(config: AblationConfig) -> Path:
    """Train and evaluate all rows; return the path of the table in Markdown."""
    recordings = sorted(path.parent for path in config.test.glob("*/map.ply"))
    if not recordings:
        raise DatasetError(f"{config.test}: no recordings with a map.ply to evaluate the rows on")
    results: dict[str, list[dict[str, Any]]] = {}
    path = config.out / "results.json"
    for name in config.selected:
        training, evaluation = config.settings_of(name, config.rows[name])
        _check_split(training, recordings)
        results[name] = []
        for seed in config.seeds:
            _log.info("row %r, seed %d", name, seed)
            weights = _train(config.out, training, seed)
            results[name].append({"seed": seed, **_evaluate(weights, evaluation, recordings)})
            write_json(path, {"rows": results, "config": to_dict(config)})
    return make_table("ablation", [path]).write(config.out)


def _check_split(config: TrainConfig, test: Sequence[Path]) -> None:
    """Raise ConfigError if a row would be trained or selected by what it is judged by."""
    training = find_recordings(config.recordings, config.sequences, config.bag)
    validation = (
        find_recordings(config.validation, config.validation_sequences, config.bag)
        if config.validation
        else []
    )
    sources = [RecordingSource(recording) for recording in test]
    check_split(training, validation, sources, config.allow_test_data)


def _train(out: Path, config: TrainConfig, seed: int) -> Path:
    """Return the weights of a run; train it unless that was done before."""
    config = replace(config, seed=seed)
    settings = to_dict(replace(config, out=Path(), jobs=1))
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    folder = out / "runs" / digest.hexdigest()[:12]
    weights = folder / "model.safetensors"
    return weights if weights.is_file() else train(replace(config, out=folder))


def _evaluate(
    weights: Path, config: EvaluationConfig, recordings: Sequence[Path]
) -> dict[str, Any]:
    """Evaluate over all drives of all recordings; results are cached beside the weights."""
    settings = json.dumps([to_dict(config), [str(r) for r in recordings]], sort_keys=True)
    cached = weights.parent / f"evaluated-{hashlib.sha256(settings.encode()).hexdigest()[:12]}.json"
    if not cached.is_file():
        network = load_checkpoint(weights)
        write_results(
            [r for recording in recordings for r in evaluate_recording(recording, network, config)],
            cached,
        )
    results = read_results(cached)
    return {
        **pool(results)._asdict(), "weights": str(weights),
        "drives": [result.to_json() for result in results],
    }  # fmt: skip
