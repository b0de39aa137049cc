"""What a session refuses and how it finds a map; the demo tests it end to end."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from recording import write_recording

from scmpr_ros.datasets.bags.storage import Bag
from scmpr_ros.datasets.recordings import open_drives
from scmpr_ros.datasets.ros_poses import pose_matrix
from scmpr_ros.datasets.simulated_odometry import OdometryNoise
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.evaluation.node_processes import NodeCommand, NodeProcessError
from scmpr_ros.evaluation.ros_session import RosSession, RosSessionConfig


@pytest.mark.parametrize("name", ["image_hz", "queue_size", "map_timeout_s", "start_timeout_s"])
def test_settings_must_be_positive(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        RosSessionConfig(**{name: 0})


@pytest.mark.parametrize("stamps_s", [{0: 1.0}, {0: 1.0, 1: 1.0}, {}])
def test_a_drive_without_time_cannot_be_played(tmp_path: Path, stamps_s: dict) -> None:
    drive = SimpleNamespace(name="still", image_frames=list(stamps_s), stamp_s=stamps_s.get)
    with (
        RosSession(tmp_path, tmp_path / "profile.xml") as session,
        pytest.raises(DatasetError, match="drive still needs two images or more"),
    ):
        session.play_rate(drive)


def test_rate_gives_the_images_per_second(tmp_path: Path) -> None:
    stamps_s = dict(enumerate(np.arange(5) * 0.5))
    drive = SimpleNamespace(name="slow", image_frames=list(stamps_s), stamp_s=stamps_s.get)
    config = RosSessionConfig(image_hz=3.0)
    with RosSession(tmp_path, tmp_path / "profile.xml", config) as session:
        assert session.play_rate(drive) == pytest.approx(1.5), "from two images a second to three"


def test_a_node_that_fails_while_the_map_is_awaited_is_reported(tmp_path: Path) -> None:
    failing = NodeCommand("loader", (sys.executable, "-c", "raise SystemExit('no source')"))
    with RosSession(tmp_path, tmp_path / "profile.xml") as session:
        session.start(failing)
        with pytest.raises(NodeProcessError, match=r"ended with exit code 1\n(.|\n)*no source"):
            session.wait_for_map()


def test_an_incomplete_map_is_not_taken(tmp_path: Path) -> None:
    config = RosSessionConfig(map_timeout_s=0.2)
    with RosSession(tmp_path, tmp_path / "profile.xml", config) as session:
        session.map_folder.mkdir()
        (session.map_folder / "metadata.json").write_text("{}")
        with pytest.raises(NodeProcessError, match="no place map yet"):
            session.wait_for_map()


def test_the_bag_holds_odometry_of_the_camera_that_drifts(tmp_path: Path) -> None:
    folder = write_recording(tmp_path / "0000", seed=0, images=6)
    (drive,) = (each for each in open_drives(folder) if each.image_frames)
    config = RosSessionConfig(odometry=OdometryNoise(drift=0.1))
    with RosSession(tmp_path, tmp_path / "profile.xml", config) as session:
        session.write_bag(drive)
    bag = Bag(session.bag)
    odometry = list(bag.messages(config.topics.odometry))
    (mounting,) = bag.messages(config.topics.tf_static)
    T_base_lidar, T_lidar_camera = (pose_matrix(t.transform) for t in mounting.transforms)
    np.testing.assert_allclose((T_base_lidar @ T_lidar_camera)[:3, 3], 0, atol=1e-9)
    travelled_m = np.array([pose_matrix(each.pose.pose)[0, 3] for each in odometry])
    assert travelled_m[0] == 0 and travelled_m[-1] == pytest.approx(20.0, abs=5.0)
    assert np.abs(travelled_m - np.arange(6) * 4.0).max() > 0.1, "it is not the truth"
