"""Images of bags: encodings, raw images, calibrations that do not fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from circle_drive import CircleDrive
from rosbags.rosbag2 import Reader, Writer

from scmpr_ros.datasets.bags.options import BagReaderConfig, BagTopics
from scmpr_ros.datasets.bags.reader import BagDrive
from scmpr_ros.datasets.bags.storage import TYPES, Bag
from scmpr_ros.datasets.bags.writer import BagWriterConfig, write_drive_bag
from scmpr_ros.datasets.camera_images import CameraImageConfig, ImageSource
from scmpr_ros.datasets.ros_cameras import RosCamera
from scmpr_ros.datasets.ros_headers import stamp_ns
from scmpr_ros.errors import CalibrationError, DatasetError
from scmpr_ros.semantics import IGNORE

IMAGE, INFO = BagTopics().image, BagTopics().camera_info
K = CircleDrive.camera.matrix
Change = Callable[[Any], Any]


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "circle"
    write_drive_bag(CircleDrive(), path)
    return path


def rewrite(bag: Path, path: Path, image: Change | None = None, info: Change | None = None,
            image_topic: str = IMAGE) -> Path:  # fmt: skip
    """Copy a bag with changed messages."""
    change = {IMAGE: image, INFO: info}
    with Reader(bag) as source, Writer(path, version=9) as target:
        for old in source.connections:
            topic = image_topic if old.topic == IMAGE else old.topic
            new = target.add_connection(topic, old.msgtype, typestore=TYPES)
            for _, log_ns, raw in source.messages([old]):
                content = TYPES.deserialize_cdr(raw, old.msgtype)
                edit = change.get(old.topic)
                content = content if edit is None else edit(content)
                target.write(new, log_ns, TYPES.serialize_cdr(content, old.msgtype))
    return path


def pixels(message: Any) -> np.ndarray:
    return np.reshape(message.data, (message.height, message.width, 3))


def distorted(D: tuple[float, ...], model: str) -> Change:
    def info(message: Any) -> Any:
        return replace(message, d=np.array(D), distortion_model=model)

    return info


def opened(path: Path, **images: Any) -> BagDrive:
    return BagDrive(path, BagReaderConfig(images=CameraImageConfig(**images)))


def test_raw_images_are_rectified(bag: Path, tmp_path: Path, caplog) -> None:
    """Where the raw lens looks, OpenCV's own undistortion looks, too; P = K stays the camera."""
    D = (-0.3, 0.1, 0.0, 0.0, 0.0)
    drive = opened(rewrite(bag, tmp_path / "raw", info=distorted(D, "plumb_bob")))
    expected = cv2.undistort(CircleDrive().image(4), K, np.array(D))
    assert np.abs(drive.image(4).astype(int) - expected)[2:-2, 2:-2].max() <= 2
    assert drive.camera == CircleDrive.camera
    assert "taken for raw" in caplog.text and "set rectify to never in bag.images" in caplog.text
    as_it_is = opened(tmp_path / "raw", rectify="never")
    np.testing.assert_array_equal(as_it_is.image(4), CircleDrive().image(4))


def test_masks_are_rectified_with_the_images(bag: Path, tmp_path: Path) -> None:
    def pincushion(message: Any) -> Any:
        return replace(message, d=np.array([0.5, 0, 0, 0, 0]), distortion_model="plumb_bob")

    mask = opened(rewrite(bag, tmp_path / "raw", info=pincushion)).mask(4)
    original = CircleDrive().mask(4)
    assert mask is not None and original is not None
    assert mask[0, 0] == IGNORE, "the raw image shows nothing there"
    assert mask[12, 16] in original[11:14, 15:18]


def test_rectified_images_are_not_rectified_again(bag: Path, tmp_path: Path) -> None:
    """image_rect comes with the camera_info of the raw images; only its name tells them apart."""
    topic = IMAGE.replace("image_raw", "image_rect")
    info = distorted((-0.3, 0.1, 0.0, 0.0, 0.0), "plumb_bob")
    path = rewrite(bag, tmp_path / "rect", info=info, image_topic=topic)
    np.testing.assert_array_equal(opened(path).image(4), CircleDrive().image(4))


def test_what_is_written_is_not_rectified_again(bag: Path, tmp_path: Path) -> None:
    raw = rewrite(bag, tmp_path / "raw", info=distorted((-0.02, 0.01, 0, 0), "equidistant"))
    write_drive_bag(opened(raw), tmp_path / "copy", BagWriterConfig(scans=False))
    np.testing.assert_array_equal(opened(tmp_path / "copy").image(4), opened(raw).image(4))


