"""Parameters follow the dataclass: declared names, parameter files, and when they may be set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import ClassVar

import pytest

pytest.importorskip("rclpy", reason="no ROS 2: source one, or install the rclpy wheels")

import rclpy
import yaml
from rclpy.node import Node
from rclpy.parameter import Parameter

from scmpr_ros.config import flatten, from_dict
from scmpr_ros.errors import ConfigError
from scmpr_ros.ros.parameter_files import NODES, parameter_file
from scmpr_ros.ros.parameters import NodeParameters


@dataclass(frozen=True)
class Inner:
    gain: float = 1.0
    """How much."""
    weights: tuple[float, ...] = ()
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.gain < 0:
            raise ConfigError(f"gain {self.gain} must not be negative")


@dataclass(frozen=True)
class Outer:
    count: int = 3
    name: str = "map"
    inner: Inner = field(default_factory=Inner)
    RUNTIME: ClassVar[tuple[str, ...]] = ("count", "inner.*")


@pytest.fixture
def make_bare_node(ros_context: None) -> Iterator[object]:
    made: list[Node] = []

    def make(**overrides: object) -> Node:
        node = Node(
            "parameters_under_test", automatically_declare_parameters_from_overrides=True,
            parameter_overrides=[
                Parameter(name.replace("__", "."), value=value)
                for name, value in overrides.items()
            ],
        )  # fmt: skip
        made.append(node)
        return node

    yield make
    for node in made:
        node.destroy_node()


def test_defaults_and_overrides(make_bare_node) -> None:
    assert NodeParameters(make_bare_node(), Outer).read() == Outer()
    read = NodeParameters(
        make_bare_node(count=4, inner__gain=2, inner__weights=[1, 2], inner__limit=7), Outer
    ).read()
    assert read == Outer(4, "map", Inner(2.0, (1.0, 2.0), 7))


def test_descriptions_are_declared(make_bare_node) -> None:
    node = make_bare_node()
    NodeParameters(node, Outer)
    assert node.describe_parameter("inner.gain").description == "How much."


@pytest.mark.parametrize(
    ("overrides", "fragments"),
    [
        ({"cuont": 1}, ["unknown parameter 'cuont'", "count, name, inner.gain"]),
        ({"inner__gian": 1.0}, ["unknown parameter 'inner.gian'"]),
        ({"count": 1.5}, ["'count' should be int, got 1.5"]),
        ({"name": 5}, ["'name' should be str, got 5"]),
        ({"inner__gain": -1.0}, ["gain -1.0 must not be negative"]),
    ],
)
def test_invalid_overrides(
    make_bare_node, overrides: dict[str, object], fragments: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        NodeParameters(make_bare_node(**overrides), Outer)
    for fragment in ["/parameters_under_test", *fragments]:
        assert fragment in str(caught.value)


def test_overrides_of_rclpy_are_ignored(make_bare_node) -> None:
    node = make_bare_node(use_sim_time=True)
    assert NodeParameters(node, Outer).read() == Outer()
    assert node.get_parameter("use_sim_time").value is True


def test_parameters_are_checked_and_can_be_frozen(make_bare_node) -> None:
    node, frozen, changes = make_bare_node(), [False], []
    parameters = NodeParameters(node, Outer, lambda: frozen[0], changes.append)

    def reason(**values: object) -> str:
        """Set parameters at once; return why that is refused, or nothing."""
        result = node.set_parameters_atomically(
            [Parameter(name.replace("__", "."), value=value) for name, value in values.items()]
        )
        assert result.successful == (not result.reason)
        return result.reason

    assert not reason(inner__gain=3, name="other") and parameters.read().inner.gain == 3.0
    assert "must not be negative" in reason(inner__gain=-3.0)
    assert "'count' should be int" in reason(count="many")
    assert "limit: cannot be deleted" in reason(inner__limit=None)
    assert not changes, "they are read when the node is configured"
    frozen[0] = True
    assert reason(name="third") == "name: fixed while the node is configured; clean it up first"
    assert "name: fixed" in reason(count=9, name="third")
    assert "must not be negative" in reason(count=9, inner__gain=-1)
    assert not changes
    assert not reason(count=5, inner__gain=4)
    assert changes == [parameters.read()] == [Outer(5, "other", Inner(4.0))]


def test_descriptors_name_what_is_fixed(make_bare_node) -> None:
    node = make_bare_node()
    NodeParameters(node, Outer)
    constraints = {p.name: p.additional_constraints
                   for p in node.describe_parameters(["name", "count", "inner.gain"])}  # fmt: skip
    assert constraints == {
        "name": "fixed while the node is configured", "count": "", "inner.gain": "",
    }  # fmt: skip


@pytest.mark.parametrize("cls", NODES.values(), ids=list(NODES))
def test_runtime_parameters_exist(cls: type) -> None:
    for pattern in cls.RUNTIME:
        assert any(fnmatchcase(name, pattern) for name in flatten(cls())), pattern


@pytest.mark.parametrize("node_name", list(NODES))
def test_files_match_fields_and_declared_parameters(
    make_bare_node, repository: Path, node_name: str
) -> None:
    text = (repository / "config" / f"{node_name}.yaml").read_text()
    assert text == parameter_file(node_name), "run: python -m scmpr_ros.ros.parameter_files config"
    values = yaml.safe_load(text)["/**"]["ros__parameters"]
    cls = NODES[node_name]
    assert from_dict(cls, values) == cls()
    node = make_bare_node()
    before = set(node.get_parameters_by_prefix(""))
    NodeParameters(node, cls)
    declared = set(node.get_parameters_by_prefix("")) - before
    assert declared == set(flatten(cls())) == set(flatten(from_dict(cls, values)))


@pytest.mark.parametrize("node_name", list(NODES))
def test_ros_reads_the_parameter_file(ros_context: None, repository: Path, node_name: str) -> None:
    node = Node(
        node_name, automatically_declare_parameters_from_overrides=True, use_global_arguments=False,
        cli_args=["--ros-args", "--params-file", str(repository / f"config/{node_name}.yaml")],
    )  # fmt: skip
    try:
        assert NodeParameters(node, NODES[node_name]).read() == NODES[node_name]()
    finally:
        node.destroy_node()
    assert rclpy.ok()
