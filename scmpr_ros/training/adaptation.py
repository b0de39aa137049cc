"""Learn from recordings of one's own without ruin: a recipe on top of `train`.

A few hundred frames of one street are too few and too narrow to train on alone. So towns are mixed
in, steps are few and small, a stretch of the same recordings is held out, and training stops when
that stretch is found no better. The weights before and after are averaged by the share that serves
the stretch best. Weights that are no better there, or worse in towns, are not written.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader

from scmpr_ros.atomic_files import exclusive_lock, write_json
from scmpr_ros.config import flatten
from scmpr_ros.errors import ConfigError, ScmprError
from scmpr_ros.methods.checkpoint import load_checkpoint, save_checkpoint
from scmpr_ros.methods.network import PerceivingNetwork, PlaceNetwork
from scmpr_ros.methods.pair_batch import collate
from scmpr_ros.methods.registry import find_method
from scmpr_ros.networks.device import choose_device
from scmpr_ros.networks.weights import load_strictly
from scmpr_ros.resources import DEFAULT_CHECKPOINT, resource
from scmpr_ros.training.adaptation_settings import AdaptConfig
from scmpr_ros.training.balance import mixed_weights
from scmpr_ros.training.held_out import split_recordings
from scmpr_ros.training.measurement import Measurement, measure
from scmpr_ros.training.module import ModuleConfig, PlaceRecognitionModule
from scmpr_ros.training.pairs import NeighbourhoodSampler, PairDataset
from scmpr_ros.training.preparation import PreparedRecording, load_recordings
from scmpr_ros.training.self_training import with_confident_predictions
from scmpr_ros.training.split import check_split
from scmpr_ros.training.train import average_weights, find_sources, resolve_precision

_log = logging.getLogger(__name__)
WEIGHTS, REPORT = "model.safetensors", "report.json"


class AdaptationError(ScmprError):
    """Nothing was gained from the recordings, so no weights were written."""


@dataclass(frozen=True)
class Comparison:
    """Measurements on the held-out stretch and on the validation towns, for a report.

    share: of the initial weights in those measured; 1 are the initial weights.
    """

    share: float
    held_out: Measurement
    towns: Measurement

    def fault(self, before: Comparison, max_town_loss: float) -> str | None:
        """Why weights measured like this are not written; None if they are."""
        if self.held_out.recall < before.held_out.recall:
            return (
                f"Recall@1 on the held-out stretch fell from {before.held_out.recall:.1%} to "
                f"{self.held_out.recall:.1%}"
            )
        if self.held_out.certainty <= before.held_out.certainty:
            return (
                "the right answers on the held-out stretch did not become more probable "
                f"({before.held_out.certainty:.1%} before, {self.held_out.certainty:.1%} after)"
            )
        if self.towns.recall < before.towns.recall - max_town_loss:
            return (
                f"Recall@1 in the validation towns fell from {before.towns.recall:.1%} to "
                f"{self.towns.recall:.1%}"
            )
        return None

    def summary(self) -> dict[str, Any]:
        """Plain numbers."""
        return {
            "initial_share": self.share, "held_out": self.held_out.summary(),
            "towns": self.towns.summary(),
        }  # fmt: skip


@dataclass(frozen=True)
class AdaptationReport:
    """What became of an adaptation.

    before: the initial weights. candidates: averages that were measured on both, the one with the
    best held-out result first; the last one is written unless it has a fault.
    steps: optimiser steps until the best result. weights: the file, None if it was not written.
    """

    before: Comparison
    candidates: tuple[Comparison, ...]
    steps: int
    weights: Path | None

    @property
    def after(self) -> Comparison:
        """The written weights, or the first that were refused."""
        return self.candidates[-1 if self.weights else 0]

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and texts."""
        return {
            "before": self.before.summary(), "after": self.after.summary(),
            "candidates": [candidate.summary() for candidate in self.candidates],
            "steps": self.steps, "weights": None if self.weights is None else str(self.weights),
        }  # fmt: skip


def adapt(config: AdaptConfig) -> AdaptationReport:
    """Adapt weights to recordings; write `report.json`, and the weights unless they have a fault.

    Raises ConfigError if `out` holds weights already or another run uses it, and for recordings
    that must not be trained on.
    """
    weights = config.out / WEIGHTS
    if weights.exists():
        raise ConfigError(f"{weights} exists: name another `out`, or move it away")
    with exclusive_lock(config.out):
        report = _Adaptation(config).run()
        write_json(config.out / REPORT, {**report.to_json(), "settings": flatten(config)})
    return report


def refusal(report: AdaptationReport, config: AdaptConfig) -> AdaptationError:
    """One sentence that says why no weights were written."""
    fault = report.after.fault(report.before, config.max_town_loss)
    return AdaptationError(
        f"no weights are written: {fault}; {config.out / REPORT} holds the numbers. Record more "
        "streets, or lower own_share or optimiser.learning_rate"
    )


