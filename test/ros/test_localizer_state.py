"""The localizer's state, camera_info, relocalisation and change of map, on a running node."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path

import pytest
from always_localized import ALWAYS_LOCALIZED

pytest.importorskip("rclpy", reason="no ROS 2: source one, or install the rclpy wheels")

from geometry_msgs.msg import PoseWithCovarianceStamped
from lifecycle_msgs.msg import Transition
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import String
from std_srvs.srv import Empty, Trigger

from scmpr_ros.ros.conversions import image_message
from scmpr_ros.ros.localizer_node import LocalizerNode
from scmpr_ros.ros.qos import LATCHED
from scmpr_ros.ros.statistics import ERROR, OK, STALE, WARN

pytestmark = pytest.mark.end_to_end
CONFIGURE, CLEANUP = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_CLEANUP
ACTIVATE, DEACTIVATE = Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_DEACTIVATE
NAME = "/state/localizer"


@pytest.fixture(scope="module")
def node(run_node, street, street_map: Path) -> LocalizerNode:
    """A localizer that is LOCALIZED by every image, for a second."""
    parameters = {
        "checkpoint": str(street.checkpoint), "map": str(street_map), "queue_size": 1,
        **ALWAYS_LOCALIZED, "tracking.state.max_age_s": 1.0,
        "relocalize_timeout_s": 2.0, "publish_initialpose": True, "image_transport": "raw",
    }  # fmt: skip
    return run_node(LocalizerNode, "/state", **parameters)


class Camera:
    """Publishes images, one at a time or at a rate, to a localizer."""

    def __init__(self, graph, namespace: str, image) -> None:
        self.graph, self._image, self.published = graph, image, 0
        self._images = graph.publisher(Image, f"{namespace}/image")
        self.states = graph.collect(String, f"{namespace}/localizer/state", LATCHED)
        self.poses = graph.collect(PoseWithCovarianceStamped, f"{namespace}/localizer/pose")
        graph.until(lambda: self._images.get_subscription_count() and self.states, "the localizer")

    def publish(self) -> None:
        self.published += 1
        self._images.publish(image_message(*self._image()))

    def localise(self) -> None:
        """Publish an image and wait for its answer."""
        count = len(self.poses)
        self.publish()
        self.graph.until(lambda: len(self.poses) > count, "an answer")


def restart(graph) -> None:
    """Forget everything but the map."""
    assert graph.change_state(NAME, DEACTIVATE) and graph.change_state(NAME, ACTIVATE)


def outcome(answer: Trigger.Response) -> str:
    return json.loads(answer.message)["outcome"]


def test_latched_camera_info_that_was_published_first(
    node, graph, street_image, street_info
) -> None:
    assert graph.change_state(NAME, DEACTIVATE)
    latched = graph.publisher(CameraInfo, "/state/camera_info", LATCHED)
    latched.publish(street_info)
    assert graph.change_state(NAME, ACTIVATE)
    Camera(graph, "/state", street_image).localise()


def test_useless_camera_info_is_reported_as_such(node, graph, street_image, street_info) -> None:
    restart(graph)
    diagnostics, logs = graph.diagnostics(NAME), graph.logs("state.localizer")
    camera = Camera(graph, "/state", street_image)
    infos = graph.publisher(CameraInfo, "/state/camera_info")
    graph.until(infos.get_subscription_count, "the subscription")
    useless = CameraInfo(width=160, height=96)  # P and K are zero
    graph.publish_until(
        infos, useless, lambda: "/state/camera_info is unusable" in logs(), "the error"
    )
    camera.publish()
    graph.until(
        lambda: (status := diagnostics()) and status.level == ERROR
        and "not calibrated" in status.message, "diagnostics",
    )  # fmt: skip
    assert outcome(graph.call(Trigger, f"{NAME}/relocalize")) == "NO_IMAGE"
    refused = graph.request(Trigger, f"{NAME}/relocalize")
    camera.publish()
    graph.until(refused.done, "the answer")
    assert outcome(refused.result()) in ("NO_CAMERA_INFO", "NO_IMAGE")
    infos.publish(street_info)
    graph.until(lambda: camera.poses, "the answer to the image that waited")
    assert "no camera_info" not in logs()


def test_the_state_ages(node, graph, street_image, street_info) -> None:
    """Without images LOCALIZED becomes LOST, and an old match is no answer to ~/relocalize."""
    restart(graph)
    diagnostics = graph.diagnostics(NAME)
    infos = graph.publisher(CameraInfo, "/state/camera_info", LATCHED)
    infos.publish(street_info)
    camera = Camera(graph, "/state", street_image)
    assert camera.states[-1].data == "LOST", "no image was seen since the activation"
    timer = graph.node.create_timer(0.2, camera.publish)
    graph.until(lambda: camera.states[-1].data == "LOCALIZED", "LOCALIZED")
    graph.until(lambda: (status := diagnostics()) and status.level == OK, "OK")
    graph.node.destroy_timer(timer)
    graph.until(lambda: camera.states[-1].data == "LOST", "the state's age")
    graph.until(lambda: diagnostics().level == STALE, "STALE")
    assert "no image localised for" in diagnostics().message
    answer = graph.call(Trigger, f"{NAME}/relocalize")
    assert not answer.success and outcome(answer) == "NO_IMAGE"
    camera.localise()
    graph.until(lambda: camera.states[-1].data == "LOCALIZED", "LOCALIZED again")


def test_relocalize_under_load(node, graph, street_image, street_info) -> None:
    """At 100 Hz most images are dropped; each call gets the next one that is not."""
    infos = graph.publisher(CameraInfo, "/state/camera_info", LATCHED)
    infos.publish(street_info)
    camera = Camera(graph, "/state", street_image)
    camera.localise()
    graph.node.create_timer(0.01, camera.publish)
    answers = [graph.call(Trigger, f"{NAME}/relocalize") for _ in range(8)]
    assert [outcome(answer) for answer in answers] == ["LOCALIZED"] * 8
    assert len(camera.poses) < camera.published, "no image was dropped: this was no load"


def test_initialpose_is_published_once_per_relocalisation(
    node, graph, street_image, street_info
) -> None:
    """Not at each LOST -> LOCALIZED: a filter that tracks must not be reset by a short doubt."""
    restart(graph)
    infos = graph.publisher(CameraInfo, "/state/camera_info", LATCHED)
    infos.publish(street_info)
    initialposes = graph.collect(PoseWithCovarianceStamped, "/state/initialpose")
    camera = Camera(graph, "/state", street_image)
    graph.until(lambda: graph.node.count_publishers("/state/initialpose"), "the topic")
    camera.localise()
    graph.until(lambda: len(initialposes) == 1, "the first one")
    graph.until(lambda: camera.states[-1].data == "LOST", "the state's age")
    camera.localise()
    camera.localise()
    assert len(initialposes) == 1
    graph.call(Empty, f"{NAME}/reinitialize")
    graph.until(lambda: camera.states[-1].data == "LOST", "LOST")
    camera.localise()
    camera.localise()
    graph.until(lambda: len(initialposes) == 2, "the second one")
    answer = graph.request(Trigger, f"{NAME}/relocalize")
    while not answer.done():
        camera.localise()
    assert answer.result().success
    camera.localise()
    graph.until(lambda: len(initialposes) == 3, "the third one")


def test_no_name_of_amcl_is_taken(node, graph) -> None:
    names = {name for name, _ in graph.node.get_service_names_and_types()}
    assert f"{NAME}/reinitialize" in names
    assert not any("reinitialize_global_localization" in name for name in names)
    topics = {name for name, _ in graph.node.get_topic_names_and_types()}
    assert "/initialpose" not in topics


def test_maps_by_topic(
    run_node, graph, street, street_map: Path, street_image, street_info, tmp_path: Path
) -> None:
    """Maps are loaded by the worker: services and diagnostics go on, and so does the old map."""
    name = "/maps/localizer"
    diagnostics, logs = graph.diagnostics(name), graph.logs("maps.localizer")
    node = run_node(LocalizerNode, "/maps", checkpoint=str(street.checkpoint),
                    relocalize_timeout_s=0.5, **ALWAYS_LOCALIZED)  # fmt: skip
    maps = graph.publisher(String, "/maps/map_loader/place_map", LATCHED)
    graph.until(maps.get_subscription_count, "the localizer")

    def announce(data: str) -> None:
        maps.publish(String(data=data))

    announce("no JSON")
    graph.until(lambda: "must be JSON with a directory: 'no JSON'" in logs(), "the error")
    announce(json.dumps({"directory": str(tmp_path / "none")}))
    graph.until(lambda: "no place map there" in logs(), "the error")
    graph.until(lambda: (s := diagnostics()) and "no place map there" in s.message, "diagnostics")
    answer = json.loads(graph.call(Trigger, f"{name}/relocalize").message)
    assert answer["outcome"] == "NO_MAP" and "no place map there" in answer["error"]
    assert node.count_subscribers("/maps/image") == 0

    announce(json.dumps({"directory": str(street_map)}))
    camera = Camera(graph, "/maps", street_image)
    graph.publisher(CameraInfo, "/maps/camera_info", LATCHED).publish(street_info)
    camera.localise()
    graph.until(lambda: camera.states[-1].data == "LOCALIZED", "LOCALIZED")

    # reading this map blocks while the pipe in the place of a file is open
    blocking = tmp_path / "blocking"
    shutil.copytree(street_map, blocking)
    (blocking / "metadata.json").unlink()
    os.mkfifo(blocking / "metadata.json")

    def announce_blocking_map() -> int:
        """Return the pipe's descriptor once the map is being read."""
        announce(json.dumps({"directory": str(blocking)}))
        opened: list[int] = []

        def open_pipe() -> bool:
            with contextlib.suppress(OSError):  # there is no reader yet
                opened.append(os.open(blocking / "metadata.json", os.O_WRONLY | os.O_NONBLOCK))
            return bool(opened)

        graph.until(open_pipe, "the localizer to read the map")
        return opened[0]

    pipe = announce_blocking_map()
    graph.until(lambda: f"loading map {blocking}" in diagnostics().message, "diagnostics")
    assert diagnostics().level == WARN
    assert graph.state_of(name) == "active"
    os.close(pipe)
    graph.until(lambda: f"cannot use map {blocking}" in logs(), "the error")
    assert "metadata.json" in logs() and logs().count("must be JSON") == 1
    camera.localise()
    assert camera.states[-1].data == "LOCALIZED", "the map before is still in use"

    announce(json.dumps({"directory": str(street_map)}))
    graph.until(lambda: camera.states[-1].data == "LOST", "the new map's state")
    camera.localise()
    graph.until(lambda: camera.states[-1].data == "LOCALIZED", "LOCALIZED in the new map")

    # through the whole lifecycle while a map is being read
    pipe = announce_blocking_map()
    assert graph.change_state(name, DEACTIVATE) and graph.change_state(name, CLEANUP)
    announce(json.dumps({"directory": str(street_map)}))
    assert graph.change_state(name, CONFIGURE) and graph.change_state(name, ACTIVATE)
    assert node.count_subscribers("/maps/image") == 0
    os.close(pipe)
    graph.until(lambda: node.count_subscribers("/maps/image"), "the map announced last")
    camera.localise()
    assert logs().count(f"cannot use map {blocking}") == 1 and "bug" not in logs()
