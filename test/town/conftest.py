"""A wall on a road, a small town, and one traversal of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from scmpr_ros.semantics import class_id
from scmpr_ros.town.drives import DriveConfig
from scmpr_ros.town.materials import Material
from scmpr_ros.town.mesh import Mesh, quads
from scmpr_ros.town.sensors.conditions import Condition, draw_condition
from scmpr_ros.town.sensors.lidar import LidarConfig
from scmpr_ros.town.sensors.openness import grid_shape, measure_openness
from scmpr_ros.town.sensors.rig import Rig
from scmpr_ros.town.sensors.scene import Scene, Solid
from scmpr_ros.town.streets.network import StreetNetworkConfig
from scmpr_ros.town.textures.atlas import Textures, make_textures
from scmpr_ros.town.traversal import Traversal, TraversalConfig
from scmpr_ros.town.world import Town, TownConfig

SMALL = TownConfig(StreetNetworkConfig(columns=2, rows=2))


@pytest.fixture(scope="session")
def textures() -> Textures:
    return make_textures(np.random.default_rng(0))


@pytest.fixture(scope="session")
def overcast() -> Condition:
    return draw_condition("overcast", np.random.default_rng(0))


@pytest.fixture(scope="session")
def stage_of(textures: Textures) -> Callable[[Mesh, Condition], Scene]:
    """A scene on flat land of 100 m x 100 m."""

    def build(mesh: Mesh, condition: Condition) -> Scene:
        low, size = np.array([-50.0, -50.0]), np.array([100.0, 100.0])
        land = np.zeros(grid_shape(size), np.float32)
        return Scene(Solid(mesh), textures, measure_openness(mesh, low, land), condition)

    return build


@pytest.fixture(scope="session")
def wall_mesh() -> Mesh:
    """A road in the plane z = 0 and a wall in the plane x = 10, four metres high."""
    road = [[[-50, -50, 0], [50, -50, 0], [50, 50, 0], [-50, 50, 0]]]
    front = [[[10, -30, 0], [10, 30, 0], [10, 30, 4], [10, -30, 4]]]
    parts = (
        quads(road, Material.ASPHALT, class_id("road"), (0.2, 0.2, 0.2)),
        quads(front, Material.PLASTER, class_id("building"), (0.6, 0.6, 0.6)),
    )
    return Mesh.join(parts)


@pytest.fixture(scope="session")
def small_town() -> Town:
    return Town.generate(3, SMALL)


@pytest.fixture(scope="session")
def traversal(small_town: Town) -> Traversal:
    config = TraversalConfig(
        condition="overcast", season="summer", drive=DriveConfig(length_m=200.0)
    )
    return Traversal.plan(small_town, config, Rig.named("kitti", (620, 188)),
                          LidarConfig(columns=512))  # fmt: skip