class _Adaptation:
    """One adaptation: its data, the weights before, and what they are compared on."""

    def __init__(self, config: AdaptConfig) -> None:
        lightning.seed_everything(config.seed)
        self.config = config
        self.initial = load_checkpoint(
            config.initial or resource(DEFAULT_CHECKPOINT), choose_device("auto")
        )
        if self.initial.method != config.method:
            raise ConfigError(
                f"the initial weights are those of {self.initial.method}: set method to it"
            )
        own, towns, validation = (
            find_sources(folder, names, config.bag)
            for folder, names in (
                (config.recordings, config.sequences), (config.towns, ""),
                (config.town_validation, ""),
            )
        )  # fmt: skip
        check_split([*own, *towns], validation, allow_test_data=config.allow_test_data)
        splits = split_recordings(own, self._load(own, "recordings"), config.held_out)
        self.training = [self._taught(split.training) for split in splits]
        self.held_out = [split.held_out for split in splits]
        self.towns = self._load(towns, "towns")
        self.validation = self._load(validation, "validation towns")

    def run(self) -> AdaptationReport:
        """Train, choose an average, and write it unless it has a fault."""
        before = Comparison(
            1.0, measure(self.initial, self.held_out), measure(self.initial, self.validation)
        )
        _log.info("before: %s", _brief(before))
        module = self._module
        watch = _Watch(self.held_out, self.config)
        self._fit(module, watch)
        if watch.best is None:
            raise AdaptationError("the weights diverged: lower optimiser.learning_rate")
        load_strictly(module.network, watch.best, "the best weights")
        candidates = []
        device = next(self.initial.parameters()).device
        for network, share, held_out in self._averages(module.network.eval().to(device)):
            candidate = Comparison(share, held_out, measure(network, self.validation))
            candidates.append(candidate)
            _log.info("after, %g of the initial weights: %s", share, _brief(candidate))
            if candidate.fault(before, self.config.max_town_loss) is None:
                weights = self.config.out / WEIGHTS
                save_checkpoint(network, weights, torch.float16)
                return AdaptationReport(before, tuple(candidates), watch.best_step, weights)
        return AdaptationReport(before, tuple(candidates), watch.best_step, None)

    def _load(self, sources: Sequence[Any], name: str) -> list[PreparedRecording]:
        config = self.config
        return load_recordings(
            sources, self.initial.config, config.preparation, config.prepared, config.jobs, name
        )

    def _taught(self, recording: PreparedRecording) -> PreparedRecording:
        """The recording, with labels of self-training if they are wanted."""
        if not self.config.self_training:
            return recording
        if not isinstance(self.initial, PerceivingNetwork):
            raise ConfigError(f"{self.config.method} predicts no masks: set self_training to false")
        return with_confident_predictions(self.initial, recording)

    @cached_property
    def _module(self) -> PlaceRecognitionModule:
        config = self.config
        settings = ModuleConfig(
            network=self.initial.config, loss=config.loss, optimiser=config.optimiser,
            augmentation=config.augmentation, stochastic_depth=False,
            frozen_batch_norm=config.frozen_batch_norm,
            frozen_descriptor_norm=config.frozen_batch_norm,
        )  # fmt: skip
        module = PlaceRecognitionModule(find_method(config.method), settings, [], config.seed)
        load_strictly(module.network, self.initial.state_dict(), "the initial weights")
        return module

    def _fit(self, module: PlaceRecognitionModule, watch: _Watch) -> None:
        config, network = self.config, self.initial.config
        dataset = PairDataset(
            [*self.training, *self.towns], config.pairs, network.mask_grid, network.panorama
        )
        sampler = NeighbourhoodSampler(
            dataset, config.batch_size, config.optimiser.max_steps, config.seed,
            weights=mixed_weights(dataset, len(self.training), config.own_share),
        )  # fmt: skip
        trainer = lightning.Trainer(
            max_steps=config.optimiser.max_steps,
            gradient_clip_val=config.optimiser.clip_norm,
            precision=resolve_precision(config.precision),
            log_every_n_steps=5,
            logger=TensorBoardLogger(config.out, name="logs", version=""),
            callbacks=[watch, TQDMProgressBar(refresh_rate=5)],
            enable_checkpointing=False,
            use_distributed_sampler=False,
            devices=1,
        )
        trainer.fit(module, DataLoader(dataset, batch_sampler=sampler, collate_fn=collate))

    def _averages(self, adapted: PlaceNetwork) -> Iterator[tuple[PlaceNetwork, float, Measurement]]:
        """Averages with the initial weights, the best on the held-out stretch first."""
        found = []
        for share in self.config.initial_shares:
            network = copy.deepcopy(adapted)
            average_weights(network, self.initial, share)
            found.append((network, share, measure(network, self.held_out)))
        yield from sorted(found, key=lambda each: -each[2].certainty)


class _Watch(Callback):
    """Measures on the held-out stretch while training; keeps the best weights; stops in time."""

    def __init__(self, held_out: Sequence[PreparedRecording], config: AdaptConfig) -> None:
        self._held_out, self._config = held_out, config
        self._highest, self._without_gain = -1.0, 0
        self.best: dict[str, torch.Tensor] | None = None
        self.best_step = 0

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, *_: object
    ) -> None:
        """Measure every few steps, and at the last one."""
        step, config = trainer.global_step, self._config
        if step % config.validate_every_steps and step < config.optimiser.max_steps:
            return
        assert isinstance(module, PlaceRecognitionModule)
        if not all(value.isfinite().all() for value in module.network.parameters()):
            trainer.should_stop = True
            return
        found = measure(module.network, self._held_out)
        module.train()
        module.log("held_out/certainty", found.certainty, prog_bar=True)
        module.log("held_out/recall_at_1", found.recall, prog_bar=True)
        if found.certainty > self._highest:
            self._highest, self._without_gain, self.best_step = found.certainty, 0, step
            self.best = {
                name: value.detach().cpu().clone()
                for name, value in module.network.state_dict().items()
            }
        else:
            self._without_gain += 1
            trainer.should_stop = self._without_gain >= config.patience


def _brief(comparison: Comparison) -> str:
    held_out, towns = comparison.held_out, comparison.towns
    return (
        f"held-out Recall@1 {held_out.recall:.1%}, certainty {held_out.certainty:.1%}; "
        f"towns Recall@1 {towns.recall:.1%}"
    )
