"""What a session refuses; that it works is the end-to-end test of the demo (test/cli)."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.evaluation.node_processes import NodeProcessError
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
        session.play(drive)


def test_a_map_loader_that_cannot_start_is_reported_with_its_reason(
    tmp_path: Path, repository: Path
) -> None:
    with RosSession(tmp_path, repository / "config" / "fastdds.xml") as session:
        session.start_nodes(tmp_path / "no_such_source", tmp_path / "no_such_weights")
        with pytest.raises(NodeProcessError, match=r"ended with exit code 1\n(.|\n)*no_such_"):
            session.wait_for_map()
