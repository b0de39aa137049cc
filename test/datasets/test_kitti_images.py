"""KITTI as people have it: grey images, JPEGs, other digits, 16 bits, scaled, damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from circle_drive import CircleDrive

from scmpr_ros.datasets.kitti.odometry import KittiOdometryDrive
from scmpr_ros.datasets.kitti.writer import write_drive_kitti
from scmpr_ros.errors import CalibrationError, DatasetError
from scmpr_ros.geometry import invert

P1 = "P1: 20.1 0 15.5 -4.02 0 21.3 11.7 0 0 0 1 0"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_drive_kitti(CircleDrive(), tmp_path, "00")
    return tmp_path


def images(root: Path) -> Path:
    return root / "sequences" / "00" / "image_2"


def rewrite(root: Path, change, suffix: str = ".png") -> None:
    """Replace every image (BGR) by what `change` makes of it."""
    for path in sorted(images(root).iterdir()):
        pixels = change(cv2.imread(str(path)))
        path.unlink()
        assert cv2.imwrite(str(path.with_suffix(suffix)), pixels)


def open_drive(root: Path) -> KittiOdometryDrive:
    return KittiOdometryDrive(root, "00")


def test_grey_images_of_another_camera(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Only image_1 is there: grey, with its own projection, 0.2 m to the right of camera 0."""
    rewrite(root, lambda bgr: cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY))
    images(root).rename(root / "sequences" / "00" / "image_1")
    calibration = root / "sequences" / "00" / "calib.txt"
    lines = [line for line in calibration.read_text().splitlines() if not line.startswith("P1:")]
    calibration.write_text("\n".join([P1, *lines]) + "\n")
    images(root).mkdir()  # an empty folder is none
    drive = open_drive(root)
    assert "those of" in caplog.text and "image_1 are used" in caplog.text
    image = drive.image(2)
    assert image.shape == (24, 32, 3) and (image[..., 0] == image[..., 2]).all()
    T_written_camera = invert(CircleDrive.T_lidar_camera) @ drive.T_lidar_camera
    np.testing.assert_allclose(T_written_camera[:3, 3], [0.2, 0, 0], atol=1e-9)
    assert drive.mask(0, sparse=False) is None, "mask_2 is of another camera"


def test_colour_is_preferred(root: Path) -> None:
    shutil.copytree(images(root), root / "sequences" / "00" / "image_0")
    np.testing.assert_array_equal(open_drive(root).image(2), CircleDrive().image(2))


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".JPG", ".PNG"])
@pytest.mark.parametrize("digits", [1, 4, 10])
def test_other_suffixes_and_digits(root: Path, suffix: str, digits: int) -> None:
    rewrite(root, lambda bgr: bgr, suffix)
    for path in list(images(root).iterdir()):
        path.rename(path.with_name(f"{int(path.stem):0{digits}d}{suffix}"))
    drive = open_drive(root)
    assert list(drive.image_frames) == [0, 2, 4, 6, 8, 10]
    difference = drive.image(4).astype(int) - CircleDrive().image(4)
    assert np.abs(difference).mean() < 5  # JPEG loses some


def test_two_files_of_one_frame(root: Path) -> None:
    (images(root) / "2.png").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"000002.png and 2.png are both frame 2: remove one"):
        open_drive(root)


@pytest.mark.parametrize("grey", [True, False])
def test_16_bits(root: Path, grey: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Values times 256 say themselves what is white; values times 16 do not, and ask."""
    plain = CircleDrive().image(4)
    expected = cv2.cvtColor(plain, cv2.COLOR_RGB2GRAY)[..., None] if grey else plain

    def deep(factor: int):
        def change(bgr: np.ndarray) -> np.ndarray:
            pixels = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY) if grey else bgr
            return pixels.astype(np.uint16) * factor

        return change

    rewrite(root, deep(256))
    difference = open_drive(root).image(4).astype(int) - expected
    assert np.abs(difference).max() <= 1 and "65535 is taken for white" in caplog.text
    rewrite(root, lambda bgr: (bgr.astype(np.uint16) * 16)[..., 0] if grey else deep(16)(bgr))
    with pytest.raises(DatasetError, match=r"image_2: the images are 16-bit .*set white_level"):
        open_drive(root).image(4)
    (root / "camera.yaml").write_text("white_level: 4095\n")
    assert open_drive(root).image(4).max() == pytest.approx(expected.max(), abs=2)


def test_a_dark_image_has_the_white_of_its_drive(root: Path) -> None:
    rewrite(root, lambda bgr: bgr.astype(np.uint16) * 256)
    dark = np.full((24, 32, 3), 2570, np.uint16)
    assert cv2.imwrite(str(images(root) / "000004.png"), dark)
    assert (open_drive(root).image(4) == 10).all()


def test_transparency_is_dropped(root: Path) -> None:
    rewrite(root, lambda bgr: np.dstack([bgr, np.full(bgr.shape[:2], 9, np.uint8)]))
    np.testing.assert_array_equal(open_drive(root).image(2), CircleDrive().image(2))


def test_scaled_images(root: Path) -> None:
    """Refused before anything is made of them; served if the calibration's size is stated."""
    rewrite(root, lambda bgr: cv2.resize(bgr, (16, 12)))
    expected = r"P2 of \S+calib.txt: .* of images of 16x12, .* for 32x24; .* in camera.yaml"
    for use in (lambda d: d.image_frames, lambda d: d.camera, lambda d: d.image(2)):
        with pytest.raises(CalibrationError, match=expected):
            use(open_drive(root))
    assert list(open_drive(root).scan_frames), "scans need no camera"
    (root / "camera.yaml").write_text("calibrated_size: [32, 24]\n")
    assert open_drive(root).camera == CircleDrive.camera.resized(16, 12)
    (root / "camera.yaml").write_text("calibrated_size: [32, 20]\n")
    with pytest.raises(CalibrationError, match=r"16x12 pixels, but .* is of 32x20"):
        open_drive(root).camera


def test_images_of_two_sizes(root: Path) -> None:
    assert cv2.imwrite(str(images(root) / "000004.png"), np.zeros((12, 16, 3), np.uint8))
    with pytest.raises(DatasetError, match=r"000004.png is 16x12, but others .* are 32x24"):
        open_drive(root).image(4)


def test_damaged_images(root: Path) -> None:
    rewrite(root, lambda bgr: bgr.astype(np.uint16) * 256)
    whole = (images(root) / "000004.png").read_bytes()
    for data in (b"", whole[:40], whole[:-30], b"GIF89a"):
        (images(root) / "000004.png").write_bytes(data)
        with pytest.raises(DatasetError, match=r"cannot read image .*000004.png"):
            open_drive(root).image(4)


def test_files_of_other_names(root: Path) -> None:
    for path in list(images(root).iterdir()):
        path.rename(path.with_name(f"frame_{path.name}"))
    with pytest.raises(DatasetError, match=r"like 000000.png; it has frame_000000.png"):
        open_drive(root).image_frames
