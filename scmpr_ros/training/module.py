"""The lightning module: one step of cross-modal contrastive learning, for any method."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from scmpr_ros.errors import ConfigError
from scmpr_ros.evaluation.iou import named_iou
from scmpr_ros.evaluation.metrics import Tolerance
from scmpr_ros.methods.network import PerceivingNetwork, PlaceNetworkConfig
from scmpr_ros.methods.objective import ObjectiveConfig
from scmpr_ros.methods.pair_batch import PairBatch
from scmpr_ros.methods.registry import Method
from scmpr_ros.networks.backbones import TimmBackbone, timm_models
from scmpr_ros.networks.batch_norm import PlainBatchNorm
from scmpr_ros.training.augmentation import AugmentationConfig, augment
from scmpr_ros.training.preparation import PreparedRecording
from scmpr_ros.training.validation import RetrievalResult, draw_examples, retrieve_recording


@dataclass(frozen=True)
class OptimiserConfig:
    """AdamW with linear warm-up and a cosine down to zero at `max_steps`.

    pretrained_rate: factor of the learning rate for models of timm: weights that come from real
        images should change less than those that start at random.
    cycles: cosines, each from the full rate down to zero, in equal parts of the steps.
    """

    learning_rate: float = 1e-3
    pretrained_rate: float = 1.0
    weight_decay: float = 0.05
    warmup_steps: int = 200
    max_steps: int = 4000
    cycles: int = 1
    clip_norm: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.warmup_steps < self.max_steps:
            raise ConfigError(
                f"warmup_steps {self.warmup_steps} must be less than max_steps {self.max_steps}"
            )
        if self.cycles < 1:
            raise ConfigError(f"cycles is {self.cycles}; there is at least one")

    def rate_factor(self, step: int) -> float:
        """Fraction of the learning rate at a step."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        done = min((step - self.warmup_steps) / (self.max_steps - self.warmup_steps), 1.0)
        in_cycle = 1.0 if done == 1.0 else done * self.cycles % 1.0
        return 0.5 * (1 + math.cos(math.pi * in_cycle))


@dataclass(frozen=True)
class ModuleConfig:
    """What is trained, and how.

    network, loss: of the method; see `methods.registry`.
    stochastic_depth: drop blocks of the backbone at random, where the backbone can.
    frozen_perception: keep the weights that predict masks and ranges; learn the descriptor only.
    frozen_batch_norm: keep the means and variances of the backbone's batch norms, as a backbone
        with pretrained weights needs: those of synthetic images, or of a few recordings, would
        replace those of ImageNet.
    frozen_descriptor_norm: keep those of the descriptor's normalisations as well.
    frozen_stages: number of the finest stages of each pyramid of timm that keep their weights.
    """

    network: PlaceNetworkConfig
    loss: ObjectiveConfig
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    stochastic_depth: bool = True
    frozen_perception: bool = False
    frozen_batch_norm: bool = False
    frozen_descriptor_norm: bool = False
    frozen_stages: int = 0


