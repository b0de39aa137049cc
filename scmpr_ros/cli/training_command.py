"""What `train` and `ablate` share: settings from a YAML file and flags, a log, and how to go on."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import TypeVar

from jsonargparse import ArgumentParser

from scmpr_ros.cli.console import run_command

Settings = TypeVar("Settings")


def run_training_command(
    name: str,
    description: str,
    kind: type[Settings],
    body: Callable[[Settings], None],
    arguments: list[str] | None,
    after_interrupt: str,
) -> int:
    """Read settings of a dataclass, call the body with them, and return the exit code."""
    parser = ArgumentParser(prog=name, description=description, default_env=False)
    parser.add_argument("--config", action="config", help="YAML file with the settings below")
    parser.add_class_arguments(kind)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    warnings.filterwarnings("ignore", module="lightning")

    def run() -> None:
        settings = parser.instantiate(options)
        del settings.config
        body(kind(**vars(settings)))

    return run_command(name, run, after_interrupt)
