"""Rectify images: undo the distortion of the lens, and the rotation of a stereo calibration.

A calibration describes two cameras: the raw one, with camera matrix K and distortion D, and the
rectified pinhole camera, with P. Everything behind the readers and the localizer's input knows
only the second.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import CalibrationError
from scmpr_ros.records import CameraModel

_COEFFICIENTS: dict[str, tuple[int, ...]] = {
    "plumb_bob": (4, 5), "rational_polynomial": (4, 5, 8, 12, 14), "radtan": (4, 5),
    "equidistant": (4,), "fisheye": (4,), "equi": (4,), "kannala_brandt": (4,),
}  # fmt: skip
"""How many coefficients each distortion model has, by the names of sensor_msgs, OpenCV, Kalibr."""
_FISHEYE = ("equidistant", "fisheye", "equi", "kannala_brandt")
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
_RECTIFIED_NAME = re.compile(r"(?:^|[/_])(?:rect(?:ified)?|undist(?:orted)?)(?:[/_\d]|$)")
# In kitti2bag's bags the rectified image reaches below the raw one by 25 to 35 % of its height and
# above it by none. With calibrations of the right size it exceeds all sides (alpha 1) or no side.
_EXCEEDS, _DOES_NOT = 0.08, 0.02

Rectify = Literal["auto", "always", "never"]


@dataclass(frozen=True)
class Calibration:
    """A camera as its calibration describes it, for images of `width` x `height` pixels.

    K: row-major 3x3 camera matrix of raw images; empty if it is not known.
    P: row-major 3x3 camera matrix of rectified images; empty if none was chosen.
    model, D: distortion of raw images; coefficients in OpenCV's order.
    R: row-major 3x3 rotation from the raw to the rectified camera.

    Raises CalibrationError for numbers that are not finite and for a calibration without any
    camera matrix.
    """

    width: int
    height: int
    K: tuple[float, ...] = ()
    P: tuple[float, ...] = ()
    model: str = ""
    D: tuple[float, ...] = ()
    R: tuple[float, ...] = _IDENTITY

    def __post_init__(self) -> None:
        for name in ("K", "P", "D", "R"):
            values = getattr(self, name)
            if not np.isfinite(values).all():
                raise CalibrationError(
                    f"{name} holds numbers that are not finite, {_short(values)}: calibrate the "
                    "camera"
                )
        if not self.K and not self.P:
            raise CalibrationError(
                "there is neither P nor K: the camera is not calibrated; calibrate it, or give its "
                "driver the calibration file"
            )

    @property
    def is_distorted(self) -> bool:
        """Whether raw images need more than another camera matrix."""
        return bool(np.any(self.D))

    @property
    def pinhole(self) -> CameraModel:
        """The camera of rectified images: P, or K where there is no P."""
        return CameraModel.from_matrix(_matrix(self.P or self.K), self.width, self.height)

    def cut(self, x: int, y: int, width: int, height: int) -> Calibration:
        """Return the calibration of a region of the image, its first pixel at (x, y)."""
        moved = np.array([[1, 0, -x], [0, 1, -y], [0, 0, 1.0]])
        return self._changed(moved, width, height)

    def binned(self, x: int, y: int) -> Calibration:
        """Return the calibration of images of which x by y pixels were made one.

        As in image_geometry, a pixel's coordinates are divided, without regard to its centre.
        """
        return self._changed(np.diag([1 / x, 1 / y, 1.0]), self.width // x, self.height // y)

    def resized(self, width: int, height: int) -> Calibration:
        """Return the calibration of images that were scaled to another size."""
        sx, sy = width / self.width, height / self.height
        scaled = np.array([[sx, 0, 0.5 * sx - 0.5], [0, sy, 0.5 * sy - 0.5], [0, 0, 1.0]])
        return self._changed(scaled, width, height)

    def _changed(self, A: NDArray[np.float64], width: int, height: int) -> Calibration:
        """Apply A (3, 3) to pixel coordinates."""

        def changed(values: tuple[float, ...]) -> tuple[float, ...]:
            return tuple((A @ _matrix(values)).ravel().tolist()) if values else ()

        return replace(self, width=width, height=height, K=changed(self.K), P=changed(self.P))

    def is_of_other_size(self) -> bool:
        """Whether K and D cannot be of images of this size, where P is.

        Then the rectified image would exceed the raw one on one side and not on the other.
        """
        if not (self.K and self.P):
            return False
        region = _raw_outline(self)
        size = (self.width - 1, self.height - 1)
        before, behind = -region.min(axis=0) / size, region.max(axis=0) / size - 1
        return any(
            max(sides) > _EXCEEDS and min(sides) < _DOES_NOT
            for sides in zip(before, behind, strict=True)
        )


class Rectifier:
    """Makes the images of a pinhole camera of the raw images of a calibration.

    The pinhole camera is P; without P, the one with the largest view that the raw image fills.

    Raises CalibrationError if K is missing, or the distortion is of an unknown model or has the
    wrong number of coefficients.
    """

    def __init__(self, calibration: Calibration) -> None:
        if not calibration.K:
            raise CalibrationError(
                "there is distortion but no K to rectify images by: publish K, or, if the images "
                "are rectified already, set rectify to never"
            )
        self._D = _coefficients(calibration)
        self._calibration = calibration
        self._P = _matrix(calibration.P) if calibration.P else _largest_view(calibration, self._D)
        self._size = calibration.width, calibration.height

    @cached_property
    def camera(self) -> CameraModel:
        """The pinhole camera of rectified images."""
        return CameraModel.from_matrix(self._P, *self._size)

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Rectify an image (H, W, 3); black where the raw image shows nothing."""
        return self._remap(image, cv2.INTER_LINEAR, 0)

    def ids(self, ids: NDArray[np.uint8], outside: int) -> NDArray[np.uint8]:
        """Rectify class ids (H, W), which are never mixed; `outside` where there are none."""
        return self._remap(ids, cv2.INTER_NEAREST, outside)

    def _remap(self, image: NDArray[np.uint8], how: int, outside: int) -> NDArray[np.uint8]:
        first, second = self._maps
        border = (outside,) * 4
        return np.asarray(cv2.remap(image, first, second, how, None, cv2.BORDER_CONSTANT, border))

    @cached_property
    def _maps(self) -> tuple[NDArray, NDArray]:
        """Where each rectified pixel is in the raw image, in OpenCV's fixed-point form."""
        calibration = self._calibration
        K, R = _matrix(calibration.K), _rotation(calibration)
        make = cv2.fisheye if calibration.model in _FISHEYE else cv2
        first, second = make.initUndistortRectifyMap(
            K, self._D, R, self._P, self._size, cv2.CV_16SC2
        )
        return first, second


