"""The localizer's answers, and bad messages, files and parameters."""

from __future__ import annotations

import array
import importlib.util
import json
import signal
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2: source one, or install the rclpy wheels")

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Float32, Header
from std_srvs.srv import Trigger
from visualization_msgs.msg import MarkerArray

from scmpr_ros.errors import ConfigError
from scmpr_ros.ros.conversions import image_message
from scmpr_ros.ros.localizer_node import LocalizerNode
from scmpr_ros.ros.managed_node import SUCCESS

pytestmark = pytest.mark.end_to_end
RGB = np.random.default_rng(0).integers(0, 256, (96, 160, 3), dtype=np.uint8)


def header(number: int) -> Header:
    result = Header(frame_id="camera")
    result.stamp.sec = number
    return result


def camera_info() -> CameraInfo:
    return CameraInfo(header=header(1), width=160, height=96,
                      p=[90.0, 0, 79.5, 0, 0, 90.0, 47.5, 0, 0, 0, 1, 0])  # fmt: skip


def test_survives_bad_messages(start_node, graph, street, street_map: Path) -> None:
    node = start_node(
        "localizer", "-p", f"checkpoint:={street.checkpoint}", "-p", f"map:={street_map}",
        "-p", "queue_size:=20", "-p", "camera_info_timeout_s:=0.1",
        "-p", "relocalize_timeout_s:=0.5",
        "-p", "mount.xyz:=[0.0, 0.0, 1.5]",
    )  # fmt: skip
    node.wait_for("localising images", timeout_s=150)
    images = graph.publisher(Image, "/image")
    compressed = graph.publisher(CompressedImage, "/image/compressed")
    infos = graph.publisher(CameraInfo, "/camera_info")
    poses = graph.collect(PoseWithCovarianceStamped, "/localizer/pose")
    confidences = graph.collect(Float32, "/localizer/confidence")
    masks = graph.collect(Image, "/localizer/semantic_mask")
    markers = graph.collect(MarkerArray, "/localizer/markers")
    diagnostics = graph.collect(DiagnosticArray, "/diagnostics")
    for publisher in (images, compressed, infos):
        graph.until(lambda p=publisher: p.get_subscription_count() == 1, publisher.topic_name)

    # an image that comes before camera_info waits, with a warning
    first = image_message(RGB, header(1))  # one image, however often its stamp comes
    graph.publish_until(
        images, first, lambda: "no camera_info on /camera_info" in node.output, "warning"
    )
    graph.publish_until(
        infos, CameraInfo(width=160, height=96),
        lambda: "camera is not calibrated" in node.output, "calibration error",
    )  # fmt: skip
    infos.publish(camera_info())
    graph.until(lambda: len(poses) == 1, "answer to the image that waited")

    # invalid images are errors; the next image is answered
    empty, strange, short = (image_message(RGB, header(n)) for n in (2, 3, 4))
    empty.height = empty.width = 0
    strange.encoding = "quaternary9"
    short.data = short.data[:100]
    small = image_message(RGB[:48], header(5))
    broken = CompressedImage(header=header(6), format="jpeg", data=array.array("B", b"no jpeg"))
    for number, message in enumerate((empty, strange, short, small), start=1):
        images.publish(message)
        graph.until(lambda n=number: _count(diagnostics, "images failed") == n, "diagnostics")
    compressed.publish(broken)
    graph.until(lambda: _count(diagnostics, "images failed") == 5, "diagnostics")
    assert "readable jpeg or png" in diagnostics[-1].status[0].message
    assert diagnostics[-1].status[0].level == b"\x02"
    answer = graph.request(Trigger, "/localizer/relocalize")
    while not answer.done():  # until its timeout, since it waits for a good image
        compressed.publish(broken)
        broken.header.stamp.nanosec += 1
        rclpy.spin_once(graph.node, timeout_sec=0.05)
    assert not answer.result().success
    assert json.loads(answer.result().message)["outcome"] == "FAILED"

    images.publish(image_message(RGB, header(7)))
    graph.until(lambda: len(poses) == 2, "answer after the bad images")
    assert poses[1].header.frame_id == "map" and poses[1].header.stamp.sec == 7
    assert "cannot localise an image" in node.output and "Traceback" not in node.output
    _check_covariance(poses[1])
    graph.until(lambda: len(confidences) == 2, "confidences")
    assert 0 < confidences[1].data <= 1
    graph.until(lambda: len(masks) == 2 and len(markers) == 2, "mask and markers")
    assert masks[1].header.frame_id == "camera"
    assert len(markers[1].markers) > 1
    # the same noise at the same place: the mount lowers the base below the camera
    assert poses[1].pose.pose.position.z == pytest.approx(poses[0].pose.pose.position.z)
    assert poses[1].pose.pose.position.z < 0.5

    # the same stamp, raw and compressed, is one image
    images.publish(image_message(RGB, header(7)))
    images.publish(image_message(RGB, header(8)))
    graph.until(lambda: len(poses) == 3, "answer to the next stamp")
    assert poses[2].header.stamp.sec == 8

    # a bag that is played again has the same stamps again
    images.publish(image_message(RGB, header(1)))
    graph.until(lambda: len(poses) == 4, "answer to the first stamp of the second round")
    # in the middle of a query, with more images waiting, and a service, too
    graph.request(Trigger, "/localizer/relocalize")
    for number in range(9, 29):
        images.publish(image_message(RGB, header(number)))
    graph.until(lambda: len(poses) > 4, "answers to go on")
    assert node.stop(signal.SIGTERM) == 0
    assert "Traceback" not in node.output and "never retrieved" not in node.output


