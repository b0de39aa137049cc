"""Decode the images of ROS messages: all encodings that cv_bridge converts to colours.

Messages are duck-typed: those of rclpy and those read by `rosbags` have the same attributes. So
the nodes and the bag reader share this code, which imports neither ROS nor a message package.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from scmpr_ros.datasets.pixel_depth import find_white_level, to_8_bit
from scmpr_ros.errors import ShapeError


@dataclass(frozen=True)
class Encoding:
    """How a pixel is stored: channels of `dtype`, and OpenCV's code of the conversion to RGB.

    code: None if the channels are red, green and blue already.
    """

    channels: int
    dtype: str = "u1"
    code: int | None = None

    @property
    def bytes_per_pixel(self) -> int:
        """Bytes per pixel; of the first plane, where there are several."""
        return self.channels * np.dtype(self.dtype).itemsize


def _encodings() -> dict[str, Encoding]:
    found: dict[str, Encoding] = {}
    of_channels = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}
    colours = {
        "mono": (1, cv2.COLOR_GRAY2RGB), "rgb": (3, None), "bgr": (3, cv2.COLOR_BGR2RGB),
        "rgba": (4, cv2.COLOR_RGBA2RGB), "bgra": (4, cv2.COLOR_BGRA2RGB),
        # OpenCV names a pattern by the pixels (1, 1) and (1, 2) that its first block ends with
        "bayer_rggb": (1, cv2.COLOR_BayerBG2RGB), "bayer_bggr": (1, cv2.COLOR_BayerRG2RGB),
        "bayer_gbrg": (1, cv2.COLOR_BayerGR2RGB), "bayer_grbg": (1, cv2.COLOR_BayerGB2RGB),
    }  # fmt: skip
    for bits, dtype in ((8, "u1"), (16, "u2")):
        found |= {f"{name}{bits}": Encoding(n, dtype, code) for name, (n, code) in colours.items()}
        found |= {f"{bits}UC{n}": Encoding(n, dtype, code) for n, code in of_channels.items()}
    for name in ("yuv422", "uyvy"):
        found[name] = Encoding(2, code=cv2.COLOR_YUV2RGB_UYVY)
    for name in ("yuv422_yuy2", "yuyv"):
        found[name] = Encoding(2, code=cv2.COLOR_YUV2RGB_YUY2)
    return found


ENCODINGS = _encodings()
"""Encodings of one plane by name. What cv_bridge takes for numbers (8UC3) has OpenCV's order."""
PLANAR = {
    "nv12": Encoding(1, code=cv2.COLOR_YUV2RGB_NV12),
    "nv21": Encoding(1, code=cv2.COLOR_YUV2RGB_NV21),
    "nv24": Encoding(1, code=cv2.COLOR_YUV2RGB_UYVY),
}
"""Encodings of a plane of brightness and one of colours: half as high, of nv24 twice as wide."""
_BY_LOWER_NAME = {name.lower(): kind for name, kind in (ENCODINGS | PLANAR).items()}
_VIDEO = ("h264", "h265", "hevc", "av1", "vp9")
_UNCHANGED_ORIENTATION = cv2.IMREAD_IGNORE_ORIENTATION  # a calibration is of pixels as stored


def find_encoding(name: str) -> Encoding:
    """Find an image encoding; ShapeError, which says what to do, if it is not supported."""
    if name.lower() in _BY_LOWER_NAME:
        return _BY_LOWER_NAME[name.lower()]
    if name[:1].isdigit() and not name.startswith(("8UC", "16UC")):
        raise ShapeError(f"image encoding {name!r} is of depths or other numbers: name the topic "
                         "of the camera's pictures")  # fmt: skip
    raise ShapeError(f"image encoding {name!r} is not supported: let the driver publish rgb8, bgr8 "
                     f"or mono8, or any of {', '.join(ENCODINGS | PLANAR)}")  # fmt: skip


