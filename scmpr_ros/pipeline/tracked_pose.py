"""The pose of a camera as known from all its images so far."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


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
    covariance: (6, 6) of x, y, z (metres, map axes), roll, pitch, yaw (radians). In the state LOST
        it includes all hypotheses, else it is that of the best one.
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
