"""Images in, tracked poses out: localizer, tracker and refinement put together."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.pipeline.localizer import Localizer, Observation
from scmpr_ros.pipeline.states import StateConfig
from scmpr_ros.pipeline.tracker import TrackedPose
from scmpr_ros.records import CameraModel, PlaceMatch


@dataclass(frozen=True)
class TrackingConfig:
    """Settings of the tracked localisation."""

    state: StateConfig = field(default_factory=StateConfig)


@dataclass(frozen=True)
class TrackedAnswer:
    """The answer to one image: from it alone (`match`), and from all images so far (`pose`)."""

    observation: Observation
    match: PlaceMatch
    pose: TrackedPose


class TrackingLocalizer:
    """Localises the images of one camera, one after the other, in one map. Not thread-safe."""

    def __init__(self, localizer: Localizer, config: TrackingConfig | None = None) -> None:
        self.localizer, self.config = localizer, config or TrackingConfig()

    def locate(
        self,
        image: NDArray[np.uint8],
        camera: CameraModel,
        stamp_s: float,
        T_odom_camera: NDArray[np.float64] | None = None,
    ) -> TrackedAnswer:
        """Take the next image. T_odom_camera: (4, 4) optical frame in any fixed odometry frame."""
        raise NotImplementedError

    def set_prior(
        self, T_map_camera: NDArray[np.float64], covariance: NDArray[np.float64],
        probability: float = 0.9,
    ) -> None:  # fmt: skip
        """Take a pose from elsewhere: (4, 4) and its covariance (6, 6); replaces the belief."""
        raise NotImplementedError

    def reset(self) -> None:
        """Forget everything: anywhere on the map, or off it."""
        raise NotImplementedError
