"""Everything that lies on the land, as one mesh."""

from __future__ import annotations

import numpy as np

from scmpr_ros.datasets.town.ground.ground import Ground
from scmpr_ros.datasets.town.ground.mesh import build_ground
from scmpr_ros.datasets.town.ground.road_paint import paint_roads
from scmpr_ros.datasets.town.ground.road_wear import wear_roads
from scmpr_ros.datasets.town.mesh import Mesh


def lay_surface(rng: np.random.Generator, ground: Ground) -> Mesh:
    """Roads, kerbs, pavements, verges, the land to the horizon, and what lies on the roads."""
    return Mesh.join([lay(rng, ground) for lay in (build_ground, wear_roads, paint_roads)])
