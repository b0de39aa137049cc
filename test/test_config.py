"""Strict conversion between YAML and nested dataclasses."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scmpr_ros import config
from scmpr_ros.errors import ConfigError


@dataclass(frozen=True)
class Inner:
    """A nested block.

    mode: how it is done, on two
        lines.
    low, high: limits of the range.
    """

    mode: Literal["fast", "good"] = "good"
    low: float = 0.0
    high: float = 1.0
    weights: tuple[float, ...] = (0.5, 1.0)
    limit: int | None = None
    """At most this many."""

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"limit {self.limit} must be positive")


@dataclass(frozen=True)
class Outer:
    """The top level."""

    source: Path
    count: int = 3
    ratio: float = 0.1
    verbose: bool = False
    corner: tuple[float, int] = (1.0, 2)
    inner: Inner = field(default_factory=Inner)


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return path


def test_nested_values_and_defaults(tmp_path: Path) -> None:
    path = write(tmp_path, "source: maps/town\nratio: 1e-3\ninner: {mode: fast, weights: [1, 2]}\n")
    loaded = config.load_yaml(Outer, path)
    assert loaded == Outer(
        Path("maps/town"), ratio=0.001, inner=Inner(mode="fast", weights=(1.0, 2.0))
    )
    assert isinstance(loaded.inner.weights[0], float)


@given(
    count=st.integers(),
    ratio=st.floats(allow_nan=False, allow_infinity=False),
    weights=st.lists(st.floats(-1e6, 1e6)),
    limit=st.none() | st.integers(1, 9),
)
def test_round_trip_through_yaml(
    tmp_path_factory: pytest.TempPathFactory, count: int, ratio: float, weights: list[float],
    limit: int | None,
) -> None:  # fmt: skip
    original = Outer(
        Path("a/b"),
        count,
        ratio,
        True,
        (2.0, 3),
        Inner("fast", weights=tuple(weights), limit=limit),
    )
    path = tmp_path_factory.mktemp("config") / "c.yaml"
    config.save_yaml(original, path)
    assert config.load_yaml(Outer, path) == original
    assert [p.name for p in path.parent.iterdir()] == ["c.yaml"]
    assert config.from_dict(Outer, config.unflatten(config.flatten(original))) == original


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ("source: x\ncuont: 2", ["unknown key 'cuont'", "count"]),
        ("source: x\ninner: {mod: fast}", ["unknown key 'inner.mod'", "inner.mode"]),
        ("source: x\ncount: 2.5", ["'count' should be int, got 2.5"]),
        ("source: x\ncount: true", ["'count' should be int, got True"]),
        ("source: x\nverbose: 1", ["'verbose' should be bool, got 1"]),
        ("source: x\nratio: much", ["'ratio' should be float, got 'much'"]),
        ("source: x\ncorner: [1.0, 2, 3]", ["'corner'", "[1.0, 2, 3]"]),
        ("source: x\ninner: {weights: [1, x]}", ["'inner.weights[1]' should be float"]),
        ("source: x\ninner: {mode: best}", ["'inner.mode'", "'fast', 'good'"]),
        ("source: x\ninner: 3", ["inner should be a mapping, got 3"]),
        ("source: x\ninner: {limit: 0}", ["limit 0 must be positive"]),
        ("count: 3", ["'source' is missing"]),
        ("source: x\nsource: y", ["given twice"]),
        ("- 1", ["the top level should be a mapping"]),
        ("source: [", ["not valid YAML"]),
    ],
)
def test_errors_name_file_and_key(tmp_path: Path, text: str, fragments: list[str]) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        config.load_yaml(Outer, path)
    for fragment in [str(path), *fragments]:
        assert fragment in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the configuration"):
        config.load_yaml(Outer, tmp_path / "absent.yaml")


def test_flatten_lists_every_leaf() -> None:
    assert config.flatten(Outer(Path("m"))) == {
        "source": "m", "count": 3, "ratio": 0.1, "verbose": False, "corner": [1.0, 2],
        "inner.mode": "good", "inner.low": 0.0, "inner.high": 1.0, "inner.weights": [0.5, 1.0],
        "inner.limit": None,
    }  # fmt: skip


def test_descriptions_come_from_strings_and_docstrings() -> None:
    found = config.descriptions(Outer)
    assert found["inner.limit"] == "At most this many."
    assert found["inner.mode"] == "how it is done, on two lines."
    assert found["inner.low"] == found["inner.high"] == "limits of the range."
    assert found["count"] == ""
