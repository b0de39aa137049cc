"""Decode the images of ROS messages.

Messages are duck-typed: those of rclpy and those read by `rosbags` have the same attributes. So
the nodes and the bag reader share this code, which imports neither ROS nor a message package.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import ShapeError

RGB_CHANNELS: dict[str, tuple[int, ...]] = {
    "rgb8": (0, 1, 2), "bgr8": (2, 1, 0), "rgba8": (0, 1, 2, 3), "bgra8": (2, 1, 0, 3),
    "8UC3": (2, 1, 0), "mono8": (0, 0, 0), "8UC1": (0, 0, 0),
}  # fmt: skip
"""Positions of red, green, blue (and alpha) in a pixel, by image encoding."""


def bytes_per_pixel(encoding: str) -> int:
    """Bytes per pixel of an image encoding; ShapeError if it is not supported."""
    if encoding not in RGB_CHANNELS:
        raise ShapeError.of("image encoding", f"one of {', '.join(RGB_CHANNELS)}", repr(encoding))
    return len(set(RGB_CHANNELS[encoding]))


def check_image(message: Any, min_step: int) -> None:
    """Raise ShapeError for a sensor_msgs/Image that is empty or has too little data."""
    height, width, step = message.height, message.width, message.step
    if height < 1 or width < 1:
        raise ShapeError.of("image size", "at least 1x1 pixel", f"{width}x{height}")
    if step < min_step:
        raise ShapeError.of(f"image step for {width} pixels of {message.encoding}",
                            f"at least {min_step} bytes", step)  # fmt: skip
    if len(message.data) < step * height:
        raise ShapeError.of(f"image data for {height} rows of {step} bytes",
                            f"{step * height} bytes", f"{len(message.data)} bytes")  # fmt: skip


def rgb_from_image(message: Any) -> NDArray[np.uint8]:
    """Decode a sensor_msgs/Image as RGB, (H, W, 3) uint8; rows may be padded to `step`.

    Raises ShapeError for an encoding not in `RGB_CHANNELS`, an empty image or too little data.
    """
    pixel = bytes_per_pixel(message.encoding)
    check_image(message, pixel * message.width)
    rows = np.frombuffer(message.data, np.uint8, message.step * message.height)
    rows = rows.reshape(message.height, message.step)[:, : pixel * message.width]
    pixels = rows.reshape(message.height, message.width, pixel)
    return np.ascontiguousarray(pixels[..., RGB_CHANNELS[message.encoding][:3]])


def mask_from_image(message: Any) -> NDArray[np.uint8]:
    """Decode class ids (H, W) of a mono8 sensor_msgs/Image; ShapeError for other encodings."""
    if message.encoding not in ("mono8", "8UC1"):
        raise ShapeError.of("encoding of a mask", "mono8", repr(message.encoding))
    return np.ascontiguousarray(rgb_from_image(message)[..., 0])


def rgb_from_compressed(message: Any) -> NDArray[np.uint8]:
    """Decode a sensor_msgs/CompressedImage (jpeg or png) as RGB, (H, W, 3) uint8."""
    data = np.frombuffer(message.data, np.uint8)
    bgr = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if bgr is None:
        raise ShapeError.of("compressed image", "a readable jpeg or png",
                            f"{len(data)} bytes of format {message.format!r}")  # fmt: skip
    return np.ascontiguousarray(bgr[..., ::-1])
