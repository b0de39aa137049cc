"""The public interface of the nodes agrees with their console scripts and parameters."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from scmpr_ros.cli import console_scripts
from scmpr_ros.cli.node_commands import (
    command_line,
    localizer,
    map_loader,
    play_bag,
    record_answers,
    soak_localizer,
)
from scmpr_ros.config import flatten
from scmpr_ros.datasets.bags.options import BagTopics
from scmpr_ros.errors import ConfigError
from scmpr_ros.evaluation.benchmark.soak import SoakConfig
from scmpr_ros.evaluation.node_processes import NodeCommand

TOPICS, PATH = BagTopics(), Path("somewhere")
NODES = [
    map_loader(PATH, PATH, PATH), localizer(PATH, TOPICS, 3), record_answers(PATH, TOPICS, 5, 1.0),
    play_bag(PATH, 2.0, TOPICS, 2, 9.0), soak_localizer(SoakConfig(), 1, PATH),
]  # fmt: skip


def test_commands_are_the_console_scripts_of_the_nodes() -> None:
    for_people = {"check"}
    assert {node.name for node in NODES} == set(console_scripts.NODES) - for_people
    for node in NODES:
        python, _, code = node.command
        assert python == sys.executable and f"console_scripts import {node.name} as run" in code


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.name)
def test_parameters_are_those_of_the_node(node: NodeCommand) -> None:
    pytest.importorskip("rclpy", reason="no ROS 2: source one, or install the rclpy wheels")
    from scmpr_ros.ros.answer_recorder_node import AnswerRecorderConfig
    from scmpr_ros.ros.bag_player_node import BagPlayerConfig
    from scmpr_ros.ros.localizer_config import LocalizerNodeConfig
    from scmpr_ros.ros.map_loader_node import MapLoaderConfig
    from scmpr_ros.ros.soak_node import SoakNodeConfig

    config = {
        "map_loader": MapLoaderConfig, "localizer": LocalizerNodeConfig,
        "record_answers": AnswerRecorderConfig, "play_bag": BagPlayerConfig,
        "soak_localizer": SoakNodeConfig,
    }[node.name]  # fmt: skip
    declared = flatten(config())
    for name, value in node.parameters.items():
        assert type(value) is type(declared[name]), name


def test_the_localizer_takes_the_odometry_of_the_bag() -> None:
    node = localizer(PATH, TOPICS, 3)
    assert node.remappings["odom"] == TOPICS.odometry != TOPICS.pose, "the truth would be cheating"


def test_an_unknown_command_is_named() -> None:
    with pytest.raises(ConfigError, match="without the command fly"):
        command_line("fly")
