"""Where the camera is, from a sequence of images: a recursive Bayes filter over the map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Motion:
    """How the camera moved from one image to the next.

    elapsed_s: between their stamps. T_before_now: (4, 4) pose of the camera's body axes (x forward,
    y left, z up) now in those before, from odometry; None without odometry.
    """

    elapsed_s: float
    T_before_now: Array | None = None


@dataclass(frozen=True)
class PoseHypothesis:
    """One of the poses that the filter holds possible.

    T_map_camera: (4, 4) mean, optical frame. covariance: (3, 3) of x, y in metres and yaw in
    radians. probability: in [0, 1].
    """

    T_map_camera: Array
    covariance: Array
    probability: float


@dataclass(frozen=True)
class TrackedPose:
    """What is known of the camera's pose after an image.

    state: LOST, TENTATIVE or LOCALIZED, see `states`. reason: why, in words.
    T_map_camera: (4, 4) mean of the best hypothesis, optical frame.
    covariance: (6, 6) of x, y, z (metres, map axes), roll, pitch, yaw (radians) of the whole
        belief about that pose.
    near_probability: that the camera is within 5 m and 15 deg of that pose.
    off_map_probability: that the camera is nowhere on the map.
    hypotheses: the most probable ones, best first, at least one.
    """

    state: str
    reason: str
    T_map_camera: Array
    covariance: Array
    near_probability: float
    off_map_probability: float
    hypotheses: tuple[PoseHypothesis, ...]