class PlaceRecognitionModule(lightning.LightningModule):
    """Trains a method's network on batches of pairs; validates by retrieval."""

    def __init__(
        self,
        method: Method,
        config: ModuleConfig,
        validation_recordings: list[PreparedRecording],
        seed: int = 0,
        task: str = "place",
        accumulate: int = 1,
    ) -> None:
        super().__init__()
        self.config, self.seed, self.accumulate = config, seed, accumulate
        drop_blocks = config.stochastic_depth and not config.frozen_perception
        self.network = method.network.for_training(config.network, drop_blocks)
        if config.frozen_perception:
            _freeze_perception(self.network)
        _freeze_stages(self.network, config.frozen_stages)
        self.objective = method.objective(self.network, config.loss, task)
        self.validation_recordings = validation_recordings
        self._results: list[RetrievalResult] = []
        self.train()  # lightning keeps the mode of each part as it is when a run starts

    def train(self, mode: bool = True) -> PlaceRecognitionModule:
        """Switch to training, except for frozen batch norms."""
        super().train(mode)
        frozen = {
            nn.BatchNorm2d: self.config.frozen_batch_norm,
            PlainBatchNorm: self.config.frozen_descriptor_norm,
        }
        for part in self.network.modules():
            if any(isinstance(part, kind) and on for kind, on in frozen.items()):
                part.eval()
        return self

    def on_train_batch_start(self, batch: PairBatch, batch_idx: int) -> None:
        """Seed each step by its number alone, so that resumed runs continue exactly."""
        part = batch_idx % self.accumulate
        words = np.random.SeedSequence([self.seed, self.global_step, part, self.global_rank])
        torch.manual_seed(int(words.generate_state(1, np.uint64)[0] >> np.uint64(1)))

    def training_step(self, batch: PairBatch, batch_idx: int) -> Tensor:
        """Weighted sum of the method's losses on one batch: L_total, eq. 12, for SCM-PR."""
        with self.device:  # random numbers are drawn where the batch is
            batch = augment(batch, self.config.augmentation, self.network.config.view)
        losses = self.objective.losses(batch)
        total = self.objective.total(losses)
        logged = {f"loss/{name}": loss for name, loss in {"total": total, **losses}.items()}
        self.log_dict({**logged, "scale": self.objective.scale}, prog_bar=True)
        return total

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """Retrieve in the validation recording whose number comes as a batch."""
        recording = self.validation_recordings[int(batch[0])]
        self._results.append(retrieve_recording(self.network, recording))

    def on_validation_epoch_end(self) -> None:
        """Log Recall@1 by descriptors alone, IoU by class, and, in TensorBoard, some answers."""
        recall, near = (
            float(np.mean([result.recall(tolerance) for result in self._results]))
            for tolerance in (Tolerance(), Tolerance(angle_deg=180))
        )
        logged = {"val/recall_5m_30deg": recall, "val/recall_5m": near}
        confusions = [r.confusion for r in self._results if r.confusion is not None]
        if confusions:
            iou = named_iou(np.sum(confusions, axis=0))
            logged["val/iou"] = iou["mean"]
            self.log_dict({f"iou/{name}": value for name, value in iou.items()})
        self.log_dict(logged, prog_bar=True)
        if self.logger is not None and self.global_rank == 0:
            fov_rad = self.network.config.view.fov_rad
            figure = draw_examples(self.validation_recordings[0], self._results[0], fov_rad)
            self.logger.experiment.add_figure("val/answers", figure, self.global_step)  # type: ignore[attr-defined]
        self._results.clear()

    def configure_optimizers(self) -> Any:
        """AdamW; no decay on biases, norms, scan parameters and the scale."""
        config = self.config.optimiser
        pretrained = {
            parameter for model in timm_models(self.network) for parameter in model.parameters()
        }  # fmt: skip
        groups = [
            {
                "params": [
                    p for p in self.parameters()
                    if _decays(p) == decays and (p in pretrained) == slow
                ],
                "lr": config.learning_rate * (config.pretrained_rate if slow else 1.0),
                "weight_decay": config.weight_decay if decays else 0.0,
            }
            for decays in (True, False)
            for slow in (True, False)
        ]  # fmt: skip
        optimiser = torch.optim.AdamW([group for group in groups if group["params"]])
        schedule = {"scheduler": LambdaLR(optimiser, config.rate_factor), "interval": "step"}
        return {"optimizer": optimiser, "lr_scheduler": schedule}


def _freeze_perception(network: nn.Module) -> None:
    assert isinstance(network, PerceivingNetwork)  # `TrainConfig` checks it
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not network.is_perception_weight(name))


def _freeze_stages(network: nn.Module, stages: int) -> None:
    if stages == 0:
        return
    pyramids = [part for part in network.modules() if isinstance(part, TimmBackbone)]
    if not pyramids:
        raise ConfigError(
            "module.frozen_stages is for backbones with a pyramid of timm, see module.network"
        )
    for pyramid in pyramids:
        pyramid.freeze(stages)


def _decays(parameter: Tensor) -> bool:
    """Matrices and kernels; VMamba's A_logs (4 Di, 1) is a vector in all but shape."""
    return parameter.ndim >= 2 and parameter[0].numel() > 1
