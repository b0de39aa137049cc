"""What stands in the way of a vehicle, or hangs too low above it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from scmpr_ros.lidar.drivable_ground import DrivableGround
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import IGNORE, IS_DYNAMIC, class_id

_KNEE_M = 0.4
_HIP_M = 1.0
_HEADROOM_M = 0.5
_MIN_POINTS = 3  # fewer are stray returns
_BUILDING = class_id("building")


@dataclass(frozen=True)
class Obstacles:
    """Points between knee height and a little above the sensor.

    xy: (M, 2). label: (M,) joint ids. is_low: (M,) those that begin below the hip; others hang.
    """

    xy: NDArray[np.float32]
    label: NDArray[np.uint8]
    is_low: NDArray[np.bool_]

    @classmethod
    def of(cls, cloud: PointCloud, ground: DrivableGround, sensor_height_m: float) -> Obstacles:
        """The obstacles of a cloud for a sensor this high above the ground."""
        height_m = ground.height_m
        chosen = (height_m > _KNEE_M) & (height_m < sensor_height_m + _HEADROOM_M)
        label = np.full(len(cloud), IGNORE, np.uint8) if cloud.label is None else cloud.label
        return cls(cloud.xyz[chosen, :2], label[chosen], height_m[chosen] < _HIP_M)

    def faults(
        self, xy: NDArray[np.floating], clearance_m: float
    ) -> Iterator[tuple[str, NDArray[np.bool_]]]:
        """Reasons against positions (P, 2), and which positions they hold for, strongest first."""
        is_vehicle, is_building = IS_DYNAMIC[self.label], self.label == _BUILDING
        for why, kind in (
            ("in a vehicle", is_vehicle),
            ("in a building or a wall", is_building & self.is_low),
            ("too near an obstacle", self.is_low),
            ("under something lower than the sensor", np.ones(len(self.xy), bool)),
        ):
            yield why, _is_near(xy, self.xy[kind], clearance_m)


def _is_near(
    xy: NDArray[np.floating], points: NDArray[np.floating], radius_m: float
) -> NDArray[np.bool_]:
    """Which positions (P, 2) have several of the points (M, 2) within a radius."""
    if len(points) == 0 or len(xy) == 0:
        return np.zeros(len(xy), bool)
    distance_m, _ = cKDTree(points).query(xy, k=[_MIN_POINTS], distance_upper_bound=radius_m)
    return distance_m[:, 0] < radius_m
