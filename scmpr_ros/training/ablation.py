"""What each module is worth: the same training with one thing changed, on several seeds (table 3).

A row is a set of settings that differ from the base run's. Rows that change how answers are
searched only, and no training, share their weights. Runs that are done are not done again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from scmpr_ros.atomic_files import write_json
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.evaluation.evaluate import EvaluationConfig, evaluate_recording
from scmpr_ros.evaluation.result import read_results, write_results
from scmpr_ros.evaluation.tables import make_table, pool
from scmpr_ros.networks.checkpoint import load_checkpoint
from scmpr_ros.training.train import TrainConfig, train

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AblationConfig:
    """Which rows, and by what they are judged.

    rows: by name, the settings that differ, such as `module.loss.semantic_weight: 0`; those below
        `evaluation.` are of the search.
    only: the rows to train and judge now; all where it is empty.
    seeds: of the runs of each row. test: folder of the recordings they are judged in.
    train: what all rows start from; its `out` and `seed` are not used.
    """

    rows: dict[str, dict[str, Any]]
    only: list[str] = field(default_factory=list)
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    test: Path = Path("data/towns/test")
    out: Path = Path("out/ablation")
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        if not self.rows or not self.seeds:
            raise ConfigError("an ablation needs at least one row and one seed")
        if unknown := set(self.only) - set(self.rows):
            raise ConfigError(f"only: no rows {sorted(unknown)}; there are {list(self.rows)}")
        for name in self.asked:
            self.settings_of(name, self.rows[name])  # complains of what cannot be set

    @property
    def asked(self) -> list[str]:
        """Names of the rows to train and judge now."""
        return self.only or list(self.rows)

    def settings_of(
        self, name: str, changes: Mapping[str, Any]
    ) -> tuple[TrainConfig, EvaluationConfig]:
        """Training and evaluation of a row; ConfigError for settings that there are not."""
        training, evaluation = self.train, self.evaluation
        for setting, value in changes.items():
            try:
                first, _, rest = setting.partition(".")
                if first == "evaluation":
                    evaluation = _changed(evaluation, rest.split("."), value)
                else:
                    training = _changed(training, setting.split("."), value)
            except (AttributeError, TypeError, ValueError) as error:
                raise ConfigError(
                    f"row {name!r}: {setting} cannot be {value!r}: {error}"
                ) from error
        return training, evaluation


def ablate(config: AblationConfig) -> Path:
    """Train and judge all rows; returns the Markdown of the table."""
    recordings = sorted(path.parent for path in config.test.glob("*/map.ply"))
    if not recordings:
        raise DatasetError(f"{config.test}: no recordings with a map.ply to judge the rows in")
    results: dict[str, list[dict[str, Any]]] = {}
    path = config.out / "results.json"
    for name in config.asked:
        training, evaluation = config.settings_of(name, config.rows[name])
        results[name] = []
        for seed in config.seeds:
            _log.info("row %r, seed %d", name, seed)
            weights = _train(config.out, training, seed)
            results[name].append({"seed": seed, **_judge(weights, evaluation, recordings)})
            write_json(path, {"rows": results, "config": dataclasses.asdict(config)})
    return make_table("ablation", [path]).write(config.out)


def _train(out: Path, config: TrainConfig, seed: int) -> Path:
    """Weights of a run, which is done if it was not."""
    config = replace(config, seed=seed)
    settings = dataclasses.asdict(replace(config, out=Path(), jobs=1))
    digest = hashlib.sha256(json.dumps(settings, default=str, sort_keys=True).encode())
    folder = out / "runs" / digest.hexdigest()[:12]
    weights = folder / "model.safetensors"
    return weights if weights.is_file() else train(replace(config, out=folder))


def _judge(weights: Path, config: EvaluationConfig, recordings: Sequence[Path]) -> dict[str, Any]:
    """Recall@1 and more over all drives of all recordings; kept beside the weights."""
    settings = json.dumps([dataclasses.asdict(config), recordings], default=str, sort_keys=True)
    kept = weights.parent / f"judged-{hashlib.sha256(settings.encode()).hexdigest()[:12]}.json"
    if not kept.is_file():
        network = load_checkpoint(weights)
        write_results(
            [r for recording in recordings for r in evaluate_recording(recording, network, config)],
            kept,
        )
    results = read_results(kept)
    return {
        **pool(results)._asdict(), "weights": str(weights),
        "drives": [result.to_json() for result in results],
    }  # fmt: skip


def _changed(config: Any, path: Sequence[str], value: Any) -> Any:
    """A frozen dataclass with one setting, however deep, changed."""
    name, *rest = path
    before = getattr(config, name)
    if rest:
        value = _changed(before, rest, value)
    elif isinstance(before, tuple):
        value = tuple(value)
    elif isinstance(before, Path):
        value = Path(value)
    elif (
        before is not None
        and not isinstance(value, type(before))
        and not (isinstance(before, float) and isinstance(value, int))
    ):
        raise TypeError(f"it is a {type(before).__name__}, not a {type(value).__name__}")
    return replace(config, **{name: value})
