"""What the localizer takes from a camera: QoS, camera_info, stamps, clocks, the newest image."""

from __future__ import annotations

import threading
import time
from copy import deepcopy

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2: source one, or install the rclpy wheels")

from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from scmpr_ros.datasets.camera_images import CameraImageConfig
from scmpr_ros.ros.camera_input import CameraInput
from scmpr_ros.ros.conversions import image_message
from scmpr_ros.ros.localizer_config import LocalizerNodeConfig
from scmpr_ros.ros.qos import LATCHED
from scmpr_ros.ros.statistics import Statistics

BEST_EFFORT = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
RELIABLE = QoSProfile(depth=5)
LATCHED_BEST_EFFORT = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.BEST_EFFORT, durability=DurabilityPolicy.TRANSIENT_LOCAL
)


class Input:
    """A camera input on the graph's node, and what it hands over."""

    def __init__(self, graph, namespace: str, **config: object) -> None:
        self.graph, self.namespace = graph, namespace
        self.statistics, self.queries, self.jumps = Statistics(), [], []
        self.camera_input = CameraInput(
            graph.node, LocalizerNodeConfig(**config), self.statistics,
            self.queries.append, self.jumps.append,
        )  # fmt: skip

    @property
    def stamps_s(self) -> list[float]:
        return [q.header.stamp.sec + q.header.stamp.nanosec / 1e9 for q in self.queries]


@pytest.fixture
def camera(graph, request):
    """Return a function that makes the input; `camera_info` is known to it from the start."""
    made: list[Input] = []

    def make(info: CameraInfo | None = None, **config: object) -> Input:
        made.append(Input(graph, "", **config))
        if info is not None:
            made[-1].camera_input._on_camera_info(info)
        return made[-1]

    yield make
    for made_input in made:
        made_input.camera_input.destroy()


def image_at(street_image, stamp_s: float, frame: str = "camera") -> Image:
    pixels, _ = street_image()
    header = Header(frame_id=frame)
    header.stamp.sec, header.stamp.nanosec = int(stamp_s), round(stamp_s % 1 * 1e9)
    return image_message(pixels, header)


@pytest.mark.parametrize(
    "info_qos", [LATCHED, RELIABLE, BEST_EFFORT, LATCHED_BEST_EFFORT],
    ids=["latched", "reliable", "best_effort", "latched_best_effort"],
)  # fmt: skip
@pytest.mark.parametrize("image_qos", [RELIABLE, BEST_EFFORT], ids=["reliable", "best_effort"])
def test_every_publisher_is_matched_without_a_warning(
    graph, camera, street_image, street_info, capfd, info_qos, image_qos
) -> None:
    infos = graph.publisher(CameraInfo, "camera_info", info_qos)
    images = graph.publisher(Image, "image", image_qos)
    if info_qos is LATCHED:
        infos.publish(street_info)  # once, before anyone subscribes
    received = camera()
    graph.until(infos.get_subscription_count, "camera_info")
    graph.until(images.get_subscription_count, "image")
    if info_qos is not LATCHED:
        graph.publish_until(
            infos, street_info, lambda: not received.camera_input.problem, "camera_info"
        )

    def publish_and_check() -> int:
        images.publish(image_message(*street_image()))
        return len(received.queries)

    graph.until(publish_and_check, "an image")
    assert received.queries[0].read()[1].width == 160
    assert "incompatible" not in "".join(capfd.readouterr())


def test_camera_info_is_followed(graph, camera, street_image, street_info) -> None:
    """Each image goes with the camera_info before it; one that does not fit it is refused."""
    received = camera(street_info)
    double = CameraInfo(
        width=320, height=192, p=[180.0, 0, 159.5, 0, 0, 180.0, 95.5, 0, 0, 0, 1, 0]
    )
    received.camera_input._on_image(image_at(street_image, 1))
    received.camera_input._on_camera_info(double)
    received.camera_input._on_image(image_at(street_image, 2))
    image, first = received.queries[0].read()
    assert image.shape == (96, 160, 3) and first.width == 160
    with pytest.raises(Exception, match=r"160x96 pixels, but /camera_info is of 320x192"):
        received.queries[1].read()
    useless = CameraInfo(width=320, height=192, p=[float("nan")] * 12)
    received.camera_input._on_camera_info(useless)
    assert received.queries[1].camera is received.camera_input._camera, "the last usable one stays"


def bent(info: CameraInfo) -> CameraInfo:
    """The camera_info of a raw camera with that pinhole camera."""
    raw = deepcopy(info)
    raw.distortion_model, raw.d = "plumb_bob", [-0.3, 0.1, 0.0, 0.0, 0.0]
    raw.k = np.reshape(raw.p, (3, 4))[:, :3].ravel()
    return raw


def test_raw_images_are_rectified(camera, street_image, street_info) -> None:
    """As by OpenCV; not where the parameter forbids it. P = K stays the camera."""
    pixels, _ = street_image()
    K = np.reshape(street_info.p, (3, 4))[:, :3]
    expected = cv2.undistort(pixels, K, np.array([-0.3, 0.1, 0, 0, 0])).astype(int)
    for rectify, difference in (("auto", 2), ("always", 2), ("never", None)):
        received = camera(bent(street_info), images=CameraImageConfig(rectify=rectify))
        received.camera_input._on_image(image_at(street_image, 1))
        image, model = received.queries[0].read()
        assert (model.width, model.fx) == (160, K[0, 0])
        if difference is None:
            np.testing.assert_array_equal(image, pixels)
        else:
            assert np.abs(image - expected)[2:-2, 2:-2].max() <= difference


