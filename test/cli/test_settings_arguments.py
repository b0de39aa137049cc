"""Options of a settings dataclass for argparse."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from scmpr_ros.cli.build_map import _config, _parser
from scmpr_ros.cli.settings_arguments import add_settings, join_signed_values, read_settings
from scmpr_ros.errors import ConfigError


@dataclass(frozen=True)
class Lens:
    """focal: in pixels, 100 % of the truth."""

    focal: float = 700.0
    size: tuple[int, int] = (640, 480)


@dataclass(frozen=True)
class Settings:
    """sequence: a name, even where it looks like a number."""

    sequence: str = ""
    levelled: bool = False
    lens: Lens = field(default_factory=Lens)


def parse(*arguments: str) -> Settings:
    parser = argparse.ArgumentParser()
    add_settings(parser, Settings)
    return read_settings(parser.parse_args(arguments), Settings)


def test_defaults_are_those_of_the_dataclass() -> None:
    assert parse() == Settings()


def test_options_are_converted_to_the_types_of_the_fields() -> None:
    options = ["--settings.sequence", "07", "--settings.levelled", "true"]
    options += ["--settings.lens.focal", "1e3", "--settings.lens.size", "[800, 600]"]
    assert parse(*options) == Settings("07", True, Lens(1000.0, (800, 600)))


def test_options_take_precedence_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("sequence: '03'\nlens: {focal: 500}\n")
    options = ["--settings", str(file), "--settings.sequence", ""]
    assert parse(*options) == Settings("", False, Lens(500.0))


def test_a_wrong_type_names_the_setting() -> None:
    with pytest.raises(ConfigError, match=r"options: 'lens\.focal' should be float, got 'long'"):
        parse("--settings.lens.focal", "long")


def test_help_shows_meaning_and_default() -> None:
    parser = argparse.ArgumentParser()
    add_settings(parser, Settings)
    text = " ".join(parser.format_help().split())
    assert "in pixels, 100 % of the truth. (default: 700.0)" in text


@pytest.mark.parametrize(
    ("option", "value", "setting"),
    [("--up", "-y", "up"), ("--cloud.up", "-x", "up"), ("--origin", "-5.5,2,3", "origin"),
     ("--origin", "-.5,2,3", "origin"), ("--origin", "1,-2,3", "origin")],
)  # fmt: skip
def test_values_that_begin_with_a_minus(option: str, value: str, setting: str) -> None:
    for given in ([option, value], [f"{option}={value}"]):
        options = _parser().parse_args(join_signed_values([*given, "--update", "map", "out"]))
        assert getattr(_config(options).source.cloud, setting) == value
        assert options.update and options.out == Path("out")


def test_a_missing_value_stays_missing() -> None:
    given = ["--up", "--update", "--up", "-h", "-5", "--origin=1,2,3", "-4"]
    assert join_signed_values(given) == given