def half(message: Any) -> Any:
    small = np.ascontiguousarray(pixels(message)[::2, ::2])
    height, width = small.shape[:2]
    return replace(message, height=height, width=width, step=3 * width, data=small.reshape(-1))


def test_images_that_were_scaled(bag: Path, tmp_path: Path) -> None:
    path = rewrite(bag, tmp_path / "half", image=half)
    expected = r"16x12 pixels, but \S+info of \S+half is of 32x24.* \[32, 24\] in bag.images"
    for use in (lambda d: d.camera, lambda d: d.image_frames, lambda d: d.image(2)):
        with pytest.raises(CalibrationError, match=expected):
            use(opened(path))
    assert list(opened(path).scan_frames), "scans need no camera"
    assert opened(path, calibrated_size=(32, 24)).camera == CircleDrive.camera.resized(16, 12)


def test_binning_and_region_are_applied(bag: Path, tmp_path: Path) -> None:
    """A region of 16x12 at (4, 6) of an image twice as large, of which 2x2 pixels are one."""

    def info(message: Any) -> Any:
        roi = replace(message.roi, x_offset=4, y_offset=6, width=64, height=48)
        return replace(message, width=80, height=60, roi=roi, binning_x=2, binning_y=2,
                       p=np.array([40, 0, 36, 0, 0, 40, 30, 0, 0, 0, 1.0, 0]))  # fmt: skip

    camera = opened(rewrite(bag, tmp_path / "binned", info=info)).camera
    assert (camera.width, camera.fx, camera.cx, camera.cy) == (32, 20.0, 16.0, 12.0)

    def outside(message: Any) -> Any:
        return replace(message, roi=replace(message.roi, x_offset=4, width=32, height=24))

    with pytest.raises(CalibrationError, match=r"region of interest of 32x24 at \(4, 0\)"):
        opened(rewrite(bag, tmp_path / "outside", info=outside)).camera


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": np.zeros(9), "p": np.zeros(12)}, "neither P nor K"),
        ({"k": np.full(9, np.nan)}, "K holds numbers that are not finite"),
        ({"d": np.array([0.1, 0.2]), "distortion_model": "plumb_bob"}, "D holds 2"),
        ({"d": np.array([0.1]), "distortion_model": "lens"}, "distortion_model is 'lens'"),
        ({"width": 0, "height": 0}, "is of images of 0x0"),
        ({"p": np.ravel([[0.02, 0, 16, 0], [0, 0.02, 12, 0], [0, 0, 1, 0]])}, "not in pixels"),
    ],
)
def test_calibrations_that_are_refused(bag: Path, tmp_path: Path, changes, message: str) -> None:
    path = rewrite(bag, tmp_path / "bad", info=lambda info: replace(info, **changes))
    with pytest.raises(CalibrationError, match=rf"{INFO} of \S+bad.*{message}"):
        opened(path).camera


def test_images_that_cannot_be_decoded_are_named(bag: Path, tmp_path: Path) -> None:
    path = rewrite(bag, tmp_path / "depth", image=lambda m: replace(m, encoding="32FC1"))
    with pytest.raises(DatasetError, match=rf"depth: frame 4 of {IMAGE}: image encoding '32FC1'"):
        opened(path).image(4)
    count = iter(range(99))
    path = rewrite(bag, tmp_path / "mixed", image=lambda m: half(m) if next(count) == 2 else m)
    with pytest.raises(DatasetError, match=r"frame 4 of .*image size: expected 32x24, got 16x12"):
        opened(path).image(4)


def test_16_bit_images_with_a_stated_white(bag: Path, tmp_path: Path) -> None:
    def deep(message: Any) -> Any:
        data = (pixels(message).astype("<u2") * 16).view(np.uint8).reshape(-1)
        return replace(message, encoding="rgb16", step=2 * message.step, data=data)

    path = rewrite(bag, tmp_path / "deep", image=deep)
    read = opened(path, white_level=16 * 255).image(4)
    np.testing.assert_array_equal(read, CircleDrive().image(4))
    with pytest.raises(DatasetError, match=r"frame 4 of .*set white_level, such as 4095"):
        opened(path).image(4)


