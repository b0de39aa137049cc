"""Towns as files: the layout, the same bytes always, and going on where it stopped."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from scmpr_ros.cli.make_town import TownOptions, make_towns
from scmpr_ros.datasets.kitti.odometry import KittiOdometryDrive
from scmpr_ros.datasets.rosbag2.reader import Rosbag2Drive
from scmpr_ros.datasets.town_files import SEEDS
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.lidar.cloud_files import read_cloud
from scmpr_ros.semantics import IS_DYNAMIC, class_id, to_joint
from scmpr_ros.town.drives import DriveConfig
from scmpr_ros.town.export import (
    TownExportConfig,
    export_town,
    finish_export,
    is_finished,
    open_traversal,
    plan_export,
)
from scmpr_ros.town.mesh_map import sample_mesh_map
from scmpr_ros.town.sensors.lidar import LidarConfig
from scmpr_ros.town.streets.network import StreetNetworkConfig
from scmpr_ros.town.traversal import Traversal, TraversalConfig
from scmpr_ros.town.world import Town, TownConfig, stream

ROAD = class_id("road")
SMALL = TownConfig(StreetNetworkConfig(columns=2, rows=2))
DRIVE = DriveConfig(spacing_m=10.0, length_m=60.0)
CONFIG = TownExportConfig(
    image_width=124, image_height=38, town=SMALL, lidar=LidarConfig(rings=16, columns=256),
    traversals=(
        TraversalConfig(0, images=False, drive=DRIVE),
        TraversalConfig(1, scans=False, depth=True, condition="clear", season="winter",
                        drive=DRIVE),
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("town")
    steps = list(export_town(root, 3, CONFIG))
    assert steps[-1][0] == steps[-1][1] == len(steps)
    assert not is_finished(root, 3, CONFIG)
    finish_export(root, 3, CONFIG)
    return root


def digests(root: Path) -> dict[str, str]:
    files = sorted(p for p in root.rglob("*") if p.is_file() and p.suffix != ".mcap")
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_writes_the_kitti_layout(exported: Path) -> None:
    scans = sorted((exported / "sequences/00/velodyne").glob("*.bin"))
    images = sorted((exported / "sequences/01/image_2").glob("*.png"))
    assert len(scans) == len(np.loadtxt(exported / "poses/00.txt")) == 6
    assert len(images) == len(np.loadtxt(exported / "sequences/01/times.txt")) == 6
    assert not (exported / "sequences/00/image_2").exists()
    points = np.fromfile(scans[0], "<f4").reshape(-1, 4)
    labels = np.fromfile(exported / "sequences/00/labels/000000.label", "<u4")
    assert len(points) == len(labels) and {40, 50} <= set(labels.tolist())
    mask = cv2.imread(str(exported / "sequences/01/mask_2/000000.png"), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (38, 124) and ROAD in to_joint(mask, "cityscapes")
    depth = cv2.imread(str(exported / "sequences/01/depth_2/000000.png"), cv2.IMREAD_UNCHANGED)
    assert depth.dtype == np.uint16 and 3 < depth[37, 62] / 256 < 15, "the road ahead"
    record = yaml.safe_load((exported / "town.yaml").read_text())
    assert record["seed"] == 3 and record["conditions"][1] == "clear/winter"
    assert not list(exported.rglob(".*")), "temporary files are left"
    assert not (exported / "town.started.yaml").exists()


def test_the_reader_finds_the_towns_own_poses(exported: Path) -> None:
    for number in range(2):
        traversal = open_traversal(3, CONFIG, number)
        drive = KittiOdometryDrive(exported, f"{number:02d}")
        for frame in (0, 3):
            T = traversal.T_world_base[frame]
            rig = traversal.rig
            assert np.allclose(drive.T_world_lidar(frame), T @ rig.T_base_lidar, atol=1e-6)
            assert np.allclose(drive.T_world_camera(frame), T @ rig.T_base_camera, atol=1e-6)
            assert drive.stamp_s(frame) == pytest.approx(traversal.stamps_s[frame], abs=1e-6)
    assert drive.camera.fx == pytest.approx(rig.camera.fx, rel=1e-6)
    assert drive.mask(0) is not None


def test_goes_on_where_it_stopped_and_gives_the_same_bytes(exported: Path, tmp_path: Path) -> None:
    steps = export_town(tmp_path, 3, CONFIG)
    for _ in range(7):
        next(steps)
    steps.close()
    assert not is_finished(tmp_path, 3, CONFIG)
    (tmp_path / "sequences/00/labels/000002.label").unlink()  # as if killed between two files
    for _ in export_town(tmp_path, 3, CONFIG):
        pass
    finish_export(tmp_path, 3, CONFIG)
    assert digests(tmp_path) == digests(exported)


def test_a_town_of_other_settings_is_not_mixed_in(exported: Path, tmp_path: Path) -> None:
    other = replace(CONFIG, image_width=130)
    with pytest.raises(DatasetError, match="made with other settings"):
        next(export_town(exported, 3, other))
    next(export_town(tmp_path, 3, CONFIG))  # begun, not finished
    with pytest.raises(DatasetError, match=r"see .*town.started.yaml"):
        next(export_town(tmp_path, 3, other))
    with pytest.raises(DatasetError, match="made with other settings"):
        next(export_town(tmp_path, 4, CONFIG))


def test_processes_give_the_same_bytes(exported: Path, tmp_path: Path) -> None:
    make_towns({3: tmp_path / "0003"}, TownOptions(), CONFIG, jobs=2)
    assert not (tmp_path / "0003" / "mesh_map.ply").exists()
    options = TownOptions(mesh_map=True, bag=True)  # asked for later
    make_towns({3: tmp_path / "0003"}, options, CONFIG, jobs=2)
    made, alone = digests(tmp_path / "0003"), digests(exported)
    assert {name: made[name] for name in alone} == alone
    folder = tmp_path / "0003"
    built, perfect = (read_cloud(folder / f"{n}.ply") for n in ("map", "mesh_map"))
    assert built.label is not None and perfect.label is not None
    # No LiDAR on a car sees roofs from above.
    assert perfect.xyz[:, 2].max() > built.xyz[:, 2].max()
    bag = Rosbag2Drive(folder / "bags" / "01")
    assert len(bag.image_frames) == 6
    before = digests(folder)
    make_towns({3: folder}, options, CONFIG, jobs=1)
    assert digests(folder) == before, "a town that is there is left alone"


def test_the_perfect_map_is_of_static_surfaces(small_town: Town, traversal: Traversal) -> None:
    way = traversal.T_world_base[:, :2, 3]
    cloud = sample_mesh_map(small_town, way, points_per_m2=2.0)
    assert cloud.label is not None and not IS_DYNAMIC[cloud.label].any()
    road = cloud.xyz[cloud.label == ROAD]
    above = np.abs(road[:, 2] - small_town.ground.relief(road[:, :2].astype(float)))
    assert np.quantile(above, 0.95) < 0.1
    near = road[np.linalg.norm(road[:, :2] - way[50], axis=1) < 4]
    assert len(near) / (np.pi * 16) == pytest.approx(2.0, rel=0.4), "points per square metre"


def test_traversals_differ_in_traffic_light_and_path(small_town: Town) -> None:
    first, second = (
        Traversal.plan(small_town, TraversalConfig(n, drive=DRIVE), open_traversal(
            3, CONFIG, 0).rig, LidarConfig(rings=8, columns=64)) for n in (0, 1)
    )  # fmt: skip
    apart = np.linalg.norm(first.T_world_base[:, :3, 3] - second.T_world_base[:, :3, 3], axis=1)
    assert apart.min() > 0.02 and apart.max() < 12
    a, b = first.scene(0).still.mesh, second.scene(0).still.mesh
    assert len(a) != len(b), "other cars are parked"


def test_traffic_moves_and_keeps_clear_of_the_drive(traversal: Traversal) -> None:
    traffic = traversal.traffic
    assert len(traffic.movers) > 2
    times = traversal.stamps_s
    for mover in traffic.movers:
        if mover.turns_back:
            continue  # walks on a pavement
        apart = np.linalg.norm(mover.thirds(times) - traversal.T_world_base[:, None, :2, 3], axis=2)
        assert not (apart < 2.0).any()
    moved = [np.nanmax(np.linalg.norm(m.at(times)[0] - m.at(times[:1])[0], axis=1))
             for m in traffic.movers if np.isfinite(m.at(times[0])[0]).all()]  # fmt: skip
    assert max(moved) > 5


@pytest.mark.parametrize(
    ("change", "message"),
    [({"condition": "hail"}, "hail"), ({"season": "monsoon"}, "monsoon")],
)
def test_unknown_light_is_refused(change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TraversalConfig(**change)


def test_options_become_traversals() -> None:
    config = TownOptions(drives=["any", "night/winter!"], length_m=200).export_config()
    mapping, first, second = config.traversals
    assert mapping.scans and not mapping.images
    assert (first.condition, first.season, first.drive.reverse) == ("any", "any", False)
    assert (second.condition, second.season, second.drive.reverse) == ("night", "winter", True)
    assert len({t.traversal for t in config.traversals}) == 3
    with pytest.raises(ConfigError, match="sleet"):
        TownOptions(drives=["sleet"]).export_config()


def test_plans_cover_every_frame_once(tmp_path: Path) -> None:
    tasks = plan_export(tmp_path, 3, replace(CONFIG, traversals=CONFIG.traversals[:1]), chunk=4)
    assert [list(t.frames) for t in tasks] == [[0, 1, 2, 3], [4, 5]]


def test_splits_share_no_seed() -> None:
    seeds = [set(s) for s in SEEDS.values()]
    assert sum(map(len, seeds)) == len(set().union(*seeds))


def test_streams_are_independent() -> None:
    a, b = stream(1, "houses").random(4), stream(1, "plants").random(4)
    assert not np.array_equal(a, b) and np.array_equal(a, stream(1, "houses").random(4))
