"""Does contrast of camera and LiDAR help an image encoder in conditions it was not trained in?

The experiment of "Camera-LiDAR contrastive pretraining" (thesis, table 4.3): image encoders, with
and without such pretraining, are trained to segment images of one condition, the source domain, and
measured in others, the target domains. rPD, relative performance under domain shift, is
mIoU_T / mIoU_S.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from scmpr_ros.atomic_files import write_file, write_json
from scmpr_ros.config import to_dict
from scmpr_ros.errors import ConfigError
from scmpr_ros.evaluation.iou import count_classes, named_iou
from scmpr_ros.evaluation.result import read_json
from scmpr_ros.evaluation.result_table import markdown_table
from scmpr_ros.methods.checkpoint import load_checkpoint
from scmpr_ros.methods.network import PerceivingNetwork
from scmpr_ros.semantics import NUM_CLASSES
from scmpr_ros.training.conditions import conditions_of_drives, matches
from scmpr_ros.training.experiment import ExperimentConfig, Run, trained_rows
from scmpr_ros.training.preparation import (
    PreparedRecording,
    RecordingSource,
    finished_recordings,
    load_recordings,
)
from scmpr_ros.training.validation import BATCH

_SCORE = "domains.json"


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
    """mIoU of one network in [0, 1]: in the source domain, in all targets together, and in each."""

    source: float
    target: float
    by_target: dict[str, float]

    @property
    def rpd(self) -> float:
        """Relative performance under domain shift."""
        return self.target / self.source if self.source else float("nan")


def measure_domain_generalisation(config: DomainConfig) -> Path:
    """Train and measure all rows; return the path of the table in Markdown."""
    towns = finished_recordings(config.test)
    runs = trained_rows(config, towns, lambda _, run: _earlier(run, towns, config) is not None)
    scores: dict[str, list[DomainScore]] = {}
    for name, row in runs.items():
        scores[name] = [_score(run, towns, config) for run in row]
        write_json(config.out / "results.json", {
            "rows": {name: [to_dict(x) for x in own] for name, own in scores.items()},
            "config": to_dict(config),
        })  # fmt: skip
    path = config.out / "domain_generalisation.md"
    write_file(path, _markdown(scores, config).encode())
    return path


def _earlier(run: Run, towns: Sequence[Path], config: DomainConfig) -> DomainScore | None:
    """The score of a run from an earlier call, if there was one."""
    path = run.config.out / _SCORE
    if path.is_file() and (earlier := read_json(path))["settings"] == _settings(towns, config):
        return DomainScore(**earlier["score"])
    return None


def _settings(towns: Sequence[Path], config: DomainConfig) -> dict[str, Any]:
    """What a score depends on beside the weights."""
    return {"source": config.source, "targets": config.targets, "towns": [*map(str, towns)]}


def _score(run: Run, towns: Sequence[Path], config: DomainConfig) -> DomainScore:
    """The score of a run, from an earlier call if there was one."""
    if (earlier := _earlier(run, towns, config)) is not None:
        return earlier
    network = load_checkpoint(run.weights)
    assert isinstance(network, PerceivingNetwork)  # only these have a task segmentation
    sources = [RecordingSource(town) for town in towns]
    training = run.config
    recordings = load_recordings(
        sources, network.config, training.preparation, training.prepared, training.jobs,
        "test recordings",
    )  # fmt: skip
    counts = _count(network, sources, recordings, [config.source, *config.targets])
    by_target = {name: _miou(counts[name]) for name in config.targets}
    target = _miou(np.sum([counts[name] for name in config.targets], axis=0))
    score = DomainScore(_miou(counts[config.source]), target, by_target)
    content = {"settings": _settings(towns, config), "score": to_dict(score)}
    write_json(run.config.out / _SCORE, content)
    return score


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


def _miou(confusion: NDArray[np.int64]) -> float:
    return named_iou(confusion)["mean"]


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
