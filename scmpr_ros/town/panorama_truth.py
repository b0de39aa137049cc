"""What panoramas of a town's map should show: rays cast at its static surfaces.

Parked and moving vehicles are left out, as from the map. So are the errors of a LiDAR.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.geometry import AngularGrid
from scmpr_ros.records import PointCloud
from scmpr_ros.town.extras import check_extras
from scmpr_ros.town.sensors.conditions import draw_condition
from scmpr_ros.town.sensors.lidar import LidarConfig, simulate_scan
from scmpr_ros.town.sensors.rig import Rig
from scmpr_ros.town.world import Town, stream

Array = NDArray[np.float64]


class TruePanorama(NamedTuple):
    """Range (H, W) float32 in metres, infinite without a surface, and joint class (H, W) uint8."""

    range_m: NDArray[np.float32]
    label: NDArray[np.uint8]


class StaticTown:
    """A town without vehicles and people, in clear weather."""

    def __init__(self, town: Town) -> None:
        check_extras()
        self.town = town
        condition = draw_condition("clear", stream(town.seed, "truth"), "summer")
        self._scene = town.bare_scene(condition)

    def panorama(self, position: Array, grid: AngularGrid) -> TruePanorama:
        """What the rays through the centres of cells hit first, from a position (3,); the axes are
        those of the town."""
        range_m, label = self.cast(position, grid.directions().reshape(-1, 3))
        shape = (grid.height, grid.width)
        return TruePanorama(range_m.reshape(shape), label.reshape(shape))

    def cast(self, position: Array, towards: Array) -> TruePanorama:
        """What rays from a position (3,) in directions (N, 3) of any length hit: arrays (N,)."""
        unit = towards / np.linalg.norm(towards, axis=1, keepdims=True)
        hits = self._scene.cast(position, unit)
        return TruePanorama(hits.distance, hits.label)

    def scans(self, T_world_base: Array, config: LidarConfig) -> Iterator[tuple[PointCloud, Array]]:
        """Labelled scans at poses (N, 4, 4) of a car on the ground, with `T_world_lidar` (4, 4)."""
        for number, T in enumerate(T_world_base @ Rig.named("kitti").T_base_lidar):
            rng = stream(self.town.seed, "truth scan", number)
            yield simulate_scan(self._scene, T, config, rng), T
