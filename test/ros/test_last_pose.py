"""The last pose: written, read again, and refused in another map."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2: source one, or install the rclpy wheels")

from scmpr_ros.errors import ConfigError
from scmpr_ros.geometry import make_transform, rotation_z
from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.ros.last_pose import KnownPose, LastPoseFile
from scmpr_ros.ros.localizer_config import LastPoseConfig

COVARIANCE = np.diag([0.1, 0.2, 0.3, 0.01, 0.02, 0.03])


def known(x: float) -> KnownPose:
    return KnownPose(make_transform(rotation_z(0.3), np.array([x, 2.0, 1.0])), COVARIANCE, 5)


@pytest.fixture(scope="module")
def place_map(street_map: Path) -> PlaceMap:
    return PlaceMap.load(street_map)


@pytest.fixture
def config(tmp_path: Path) -> LastPoseConfig:
    return LastPoseConfig(str(tmp_path / "state" / "last.json"), period_s=1000.0)


def test_is_read_again_with_a_wider_covariance(config, place_map: PlaceMap) -> None:
    warnings: list[str] = []
    file = LastPoseFile(config, place_map, warnings.append)
    assert file.read() is None and not warnings, "no file is no fault"
    file.note(known(1.0))
    read = LastPoseFile(config, place_map, warnings.append).read()
    np.testing.assert_array_equal(read.T_map_base, known(1.0).T_map_base)
    np.testing.assert_allclose(
        np.diag(read.covariance - COVARIANCE),
        [config.position_std_m**2] * 3 + [config.angle_std_rad**2] * 3,
    )
    assert read.stamp_ns == 5 and not warnings


def test_is_written_now_and_then_and_at_the_end(config, place_map: PlaceMap) -> None:
    file = LastPoseFile(config, place_map, pytest.fail)
    for x in (1.0, 2.0, 3.0):
        file.note(known(x))
    assert file.read().T_map_base[0, 3] == 1.0, "the period is not over"
    file.flush()
    assert file.read().T_map_base[0, 3] == 3.0
    Path(config.path).unlink()
    file.flush()
    assert not Path(config.path).exists(), "there was nothing new"


def test_is_not_used_in_another_map(config, place_map: PlaceMap) -> None:
    LastPoseFile(config, place_map, pytest.fail).note(known(1.0))
    moved = replace(place_map, positions=place_map.positions + 0.5)
    retrained = replace(place_map, fingerprint="f" * 64)
    for other in (moved, retrained):
        warnings: list[str] = []
        assert LastPoseFile(config, other, warnings.append).read() is None
        assert "of another map" in warnings[0] and config.path in warnings[0]


@pytest.mark.parametrize(
    ("key", "value"),
    [("T_map_base", [[1.0]]), ("covariance", [["x"]]), ("format", "0"), ("stamp_ns", None)],
)
def test_a_damaged_file_is_not_used(config, place_map: PlaceMap, key: str, value: object) -> None:
    warnings: list[str] = []
    file = LastPoseFile(config, place_map, warnings.append)
    file.note(known(1.0))
    content = json.loads(Path(config.path).read_text())
    Path(config.path).write_text(json.dumps(content | {key: value}))
    assert file.read() is None and "it is no last pose" in warnings[0]
    Path(config.path).write_text("[")
    assert file.read() is None and len(warnings) == 2


def test_a_full_disk_stops_nobody(tmp_path: Path, place_map: PlaceMap) -> None:
    (tmp_path / "file").touch()
    warnings: list[str] = []
    config = LastPoseConfig(str(tmp_path / "file" / "last.json"))
    LastPoseFile(config, place_map, warnings.append).note(known(1.0))
    assert "cannot write the last pose" in warnings[0]


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match=r"last_pose\.probability must lie between 0 and 1"):
        LastPoseConfig(probability=1.0)
    with pytest.raises(ConfigError, match=r"last_pose\.period_s must be positive"):
        LastPoseConfig(period_s=0.0)
