"""Runs on two tiny recordings: networks and settings small enough for a test."""

from __future__ import annotations

from pathlib import Path

from scmpr_ros.geometry import AngularGrid
from scmpr_ros.methods.scmpr.network import ScmprConfig
from scmpr_ros.methods.scmpr.objective import ScmprObjectiveConfig
from scmpr_ros.training.module import ModuleConfig, OptimiserConfig
from scmpr_ros.training.pairs import PairsConfig
from scmpr_ros.training.preparation import PreparationConfig
from scmpr_ros.training.settings import TrainConfig

TINY = ScmprConfig(
    view=AngularGrid(32, 64, 12.0, -15.0, 80.0), panorama=AngularGrid(8, 120, 16.0, -16.0)
)
PAIRS = PairsConfig(neighbours=3)
TOWN = PreparationConfig()


def tiny_run(recordings: Path, out: Path, max_steps: int) -> TrainConfig:
    """A short run that validates and saves its state every second step.

    recordings: as the fixture of this name makes them, with `validation` beside them.
    """
    module = ModuleConfig(
        network=TINY, loss=ScmprObjectiveConfig(),
        optimiser=OptimiserConfig(max_steps=max_steps, warmup_steps=1),
    )  # fmt: skip
    return TrainConfig(
        recordings=recordings, validation=recordings.parent / "validation",
        prepared=recordings / ".prepared",
        jobs=1, out=out, batch_size=6, validate_every_steps=2, save_every_steps=2,
        pairs=PAIRS, module=module,
    )  # fmt: skip
