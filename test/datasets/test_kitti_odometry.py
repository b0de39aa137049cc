"""KITTI odometry: poses, calibration, labels, and an error message for each bad file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scmpr_ros.datasets.drive import Drive
from scmpr_ros.datasets.kitti.odometry import KittiOdometryDrive, find_sequences
from scmpr_ros.errors import CalibrationError, DatasetError
from scmpr_ros.geometry import camera_yaw, invert, transform_points
from scmpr_ros.semantics import class_id

R_CAM_VELO = np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]])
T_CAM0_VELO = np.column_stack([R_CAM_VELO, [0.0, -0.08, -0.27]])
K = np.array([[50.0, 0, 31.5], [0, 50.0, 11.5], [0, 0, 1]])
CAMERA2_OFFSET = np.array([0.06, 0.001, 0.003])


def row(matrix: np.ndarray) -> str:
    return " ".join(f"{v:.12e}" for v in np.ravel(matrix))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four frames, 1 m apart; images of frames 0 and 2, scans of 0 and 3."""
    folder = tmp_path / "sequences" / "07"
    for name in ("image_2", "velodyne", "labels", "mask_2"):
        (folder / name).mkdir(parents=True)
    (tmp_path / "poses").mkdir()
    P2 = K @ np.column_stack([np.eye(3), CAMERA2_OFFSET])
    (folder / "calib.txt").write_text(f"P0: {row(P2)}\nP2: {row(P2)}\nTr: {row(T_CAM0_VELO)}\n")
    (folder / "times.txt").write_text("0.0\n0.1\n0.2\n0.3\n")
    poses = [np.column_stack([np.eye(3), [0, 0, float(i)]]) for i in range(4)]
    (tmp_path / "poses" / "07.txt").write_text("\n".join(row(p) for p in poses) + "\n")
    for frame in (0, 2):
        image = np.full((24, 64, 3), (255, frame, 0), np.uint8)
        Image.fromarray(image).save(folder / "image_2" / f"{frame:06d}.png")
    for frame in (0, 3):
        points = np.array([[5, 0, 0, 0.5], [6, 1, -1, 0.25]], "<f4")
        points.tofile(folder / "velodyne" / f"{frame:06d}.bin")
    np.array([40, (3 << 16) + 10], "<u4").tofile(folder / "labels" / "000000.label")
    Image.fromarray(np.full((24, 64), 11, np.uint8)).save(folder / "mask_2" / "000000.png")
    return tmp_path


def test_frame_numbers_are_file_numbers(root: Path) -> None:
    drive: Drive = KittiOdometryDrive(root, "07")
    assert find_sequences(root) == ["07"]
    assert drive.name == "07"
    assert list(drive.frames) == [0, 1, 2, 3]
    assert list(drive.image_frames) == [0, 2]
    assert list(drive.scan_frames) == [0, 3]
    assert drive.stamp_s(3) == 0.3


def test_world_is_z_up_and_forward_is_x(root: Path) -> None:
    drive = KittiOdometryDrive(root, "07")
    np.testing.assert_allclose(drive.T_world_lidar(0), np.eye(4), atol=1e-12)
    np.testing.assert_allclose(drive.T_world_lidar(2)[:3, 3], [2, 0, 0], atol=1e-12)
    np.testing.assert_allclose(camera_yaw(drive.T_world_camera(2)), 0.0, atol=1e-12)
    # Camera 0 is 0.27 m in front of and 0.08 m below the velodyne; camera 2 is shifted by -offset.
    expected = np.array([2.27, 0, -0.08]) - R_CAM_VELO.T @ CAMERA2_OFFSET
    np.testing.assert_allclose(drive.T_world_camera(2)[:3, 3], expected, atol=1e-9)


def test_projection_equals_P2_Tr(root: Path) -> None:
    drive = KittiOdometryDrive(root, "07")
    point = np.array([[8.0, 1.5, -0.7]])
    uv, visible = drive.camera.project(transform_points(invert(drive.T_lidar_camera), point))
    P2 = K @ np.column_stack([np.eye(3), CAMERA2_OFFSET])
    x = P2 @ np.append(T_CAM0_VELO @ np.append(point, 1), 1)
    np.testing.assert_allclose(uv[0], x[:2] / x[2], atol=1e-9)
    assert visible.all()
    assert (drive.camera.width, drive.camera.height) == (64, 24)


def test_image_scan_and_mask(root: Path) -> None:
    drive = KittiOdometryDrive(root, "07")
    assert drive.image(2)[0, 0].tolist() == [255, 2, 0]
    scan = drive.scan(0)
    np.testing.assert_array_equal(scan.xyz, [[5, 0, 0], [6, 1, -1]])
    assert scan.intensity.tolist() == [0.5, 0.25]
    assert scan.label.tolist() == [class_id("road"), class_id("car")]
    assert drive.scan(3).label is None
    assert (drive.mask(0) == class_id("building")).all()
    assert drive.mask(2) is None


