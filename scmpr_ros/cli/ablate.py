"""`ablate`: what each module is worth, trained and measured row by row."""

from __future__ import annotations

import logging
import sys
import warnings

from jsonargparse import ArgumentParser
from rich.console import Console
from rich.markdown import Markdown

from scmpr_ros.cli.console import run_command
from scmpr_ros.training.ablation import AblationConfig, ablate


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the console script."""
    parser = ArgumentParser(
        prog="ablate",
        description="Train every row of an ablation on every seed, measure Recall@1 in towns that "
        "no training saw, and write the table. What is done is not done again: a run that was "
        "stopped goes on when it is started again. config/ablation.yaml is table 3 of the paper "
        "and more; LIP-Loc is a row of it.",
        default_env=False,
    )
    parser.add_argument("--config", action="config", help="YAML file with the settings below")
    parser.add_class_arguments(AblationConfig)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    warnings.filterwarnings("ignore", module="lightning")

    def body() -> None:
        settings = parser.instantiate(options)
        del settings.config
        path = ablate(AblationConfig(**vars(settings)))
        Console().print(Markdown(path.read_text()), f"written to {path}, .json and .png")

    return run_command("ablate", body, "start it again to go on")


if __name__ == "__main__":
    sys.exit(main())
