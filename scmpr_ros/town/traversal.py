"""One traversal of a town by a rig: renders image and scan of any pose, in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import ConfigError
from scmpr_ros.geometry import invert, wrap_angle
from scmpr_ros.records import PointCloud
from scmpr_ros.stages import stage
from scmpr_ros.town.drives import DriveConfig, drive_times, plan_drive
from scmpr_ros.town.layout.traffic import Traffic
from scmpr_ros.town.sensors.camera import RenderedImage, render_image
from scmpr_ros.town.sensors.conditions import (
    CONDITIONS,
    SEASONS,
    Condition,
    draw_condition,
)
from scmpr_ros.town.sensors.lidar import LidarConfig, simulate_scan
from scmpr_ros.town.sensors.rig import Rig
from scmpr_ros.town.sensors.scene import Scene
from scmpr_ros.town.world import Town, stream

Array = NDArray[np.float64]

ANY = "any"
_CONDITION_SHARES = {
    "clear": 0.42, "overcast": 0.18, "dusk": 0.08, "night": 0.14, "fog": 0.06, "rain": 0.12,
}  # fmt: skip
_SEASON_SHARES = {"summer": 0.6, "autumn": 0.2, "winter": 0.2}


@dataclass(frozen=True)
class TraversalConfig:
    """What one traversal records, and under which conditions.

    traversal: number that selects traffic, light and lateral offset; sequences of a town with the
    same number meet the same cars. condition: one of `CONDITIONS`; season: one of `SEASONS`; or
    `any` to draw it from the seed. depth: write depth images beside images.
    """

    traversal: int = 0
    images: bool = True
    scans: bool = True
    depth: bool = False
    condition: str = ANY
    season: str = ANY
    drive: DriveConfig = field(default_factory=DriveConfig)

    def __post_init__(self) -> None:
        for name, known in (("condition", CONDITIONS), ("season", SEASONS)):
            if getattr(self, name) not in (*known, ANY):
                raise ConfigError(
                    f"{name} {getattr(self, name)!r}: expected {ANY} or one of {', '.join(known)}"
                )


@dataclass(frozen=True)
class Frame:
    """Sensor data of one pose; None for a sensor that the traversal does not record."""

    image: RenderedImage | None
    scan: PointCloud | None


def pick_condition(seed: int, config: TraversalConfig) -> Condition:
    """Light and season of a traversal: as configured, or drawn from the seed."""
    rng = stream(seed, "condition", config.traversal)
    condition = str(rng.choice(list(_CONDITION_SHARES), p=list(_CONDITION_SHARES.values())))
    season = str(rng.choice(list(_SEASON_SHARES), p=list(_SEASON_SHARES.values())))
    condition = condition if config.condition == ANY else config.condition
    return draw_condition(condition, rng, season if config.season == ANY else config.season)


@dataclass(frozen=True)
class Traversal:
    """A drive of a rig through a town, with the traffic and the weather it meets.

    T_world_base: (N, 4, 4) poses of the car on the ground; stamps_s: (N,) seconds since the start.
    """

    town: Town
    config: TraversalConfig
    rig: Rig
    lidar: LidarConfig
    condition: Condition
    T_world_base: Array
    stamps_s: Array

    @classmethod
    def plan(cls, town: Town, config: TraversalConfig, rig: Rig, lidar: LidarConfig) -> Traversal:
        """Plan the drive; the scene is built with the first frame."""
        poses = plan_drive(town, config.traversal, config.drive)
        stamps_s = drive_times(poses, config.drive)
        return cls(town, config, rig, lidar, pick_condition(town.seed, config), poses, stamps_s)

    def __len__(self) -> int:
        return len(self.T_world_base)

    @property
    def T_world_lidar(self) -> Array:
        """(N, 4, 4) poses of the LiDAR."""
        return self.T_world_base @ self.rig.T_base_lidar

    @cached_property
    def _populated(self) -> tuple[Scene, Traffic]:
        return self.town.populate(
            self.config.traversal, self.condition, self.T_world_base[:, :2, 3], self.stamps_s
        )

    @property
    def traffic(self) -> Traffic:
        """Everything that moves during the traversal."""
        return self._populated[1]

    def scene(self, number: int) -> Scene:
        """The town at the moment of pose `number`."""
        position = self.T_world_base[number, :2, 3]
        moving = self.traffic.at(float(self.stamps_s[number]), position)
        return self._populated[0].at(moving)

    def frame(self, number: int, sequence: int = 0) -> Frame:
        """Render the frame of pose `number`.

        Each frame of each sequence has its own random stream, so frames may be rendered in any
        order and by any process.
        """
        rng = stream(self.town.seed, "frame", sequence, number)
        T_world_base = self.T_world_base[number]
        with stage("traffic"):
            scene = self.scene(number)
        image = scan = None
        if self.config.images:
            image = render_image(scene, self.rig.camera, T_world_base @ self.rig.T_base_camera, rng)
        if self.config.scans:
            velocity, yaw_rate = self._motion(number)
            scan = simulate_scan(
                scene, self.T_world_lidar[number], self.lidar, rng, velocity, yaw_rate
            )
        return Frame(image, scan)

    def _motion(self, number: int) -> tuple[Array, float]:
        """Velocity (3,) in m/s in the car's frame and yaw rate in rad/s at pose `number`."""
        a, b = max(number - 1, 0), min(number + 1, len(self) - 1)
        seconds = max(float(self.stamps_s[b] - self.stamps_s[a]), 1e-3)
        between = invert(self.T_world_base[a]) @ self.T_world_base[b]
        turn = np.arctan2(between[1, 0], between[0, 0])
        step = self.T_world_base[b, :3, 3] - self.T_world_base[a, :3, 3]
        return step @ self.T_world_base[number, :3, :3] / seconds, float(wrap_angle(turn)) / seconds