def test_what_is_white_does_not_depend_on_the_image_read_first(bag: Path, tmp_path: Path) -> None:
    count = iter(range(99))

    def deep(message: Any) -> Any:
        """Dark at first; the last image alone needs all 16 bits."""
        scale = 257 if next(count) == len(CircleDrive().image_frames) - 1 else 64
        data = (pixels(message).astype("<u2") * scale).view(np.uint8).reshape(-1)
        return replace(message, encoding="rgb16", step=2 * message.step, data=data)

    path = rewrite(bag, tmp_path / "deep", image=deep)
    first, *_, last = CircleDrive().image_frames
    dark = np.rint(CircleDrive().image(first) * (64 / 257)).astype(np.uint8)
    np.testing.assert_allclose(opened(path).image(first), dark, atol=1)
    np.testing.assert_allclose(opened(path).image(last), CircleDrive().image(last), atol=1)


@pytest.mark.parametrize("encoding", ["mono16", "16UC1", "bayer_rggb16"])
@pytest.mark.parametrize("order", "<>")
def test_a_node_makes_the_same_of_16_bit_images(
    bag: Path, tmp_path: Path, encoding: str, order: str
) -> None:
    """Scaled, debayered and rectified."""

    def deep(message: Any) -> Any:
        grey = (pixels(message).mean(axis=2).round() * 16).astype(f"{order}u2")
        data = grey.view(np.uint8).reshape(-1)
        return replace(message, encoding=encoding, is_bigendian=int(order == ">"),
                       step=2 * message.width, data=data)  # fmt: skip

    lens = distorted((-0.3, 0.1, 0.0, 0.0, 0.0), "plumb_bob")
    path = rewrite(bag, tmp_path / "deep", image=deep, info=lens)
    config = CameraImageConfig(white_level=16 * 255)
    drive = BagDrive(path, BagReaderConfig(images=config))
    info = next(Bag(path).messages(INFO))
    message = next(m for m in Bag(path).messages(IMAGE)
                   if stamp_ns(m.header) == drive.stamp_ns(4))  # fmt: skip
    live, model = RosCamera(info, config, ImageSource(IMAGE, INFO, "images")).read(message)
    assert model == drive.camera
    np.testing.assert_array_equal(drive.image(4), live)
    if encoding != "bayer_rggb16":
        eight = replace(message, encoding="mono8", step=message.width, data=np.ascontiguousarray(
            np.frombuffer(message.data, f"{order}u2") // 16).astype(np.uint8))  # fmt: skip
        want, _ = RosCamera(info, config, ImageSource(IMAGE, INFO, "images")).read(eight)
        np.testing.assert_array_equal(live, want)


def test_16uc1_is_a_picture_where_its_white_is_stated(bag: Path, tmp_path: Path) -> None:
    def thermal(message: Any) -> Any:
        data = np.full(message.height * message.width, 1023, "<u2").view(np.uint8)
        return replace(message, encoding="16UC1", step=2 * message.width, data=data)

    path = rewrite(bag, tmp_path / "deep", image=thermal, image_topic="/thermal/image_rect")
    assert list(opened(path).image_frames) == []
    drive = opened(path, white_level=1023)
    assert drive.image(drive.image_frames[0]).min() == 255


def test_the_first_calibrated_camera_info(bag: Path, tmp_path: Path) -> None:
    """A driver may publish before it has loaded its calibration; the node waits for it, too."""
    count = iter(range(99))

    def info(message: Any) -> Any:
        none = replace(message, k=np.zeros(9), p=np.zeros(12))
        return none if next(count) < 2 else message

    assert opened(rewrite(bag, tmp_path / "late", info=info)).camera == CircleDrive.camera


@pytest.mark.parametrize(("model", "like", "D"), [
    ("radtan", "plumb_bob", (-0.3, 0.1, 0.001, 0.002)),
    ("rational_polynomial", "plumb_bob", (-0.3, 0.1, 0.001, 0.002, 0.01)),
    ("equi", "equidistant", (0.1, 0.02, 0.0, 0.0)),
    ("kannala_brandt", "equidistant", (0.1, 0.02, 0.0, 0.0)),
])  # fmt: skip
def test_other_names_of_distortion_models(
    bag: Path, tmp_path: Path, model: str, like: str, D: tuple[float, ...]
) -> None:
    images = [opened(rewrite(bag, tmp_path / name, info=distorted(D, name))).image(4)
              for name in (model, like)]  # fmt: skip
    np.testing.assert_array_equal(*images)
