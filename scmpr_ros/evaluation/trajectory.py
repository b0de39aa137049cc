"""A drive localised image by image and by a tracker, beside the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import ShapeError
from scmpr_ros.evaluation.metrics import Tolerance, heading_errors, position_errors, within
from scmpr_ros.geometry import camera_yaw

NEAR = Tolerance(5.0, 15.0)
"""What `near_probability` is the probability of."""


@dataclass(frozen=True)
class TrackedDrive:
    """N images of one drive, in driving order.

    stamps_s: (N,) growing. T_true, T_tracked, T_single: (N, 4, 4) `T_map_camera`; `T_single` is the
        answer to the image alone. covariance: (N, 6, 6) of the tracked pose. near_probability,
        off_map_probability: (N,) of the tracked pose. single_confidence: (N,). state: (N,) text.
    """

    stamps_s: NDArray[np.float64]
    T_true: NDArray[np.float64]
    T_tracked: NDArray[np.float64]
    T_single: NDArray[np.float64]
    covariance: NDArray[np.float64]
    near_probability: NDArray[np.float64]
    off_map_probability: NDArray[np.float64]
    single_confidence: NDArray[np.float64]
    state: NDArray[np.str_]

    def __post_init__(self) -> None:
        N = len(self.stamps_s)
        if N == 0:
            raise ShapeError("a tracked drive needs at least one image")
        shapes = {"T_true": (N, 4, 4), "T_tracked": (N, 4, 4), "T_single": (N, 4, 4)}
        shapes |= {"covariance": (N, 6, 6)}
        for name, values in vars(self).items():
            expected = shapes.get(name, (N,))
            if values.shape != expected:
                raise ShapeError.of(name, expected, values.shape)

    def position_errors_m(self, T_map_camera: NDArray[np.float64]) -> NDArray[np.float64]:
        """Horizontal errors (N,) of poses (N, 4, 4)."""
        return position_errors(T_map_camera[:, :3, 3], self.T_true[:, :3, 3])

    def near(self, T_map_camera: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which poses (N, 4, 4) are within `NEAR` of the truth."""
        turned_rad = heading_errors(camera_yaw(T_map_camera), camera_yaw(self.T_true))
        return within(self.position_errors_m(T_map_camera), turned_rad, NEAR)
