"""Every encoding, with pixels worked out by hand; compared with cv_bridge where it is installed."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rosbags.typesys import Stores, get_typestore

from scmpr_ros.datasets.ros_images import (
    ENCODINGS,
    PLANAR,
    mask_from_image,
    pixels_from_image,
    rgb_from_image,
    size_of_image,
)
from scmpr_ros.errors import ShapeError

TYPES = get_typestore(Stores.ROS2_HUMBLE).types
HEADER = TYPES["std_msgs/msg/Header"](TYPES["builtin_interfaces/msg/Time"](0, 0), "camera")
RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
ORANGE, BLUE = (200, 100, 40), (16, 32, 240)


def message(encoding, rows, width=None, is_bigendian=0, padding=0, height=None):
    """An Image of rows (H, bytes)."""
    rows = np.ascontiguousarray(rows)
    rows = rows.view(np.uint8).reshape(len(rows), -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=99)
    return TYPES["sensor_msgs/msg/Image"](
        header=HEADER, height=height or len(rows), width=width or RGB.shape[1], encoding=encoding,
        is_bigendian=is_bigendian, step=rows.shape[1], data=rows.reshape(-1),
    )  # fmt: skip


def compressed(form, data):
    return TYPES["sensor_msgs/msg/CompressedImage"](
        header=HEADER, format=form, data=np.frombuffer(data, np.uint8)
    )


def png(pixels):
    return cv2.imencode(".png", pixels)[1].tobytes()


def test_pixels_may_be_written() -> None:
    """The bytes of a message of a bag may not."""
    content = message("rgb8", RGB)
    content.data.flags.writeable = False
    assert rgb_from_image(content).flags.writeable


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize(
    ("encoding", "pixels"),
    [
        ("rgb8", RGB),
        ("bgr8", RGB[..., ::-1]),
        ("8UC3", RGB[..., ::-1]),
        ("rgba8", np.dstack([RGB, RGB[..., 0]])),
        ("bgra8", np.dstack([RGB[..., ::-1], RGB[..., 0]])),
        ("8UC4", np.dstack([RGB[..., ::-1], RGB[..., 0]])),
        ("RGB8", RGB),
    ],
)
def test_colours_of_8_bits(encoding, pixels, padding) -> None:
    np.testing.assert_array_equal(rgb_from_image(message(encoding, pixels, padding=padding)), RGB)


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
def test_grey(encoding) -> None:
    grey = rgb_from_image(message(encoding, RGB[..., 0]))
    np.testing.assert_array_equal(grey, np.repeat(RGB[..., :1], 3, axis=2))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("padding", [0, 2])
@pytest.mark.parametrize("encoding", ["rgb16", "bgr16", "rgba16", "bgra16", "16UC3", "16UC4"])
def test_colours_of_16_bits(encoding, order, padding) -> None:
    """4095 is white, 2048 half of it (127.5), 16 one step."""
    colour = {"r": 4095, "g": 2048, "b": 16, "a": 7}
    names = encoding[:-2] if encoding[0] in "rb" else "bgra"[: int(encoding[-1])]
    pixels = np.tile(np.array([colour[name] for name in names], f"{order}u2"), (2, 8, 1))
    image = message(encoding, pixels, is_bigendian=int(order == ">"), padding=padding)
    assert rgb_from_image(image, white_level=4095)[1, 3].tolist() == [255, 128, 1]


def test_white_level() -> None:
    """Stated, or evident from values that need 16 bits; never guessed."""
    pixels = np.full((2, 8), 4080, np.uint16)
    pixels[0, 0] = 5000
    grey = rgb_from_image(message("mono16", pixels), white_level=4080)[..., 0]
    assert grey[1, 1] == 255 and grey[0, 0] == 255  # what is brighter than white is white
    with pytest.raises(ShapeError, match=r"values up to 5000, .*: set white_level, such as 8191"):
        rgb_from_image(message("mono16", pixels))
    pixels[0, 0] = 40000
    assert rgb_from_image(message("mono16", pixels))[0, 0, 0] == 156  # 40000 / 65535 * 255 = 155.6
    with pytest.raises(ShapeError, match="may hold a picture or depths"):
        rgb_from_image(message("16UC1", pixels))
    assert rgb_from_image(message("16UC1", pixels), 65535)[0, 0, 0] == 156


def mosaic(pattern, colour, dtype=np.uint8):
    """A mosaic (8, 8) of one colour."""
    values = dict(zip("rgb", colour, strict=True))
    return np.tile(np.array([[values[c] for c in pattern[:2]], [values[c] for c in pattern[2:]]],
                            dtype), (4, 4))  # fmt: skip


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_mosaics(pattern) -> None:
    """A mosaic of one colour gives that colour everywhere."""
    rgb = rgb_from_image(message(f"bayer_{pattern}8", mosaic(pattern, ORANGE)))
    assert rgb.shape == (8, 8, 3) and (rgb == ORANGE).all()
    deep = mosaic(pattern, [16 * c for c in BLUE], ">u2")
    image = message(f"bayer_{pattern}16", deep, is_bigendian=1)
    assert (np.abs(rgb_from_image(image, 16 * 255) - np.array(BLUE, int)) <= 1).all()


def test_mosaics_that_were_compressed() -> None:
    """image_transport compresses the mosaic, or the colours; the number of channels says which."""
    grey, colours = mosaic("grbg", ORANGE), np.full((8, 8, 3), ORANGE[::-1], np.uint8)
    for pixels in (grey, colours):
        image = compressed("bayer_grbg8; png compressed ", png(pixels))
        assert (rgb_from_image(image) == ORANGE).all()


# BT.601, narrow range: R = 1.164 (Y - 16) + 1.596 (V - 128), B = 1.164 (Y - 16) + 2.017 (U - 128),
# G = 1.164 (Y - 16) - 0.392 (U - 128) - 0.813 (V - 128); hence (Y, U, V) = (81, 90, 240) is red.
RED_YUV, GREY_YUV = (81, 90, 240), (126, 128, 128)


@pytest.mark.parametrize(
    ("encoding", "order"),
    [("yuv422", "UYVY"), ("uyvy", "UYVY"), ("yuv422_yuy2", "YUYV"), ("yuyv", "YUYV")],
)
def test_packed_yuv(encoding, order) -> None:
    for yuv, expected in ((RED_YUV, (254, 0, 0)), (GREY_YUV, (128, 128, 128))):
        values = dict(zip("YUV", yuv, strict=True))
        rows = np.tile(np.array([values[c] for c in order], np.uint8), (6, 4))
        rgb = rgb_from_image(message(encoding, rows, width=8))
        assert (np.abs(rgb - np.array(expected, int)) <= 1).all()


@pytest.mark.parametrize("padding", [0, 4])
@pytest.mark.parametrize(("encoding", "order"), [("nv12", "UV"), ("nv21", "VU"), ("nv24", "UV")])
def test_planar_yuv(encoding, order, padding) -> None:
    """A plane of brightness, then colours: two bytes for 2x2 pixels, or (nv24) for each."""
    values = dict(zip("YUV", RED_YUV, strict=True))
    pair = [values[c] for c in order]
    colours = np.tile(np.array(pair, np.uint8), (6, 8) if encoding == "nv24" else (3, 4))
    planes = [np.full((6, 8), values["Y"], np.uint8), colours.reshape(-1, 8)]
    image = message(encoding, np.concatenate(planes), padding=padding, height=6)
    rgb = rgb_from_image(image)
    assert rgb.shape == (6, 8, 3)
    if encoding != "nv24" or not padding:  # its second plane has rows of twice the step
        assert (np.abs(rgb - np.array([254, 0, 0])) <= 1).all()
    image.data = image.data[:-1]
    with pytest.raises(ShapeError, match=f"{encoding} data for 6 rows"):
        rgb_from_image(image)


def test_images_that_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"'yuv422_weird' is not supported.*rgb8"):
        rgb_from_image(message("yuv422_weird", RGB))
    for numbers in ("32FC1", "16SC1", "64FC3"):
        with pytest.raises(ShapeError, match=f"'{numbers}' is of depths or other numbers"):
            rgb_from_image(message(numbers, RGB))
    with pytest.raises(ShapeError, match="at least 1x1 pixel, got 8x0"):
        empty = message("rgb8", RGB)
        empty.height = 0
        rgb_from_image(empty)
    short = message("rgb8", RGB)
    short.data = short.data[:-1]
    with pytest.raises(ShapeError, match="144 bytes, got 143 bytes"):
        rgb_from_image(short)
    narrow = message("rgb8", RGB)
    narrow.step = 20
    with pytest.raises(ShapeError, match="at least 24 bytes, got 20"):
        rgb_from_image(narrow)
    with pytest.raises(ShapeError, match="bayer_rggb8 image: expected at least 3x3 pixel"):
        rgb_from_image(message("bayer_rggb8", np.zeros((2, 2), np.uint8), width=2))
    with pytest.raises(ShapeError, match="even numbers, got 7x6"):
        rgb_from_image(message("nv12", np.zeros((9, 7), np.uint8), width=7, height=6))
    with pytest.raises(ShapeError, match="7x6 image of yuyv"):
        rgb_from_image(message("yuyv", np.zeros((6, 14), np.uint8), width=7))


def test_a_step_of_zero_is_that_of_the_pixels() -> None:
    image = message("rgb8", RGB)
    image.step = 0
    np.testing.assert_array_equal(rgb_from_image(image), RGB)
    image.data = image.data[:-1]
    with pytest.raises(ShapeError, match="image step"):
        rgb_from_image(image)


def test_compressed_images() -> None:
    image = compressed("rgb8; png compressed bgr8", png(RGB[..., ::-1]))
    np.testing.assert_array_equal(rgb_from_image(image), RGB)
    assert size_of_image(image) == (8, 6)
    grey = compressed("png", png(RGB[..., 0]))
    np.testing.assert_array_equal(rgb_from_image(grey)[..., 2], RGB[..., 0])
    deep = compressed("png", png(16 * RGB[..., ::-1].astype(np.uint16)))
    np.testing.assert_array_equal(rgb_from_image(deep, 16 * 255), RGB)
    for data in (b"", png(RGB)[:20], b"no image at all"):
        for read in (rgb_from_image, size_of_image):
            with pytest.raises(ShapeError, match="readable jpeg or png"):
                read(compressed("png", data))
    with pytest.raises(ShapeError, match="holds depths"):
        rgb_from_image(compressed("16UC1; compressedDepth png", png(RGB)))
    depth = compressed("16UC1; png compressed ", png(np.full((4, 4), 50000, np.uint16)))
    with pytest.raises(ShapeError, match="may hold a picture or depths"):
        rgb_from_image(depth)


def test_orientation_in_a_jpeg_is_ignored() -> None:
    """A calibration is of pixels as the sensor reads them."""
    image, file = Image.fromarray(RGB), io.BytesIO()
    exif = image.getexif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees
    image.save(file, "jpeg", exif=exif)
    turned = compressed("jpeg", file.getvalue())
    assert rgb_from_image(turned).shape == (6, 8, 3) and size_of_image(turned) == (8, 6)


def test_masks() -> None:
    np.testing.assert_array_equal(mask_from_image(message("mono8", RGB[..., 0])), RGB[..., 0])
    with pytest.raises(ShapeError, match="encoding of a mask: expected mono8, got 'rgb8'"):
        mask_from_image(message("rgb8", RGB))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_bytes_are_decoded_or_refused(data) -> None:
    encoding = data.draw(st.sampled_from([*ENCODINGS, *PLANAR, "32FC1", "x"]))
    height, width = data.draw(st.integers(0, 9)), data.draw(st.integers(0, 9))
    image = message(encoding, np.zeros((1, 1), np.uint8))
    image.height, image.width, image.step = height, width, data.draw(st.integers(0, 90))
    image.is_bigendian = data.draw(st.integers(0, 1))
    image.data = np.frombuffer(data.draw(st.binary(max_size=600)), np.uint8)
    try:
        pixels = pixels_from_image(image)
    except ShapeError:
        return
    assert pixels.shape == (height, width, 3) and pixels.dtype in (np.uint8, np.uint16)


@pytest.mark.parametrize("encoding", sorted(ENCODINGS))
def test_agrees_with_cv_bridge(encoding) -> None:
    cv_bridge = pytest.importorskip("cv_bridge", reason="cv_bridge is not installed")
    if encoding[0] in "18":
        pytest.skip("cv_bridge takes it for numbers and converts it to no colour")
    kind = ENCODINGS[encoding]
    rows = np.random.default_rng(1).integers(0, 256, (6, 8 * kind.bytes_per_pixel), np.uint8)
    image = message(encoding, rows, width=8)
    expected = cv_bridge.CvBridge().imgmsg_to_cv2(image, "rgb8")
    np.testing.assert_allclose(rgb_from_image(image, 65535), expected, atol=1)
