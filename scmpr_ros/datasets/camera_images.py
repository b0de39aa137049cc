"""Make the images of a pinhole camera of what a camera or a recording delivers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.config import load_yaml
from scmpr_ros.datasets.intrinsics import find_implausible, find_unusual
from scmpr_ros.datasets.rectification import (
    Calibration,
    Rectifier,
    Rectify,
    needs_rectification,
)
from scmpr_ros.errors import CalibrationError, ConfigError
from scmpr_ros.records import CameraModel
from scmpr_ros.semantics import IGNORE


@dataclass(frozen=True)
class CameraImageConfig:
    """What neither images nor their calibration say."""

    rectify: Rectify = "auto"
    """Whether images are raw and rectified by their calibration. auto: if it has distortion, and
    neither the topic's name nor the calibration says that they are rectified already."""
    white_level: int = 0
    """Value of white in 16-bit images, such as 4095; 0: 65535 if values above 32767 occur, and
    refused else."""
    calibrated_size: tuple[int, int] = (0, 0)
    """Width and height of the images that the calibration is of. Images scaled since are served
    with a scaled calibration. 0, 0: as camera_info says, or that of the images."""

    def __post_init__(self) -> None:
        if not 0 <= self.white_level <= 65535:
            raise ConfigError(f"white_level is {self.white_level}: expected 0 to 65535")
        if min(self.calibrated_size) < 0 or (
            0 in self.calibrated_size and any(self.calibrated_size)
        ):
            raise ConfigError(
                f"calibrated_size is {self.calibrated_size}: expected width and height in pixels"
            )


CAMERA_OPTIONS = "camera.yaml"
"""File in the folder of a recording of files that holds its `CameraImageConfig`."""


def load_camera_options(*folders: Path) -> CameraImageConfig:
    """Read the options file of the first folder that has one; the defaults if none has.

    Raises ConfigError if the file is bad.
    """
    paths = (folder / CAMERA_OPTIONS for folder in folders)
    path = next((path for path in paths if path.is_file()), None)
    return CameraImageConfig() if path is None else load_yaml(CameraImageConfig, path)


@dataclass(frozen=True)
class ImageSource:
    """Names of the images, of their calibration, and of where the options are, for messages."""

    image: str
    """Topic or folder of the images; its name may say that they are rectified."""
    calibration: str
    """Topic or file and row."""
    options: str
    """File or parameters that hold the `CameraImageConfig`."""


class CameraImages:
    """How the images of one size of one camera become those of a pinhole camera.

    size: width and height of the images. camera: the pinhole camera.
    notes: sentences about what was assumed, to be logged.
    """

    def __init__(
        self,
        calibration: Calibration,
        size: tuple[int, int],
        config: CameraImageConfig,
        source: ImageSource,
    ) -> None:
        """Check the calibration, and choose whether to rectify.

        size: width and height of the images.
        Raises CalibrationError if the calibration is of another size, cannot be right, or cannot
        be rectified.
        """
        calibration = _fit(calibration, size, config, source)
        self.size, self.notes = size, list[str]()
        try:
            is_raw, note = needs_rectification(calibration, source.image, config.rectify)
            self._rectifier = Rectifier(calibration) if is_raw else None
        except CalibrationError as error:
            raise CalibrationError(f"{source.calibration}: {error} in {source.options}") from None
        try:
            camera = calibration.pinhole if self._rectifier is None else self._rectifier.camera
        except CalibrationError as error:
            raise CalibrationError(f"{source.calibration}: {error}") from None
        self.camera: CameraModel = camera
        is_chosen_here = is_raw and not calibration.P  # whose pixels need not be square
        implausible = find_implausible(camera)
        unusual = "" if is_chosen_here else find_unusual(camera)
        if implausible and config.calibrated_size != size:
            raise CalibrationError(
                f"{source.calibration}: {implausible}; set calibrated_size in {source.options} to "
                "the size that it is for"
            )
        self.notes += [f"{note} in {source.options}"] if note else []
        doubt = implausible or unusual
        self.notes += [f"{source.calibration}: {doubt}"] if doubt else []

    def rectified(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the image (H, W, 3) of the pinhole camera."""
        return image if self._rectifier is None else self._rectifier(image)

    def rectified_mask(self, mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the joint ids (H, W) of the pinhole camera's pixels."""
        return mask if self._rectifier is None else self._rectifier.ids(mask, IGNORE)


def _fit(
    calibration: Calibration, size: tuple[int, int], config: CameraImageConfig, source: ImageSource
) -> Calibration:
    """Return the calibration for images of `size`."""
    stated = config.calibrated_size
    of = stated if any(stated) else (calibration.width, calibration.height)
    if min(of) < 1:
        raise CalibrationError(
            f"{source.calibration} is of images of {of[0]}x{of[1]}: let it state the images' size, "
            f"or set calibrated_size in {source.options}"
        )
    calibration = replace(calibration, width=of[0], height=of[1])
    if of == size:
        return calibration
    found = (
        f"the image is {size[0]}x{size[1]} pixels, but {source.calibration} is of {of[0]}x{of[1]}"
    )
    is_scaled = abs(size[0] * of[1] - size[1] * of[0]) <= max(of)  # by one pixel of rounding
    if not is_scaled:
        raise CalibrationError(f"{found}: use the calibration of the camera of these images")
    if not any(stated):
        raise CalibrationError(
            f"{found}: use the calibration of the scaled images, or, if nothing but their size was "
            f"changed, set calibrated_size to [{of[0]}, {of[1]}] in {source.options}"
        )
    return calibration.resized(*size)
