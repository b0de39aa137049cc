"""What a training run costs: views seen, and time."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning

from scmpr_ros.atomic_files import write_json
from scmpr_ros.evaluation.result import read_json

COST = "cost.json"
"""Beside the weights of a run."""


@dataclass(frozen=True)
class TrainingCost:
    """Cost of one run, or of several that build on each other.

    views: camera views seen, repeated ones too. processor_s: seconds of all cores together.
    wall_s: seconds on the clock.
    """

    views: int = 0
    processor_s: float = 0.0
    wall_s: float = 0.0

    def __add__(self, other: TrainingCost) -> TrainingCost:
        return TrainingCost(
            self.views + other.views, self.processor_s + other.processor_s,
            self.wall_s + other.wall_s,
        )  # fmt: skip

    @classmethod
    def read(cls, folder: Path) -> TrainingCost:
        """The cost of the run in a folder; DatasetError if it is not known."""
        content = read_json(folder / COST)
        return cls(**{name: content[name] for name in asdict(cls())})


class CostMeter(lightning.Callback):
    """Measures the time between start and end of training, over all its sessions."""

    def __init__(self, folder: Path, views_per_step: int) -> None:
        """folder: of the run, where the cost is written."""
        self.folder, self.views_per_step = folder, views_per_step
        self._before, self._since = TrainingCost(), (time.process_time(), time.perf_counter())

    def on_train_start(self, trainer: lightning.Trainer, module: Any) -> None:
        """Start the clocks."""
        self._since = (time.process_time(), time.perf_counter())

    def cost(self, steps: int) -> TrainingCost:
        """Cost until now, after a number of steps."""
        began_processor_s, began_s = self._since
        return TrainingCost(
            steps * self.views_per_step,
            self._before.processor_s + time.process_time() - began_processor_s,
            self._before.wall_s + time.perf_counter() - began_s,
        )

    def on_train_end(self, trainer: lightning.Trainer, module: Any) -> None:
        """Write the cost beside the weights."""
        if trainer.global_rank == 0:
            write_json(self.folder / COST, asdict(self.cost(trainer.global_step)))

    def state_dict(self) -> dict[str, Any]:
        """Times until now, for a run that resumes."""
        return asdict(self.cost(0))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self._before = TrainingCost(**state)