def test_maps_are_computed_once_and_anew_for_another_lens(
    camera, street_image, street_info
) -> None:
    received = camera(bent(street_info))
    first = received.camera_input._camera
    received.camera_input._on_camera_info(bent(street_info))
    assert received.camera_input._camera is first, "the same content changes nothing"
    assert first.images((160, 96)) is first.images((160, 96))
    received.camera_input._on_camera_info(street_info)
    received.camera_input._on_camera_info(bent(street_info))
    assert received.camera_input._camera is first, "nor do two that take turns"
    other = bent(street_info)
    other.d = [0.2, 0.0, 0.0, 0.0, 0.0]
    received.camera_input._on_camera_info(other)
    assert received.camera_input._camera is not first


def test_images_that_were_scaled(camera, street_image, street_info) -> None:
    double = deepcopy(street_info)
    double.width, double.height, double.p = 320, 192, 2 * double.p
    double.p[10] = 1.0
    received = camera(double, images=CameraImageConfig(calibrated_size=(320, 192)))
    received.camera_input._on_image(image_at(street_image, 1))
    image, model = received.queries[0].read()
    assert image.shape == (96, 160, 3)
    assert model.fx == pytest.approx(street_info.p[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": np.zeros(9), "p": np.zeros(12)}, "neither P nor K: the camera is not calibrated"),
        ({"k": np.full(9, np.nan)}, "K holds numbers that are not finite"),
    ],
)
def test_an_unusable_camera_info_is_named_as_long_as_none_is_better(
    camera, street_image, street_info, capfd, changes, message: str
) -> None:
    info = deepcopy(street_info)
    for name, values in changes.items():
        setattr(info, name, values)
    received = camera(info, camera_info_timeout_s=0.001)
    received.camera_input._on_image(image_at(street_image, 1))
    time.sleep(0.01)
    received.camera_input.check()
    assert message in received.camera_input.problem
    logged = capfd.readouterr().err
    assert message in logged and "no camera_info" not in logged
    received.camera_input._on_camera_info(street_info)
    assert received.camera_input.problem == "" and len(received.queries) == 1


def test_an_image_without_a_frame_has_that_of_its_camera_info(
    camera, street_image, street_info
) -> None:
    info = deepcopy(street_info)
    info.header.frame_id = "info_frame"
    received = camera(info)
    for stamp_s, frame in ((1, "image_frame"), (2, "")):
        received.camera_input._on_image(image_at(street_image, stamp_s, frame))
    assert [q.camera_frame for q in received.queries] == ["image_frame", "info_frame"]


def test_order_of_stamps(graph, camera, street_image, street_info) -> None:
    """Repeated and late images are not answered; far back means another recording."""
    received = camera(street_info)
    for stamp_s in (100.0, 100.1, 100.1, 100.05, 100.2, 50.0, 50.1, 100.2):
        received.camera_input._on_image(image_at(street_image, stamp_s))
    assert received.stamps_s == pytest.approx([100.0, 100.1, 100.2, 50.0, 50.1, 100.2])
    assert received.jumps == ["the stamps of the images went back by 50.2 s"]
    assert dict(received.statistics.count) == {"received": 7, "dropped": 1}


def test_suspicious_stamps_are_warned_of_once(
    graph, camera, street_image, street_info, capfd
) -> None:
    received = camera(street_info)
    now_s = graph.node.get_clock().now().nanoseconds / 1e9
    for index in range(5):
        received.camera_input._on_image(image_at(street_image, 0.0))
        received.camera_input._on_image(image_at(street_image, now_s + 3600 + index))
    logged = capfd.readouterr().err
    assert logged.count("images on /image have no stamp") == 1
    assert logged.count("ahead of this node's clock") == 1
    arrivals = received.stamps_s[::2]
    assert len(arrivals) == 5 and all(abs(s - now_s) < 60 for s in arrivals)


def test_a_clock_that_goes_back(graph, camera, street_image, street_info, capfd) -> None:
    """Of a bag that is played in a loop, with real /clock messages."""
    received = camera()  # its first image waits for camera_info
    graph.node.set_parameters([Parameter("use_sim_time", value=True)])
    assert received.jumps == ["the node's source of time has changed"]
    received.camera_input._on_image(image_at(street_image, 1000.0))
    assert "nothing is published on /clock" in capfd.readouterr().err
    clocks = graph.publisher(Clock, "/clock")

    def set_clock(stamp_s: float) -> None:
        message = Clock()
        message.clock.sec = int(stamp_s)
        now = graph.node.get_clock().now
        graph.publish_until(
            clocks, message, lambda: now().nanoseconds == int(stamp_s) * 10**9, "the clock"
        )

    for stamp_s in (1000.0, 1005.0, 3000.0):
        set_clock(stamp_s)
    assert len(received.jumps) == 1, "time that passes, even fast, is no jump"
    set_clock(1000.0)
    assert received.jumps[1:] == ["the clock went back by 2000.0 s"]
    received.camera_input._on_camera_info(street_info)
    assert not received.queries, "the image that waited is of the time before"
    received.camera_input._on_image(image_at(street_image, 1000.0))
    assert received.stamps_s == [1000.0] and len(received.jumps) == 2
    graph.node.set_parameters([Parameter("use_sim_time", value=False)])
    assert received.jumps[2:] == ["the node's source of time has changed"]


def test_a_destroyed_input_leaves_nothing(graph, street_info) -> None:
    threads = threading.active_count()
    for _ in range(3):
        received = Input(graph, "")
        received.camera_input.destroy()
        graph.node.set_parameters([Parameter("use_sim_time", value=True)])
        graph.node.set_parameters([Parameter("use_sim_time", value=False)])
        assert not received.jumps
    assert not [s for s in graph.node.subscriptions if s.topic_name in ("/image", "/camera_info")]
    assert threading.active_count() == threads