def test_raw_labels_keep_their_instance(root: Path) -> None:
    drive = KittiOdometryDrive(root, "07")
    raw = drive.point_labels(0)
    assert raw.dtype == np.uint32 and drive.label_set == "semantickitti"
    assert (raw & 0xFFFF).tolist() == [40, 10] and (raw >> 16).tolist() == [0, 3]
    assert drive.point_labels(3) is None


def test_labelled_points_replace_a_missing_mask(root: Path) -> None:
    (root / "sequences/07/mask_2/000000.png").unlink()
    drive = KittiOdometryDrive(root, "07")
    uv, _ = drive.camera.project(transform_points(invert(drive.T_lidar_camera), drive.scan(0).xyz))
    mask = drive.mask(0)
    for (u, v), name in zip(np.round(uv).astype(int), ("road", "car"), strict=True):
        assert mask[v, u] == class_id(name)
    assert np.count_nonzero(mask) == 2 and mask.shape == (24, 64)


def test_a_palette_mask_is_read_as_indices(root: Path) -> None:
    picture = Image.fromarray(np.full((24, 64), 7, np.uint8), mode="P")
    picture.putpalette([200, 10, 10] * 256)
    picture.save(root / "sequences/07/mask_2/000000.png")
    assert (KittiOdometryDrive(root, "07").mask(0) == class_id("road")).all()


def test_a_query_drive_has_no_scans(root: Path) -> None:
    (root / "sequences/07/velodyne").rename(root / "elsewhere")
    assert KittiOdometryDrive(root, "07").scan_frames == []


def test_non_finite_points_are_dropped(root: Path) -> None:
    rows = np.array([[np.nan, 0, 0, 0], [6, 1, -1, 0.25]], "<f4")
    rows.tofile(root / "sequences/07/velodyne/000000.bin")
    drive = KittiOdometryDrive(root, "07")
    scan = drive.scan(0)
    assert len(scan) == 1
    assert scan.label.tolist() == [class_id("car")]
    assert drive.point_labels(0).tolist() == [(3 << 16) + 10]


def test_semantickitti_poses_are_found(root: Path) -> None:
    (root / "poses/07.txt").rename(root / "sequences/07/poses.txt")
    assert len(KittiOdometryDrive(root, "07").frames) == 4


def test_files_without_a_pose_are_skipped_with_a_warning(root: Path, caplog) -> None:
    path = root / "poses/07.txt"
    path.write_text("\n".join(path.read_text().splitlines()[:2]))
    drive = KittiOdometryDrive(root, "07")
    assert drive.image_frames == [0]
    assert "1 of 2 files have no pose" in caplog.text
    with pytest.raises(
        DatasetError, match="drive 07: frame 3 has no pose; the nearest of 2 frames with poses: 1"
    ):
        drive.T_world_lidar(3)


class TestBadCalibration:
    def expect(self, root: Path, text: str | None, message: str) -> None:
        path = root / "sequences/07/calib.txt"
        if text is None:
            path.unlink()
        else:
            path.write_text(text)
        with pytest.raises(CalibrationError, match=message):
            KittiOdometryDrive(root, "07")

    def lines(self, root: Path) -> dict[str, str]:
        text = (root / "sequences/07/calib.txt").read_text()
        return {line.split(":")[0]: line for line in text.splitlines()}

    def test_missing(self, root: Path) -> None:
        self.expect(root, None, "missing .*calib.txt")

    @pytest.mark.parametrize("key", ["Tr", "P2"])
    def test_missing_row(self, root: Path, key: str) -> None:
        rest = [line for name, line in self.lines(root).items() if name != key]
        self.expect(root, "\n".join(rest), f"no row '{key}:' of 12 numbers")

    def test_not_a_number(self, root: Path) -> None:
        self.expect(root, f"{self.lines(root)['P2']}\nTr: 1 2 x\n", "row Tr: could not convert")

    def test_too_few_numbers(self, root: Path) -> None:
        self.expect(root, f"{self.lines(root)['P2']}\nTr: 1 2 3\n", "expected 12 finite numbers")

    def test_no_rotation(self, root: Path) -> None:
        zeros = "Tr: " + "0 " * 12
        self.expect(root, f"{self.lines(root)['P2']}\n{zeros}\n", "Tr is not a rotation")

    def test_no_projection(self, root: Path) -> None:
        zeros = "P2: " + "0 " * 12
        self.expect(root, f"{zeros}\n{self.lines(root)['Tr']}\n", "P2 is not a pinhole projection")


