"""Run by torchrun: short trainings in several processes that record losses and gradients."""

from __future__ import annotations

import sys
from dataclasses import fields, replace
from pathlib import Path

import lightning
import torch
from safetensors.torch import save_file
from tiny_runs import tiny_run

from scmpr_ros.methods.scmpr.objective import ScmprObjectiveConfig
from scmpr_ros.training.augmentation import AugmentationConfig
from scmpr_ros.training.module import PlaceRecognitionModule
from scmpr_ros.training.train import train


class Recorder(lightning.Callback):
    """Losses of all steps, and gradients of the first, as OUT-RANK.safetensors."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.recorded: dict[str, torch.Tensor] = {}

    def on_before_optimizer_step(self, trainer, module, optimiser) -> None:
        step = trainer.global_step
        self.recorded[f"loss {step}"] = trainer.callback_metrics["loss/total"].clone()
        for name, parameter in module.named_parameters():
            if step == 0 and parameter.grad is not None:
                self.recorded[name] = parameter.grad.clone().contiguous()

    def on_train_end(self, trainer, module) -> None:
        save_file(self.recorded, f"{self.out}-{trainer.global_rank}.safetensors")


def record_losses(recordings: Path, out: Path, precision: str) -> None:
    """Three steps of gradient descent, without anything that is random in each process."""
    config = replace(tiny_run(recordings, out, max_steps=3), validation=None, precision=precision)
    off = AugmentationConfig(**{field.name: 0.0 for field in fields(AugmentationConfig)})
    module = replace(
        config.module, augmentation=off, stochastic_depth=False,
        loss=ScmprObjectiveConfig(memory=8, local_weight=0.0),
    )  # fmt: skip

    adam = PlaceRecognitionModule.configure_optimizers
    PlaceRecognitionModule.configure_optimizers = _gradient_descent
    try:
        train(replace(config, module=module), [Recorder(out)])
    finally:
        PlaceRecognitionModule.configure_optimizers = adam


def _gradient_descent(module: PlaceRecognitionModule) -> torch.optim.Optimizer:
    return torch.optim.SGD(module.parameters(), lr=0.01)


if __name__ == "__main__":
    for precision in ("32-true", "bf16-mixed"):
        record_losses(Path(sys.argv[1]), Path(sys.argv[2]) / precision, precision)
