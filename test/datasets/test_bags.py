"""A drive written as a bag is read back unchanged; damaged bags raise clear errors."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from circle_drive import CircleDrive
from rosbags.rosbag2 import StoragePlugin, Writer
from scipy.spatial.transform import Rotation

from scmpr_ros.datasets.bags.messages import header, image, message, transforms
from scmpr_ros.datasets.bags.options import BagReaderConfig, BagTopics
from scmpr_ros.datasets.bags.reader import BagDrive
from scmpr_ros.datasets.bags.storage import TYPES, Bag
from scmpr_ros.datasets.bags.writer import BagWriterConfig, drive_odometry, write_drive_bag
from scmpr_ros.datasets.ros_poses import pose_matrix
from scmpr_ros.datasets.simulated_odometry import OdometryNoise, drifting_poses
from scmpr_ros.errors import CalibrationError, ConfigError, DatasetError
from scmpr_ros.geometry import invert, make_transform, rotation_z
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import class_id

CENTRED = np.array([[2.0, 0, 0.5, 0], [0, 2.0, 0.5, 0], [0, 0, 1, 0]])


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bags") / "circle"
    write_drive_bag(CircleDrive(), path)
    return path


def test_round_trip(bag: Path) -> None:
    written, read = CircleDrive(), BagDrive(bag)
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
        assert read.stamp_s(frame) == pytest.approx(written.stamp_s(frame), abs=1e-9)
    # exact to the nanosecond; a sum of floats would be off by 21
    assert read.stamp_ns(3) == 1_000_000_007_309_863_701
    for frame in written.image_frames:
        np.testing.assert_array_equal(read.image(frame), written.image(frame))
        np.testing.assert_array_equal(read.mask(frame, sparse=False), written.mask(frame))
    scan, expected = read.scan(6), written.scan(6)
    for name in ("xyz", "label", "intensity"):
        assert getattr(scan, name).tobytes() == getattr(expected, name).tobytes()
    assert read.label_set == "semantickitti"
    labels = read.point_labels(6)
    assert labels.dtype == np.uint32
    np.testing.assert_array_equal(labels, written.point_labels(6))


def test_joint_labels_are_stored_as_bytes(tmp_path: Path) -> None:
    class Joint(CircleDrive):
        label_set = "joint"

    write_drive_bag(Joint(), tmp_path / "b")
    read = BagDrive(tmp_path / "b")
    assert read.label_set == "joint"
    expected = Joint().scan(0).label
    np.testing.assert_array_equal(read.scan(0).label, expected)
    np.testing.assert_array_equal(read.point_labels(0), expected)
    cloud = next(Bag(tmp_path / "b").messages(BagTopics().points))
    assert [f.datatype for f in cloud.fields if f.name == "label"] == [2]  # UINT8


def test_the_configured_label_set_has_precedence(bag: Path, tmp_path: Path) -> None:
    """A bag with an unknown label set requires it."""
    drive = BagDrive(bag, BagReaderConfig(label_set="kitti360"))
    assert drive.scan(0).label[1] == 0  # SemanticKITTI's car, 10, is ignored in KITTI-360
    copy = tmp_path / "copy"
    shutil.copytree(bag, copy)
    metadata = copy / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("label_set: semantickitti", "label_set: mine"))
    with pytest.raises(
        DatasetError,
        match="unknown label set 'mine' in its metadata",
    ):
        BagDrive(copy)
    drive = BagDrive(copy, BagReaderConfig(label_set="semantickitti"))
    assert drive.scan(0).label[1] == class_id("car")


def test_a_bag_without_scans_and_one_without_images(tmp_path: Path) -> None:
    write_drive_bag(CircleDrive(), tmp_path / "images", BagWriterConfig(scans=False))
    images = BagDrive(tmp_path / "images")
    assert list(images.scan_frames) == []
    assert len(images.image_frames) == 6

    class WithoutImages(CircleDrive):
        image_frames = ()

    write_drive_bag(WithoutImages(), tmp_path / "scans")
    scans = BagDrive(tmp_path / "scans")
    assert list(scans.image_frames) == []
    assert len(scans.scan_frames) == 4
    with pytest.raises(DatasetError, match="no images, so no camera"):
        _ = scans.camera
    for drive in (images, scans):
        np.testing.assert_allclose(drive.T_lidar_camera, CircleDrive.T_lidar_camera, atol=1e-12)
        np.testing.assert_allclose(drive.T_world_lidar(5), CircleDrive().T_world_lidar(5),
                                   atol=1e-9)  # fmt: skip


def test_base_odometry_and_transforms(tmp_path: Path) -> None:
    config = BagWriterConfig(tf=True, lidar_xyz=(0.5, 0.0, 1.7))
    write_drive_bag(CircleDrive(), tmp_path / "b", config)
    topics, drive = BagTopics(), CircleDrive()
    bag = Bag(tmp_path / "b")
    (mounting,) = bag.messages(topics.tf_static)
    odometry = list(bag.messages(topics.odometry))
    moved = [m.transforms[0] for m in bag.messages(topics.tf)]
    chain = [(t.header.frame_id, t.child_frame_id) for t in mounting.transforms]
    assert chain == [("base_link", "velo_link"), ("velo_link", "camera_color_left")]
    T_base_lidar = pose_matrix(mounting.transforms[0].transform)
    assert T_base_lidar[:3, 3].tolist() == [0.5, 0.0, 1.7]
    first = drive.T_world_lidar(0) @ invert(T_base_lidar)
    for frame in drive.frames:
        T_odom_base = pose_matrix(odometry[frame].pose.pose)
        T_world_base = drive.T_world_lidar(frame) @ invert(T_base_lidar)
        np.testing.assert_allclose(T_odom_base, invert(first) @ T_world_base, atol=1e-9)
        np.testing.assert_allclose(pose_matrix(moved[frame].transform), T_odom_base, atol=1e-12)
    for content in (odometry[3], moved[3]):
        assert (content.header.frame_id, content.child_frame_id) == ("odom", "base_link")
    assert odometry[3].twist.twist.angular.z == pytest.approx(0.3 / 0.1032879)


def test_odometry_with_errors(tmp_path: Path) -> None:
    """The errors are those of `drifting_poses`."""
    noise = OdometryNoise(drift=0.1)
    config = BagWriterConfig(odometry_noise=noise, odometry_seed=7, lidar_xyz=(0.0, 0.0, 0.0))
    write_drive_bag(CircleDrive(), tmp_path / "b", config)
    bag = Bag(tmp_path / "b")
    odometry, poses = (list(bag.messages(t)) for t in (BagTopics().odometry, BagTopics().pose))
    true = np.stack([pose_matrix(each.pose.pose) for each in poses])
    drifted = drifting_poses(true, noise, seed=7)
    for sent, T in zip(odometry, drifted, strict=True):
        expected = invert(drifted[0]) @ T
        np.testing.assert_allclose(pose_matrix(sent.pose.pose), expected, atol=1e-9)
    assert not np.allclose(invert(true[0]) @ true, invert(drifted[0]) @ drifted, atol=1e-3)


def test_odometry_of_a_straight_drive() -> None:
    """10 m in steps of 1 m per half second, without and with a drift of one degree per metre."""
    T = np.stack([make_transform(rotation_z(1.0), rotation_z(1.0)[:, 0] * s) for s in range(11)])
    stamps_s = 0.5 * np.arange(11)
    T_odom, velocity = drive_odometry(T, stamps_s)
    np.testing.assert_allclose(T_odom[:, :3, 3], np.outer(np.arange(11), [1, 0, 0]), atol=1e-12)
    np.testing.assert_allclose(velocity, np.tile([2.0, 0, 0, 0, 0, 0], (11, 1)), atol=1e-12)
    T_odom, velocity = drive_odometry(T, stamps_s, np.radians(1))
    np.testing.assert_allclose(T_odom[10, :3, :3], rotation_z(np.radians(10)), atol=1e-12)
    assert T_odom[10, 1, 3] == pytest.approx(np.sin(np.radians(np.arange(10))).sum())
    assert velocity[0, 5] == pytest.approx(np.radians(1) / 0.5)
    T_odom, velocity = drive_odometry(T[:1], stamps_s[:1])
    assert T_odom.tolist() == [np.eye(4).tolist()]
    assert velocity.tolist() == [[0.0] * 6]


def test_stamps_must_increase(tmp_path: Path) -> None:
    class Stopped(CircleDrive):
        def stamp_s(self, frame: int) -> float:
            return super().stamp_s(min(frame, 5))

    with pytest.raises(DatasetError, match="stamp of frame 6 is not later"):
        write_drive_bag(Stopped(), tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


def test_a_mask_of_another_size(tmp_path: Path) -> None:
    class Wide(CircleDrive):
        def mask(self, frame: int, sparse: bool = True) -> np.ndarray:
            return np.full((24, 33), 77, np.uint8)

    write_drive_bag(Wide(), tmp_path / "b")
    with pytest.raises(
        DatasetError, match=r"mask of frame 0 has shape \(24, 33\) and ids up to 77"
    ):
        BagDrive(tmp_path / "b").mask(0)


@pytest.mark.parametrize(("image_format", "tolerance"), [("png", 0), ("jpeg", 12)])
def test_compressed_images(tmp_path: Path, image_format: str, tolerance: int) -> None:
    write_drive_bag(CircleDrive(), tmp_path / "b", BagWriterConfig(image_format=image_format))  # type: ignore[arg-type]
    assert Bag(tmp_path / "b").topic(BagTopics().image + "/compressed").count == 6
    image = BagDrive(tmp_path / "b").image(2).astype(int)
    assert np.abs(image - CircleDrive().image(2)).mean() <= tolerance


def test_a_bag_is_written_atomically(tmp_path: Path, bag: Path) -> None:
    class Broken(CircleDrive):
        def scan(self, frame: int) -> PointCloud:
            raise DatasetError("the scan is damaged")

    with pytest.raises(DatasetError, match="the scan is damaged"):
        write_drive_bag(Broken(), tmp_path / "b")
    assert list(tmp_path.iterdir()) == []
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


def test_poses_are_interpolated(tmp_path: Path) -> None:
    """Images at 0.05 s and 0.95 s, PoseStamped at 0, 0.1 and 0.2 s: only the first has a pose."""
    path = tmp_path / "async"
    _write_async_bag(path)
    drive = BagDrive(path, BagReaderConfig(BagTopics("/i", "/c", "/p", "/g")))
    assert [round(drive.stamp_s(f), 3) for f in drive.frames] == [0.0, 0.05, 0.1, 0.2]
    assert list(drive.image_frames) == [1]
    assert drive.label_set == "joint"
    T = drive.T_world_lidar(1)
    np.testing.assert_allclose(T[:3, 3], [0.5, 0, 0], atol=1e-9)
    np.testing.assert_allclose(T[:3, :3], rotation_z(0.25), atol=1e-9)
    with pytest.raises(DatasetError, match="frame 4 has no pose"):
        drive.T_world_lidar(4)
    with pytest.raises(DatasetError, match="frame 0 has no message of /i"):
        drive.image(0)
    near = BagReaderConfig(BagTopics("/i", "/c", "/p", "/g"), max_pose_gap_s=0.05)
    assert list(BagDrive(path, near).image_frames) == []


def test_extrinsics_from_the_config(tmp_path: Path) -> None:
    path = tmp_path / "async"
    _write_async_bag(path, mounted=False)
    topics = BagTopics("/i", "/c", "/p", "/g")
    with pytest.raises(CalibrationError, match="does not connect 'velo' with 'cam'"):
        _ = BagDrive(path, BagReaderConfig(topics)).T_lidar_camera
    rows = CircleDrive.T_lidar_camera[:3].ravel().tolist()
    drive = BagDrive(path, BagReaderConfig(topics, T_lidar_camera=tuple(rows)))
    np.testing.assert_allclose(drive.T_lidar_camera, CircleDrive.T_lidar_camera)


def test_bad_config() -> None:
    with pytest.raises(ConfigError, match="12 numbers, got 3"):
        BagReaderConfig(T_lidar_camera=(1.0, 2.0, 3.0))
    with pytest.raises(ConfigError, match="is not a rotation"):
        BagReaderConfig(T_lidar_camera=tuple(np.ones(12)))
    with pytest.raises(ConfigError, match="label_set"):
        BagReaderConfig(label_set="mine")
    with pytest.raises(ConfigError, match="jpeg_quality"):
        BagWriterConfig(jpeg_quality=0)
    with pytest.raises(ConfigError, match="start_s"):
        BagWriterConfig(start_s=0.0)


def test_a_missing_topic_lists_the_others(bag: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        BagDrive(bag, BagReaderConfig(BagTopics(points="/lidar")))
    assert "/lidar" in str(caught.value)
    assert "/kitti/velo/pointcloud (sensor_msgs/msg/PointCloud2)" in str(caught.value)


@pytest.mark.parametrize("name", ["image", "camera_info", "points", "pose", "tf_static"])
def test_a_topic_of_another_type(bag: Path, name: str) -> None:
    other = BagTopics().odometry if name != "pose" else BagTopics().points
    with pytest.raises(DatasetError, match=f"topic {other} holds .*, expected .*_msgs/msg/"):
        _ = BagDrive(bag, BagReaderConfig(replace(BagTopics(), **{name: other}))).camera


def test_a_drive_can_be_pickled(bag: Path) -> None:
    """Data loaders need this; the copy opens the bag itself."""
    drive = BagDrive(bag)
    drive.image(0)
    copy = pickle.loads(pickle.dumps(drive))
    np.testing.assert_array_equal(copy.image(2), drive.image(2))


def test_no_bag(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no metadata\.yaml"):
        BagDrive(tmp_path)


@pytest.mark.parametrize("keep", [0.0, 0.4, 0.99])
def test_truncated_mcap(bag: Path, tmp_path: Path, keep: float) -> None:
    copy = tmp_path / "cut"
    shutil.copytree(bag, copy)
    mcap = copy / "circle.mcap"
    mcap.write_bytes(mcap.read_bytes()[: int(keep * mcap.stat().st_size)])
    with pytest.raises(DatasetError, match="damaged"):
        BagDrive(copy)


def test_missing_mcap_and_broken_metadata(bag: Path, tmp_path: Path) -> None:
    copy = tmp_path / "cut"
    shutil.copytree(bag, copy)
    (copy / "circle.mcap").unlink()
    with pytest.raises(DatasetError, match="missing"):
        BagDrive(copy)
    for damage in (b"rosbag2_bagfile_information: 3", b"\xff\xfe", b"{"):
        (copy / "metadata.yaml").write_bytes(damage)
        with pytest.raises(DatasetError, match="damaged"):
            BagDrive(copy)


def _write_async_bag(path: Path, mounted: bool = True) -> None:
    """Write unsynchronised sensors to sqlite3, with poses of the base as PoseStamped."""

    def at(seconds: float, frame: str) -> object:
        return header(5_000_000_000 + round(seconds * 1e9), frame)

    def pose(seconds: float) -> object:
        x, y, z, w = Rotation.from_rotvec([0, 0, 5 * seconds]).as_quat()
        return message(
            "geometry_msgs/msg/PoseStamped", header=at(seconds, "map"),
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
            "sensor_msgs/msg/CameraInfo", header=at(0.0, "cam"), height=2, width=2,
            distortion_model="", d=np.zeros(0), k=CENTRED[:, :3].ravel(), r=np.eye(3).ravel(),
            p=CENTRED.ravel(), binning_x=0, binning_y=0, roi=roi,
        ))  # fmt: skip
        for seconds in (0.05, 0.95):
            send("/i", seconds, image(at(seconds, "cam"), np.zeros((2, 2), np.uint8)))
        send("/p", 0.1, message(
            "sensor_msgs/msg/PointCloud2", header=at(0.1, "velo"), height=1, width=0,
            fields=[], is_bigendian=False, point_step=12, row_step=0, data=np.zeros(0, np.uint8),
            is_dense=True,
        ))  # fmt: skip
        if mounted:
            base = at(0.0, "base")
            send(
                "/tf_static", 0.0, transforms([(base, "velo", np.eye(4)), (base, "cam", np.eye(4))])
            )
