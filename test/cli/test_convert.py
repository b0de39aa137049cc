"""`convert`: both directions, its output and its errors."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from circle_drive import CircleDrive
from rosbags.rosbag2 import StoragePlugin, Writer

from scmpr_ros.cli import convert
from scmpr_ros.datasets.bags.options import BagTopics
from scmpr_ros.datasets.bags.reader import BagDrive
from scmpr_ros.datasets.bags.storage import TYPES, Bag
from scmpr_ros.datasets.bags.writer import write_drive_bag
from scmpr_ros.datasets.kitti.odometry import KittiOdometryDrive
from scmpr_ros.datasets.kitti.writer import write_drive_kitti


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    write_drive_bag(CircleDrive(), tmp_path / "bag")
    return tmp_path / "bag"


def run(*arguments: object) -> int:
    return convert.main([str(a) for a in arguments])


def error_of(capsys: pytest.CaptureFixture, *arguments: object) -> str:
    """The one-line error for bad arguments."""
    assert run(*arguments) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = [line for line in printed.err.splitlines() if line.startswith("convert: ")]
    assert "Traceback" not in printed.err
    return line


def test_folder_to_bag_to_folder(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """The query drive has only images and masks, the mapping drive only scans."""
    source, root = recordings / "0000", tmp_path / "back"
    for sequence in ("00", "01"):
        assert (
            run(source, tmp_path / sequence, "--sequence", sequence, "--image_format", "png") == 0
        )
        assert run(tmp_path / sequence, root) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"{tmp_path / '00'}: 16 poses, 16 scans; 0.0 MB in" in lines[0]
    assert f"{root / 'sequences/01'}: 12 poses, 12 images, 12 masks;" in lines[3]
    for path in source.glob("sequences/*/*/*"):
        result = root / path.relative_to(source)
        if path.suffix == ".bin":
            assert result.read_bytes() == path.read_bytes()
        else:
            assert (cv2.imread(str(result)) == cv2.imread(str(path))).all()
    for sequence in ("00", "01"):
        before, after = (KittiOdometryDrive(r, sequence) for r in (source, root))
        for frame in before.frames:
            np.testing.assert_allclose(after.T_world_camera(frame), before.T_world_camera(frame),
                                       atol=1e-9)  # fmt: skip


def test_options_of_the_bag(recordings: Path, tmp_path: Path) -> None:
    topics = ["--bag.topics.image", "/i", "--bag.topics.odometry", "/o"]
    options = ["--frames", "3:7", *topics, "--tf", "true"]
    assert run(recordings / "0000", tmp_path / "b", "--sequence", "01", *options) == 0
    written = Bag(tmp_path / "b").topics
    counts = [written[name].count for name in ("/i", "/o", "/tf")]
    assert counts == [4, 4, 4]


def test_a_bag_can_be_clipped(bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run(bag, tmp_path / "clip", "--to", "rosbag2", "--frames", ":7") == 0
    assert "7 poses, 4 images, 2 masks, 3 scans, 3 labelled scans" in capsys.readouterr().out
    clip = BagDrive(tmp_path / "clip")
    np.testing.assert_array_equal(clip.point_labels(6), CircleDrive().point_labels(6))


def test_a_folder_can_be_clipped(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write_drive_kitti(CircleDrive(), tmp_path / "root", "05")
    assert run(tmp_path / "root", tmp_path / "part", "--to", "kitti", "--frames", "4:") == 0
    assert "frames 4 to 11 are renumbered 0 to 7" in capsys.readouterr().out
    assert len(KittiOdometryDrive(tmp_path / "part", "05").frames) == 8


def test_sqlite_without_tf_static(bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """A bag as recorded by Humble, without the mounting of the sensors."""
    old = tmp_path / "old"
    with Writer(old, version=8, storage_plugin=StoragePlugin.SQLITE3) as writer:
        topics = Bag(bag).topics
        kept = [topic for name, topic in topics.items() if name != BagTopics().tf_static]
        copies = {t.name: writer.add_connection(t.name, t.kind, typestore=TYPES) for t in kept}
        for name, log_ns, raw in Bag(bag).raw(copies):
            writer.write(copies[name], log_ns, raw)
    error = error_of(capsys, old, tmp_path / "k")
    assert "/tf_static does not connect 'velo_link' with 'camera_color_left'" in error
    assert error.endswith("or bag.pose_frame if that is one of them")
    extrinsics = str(CircleDrive.T_lidar_camera[:3].ravel().tolist())
    options = ["--bag.T_lidar_camera", extrinsics, "--bag.label_set", "semantickitti"]
    assert run(old, tmp_path / "k", "--sequence", "05", *options) == 0
    drive = KittiOdometryDrive(tmp_path / "k", "05")
    np.testing.assert_allclose(drive.T_lidar_camera, CircleDrive.T_lidar_camera, atol=1e-9)
    labels = np.fromfile(drive.folder / "labels/000003.label", "<u4")
    np.testing.assert_array_equal(labels, CircleDrive().point_labels(3))


def test_bad_files_can_be_skipped(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write_drive_kitti(CircleDrive(), tmp_path / "root", "05")
    image = tmp_path / "root/sequences/05/image_2/000004.png"
    image.write_bytes(image.read_bytes()[:99])
    error = error_of(capsys, tmp_path / "root", tmp_path / "b")
    assert "cannot read image" in error and "000004.png" in error
    assert sorted(p.name for p in tmp_path.iterdir()) == ["root"]
    assert run(tmp_path / "root", tmp_path / "b", "--skip_bad") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "12 poses, 5 images" in lines[0]
    assert lines[1] == "skipped 1 damaged images, masks or scans:"
    assert "000004.png" in lines[2]


def test_errors(bag: Path, tmp_path: Path, recordings: Path, capsys: pytest.CaptureFixture) -> None:
    target = tmp_path / "target"
    for arguments, message in {
        (tmp_path / "none", target): "none: the path does not exist",
        (tmp_path, target): "no recording in",
        (recordings / "0000", target): "has several sequences: choose one of 00, 01",
        (recordings / "0000", target, "--sequence", "7"): "has no drive '7'; it has 00, 01",
        (bag, bag, "--to", "rosbag2"): "exists already",
        (bag, target, "--frames", "7"): "'7': expected something like 100:200",
        (bag, target, "--frames", "a:b"): "'a:b': expected something like 100:200",
        (bag, target, "--frames", "9:3"): "need 0 <= first < stop",
        (bag, target, "--bag.topics.points", "/velo"): "no messages of topic /velo; it has",
        (bag, target, "--bag.topics.points", "/kitti/odometry"): "holds nav_msgs/msg/Odometry",
        (bag, target, "--bag.T_lidar_camera", "[1,2]"): "needs 12 numbers, got 2",
        (bag, target, "--bag.label_set", "mine"): "label_set 'mine': expected joint, none, ",
    }.items():
        assert message in error_of(capsys, *arguments)
    mcap = bag / "bag.mcap"
    mcap.write_bytes(mcap.read_bytes()[:-5000])
    assert "the bag is damaged" in error_of(capsys, bag, target)
    (bag / "metadata.yaml").unlink()
    assert "the bag is damaged" in error_of(capsys, bag, target)
    shutil.rmtree(bag)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert "No space left on device" in error_of(capsys, bag, tmp_path / "k")
    assert [p.name for p in tmp_path.iterdir()] == ["bag"]


def test_ctrl_c(
    bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(BagDrive, "scan", stop)
    assert run(bag, tmp_path / "k") == 130
    assert "nothing was written" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["bag"]


def test_help(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit, match="0"):
        run("--help")
    text = capsys.readouterr().out
    assert "convert kitti/dataset bags/07 --sequence 07" in text
    assert "Row-major 3x4 extrinsics of the optical frame" in text