def needs_rectification(calibration: Calibration, topic: str, choice: Rectify) -> tuple[bool, str]:
    """Decide whether the images of a topic are raw; see docs/how-to/images.md.

    camera_info describes raw and rectified images alike, so it does not say which of them come.
    Returns the answer, and a sentence about what was assumed, empty if nothing was. Messages end
    so that the place of the option can follow. Raises CalibrationError if neither can be.
    """
    if choice != "auto":
        return choice == "always" and bool(calibration.K or calibration.is_distorted), ""
    if not calibration.is_distorted:
        return False, ""
    if is_rectified_by_name(topic):
        if not calibration.P:
            raise CalibrationError(
                f"images of {topic} are rectified, by its name, but there is no P, which describes "
                "them: publish P, or, if they are raw, set rectify to always"
            )
        return False, ""
    lens = f"{calibration.model} distortion {_short(calibration.D)}"
    if calibration.is_of_other_size():
        return False, (
            f"images of {topic} are taken for rectified in spite of the {lens}, which cannot be of "
            f"images of {calibration.width}x{calibration.height} (as in bags of kitti2bag): if "
            "they are raw, set rectify to always"
        )
    return True, (
        f"images of {topic} are taken for raw, because of the {lens}, and rectified: if they are "
        "rectified already, set rectify to never"
    )


def is_rectified_by_name(topic: str) -> bool:
    """Whether a topic is called like rectified images: image_rect, rectified_left, ..."""
    last = "/".join(topic.lower().removesuffix("/compressed").split("/")[-2:])
    return "raw" not in last.split("/")[-1] and bool(_RECTIFIED_NAME.search(last))


def _coefficients(calibration: Calibration) -> NDArray[np.float64]:
    """OpenCV's distortion coefficients."""
    model, D = calibration.model, list(calibration.D)
    if not calibration.is_distorted:
        return np.zeros(4)
    if model not in _COEFFICIENTS:
        raise CalibrationError(
            f"distortion_model is {model!r}, but images are rectified for "
            f"{', '.join(_COEFFICIENTS)}: rectify them before, and set rectify to never"
        )
    allowed = _COEFFICIENTS[model]
    while len(D) > max(allowed) and D[-1] == 0:
        D.pop()
    if len(D) not in allowed:
        raise CalibrationError(
            f"distortion {model} has {' or '.join(map(str, allowed))} coefficients, but D holds "
            f"{len(D)}, {_short(calibration.D)}: correct them, or, if the images are rectified "
            "already, set rectify to never"
        )
    return np.array(D, np.float64)


def _largest_view(calibration: Calibration, D: NDArray[np.float64]) -> NDArray[np.float64]:
    """Camera matrix (3, 3) of the largest rectified view that raw pixels fill."""
    K, size = _matrix(calibration.K), (calibration.width, calibration.height)
    if calibration.model in _FISHEYE:
        estimate = cv2.fisheye.estimateNewCameraMatrixForUndistortRectify
        return np.asarray(estimate(K, D, size, np.eye(3), balance=0.0), np.float64)
    return np.asarray(cv2.getOptimalNewCameraMatrix(K, D, size, 0.0)[0], np.float64)


def _raw_outline(calibration: Calibration) -> NDArray[np.float64]:
    """Raw pixels (N, 2) along the edge of the rectified image."""
    x, y = np.linspace(0, calibration.width - 1, 32), np.linspace(0, calibration.height - 1, 32)
    edge = [np.stack(np.broadcast_arrays(u, v), axis=1) for u, v in
            ((x, y[0]), (x, y[-1]), (x[0], y), (x[-1], y))]  # fmt: skip
    pixels = np.column_stack([np.concatenate(edge), np.ones(4 * 32)])
    rays = pixels @ np.linalg.inv(_matrix(calibration.P)).T @ _rotation(calibration)
    K, D, zero = _matrix(calibration.K), _coefficients(calibration), np.zeros(3)
    if calibration.model in _FISHEYE:
        raw, _ = cv2.fisheye.projectPoints(rays[:, None], zero, zero, K, D)
    else:
        raw, _ = cv2.projectPoints(rays[:, None], zero, zero, K, D)
    return np.asarray(raw, np.float64).reshape(-1, 2)


def _rotation(calibration: Calibration) -> NDArray[np.float64]:
    """R, which belongs to P: no rotation without one."""
    return _matrix(calibration.R if calibration.P and any(calibration.R) else _IDENTITY)


def _matrix(values: tuple[float, ...]) -> NDArray[np.float64]:
    return np.array(values, np.float64).reshape(3, 3)


def _short(values: tuple[float, ...]) -> str:
    return f"[{', '.join(f'{value:.3g}' for value in values)}]"
