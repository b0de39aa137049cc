"""Shared memory of the Fast DDS profile, measured on real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

rclpy = pytest.importorskip("rclpy", reason="no ROS 2: source one, or install the rclpy wheels")
from rclpy.qos import QoSProfile, ReliabilityPolicy  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402

IMAGES = 20
PUBLISHER = f"""
import array, sys, time
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

with rclpy.init():
    node = rclpy.create_node("camera")
    best_effort = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
    publisher = node.create_publisher(Image, "profile_test", best_effort)
    message = Image(height=376, width=1408, step=1408 * 3, encoding="rgb8")
    message.data = array.array("B", bytes(1408 * 376 * 3))
    while publisher.get_subscription_count() == 0:
        time.sleep(0.02)
    time.sleep(0.5)  # until the subscriber has found the publisher, too
    for _ in range({IMAGES}):
        publisher.publish(message)
        time.sleep(0.1)
    sys.stdin.read()
"""


@pytest.fixture
def camera() -> Iterator[subprocess.Popen[bytes]]:
    """A process that publishes KITTI-360 sized images to its first subscriber."""
    process = subprocess.Popen([sys.executable, "-c", PUBLISHER], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.wait()


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs shared memory in /dev/shm")
@pytest.mark.skipif(
    "fastrtps" not in rclpy.get_rmw_implementation_identifier(), reason="needs Fast DDS"
)
def test_best_effort_images_arrive_with_ten_megabytes_a_process(
    graph: Any, camera: subprocess.Popen[bytes]
) -> None:
    best_effort = QoSProfile(depth=IMAGES, reliability=ReliabilityPolicy.BEST_EFFORT)
    received = graph.collect(Image, "profile_test", best_effort, raw=True)
    graph.until(lambda: len(received) == IMAGES, f"{IMAGES} images, {len(received)} arrived")
    assert own_shared_memory(os.getpid()) < 10e6


def own_shared_memory(pid: int) -> int:
    """Bytes allocated in /dev/shm by the Fast DDS segment that process `pid` created.

    A process also maps the segments of its peers, all of the same size: the largest one counts.
    """
    mapped = {
        Path(line.split()[-1])
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines()
        if "/dev/shm/fastdds_" in line and not line.endswith("(deleted)")
    }
    assert mapped, "no Fast DDS segment is mapped: is the profile in use?"
    return max(path.stat().st_blocks * 512 for path in mapped)
