"""Matching of parameter files to nodes, compared with what rclpy does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from scmpr_ros.errors import ConfigError
from scmpr_ros.ros.parameter_matching import matches, node_patterns, unmatched_warning

rclpy = pytest.importorskip("rclpy", reason="no ROS 2: source one, or install the rclpy wheels")

NODES = [("", "localizer"), ("/robot1", "localizer"), ("/fleet/robot1", "localizer")]
KEYS = [
    "localizer", "/localizer", "map_loader", "/**", "**", "/*", "*", "/**/localizer",
    "/*/localizer", "robot1/localizer", "/robot1/*", "/robot1/**", "/*/*/localizer",
    "/**/robot1/localizer", "/**/**", "/fleet/robot1/localizer", "/fleet/localizer",
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
def test_keys_match_the_nodes_that_rclpy_gives_the_parameters(
    ros_context: None, tmp_path: Path, key: str
) -> None:
    path = parameter_file(tmp_path, {key: {"ros__parameters": {"answer": 42}}})
    (pattern,) = node_patterns(path)
    for namespace, name in NODES:
        node = rclpy.create_node(
            name,
            namespace=namespace,
            cli_args=["--ros-args", "--params-file", str(path)],
            automatically_declare_parameters_from_overrides=True,
        )
        try:
            assert matches(pattern, f"{namespace}/{name}") == node.has_parameter("answer")
        finally:
            node.destroy_node()


def test_nested_keys_are_namespaces(tmp_path: Path) -> None:
    parameters = {"ros__parameters": {"map": "/maps/town"}}
    path = parameter_file(tmp_path, {"robot1": {"localizer": parameters}, "/**": parameters})
    assert node_patterns(path) == ["/**", "/robot1/localizer"]


def test_a_file_for_another_node_is_reported(tmp_path: Path) -> None:
    path = parameter_file(tmp_path, {"localizer": {"ros__parameters": {"queue_size": 5}}})
    assert unmatched_warning(path, "/localizer") is None
    warning = unmatched_warning(path, "/robot1/localizer")
    assert warning is not None
    assert f"{path} sets no parameter of /robot1/localizer: it addresses /localizer." in warning


@pytest.mark.parametrize("node", ["map_loader", "localizer"])
def test_shipped_files_address_their_node_in_any_namespace(repository: Path, node: str) -> None:
    path = repository / "config" / f"{node}.yaml"
    for name in (f"/{node}", f"/robot1/{node}", f"/fleet/robot1/{node}"):
        assert unmatched_warning(path, name) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("localizer: {map: /maps/town}", "not a ROS parameter file"),
        ("[1, 2]", "not a ROS parameter file"),
        ("", "not a ROS parameter file"),
        ("a: [", "not valid YAML"),
    ],
)
def test_files_without_parameters_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        node_patterns(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.yaml: cannot read .* No such file"):
        unmatched_warning(tmp_path / "no.yaml", "/localizer")


def parameter_file(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(content))
    return path
