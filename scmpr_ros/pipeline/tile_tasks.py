"""What is done for each tile of a map: label its points, then describe its places.

Both tasks read tiles of points from the build's folder and write one file into it, so that they can
run anywhere and in any order, and need not be repeated after an interruption. Each looks at more
than its tile: the ground and its ghosts need their surroundings, and a place sees
`max_range_m` far.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.lidar.point_cloud_map import PointCloudMap
from scmpr_ros.lidar.point_tiles import Box, PointTiles, Tile, write_tile
from scmpr_ros.methods.checkpoint import load_checkpoint
from scmpr_ros.methods.network import PlaceNetwork
from scmpr_ros.pipeline.build_folder import BuildFolder
from scmpr_ros.pipeline.map_builder import MapBuilderConfig, describe_places
from scmpr_ros.pipeline.map_source import MapSourceConfig, labelled
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import IS_DYNAMIC


@dataclass(frozen=True)
class TileTask:
    """One tile of a build.

    folder: of the build. checkpoint: weights of the network.
    carved: ghosts have been removed from the points.
    trajectory: (S, 3) places along a trajectory inside the tile, relative to the origin; None to
        spread places over open ground.
    """

    folder: Path
    tile: Tile
    edge_m: float
    checkpoint: Path
    source: MapSourceConfig
    builder: MapBuilderConfig
    carved: bool
    places: NDArray[np.float64] | None


@dataclass(frozen=True)
class TileSummary:
    """What became of a tile.

    points: static points that were kept. places: places that were described. dropped: number of
    positions that were no places, by reason.
    """

    points: int = 0
    places: int = 0
    dropped: Counter[str] | None = None
