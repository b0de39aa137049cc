"""Both nodes, the player and the recorder as processes, over DDS."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from always_localized import ALWAYS_LOCALIZED

pytest.importorskip("rclpy", reason="no ROS 2: source one, or install the rclpy wheels")

from geometry_msgs.msg import PoseArray
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import String
from std_srvs.srv import Empty

from scmpr_ros.datasets.ros_clouds import cloud_from_pointcloud2
from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.ros.qos import LATCHED

pytestmark = pytest.mark.end_to_end
CAMERA = "/kitti/camera_color_left"
REMAPS = ("-r", f"image:={CAMERA}/image_raw", "-r", f"camera_info:={CAMERA}/camera_info")


def test_map_play_localise_record(start_node, graph, street, tmp_path: Path) -> None:
    """All images of a bag are answered, and latched topics reach late subscribers."""
    directory, answers = tmp_path / "map", tmp_path / "answers.jsonl"
    localizer = start_node(
        "localizer", *REMAPS, "-p", f"checkpoint:={street.checkpoint}",
        "-p", "queue_size:=50", "-p", "reliable_images:=true",
        *(word for name, value in ALWAYS_LOCALIZED.items() for word in ("-p", f"{name}:={value}")),
        "-p", "tracking.state.max_age_s:=60.0",
        "-p", "localizer.belief.cluster_radius_m:=0.0",
    )  # fmt: skip
    map_loader = start_node(
        "map_loader", "-p", f"source:={street.cloud}", "-p",
        f"checkpoint:={street.checkpoint}", "-p", f"directory:={directory}",
        "-p", "builder.places.spacing_m:=5.0", "-p", "max_points:=1000",
    )  # fmt: skip
    recorder = start_node(
        "record_answers", *REMAPS, "-p", f"output:={answers}",
        "-p", f"count:={street.num_images}",
    )  # fmt: skip
    localizer.wait_for("localising images", timeout_s=150)
    player = start_node(
        "play_bag", "-p", f"bag:={street.bag}", "-p", "rate:=5.0",
        "-p", f"wait_topic:={CAMERA}/image_raw", "-p", "wait_subscribers:=2",
    )  # fmt: skip
    assert player.wait(60) == 0, player.output
    assert "/tf_static: message type tf2_msgs" in player.output or "topics" in player.output
    assert recorder.wait(60) == 0, recorder.output

    lines = [json.loads(line) for line in answers.read_text().splitlines()]
    stamps = [1_000_000_000_000_000_000 + i * 100_000_000 for i in range(street.num_images)]
    assert [line["stamp_ns"] for line in lines] == stamps
    places = PlaceMap.load(directory).positions
    for line in lines:
        T = np.array(line["T_map_camera"])
        assert np.linalg.norm(places - T[:3, 3], axis=1).min() < 5.0  # between them
        np.testing.assert_allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-6)
        of_image = np.array(line["candidates"])[0, :3, 3]
        assert np.linalg.norm(places - of_image, axis=1).min() < 1e-3
        assert line["latency_s"] > 0 and isinstance(line["confidence"], float)

    points = graph.collect(PointCloud2, "/map_loader/points", LATCHED)
    viewpoints = graph.collect(PoseArray, "/map_loader/viewpoints", LATCHED)
    state = graph.collect(String, "/localizer/state", LATCHED)
    graph.until(lambda: points and viewpoints and state, "latched topics")
    assert len(cloud_from_pointcloud2(points[0])) == 1000
    assert len(viewpoints[0].poses) == 30 * len(places)
    assert state[0].data == "LOCALIZED"

    graph.call(Empty, "/localizer/reinitialize")
    graph.until(lambda: state[-1].data == "LOST", "state after reinitialisation")
    assert map_loader.stop() == 0 and localizer.stop() == 0, map_loader.output + localizer.output
    assert "Traceback" not in map_loader.output + localizer.output