class TestBadFiles:
    def test_unknown_sequence_lists_known_ones(self, root: Path) -> None:
        with pytest.raises(DatasetError, match=r"no sequence '99' in .*; it has 07"):
            KittiOdometryDrive(root, "99")

    def test_no_sequences(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match="no sequences in"):
            find_sequences(tmp_path)

    def test_missing_poses(self, root: Path) -> None:
        (root / "poses/07.txt").unlink()
        with pytest.raises(
            DatasetError, match=r"sequence 07 has no poses: missing .*07\.txt.*00 to 10 only"
        ):
            KittiOdometryDrive(root, "07")

    @pytest.mark.parametrize("text", ["1 0 0 zero 0 1 0 0 0 0 1 0", "1 0 0 0", "nan " * 12])
    def test_bad_pose_row(self, root: Path, text: str) -> None:
        (root / "poses/07.txt").write_text(f"1 0 0 0 0 1 0 0 0 0 1 0\n{text}\n")
        with pytest.raises(DatasetError, match="row 2: expected 12 finite numbers"):
            KittiOdometryDrive(root, "07")

    def test_pose_without_a_rotation(self, root: Path) -> None:
        (root / "poses/07.txt").write_text("2 0 0 0 0 1 0 0 0 0 1 0\n")
        with pytest.raises(DatasetError, match="row 1: the left 3x3 is not a rotation"):
            KittiOdometryDrive(root, "07")

    def test_empty_poses(self, root: Path) -> None:
        (root / "poses/07.txt").write_text("\n")
        with pytest.raises(DatasetError, match="is empty"):
            KittiOdometryDrive(root, "07")

    def test_no_images_means_no_camera(self, root: Path) -> None:
        (root / "sequences/07/image_2").rename(root / "elsewhere")
        with pytest.raises(DatasetError, match=r"no readable images in .*image_2, so no camera"):
            _ = KittiOdometryDrive(root, "07").camera

    def test_folder_without_files(self, root: Path) -> None:
        for path in (root / "sequences/07/image_2").iterdir():
            path.unlink()
        with pytest.raises(DatasetError, match=r"image_2 has no file .*; it has none at all"):
            _ = KittiOdometryDrive(root, "07").camera

    def test_truncated_scan(self, root: Path) -> None:
        (root / "sequences/07/velodyne/000000.bin").write_bytes(b"\x00" * 20)
        with pytest.raises(DatasetError, match="20 bytes, not a positive multiple of 16"):
            KittiOdometryDrive(root, "07").scan(0)

    def test_missing_scan(self, root: Path) -> None:
        with pytest.raises(DatasetError, match=r"missing .*000001.bin"):
            KittiOdometryDrive(root, "07").scan(1)

    def test_labels_of_another_scan(self, root: Path) -> None:
        np.zeros(5, "<u4").tofile(root / "sequences/07/labels/000000.label")
        with pytest.raises(DatasetError, match=r"labels 5 points, but .* has 2"):
            KittiOdometryDrive(root, "07").scan(0)

    def test_broken_image(self, root: Path) -> None:
        path = root / "sequences/07/image_2/000000.png"
        path.write_bytes(path.read_bytes()[:60])
        with pytest.raises(DatasetError, match="cannot read image"):
            KittiOdometryDrive(root, "07").image(0)

    def test_camera_size_is_that_of_the_first_readable_image(self, root: Path) -> None:
        images = sorted((root / "sequences/07/image_2").iterdir())
        images[0].write_bytes(b"none")
        drive = KittiOdometryDrive(root, "07")
        assert (drive.camera.height, drive.camera.width) == drive.image(2).shape[:2]
        for image in images:
            image.write_bytes(b"none")
        with pytest.raises(DatasetError, match="no readable images in"):
            _ = KittiOdometryDrive(root, "07").camera

    def test_missing_image(self, root: Path) -> None:
        with pytest.raises(DatasetError, match=r"missing .*000001.png"):
            KittiOdometryDrive(root, "07").image(1)

    def test_coloured_mask(self, root: Path) -> None:
        colours = np.zeros((24, 64, 3), np.uint8)
        Image.fromarray(colours).save(root / "sequences/07/mask_2/000000.png")
        with pytest.raises(DatasetError, match="has 3 channels: expected a mask of ids"):
            KittiOdometryDrive(root, "07").mask(0)

    def test_truncated_labels(self, root: Path) -> None:
        (root / "sequences/07/labels/000000.label").write_bytes(b"\x00" * 7)
        with pytest.raises(DatasetError, match=r"000000\.label has 7 bytes, not .* multiple of 4"):
            KittiOdometryDrive(root, "07").scan(0)

    def test_mask_of_another_size(self, root: Path) -> None:
        Image.fromarray(np.zeros((3, 4), np.uint8)).save(root / "sequences/07/mask_2/000000.png")
        with pytest.raises(DatasetError, match="is 4x3, the images are 64x24"):
            KittiOdometryDrive(root, "07").mask(0)

    def test_times_too_short(self, root: Path) -> None:
        with pytest.raises(DatasetError, match="has 4 rows, none for frame 4"):
            KittiOdometryDrive(root, "07").stamp_s(4)

    def test_times_missing(self, root: Path) -> None:
        (root / "sequences/07/times.txt").unlink()
        with pytest.raises(DatasetError, match=r"missing .*times.txt"):
            KittiOdometryDrive(root, "07").stamp_s(0)