def test_map_of_another_checkpoint(start_node, graph, street, street_map: Path) -> None:
    """A clear error; the node stays unconfigured and can be given another map."""
    node = start_node("localizer", "-p", f"checkpoint:={street.other_checkpoint}",
                      "-p", f"map:={street_map}")  # fmt: skip
    node.wait_for("was made by checkpoint", timeout_s=150)
    assert graph.state_of("/localizer") == "unconfigured"
    assert node.stop(signal.SIGINT, signal.SIGINT) == 0
    assert "Traceback" not in node.output


def test_lifecycle_by_hand(make_node, graph, street, street_map: Path) -> None:
    """Most parameters are fixed while configured; images are subscribed to while active."""
    node = make_node(LocalizerNode, checkpoint=str(street.checkpoint), map=str(street_map),
                     autostart=False)  # fmt: skip
    assert node.start() and node.trigger_configure() == SUCCESS
    (refused,) = node.set_parameters([Parameter("map_frame", value="world")])
    assert not refused.successful and "clean it up first" in refused.reason
    for _ in range(2):
        assert node.trigger_activate() == SUCCESS
        assert node.count_subscribers("/image") == 1
        assert node.trigger_deactivate() == SUCCESS
        graph.until(lambda: node.count_subscribers("/image") == 0, "unsubscription")
    assert node.trigger_cleanup() == SUCCESS
    (accepted,) = node.set_parameters([Parameter("map_frame", value="world")])
    assert accepted.successful and node.trigger_configure() == SUCCESS
    assert node.config.map_frame == "world"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"chekpoint": "x"}, "unknown parameter 'chekpoint'"),
        ({"queue_size": 0}, "queue_size must be at least 1"),
        ({"relocalize_timeout_s": 0.0}, "relocalize_timeout_s must be positive"),
        ({"tracking.state.lost_probability": 0.9}, "must rise in this order"),
        ({"localizer.matching.alpha": -1.0}, "negative"),
    ],
)
def test_invalid_parameters(make_node, overrides: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_node(LocalizerNode, **overrides)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"checkpoint": "/none.safetensors"}, "no such checkpoint"),
        ({"broadcast_tf": True}, "tf2_ros"),
        ({"localizer.device": "abacus"}, "no device 'abacus'"),
    ],
)
def test_configure_fails_with_one_line(
    make_node, street, street_map: Path, capfd, overrides: dict[str, object], message: str
) -> None:
    if message == "tf2_ros" and importlib.util.find_spec("tf2_ros"):
        pytest.skip("tf2_ros is installed")
    given = {"checkpoint": str(street.checkpoint), "map": str(street_map)} | overrides
    assert not make_node(LocalizerNode, **given).start()
    logged = capfd.readouterr().err
    assert message in logged and "Traceback" not in logged


def _count(diagnostics: list[DiagnosticArray], key: str) -> int:
    if not diagnostics:
        return -1
    return int({v.key: v.value for v in diagnostics[-1].status[0].values}[key])


def _check_covariance(message: PoseWithCovarianceStamped) -> None:
    matrix = np.reshape(message.pose.covariance, (6, 6))
    np.testing.assert_allclose(matrix, matrix.T)
    assert np.linalg.eigvalsh(matrix).min() > 1e-5
