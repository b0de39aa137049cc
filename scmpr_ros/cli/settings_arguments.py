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


def add_settings(
    parser: argparse.ArgumentParser, cls: type, name: str = "settings", title: str = "",
    besides: tuple[str, ...] = (),
) -> None:  # fmt: skip
    """Add `--<name> FILE` and an option `--<name>.<key>` for each leaf of a dataclass.

    title: of the group of options in the help; by default the name. besides: beginnings of keys
        that get no option.
    """
    group = parser.add_argument_group(title or name)
    text = f"YAML file with any of these {name} options; options take precedence"
    group.add_argument(f"--{name}", type=Path, metavar="FILE", help=text)
    meanings = descriptions(cls)
    for key, default in flatten(cls()).items():
        if key.startswith(besides):
            continue
        group.add_argument(
            f"--{name}.{key}",
            dest=f"{name}.{key}",
            action=_StoreSetting,
            default=default,
            metavar=type(default).__name__.upper(),
            help=f"{meanings[key]} (default: {default})".replace("%", "%%").strip(),
        )


def read_settings(
    options: argparse.Namespace, cls: type[T], name: str = "settings", base: T | None = None
) -> T:
    """Build the dataclass from the file and the options that `add_settings` added.

    base: what holds without a file; None for the defaults.

    Raises ConfigError for values of a wrong type, and for those that the dataclass refuses.
    """
    file, defaults = getattr(options, name), flatten(cls())
    settings = (base or cls()) if file is None else load_yaml(cls, file)
    given = {
        key.removeprefix(f"{name}."): _value(text, defaults[key.removeprefix(f"{name}.")])
        for key, text in getattr(options, _GIVEN, {}).items()
        if key.startswith(f"{name}.")
    }
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
        setattr(namespace, _GIVEN, given | {self.dest: values})


def _value(text: str, default: Any) -> Any:
    """Parse text as YAML, except where the setting is itself a text."""
    if isinstance(default, str):
        return text
    try:
        return float(text) if isinstance(default, float) else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError):
        return text  # of a wrong type, which from_dict reports with the name of the setting
