"""What `train`, `ablate` and their like share: settings from a YAML file and flags, and a log."""

from __future__ import annotations

import logging
import warnings
from argparse import ArgumentParser as PlainParser
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from jsonargparse import ArgumentParser
from rich.console import Console
from rich.markdown import Markdown

from scmpr_ros.cli.console import run_command
from scmpr_ros.errors import ConfigError
from scmpr_ros.methods.registry import find_method
from scmpr_ros.training.experiment import Experiment, experiment_config_class

Settings = TypeVar("Settings")


def run_training_command(
    name: str,
    description: str,
    settings_class: Callable[[], type[Settings]],
    body: Callable[[Settings], None],
    arguments: list[str] | None,
    after_interrupt: str,
) -> int:
    """Read settings, call the body with them, and return the exit code.

    settings_class: gives the dataclass of settings; it may depend on `chosen_method(arguments)`.
    """

    def run() -> None:
        kind = settings_class()
        parser = ArgumentParser(prog=name, description=description, default_env=False)
        parser.add_argument("--config", action="config", help="YAML file with the settings below")
        parser.add_class_arguments(kind)
        options = parser.instantiate(parser.parse_args(arguments))
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
        warnings.filterwarnings("ignore", module="lightning")
        del options.config
        body(kind(**vars(options)))

    return run_command(name, run, after_interrupt)


def run_experiment_command(
    name: str, description: str, base: type[Experiment], body: Callable[[Experiment], Path],
    arguments: list[str] | None, beside: str,
) -> int:  # fmt: skip
    """Run an experiment and print the Markdown file that it writes.

    base: its settings, whose `train` gets those of the chosen method. beside: what else it writes.
    """

    def run(config: Experiment) -> None:
        path = body(config)
        Console().print(Markdown(path.read_text()), f"written to {path}{beside}")

    return run_training_command(
        name, description,
        lambda: experiment_config_class(base, chosen_method(arguments)),  # type: ignore[arg-type]
        run,
        arguments, "start it again to resume",
    )  # fmt: skip


def chosen_method(arguments: list[str] | None, default: str = "scmpr") -> str:
    """The method that arguments choose, before its settings can be parsed.

    `--method`, or in `ablate` `--train.method`, wins over the file named by `--config`.
    """
    parser = PlainParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--method", "--train.method", dest="method")
    parser.add_argument("--config", type=Path)
    options, _ = parser.parse_known_args(arguments)
    name = options.method or _method_in(options.config) or default
    return find_method(name).name


def _method_in(config: Path | None) -> str | None:
    if config is None:
        return None
    try:
        content: Any = yaml.safe_load(config.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{config}: cannot read the settings: {error}") from error
    content = content if isinstance(content, dict) else {}
    return content.get("method") or (content.get("train") or {}).get("method")