def real_scan(count: int = 2000) -> np.ndarray:
    """Points (N, 3) about a sensor, 10 m away in the median."""
    return np.random.default_rng(0).normal(0, [12, 8, 1], (count, 3)).astype(np.float32)


class TestScansOfOthers:
    def scan_file(self, root: Path) -> Path:
        (root / "sequences/07/labels/000000.label").unlink(missing_ok=True)
        return root / "sequences/07/velodyne/000000.bin"

    def test_rows_of_another_length(self, root: Path) -> None:
        """nuScenes' five columns, in a file whose size is a multiple of KITTI's four."""
        rng = np.random.default_rng(1)
        columns = [real_scan(), rng.integers(0, 255, (2000, 1)), rng.integers(0, 32, (2000, 1))]
        np.hstack(columns).astype("<f4").tofile(self.scan_file(root))
        with pytest.raises(DatasetError, match=r"000000.bin is no KITTI .* rows of 5 float32"):
            KittiOdometryDrive(root, "07").scan(0)

    def test_bytes_that_are_no_scan(self, root: Path) -> None:
        self.scan_file(root).write_bytes(np.random.default_rng(0).bytes(1 << 14))
        with pytest.raises(DatasetError, match=r"000000.bin holds 16384 bytes that are no scan"):
            KittiOdometryDrive(root, "07").scan(0)

    def test_millimetres(self, root: Path) -> None:
        scan = np.column_stack([real_scan() * 1000, np.zeros(2000, "f4")])
        scan.astype("<f4").tofile(self.scan_file(root))
        with pytest.raises(DatasetError, match=r"000000.bin: half .* must be in metres"):
            KittiOdometryDrive(root, "07").scan(0)

    def test_labels_of_another_set(self, root: Path) -> None:
        """Training ids, as a network gives them."""
        scan = np.column_stack([real_scan(), np.zeros(2000, "f4")]).astype("<f4")
        scan.tofile(self.scan_file(root))
        ids = np.arange(2000, dtype="<u4") % 19
        ids.tofile(root / "sequences/07/labels/000000.label")
        with pytest.raises(DatasetError, match=r"000000.label: .* semantickitti does not know \(2"):
            KittiOdometryDrive(root, "07").scan(0)


def test_real_drive(shared_data: Path) -> None:
    drive = KittiOdometryDrive(shared_data / "kitti_drive_0005", "0005")
    assert (drive.camera.width, drive.camera.height) == (1242, 375)
    assert drive.camera.fx == pytest.approx(721.5377)
    assert len(drive.frames) == 154
    assert len(drive.image_frames) == 31
    assert len(drive.scan_frames) == 16
    assert drive.image(150).shape == (375, 1242, 3)
    T = drive.T_world_lidar(153)
    assert 60 < np.linalg.norm(T[:2, 3]) < 71
    assert abs(T[2, 3]) < 2
    assert T[2, 2] > 0.99
    # Image and scan of a frame agree: the road in front of the car is in the lower half.
    points = drive.scan(70).xyz
    road = points[(np.abs(points[:, 1]) < 2) & (points[:, 0] > 8) & (points[:, 0] < 20)
                  & (points[:, 2] < -1.5)]  # fmt: skip
    uv, visible = drive.camera.project(transform_points(invert(drive.T_lidar_camera), road))
    assert visible.mean() > 0.95
    assert (uv[visible, 1] > 187).all()


def test_real_labelled_scan(root: Path, shared_data: Path) -> None:
    """The SemanticKITTI sample, as a sequence in its layout."""
    sample = shared_data / "semantickitti_sample"
    for name in ("velodyne/000000.bin", "labels/000000.label"):
        path = root / "sequences/07" / name
        path.unlink()
        path.symlink_to(sample / name)
    drive = KittiOdometryDrive(root, "07")
    scan, raw = drive.scan(0), drive.point_labels(0)
    assert len(scan) == len(raw) == 123_389
    # Counted from the file by its bytes: 16-bit class, 16-bit instance.
    counted = np.fromfile(sample / "labels/000000.label", "<u2")[::2]
    for raw_id, name in ((40, "road"), (50, "building"), (10, "car"), (80, "pole")):
        assert np.sum((raw & 0xFFFF) == raw_id) == np.sum(counted == raw_id) > 0
        assert (scan.label[(raw & 0xFFFF) == raw_id] == class_id(name)).all()