def check_image(message: Any, min_step: int) -> int:
    """Return the bytes of a row of a sensor_msgs/Image; a step of 0 stands for `min_step`.

    Raises ShapeError if the image is empty or has too little data.
    """
    height, width, step = message.height, message.width, message.step
    if height < 1 or width < 1:
        raise ShapeError.of("image size", "at least 1x1 pixel", f"{width}x{height}")
    if step == 0 and len(message.data) == min_step * height:
        step = min_step
    if step < min_step:
        raise ShapeError.of(f"image step for {width} pixels of {message.encoding}",
                            f"at least {min_step} bytes", step)  # fmt: skip
    if len(message.data) < step * height:
        raise ShapeError.of(f"image data for {height} rows of {step} bytes",
                            f"{step * height} bytes", f"{len(message.data)} bytes")  # fmt: skip
    return int(step)


def pixels_from_image(message: Any) -> NDArray[Any]:
    """Decode a sensor_msgs/Image as RGB, (H, W, 3) of uint8, or of uint16 for 16-bit encodings.

    Rows may be padded to `step`. YUV is that of BT.601 in the narrow range, as for cv_bridge.
    Raises ShapeError for an unsupported encoding, an empty image, or too little data.
    """
    kind, name = find_encoding(message.encoding), message.encoding.lower()
    if name in PLANAR:
        return _planar(message, kind, name)
    step = check_image(message, kind.bytes_per_pixel * message.width)
    order = ">" if message.is_bigendian else "<"
    rows = np.frombuffer(message.data, np.uint8, step * message.height).reshape(-1, step)
    rows = np.ascontiguousarray(rows[:, : kind.bytes_per_pixel * message.width])
    pixels = rows.view(order + kind.dtype).reshape(message.height, message.width, kind.channels)
    return _convert(pixels.astype(kind.dtype, copy=False), kind.code, message.encoding)


def pixels_from_compressed(message: Any) -> NDArray[Any]:
    """Decode a sensor_msgs/CompressedImage (jpeg or png) as RGB, (H, W, 3) of uint8 or uint16.

    Raises ShapeError for depth images and for data that is no image.
    """
    form, data = message.format, np.frombuffer(message.data, np.uint8)
    if "compressedDepth" in form:
        raise ShapeError(f"compressed image of format {form!r} holds depths: name the topic of the "
                         "camera's pictures")  # fmt: skip
    source, _, _ = form.partition(";")
    if source.startswith("bayer_"):  # image_transport compresses the mosaic as it is
        pixels = _imdecode(data, cv2.IMREAD_UNCHANGED, form)
        if pixels.ndim == 2:
            return _convert(pixels[..., None], find_encoding(source).code, source)
    return _convert(_imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH, form),
                    cv2.COLOR_BGR2RGB, form)  # fmt: skip


def pixels_of(message: Any) -> NDArray[Any]:
    """Decode an Image or CompressedImage, see `pixels_from_image`, `pixels_from_compressed`."""
    is_raw = hasattr(message, "encoding")
    return pixels_from_image(message) if is_raw else pixels_from_compressed(message)


def rgb_from_image(message: Any, white_level: int = 0) -> NDArray[np.uint8]:
    """Decode an Image or CompressedImage as RGB, (H, W, 3) uint8.

    white_level: value of white in 16-bit images; 0: that which the image itself says.
    Raises ShapeError for an unsupported encoding, an empty image, too little data, or a 16-bit
    image that does not say what is white.
    """
    pixels = pixels_of(message)
    if pixels.dtype == np.uint8:
        return pixels
    return to_8_bit(pixels, white_level or white_level_of([message], "image"))


def white_level_of(messages: Iterable[Any], source: str) -> int:
    """Find the value of white in 16-bit messages of a camera, see `find_white_level`.

    source: where they come from, for the warning.
    """
    return find_white_level(map(_deep_pixels, messages), source)


