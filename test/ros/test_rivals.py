"""Every method maps and localises through the nodes: they know no method's name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2: source one, or install the rclpy wheels")

from geometry_msgs.msg import PoseWithCovarianceStamped
from lifecycle_msgs.msg import Transition
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image
from window_methods import small_network, window_methods

from scmpr_ros.methods.checkpoint import save_checkpoint
from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.ros.conversions import image_message

pytestmark = pytest.mark.end_to_end


def configure(graph: Any, node: str, **parameters: str) -> None:
    """Bring an unconfigured node with these parameters to work."""
    values = [Parameter(name, value=value).to_parameter_msg() for name, value in parameters.items()]
    answer = graph.call(SetParametersAtomically, f"{node}/set_parameters_atomically",
                        parameters=values)  # fmt: skip
    assert answer.result.successful, answer.result.reason
    for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
        assert graph.change_state(node, transition), f"{node}: transition {transition}"


def clean_up(graph: Any, node: str) -> None:
    """Bring a working node back to where it can be given other parameters."""
    for transition in (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP):
        assert graph.change_state(node, transition), f"{node}: transition {transition}"


@pytest.fixture
def ask(graph, street_image, street_info) -> Callable[[], PoseWithCovarianceStamped]:
    """Show the localizer images until it gives a pose."""
    poses = graph.collect(PoseWithCovarianceStamped, "/localizer/pose")
    images, infos = graph.publisher(Image, "/image"), graph.publisher(CameraInfo, "/camera_info")

    def show() -> None:
        """An image that arrives before the map or the camera_info may go unanswered."""
        pixels, street_info.header = street_image()
        infos.publish(street_info)
        images.publish(image_message(pixels, street_info.header))

    def pose() -> PoseWithCovarianceStamped:
        poses.clear()
        graph.repeat_until(show, lambda: poses, "a pose", timeout_s=60.0)
        return poses[0]

    return pose


def test_the_same_nodes_localise_by_each_method(
    start_node, graph, street, ask: Callable[[], PoseWithCovarianceStamped], tmp_path: Path
) -> None:
    loader = start_node(
        "map_loader", "-p", "autostart:=false", "-p", f"source:={street.cloud}",
        "-p", "builder.places.spacing_m:=10.0",
    )  # fmt: skip
    localizer = start_node("localizer", "-p", "autostart:=false")
    for name in window_methods():
        weights, directory = tmp_path / f"{name}.safetensors", tmp_path / name
        network = small_network(name)
        save_checkpoint(network, weights)
        configure(graph, "map_loader", checkpoint=str(weights), directory=str(directory))
        configure(graph, "localizer", checkpoint=str(weights))
        position = ask().pose.pose.position
        place_map = PlaceMap.load(directory)
        assert place_map.descriptors.shape[1:] == (6, network.descriptor_dim), name
        offset = place_map.positions[:, :2] - [position.x, position.y]
        assert np.linalg.norm(offset, axis=1).min() < 10.0, name
        clean_up(graph, "localizer")
        clean_up(graph, "map_loader")
    assert loader.stop() == 0 and localizer.stop() == 0, loader.output + localizer.output
    assert "Traceback" not in loader.output + localizer.output
