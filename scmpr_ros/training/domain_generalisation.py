"""Does contrast of camera and LiDAR help an image encoder in conditions it saw no masks of?

The experiment of "Camera-LiDAR contrastive pretraining" (thesis, table 4.3): image encoders, with
and without such pretraining, are trained to segment images of one condition, the source domain, and
measured in others, the target domains. rPD, relative performance under domain shift, is
mIoU_T / mIoU_S. Pairs of images and scans for pretraining may be of any condition, as the thesis's
are; masks are those of the source domain alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from scmpr_ros.atomic_files import write_file, write_json
from scmpr_ros.config import to_dict
from scmpr_ros.errors import ConfigError
from scmpr_ros.evaluation.iou import count_classes
from scmpr_ros.evaluation.metrics import class_iou
from scmpr_ros.evaluation.result import read_json
from scmpr_ros.evaluation.result_table import markdown_table
from scmpr_ros.methods.checkpoint import load_checkpoint
from scmpr_ros.methods.network import PerceivingNetwork
from scmpr_ros.process_pool import run_all
from scmpr_ros.semantics import NUM_CLASSES
from scmpr_ros.training.conditions import conditions_of_drives, matches
from scmpr_ros.training.experiment import ExperimentConfig, Run, trained_rows
from scmpr_ros.training.preparation import (
    PreparationConfig,
    PreparedRecording,
    RecordingSource,
    finished_recordings,
    load_recordings,
)
from scmpr_ros.training.validation import BATCH


@dataclass(frozen=True)
class DomainConfig(ExperimentConfig):
    """Image encoders, and the conditions they are measured in.

    rows: each trains the task `segmentation` on drives of the source's condition.
    test: folder of the towns to measure on, with drives of all conditions.
    source: condition of the source domain. targets: those of the target domains, see
        `training.conditions`.
    """

    test: Path = Path("data/towns/conditions")
    out: Path = Path("out/domain_generalisation")
    source: str = "clear/summer"
    targets: list[str] = field(default_factory=lambda: ["night", "fog", "rain", "winter"])

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.targets:
            raise ConfigError("targets: at least one condition to generalise to")
        for name in self.selected:
            config = self.training_of(self.rows[name], f"row {name!r}")
            if config.task != "segmentation":
                raise ConfigError(f"row {name!r} trains the task {config.task}, not segmentation")


@dataclass(frozen=True)
class DomainScore:
    """mIoU of one network in [0, 1]: in the source domain, in all targets together, and in each.

    All are means over the classes that occur in the source domain and in the targets.
    """

    source: float
    target: float
    by_target: dict[str, float]

    @property
    def rpd(self) -> float:
        """Relative performance under domain shift."""
        return self.target / self.source if self.source else float("nan")


class _Measurement(NamedTuple):
    """Weights, and the towns and conditions that their masks are measured in."""

    weights: Path
    towns: tuple[Path, ...]
    source: str
    targets: tuple[str, ...]
    preparation: PreparationConfig
    prepared: Path
    jobs: int

    @classmethod
    def of(cls, run: Run, towns: Sequence[Path], config: DomainConfig) -> _Measurement:
        training = run.config
        return cls(run.weights, tuple(towns), config.source, tuple(config.targets),
                   training.preparation, training.prepared, training.jobs)  # fmt: skip

    @property
    def file(self) -> Path:
        """Where the score is kept."""
        return self.weights.parent / "domains.json"

    @property
    def settings(self) -> dict[str, Any]:
        """What the score depends on beside the weights."""
        return {"source": self.source, "targets": [*self.targets], "towns": [*map(str, self.towns)]}

    def is_done(self) -> bool:
        """Whether the score is known from an earlier call."""
        return self.file.is_file() and read_json(self.file)["settings"] == self.settings

    def score(self) -> DomainScore:
        """The known score."""
        return DomainScore(**read_json(self.file)["score"])


def measure_domain_generalisation(config: DomainConfig) -> Path:
    """Train and measure all rows; return the path of the table in Markdown."""
    towns = finished_recordings(config.test)

    def measurement(run: Run) -> _Measurement:
        return _Measurement.of(run, towns, config)

    runs = trained_rows(config, towns, lambda _, run: measurement(run).is_done())
    measurements = {name: [measurement(run) for run in row] for name, row in runs.items()}
    missing = [each for row in measurements.values() for each in row if not each.is_done()]
    run_all(_measure, missing, config.jobs, "measuring", "run")
    scores = {name: [each.score() for each in row] for name, row in measurements.items()}
    write_json(config.out / "results.json", {
        "rows": {name: [to_dict(score) for score in own] for name, own in scores.items()},
        "config": to_dict(config),
    })  # fmt: skip
    path = config.out / "domain_generalisation.md"
    write_file(path, _markdown(scores, config).encode())
    return path


def _measure(task: _Measurement) -> None:
    """Write the score of some weights."""
    network = load_checkpoint(task.weights)
    assert isinstance(network, PerceivingNetwork)  # only these have a task segmentation
    sources = [RecordingSource(town) for town in task.towns]
    recordings = load_recordings(
        sources, network.config, task.preparation, task.prepared, task.jobs, "test recordings"
    )
    counts = _count(network, sources, recordings, [task.source, *task.targets])
    source, target = counts[task.source], np.sum([counts[name] for name in task.targets], axis=0)
    occurs = source.any(axis=1) & target.any(axis=1)
    by_target = {name: _miou(counts[name], occurs) for name in task.targets}
    score = DomainScore(_miou(source, occurs), _miou(target, occurs), by_target)
    write_json(task.file, {"settings": task.settings, "score": to_dict(score)})


@torch.no_grad()
def _count(
    network: PerceivingNetwork, sources: Sequence[RecordingSource],
    recordings: Sequence[PreparedRecording], conditions: Sequence[str],
) -> dict[str, NDArray[np.int64]]:  # fmt: skip
    """Cells by true and predicted class, for each condition."""
    counts = {name: np.zeros((NUM_CLASSES, NUM_CLASSES), np.int64) for name in conditions}
    for source, recording in zip(sources, recordings, strict=True):
        of_drives = conditions_of_drives(source)
        for start in range(0, len(recording.views), BATCH):
            part = slice(start, start + BATCH)
            pixels = recording.views[part].float() / 255
            predicted = network.predict(pixels).mask_logits.argmax(1).numpy()
            for true, found, camera in zip(
                recording.masks[part].numpy(), predicted, recording.camera[part], strict=True
            ):
                for name in conditions:
                    if matches(of_drives[camera], name):
                        counts[name] += count_classes(true, found)
    for name, count in counts.items():
        if not count.any():
            raise ConfigError(f"no drive of the test towns has the condition {name!r}")
    return counts


def _miou(confusion: NDArray[np.int64], classes: NDArray[np.bool_]) -> float:
    """Mean over those of the classes (C,) that occur in a confusion (C, C), by truth."""
    return float(np.nanmean(class_iou(confusion)[classes]))


def _markdown(scores: Mapping[str, Sequence[DomainScore]], config: DomainConfig) -> str:
    head = ["", f"mIoU_S, {config.source}", "mIoU_T", "rPD", *config.targets]
    rows = []
    for name, own in scores.items():
        values: list[Any] = [
            [100 * score.source for score in own], [100 * score.target for score in own],
            [score.rpd for score in own],
        ]  # fmt: skip
        values += [[100 * score.by_target[target] for score in own] for target in config.targets]
        digits = [1, 1, 3, *[1] * len(config.targets)]
        rows.append([name, *(_spread(v, d) for v, d in zip(values, digits, strict=True))])
    seeds = ", ".join(map(str, config.seeds))
    lines = ["# Domain generalisation", "", *markdown_table(head, rows)]
    lines += ["", "mIoU in percent over the classes that occur, mean and deviation of the seeds "
              f"{seeds}. mIoU_T: all target domains together. rPD = mIoU_T / mIoU_S."]  # fmt: skip
    return "\n".join([*lines, ""])


def _spread(values: Sequence[float], digits: int) -> str:
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):.{digits}f}"
