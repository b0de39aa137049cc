"""Weights on the way: those of some steps of a run, beside its last ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning
import torch

from scmpr_ros.methods.checkpoint import save_checkpoint


class WeightsKeeper(lightning.Callback):
    """Writes `step-N.safetensors` into the folder of a run after some of its optimiser steps."""

    def __init__(self, folder: Path, steps: Sequence[int]) -> None:
        self.folder, self.steps = folder, set(steps)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write the weights of this step, unless they were written before."""
        path = self.folder / f"step-{trainer.global_step}.safetensors"
        if trainer.global_step in self.steps and trainer.global_rank == 0 and not path.exists():
            save_checkpoint(module.network, path, torch.float16)
