"""Bags with any topic names are trained on, evaluated and converted by one options file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from camera_poses import level_camera_pose
from circle_drive import CircleDrive
from tiny_runs import PAIRS, TINY, TOWN

from scmpr_ros.cli import convert as convert_script
from scmpr_ros.config import to_dict
from scmpr_ros.datasets.bags.options import BagTopics
from scmpr_ros.datasets.bags.writer import BagWriterConfig, write_drive_bag
from scmpr_ros.datasets.recordings import open_drives
from scmpr_ros.errors import CalibrationError, ConfigError
from scmpr_ros.geometry import R_BODY_OPTICAL, make_transform
from scmpr_ros.records import CameraModel, PointCloud
from scmpr_ros.training.pairs import PairDataset
from scmpr_ros.training.preparation import find_recordings, load_recordings

TOPICS = BagTopics(
    image="/front/image_rect_color", camera_info="/front/info", points="/os_cloud_node/points",
    pose="/slam/odometry", tf_static="/mounting", mask="/front/classes",
)  # fmt: skip
EXTRINSICS = make_transform(R_BODY_OPTICAL, np.array([0.3, 0.0, -0.4]))


class RobotDrive(CircleDrive):
    """A walled street that a robot drove down, without any labels."""

    name = "robot"
    camera = CameraModel(32, 24, 20.0, 20.0, 15.5, 11.5)
    image_frames = scan_frames = frames = tuple(range(12))
    T_lidar_camera = EXTRINSICS

    def T_world_lidar(self, frame: int) -> np.ndarray:
        return make_transform(np.eye(3), np.array([1.5 * frame, 0.0, 0.0]))

    def mask(self, frame: int, sparse: bool = True) -> None:
        return None

    def point_labels(self, frame: int) -> None:
        return None

    def scan(self, frame: int) -> PointCloud:
        x, across = np.meshgrid(np.arange(-15, 15, 0.2), np.arange(-5, 5, 0.2))
        road = np.stack([x, across, np.full_like(x, -1.7)], -1).reshape(-1, 3)
        wall = np.stack([x, np.full_like(x, 5.0), across * 0.4], -1).reshape(-1, 3)
        return PointCloud(np.concatenate([road, wall]).astype(np.float32))


@pytest.fixture
def bags(tmp_path: Path) -> Path:
    """Two bags whose mounting is on a topic that nobody reads, for lack of `/tf_static`."""
    for name in ("monday", "tuesday"):
        write_drive_bag(RobotDrive(), tmp_path / "bags" / name, BagWriterConfig(topics=TOPICS))
    return tmp_path / "bags"


def options() -> dict[str, object]:
    named = ("image", "camera_info", "points", "pose")
    return {
        "topics": {name: getattr(TOPICS, name) for name in named},
        "T_lidar_camera": EXTRINSICS[:3].ravel().tolist(),
        "max_pose_gap_s": 0.5,
    }


def test_one_options_file_serves_a_folder_of_bags(bags: Path, tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="does not connect 'velo_link' with 'camera_color"):
        load_recordings(find_recordings(bags), TINY, TOWN, tmp_path / "prepared", 1, "bags")
    (bags / "bag.yaml").write_text(yaml.safe_dump(options()))
    sources = find_recordings(bags)
    assert [source.name for source in sources] == ["monday-monday", "tuesday-tuesday"]
    recordings = load_recordings(sources, TINY, TOWN, tmp_path / "prepared", 1, "bags")
    assert len(PairDataset(recordings, PAIRS, TINY.mask_grid, TINY.panorama)) > 0
    assert recordings[0].geometric_masks.tolist() == [True]
    np.testing.assert_allclose(
        recordings[1].poses[2].numpy(), level_camera_pose(np.array([3.3, 0.0, -0.4]), 0.0),
        atol=1e-9,
    )  # fmt: skip
    (drive,) = open_drives(bags / "tuesday")  # as `evaluate` and `build_map` do
    assert drive.pose_source == "/slam/odometry" and len(drive.image_frames) == 12


def test_the_file_in_a_bag_has_precedence_and_a_change_prepares_anew(
    bags: Path, tmp_path: Path
) -> None:
    (bags / "bag.yaml").write_text(yaml.safe_dump(options()))
    cache = tmp_path / "prepared"

    def cached() -> int:
        load_recordings(find_recordings(bags), TINY, TOWN, cache, 1, "bags")
        return len(list(cache.glob("*.safetensors")))

    assert cached() == cached() == 2
    raised = [*EXTRINSICS[:2].ravel(), *EXTRINSICS[2, :3], 0.1]
    (bags / "bag.yaml").write_text(
        yaml.safe_dump(options() | {"T_lidar_camera": [float(x) for x in raised]})
    )
    assert cached() == 4
    (bags / "monday" / "bag.yaml").write_text(yaml.safe_dump(options()))
    heights = [open_drives(bags / name)[0].T_lidar_camera[2, 3] for name in ("monday", "tuesday")]
    assert heights == [-0.4, 0.1]


def test_a_wrong_options_file_is_named(bags: Path) -> None:
    (bags / "bag.yaml").write_text("topics: {picture: /front/image}\n")
    with pytest.raises(ConfigError, match=r"bag\.yaml: unknown key 'topics\.picture'; allowed"):
        find_recordings(bags)


def test_options_of_convert_replace_those_of_the_file(
    bags: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = options()
    assert isinstance(wrong["topics"], dict)
    wrong["topics"]["points"] = "/nothing"
    (bags / "bag.yaml").write_text(yaml.safe_dump(wrong))
    arguments = [str(bags / "monday"), str(tmp_path / "kitti")]
    assert convert_script.main(arguments) == 1
    assert "no messages of topic /nothing" in capsys.readouterr().err
    assert convert_script.main([*arguments, "--bag.topics.points", TOPICS.points]) == 0
    (drive,) = open_drives(tmp_path / "kitti")
    assert len(drive.scan_frames) == 12
    assert to_dict(drive.camera) == to_dict(RobotDrive.camera)
