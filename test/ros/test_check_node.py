"""The bring-up checker as a process, beside a real localizer and a real camera."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="no ROS 2: source one, or install the rclpy wheels")

from geometry_msgs.msg import TransformStamped
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header, String

from scmpr_ros.ros.bringup.check_node import CheckNode
from scmpr_ros.ros.bringup.findings import Level
from scmpr_ros.ros.bringup.listener import Listener, publisher_names
from scmpr_ros.ros.bringup.transform_listener import listen_to_transforms
from scmpr_ros.ros.commands.check import options_as_parameters
from scmpr_ros.ros.conversions import image_message
from scmpr_ros.ros.localizer_node import LocalizerNode
from scmpr_ros.ros.qos import LATCHED

pytestmark = pytest.mark.end_to_end


@pytest.fixture
def camera(graph, street_image, street_info) -> Callable[..., Callable[[], None]]:
    """Advertise a camera; returns a function that publishes an image if 0.1 s have passed."""

    def advertise(folder: str, name: str, frame_id: str = "camera_optical", **info: Any):
        images = graph.publisher(Image, f"{folder}/{name}")
        infos = graph.publisher(CameraInfo, f"{folder}/camera_info")
        pixels, header = street_image()
        header.frame_id = street_info.header.frame_id = frame_id
        for key, value in info.items():
            setattr(street_info, key, value)
        published_s = 0.0

        def publish() -> None:
            nonlocal published_s
            if time.monotonic() - published_s < 0.1:
                return
            published_s = time.monotonic()
            header.stamp = street_info.header.stamp = graph.node.get_clock().now().to_msg()
            infos.publish(street_info)
            images.publish(image_message(pixels, header))

        return publish

    return advertise


@pytest.fixture
def spinning_localizer(make_node, spin_thread, street, street_map: Path) -> Iterator[Any]:
    """An active localizer in /robot1, remapped to the topics of /cam."""
    remapped = ["--ros-args", "-r", "image:=/cam/image_rect", "-r",
                "camera_info:=/cam/camera_info"]  # fmt: skip
    node = make_node(
        LocalizerNode, {"namespace": "/robot1", "cli_args": remapped}, map=str(street_map),
        checkpoint=str(street.checkpoint), **{"mount.xyz": [0.4, 0.0, 1.2]},
    )  # fmt: skip
    spinning = spin_thread(node)
    assert node.start()
    yield node
    spinning.stop()


def test_a_robot_that_is_ready(graph, start_node, camera, spinning_localizer) -> None:
    publish = camera("/cam", "image_rect", d=[-0.3, 0.1, 0.0, 0.0, 0.0])
    process = start_node("check", "-r", "__ns:=/robot1", "-p", "seconds:=1.5")

    def has_ended() -> bool:
        publish()
        return process.popen.poll() is not None

    graph.until(has_ended, "the end of the check", timeout_s=60)
    output = process.output
    assert process.wait() == 0, output
    for text in (
        "of 160x96 rgb8 on /cam/image_rect", "OK     rectified",
        "OK     camera_info  /cam/camera_info: 160x96",
        "OK     localizer    /robot1/localizer is active",
        "OK     map          the map was made by the checkpoint network.safetensors",
        "places on", "Hz on /robot1/localizer/pose for",
    ):  # fmt: skip
        assert text in output, output
    last = output.splitlines()[-1]
    assert last.startswith(("nothing to complain about", "0 errors")), output


def test_a_robot_with_faults(graph, camera, street, street_map: Path) -> None:
    publish = camera("/cam", "image_raw", frame_id="", d=[-0.3, 0.1, 0.0, 0.0, 0.0])
    remapped = ["--ros-args", "-r", "image:=/cam/image_raw", "-r", "camera_info:=/cam/camera_info"]
    overrides = {"seconds": 1.0, "map": str(street_map), "checkpoint": str(street.other_checkpoint)}
    node = CheckNode(
        cli_args=remapped, parameter_overrides=[Parameter(k, value=v) for k, v in overrides.items()]
    )
    has_ended = threading.Event()

    def publish_images() -> None:
        while not has_ended.wait(0.02):
            publish()

    thread = threading.Thread(target=publish_images)
    thread.start()
    try:
        found = [finding.text for finding in node.check() if finding.level == Level.ERROR]
    finally:
        has_ended.set()
        thread.join()
        node.destroy_node()
    for text in (
        "/cam/image_raw cannot be rectified",
        "there is no node /localizer", "build the map again with this checkpoint",
    ):  # fmt: skip
        assert any(text in error for error in found), found


def test_options_are_parameters() -> None:
    assert options_as_parameters(["--seconds", "5", "--ros-args", "-r", "a:=b"]) == [
        "--ros-args", "-p", "seconds:=5", "-r", "a:=b",
    ]  # fmt: skip
    assert options_as_parameters(["--map", "m"]) == ["--ros-args", "-p", "map:=m"]
    for unchanged in (["--help"], [], ["--ros-args", "-p", "seconds:=5"]):
        assert options_as_parameters(unchanged) == unchanged


def test_a_listener_hears_what_was_latched(graph) -> None:
    publisher = graph.publisher(String, "latched_text", LATCHED)
    publisher.publish(String(data="before"))
    graph.until(lambda: graph.node.count_publishers("latched_text"), "discovery")
    listener = Listener(graph.node, String, "latched_text")
    graph.until(lambda: listener.stream.messages, "the latched message")
    publisher.publish(String(data="after"))
    graph.until(lambda: listener.stream.newest.data == "after", "the next message")
    stream = listener.finish()
    assert [message.data for message in stream.messages] == ["before", "after"]
    (endpoint,) = stream.of_kind
    assert endpoint.latched and endpoint.reliable
    assert endpoint.node == graph.node.get_fully_qualified_name()


def test_publishers_are_named_by_the_id_of_their_messages(graph) -> None:
    """So that TF says who sent map -> odom."""
    publisher, infos = graph.publisher(String, "named_text"), []

    def take(message: String, info: Any) -> None:
        infos.append(info)

    graph.node.create_subscription(String, "named_text", take, 10)
    graph.publish_until(publisher, String(data="x"), lambda: infos, "a message")
    if "publisher_gid" not in infos[0]:
        pytest.skip("this rclpy does not give the publisher's id")
    names = publisher_names(graph.node, "named_text")
    gid = bytes(infos[0]["publisher_gid"]["data"])
    assert names[gid] == graph.node.get_fully_qualified_name()


def test_transforms_are_heard_with_their_publishers(graph) -> None:
    """With the real messages of TF: who sends what, moving and static."""
    messages = pytest.importorskip("tf2_msgs.msg", reason="tf2_msgs is not installed")
    moving = graph.publisher(messages.TFMessage, "/tf")
    static = graph.publisher(messages.TFMessage, "/tf_static", LATCHED)
    camera = TransformStamped(header=Header(frame_id="base_link"), child_frame_id="camera")
    static.publish(messages.TFMessage(transforms=[camera]))
    odometry = TransformStamped(header=Header(frame_id="odom"), child_frame_id="base_link")
    tree = listen_to_transforms(graph.node)
    assert tree is not None
    message = messages.TFMessage(transforms=[odometry])
    graph.publish_until(moving, message, lambda: len(tree.edges) == 2, "both transforms")
    name = graph.node.get_fully_qualified_name()
    assert {key: edge.is_static for key, edge in tree.edges.items()} == {
        ("odom", "base_link", name): False, ("base_link", "camera", name): True,
    }  # fmt: skip
