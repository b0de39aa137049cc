"""The complete surface of the ground as one mesh."""

from __future__ import annotations

import numpy as np

from scmpr_ros.town.ground.ground import Ground
from scmpr_ros.town.ground.ground_mesh import build_ground
from scmpr_ros.town.ground.road_paint import paint_roads
from scmpr_ros.town.ground.road_wear import wear_roads
from scmpr_ros.town.mesh import Mesh


def lay_surface(rng: np.random.Generator, ground: Ground) -> Mesh:
    """Build roads, kerbs, pavements and land to the horizon, with wear and paint."""
    return Mesh.join([lay(rng, ground) for lay in (build_ground, wear_roads, paint_roads)])
