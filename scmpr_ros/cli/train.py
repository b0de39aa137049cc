"""`train`: learn to find camera images in LiDAR maps."""

from __future__ import annotations

import sys

from scmpr_ros.cli.training_command import chosen_method, run_training_command
from scmpr_ros.training.settings import TrainConfig, train_config_class
from scmpr_ros.training.train import train

_DESCRIPTION = """Train a place recognition method on recordings of any known layout. An interrupted
run resumes when it is started again with the same --out. `train --method NAME --help` shows the
settings of a method."""


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the console script."""
    return run_training_command(
        "train", _DESCRIPTION, lambda: train_config_class(chosen_method(arguments)),
        _train, arguments,
        "start it again with the same --out to resume",
    )  # fmt: skip


def _train(config: TrainConfig) -> None:
    train(config)


if __name__ == "__main__":
    sys.exit(main())
