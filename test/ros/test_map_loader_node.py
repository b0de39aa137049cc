"""The map loader: what it builds, reuses and refuses."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2: source one, or install the rclpy wheels")

from nav_msgs.msg import OccupancyGrid
from rclpy.parameter import Parameter
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Float32, Header, String
from std_srvs.srv import Trigger

from scmpr_ros.errors import ConfigError
from scmpr_ros.lidar.cloud_files import read_cloud
from scmpr_ros.resources import DEFAULT_CHECKPOINT, resource
from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.ros.conversions import cloud_message
from scmpr_ros.ros.managed_node import FAILURE
from scmpr_ros.ros.map_loader_node import MapLoaderNode
from scmpr_ros.ros.qos import LATCHED, latched


def test_builds_once_and_again_only_for_a_reason(
    make_node, graph, street, tmp_path: Path, capfd
) -> None:
    names = graph.collect(String, "/map_loader/place_map", LATCHED)
    clouds = graph.collect(PointCloud2, "/map_loader/points", LATCHED)
    first, moved = tmp_path / "first", tmp_path / "moved"
    first.mkdir()
    shutil.copy(street.cloud, first / "street.ply")
    settings = {"builder.places.spacing_m": 8.0, "max_points": 500}

    def run(folder: Path, **changes: object) -> str:
        given = settings | {
            "source": str(folder / "street.ply"), "directory": str(folder / "map"),
            "checkpoint": str(street.checkpoint),
        }  # fmt: skip
        before = len(names)
        node = make_node(MapLoaderNode, **(given | changes))
        assert node.start()
        graph.until(lambda: len(names) > before, "a map", 60)
        assert node.close()
        node.destroy_node()
        return capfd.readouterr().err

    assert "building a map" in run(first)
    place_map = PlaceMap.load(first / "map")
    assert json.loads(names[-1].data) == {
        "directory": str(first / "map"), "fingerprint": place_map.fingerprint,
    }  # fmt: skip
    graph.until(lambda: clouds, "points")
    assert clouds[-1].width == 500

    assert "building a map" not in run(first)
    graph.until(lambda: len(clouds) == 2, "points again")
    assert clouds[0].data == clouds[1].data

    first.rename(moved)
    os.utime(moved / "street.ply", ns=(1, 1))  # as a copy would have another time
    assert "building a map" not in run(moved), "source and map were moved together"

    settings["builder.places.spacing_m"] = 9.0
    assert "settings have changed" in run(moved)
    other = run(moved, checkpoint=str(street.other_checkpoint))
    assert "was made by checkpoint" in other
    with (moved / "street.ply").open("r+b") as cloud:
        cloud.seek(-1, os.SEEK_END)
        cloud.write(b"\x08")  # another label
    assert "source has changed" in run(moved, checkpoint=str(street.other_checkpoint))


def test_the_shipped_checkpoint_is_the_default(make_node, street, tmp_path: Path) -> None:
    node = make_node(MapLoaderNode, source=str(street.cloud), directory=str(tmp_path / "map"))
    assert node.checkpoint_path() == resource(DEFAULT_CHECKPOINT)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"directory": ""}, "'directory' is empty"),
        ({"source": "/nowhere"}, "/nowhere does not exist"),
        ({"checkpoint": "/none.safetensors"}, "no such checkpoint"),
    ],
)
def test_invalid_files(
    make_node, street, tmp_path: Path, capfd, overrides: dict[str, object], message: str
) -> None:
    given = {"source": str(street.cloud), "checkpoint": str(street.checkpoint),
             "directory": str(tmp_path / "map")} | overrides  # fmt: skip
    node = make_node(MapLoaderNode, **given)
    assert not node.start()
    assert node.trigger_configure() == FAILURE
    logged = capfd.readouterr().err
    assert message in logged and "Traceback" not in logged


def test_builds_that_fail(run_node, graph, street, tmp_path: Path) -> None:
    """Each is one sentence, and the node can be asked again."""
    source = tmp_path / "street.ply"
    source.write_text("ply\n")
    name, logs = "/refusing/map_loader", graph.logs("refusing.map_loader")
    node = run_node(
        MapLoaderNode, "/refusing", source=str(source), checkpoint=str(street.checkpoint),
        directory=str(tmp_path / "maps" / "map"), **{"builder.places.spacing_m": 5.0},
    )  # fmt: skip
    graph.until(lambda: "cannot provide the map" in logs(), "the error of the activation")
    answer = graph.call(Trigger, f"{name}/build")
    assert not answer.success and "street.ply" in answer.message

    shutil.copy(street.cloud, source)
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with patch("scmpr_ros.pipeline.map_build.write_place_map", side_effect=full):
        answer = graph.call(Trigger, f"{name}/build")
    assert not answer.success and "cannot build the place map" in answer.message
    assert "make room there" in answer.message

    shutil.rmtree(tmp_path / "maps")
    (tmp_path / "maps").write_text("a file where a folder should be made")
    answer = graph.call(Trigger, f"{name}/build")
    assert not answer.success and "cannot write a place map" in answer.message
    (tmp_path / "maps").unlink()
    assert graph.call(Trigger, f"{name}/build").success
    assert len(PlaceMap.load(tmp_path / "maps" / "map")) > 0
    assert "bug" not in logs() and "Traceback" not in logs()
    assert node.get_fully_qualified_name() == name


def test_invalid_parameters(make_node) -> None:
    with pytest.raises(ConfigError, match="max_points must be at least 1"):
        make_node(MapLoaderNode, max_points=0)
    with pytest.raises(ConfigError, match=r"unknown parameter 'builder\.spacing'"):
        make_node(MapLoaderNode, **{"builder.spacing": 2.0})


def test_progress_coverage_and_another_map(run_node, graph, street, tmp_path: Path) -> None:
    """The node builds by tiles, says how far it is, and loads another map on request."""
    name = "/progress/map_loader"
    shares = graph.collect(Float32, f"{name}/progress", latched(10))
    coverage = graph.collect(OccupancyGrid, f"{name}/coverage", LATCHED)
    status = graph.collect(String, f"{name}/status", latched(10))
    announced = graph.collect(String, f"{name}/place_map", LATCHED)
    node = run_node(
        MapLoaderNode, "/progress", source=str(street.cloud), checkpoint=str(street.checkpoint),
        directory=str(tmp_path / "map"),
        **{"builder.places.spacing_m": 5.0, "builder.tile_m": 20.0,
           "builder.whole_up_to_points": 0},
    )  # fmt: skip
    graph.until(lambda: coverage, "the coverage of the map", 60)
    assert shares[0].data == 0.0 and shares[-1].data == 1.0 and len(shares) > 4
    assert any("describing places: " in message.data for message in status)
    grid = coverage[-1]
    cells = np.array(grid.data, np.int8).reshape(grid.info.height, grid.info.width)
    assert {-1, 100} == set(np.unique(cells).tolist())
    place_map = PlaceMap.load(tmp_path / "map")
    index = (
        place_map.positions[:, :2] - [grid.info.origin.position.x, grid.info.origin.position.y]
    ) // grid.info.resolution
    assert (cells[index[:, 1].astype(int), index[:, 0].astype(int)] == 100).all()

    other = tmp_path / "other"
    assert all(
        r.successful for r in node.set_parameters([Parameter("directory", value=str(other))])
    )
    assert graph.call(Trigger, f"{name}/load").success
    graph.until(lambda: json.loads(announced[-1].data)["directory"] == str(other), "another map")
    assert graph.call(Trigger, f"{name}/cancel").message == "nothing to cancel"
    node.set_parameters([Parameter("directory", value="")])
    assert "'directory' is empty" in graph.call(Trigger, f"{name}/load").message


def test_a_build_can_be_cancelled(run_node, graph, street, tmp_path: Path) -> None:
    """The service answers at once, the work ends, and the next build goes on."""
    name = "/cancelled/map_loader"
    status = graph.collect(String, f"{name}/status", latched(50))
    run_node(
        MapLoaderNode, "/cancelled", source=str(street.cloud), checkpoint=str(street.checkpoint),
        directory=str(tmp_path / "map"),
        **{"builder.places.spacing_m": 1.0, "builder.tile_m": 10.0,
           "builder.whole_up_to_points": 0},
    )  # fmt: skip
    graph.until(lambda: any("places: 2" in m.data for m in status), "two tiles", 60)
    assert graph.call(Trigger, f"{name}/cancel").success
    graph.until(lambda: status[-1].data == "cancelled", "the word of it")
    assert not (tmp_path / "map").exists()
    assert len(list((tmp_path / ".map.build").glob("*/described/*.json"))) >= 2


def test_the_cloud_of_a_topic(run_node, graph, street, tmp_path: Path) -> None:
    """A latched cloud that was published before the node started, in the map's frame."""
    name, logs = "/live/map_loader", graph.logs("live.map_loader")
    cloud = read_cloud(street.cloud)
    publisher = graph.publisher(PointCloud2, "/live/points", LATCHED)
    publisher.publish(cloud_message(cloud, Header(frame_id="odom")))
    announced = graph.collect(String, f"{name}/place_map", LATCHED)
    run_node(
        MapLoaderNode, "/live", checkpoint=str(street.checkpoint), directory=str(tmp_path / "map"),
        **{"builder.places.spacing_m": 5.0},
    )  # fmt: skip
    graph.until(lambda: "it is in frame 'odom', not in 'map'" in logs(), "the refusal")
    publisher.publish(cloud_message(cloud, Header(frame_id="map")))
    graph.until(lambda: announced, "a map", 60)
    assert len(PlaceMap.load(tmp_path / "map")) > 0
