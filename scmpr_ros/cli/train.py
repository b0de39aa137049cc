"""`train`: learn to find camera images in LiDAR maps."""

from __future__ import annotations

import sys

from scmpr_ros.cli.training_command import run_training_command
from scmpr_ros.training.train import TrainConfig, train

_DESCRIPTION = """Train SCM-PR on recordings of any known layout. A run that was stopped goes on
where it stopped when it is started again with the same --out."""


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the console script."""
    return run_training_command(
        "train", _DESCRIPTION, TrainConfig, _train, arguments,
        "start it again with the same --out to go on",
    )  # fmt: skip


def _train(config: TrainConfig) -> None:
    train(config)


if __name__ == "__main__":
    sys.exit(main())
