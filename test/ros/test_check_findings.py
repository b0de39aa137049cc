"""Findings of the bring-up checker, from real messages: what each says, and when it is silent."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2: source one, or install the rclpy wheels")

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from geometry_msgs.msg import Quaternion, TransformStamped, Vector3
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from scmpr_ros.geometry import R_BODY_OPTICAL, make_transform
from scmpr_ros.records import Mount
from scmpr_ros.ros.bringup.camera_info_checks import CAMERA_INFO, check_camera_info
from scmpr_ros.ros.bringup.findings import Finding, Level, summary
from scmpr_ros.ros.bringup.image_checks import (
    COMPRESSED,
    IMAGE,
    ImageExpectation,
    check_images,
    check_rectified,
)
from scmpr_ros.ros.bringup.map_checks import MapExpectation, check_map
from scmpr_ros.ros.bringup.node_checks import (
    NodeState,
    check_diagnostics,
    check_node,
    check_poses,
)
from scmpr_ros.ros.bringup.odometry_checks import ODOMETRY, check_odometry
from scmpr_ros.ros.bringup.stamp_checks import check_stamps
from scmpr_ros.ros.bringup.streams import Arrival, Endpoint, Stream
from scmpr_ros.ros.bringup.transform_checks import (
    TransformExpectation,
    TransformTree,
    check_transforms,
)
from scmpr_ros.ros.conversions import image_message, quaternion_xyzw

NOW_NS = 1_800_000_000_000_000_000
RATE_HZ = 10.0
PIXELS = np.random.default_rng(0).integers(0, 256, (96, 160, 3), dtype=np.uint8)
DISTORTION = [-0.3, 0.1, 0.0, 0.0, 0.0]


def texts(findings: Iterable[Finding], level: Level) -> list[str]:
    return [finding.text for finding in findings if finding.level == level]


def the_error(findings: Iterable[Finding]) -> str:
    (text,) = texts(findings, Level.ERROR)
    return text


def the_warning(findings: Iterable[Finding]) -> str:
    found = list(findings)
    assert not texts(found, Level.ERROR), found
    (text,) = texts(found, Level.WARN)
    return text


def all_fine(findings: Iterable[Finding]) -> list[str]:
    found = list(findings)
    assert found and all(finding.level == Level.OK for finding in found), found
    return [finding.text for finding in found]


def arrivals(count: int = 20, age_s: float = 0.05) -> list[Arrival]:
    """Messages at RATE_HZ that come `age_s` after their stamps."""
    times_s = np.arange(count) / RATE_HZ
    return [
        Arrival(100 + t, NOW_NS + int(1e9 * t), NOW_NS + int(1e9 * (t - age_s))) for t in times_s
    ]


def stream(kind: str, topic: str, message: Any = None, **changes: Any) -> Stream:
    """A topic of one publisher; silent without a message."""
    values: dict[str, Any] = {"publishers": [Endpoint("/camera", kind)]}
    if message is not None:
        values |= {"arrivals": arrivals(), "messages": [message]}
    return Stream(topic, kind, **(values | changes))


def images(message: Image | None = None, topic: str = "/camera/image_rect", **changes: Any):
    message = message or image_message(PIXELS, Header(frame_id="camera_optical"))
    seen = {(message.width, message.height, message.encoding): 20}
    return stream(IMAGE, topic, message, **({"seen": seen} | changes))


NO_COMPRESSED = Stream("/camera/image_rect/compressed", COMPRESSED)
EXPECTED = ImageExpectation()


# --- images --------------------------------------------------------------------------------------


def test_good_images() -> None:
    (text,) = all_fine(check_images(images(), NO_COMPRESSED, EXPECTED, {}))
    assert text == "10.0 Hz of 160x96 rgb8 on /camera/image_rect, reliable, from /camera"


def test_compressed_images() -> None:
    message = CompressedImage(format="jpeg", data=cv2.imencode(".jpg", PIXELS)[1].tobytes())
    compressed = stream(COMPRESSED, "/camera/image_rect/compressed", message)
    raw = Stream("/camera/image_rect", IMAGE)
    (text,) = all_fine(check_images(raw, compressed, EXPECTED, {}))
    assert "160x96 compressed (jpeg) on /camera/image_rect/compressed" in text
    expected = ImageExpectation(transport="raw")
    assert "image_transport is raw: set it to compressed" in the_error(
        check_images(raw, compressed, expected, {})
    )
    message.data = b"no jpeg"
    assert "cannot be decoded" in the_error(check_images(raw, compressed, EXPECTED, {}))


def test_no_publisher_names_what_there_is() -> None:
    nobody = Stream("/image", IMAGE)
    topics = {"/cam/image_raw": [IMAGE], "/cam/image_rect": [IMAGE], "/points": ["x"],
              "/localizer/semantic_mask": [IMAGE]}  # fmt: skip
    text = the_error(check_images(nobody, NO_COMPRESSED, EXPECTED, topics))
    assert "images are on /cam/image_raw, /cam/image_rect" in text
    assert text.endswith("-r image:=/cam/image_rect")
    text = the_error(check_images(nobody, NO_COMPRESSED, EXPECTED, {}))
    assert "start the camera driver, and compare ROS_DOMAIN_ID" in text


def test_a_topic_of_another_type() -> None:
    wrong = Stream("/cam/compressed", IMAGE, [Endpoint("/camera", COMPRESSED)])
    assert "remap image to /cam, and" in the_error(check_images(wrong, NO_COMPRESSED, EXPECTED, {}))
    wrong = Stream("/cam", IMAGE, [Endpoint("/camera", "std_msgs/msg/String")])
    assert "carries std_msgs/msg/String" in the_error(
        check_images(wrong, NO_COMPRESSED, EXPECTED, {})
    )


def test_a_silent_camera() -> None:
    text = the_error(check_images(stream(IMAGE, "/image"), NO_COMPRESSED, EXPECTED, {}))
    assert "published by /camera, but no image came" in text and "trigger" in text


def test_an_encoding_that_cannot_be_decoded() -> None:
    message = Image(width=4, height=2, step=8, encoding="mono16x", data=bytes(16))
    text = the_error(check_images(images(message), NO_COMPRESSED, EXPECTED, {}))
    assert "mono16x" in text and "publish rgb8" in text


def test_images_that_change_and_that_are_slow_or_dark() -> None:
    seen = {(160, 96, "rgb8"): 10, (320, 192, "rgb8"): 10}
    text = the_error(check_images(images(seen=seen), NO_COMPRESSED, EXPECTED, {}))
    assert "160 96 rgb8; 320 192 rgb8" in text
    slow = [Arrival(a.received_s * 20, a.now_ns, a.stamp_ns) for a in arrivals()]
    text = the_warning(check_images(images(arrivals=slow), NO_COMPRESSED, EXPECTED, {}))
    assert "0.5 Hz" in text and "tracking needs more" in text
    dark = image_message(np.zeros_like(PIXELS), Header())
    assert "lens cap" in the_warning(check_images(images(dark), NO_COMPRESSED, EXPECTED, {}))


def test_delivery() -> None:
    best_effort = [Endpoint("/camera", IMAGE, reliable=False)]
    stream = images(publishers=best_effort)
    (text,) = all_fine(check_images(stream, NO_COMPRESSED, EXPECTED, {}))
    assert "best effort" in text
    expected = ImageExpectation(reliable=True)
    assert "reliable_images" in the_error(check_images(stream, NO_COMPRESSED, expected, {}))
    two = images(publishers=[Endpoint("/left", IMAGE), Endpoint("/right", IMAGE)])
    assert "/left, /right" in the_warning(check_images(two, NO_COMPRESSED, EXPECTED, {}))


def test_lost_images_and_the_profile() -> None:
    half = [a for i, a in enumerate(arrivals(60)) if i % 4 != 1]
    text = the_warning(check_images(images(arrivals=half), NO_COMPRESSED, EXPECTED, {}))
    assert "25% of the images" in text or "24% of the images" in text
    large = image_message(np.tile(PIXELS, (5, 5, 1)), Header())
    sender = [Endpoint("/camera", IMAGE, reliable=False)]
    expected = ImageExpectation(has_profile=False)
    found = check_images(images(large, publishers=sender), NO_COMPRESSED, expected, {})
    assert "config/fastdds.xml" in the_warning(found)
    all_fine(check_images(images(large, publishers=sender), NO_COMPRESSED, EXPECTED, {}))


def test_rectification() -> None:
    straight, bent = info_message(), info_message(d=DISTORTION, distortion_model="plumb_bob")
    all_fine(check_rectified("/cam/image_rect", bent, {}))
    all_fine(check_rectified("/cam/image_rect_color/compressed", bent, {}))
    all_fine(check_rectified("/cam/image_raw", straight, {}))
    text = the_warning(check_rectified("/cam/image_raw", bent, {}))
    assert "plumb_bob distortion [-0.3, 0.1" in text and "taken for raw" in text
    topics = {"/cam/image_rect": [IMAGE], "/other/image_rect": [IMAGE]}
    text = the_warning(check_rectified("/cam/image_raw/compressed", bent, topics))
    assert text.endswith("but /cam/image_rect is already: remap image to it")
    all_fine(check_rectified("/cam/front", bent, {}, "always"))
    assert "straight edges" in the_warning(check_rectified("/cam/front", bent, {}, "never"))
    unknown = info_message(d=DISTORTION, distortion_model="omnidirectional")
    assert "'omnidirectional'" in the_error(check_rectified("/cam/image_raw", unknown, {}))


# --- camera_info ---------------------------------------------------------------------------------


def info_message(fx: float = 90.0, **changes: Any) -> CameraInfo:
    P = [fx, 0, 79.5, 0, 0, fx, 47.5, 0, 0, 0, 1, 0]
    K = [fx, 0, 79.5, 0, fx, 47.5, 0, 0, 1]
    values = {"width": 160, "height": 96, "p": np.array(P, float), "k": np.array(K, float),
              "d": [0.0] * 5, "r": np.eye(3).ravel()}  # fmt: skip
    return CameraInfo(header=Header(frame_id="camera_optical"), **(values | changes))


def check_info(
    message: CameraInfo | None, image: Stream | None = None, view_fov_deg: float = 80.0,
    **changes: Any,
) -> list[Finding]:  # fmt: skip
    info = stream(CAMERA_INFO, "/camera/camera_info", message, **changes)
    return check_camera_info(info, image or images(), view_fov_deg, {})


def test_good_camera_info() -> None:
    (text,) = all_fine(check_info(info_message()))
    assert text == "/camera/camera_info: 160x96, fx 90.0, field of view 83 deg"


def test_missing_camera_info() -> None:
    nobody = Stream("/camera_info", CAMERA_INFO)
    topics = {"/a/camera_info": [CAMERA_INFO], "/camera/camera_info": [CAMERA_INFO]}
    text = the_error(check_camera_info(nobody, images(), 80.0, topics))
    assert text.endswith("-r camera_info:=/camera/camera_info")  # the one beside the images
    assert "calibrate" in the_error(check_camera_info(nobody, images(), 80.0, {}))
    assert "no message came" in the_error(check_info(None))


def test_an_uncalibrated_camera() -> None:
    zeros = CameraInfo(width=160, height=96)
    assert "not calibrated" in the_error(check_info(zeros))
    only_k = info_message(p=np.zeros(12), d=DISTORTION)
    assert "no P, which describes them" in the_error(check_info(only_k))
    assert "P is zero, so K" in the_warning(check_info(info_message(p=np.zeros(12))))


@pytest.mark.parametrize("fx", [0.09, 9.0, 900.0])
def test_an_implausible_focal_length(fx: float) -> None:
    assert "not in pixels" in the_error(check_info(info_message(fx)))


def test_a_narrow_camera() -> None:
    assert "80 deg wide" in the_warning(check_info(info_message(180.0)))


def test_intrinsics_that_do_not_fit() -> None:
    P = np.array([90, 0, 79.5, 0, 0, 60, 47.5, 0, 0, 0, 1, 0], float)
    assert "fx 90.0 and fy 60.0" in the_warning(check_info(info_message(p=P)))
    P = np.array([90, 0, 20, 0, 0, 90, 47.5, 0, 0, 0, 1, 0], float)
    assert "principal point (20, 48)" in the_error(check_info(info_message(p=P)))
    P = np.array([90, 0, 60, 0, 0, 90, 47.5, 0, 0, 0, 1, 0], float)
    assert "principal point (60, 48)" in the_warning(check_info(info_message(p=P)))
    K = np.array([180, 0, 79.5, 0, 180, 47.5, 0, 0, 1], float)
    assert "fx is 90.0 in P and 180.0 in K" in the_warning(check_info(info_message(k=K)))
    all_fine(check_info(info_message(k=K, d=DISTORTION)))  # rectifying may change it


def test_camera_info_of_another_camera() -> None:
    big = image_message(np.tile(PIXELS, (2, 2, 1)), Header(frame_id="camera_optical"))
    text = the_error(check_info(info_message(), images(big)))
    assert "the image is 320x192 pixels, but /camera/camera_info is of 160x96" in text
    halved = info_message(binning_x=2, binning_y=2, width=320, height=192)
    assert not [t for t in texts(check_info(halved), Level.ERROR) if "but /camera/camera_info" in t]
    other = image_message(PIXELS, Header(frame_id="rear_optical"))
    assert "'rear_optical' in images" in the_warning(check_info(info_message(), images(other)))
    nameless = info_message()
    nameless.header.frame_id = ""
    text = the_warning(check_info(nameless, images(image_message(PIXELS, Header()))))
    assert "frame_id is empty" in text


def test_camera_info_that_changes_or_does_not_pair() -> None:
    assert "change while listening" in the_error(
        check_info(info_message(), seen={(1,): 1, (2,): 1})
    )
    late = [Arrival(a.received_s, a.now_ns, a.stamp_ns + 1) for a in arrivals()]
    assert "no image has the stamp" in the_warning(check_info(info_message(), arrivals=late))
    all_fine(check_info(info_message(), arrivals=late[:1]))  # latched: nothing to pair
    two = [Endpoint("/left", CAMERA_INFO), Endpoint("/right", CAMERA_INFO)]
    assert "/left, /right" in the_warning(check_info(info_message(), publishers=two))


# --- stamps --------------------------------------------------------------------------------------


def stamped(change: Callable[[list[int]], list[int]], age_s: float = 0.05) -> Stream:
    came = arrivals(age_s=age_s)
    stamps = change([a.stamp_ns for a in came])
    return images(
        arrivals=[Arrival(a.received_s, a.now_ns, s) for a, s in zip(came, stamps, strict=True)]
    )


def test_good_stamps() -> None:
    (text,) = all_fine(check_stamps(images(), use_sim_time=False, has_clock=False))
    assert "arrive 0.05 s after their stamps" in text
    assert check_stamps(Stream("/image", IMAGE), use_sim_time=False, has_clock=False) == []


@pytest.mark.parametrize(
    ("age_s", "level", "words"),
    [(1.0, Level.WARN, "1.00 s after"), (5.0, Level.ERROR, "chrony"),
     (-0.2, Level.WARN, "0.20 s in the future"), (9e6, Level.ERROR, "104 days behind the clock"),
     (-9e6, Level.ERROR, "days ahead of the clock")],
)  # fmt: skip
def test_stamps_against_the_clock(age_s: float, level: Level, words: str) -> None:
    (finding,) = check_stamps(images(arrivals=arrivals(age_s=age_s)), False, False)
    assert finding.level == level and words in finding.text


def test_a_recording_needs_its_clock() -> None:
    old = images(arrivals=arrivals(age_s=9e6))
    assert "set use_sim_time:=true, here" in the_error(check_stamps(old, False, has_clock=True))
    assert "--clock" in the_error(check_stamps(old, False, has_clock=False))
    assert "nobody publishes /clock" in the_error(check_stamps(old, True, has_clock=False))


def test_stamps_against_each_other() -> None:
    zero = stamped(lambda stamps: [0] * len(stamps))
    assert "are zero" in the_error(check_stamps(zero, False, False))
    looped = stamped(lambda stamps: stamps[:10] + stamps[:10])
    warnings = texts(check_stamps(looped, False, False), Level.WARN)
    assert "go back 1 times, by up to 0.90 s" in warnings[0]
    twice = stamped(lambda stamps: sorted(stamps[::2] * 2))
    assert "10 images" in texts(check_stamps(twice, False, False), Level.WARN)[0]


# --- transforms ----------------------------------------------------------------------------------

T_BASE_CAMERA = make_transform(R_BODY_OPTICAL, np.array([0.4, 0.0, 1.2]))


def transform(parent: str, child: str, T: np.ndarray | None = None, age_s: float = 0.0):
    T = np.eye(4) if T is None else T
    x, y, z = (float(v) for v in T[:3, 3])
    qx, qy, qz, qw = (float(v) for v in quaternion_xyzw(T))
    message = TransformStamped(header=Header(frame_id=parent), child_frame_id=child)
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(
        NOW_NS - int(1e9 * age_s), 1_000_000_000
    )
    message.transform.translation = Vector3(x=x, y=y, z=z)
    message.transform.rotation = Quaternion(x=qx, y=qy, z=qz, w=qw)
    return message


def good_tree(T_base_camera: np.ndarray = T_BASE_CAMERA) -> TransformTree:
    tree = TransformTree()
    tree.add(transform("base_link", "mast"), "/urdf", True, NOW_NS)
    tree.add(transform("mast", "camera_optical", T_base_camera), "/urdf", True, NOW_NS)
    tree.add(transform("odom", "base_link"), "/wheels", False, NOW_NS)
    return tree


def of_tf(**changes: Any) -> TransformExpectation:
    values = {"map_frame": "map", "odom_frame": "odom", "base_frame": "base_link",
              "camera_frame": "camera_optical", "T_base_camera_body": np.eye(4),
              "localizer": "/localizer"}  # fmt: skip
    return TransformExpectation(**(values | changes))


def test_good_transforms() -> None:
    mount, odometry, map_odom = all_fine(check_transforms(good_tree(), of_tf()))
    assert mount == ("base_link -> camera_optical: xyz 0.40 0.00 1.20 m, roll 0.0, pitch 0.0, "
                     "yaw 0.0 deg")  # fmt: skip
    assert odometry == "odom -> base_link from /wheels"
    assert "nobody publishes map -> odom" in map_odom


def test_chains_are_followed_up_and_down() -> None:
    tree = good_tree()
    found = tree.chain("camera_optical", "odom")
    assert found is not None and len(found[1]) == 3
    np.testing.assert_allclose(found[0] @ T_BASE_CAMERA, np.eye(4), atol=1e-9)
    assert tree.chain("map", "odom") is None


def test_without_tf2_msgs_it_says_so() -> None:
    assert the_warning(check_transforms(None, of_tf())).startswith("TF not checked: tf2_msgs")


def test_a_missing_mount() -> None:
    tree = TransformTree()
    tree.add(transform("odom", "base_link"), "/wheels", False, NOW_NS)
    text = the_warning(check_transforms(tree, of_tf()))
    assert "no frame camera_optical" in text and "robot_state_publisher" in text
    mount = Mount((0.4, 0.0, 1.2)).T_base_camera_body
    all_fine(check_transforms(tree, of_tf(T_base_camera_body=mount)))
    assert "no frame_id" in the_warning(check_transforms(tree, of_tf(camera_frame="")))


def test_a_mount_that_contradicts_the_parameters() -> None:
    mount = Mount((0.4, 0.0, 1.2), (0.0, 0.1, 0.0)).T_base_camera_body
    text = the_warning(check_transforms(good_tree(), of_tf(T_base_camera_body=mount)))
    assert "by 0.00 m and 5.7 deg; TF is used" in text
    expected = of_tf(T_base_camera_body=mount, uses_parameters=True)
    assert "the parameters are used" in the_warning(check_transforms(good_tree(), expected))


def test_a_frame_that_is_not_optical() -> None:
    body = good_tree(make_transform(np.eye(3), np.array([0.4, 0.0, 1.2])))
    text = the_error(check_transforms(body, of_tf()))
    assert "points up" in text and "images must carry the optical frame" in text


def test_a_camera_that_moves() -> None:
    tree = good_tree()
    tree.edges.clear()
    tree.add(transform("odom", "base_link"), "/wheels", False, NOW_NS)
    tree.add(transform("base_link", "camera_optical", T_BASE_CAMERA), "/gimbal", False, NOW_NS)
    assert "gimbal is not supported" in the_warning(check_transforms(tree, of_tf()))


def test_odometry_in_tf() -> None:
    tree = good_tree()
    del tree.edges["odom", "base_link", "/wheels"]
    assert "tracker guesses the motion" in the_warning(check_transforms(tree, of_tf()))
    assert "no odom -> base_link" in the_error(check_transforms(tree, of_tf(needs_odometry=True)))
    tree.add(transform("odom", "base_link", age_s=2.0), "/wheels", False, NOW_NS)
    assert "2.00 s old" in the_warning(check_transforms(tree, of_tf()))
    tree.add(transform("odom", "base_link", age_s=-2.0), "/wheels", False, NOW_NS)
    assert "2.00 s in the future" in the_warning(check_transforms(tree, of_tf()))


def test_who_owns_map_odom() -> None:
    tree = good_tree()
    expected = of_tf(broadcasts=True)
    assert "starts with the first" in the_warning(check_transforms(tree, expected))
    tree.add(transform("map", "odom"), "/localizer", False, NOW_NS)
    assert "by the localizer alone" in all_fine(check_transforms(tree, expected))[-1]
    tree.add(transform("map", "odom"), "/amcl", False, NOW_NS)
    assert "/amcl publishes map -> odom too" in the_error(check_transforms(tree, expected))
    del tree.edges["map", "odom", "/localizer"]
    assert "leave broadcast_tf off" in all_fine(check_transforms(tree, of_tf()))[-1]


def test_impossible_transforms() -> None:
    tree = good_tree()
    broken = transform("base_link", "arm")
    broken.transform.rotation = Quaternion(x=0.0, y=0.0, z=0.0, w=0.0)
    tree.add(broken, "/urdf", True, NOW_NS)
    assert "base_link -> arm has numbers" in the_error(check_transforms(tree, of_tf()))
    tree = good_tree()
    tree.add(transform("footprint", "base_link"), "/other", True, NOW_NS)
    assert "base_link has 2 parents" in texts(check_transforms(tree, of_tf()), Level.ERROR)[0]
    tree = TransformTree()
    tree.add(transform("a", "b"), "/x", True, NOW_NS)
    tree.add(transform("b", "a"), "/x", True, NOW_NS)
    assert tree.chain("c", "a") is None  # a circle ends


# --- odometry ------------------------------------------------------------------------------------


def odometry_stream(messages: list[Odometry], seconds: float = 1.0) -> Stream:
    times_s = np.linspace(0, seconds, len(messages))
    came = [Arrival(t, NOW_NS, NOW_NS + int(1e9 * t)) for t in times_s]
    sender = [Endpoint("/wheels", ODOMETRY)]
    return Stream("/odom", ODOMETRY, sender, came, messages)


def odometry(x: float = 0.0, w: float = 1.0) -> Odometry:
    message = Odometry(header=Header(frame_id="odom"), child_frame_id="base_link")
    message.pose.pose.position.x, message.pose.pose.orientation.w = x, w
    return message


def test_good_odometry() -> None:
    stream = odometry_stream([odometry(0.1 * i) for i in range(51)])
    assert all_fine(check_odometry(stream, "odom", "base_link", True, {})) == [
        "50 Hz on /odom from /wheels"
    ]


def test_bad_odometry() -> None:
    for bad in (odometry(np.nan), odometry(w=0.0)):
        stream = odometry_stream([odometry()] * 30 + [bad])
        assert "NaN" in the_error(check_odometry(stream, "odom", "base_link", True, {}))
    jump = odometry_stream([odometry()] * 25 + [odometry(90.0)] * 26)
    assert "4500 m/s" in the_warning(check_odometry(jump, "odom", "base_link", True, {}))
    good = [odometry(0.1 * i) for i in range(51)]
    text = the_warning(check_odometry(odometry_stream(good), "odom", "base_footprint", True, {}))
    assert "'odom' -> 'base_link', expected 'odom' -> 'base_footprint'" in text
    slow = odometry_stream(good, seconds=25.0)
    assert "slower than 10 Hz" in the_warning(check_odometry(slow, "odom", "base_link", True, {}))


def test_no_odometry() -> None:
    nobody = Stream("/odom", ODOMETRY)
    assert "nobody publishes /odom" in the_error(
        check_odometry(nobody, "odom", "base_link", True, {})
    )
    topics = {"/kitti/odometry": [ODOMETRY], "/points": ["x"]}
    (text,) = all_fine(check_odometry(nobody, "odom", "base_link", False, topics))
    assert "remap odom to one of /kitti/odometry," in text


# --- nodes ---------------------------------------------------------------------------------------


def test_lifecycle() -> None:
    def check(state: str, count: int = 1, others: int = 5) -> list[Finding]:
        return check_node(NodeState("/localizer", count, state), "localizer", "ros2 x", others)

    all_fine(check("active"))
    assert "ros2 lifecycle set /localizer activate" in the_error(check("inactive"))
    assert "its log says why" in the_error(check("unconfigured"))
    assert "does not answer" in the_error(check(""))
    assert "start it: ros2 x" in the_error(check("", count=0))
    assert "nor any other node" in the_error(check("", count=0, others=0))
    assert "2 nodes are named" in the_error(check("active", count=2))


def status(level: bytes, message: str, received: int, dropped: int = 0, failed: int = 0):
    counts = {"received": received, "dropped": dropped, "failed": failed}
    values = [KeyValue(key=f"images {name}", value=str(n)) for name, n in counts.items()]
    return DiagnosticStatus(level=level, message=message, values=values)


def test_diagnostics() -> None:
    ok, warn, error = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
    old = status(ok, "", 100, 90, 5)
    all_fine(check_diagnostics([old, status(ok, "LOCALIZED", 150, 92, 5)]))
    assert "LOST" in the_warning(check_diagnostics([status(warn, "LOST", 0)]))
    assert "no map yet" in the_error(check_diagnostics([status(error, "no map yet", 0)]))
    text = the_warning(check_diagnostics([old, status(ok, "", 150, 130, 5)]))
    assert "40 of 50 images were dropped" in text
    text = the_error(check_diagnostics([old, status(ok, "", 150, 90, 15)]))
    assert "10 of 50 images could not be localised" in text
    assert "not active" in the_error(check_diagnostics([]))


def test_poses_against_images() -> None:
    poses = Stream("/localizer/pose", "x", [], arrivals(10, age_s=0.3))
    (text,) = all_fine(check_poses(poses, images(), "lost"))
    assert "10.0 Hz on /localizer/pose for 10.0 Hz of images, 0.30 s after" in text
    poses = Stream("/localizer/pose", "x", [], arrivals(10, age_s=9e6))
    (text,) = all_fine(check_poses(poses, images(), "lost"))
    assert text.endswith("Hz of images")  # of a recording, so there is no latency to tell
    silent = Stream("/localizer/pose", "x")
    assert "no pose" in the_error(check_poses(silent, images(), "lost"))
    text = the_warning(check_poses(silent, images(), "localized"))
    assert "publish_pose_from is localized" in text
    assert check_poses(silent, Stream("/image", IMAGE), "lost") == []


# --- map and checkpoint --------------------------------------------------------------------------


def test_map_and_checkpoint(street, street_map: Path, tmp_path: Path) -> None:
    good = MapExpectation(street_map, street.checkpoint, "parameter map")
    places, match = texts(check_map(good), Level.OK)
    assert "places on" in places and street.checkpoint.name in match
    other = MapExpectation(street_map, street.other_checkpoint, "parameter map")
    assert "build the map again with this checkpoint" in the_error(check_map(other))
    gone = MapExpectation(tmp_path / "none", street.checkpoint, "parameter map")
    assert "no place map there" in the_error(check_map(gone))
    no_weights = MapExpectation(street_map, tmp_path / "none.safetensors")
    assert "none.safetensors" in the_error(check_map(no_weights))


def test_announced_map(street, street_map: Path) -> None:
    text = json.dumps({"directory": str(street_map), "fingerprint": "f"})
    found = check_map(MapExpectation(None, street.checkpoint, announced=text))
    assert "announced by the map loader" in texts(found, Level.OK)[0]
    wrong = MapExpectation(None, street.checkpoint, announced="street")
    assert "no JSON" in the_error(check_map(wrong))
    assert "no map: set" in the_error(check_map(MapExpectation(None, street.checkpoint)))


# --- the report ----------------------------------------------------------------------------------


def test_report_lines_and_summary() -> None:
    findings = [Finding(Level.OK, "image", "fine"), Finding(Level.ERROR, "map", "gone"),
                Finding(Level.WARN, "tf", "late"), Finding(Level.WARN, "tf", "early")]  # fmt: skip
    assert str(findings[1]) == "ERROR  map          gone"
    assert summary(findings) == "1 error, 2 warnings"
    assert summary(findings[:1]) == "nothing to complain about"
