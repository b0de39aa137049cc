"""Shared by the tests of the town: a wall on a road, and one small town with a traversal of it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from scmpr_ros.semantics import class_id
from scmpr_ros.town.drives import DriveConfig
from scmpr_ros.town.export import TownExportConfig, open_traversal
from scmpr_ros.town.materials import Material
from scmpr_ros.town.mesh import Mesh, quads
from scmpr_ros.town.sensors.conditions import Condition, draw_condition
from scmpr_ros.town.sensors.lidar import LidarConfig
from scmpr_ros.town.sensors.openness import grid_shape, measure_openness
from scmpr_ros.town.sensors.rig import Rig
from scmpr_ros.town.sensors.scene import Scene, Solid
from scmpr_ros.town.streets.network import StreetNetworkConfig
from scmpr_ros.town.textures.atlas import Textures
from scmpr_ros.town.traversal import Traversal, TraversalConfig
from scmpr_ros.town.world import Town, TownConfig

SEED = 3


@pytest.fixture(scope="session")
def export_config() -> TownExportConfig:
    """A mapping drive and a winter drive of six frames each in a town of one block."""
    streets = StreetNetworkConfig(columns=2, rows=2, spacing_m=(45.0, 60.0), stub_m=(30.0, 40.0))
    drive = DriveConfig(spacing_m=10.0, length_m=60.0)
    return TownExportConfig(
        image_width=124, image_height=38, town=TownConfig(streets),
        lidar=LidarConfig(rings=16, columns=256),
        traversals=(
            TraversalConfig(0, images=False, drive=drive),
            TraversalConfig(1, scans=False, depth=True, condition="clear", season="winter",
                            drive=drive),
        ),
    )  # fmt: skip


@pytest.fixture(scope="session")
def town(export_config: TownExportConfig) -> Town:
    """The town that `export_config` describes."""
    return open_traversal(SEED, export_config, 0).town


@pytest.fixture(scope="session")
def traversal(town: Town) -> Traversal:
    """A traversal of 200 m on an overcast summer day, a pose every metre."""
    config = TraversalConfig(
        condition="overcast", season="summer", drive=DriveConfig(length_m=200.0)
    )
    rig = Rig.named("kitti", (620, 188))
    return Traversal.plan(town, config, rig, LidarConfig(columns=512))


@pytest.fixture(scope="session")
def textures(town: Town) -> Textures:
    return town.textures


@pytest.fixture(scope="session")
def overcast() -> Condition:
    return draw_condition("overcast", np.random.default_rng(0))


@pytest.fixture(scope="session")
def scene_of(textures: Textures) -> Callable[[Mesh, Condition], Scene]:
    """Builds a scene from a mesh on flat land of 100 m x 100 m."""

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
