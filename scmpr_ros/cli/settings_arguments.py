"""Options for the fields of a settings dataclass, with the standard library alone.

Training and evaluation use jsonargparse. `build_map` runs on robots, which do without it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from scmpr_ros.config import descriptions, flatten, from_dict, load_yaml, unflatten

T = TypeVar("T")
_GIVEN = "given_settings"


def add_settings(parser: argparse.ArgumentParser, cls: type) -> None:
    """Add `--settings FILE` and an option `--settings.<key>` for each leaf of a dataclass."""
    group = parser.add_argument_group("settings")
    text = "YAML file with any of these settings; options take precedence"
    group.add_argument("--settings", type=Path, metavar="FILE", help=text)
    meanings = descriptions(cls)
    for key, default in flatten(cls()).items():
        group.add_argument(
            f"--settings.{key}",
            dest=f"settings.{key}",
            action=_StoreSetting,
            default=default,
            metavar=type(default).__name__.upper(),
            help=f"{meanings[key]} (default: {default})".replace("%", "%%").strip(),
        )


def read_settings(options: argparse.Namespace, cls: type[T]) -> T:
    """Build the dataclass from the settings file and the options.

    Raises ConfigError for values of a wrong type, and for those that the dataclass refuses.
    """
    settings = cls() if options.settings is None else load_yaml(cls, options.settings)
    defaults = flatten(cls())
    given = {key: _value(text, defaults[key]) for key, text in getattr(options, _GIVEN, {}).items()}
    return from_dict(cls, unflatten(flatten(settings) | given), source="options")


class _StoreSetting(argparse.Action):
    """Stores the text of an option, and that it was given."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, values)
        given = getattr(namespace, _GIVEN, {})
        setattr(namespace, _GIVEN, given | {self.dest.removeprefix("settings."): values})


def _value(text: str, default: Any) -> Any:
    """Parse text as YAML, except where the setting is itself a text."""
    if isinstance(default, str):
        return text
    try:
        return float(text) if isinstance(default, float) else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError):
        return text  # of a wrong type, which from_dict reports with the name of the setting
