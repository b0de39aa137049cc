"""Read cameras from the camera_info of ROS, and the images that belong to them.

Messages are duck-typed: those of rclpy and those read by `rosbags` have the same attributes. So
the nodes and the bag reader share this code, which imports neither ROS nor a message package.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.datasets.camera_images import CameraImageConfig, CameraImages, ImageSource
from scmpr_ros.datasets.pixel_depth import to_8_bit
from scmpr_ros.datasets.rectification import Calibration
from scmpr_ros.datasets.ros_images import pixels_of, size_of_image, white_level_of
from scmpr_ros.errors import CalibrationError, ShapeError
from scmpr_ros.records import CameraModel

_log = logging.getLogger(__name__)


class RosCamera:
    """A camera whose images are messages, with the calibration of one camera_info.

    calibration: as of the images that are published with it. frame_id: that of the camera_info.
    """

    def __init__(
        self,
        info: Any,
        config: CameraImageConfig,
        source: ImageSource,
        warn: Callable[[str], None] = _log.warning,
    ) -> None:
        """Read the calibration.

        warn: called with what is assumed of the images.
        Raises CalibrationError, which names the topic, if the calibration is bad.
        """
        try:
            self.calibration = calibration_from_info(info)
            if self.calibration.width and self.calibration.height:
                _ = self.calibration.pinhole
        except CalibrationError as error:
            raise CalibrationError(
                f"camera_info on {source.calibration} is unusable: {error}"
            ) from None
        self.frame_id = str(info.header.frame_id)
        self._config, self._source, self._warn = config, source, warn
        self._white_level = config.white_level
        self._images: CameraImages | None = None

    def images(self, size: tuple[int, int]) -> CameraImages:
        """How images of a width and height are made those of a pinhole camera.

        Warns of what is assumed. Raises CalibrationError if the calibration does not fit.
        """
        if self._images is None or self._images.size != size:
            self._images = CameraImages(self.calibration, size, self._config, self._source)
            for note in self._images.notes:
                self._warn(note)
        return self._images

    def read(self, message: Any) -> tuple[NDArray[np.uint8], CameraModel]:
        """Decode an Image or CompressedImage as that of a pinhole camera: RGB (H, W, 3), camera.

        Raises ShapeError for an image that cannot be decoded, CalibrationError as `images`.
        """
        try:
            images = self.images(size_of_image(message))
            return images.rectified(self.decode(message)), images.camera
        except ShapeError as error:
            raise ShapeError(f"{self._source.image}: {error}") from None

    def decode(
        self, message: Any, some: Callable[[], Iterable[Any]] | None = None
    ) -> NDArray[np.uint8]:
        """Decode an Image or CompressedImage as it is: RGB (H, W, 3).

        some: gives images of a recording that say what is white in those of 16 bits; without a
            recording, the first image that says so says it for all.
        """
        pixels = pixels_of(message)
        if pixels.dtype == np.uint8:
            return pixels
        if not self._white_level:
            images = [message] if some is None else some()
            self._white_level = white_level_of(images, self._source.image)
        return to_8_bit(pixels, self._white_level)


def calibration_from_info(message: Any) -> Calibration:
    """Read a sensor_msgs/CameraInfo, as of the images that are published with it.

    Region of interest and binning are applied. K, R, P of zeros are not there.

    Raises CalibrationError if the camera is not calibrated, if numbers are not finite, or the
    region is not within the image.
    """
    P, K = _numbers(message, "p").reshape(3, 4)[:, :3], _numbers(message, "k")
    calibration = Calibration(
        int(message.width), int(message.height),
        tuple(K.tolist()) if K.any() else (), tuple(P.ravel().tolist()) if P.any() else (),
        str(message.distortion_model), tuple(_numbers(message, "d").tolist()),
        tuple(_numbers(message, "r").tolist()),
    )  # fmt: skip
    roi, binning = message.roi, (message.binning_x or 1, message.binning_y or 1)
    if roi.width or roi.height:
        right, bottom = roi.x_offset + roi.width, roi.y_offset + roi.height
        if right > message.width or bottom > message.height or not (roi.width and roi.height):
            raise CalibrationError(
                f"its region of interest of {roi.width}x{roi.height} at ({roi.x_offset}, "
                f"{roi.y_offset}) is not within its image of {message.width}x{message.height}"
            )
        calibration = calibration.cut(roi.x_offset, roi.y_offset, roi.width, roi.height)
    return calibration if binning == (1, 1) else calibration.binned(*binning)


def is_calibrated(message: Any) -> bool:
    """Whether a camera_info has intrinsics; drivers may send some before they are loaded."""
    return bool(_numbers(message, "p").any() or _numbers(message, "k").any())


def info_content(info: Any) -> tuple[Any, ...]:
    """All that a camera_info says but its stamp, to tell whether it has changed."""
    roi = info.roi
    return (
        info.header.frame_id, info.width, info.height, info.distortion_model, info.binning_x,
        info.binning_y, roi.x_offset, roi.y_offset, roi.width, roi.height,
        *(_numbers(info, name).tobytes() for name in ("k", "d", "r", "p")),
    )  # fmt: skip


def _numbers(message: Any, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A field of numbers; ROS 1 writes its name in capitals."""
    values = getattr(message, name) if hasattr(message, name) else getattr(message, name.upper())
    return np.asarray(values, dtype=np.float64)
