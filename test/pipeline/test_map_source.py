"""All the ways to a map: a file, a folder with a prebuilt map, a folder of scans."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recording import write_recording
from recording_kitti360 import START, static_folder, write_kitti360, write_window

from scmpr_ros.datasets.trajectories import TrajectoryConfig
from scmpr_ros.errors import DatasetError
from scmpr_ros.lidar.accumulation import AccumulationConfig
from scmpr_ros.lidar.cloud_files import CloudConfig, write_cloud
from scmpr_ros.lidar.ground_ghosts import GroundGhostConfig
from scmpr_ros.lidar.point_cloud_map import PointCloudMap
from scmpr_ros.lidar.segmentation import point_confusion
from scmpr_ros.pipeline.map_points import load_point_cloud_map
from scmpr_ros.pipeline.map_source import (
    AccumulatedScans,
    CloudFile,
    MapSourceConfig,
    check_trajectory,
    find_positions,
    open_map_source,
)
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import class_id, label_confusion

ROAD, BUILDING, CAR = class_id("road"), class_id("building"), class_id("car")
SENSOR_HEIGHT_M = 1.7
CONFIG = MapSourceConfig(accumulation=AccumulationConfig(min_hits=1))
CALIBRATION = "P2: 50 0 32 0 0 50 12 0 0 0 1 0\nTr: 0 -1 0 0 0 0 -1 0 1 0 0 0\n"


def street() -> PointCloud:
    """A road with a façade on one side and a parked car, labelled; z = 0 is the ground."""
    rng = np.random.default_rng(0)
    road = rng.uniform((-20, -6, 0), (30, 6, 0.01), (30_000, 3))
    facade = rng.uniform((-20, 8, 0), (30, 8.05, 6), (15_000, 3))
    car = _shell(rng, np.array([5, 3.5, 0.3]), np.array([9, 5.2, 1.5]), 2_000)
    label = np.repeat([ROAD, BUILDING, CAR], [len(road), len(facade), len(car)])
    xyz = np.concatenate([road, facade, car]).astype(np.float32)
    return PointCloud(xyz, label.astype(np.uint8))


def _shell(rng: np.random.Generator, low: np.ndarray, high: np.ndarray, count: int) -> np.ndarray:
    """Points on the sides and the top of a box: a LiDAR sees no more of a car."""
    xyz = rng.uniform(low, high, (count, 3))
    axis = rng.choice(3, count, p=(0.2, 0.4, 0.4))
    end = np.where((axis == 2) | (rng.random(count) < 0.5), high[axis], low[axis])
    xyz[np.arange(count), axis] = end
    return xyz


def write_sequence(root: Path, name: str, labelled: bool, scans: bool = True) -> None:
    """Six frames, 2 m forward each, whose scans see the whole street."""
    folder = root / "sequences" / name
    folder.mkdir(parents=True)
    (root / "poses").mkdir(exist_ok=True)
    (folder / "calib.txt").write_text(CALIBRATION)
    poses = [f"1 0 0 0 0 1 0 0 0 0 1 {2 * frame}" for frame in range(6)]
    (root / "poses" / f"{name}.txt").write_text("\n".join(poses))
    if not scans:
        return
    cloud = street()
    (folder / "velodyne").mkdir()
    for frame in range(6):
        xyz = cloud.xyz - np.array([2 * frame, 0, SENSOR_HEIGHT_M], np.float32)
        rows = np.column_stack([xyz, np.zeros(len(xyz))]).astype("<f4")
        rows.tofile(folder / "velodyne" / f"{frame:06d}.bin")
        if labelled:
            (folder / "labels").mkdir(exist_ok=True)
            raw = np.choose(cloud.label == CAR, [np.where(cloud.label == ROAD, 40, 50), 10])
            raw.astype("<u4").tofile(folder / "labels" / f"{frame:06d}.label")


def test_labelled_file(tmp_path: Path) -> None:
    write_cloud(tmp_path / "town.ply", street())
    point_map = load_point_cloud_map(tmp_path / "town.ply", CONFIG)
    assert set(point_map.cloud.label) == {ROAD, BUILDING}
    assert point_map.trajectory is None
    np.testing.assert_array_equal(point_map.confusion, label_confusion())


def test_unlabelled_file_is_segmented(tmp_path: Path) -> None:
    cloud = street()
    write_cloud(tmp_path / "town.ply", PointCloud(cloud.xyz))
    point_map = load_point_cloud_map(tmp_path / "town.ply", CONFIG)
    xyz, label = point_map.cloud.xyz, point_map.cloud.label
    assert np.mean(label[xyz[:, 2] < 0.02] == ROAD) > 0.9
    assert np.mean(label[(xyz[:, 1] > 7.9) & (xyz[:, 2] > 0.5)] == BUILDING) > 0.9
    assert len(xyz) < len(cloud) - 1500  # the car is gone
    np.testing.assert_array_equal(point_map.confusion, point_confusion())


def test_folder_of_labelled_scans(tmp_path: Path) -> None:
    write_sequence(tmp_path, "00", labelled=True)
    point_map = load_point_cloud_map(tmp_path, CONFIG)
    assert set(point_map.cloud.label) == {ROAD, BUILDING}
    np.testing.assert_allclose(point_map.trajectory[:, 0], np.arange(0, 12, 2), atol=1e-9)
    assert point_map.cloud.xyz[:, 2].min() == pytest.approx(-SENSOR_HEIGHT_M, abs=0.05)


def test_folder_of_unlabelled_scans(tmp_path: Path, caplog) -> None:
    write_sequence(tmp_path, "00", labelled=False)
    with caplog.at_level(logging.INFO):
        point_map = load_point_cloud_map(tmp_path, CONFIG)
    assert {ROAD, BUILDING} <= set(point_map.cloud.label)
    assert "ghosts of moving objects" in caplog.text


def street_with_streak() -> tuple[PointCloud, np.ndarray]:
    """The street with the ghost of a car that drove along it, and which points are the ghost.

    The road is evenly dense, as in a map of voxels.
    """
    cloud = street()
    things = cloud.select(cloud.label != ROAD)
    x, y = np.mgrid[-20:30:0.15, -6:6:0.15].reshape(2, -1)
    road = np.column_stack([x, y, np.zeros(len(x))])
    streak = np.random.default_rng(1).uniform((-10, -3, 0.3), (20, -1.2, 1.5), (8_000, 3))
    xyz = np.concatenate([things.xyz, road, streak]).astype(np.float32)
    label = np.repeat([ROAD, BUILDING], [len(road), len(streak)]).astype(np.uint8)
    cloud = PointCloud(xyz, np.concatenate([things.label, label]))
    return cloud, np.arange(len(xyz)) >= len(xyz) - len(streak)


def num_points_in_lane(point_map: PointCloudMap) -> int:
    xyz = point_map.cloud.xyz
    return int(((np.abs(xyz[:, 1] + 2.1) < 1) & (xyz[:, 2] > 0.35) & (xyz[:, 2] < 1.6)).sum())


def test_ghosts_leave_a_bare_cloud(tmp_path: Path, caplog) -> None:
    cloud, ghost = street_with_streak()
    write_cloud(tmp_path / "map.ply", PointCloud(cloud.xyz))
    with caplog.at_level(logging.INFO):
        point_map = load_point_cloud_map(tmp_path, CONFIG)
    assert num_points_in_lane(point_map) < 0.02 * ghost.sum()
    assert "ghosts of moving objects, beneath which the ground was seen" in caplog.text


def test_ghosts_leave_a_cloud_whose_drive_has_no_scans(tmp_path: Path) -> None:
    cloud, ghost = street_with_streak()
    write_cloud(tmp_path / "map.ply", PointCloud(cloud.xyz))
    write_sequence(tmp_path, "00", labelled=False, scans=False)
    point_map = load_point_cloud_map(tmp_path, replace(CONFIG, sequence="00"))
    assert point_map.trajectory is not None
    assert num_points_in_lane(point_map) < 0.02 * ghost.sum()


def test_ghosts_stay_where_their_removal_is_switched_off(tmp_path: Path, caplog) -> None:
    cloud, _ = street_with_streak()
    write_cloud(tmp_path / "map.ply", PointCloud(cloud.xyz))
    off = replace(CONFIG, ground_ghosts=GroundGhostConfig(enabled=False))
    with caplog.at_level(logging.INFO):
        load_point_cloud_map(tmp_path, off)
    assert "removed 0 ghosts" in caplog.text


def test_labelled_cloud_keeps_what_its_labels_call_static(tmp_path: Path) -> None:
    cloud, ghost = street_with_streak()
    write_cloud(tmp_path / "map.ply", cloud)
    point_map = load_point_cloud_map(tmp_path, CONFIG)
    assert num_points_in_lane(point_map) > 0.95 * ghost.sum()


def test_prebuilt_map_wins_over_the_scans(tmp_path: Path) -> None:
    write_sequence(tmp_path, "00", labelled=True)
    write_cloud(tmp_path / "map.ply", street())
    point_map = load_point_cloud_map(tmp_path, CONFIG)
    assert point_map.cloud.xyz[:, 2].min() == pytest.approx(0, abs=0.05)
    assert point_map.trajectory is not None


@pytest.mark.parametrize("sequence_without_scans", [False, True])
def test_prebuilt_map_alone(tmp_path: Path, sequence_without_scans: bool) -> None:
    write_cloud(tmp_path / "map.ply", street())
    if sequence_without_scans:
        write_sequence(tmp_path, "00", labelled=False, scans=False)
    assert load_point_cloud_map(tmp_path, CONFIG).trajectory is None


def test_the_sequence_to_map_can_be_named(tmp_path: Path) -> None:
    write_sequence(tmp_path, "00", labelled=True)
    write_sequence(tmp_path, "01", labelled=True)
    with pytest.raises(DatasetError, match=r"2 sequences with scans \(00, 01\): name the one"):
        load_point_cloud_map(tmp_path, CONFIG)
    config = MapSourceConfig(sequence="01", accumulation=CONFIG.accumulation)
    assert load_point_cloud_map(tmp_path, config).trajectory is not None


def test_drives_with_camera_and_lidar_do_not_compete_for_a_prebuilt_map(tmp_path: Path) -> None:
    """As in towns whose camera drives record scans as well: the map is of the drive without."""
    folder = write_recording(tmp_path, seed=0)
    expected = load_point_cloud_map(folder, MapSourceConfig()).trajectory
    scans = folder / "sequences" / "01" / "velodyne"
    scans.mkdir()
    for path in sorted((folder / "sequences" / "00" / "velodyne").iterdir())[:12]:
        shutil.copy(path, scans)
    found = load_point_cloud_map(folder, MapSourceConfig()).trajectory
    assert expected is not None and np.array_equal(found, expected)


def test_a_sequence_without_scans_makes_no_map(tmp_path: Path) -> None:
    write_sequence(tmp_path, "00", labelled=False, scans=False)
    with pytest.raises(DatasetError, match=r"no map\.ply, and sequence 00 has no scans"):
        load_point_cloud_map(tmp_path, MapSourceConfig(sequence="00"))


def test_missing_source(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no point cloud file .*nowhere"):
        load_point_cloud_map(tmp_path / "nowhere", CONFIG)


def test_folder_with_nothing_usable(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"looked for sequences/.*; .ply, .pcd, .*clouds"):
        load_point_cloud_map(tmp_path, CONFIG)


def test_a_trajectory_in_the_axes_of_a_turned_cloud(tmp_path: Path) -> None:
    """LOAM: x left, y up, z forward, of poses and cloud alike."""
    rows = "".join(f"{k} {0.1 * k} 1.5 {k} 0 0 0 1\n" for k in range(5))
    (tmp_path / "t.txt").write_text(rows)
    config = MapSourceConfig(cloud=CloudConfig(up="+y"), trajectory=str(tmp_path / "t.txt"))
    positions = find_positions(tmp_path, CloudFile(tmp_path / "m.pcd"), config)
    assert positions is not None
    np.testing.assert_allclose(positions[4], [4, 0.4, 1.5], atol=1e-12)


def test_a_trajectory_of_a_camera_is_turned_once(tmp_path: Path) -> None:
    """Poses and cloud in optical axes, and both said so."""
    (tmp_path / "t.txt").write_text("".join(f"1 0 0 1.5 0 1 0 -0.1 0 0 1 {k}\n" for k in range(5)))
    config = MapSourceConfig(
        cloud=CloudConfig(up="-y"),
        trajectory=str(tmp_path / "t.txt"),
        trajectory_file=TrajectoryConfig(axes="optical"),
    )
    positions = find_positions(tmp_path, CloudFile(tmp_path / "m.pcd"), config)
    assert positions is not None
    np.testing.assert_allclose(positions[4], [4, -1.5, 0.1], atol=1e-12)


def test_a_trajectory_is_read_before_the_map(tmp_path: Path) -> None:
    for name in ("none.txt", "t.txt"):
        (tmp_path / "t.txt").write_text("1 2 3\n")
        with pytest.raises(DatasetError, match=name):
            check_trajectory(MapSourceConfig(trajectory=str(tmp_path / name)))
    check_trajectory(MapSourceConfig())
    (tmp_path / "damaged.mcap").touch()  # which is read later
    check_trajectory(MapSourceConfig(trajectory=str(tmp_path / "damaged.mcap")))


def test_a_folder_of_folders_names_the_one_with_clouds(tmp_path: Path) -> None:
    write_cloud(tmp_path / "tiles" / "a.ply", street())
    with pytest.raises(DatasetError, match=r"its folder tiles holds point clouds: name that one"):
        open_map_source(tmp_path)


def test_a_folder_with_a_folder_of_scans(tmp_path: Path) -> None:
    """As SC-LIO-SAM saves them."""
    for frame in range(6):
        write_cloud(tmp_path / "Scans" / f"{frame:06d}.ply", street())
    with pytest.raises(DatasetError, match=r"Scans holds 6 scans such as 000000\.ply"):
        open_map_source(tmp_path)


def test_a_folder_with_several_folders_of_clouds(tmp_path: Path) -> None:
    for name in ("000000", "000001"):
        write_cloud(tmp_path / name / "cloud.ply", street())
    with pytest.raises(DatasetError, match=r"2 of its folders hold point clouds, such as 000000"):
        open_map_source(tmp_path)
    (tmp_path / "graph.g2o").touch()
    with pytest.raises(DatasetError, match=r"graph\.g2o, but no map: it is a dump of hdl_graph"):
        open_map_source(tmp_path)


def test_a_cloud_beside_a_bag_is_not_passed_over(tmp_path: Path) -> None:
    write_cloud(tmp_path / "site.ply", street())
    (tmp_path / "drive.mcap").touch()
    with pytest.raises(DatasetError, match="both point clouds and a bag: name the file"):
        open_map_source(tmp_path)


def test_a_damaged_scan_can_be_left_out(tmp_path: Path, caplog) -> None:
    write_sequence(tmp_path, "00", labelled=True)
    (tmp_path / "sequences/00/velodyne/000002.bin").write_bytes(b"\x00" * 20)
    with pytest.raises(DatasetError, match=r"000002\.bin has 20 bytes"):
        load_point_cloud_map(tmp_path, CONFIG)
    point_map = load_point_cloud_map(tmp_path, replace(CONFIG, skip_bad=True))
    assert set(point_map.cloud.label) == {ROAD, BUILDING}
    assert "left out frame 2: " in caplog.text


def test_kitti360_scans(tmp_path: Path) -> None:
    """Frames 1 to 5 have scans nearby, so that places lie between these."""
    write_kitti360(tmp_path)
    rows = np.column_stack([street().xyz, np.zeros(len(street()))]).astype("<f4")
    for scan in tmp_path.glob("data_3d_raw/*/velodyne_points/data/*.bin"):
        rows.tofile(scan)
    point_map = load_point_cloud_map(tmp_path, CONFIG)
    np.testing.assert_allclose(np.diff(point_map.trajectory[:, 0]), np.ones(4), atol=1e-6)
    assert {ROAD, BUILDING} <= set(point_map.cloud.label)


def test_kitti360_static_points_are_the_map(tmp_path: Path) -> None:
    """Two windows overlap by half; a car among the points goes, labels and coordinates stay."""
    write_kitti360(tmp_path)
    cloud = street()
    world = cloud.xyz + START + [10, 0, -1.7]
    semantic = np.choose(cloud.label == CAR, [np.where(cloud.label == ROAD, 7, 11), 26])
    half = cloud.xyz[:, 0] < 5
    folder = static_folder(tmp_path)
    write_window(folder / "0000000001_0000000009.ply", world[half], semantic[half])
    write_window(folder / "0000000005_0000000030.ply", world, semantic)
    point_map = load_point_cloud_map(tmp_path, CONFIG)
    xyz = point_map.cloud.xyz + point_map.cloud.origin
    assert set(point_map.cloud.label) == {ROAD, BUILDING}
    np.testing.assert_allclose(xyz.min(axis=0), world.min(axis=0), atol=0.15)
    np.testing.assert_allclose(xyz.max(axis=0), world.max(axis=0), atol=0.15)
    assert len(np.unique(np.floor(xyz / 0.15), axis=0)) >= 0.98 * len(xyz), "a point a voxel"
    assert len(point_map.trajectory) == 10, "all frames with a pose that the windows cover"


def test_the_kind_of_source_is_decided_by_what_is_there(tmp_path: Path) -> None:
    write_cloud(tmp_path / "town.ply", street())
    assert open_map_source(tmp_path / "town.ply") == CloudFile(tmp_path / "town.ply")
    folder = tmp_path / "recording"
    write_sequence(folder, "00", labelled=True)
    scans = open_map_source(folder)
    assert isinstance(scans, AccumulatedScans) and scans.drive.name == "00"
    write_cloud(folder / "map.ply", street())
    prebuilt = open_map_source(folder)
    assert isinstance(prebuilt, CloudFile) and prebuilt.drive is not None
    assert prebuilt.path == folder / "map.ply" and prebuilt.drive.name == "00"
