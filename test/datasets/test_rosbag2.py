"""A drive written as a bag reads back as it was, and damaged bags say what is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from scipy.spatial.transform import Rotation

from scmpr_ros.datasets.rosbag2 import (
    TYPES,
    BagReaderConfig,
    BagTopics,
    Rosbag2Drive,
    find_connection,
    open_bag,
)
from scmpr_ros.datasets.rosbag2_writer import BagWriterConfig, message, write_drive_bag
from scmpr_ros.errors import CalibrationError, ConfigError, DatasetError
from scmpr_ros.geometry import R_BODY_OPTICAL, make_transform, rotation_z
from scmpr_ros.records import CameraModel, PointCloud


class CircleDrive:
    """Twelve frames on a spiral; an image every second, a scan every third frame."""

    name = "circle"
    camera = CameraModel(32, 24, 20.0, 21.0, 15.5, 11.5)
    T_lidar_camera = make_transform(R_BODY_OPTICAL, np.array([0.2, 0.1, -0.3]))
    frames = tuple(range(12))
    image_frames = tuple(range(0, 12, 2))
    scan_frames = tuple(range(0, 12, 3))

    def stamp_s(self, frame: int) -> float:
        return 0.1 * frame

    def T_world_lidar(self, frame: int) -> np.ndarray:
        return make_transform(rotation_z(0.3 * frame), np.array([frame, 2.0 * frame, 0.1 * frame]))

    def T_world_camera(self, frame: int) -> np.ndarray:
        return self.T_world_lidar(frame) @ self.T_lidar_camera

    def image(self, frame: int) -> np.ndarray:
        v, u = np.mgrid[:24, :32]
        return np.stack([8 * u, 10 * v, np.full_like(u, 20 * frame)], axis=-1).astype(np.uint8)

    def scan(self, frame: int) -> PointCloud:
        random = np.random.default_rng(frame)
        return PointCloud(
            random.normal(size=(50, 3)).astype(np.float32),
            random.integers(0, 14, 50).astype(np.uint8),
            random.random(50).astype(np.float32),
        )

    def mask(self, frame: int) -> None:
        return None


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bags") / "circle"
    write_drive_bag(CircleDrive(), path)
    return path


def test_round_trip(bag: Path) -> None:
    written, read = CircleDrive(), Rosbag2Drive(bag)
    assert read.name == "circle"
    assert read.camera == written.camera
    np.testing.assert_allclose(read.T_lidar_camera, written.T_lidar_camera, atol=1e-12)
    for name in ("frames", "image_frames", "scan_frames"):
        assert tuple(getattr(read, name)) == getattr(written, name)
    for frame in written.frames:
        np.testing.assert_allclose(read.T_world_lidar(frame), written.T_world_lidar(frame),
                                   atol=1e-9)  # fmt: skip
        np.testing.assert_allclose(read.T_world_camera(frame), written.T_world_camera(frame),
                                   atol=1e-9)  # fmt: skip
        assert read.stamp_s(frame) == pytest.approx(written.stamp_s(frame), abs=1e-6)
    assert read.stamp_ns(3) == 1_000_000_000_300_000_000
    np.testing.assert_array_equal(read.image(4), written.image(4))
    scan, expected = read.scan(6), written.scan(6)
    np.testing.assert_array_equal(scan.xyz, expected.xyz)
    np.testing.assert_array_equal(scan.label, expected.label)
    np.testing.assert_array_equal(scan.intensity, expected.intensity)
    assert read.mask(4) is None


@pytest.mark.parametrize(("image_format", "tolerance"), [("png", 0), ("jpeg", 12)])
def test_compressed_images(tmp_path: Path, image_format: str, tolerance: int) -> None:
    write_drive_bag(CircleDrive(), tmp_path / "b", BagWriterConfig(image_format=image_format))  # type: ignore[arg-type]
    with open_bag(tmp_path / "b") as reader:
        assert find_connection(reader, BagTopics().image + "/compressed").msgcount == 6
    image = Rosbag2Drive(tmp_path / "b").image(2).astype(int)
    assert np.abs(image - CircleDrive().image(2)).mean() <= tolerance


def test_writes_all_or_nothing(tmp_path: Path, bag: Path) -> None:
    class Broken(CircleDrive):
        def scan(self, frame: int) -> PointCloud:
            raise DatasetError("scan is gone")

    with pytest.raises(DatasetError, match="scan is gone"):
        write_drive_bag(Broken(), tmp_path / "b")
    assert not (tmp_path / "b").exists()
    write_drive_bag(CircleDrive(), tmp_path / "b")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b"]
    assert sorted(p.name for p in (tmp_path / "b").iterdir()) == ["b.mcap", "metadata.yaml"]
    with pytest.raises(DatasetError, match="exists already"):
        write_drive_bag(CircleDrive(), bag)


def test_drive_without_frames(tmp_path: Path) -> None:
    class Empty(CircleDrive):
        frames = ()

    with pytest.raises(DatasetError, match="no frames"):
        write_drive_bag(Empty(), tmp_path / "b")


def test_poses_are_interpolated_between_their_stamps(tmp_path: Path) -> None:
    """Images at 0.05 s and 0.95 s, PoseStamped at 0, 0.1 and 0.2 s: only the first has a pose."""
    path = tmp_path / "async"
    _write_async_bag(path)
    drive = Rosbag2Drive(path, BagReaderConfig(BagTopics("/i", "/c", "/p", "/g")))
    assert [round(drive.stamp_s(f), 3) for f in drive.frames] == [0.0, 0.05, 0.1, 0.2]
    assert list(drive.image_frames) == [1]
    T = drive.T_world_lidar(1)
    np.testing.assert_allclose(T[:3, 3], [0.5, 0, 0], atol=1e-9)
    np.testing.assert_allclose(T[:3, :3], rotation_z(0.25), atol=1e-9)
    with pytest.raises(DatasetError, match="frame 4 has no pose"):
        drive.T_world_lidar(4)
    with pytest.raises(DatasetError, match="frame 0 has no message of /i"):
        drive.image(0)
    near = BagReaderConfig(BagTopics("/i", "/c", "/p", "/g"), max_pose_gap_s=0.05)
    assert list(Rosbag2Drive(path, near).image_frames) == []


def test_extrinsics_from_the_config(tmp_path: Path) -> None:
    path = tmp_path / "async"
    _write_async_bag(path, mounted=False)
    topics = BagTopics("/i", "/c", "/p", "/g")
    with pytest.raises(CalibrationError, match="does not connect 'velo' with 'cam'"):
        Rosbag2Drive(path, BagReaderConfig(topics))
    rows = CircleDrive.T_lidar_camera[:3].ravel().tolist()
    drive = Rosbag2Drive(path, BagReaderConfig(topics, T_lidar_camera=tuple(rows)))
    np.testing.assert_allclose(drive.T_lidar_camera, CircleDrive.T_lidar_camera)


def test_config_refuses_nonsense() -> None:
    with pytest.raises(ConfigError, match="12 numbers, got 3"):
        BagReaderConfig(T_lidar_camera=(1.0, 2.0, 3.0))
    with pytest.raises(ConfigError, match="label_set"):
        BagReaderConfig(label_set="mine")
    with pytest.raises(ConfigError, match="jpeg_quality"):
        BagWriterConfig(jpeg_quality=0)
    with pytest.raises(ConfigError, match="start_s"):
        BagWriterConfig(start_s=0.0)


def test_a_missing_topic_lists_those_there(bag: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        Rosbag2Drive(bag, BagReaderConfig(BagTopics(points="/lidar")))
    assert "/lidar" in str(caught.value)
    assert "/kitti/velo/pointcloud (sensor_msgs/msg/PointCloud2)" in str(caught.value)


def test_no_bag(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no metadata\.yaml"):
        Rosbag2Drive(tmp_path)


@pytest.mark.parametrize("keep", [0.0, 0.4, 0.99])
def test_truncated_mcap(bag: Path, tmp_path: Path, keep: float) -> None:
    copy = tmp_path / "cut"
    shutil.copytree(bag, copy)
    mcap = copy / "circle.mcap"
    mcap.write_bytes(mcap.read_bytes()[: int(keep * mcap.stat().st_size)])
    with pytest.raises(DatasetError, match="damaged"):
        Rosbag2Drive(copy)


def test_missing_mcap_and_broken_metadata(bag: Path, tmp_path: Path) -> None:
    copy = tmp_path / "cut"
    shutil.copytree(bag, copy)
    (copy / "circle.mcap").unlink()
    with pytest.raises(DatasetError, match="missing"):
        Rosbag2Drive(copy)
    (copy / "metadata.yaml").write_text("rosbag2_bagfile_information: 3")
    with pytest.raises(DatasetError, match="damaged"):
        Rosbag2Drive(copy)


def _write_async_bag(path: Path, mounted: bool = True) -> None:
    """Sensors that are not synchronised, in sqlite3, with poses of the base as PoseStamped."""

    def header(seconds: float, frame: str) -> object:
        stamp = message("builtin_interfaces/msg/Time", sec=5, nanosec=round(seconds * 1e9))
        return message("std_msgs/msg/Header", stamp=stamp, frame_id=frame)

    def pose(seconds: float) -> object:
        x, y, z, w = Rotation.from_rotvec([0, 0, 5 * seconds]).as_quat()
        return message(
            "geometry_msgs/msg/PoseStamped", header=header(seconds, "map"),
            pose=message(
                "geometry_msgs/msg/Pose",
                position=message("geometry_msgs/msg/Point", x=10 * seconds, y=0.0, z=0.0),
                orientation=message("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w),
            ),
        )  # fmt: skip

    with Writer(path, version=8, storage_plugin=StoragePlugin.SQLITE3) as writer:
        connections = {}

        def send(topic: str, seconds: float, content: object) -> None:
            kind = content.__msgtype__  # type: ignore[attr-defined]
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=TYPES)
            raw = TYPES.serialize_cdr(content, kind)
            writer.write(connections[topic], 5_000_000_000 + round(seconds * 1e9), raw)

        for seconds in (0.0, 0.1, 0.2):
            send("/g", seconds, pose(seconds))
        roi = message("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0,
                      width=0, do_rectify=False)  # fmt: skip
        send("/c", 0.0, message(
            "sensor_msgs/msg/CameraInfo", header=header(0.0, "cam"), height=2, width=2,
            distortion_model="", d=np.zeros(0), k=np.eye(3).ravel(), r=np.eye(3).ravel(),
            p=np.eye(3, 4).ravel(), binning_x=0, binning_y=0, roi=roi,
        ))  # fmt: skip
        for seconds in (0.05, 0.95):
            send("/i", seconds, message(
                "sensor_msgs/msg/Image", header=header(seconds, "cam"), height=2, width=2,
                encoding="mono8", is_bigendian=0, step=2, data=np.zeros(4, np.uint8),
            ))  # fmt: skip
        send("/p", 0.1, message(
            "sensor_msgs/msg/PointCloud2", header=header(0.1, "velo"), height=1, width=0,
            fields=[], is_bigendian=False, point_step=12, row_step=0, data=np.zeros(0, np.uint8),
            is_dense=True,
        ))  # fmt: skip
        if mounted:
            from scmpr_ros.datasets.rosbag2_writer import _transform

            chain = [("base", "velo", np.eye(4)), ("base", "cam", np.eye(4))]
            edges = [
                message("geometry_msgs/msg/TransformStamped", header=header(0.0, parent),
                        child_frame_id=child, transform=_transform(T))
                for parent, child, T in chain
            ]  # fmt: skip
            send("/tf_static", 0.0, message("tf2_msgs/msg/TFMessage", transforms=edges))
