"""Experiments: rows of training runs that differ in some settings, each with several seeds.

Runs are kept by the digest of their settings: rows that need the same run share it, finished ones
are not repeated, and interrupted ones resume.
"""

from __future__ import annotations

import hashlib
import json
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from scmpr_ros.config import flatten, from_dict, to_dict, unflatten
from scmpr_ros.errors import ConfigError
from scmpr_ros.process_pool import process_pool
from scmpr_ros.training.cost import TrainingCost
from scmpr_ros.training.preparation import RecordingSource, find_recordings
from scmpr_ros.training.settings import TrainConfig, specialised, train_config_class
from scmpr_ros.training.split import check_split
from scmpr_ros.training.train import WEIGHTS, train

_log = logging.getLogger(__name__)

_MARK = "@"
"""Of stages, in the settings that name files of weights."""

Experiment = TypeVar("Experiment", bound="ExperimentConfig")


@dataclass(frozen=True)
class ExperimentConfig:
    """Runs of training, by name.

    rows: the settings of each that differ from `train`, such as `module.loss.semantic_weight: 0`.
    stages: likewise, of runs that rows, or other stages, start from: `@name` as a path, such as
        `perception: "@reading"`, is the weights of that run with the same seed, and `@name/FILE`
        another file of its folder.
    only: the rows to run now; all if empty.
    seeds: of the runs of each row.
    jobs: trainings at a time; if several, each takes one processor.
    train: settings shared by all; its `out` and `seed` are not used.
    """

    rows: dict[str, dict[str, Any]]
    stages: dict[str, dict[str, Any]] = field(default_factory=dict)
    only: list[str] = field(default_factory=list)
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    jobs: int = 1
    out: Path = Path("out/experiment")
    train: TrainConfig = field(default_factory=train_config_class("scmpr"))

    def __post_init__(self) -> None:
        if not self.rows or not self.seeds:
            raise ConfigError("an experiment needs at least one row and one seed")
        if self.jobs < 1:
            raise ConfigError(f"jobs is {self.jobs}; at least one training at a time")
        if unknown := set(self.only) - set(self.rows):
            raise ConfigError(f"only: no rows {sorted(unknown)}; there are {list(self.rows)}")
        settings = {f"stage {name!r}": changes for name, changes in self.stages.items()}
        settings |= {f"row {name!r}": self.rows[name] for name in self.selected}
        for source, changes in settings.items():
            for _, stage, _ in _stages_named(self.training_of(changes, source)):
                if stage not in self.stages:
                    raise ConfigError(f"{source}: no stage {stage!r}; there are "
                                      f"{', '.join(self.stages) or 'none'}")  # fmt: skip
        for name in self.stages:
            self._check_circle(name, ())

    @property
    def selected(self) -> list[str]:
        """Names of the rows to run now."""
        return self.only or list(self.rows)

    def training_of(self, changes: Mapping[str, Any], source: str) -> TrainConfig:
        """Settings of a run; ConfigError, which names the source, for those that do not exist."""
        training = flatten(self.train)
        method = changes.get("method", self.train.method)
        if method != self.train.method:  # start from the other method's defaults
            own = ("module.network.", "module.loss.")
            training = {name: x for name, x in training.items() if not name.startswith(own)}
        training |= changes
        return from_dict(train_config_class(method), unflatten(training), source)

    def _check_circle(self, name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise ConfigError(f"stages start from each other: {' -> '.join([*path, name])}")
        for _, stage, _ in _stages_named(self.training_of(self.stages[name], f"stage {name!r}")):
            self._check_circle(stage, (*path, name))


@dataclass(frozen=True)
class Run:
    """One training of an experiment.

    config: whole settings, with the seed and the folder. starts: runs that it starts from.
    """

    config: TrainConfig
    starts: tuple[Run, ...]

    @property
    def weights(self) -> Path:
        """The weights that it writes."""
        return self.config.out / WEIGHTS

    def with_starts(self) -> Iterator[Run]:
        """All runs that it needs, and itself."""
        for start in self.starts:
            yield from start.with_starts()
        yield self

    def cost(self) -> TrainingCost:
        """Cost of all runs that it needs, and its own."""
        folders = {run.config.out for run in self.with_starts()}
        return sum(map(TrainingCost.read, sorted(folders)), TrainingCost())


@cache
def experiment_config_class(base: type[Experiment], method_name: str) -> type[Experiment]:
    """The config of an experiment, whose `train` has the settings of a method."""
    train_class = train_config_class(method_name)
    return specialised(base, train=(train_class, field(default_factory=train_class)))


def trained_rows(
    experiment: ExperimentConfig, test: Sequence[Path], is_measured: Callable[[str, Run], bool]
) -> dict[str, list[Run]]:
    """The runs of the selected rows, one for each seed, trained unless that was done before.

    is_measured: whether a run of a row has its results already, so that its weights are not needed.

    Raises ConfigError, before anything is trained, if a run, or one it starts from, would be
    trained or selected by a recording of `test`.
    """
    rows = {
        name: [
            plan_run(experiment, experiment.rows[name], seed, f"row {name!r}")
            for seed in experiment.seeds
        ]
        for name in experiment.selected
    }
    _check_tests((row[0] for row in rows.values()), test)
    train_runs(experiment, {
        f"{name}, seed {run.config.seed}": run
        for name, row in rows.items() for run in row if not is_measured(name, run)
    })  # fmt: skip
    return rows


def _check_tests(runs: Iterable[Run], test: Sequence[Path]) -> None:
    """Check each choice of recordings once, as their images are read for it."""
    sources = [RecordingSource(recording) for recording in test]
    checked = []
    for needed in (needed for run in runs for needed in run.with_starts()):
        config = needed.config
        training = (config.recordings, config.sequences, config.bag)
        validation = (config.validation, config.validation_sequences)
        choice = (training, validation, config.allow_test_data)
        if choice in checked:
            continue
        checked.append(choice)
        selecting = []
        if config.validation:
            selecting = find_recordings(config.validation, config.validation_sequences, config.bag)
        check_split(find_recordings(*training), selecting, sources, config.allow_test_data)


def plan_run(
    experiment: ExperimentConfig, changes: Mapping[str, Any], seed: int, source: str
) -> Run:
    """The run of a row or stage; its folder is named by the digest of its settings."""
    config = replace(experiment.training_of(changes, source), seed=seed)
    starts = []
    paths: dict[str, Any] = {}
    digested: dict[str, Any] = {}
    for setting, stage, file in _stages_named(config):
        start = plan_run(experiment, experiment.stages[stage], seed, f"stage {stage!r}")
        starts.append(start)
        paths[setting] = start.config.out / (file or WEIGHTS)
        digested[setting] = Path(start.config.out.name, file)
    settings = to_dict(replace(config, **digested, out=Path(), jobs=1))
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
    out = experiment.out / "runs" / digest
    return Run(replace(config, **paths, out=out), tuple(starts))


def train_runs(experiment: ExperimentConfig, runs: Mapping[str, Run]) -> None:
    """Train all runs, and those they start from, unless that was done before.

    runs: by name, for messages.
    """
    needed = {
        needed.config.out: (name, needed) for name, run in runs.items()
        for needed in run.with_starts()
    }  # fmt: skip
    missing = [(name, run) for name, run in needed.values() if not run.weights.is_file()]
    if experiment.jobs > 1 and len(missing) > 1:
        _train_in_pool([run for _, run in missing], min(experiment.jobs, len(missing)))
        return
    for name, run in missing:
        _log.info("%s: training in %s", name, run.config.out)
        train(run.config, wait=True)


def _train_in_pool(runs: Sequence[Run], jobs: int) -> None:
    """Train each run as soon as those that it starts from are done."""
    waiting = list(runs)
    unfinished = {run.config.out for run in runs}
    running: dict[Future[None], Path] = {}
    with process_pool(jobs) as pool, tqdm(total=len(runs), desc="trainings", unit="run") as bar:
        while unfinished:
            ready = [run for run in waiting if not unfinished & {x.config.out for x in run.starts}]
            for run in ready[: jobs - len(running)]:
                task = pool.submit(_train_in_worker, run.config.method, to_dict(run.config))
                running[task] = run.config.out
                waiting.remove(run)
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                done.result()
                unfinished.remove(running.pop(done))
                bar.update()


def _train_in_worker(method: str, settings: dict[str, Any]) -> None:
    """Train in a process of a pool, to which only plain settings can be sent."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    warnings.filterwarnings("ignore", module="lightning")
    config = from_dict(train_config_class(method), settings, "an experiment's run")
    train(config, wait=True)


def _stages_named(config: TrainConfig) -> Iterator[tuple[str, str, str]]:
    """Settings that name a stage, the stage, and the file of its folder; empty for its weights."""
    for setting, path in config.starts.items():
        if str(path).startswith(_MARK):
            stage, _, file = str(path).removeprefix(_MARK).partition("/")
            yield setting, stage, file
