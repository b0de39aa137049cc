"""The heartbeat for lifecycle managers; its messages come with the ROS 2 package bond."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

import pytest

pytest.importorskip("rclpy", reason="no ROS 2: source one, or install the rclpy wheels")

from lifecycle_msgs.msg import Transition

from scmpr_ros.ros.managed_node import ManagedNode

HAS_BOND = importlib.util.find_spec("bond") is not None
NAME = "/bonded/idle"


@dataclass(frozen=True)
class IdleConfig:
    autostart: bool = True
    bond: bool = True
    checkpoint: str = ""


class IdleNode(ManagedNode[IdleConfig]):
    """A lifecycle node that does nothing."""

    def __init__(self, **node_arguments: object) -> None:
        super().__init__("idle", IdleConfig, **node_arguments)

    def configure(self) -> None: ...

    def activate(self) -> None: ...

    def deactivate(self) -> None: ...

    def release(self) -> None: ...


@pytest.mark.skipif(HAS_BOND, reason="the package bond is installed")
def test_without_its_messages_the_activation_fails_with_one_line(make_node, capfd) -> None:
    assert not make_node(IdleNode).start()
    logged = capfd.readouterr().err
    assert "parameter 'bond' needs the ROS 2 package bond" in logged and "Traceback" not in logged


@pytest.mark.skipif(not HAS_BOND, reason="the package bond is not installed")
def test_a_manager_sees_when_the_node_is_active(run_node, graph) -> None:
    from bond.msg import Status

    received = graph.collect(Status, "/bonded/bond")
    node = run_node(IdleNode, "/bonded")
    graph.until(lambda: len(received) >= 10, "heartbeats")
    assert {(s.id, s.active) for s in received} == {("idle", True)}
    first = received[-1].instance_id
    assert received[-1].heartbeat_timeout > 10 * received[-1].heartbeat_period > 0
    assert graph.change_state(NAME, Transition.TRANSITION_DEACTIVATE)
    graph.until(lambda: not received[-1].active, "the end")
    graph.until(lambda: node.count_publishers("/bonded/bond") == 0, "the end of the topic")
    assert [s.active for s in received].count(False) == 1
    assert graph.change_state(NAME, Transition.TRANSITION_ACTIVATE)
    graph.until(lambda: received[-1].active, "heartbeats again")
    assert received[-1].instance_id != first, "a bond is formed anew"
    assert graph.change_state(NAME, Transition.TRANSITION_ACTIVE_SHUTDOWN)
    graph.until(lambda: not received[-1].active, "the end")
    assert graph.state_of(NAME) == "finalized"