def _deep_pixels(message: Any) -> NDArray[Any]:
    form = getattr(message, "encoding", None) or message.format
    if form.startswith("16UC1"):
        raise ShapeError("encoding 16UC1 may hold a picture or depths: set white_level to the "
                         "value of white if it is a picture")  # fmt: skip
    return pixels_of(message)


def mask_from_image(message: Any) -> NDArray[np.uint8]:
    """Decode class ids (H, W) of a mono8 sensor_msgs/Image; ShapeError for other encodings."""
    if message.encoding not in ("mono8", "8UC1"):
        raise ShapeError.of("encoding of a mask", "mono8", repr(message.encoding))
    return np.ascontiguousarray(pixels_from_image(message)[..., 0])


def size_of_image(message: Any) -> tuple[int, int]:
    """Width and height of an Image or CompressedImage, without decoding its pixels.

    Raises ShapeError if compressed data is no image.
    """
    if hasattr(message, "encoding"):
        return int(message.width), int(message.height)
    try:
        with Image.open(io.BytesIO(bytes(message.data))) as image:
            return image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise _no_image(len(message.data), message.format) from None


def _planar(message: Any, kind: Encoding, name: str) -> NDArray[np.uint8]:
    """Decode NV12, NV21 and NV24: a plane of brightness, then one of pairs of colours."""
    height, width = message.height, message.width
    if name != "nv24" and (height % 2 or width % 2):
        raise ShapeError.of(f"size of a {name} image", "even numbers", f"{width}x{height}")
    step = check_image(message, width)
    rows = 3 * height if name == "nv24" else height + height // 2
    if len(message.data) < step * rows:
        raise ShapeError.of(f"{name} data for {height} rows of {step} bytes",
                            f"{step * rows} bytes", f"{len(message.data)} bytes")  # fmt: skip
    planes = np.frombuffer(message.data, np.uint8, step * rows).reshape(rows, step)
    if name != "nv24":
        return _convert(np.ascontiguousarray(planes[:, :width])[..., None], kind.code, name)
    brightness = planes[:height, :width]
    colours = planes[height:].reshape(height, 2 * step)[:, : 2 * width].reshape(height, width, 2)
    # each pixel as two of UYVY, which OpenCV converts; it has no code for NV24
    pairs = np.stack([colours[..., 0], brightness, colours[..., 1], brightness], axis=-1)
    return _convert(pairs.reshape(height, 2 * width, 2), kind.code, name)[:, ::2].copy()


def _convert(pixels: NDArray[Any], code: int | None, name: str) -> NDArray[Any]:
    if code is None:
        return np.array(pixels)  # the message's bytes are read-only
    if name.lower().startswith("bayer_") and min(pixels.shape[:2]) < 3:
        height, width = pixels.shape[:2]
        raise ShapeError.of(f"size of a {name} image", "at least 3x3 pixel", f"{width}x{height}")
    try:
        return np.asarray(cv2.cvtColor(pixels, code))
    except cv2.error as error:
        height, width = pixels.shape[:2]
        raise ShapeError(f"{width}x{height} image of {name}: {error}") from None


def _imdecode(data: NDArray[np.uint8], flags: int, form: str) -> NDArray[Any]:
    try:
        image = cv2.imdecode(data, flags | _UNCHANGED_ORIENTATION) if len(data) else None
    except cv2.error:  # such as a size that is not allowed
        image = None
    if image is None or image.dtype not in (np.uint8, np.uint16):
        raise _no_image(len(data), form)
    return image


def _no_image(size: int, form: str) -> ShapeError:
    if form.lower().startswith(_VIDEO):
        return ShapeError(f"compressed images of format {form!r} are a video: decode it to images "
                          "that each stand alone (jpeg or png)")  # fmt: skip
    return ShapeError.of("compressed image", "a readable jpeg or png",
                         f"{size} bytes of format {form!r}")  # fmt: skip
