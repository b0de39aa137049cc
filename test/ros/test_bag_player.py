"""The bag player: all messages, in order and on time, latched if recorded so."""

from __future__ import annotations

import signal
import time

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2: source one, or install the rclpy wheels")

from nav_msgs.msg import Odometry
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from scmpr_ros.datasets.bags.reader import BagDrive
from scmpr_ros.datasets.ros_images import rgb_from_image
from scmpr_ros.ros.conversions import stamp_ns
from scmpr_ros.ros.qos import LATCHED

pytestmark = pytest.mark.end_to_end
IMAGE = "/kitti/camera_color_left/image_raw"
INFO = "/kitti/camera_color_left/camera_info"


def test_plays_all_messages_on_time(start_node, graph, street) -> None:
    images, arrivals = graph.collect(Image, "/renamed"), []
    graph.node.create_subscription(Image, "/renamed", lambda _: arrivals.append(time.monotonic()),
                                   50)  # fmt: skip
    poses = graph.collect(Odometry, "/kitti/ground_truth/odometry")
    clock = graph.collect(Clock, "/clock")
    player = start_node(
        "play_bag", "-p", f"bag:={street.bag}", "-r", f"{IMAGE}:=/renamed",
        "-p", f"wait_topic:={IMAGE}", "-p", "wait_subscribers:=2", "-p", "rate:=2.0",
        "-p", "clock_hz:=50.0",
    )  # fmt: skip
    graph.until(lambda: player.popen.poll() is not None, "the player's end", 30)
    graph.until(lambda: len(images) == street.num_images, "images")
    assert player.wait() == 0, player.output
    # camera_info, images, poses and odometry, and one scan; tf2_msgs may not be installed
    assert (
        f"played {4 * street.num_images + 1 + ('skipping' not in player.output)}" in player.output
    )

    drive = BagDrive(street.bag)
    assert [stamp_ns(m.header) for m in images] == [drive.stamp_ns(f) for f in drive.image_frames]
    np.testing.assert_array_equal(rgb_from_image(images[3]), drive.image(3))
    assert len(poses) >= 1
    spacing = np.diff(arrivals)
    assert np.median(spacing) == pytest.approx(0.05, abs=0.02)
    times = [c.clock.sec * 10**9 + c.clock.nanosec for c in clock]
    assert times == sorted(times) and len(times) > 10
    assert np.median(np.diff(times)) == pytest.approx(0.04 * 1e9, rel=1e-6)


def test_loops_until_stopped_and_latches_camera_info(start_node, graph, street) -> None:
    images = graph.collect(CompressedImage, f"{IMAGE}/compressed")
    player = start_node(
        "play_bag", "-p", f"bag:={street.compressed_bag}", "-p", "loop:=true",
        "-p", "rate:=20.0", "-p", f"topics:=['{IMAGE}/compressed', '{INFO}']",
        "-p", f"wait_topic:={IMAGE}/compressed",
    )  # fmt: skip
    graph.until(lambda: len(images) > 2 * street.num_images, "a second round", 30)
    late = graph.collect(CameraInfo, INFO, LATCHED)
    graph.until(lambda: late, "camera_info for a late subscriber")
    assert late[0].p[0] == 90.0
    assert player.stop(signal.SIGINT) == 0
    assert "Traceback" not in player.output


def test_gives_up_without_subscribers(start_node, street) -> None:
    player = start_node("play_bag", "-p", f"bag:={street.bag}", "-p", f"wait_topic:={IMAGE}",
                        "-p", "wait_timeout_s:=0.5")  # fmt: skip
    assert player.wait() == 1
    assert "0 of 1 subscribers" in player.output and "Traceback" not in player.output


def test_missing_topics(start_node, street) -> None:
    player = start_node("play_bag", "-p", f"bag:={street.bag}", "-p", "topics:=[/lidar]")
    assert player.wait() == 1
    assert f"{IMAGE} (sensor_msgs/msg/Image)" in player.output
    player = start_node("play_bag", "-p", f"bag:={street.bag}", "-p", "wait_topic:=/lidar")
    assert player.wait() == 1
    assert "/lidar is not played" in player.output
