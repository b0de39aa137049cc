"""The layouts for RViz and Foxglove show what the nodes publish, and lose none of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("rclpy", reason="no ROS 2: source one, or install the rclpy wheels")

from rclpy.qos import DurabilityPolicy

from scmpr_ros.datasets.bags.options import BagTopics
from scmpr_ros.ros.localizer_node import LocalizerNode
from scmpr_ros.ros.managed_node import SUCCESS
from scmpr_ros.ros.map_loader_node import MapLoaderNode

CONFIG = Path(__file__).resolve().parents[2] / "config"
MESSAGES = {
    "PointCloud2": "sensor_msgs/msg/PointCloud2",
    "PoseArray": "geometry_msgs/msg/PoseArray",
    "MarkerArray": "visualization_msgs/msg/MarkerArray",
    "PoseWithCovariance": "geometry_msgs/msg/PoseWithCovarianceStamped",
    "Image": "sensor_msgs/msg/Image",
}
"""Message type of each display of RViz that subscribes to a topic of our nodes."""
MUST_BE_SHOWN = {
    "/map_loader/points", "/localizer/pose", "/localizer/markers", "/localizer/semantic_mask",
}  # fmt: skip


def rviz() -> dict[str, Any]:
    return dict(yaml.safe_load((CONFIG / "scmpr.rviz").read_text())["Visualization Manager"])


def foxglove() -> dict[str, Any]:
    return dict(json.loads((CONFIG / "foxglove.json").read_text()))


def foxglove_topics() -> set[str]:
    """All topics that any panel names; of a message path, the topic before the first field."""
    panels = foxglove()["configById"]
    paths = [path["value"] for panel in panels.values() for path in panel.get("paths", ())]
    paths += [panel["topicPath"] for panel in panels.values() if "topicPath" in panel]
    topics = {re.match(r"[/\w]+", path)[0] for path in paths}
    topics |= {p["imageMode"]["imageTopic"] for p in panels.values() if "imageMode" in p}
    topics |= {p["topicToRender"] for p in panels.values() if "topicToRender" in p}
    return topics | set(panels["3D!map"]["topics"])


@pytest.fixture
def published(make_node, graph, street, tmp_path: Path) -> dict[str, tuple[str, bool]]:
    """Type of each topic of the nodes, and whether it is latched."""
    loader = make_node(
        MapLoaderNode, source=str(street.cloud), directory=str(tmp_path / "map"),
        checkpoint=str(street.checkpoint),
    )  # fmt: skip
    localizer = make_node(LocalizerNode, checkpoint=str(street.checkpoint))
    found = {}
    for node in (loader, localizer):
        assert node.trigger_configure() == SUCCESS
        for topic, types in node.get_publisher_names_and_types_by_node(node.get_name(), "/"):
            (own,) = [p for p in node.publishers if p.topic_name == topic][:1] or [None]
            latched = own is not None and own.qos_profile.durability == _LATCHED
            found[topic] = types[0], latched
    return found


_LATCHED = DurabilityPolicy.TRANSIENT_LOCAL


def test_rviz_shows_what_the_nodes_publish(published: dict[str, tuple[str, bool]]) -> None:
    shown = set()
    for display in rviz()["Displays"]:
        topic = display.get("Topic", {}).get("Value")
        if topic is None or topic in vars(BagTopics()).values():
            continue
        kind, latched = published[topic]
        assert kind == MESSAGES[display["Class"].split("/")[1]], topic
        durability = "Transient Local" if latched else "Volatile"
        assert display["Topic"]["Durability Policy"] == durability, topic
        shown |= {topic} if display["Enabled"] else set()
    assert shown >= MUST_BE_SHOWN


def test_rviz_shows_the_frames_and_sends_initial_poses() -> None:
    displays, tools = rviz()["Displays"], rviz()["Tools"]
    assert any(d["Class"].endswith("/TF") and d["Enabled"] for d in displays)
    (tool,) = [t for t in tools if t["Class"].endswith("/SetInitialPose")]
    assert tool["Topic"]["Value"] == "/initialpose"
    names = [display["Name"] for display in displays]
    assert len(set(names)) == len(names)


def test_foxglove_shows_what_the_nodes_publish(published: dict[str, tuple[str, bool]]) -> None:
    of_bags = set(vars(BagTopics()).values())
    topics = foxglove_topics()
    assert topics - of_bags <= set(published)
    assert topics >= MUST_BE_SHOWN | {"/localizer/state", "/localizer/status", "/diagnostics"}


def test_foxglove_lays_out_every_panel_once() -> None:
    layout = foxglove()
    assert sorted(_panels(layout["layout"])) == sorted(layout["configById"])


def _panels(part: Any) -> Iterator[str]:
    if isinstance(part, str):
        yield part
        return
    assert part["direction"] in ("row", "column")
    for side in ("first", "second"):
        yield from _panels(part[side])
