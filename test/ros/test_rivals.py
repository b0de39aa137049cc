"""Every method maps and localises through the nodes: they know no method's name."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2: source one, or install the rclpy wheels")

import rclpy
from geometry_msgs.msg import PoseWithCovarianceStamped
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from window_methods import small_network, window_methods

from scmpr_ros.methods.checkpoint import save_checkpoint
from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.ros.conversions import image_message

pytestmark = pytest.mark.end_to_end
RGB = np.random.default_rng(0).integers(0, 256, (96, 160, 3), dtype=np.uint8)
METHODS = [
    name if name == "i2p_rec" else pytest.param(name, marks=pytest.mark.slow)
    for name in window_methods()
]


@pytest.mark.parametrize("name", METHODS)
def test_an_image_is_localised(start_node, graph, street, tmp_path: Path, name: str) -> None:
    weights, directory = tmp_path / "model.safetensors", tmp_path / "map"
    network = small_network(name)
    save_checkpoint(network, weights)
    loader = start_node(
        "map_loader", "-p", f"source:={street.cloud}", "-p", f"checkpoint:={weights}",
        "-p", f"directory:={directory}", "-p", "builder.places.spacing_m:=10.0",
    )  # fmt: skip
    localizer = start_node("localizer", "-p", f"checkpoint:={weights}")
    localizer.wait_for("localising images", timeout_s=150)
    poses = graph.collect(PoseWithCovarianceStamped, "/localizer/pose")
    images, infos = graph.publisher(Image, "/image"), graph.publisher(CameraInfo, "/camera_info")
    for publisher in (images, infos):
        graph.until(lambda p=publisher: p.get_subscription_count() == 1, publisher.topic_name)
    head = Header(frame_id="camera")
    projection = [90.0, 0, 79.5, 0, 0, 90.0, 47.5, 0, 0, 0, 1, 0]
    numbers = itertools.count(1)

    def next_image_until_answered() -> bool:
        """An image that arrives before the camera_info may go unanswered; its stamp is used up."""
        head.stamp.sec = next(numbers)
        infos.publish(CameraInfo(header=head, width=160, height=96, p=projection))
        images.publish(image_message(RGB, head))
        give_up = time.monotonic() + 0.5
        while not poses and time.monotonic() < give_up:
            rclpy.spin_once(graph.node, timeout_sec=0.05)
        return bool(poses)

    graph.until(next_image_until_answered, "a pose", timeout_s=60.0)
    place_map = PlaceMap.load(directory)
    assert place_map.descriptors.shape[1:] == (6, network.descriptor_dim)
    position = poses[0].pose.pose.position
    offset = place_map.positions[:, :2] - [position.x, position.y]
    assert np.linalg.norm(offset, axis=1).min() < 10.0
    assert loader.stop() == 0 and localizer.stop() == 0, loader.output + localizer.output
    assert "Traceback" not in loader.output + localizer.output
