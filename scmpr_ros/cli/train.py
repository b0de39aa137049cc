"""`train`: learn to find camera images in LiDAR maps."""

from __future__ import annotations

import logging
import sys
import warnings

from jsonargparse import ArgumentParser

from scmpr_ros.cli.console import run_command
from scmpr_ros.training.train import TrainConfig, train


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the console script."""
    parser = ArgumentParser(
        prog="train",
        description="Train SCM-PR on recordings in KITTI layout. A run that was stopped goes on "
        "where it stopped when it is started again with the same --out.",
        default_env=False,
    )
    parser.add_argument("--config", action="config", help="YAML file with the settings below")
    parser.add_class_arguments(TrainConfig)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    warnings.filterwarnings("ignore", module="lightning")

    def body() -> None:
        settings = parser.instantiate(options)
        del settings.config
        train(TrainConfig(**vars(settings)))

    return run_command("train", body, "start it again with the same --out to go on")


if __name__ == "__main__":
    sys.exit(main())
