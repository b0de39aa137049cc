"""The map loader: what it builds, what it takes as it is, and what it refuses."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="no ROS 2: source one, or install the rclpy wheels")

import rclpy
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import String

from scmpr_ros.errors import ConfigError
from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.ros.managed_node import FAILURE
from scmpr_ros.ros.map_loader_node import MapLoaderNode

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def test_builds_once_and_again_only_for_a_reason(
    make_node, graph, street, tmp_path: Path, capfd
) -> None:
    names = graph.collect(String, "/map_loader/place_map", LATCHED)
    clouds = graph.collect(PointCloud2, "/map_loader/points", LATCHED)

    def run(**changes: object) -> str:
        given = {
            "source": str(street.cloud), "checkpoint": str(street.checkpoint),
            "directory": str(tmp_path / "map"), "builder.places.spacing_m": 8.0,
            "max_points": 500,
        }  # fmt: skip
        before = len(names)
        node = make_node(MapLoaderNode, **(given | changes))
        assert node.start()
        graph.until(lambda: len(names) > before, "a map", 60)
        assert node.close()
        node.destroy_node()
        return capfd.readouterr().err

    assert "building a map" in run()
    place_map = PlaceMap.load(tmp_path / "map")
    named = json.loads(names[-1].data)
    assert named == {"directory": str(tmp_path / "map"), "fingerprint": place_map.fingerprint}
    graph.until(lambda: clouds, "points")
    assert clouds[-1].width == 500

    assert "building a map" not in run()
    graph.until(lambda: len(clouds) == 2, "points again")
    assert clouds[0].data == clouds[1].data
    assert "settings have changed" in run(**{"builder.places.spacing_m": 9.0})
    assert "was made by checkpoint" in run(
        **{"builder.places.spacing_m": 9.0, "checkpoint": str(street.other_checkpoint)}
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"source": ""}, "'source' is empty"),
        ({"source": "/nowhere"}, "there is no /nowhere"),
        ({"checkpoint": "/none.safetensors"}, "no such checkpoint"),
    ],
)
def test_what_cannot_be_configured(
    make_node, street, tmp_path: Path, capfd, overrides: dict[str, object], message: str
) -> None:
    given = {"source": str(street.cloud), "checkpoint": str(street.checkpoint),
             "directory": str(tmp_path / "map")} | overrides  # fmt: skip
    node = make_node(MapLoaderNode, **given)
    assert not node.start()
    assert node.trigger_configure() == FAILURE
    logged = capfd.readouterr().err
    assert message in logged and "Traceback" not in logged


def test_a_source_that_is_no_map(make_node, graph, street, tmp_path: Path, capfd) -> None:
    source = tmp_path / "empty.ply"
    source.write_text("ply\n")
    node = make_node(MapLoaderNode, source=str(source), checkpoint=str(street.checkpoint),
                     directory=str(tmp_path / "map"))  # fmt: skip
    assert node.start()
    logged: list[str] = []
    time.sleep(1.0)  # a line written while capfd is being read is lost: let it be written first
    graph.until(lambda: logged.append(capfd.readouterr().err) or "no map:" in "".join(logged),
                "the error")  # fmt: skip
    assert "empty.ply" in "".join(logged) and "Traceback" not in "".join(logged)
    assert rclpy.ok() and not (tmp_path / "map").exists()


def test_wrong_parameters(make_node) -> None:
    with pytest.raises(ConfigError, match="max_points must be at least 1"):
        make_node(MapLoaderNode, max_points=0)
    with pytest.raises(ConfigError, match=r"unknown parameter 'builder\.spacing'"):
        make_node(MapLoaderNode, **{"builder.spacing": 2.0})
