"""Export of towns: file layout, reproducible bytes, and resuming."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from scmpr_ros.cli import make_town
from scmpr_ros.cli.make_town import TownOptions, make_towns
from scmpr_ros.datasets.bags.reader import BagDrive
from scmpr_ros.datasets.kitti.odometry import KittiOdometryDrive
from scmpr_ros.datasets.town_files import SEEDS
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.lidar.cloud_files import read_cloud
from scmpr_ros.semantics import IS_DYNAMIC, class_id, to_joint
from scmpr_ros.town.export import (
    TownExportConfig,
    export_town,
    finish_export,
    is_finished,
    open_traversal,
    plan_export,
)
from scmpr_ros.town.mesh_map import sample_mesh_map
from scmpr_ros.town.traversal import Traversal, TraversalConfig
from scmpr_ros.town.world import Town, stream

ROAD = class_id("road")
SEED = 3


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, export_config: TownExportConfig) -> Path:
    """The town of `export_config`, written in this process."""
    root = tmp_path_factory.mktemp("town")
    steps = list(export_town(root, SEED, export_config))
    assert steps[-1][0] == steps[-1][1] == len(steps)
    assert not is_finished(root, SEED, export_config)
    finish_export(root, SEED, export_config)
    return root


def digests(root: Path) -> dict[str, str]:
    """SHA-256 of all files except bags, which contain the time of writing."""
    files = sorted(p for p in root.rglob("*") if p.is_file() and p.suffix != ".mcap")
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_export_has_kitti_layout(exported: Path) -> None:
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
    assert record["seed"] == SEED and record["conditions"][1] == "clear/winter"
    assert not list(exported.rglob(".*")), "temporary files are left"
    assert not (exported / "town.started.yaml").exists()


def test_reader_returns_the_poses_of_the_traversal(
    exported: Path, export_config: TownExportConfig
) -> None:
    for number in range(2):
        traversal = open_traversal(SEED, export_config, number)
        drive = KittiOdometryDrive(exported, f"{number:02d}")
        rig = traversal.rig
        for frame in (0, 3):
            T = traversal.T_world_base[frame]
            assert np.allclose(drive.T_world_lidar(frame), T @ rig.T_base_lidar, atol=1e-6)
            assert np.allclose(drive.T_world_camera(frame), T @ rig.T_base_camera, atol=1e-6)
            assert drive.stamp_s(frame) == pytest.approx(traversal.stamps_s[frame], abs=1e-6)
    assert drive.camera.fx == pytest.approx(rig.camera.fx, rel=1e-6)
    assert drive.mask(0) is not None


def test_resumed_export_has_the_same_bytes(
    exported: Path, tmp_path: Path, export_config: TownExportConfig
) -> None:
    steps = export_town(tmp_path, SEED, export_config)
    for _ in range(7):
        next(steps)
    steps.close()
    assert not is_finished(tmp_path, SEED, export_config)
    (tmp_path / "sequences/00/labels/000002.label").unlink()  # as if killed between two files
    for _ in export_town(tmp_path, SEED, export_config):
        pass
    finish_export(tmp_path, SEED, export_config)
    assert digests(tmp_path) == digests(exported)


def test_folder_of_another_town_is_refused(
    exported: Path, tmp_path: Path, export_config: TownExportConfig
) -> None:
    other = replace(export_config, image_width=130)
    with pytest.raises(DatasetError, match="made with other settings"):
        plan_export(exported, SEED, other)
    plan_export(tmp_path, SEED, export_config)  # started, not finished
    with pytest.raises(DatasetError, match=r"see .*town.started.yaml"):
        plan_export(tmp_path, SEED, other)
    with pytest.raises(DatasetError, match="made with other settings"):
        plan_export(tmp_path, SEED + 1, export_config)


def test_worker_process_writes_the_same_bytes(
    exported: Path, tmp_path: Path, export_config: TownExportConfig
) -> None:
    folder = tmp_path / "0003"
    make_towns({SEED: folder}, TownOptions(), export_config, jobs=1)
    made, reference = digests(folder), digests(exported)
    assert {name: made[name] for name in reference} == reference
    assert set(made) - set(reference) == {"map.ply"}


@pytest.fixture(scope="module")
def completed(
    exported: Path, tmp_path_factory: pytest.TempPathFactory, export_config: TownExportConfig
) -> Path:
    """A copy of the exported town with its map and all outputs that are tested here."""
    folder = tmp_path_factory.mktemp("completed") / "0003"
    shutil.copytree(exported, folder)
    options = TownOptions(mesh_map=True, bag=True)
    assert not make_town._is_complete(folder, SEED, export_config, options)
    make_town._complete(folder, SEED, export_config, options)
    return folder


def test_optional_outputs_are_added_to_a_finished_town(completed: Path) -> None:
    scanned, perfect = (read_cloud(completed / f"{name}.ply") for name in ("map", "mesh_map"))
    assert scanned.label is not None and perfect.label is not None
    assert perfect.xyz[:, 2].max() > scanned.xyz[:, 2].max(), "only the perfect map has roofs"
    assert len(BagDrive(completed / "bags" / "01").image_frames) == 6


def test_complete_town_is_left_alone(completed: Path, export_config: TownExportConfig) -> None:
    before = {p: p.stat().st_mtime_ns for p in completed.rglob("*")}
    make_towns({SEED: completed}, TownOptions(mesh_map=True, bag=True), export_config, jobs=1)
    assert {p: p.stat().st_mtime_ns for p in completed.rglob("*")} == before


def test_mesh_map_samples_static_surfaces(town: Town, traversal: Traversal) -> None:
    drive_xy = traversal.T_world_base[:, :2, 3]
    cloud = sample_mesh_map(town, drive_xy, points_per_m2=2.0)
    assert cloud.label is not None and not IS_DYNAMIC[cloud.label].any()
    road = cloud.xyz[cloud.label == ROAD]
    above = np.abs(road[:, 2] - town.ground.relief(road[:, :2].astype(float)))
    assert np.quantile(above, 0.95) < 0.1
    near = road[np.linalg.norm(road[:, :2] - drive_xy[50], axis=1) < 4]
    assert len(near) / (np.pi * 16) == pytest.approx(2.0, rel=0.4), "points per square metre"


def test_traversals_differ_in_parked_cars_and_path(
    town: Town, export_config: TownExportConfig
) -> None:
    first, second = (open_traversal(SEED, export_config, n) for n in (0, 1))
    apart = np.linalg.norm(first.T_world_base[:, :3, 3] - second.T_world_base[:, :3, 3], axis=1)
    assert apart.min() > 0.02 and apart.max() < 12
    summer = replace(second, condition=first.condition)
    assert len(first.scene(0).still.mesh) != len(summer.scene(0).still.mesh)


def test_traffic_moves_and_keeps_clear_of_the_drive(traversal: Traversal) -> None:
    movers, times = traversal.traffic.movers, traversal.stamps_s
    vehicles = [mover for mover in movers if not mover.turns_back]
    assert len(vehicles) > 1 and len(movers) > len(vehicles)
    for mover in vehicles:
        apart = mover.thirds(times) - traversal.T_world_base[:, None, :2, 3]
        assert not (np.linalg.norm(apart, axis=2) < 2.0).any()
    moved = [np.nanmax(np.linalg.norm(m.at(times)[0] - m.at(times[:1])[0], axis=1))
             for m in movers if np.isfinite(m.at(times[0])[0]).all()]  # fmt: skip
    assert max(moved) > 5


@pytest.mark.parametrize(
    ("change", "message"),
    [({"condition": "hail"}, "hail"), ({"season": "monsoon"}, "monsoon")],
)
def test_unknown_condition_is_refused(change: dict, message: str) -> None:
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


def test_tasks_cover_every_frame_once(tmp_path: Path, export_config: TownExportConfig) -> None:
    config = replace(export_config, traversals=export_config.traversals[:1])
    tasks = plan_export(tmp_path, SEED, config, chunk=4)
    assert [list(t.frames) for t in tasks] == [[0, 1, 2, 3], [4, 5]]


def test_splits_share_no_seed() -> None:
    seeds = [set(s) for s in SEEDS.values()]
    assert sum(map(len, seeds)) == len(set().union(*seeds))


def test_streams_of_different_keys_are_independent() -> None:
    a, b = stream(1, "houses").random(4), stream(1, "plants").random(4)
    assert not np.array_equal(a, b) and np.array_equal(a, stream(1, "houses").random(4))
