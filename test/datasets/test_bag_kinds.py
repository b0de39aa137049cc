"""Bags as people have them: any file, any topics, poses from anywhere; what is left out is told."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from robot_bags import (
    CAMERA,
    T_BASE_LIDAR,
    T_LIDAR_CAMERA,
    Sent,
    camera,
    lidar,
    mounting,
    moving,
    odom,
    points,
    pose,
    pose_at,
    stamp,
    stamped,
    write,
    write_ros1,
)
from rosbags.rosbag1 import Writer

from scmpr_ros.datasets.bags.messages import (
    header,
    image,
    message,
    odometry,
    point_cloud,
    transforms,
)
from scmpr_ros.datasets.bags.options import BagReaderConfig, BagTopics
from scmpr_ros.datasets.bags.reader import BagDrive
from scmpr_ros.datasets.bags.storage import Bag
from scmpr_ros.datasets.bags.topics import IMAGES, POINT_CLOUDS, unreadable
from scmpr_ros.datasets.bags.writer import write_drive_bag
from scmpr_ros.datasets.recordings import is_bag, is_recording, open_drives
from scmpr_ros.errors import CalibrationError, DatasetError
from scmpr_ros.geometry import R_BODY_OPTICAL, body_from_optical, invert, make_transform
from scmpr_ros.semantics import CLASSES

TIMES = 0.1 * np.arange(6)


def robot() -> tuple:
    return lidar(TIMES), camera(TIMES), odom(TIMES), mounting()


def unnamed(content: object) -> object:
    """The message without a frame."""
    return replace(content, header=replace(content.header, frame_id=""))


def assert_robot(drive: BagDrive) -> None:
    """The drive is that of `robot`."""
    assert list(drive.image_frames) == list(drive.scan_frames) == list(range(6))
    assert drive.camera == CAMERA
    np.testing.assert_allclose(drive.T_lidar_camera, T_LIDAR_CAMERA, atol=1e-12)
    for frame, seconds in enumerate(TIMES):
        expected = pose_at(seconds) @ T_BASE_LIDAR
        np.testing.assert_allclose(drive.T_world_lidar(frame), expected, atol=1e-6)
        assert len(drive.scan(frame)) == 20 and drive.image(frame)[0, 0, 0] == 7
    assert drive.pose_source == "/odom" and not drive.left_out


class TestFiles:
    @pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
    def test_directory_and_lone_file(self, tmp_path: Path, storage: str) -> None:
        folder = write(tmp_path / "robot", *robot(), storage=storage)
        (file,) = (path for path in folder.iterdir() if path.suffix != ".yaml")
        lone = shutil.copy(file, tmp_path / f"alone{file.suffix}")
        (folder / "metadata.yaml").rename(tmp_path / "metadata.yaml")
        (tmp_path / "metadata.yaml").rename(folder / "metadata.yaml")
        for path, name in ((folder, "robot"), (Path(lone), "alone")):
            assert is_recording(path) and is_bag(path)
            (drive,) = open_drives(path)
            assert drive.name == name
            assert_robot(drive)
        (folder / "metadata.yaml").unlink()
        assert_robot(open_drives(folder)[0])

    @pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
    @pytest.mark.parametrize("zstd", ["file", "message"])
    def test_zstd(self, tmp_path: Path, storage: str, zstd: str) -> None:
        folder = write(tmp_path / "robot", *robot(), storage=storage, zstd=zstd)
        assert_robot(BagDrive(folder))
        if zstd == "file":
            (packed,) = folder.glob("*.zstd")
            lone = packed.rename(tmp_path / packed.name)
            (drive,) = open_drives(lone)
            assert drive.name == "robot"
            assert_robot(drive)

    def test_ros1(self, tmp_path: Path) -> None:
        path = write_ros1(tmp_path / "robot.bag", *robot())
        (drive,) = open_drives(path)
        assert drive.name == "robot"
        assert_robot(drive)

    def test_parts_of_a_split_bag(self, tmp_path: Path) -> None:
        for part in range(11):
            times = [0.1 * part]
            streams = lidar(times), camera(times), odom(times), mounting()
            write_ros1(tmp_path / f"robot_{part}.bag", *streams)
        (drive,) = open_drives(tmp_path)
        assert len(drive.scan_frames) == 11 and len(drive.frames) == 11
        assert drive.scan(10).xyz.shape == (20, 3)

    def test_several_bags_in_a_folder_are_several_drives(self, tmp_path: Path) -> None:
        for name in ("monday", "tuesday"):
            write_ros1(tmp_path / f"{name}.bag", *robot())
        assert [drive.name for drive in open_drives(tmp_path)] == ["monday", "tuesday"]
        assert_robot(open_drives(tmp_path, "tuesday")[0])
        (tmp_path / "map.ply").touch()
        assert not is_recording(tmp_path), "loose bags beside a map"

    def test_types_without_msg(self, tmp_path: Path) -> None:
        folder = write(tmp_path / "robot", *robot(), storage="sqlite3")
        metadata = folder / "metadata.yaml"
        metadata.write_text(metadata.read_text().replace("nav_msgs/msg/", "nav_msgs/"))
        connection = sqlite3.connect(folder / "robot.db3")
        connection.execute("update topics set type = replace(type, '/msg/', '/')")
        connection.commit()
        metadata.write_text(metadata.read_text().replace("/msg/", "/"))
        assert_robot(BagDrive(folder))

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("a.bag", b"#ROSBAG V2.0\n" + bytes(4096)), ("a.bag", b""), ("a.bag", b"PK\3\4"),
            ("a.bag", b"#ROSBAG V1.2\n"), ("a.mcap", b""), ("a.mcap", b"\x89MCAP0\r\n"),
            ("a.mcap", bytes(100)), ("a.db3", b""), ("a.db3", b"SQLite format 3\0" + bytes(200)),
            ("a.mcap.zstd", b"\x28\xb5\x2f\xfd"), ("a.db3.zst", b""),
        ],
    )  # fmt: skip
    def test_foreign_and_damaged_files(self, tmp_path: Path, name: str, content: bytes) -> None:
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(DatasetError, match="damaged or unsupported") as caught:
            open_drives(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)

    def test_mcap_of_ros1(self, tmp_path: Path) -> None:
        """As `mcap convert` makes them of a .bag."""
        folder = write(tmp_path / "b", *robot())
        (part,) = folder.glob("*.mcap")
        path = tmp_path / "one.mcap"
        path.write_bytes(part.read_bytes().replace(b"ros2", b"ros1", 1))
        with pytest.raises(DatasetError, match=r"one.mcap: this .mcap holds no messages of ROS 2"):
            BagDrive(path)

    def test_messages_in_a_log_beside_the_database(self, tmp_path: Path) -> None:
        folder = write(tmp_path / "robot", *robot(), storage="sqlite3")
        (folder / "robot.db3-wal").write_bytes(b"rest")
        for path in (folder, folder / "robot.db3"):
            with pytest.raises(DatasetError, match=r"robot\.db3-wal holds the last"):
                open_drives(path)

    @pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.999])
    def test_truncated_database(self, tmp_path: Path, keep: float) -> None:
        path = write(tmp_path / "robot", *robot(), storage="sqlite3") / "robot.db3"
        path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
        with pytest.raises(DatasetError, match="damaged or unsupported"):
            open_drives(path)

    @pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.999])
    def test_truncated_ros1(self, tmp_path: Path, keep: float) -> None:
        path = write_ros1(tmp_path / "robot.bag", *robot())
        path.write_bytes(path.read_bytes()[: int(keep * path.stat().st_size)])
        with pytest.raises(DatasetError, match="damaged or unsupported"):
            open_drives(path)

    def test_what_is_no_bag(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").touch()
        with pytest.raises(DatasetError, match=r"notes.txt: this file is not a bag \(\.mcap, "):
            open_drives(tmp_path / "notes.txt")
        with pytest.raises(DatasetError, match=r"no metadata\.yaml, .* and it has no bag files"):
            BagDrive(tmp_path)


class TestTopics:
    def test_the_only_topic_of_a_type_is_taken_and_said(self, tmp_path: Path, caplog) -> None:
        path = write(tmp_path / "b", *robot())
        with caplog.at_level(logging.INFO):
            assert_robot(BagDrive(path))
        assert (
            "took /lidar/points (sensor_msgs/msg/PointCloud2) for the points topic" in caplog.text
        )
        assert "took /odom (nav_msgs/msg/Odometry) for the pose topic" in caplog.text

    def test_several_are_listed_when_asked_for(self, tmp_path: Path) -> None:
        twice = camera(TIMES, "/left"), camera(TIMES, "/right")
        path = write(tmp_path / "b", lidar(TIMES), *twice, odom(TIMES), mounting())
        drive = BagDrive(path)
        assert len(drive.scan_frames) == 6, "a map needs no camera"
        for ask in (lambda: drive.image_frames, lambda: drive.camera, lambda: drive.image(0)):
            with pytest.raises(
                DatasetError,
                match=r"2 topics could be the image topic \(/left/image_rect .*, /right/image_rect "
                r".*name one with bag\.topics\.image",
            ):
                ask()
        chosen = BagReaderConfig(BagTopics(image="/right/image_rect"))
        assert_robot(BagDrive(path, chosen))

    def test_depth_images_are_no_camera(self, tmp_path: Path) -> None:
        depth = replace(image(header(stamp(0), "optical"), np.zeros((3, 8), np.uint8)),
                        encoding="16UC1", width=4)  # fmt: skip
        path = write(tmp_path / "b", *robot(), [Sent("/cam/depth", depth, 0.0)])
        assert_robot(BagDrive(path))

    def test_several_topics_of_poses(self, tmp_path: Path) -> None:
        path = write(tmp_path / "b", *robot(), odom(TIMES, "/wheels"))
        with pytest.raises(DatasetError, match=r"could be the pose topic \(/odom .*, /wheels .*"):
            BagDrive(path)
        assert_robot(BagDrive(path, BagReaderConfig(BagTopics(pose="/odom"))))

    def test_scans_in_the_format_of_a_driver(self, tmp_path: Path) -> None:
        path = write(tmp_path / "b", odom(TIMES))
        with pytest.raises(DatasetError, match=r"no messages of type .*PointCloud2; it has /odom"):
            BagDrive(path)
        kind = "velodyne_msgs/msg/VelodyneScan"
        with Writer(tmp_path / "packets.bag") as writer:
            connection = writer.add_connection("/packets", kind, msgdef="uint8 n", md5sum="0" * 32)
            writer.write(connection, stamp(0), b"1")
        with pytest.raises(DatasetError, match=rf"/packets \({kind}\) holds scans in another f"):
            BagDrive(tmp_path / "packets.bag")
        bag = Bag(tmp_path / "packets.bag")
        assert unreadable(bag, IMAGES) == [] and len(unreadable(bag, POINT_CLOUDS)) == 1


class TestPoses:
    def test_transforms_over_time(self, tmp_path: Path, caplog) -> None:
        """map -> odom jumps, odom -> base moves; both are interpolated."""
        fine = np.arange(0, 0.61, 0.05)
        drift = moving(
            [-1.0, 1.0], "map", "odom", lambda s: make_transform(np.eye(3), np.array([0, s, 0]))
        )
        path = write(tmp_path / "b", lidar(TIMES), drift, mounting(),
                     moving(fine, "odom", "base", pose_at))  # fmt: skip
        drive = BagDrive(path, BagReaderConfig(max_pose_gap_s=3.0))
        assert drive.pose_source == "/tf"
        expected = pose_at(0.3) @ T_BASE_LIDAR
        expected[1, 3] += 0.3
        (frame,) = (f for f in drive.scan_frames if abs(drive.stamp_ns(f) - stamp(0.3)) < 1e6)
        np.testing.assert_allclose(drive.T_world_lidar(frame), expected, atol=1e-6)
        inside = BagReaderConfig(world_frame="odom")
        (frame, *_) = BagDrive(path, inside).scan_frames
        np.testing.assert_allclose(BagDrive(path, inside).T_world_lidar(frame),
                                   pose_at(0.0) @ T_BASE_LIDAR, atol=1e-6)  # fmt: skip
        with caplog.at_level(logging.WARNING):
            assert not BagDrive(path).scan_frames
        assert (
            "6 between poses of /tf (map to odom) that are more than max_pose_gap_s" in caplog.text
        )

    def test_transforms_that_say_no_more_than_odometry(self, tmp_path: Path) -> None:
        path = write(tmp_path / "b", *robot(), moving(TIMES, "map", "base", pose_at))
        assert BagDrive(path).pose_source == "/odom"

    def test_another_world_in_the_transforms_must_be_chosen(self, tmp_path: Path) -> None:
        streams = lidar(TIMES), odom(TIMES, world="odom"), mounting()
        tf = moving(TIMES, "odom", "base", pose_at), moving(TIMES, "map", "odom", pose_at)
        path = write(tmp_path / "b", *streams, *tf)
        with pytest.raises(DatasetError, match=r"pose topic \(/odom .*, /tf \(tf2_msgs"):
            BagDrive(path)
        drive = BagDrive(path, BagReaderConfig(BagTopics(pose="/tf")))
        np.testing.assert_allclose(drive.T_world_lidar(5)[0, 3], 10.0 + 0.5, atol=1e-6)

    def test_repeated_transforms_are_a_mounting(self, tmp_path: Path) -> None:
        """ROS 1 sends fixed transforms again and again on /tf."""
        fixed = moving(TIMES, "base", "lidar", lambda _: T_BASE_LIDAR)
        path = write_ros1(tmp_path / "b.bag", lidar(TIMES), odom(TIMES), fixed)
        drive = BagDrive(path)
        np.testing.assert_allclose(drive.T_world_lidar(0), T_BASE_LIDAR, atol=1e-9)

    def test_the_longest_path(self, tmp_path: Path) -> None:
        def path_of(times: np.ndarray, shift: float, sent: float) -> Sent:
            poses = [stamped(s, pose_at(s + shift)) for s in times]
            head = header(stamp(sent), "map")
            return Sent("/path", message("nav_msgs/msg/Path", header=head, poses=poses), sent)

        sent = [
            path_of(TIMES[:3], 0.1, 0.3), path_of(TIMES, 0.0, 0.6), path_of(TIMES[:2], 0.2, 0.7)
        ]  # fmt: skip
        drive = BagDrive(write(tmp_path / "b", lidar(TIMES), sent))
        assert drive.pose_source == "/path"
        for frame, seconds in enumerate(TIMES):
            np.testing.assert_allclose(drive.T_world_lidar(frame), pose_at(seconds), atol=1e-9)

    def test_pose_with_covariance(self, tmp_path: Path) -> None:
        sent = [
            Sent("/pose", message(
                "geometry_msgs/msg/PoseWithCovarianceStamped", header=header(stamp(s), "map"),
                pose=odometry(header(0, ""), "", pose_at(s), np.zeros(6)).pose), s)
            for s in TIMES
        ]  # fmt: skip
        drive = BagDrive(write(tmp_path / "b", lidar(TIMES), sent))
        np.testing.assert_allclose(drive.T_world_lidar(3), pose_at(TIMES[3]), atol=1e-9)

    def test_transforms_as_poses(self, tmp_path: Path) -> None:
        """As motion capture sends them."""
        (first,) = transforms([(header(stamp(0), "map"), "lidar", pose_at(0.2))]).transforms
        later = replace(first, header=header(stamp(1), "map"))
        sent = [Sent("/vicon", first, 0.0), Sent("/vicon", later, 1.0)]
        drive = BagDrive(write(tmp_path / "b", lidar(TIMES), sent))
        np.testing.assert_allclose(drive.T_world_lidar(3), pose_at(0.2), atol=1e-9)

    def test_poses_of_several_frames(self, tmp_path: Path) -> None:
        path = write(tmp_path / "b", lidar(TIMES), odom([0.0]), odom([0.1], world="odom"))
        with pytest.raises(DatasetError, match="/odom has poses of several frames"):
            BagDrive(path)

    def test_extrinsics_of_the_lidar_in_the_posed_frame(self, tmp_path: Path) -> None:
        path = write(tmp_path / "b", lidar(TIMES), odom(TIMES))
        with pytest.raises(CalibrationError, match=r"'base' with 'lidar'.*set .*bag\.T_pose_lidar"):
            BagDrive(path)
        rows = tuple(float(v) for v in T_BASE_LIDAR[:3].ravel())
        drive = BagDrive(path, BagReaderConfig(T_pose_lidar=rows))
        np.testing.assert_allclose(drive.T_world_lidar(2), pose_at(0.2) @ T_BASE_LIDAR, atol=1e-9)

    def test_registered_clouds_are_refused(self, tmp_path: Path) -> None:
        cloud = [
            Sent("/registered", point_cloud(header(stamp(s), "map"), points()), s) for s in TIMES
        ]
        path = write(tmp_path / "b", cloud, odom(TIMES), mounting())
        with pytest.raises(CalibrationError, match="are in 'map', the frame that the poses are in"):
            BagDrive(path)

    def test_a_lidar_without_a_camera(self, tmp_path: Path) -> None:
        path = write(tmp_path / "b", lidar(TIMES), odom(TIMES), mounting(with_camera=False))
        drive = BagDrive(path)
        assert len(drive.scan_frames) == 6 and list(drive.image_frames) == []
        with pytest.raises(CalibrationError, match="no images, so the camera's frame is unknown"):
            _ = drive.T_lidar_camera
        write_drive_bag(drive, tmp_path / "copy")
        copy = BagDrive(tmp_path / "copy")
        np.testing.assert_allclose(copy.T_world_lidar(3), drive.T_world_lidar(3), atol=1e-9)


class TestLeftOut:
    def test_images_in_a_frame_with_x_forward(self, tmp_path: Path, caplog) -> None:
        """As drivers and simulators name them that know of no optical frame; so does the node."""
        turned = body_from_optical(T_LIDAR_CAMERA)
        edges = [(header(stamp(0), "base"), "lidar", T_BASE_LIDAR),
                 (header(stamp(0), "lidar"), "optical", turned)]  # fmt: skip
        mounts = [Sent("/tf_static", transforms(edges), 0.0)]
        drive = BagDrive(write(tmp_path / "b", lidar(TIMES), camera(TIMES), odom(TIMES), mounts))
        np.testing.assert_allclose(drive.T_lidar_camera, T_LIDAR_CAMERA, atol=1e-12)
        assert "optical is not an optical frame: its z axis points up" in caplog.text

    def test_a_video_names_its_topic(self, tmp_path: Path) -> None:
        frame = np.frombuffer(b"\0\0\0\1\x67" + bytes(99), np.uint8)
        head = header(stamp(0), "optical")
        video = message("sensor_msgs/msg/CompressedImage", header=head, format="h264", data=frame)
        rest = [s for s in camera(TIMES) if s.topic == "/cam/camera_info"]
        path = write(tmp_path / "b", [Sent("/cam/v", video, 0.0)], rest, odom(TIMES), mounting())
        with pytest.raises(DatasetError, match=r"/cam/v: .*'h264' are a video: decode it"):
            _ = BagDrive(path).camera

    def test_points_without_a_frame(self, tmp_path: Path, caplog) -> None:
        scans = [s._replace(content=unnamed(s.content)) for s in lidar(TIMES)]
        BagDrive(write(tmp_path / "b", scans, odom(TIMES), mounting()))
        assert (
            "points of /lidar/points name no frame, and are taken for being in base" in caplog.text
        )

    def test_transforms_on_a_topic_of_another_name(self, tmp_path: Path) -> None:
        path = write(tmp_path / "b", lidar(TIMES), odom(TIMES), mounting(topic="/robot/tf_static"))
        with pytest.raises(CalibrationError, match=r"name /robot/tf_static with bag.topics.tf_sta"):
            BagDrive(path)

    def test_images_without_a_frame(self, tmp_path: Path) -> None:
        images = [s._replace(content=unnamed(s.content)) for s in camera(TIMES)]
        drive = BagDrive(write(tmp_path / "b", lidar(TIMES), images, odom(TIMES), mounting()))
        with pytest.raises(CalibrationError, match=r"its messages name none, .*bag.T_lidar_camera"):
            _ = drive.T_lidar_camera

    def test_poses_that_do_not_say_what_they_are_of(self, tmp_path: Path, caplog) -> None:
        poses = [Sent("/p", stamped(t, pose_at(t)), t) for t in TIMES]
        path = write(tmp_path / "b", lidar(TIMES), poses, mounting())
        np.testing.assert_allclose(BagDrive(path).T_world_lidar(3), pose_at(TIMES[3]), atol=1e-9)
        assert "/p do not say what they are of, and are taken for those of lidar" in caplog.text

    @pytest.mark.parametrize("late_s", [1.0, 37.0])
    def test_poses_by_another_clock(self, tmp_path: Path, caplog, late_s: float) -> None:
        times = np.arange(60.0)
        poses = [s._replace(seconds=s.seconds - late_s) for s in odom(times)]
        BagDrive(write(tmp_path / "b", lidar(times), poses, mounting()))
        said = "stamps of /odom are 37.0 s ahead of those of /lidar/points" in caplog.text
        assert said == (late_s > 10)

    def test_a_world_with_z_forward(self, tmp_path: Path) -> None:
        turn = make_transform(R_BODY_OPTICAL.T, np.zeros(3))

        def at(seconds: float) -> np.ndarray:
            return turn @ pose_at(seconds) @ invert(turn)

        poses = [Sent("/p", stamped(t, at(t)), t) for t in TIMES]
        path = write(tmp_path / "b", lidar(TIMES), poses, mounting())
        with pytest.raises(
            DatasetError, match=r"/p: the motion is along .* z .* by 5 m, .* from TF"
        ):
            BagDrive(path)

    def test_sparse_poses(self, tmp_path: Path, caplog) -> None:
        sparse = odom([0.0, 1.5, 2.0])
        path = write(tmp_path / "b", lidar([-0.5, 0.0, 0.5, 1.0, 1.75, 3.0]), sparse, mounting())
        drive = BagDrive(path)
        stamps = [round(drive.stamp_s(f) - 0.5, 2) for f in drive.scan_frames]
        assert stamps == [0.0, 1.75]
        assert "left out 4 of 6 scans without a pose: 2 between poses of /odom that" in caplog.text
        assert "1 before the first pose of /odom; 1 after the last pose of /odom" in caplog.text
        assert drive.left_out[0] == "before the first pose of /odom" and len(drive.left_out) == 4
        with pytest.raises(DatasetError, match="frame 0 has no pose: before the first pose"):
            drive.T_world_lidar(0)
        assert len(BagDrive(path, BagReaderConfig(max_pose_gap_s=2)).scan_frames) == 4

    def test_poses_that_are_not_finite(self, tmp_path: Path, caplog) -> None:
        def sent(seconds: float) -> Sent:
            T = pose_at(seconds)
            T[0, 3] = np.nan if 0.15 < seconds < 0.45 else T[0, 3]
            return Sent("/p", stamped(seconds, T), seconds)

        path = write(tmp_path / "b", lidar(TIMES), map(sent, TIMES))
        drive = BagDrive(path)
        assert "left out 3 of 6 poses of /p: not finite" in caplog.text
        np.testing.assert_allclose(drive.T_world_lidar(3), pose_at(0.3), atol=1e-9)
        drive = BagDrive(path, BagReaderConfig(max_pose_gap_s=0.2))
        assert list(drive.scan_frames) == [0, 1, 5]
        assert set(drive.left_out.values()) == {"beside poses of /p that are not finite"}

    def test_no_pose_is_finite(self, tmp_path: Path) -> None:
        zero = message("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=0.0)
        unset = replace(pose(np.eye(4)), orientation=zero)
        sent = [Sent("/p", replace(stamped(s, np.eye(4)), pose=unset), s) for s in TIMES]
        with pytest.raises(DatasetError, match="none of the 6 poses of /p is finite and has a rot"):
            BagDrive(write(tmp_path / "b", lidar(TIMES), sent))

    def test_clocks_that_do_not_meet(self, tmp_path: Path, caplog) -> None:
        drive = BagDrive(write(tmp_path / "b", lidar(TIMES), odom(TIMES - 1e6), mounting()))
        assert not drive.scan_frames
        assert "left out 6 of 6 scans without a pose: 6 after the last pose" in caplog.text
        assert "the clocks do not meet: scans are from 1700000000.0 to" in caplog.text

    def test_stamps_that_were_never_set(self, tmp_path: Path) -> None:
        cloud = point_cloud(header(0, "lidar"), points())
        sent = [Sent("/points", cloud, s) for s in TIMES]
        with pytest.raises(DatasetError, match="the 6 messages of /points have only 1 distinct st"):
            BagDrive(write(tmp_path / "b", sent, odom(TIMES), mounting()))


class TestClouds:
    def drive(self, tmp_path: Path, cloud: np.ndarray, config: BagReaderConfig | None = None,
              **changes: object) -> BagDrive:  # fmt: skip
        content = replace(point_cloud(header(stamp(0), "lidar"), cloud), **changes)
        path = write(tmp_path / "b", [Sent("/p", content, 0.0)], odom([0.0]), mounting())
        return BagDrive(path, config)

    def test_row_step_zero(self, tmp_path: Path) -> None:
        scan = self.drive(tmp_path, points(), row_step=0).scan(0)
        np.testing.assert_array_equal(scan.xyz[:, 0], np.arange(20))

    def test_row_step_too_small(self, tmp_path: Path) -> None:
        drive = self.drive(tmp_path, points(), row_step=20)
        with pytest.raises(DatasetError, match="row_step of 20 points of 12 bytes: expected at le"):
            drive.scan(0)

    def test_height_zero(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match="cloud with data: expected at least 1x1 point, got"):
            self.drive(tmp_path, points(), height=0).scan(0)

    def test_doubles_and_padding(self, tmp_path: Path) -> None:
        names = ["x", "y", "z", "intensity", "t", "ring"]
        dtype = np.dtype({"names": names, "formats": ["<f8", "<f8", "<f8", "<f4", "<u4", "<u2"],
                          "offsets": [0, 8, 16, 32, 36, 40], "itemsize": 48})  # fmt: skip
        cloud = np.zeros(20, dtype)
        cloud["x"] = cloud["intensity"] = np.arange(20)
        scan = self.drive(tmp_path, cloud).scan(0)
        np.testing.assert_array_equal(scan.xyz[:, 0], np.arange(20))
        np.testing.assert_array_equal(scan.intensity, np.arange(20))

    def test_big_endian(self, tmp_path: Path) -> None:
        swapped = points().view("<f4").astype(">f4")
        drive = self.drive(tmp_path, points(), data=swapped.view(np.uint8), is_bigendian=True)
        np.testing.assert_array_equal(drive.scan(0).xyz[:, 0], np.arange(20))

    def test_organised_clouds_with_padded_rows(self, tmp_path: Path) -> None:
        rows = np.zeros((4, 64), np.uint8)
        rows[:, :60] = points().view(np.uint8).reshape(4, 60)
        changes = {"height": 4, "width": 5, "row_step": 64, "data": rows.ravel()}
        scan = self.drive(tmp_path, points(), **changes).scan(0)
        np.testing.assert_array_equal(scan.xyz[:, 0], np.arange(20))

    def test_millimetres(self, tmp_path: Path) -> None:
        cloud = points()
        cloud["y"] = 8000
        with pytest.raises(DatasetError, match=r"farther than 8000 m .* must be in metres"):
            self.drive(tmp_path, cloud).scan(0)

    def test_integers(self, tmp_path: Path) -> None:
        cloud = np.zeros(20, [(axis, "<i2") for axis in "xyz"])
        with pytest.raises(DatasetError, match="field x: expected one float of 32 or 64 bits, got"):
            self.drive(tmp_path, cloud).scan(0)

    def test_labels_of_an_unknown_set(self, tmp_path: Path) -> None:
        cloud = points(label=np.repeat([40, 50 | 7 << 16], 10).astype("<u4"))
        drive = self.drive(tmp_path, cloud)
        with pytest.raises(
            DatasetError, match=r"frame 0 of /p: .* ids 40, 50,.* \(semantickitti has all of them\)"
        ):
            drive.scan(0)
        known = BagDrive(drive.path, BagReaderConfig(label_set="semantickitti"))
        assert known.scan(0).label.tolist() == [1] * 10 + [3] * 10
        none = BagDrive(drive.path, BagReaderConfig(label_set="none"))
        assert none.scan(0).label is None and none.point_labels(0) is None

    def test_joint_labels_are_assumed_and_said(self, tmp_path: Path, caplog) -> None:
        drive = self.drive(tmp_path, points(label=np.arange(20, dtype="u1") % 15))
        assert drive.scan(0).label.max() == 14 and drive.scan(0).label.max() == 14
        assert caplog.text.count("label of /p is taken for joint classes (1 road, ") == 1

    def test_labels_that_a_file_explains(self, tmp_path: Path) -> None:
        (tmp_path / "ids.yaml").write_text("7: road\n9: building\n")
        cloud = points(label=np.repeat(np.array([7, 9], "u1"), 10))
        options = BagReaderConfig(label_set=str(tmp_path / "ids.yaml"))
        drive = self.drive(tmp_path, cloud, options)
        joint = [1] * 10 + [drive.scan(0).label[-1]] * 10
        assert CLASSES[joint[-1]].name == "building" and drive.label_set == "joint"
        assert drive.scan(0).label.tolist() == drive.point_labels(0).tolist() == joint

    @pytest.mark.parametrize("ids", [np.nan, 2.5, -1.0])
    def test_labels_that_are_no_ids(self, tmp_path: Path, ids: float) -> None:
        drive = self.drive(tmp_path, points(label=np.full(20, ids, "<f4")))
        with pytest.raises(
            DatasetError, match=f"label h.* {ids:g}.* bag.label_set to .*none to ig"
        ):
            drive.scan(0)

    def test_labels_that_their_set_does_not_know(self, tmp_path: Path) -> None:
        cloud = np.repeat(points(label=np.full(20, 7777, "<u2")), 100)
        drive = self.drive(tmp_path, cloud, BagReaderConfig(label_set="semantickitti"))
        with pytest.raises(DatasetError, match=r"100% of .* semantickitti does not know \(7777\)"):
            drive.scan(0)

    def test_fields_of_one_name_and_in_capitals(self, tmp_path: Path) -> None:
        """PCL pads with fields `_`; some drivers write X or Intensity."""
        cloud = points(
            pad=np.ones(20, "<f4"), Intensity=np.arange(20, dtype="<f4"), end=np.ones(20)
        )
        content = point_cloud(header(stamp(0), "lidar"), cloud)
        names = {"x": "X", "pad": "_", "end": "_"}
        fields = [replace(f, name=names.get(f.name, f.name)) for f in content.fields]
        scan = self.drive(tmp_path, cloud, fields=fields).scan(0)
        np.testing.assert_array_equal(scan.xyz[:, 0], np.arange(20))
        np.testing.assert_array_equal(scan.intensity, np.arange(20))

    def test_a_field_beyond_the_point(self, tmp_path: Path) -> None:
        content = point_cloud(header(stamp(0), "lidar"), points())
        fields = [*content.fields, replace(content.fields[0], name="ring", offset=12)]
        with pytest.raises(DatasetError, match=r"field ring: expected within 12 bytes .* byte 16"):
            self.drive(tmp_path, points(), fields=fields).scan(0)

    def test_centimetres(self, tmp_path: Path) -> None:
        cloud = points()
        cloud["y"] = 800
        with pytest.raises(DatasetError, match=r"farther than 800 m .* must be in metres"):
            self.drive(tmp_path, cloud).scan(0)


def test_without_scans_the_camera_hangs_on_the_posed_frame(tmp_path: Path) -> None:
    drive = BagDrive(write(tmp_path / "b", camera(TIMES), odom(TIMES), mounting()))
    expected = pose_at(0.1) @ T_BASE_LIDAR @ T_LIDAR_CAMERA
    np.testing.assert_allclose(drive.T_world_camera(1), expected, atol=1e-9)
    np.testing.assert_allclose(drive.T_lidar_camera, T_BASE_LIDAR @ T_LIDAR_CAMERA, atol=1e-9)
