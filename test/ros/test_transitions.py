"""Lifecycle transitions in the middle of work: nothing crashes, leaks or is published late."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="no ROS 2: source one, or install the rclpy wheels")

from lifecycle_msgs.msg import Transition
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import String
from std_srvs.srv import Trigger

from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.ros.conversions import image_message
from scmpr_ros.ros.localizer_node import LocalizerNode
from scmpr_ros.ros.managed_node import FAILURE, SUCCESS
from scmpr_ros.ros.map_loader_node import MapLoaderNode
from scmpr_ros.ros.qos import LATCHED

pytestmark = pytest.mark.end_to_end
CONFIGURE, CLEANUP = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_CLEANUP
ACTIVATE, DEACTIVATE = Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_DEACTIVATE
SLOW = {"builder.places.spacing_m": 0.3, "builder.batch_size": 2}  # takes minutes
QUICK = {"builder.places.spacing_m": 8.0, "builder.batch_size": 16}


@pytest.fixture(scope="module")
def localizer(run_node, street, street_map: Path) -> LocalizerNode:
    return run_node(LocalizerNode, "/transitions", checkpoint=str(street.checkpoint),
                    map=str(street_map), relocalize_timeout_s=60.0)  # fmt: skip


@pytest.fixture(scope="module")
def map_loader(run_node, street, tmp_path_factory: pytest.TempPathFactory) -> MapLoaderNode:
    folder = tmp_path_factory.mktemp("transitions")
    parameters = {"source": str(street.cloud), "checkpoint": str(street.checkpoint)}
    return run_node(MapLoaderNode, "/transitions", directory=str(folder), autostart=False,
                    **parameters)  # fmt: skip


def wait_for_more(graph, messages: list) -> None:
    count = len(messages)
    graph.until(lambda: len(messages) > count, "an answer")


def spin_for(graph, seconds: float) -> None:
    end = time.monotonic() + seconds
    graph.until(lambda: time.monotonic() > end, "time")


def test_a_waiting_relocalize_is_answered_when_the_node_is_deactivated(localizer, graph) -> None:
    name, service = "/transitions/localizer", "/transitions/localizer/relocalize"
    for _ in range(3):
        answer = graph.request(Trigger, service)
        spin_for(graph, 0.2)
        assert not answer.done(), "no image came: it waits"
        assert graph.change_state(name, DEACTIVATE)
        graph.until(answer.done, "the answer")
        assert json.loads(answer.result().message) == {
            "outcome": "NOT_ACTIVE", "error": "the node was deactivated",
        }  # fmt: skip
        refused = json.loads(graph.call(Trigger, service).message)
        assert refused == {"outcome": "NOT_ACTIVE", "error": "the node is not active"}
        assert graph.change_state(name, ACTIVATE)


def test_cleanup_while_images_are_localised(localizer, graph, street_image, street_info) -> None:
    """Images keep coming at 50 Hz through two full cycles; then they are answered again."""
    name, logs = "/transitions/localizer", graph.logs("transitions.localizer")
    images = graph.publisher(Image, "/transitions/image")
    infos = graph.publisher(CameraInfo, "/transitions/camera_info")
    masks = graph.collect(Image, "/transitions/localizer/semantic_mask")
    graph.node.create_timer(0.02, lambda: images.publish(image_message(*street_image())))
    graph.node.create_timer(0.1, lambda: infos.publish(street_info))
    for _ in range(2):
        wait_for_more(graph, masks)
        for transition in (DEACTIVATE, CLEANUP, CONFIGURE, ACTIVATE):
            assert graph.change_state(name, transition)
    wait_for_more(graph, masks)
    assert "bug" not in logs() and "cannot" not in logs()
    assert sum(thread.name == "localizer" for thread in threading.enumerate()) == 1


def test_a_build_ends_with_its_configuration(map_loader, graph, street, tmp_path: Path) -> None:
    """Deactivate in a build, clean up, choose another directory, activate: only that is built."""
    name, logs = "/transitions/map_loader", graph.logs("transitions.map_loader")
    announced = graph.collect(String, f"{name}/place_map", LATCHED)

    def set_parameters(**values: object) -> None:
        results = map_loader.set_parameters([Parameter(k, value=v) for k, v in values.items()])
        assert all(result.successful for result in results)

    set_parameters(directory=str(tmp_path / "old"), **SLOW)
    assert graph.change_state(name, CONFIGURE) and graph.change_state(name, ACTIVATE)
    graph.until(lambda: f"building a map of {street.cloud}" in logs(), "the build")
    waiting = graph.request(Trigger, f"{name}/build")
    spin_for(graph, 0.2)
    assert graph.change_state(name, DEACTIVATE)
    graph.until(waiting.done, "the answer of ~/build")
    assert (waiting.result().success, waiting.result().message) == (
        False, "the node was deactivated",
    )  # fmt: skip
    assert graph.call(Trigger, f"{name}/build").message == "the node is not active"
    assert graph.change_state(name, ACTIVATE), "again, in the middle of the old build"
    assert graph.change_state(name, DEACTIVATE)

    assert graph.change_state(name, CLEANUP)
    set_parameters(directory=str(tmp_path / "new"), **QUICK)
    assert graph.change_state(name, CONFIGURE) and graph.change_state(name, ACTIVATE)
    graph.until(lambda: announced, "the new map", 60)
    assert map_loader.worker.wait_until_idle(60)
    assert [json.loads(m.data)["directory"] for m in announced] == [str(tmp_path / "new")]
    assert len(PlaceMap.load(tmp_path / "new")) > 0 and not (tmp_path / "old").exists()
    assert "bug" not in logs() and "cannot" not in logs()
    assert sum(thread.name == "map_loader" for thread in threading.enumerate()) == 1
    assert graph.change_state(name, DEACTIVATE) and graph.change_state(name, CLEANUP)


def test_shutdown_in_a_build(map_loader, graph, street, tmp_path: Path) -> None:
    name, logs = "/transitions/map_loader", graph.logs("transitions.map_loader")
    values = {"directory": str(tmp_path / "map"), **SLOW}
    map_loader.set_parameters([Parameter(k, value=v) for k, v in values.items()])
    assert graph.change_state(name, CONFIGURE) and graph.change_state(name, ACTIVATE)
    graph.until(lambda: f"building a map of {street.cloud}" in logs(), "the build")
    assert graph.change_state(name, Transition.TRANSITION_ACTIVE_SHUTDOWN)
    assert graph.state_of(name) == "finalized"
    assert graph.call(Trigger, f"{name}/build").message == "the node is not active"
    assert map_loader.worker.wait_until_idle(60)
    assert "bug" not in logs() and "cannot" not in logs() and not (tmp_path / "map").exists()


def test_shutdown_while_relocalize_waits(localizer, graph) -> None:
    answer = graph.request(Trigger, "/transitions/localizer/relocalize")
    spin_for(graph, 0.2)
    assert graph.change_state("/transitions/localizer", Transition.TRANSITION_ACTIVE_SHUTDOWN)
    graph.until(answer.done, "the answer")
    assert json.loads(answer.result().message)["outcome"] == "NOT_ACTIVE"


def test_an_activation_that_fails_leaves_nothing_running(
    make_node, graph, street, street_map: Path, capfd
) -> None:
    """With an image topic so long that `<image>/compressed` is no valid name any more."""
    image = "/" + "i" * 240
    node = make_node(LocalizerNode, checkpoint=str(street.checkpoint), map=str(street_map),
                     autostart=False, node={"cli_args": ["--ros-args", "-r", f"image:={image}"],
                                            "namespace": "/failing"})  # fmt: skip
    assert node.trigger_configure() == SUCCESS
    for _ in range(2):
        assert node.trigger_activate() == FAILURE
        assert node.count_subscribers(image) == node.count_subscribers("/failing/camera_info") == 0
        assert not list(node.timers)
        assert node.worker.submit(lambda job: None).exception(1) is not None
    assert "cannot activate" in capfd.readouterr().err
    assert node.trigger_cleanup() == SUCCESS
    assert node.count_publishers("/failing/localizer/pose") == 0
