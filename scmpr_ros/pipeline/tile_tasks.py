"""What is done for each tile of a map: label its points, then describe its places.

Both tasks read tiles of points from the build's folder and write one file into it, so that they can
run anywhere and in any order, and need not be repeated after an interruption. Each looks at more
than its tile: ground and ghosts need their surroundings, and a place sees as far as panoramas
reach.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.atomic_files import write_json
from scmpr_ros.config import to_dict
from scmpr_ros.lidar.ground_ghosts import GHOSTS_REACH_M
from scmpr_ros.lidar.places import TILE_MARGIN_M, Places, grid_places, places_on_map
from scmpr_ros.lidar.point_tiles import Box, PointTiles, Tile, TileGrid, write_tile
from scmpr_ros.methods.checkpoint import load_checkpoint
from scmpr_ros.methods.network import PlaceNetwork
from scmpr_ros.pipeline.build_folder import DESCRIBED
from scmpr_ros.pipeline.map_builder import MapBuilderConfig, describe_places
from scmpr_ros.pipeline.map_points import carve_tile, close_drive, label_points
from scmpr_ros.pipeline.map_source import MapSourceConfig
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import IS_DYNAMIC

RAW, LABELLED = "raw", "labelled"
"""Folders of a build: points as gathered, and points with classes."""

_CONTEXT_M = max(30.0, GHOSTS_REACH_M)  # that ground, ghosts and classes of points depend on
_SPLATS_M = 5.0  # beyond the range of panoramas, so that nothing is missing at its edge


@dataclass(frozen=True)
class TileTask:
    """One tile of a build.

    folder: of the build. build: digest of what it depends on. checkpoint: weights of the network.
    carve: ghosts are to be carved out by scans. by_geometry: points are to be classified by their
        geometry.
    places: (S, 3) positions along a trajectory inside the tile, relative to the origin; None to
        spread places over open ground.
    """

    folder: Path
    build: str
    tile: Tile
    grid: TileGrid
    checkpoint: Path
    source_path: Path
    source: MapSourceConfig
    builder: MapBuilderConfig
    carve: bool
    by_geometry: bool
    places: NDArray[np.float64] | None

    @property
    def described(self) -> Path:
        """File of the described places; empty if there are none."""
        return self.folder / DESCRIBED / f"{self.tile.key}.safetensors"

    @property
    def summary_file(self) -> Path:
        """Written when the places are described."""
        return self.described.with_suffix(".json")

    def summary(self) -> TileSummary:
        """What became of the tile, once that is done."""
        return TileSummary(**json.loads(self.summary_file.read_text()))


@dataclass(frozen=True)
class TileSummary:
    """What became of a tile.

    places: number described. dropped: number of positions that make no place, by reason.
    """

    places: int = 0
    dropped: dict[str, int] = field(default_factory=dict)


def needed_around_m(network: PlaceNetwork) -> float:
    """How far from a tile its result depends on points."""
    return max(network.config.max_range_m + _SPLATS_M, TILE_MARGIN_M) + _CONTEXT_M


def label_tile(task: TileTask) -> int:
    """Write a tile's points with their classes, moving ones too; return their number."""
    raw = PointTiles(task.folder / RAW)
    box = task.grid.box(task.tile)
    around = box.grown(_CONTEXT_M)
    cloud = raw.points_in(around)
    carved = None
    if task.carve:
        carved = carve_tile(cloud, around, task.source_path, task.source, task.build)
        cloud = carved.points.cloud
    if task.by_geometry:
        cloud = label_points(cloud, carved, task.source)
    assert cloud.label is not None
    inside = cloud.select(box.contains(cloud.xyz))
    write_tile(task.folder / LABELLED, task.tile, inside)
    return len(inside)


def describe_tile(task: TileTask) -> TileSummary:
    """Write the description of a tile's places."""
    network = _network(task.checkpoint, task.build)
    box = task.grid.box(task.tile)
    around = box.grown(max(network.config.max_range_m + _SPLATS_M, TILE_MARGIN_M))
    cloud = PointTiles(task.folder / LABELLED).points_in(around)
    assert cloud.label is not None
    static = cloud.select(~IS_DYNAMIC[cloud.label])
    places = _places(task, cloud, box) if len(static) else Places(np.empty((0, 3)))
    task.described.parent.mkdir(exist_ok=True)
    if len(places.positions):
        described = describe_places(static, places.positions, network, task.builder, task.tile.key)
        described.save(task.described)
    else:
        task.described.write_bytes(b"")
    summary = TileSummary(len(places.positions), dict(places.dropped))
    write_json(task.summary_file, to_dict(summary))
    return summary


def _places(task: TileTask, cloud: PointCloud, box: Box) -> Places:
    """The places inside a tile, and why others are none."""
    if task.places is not None:
        return places_on_map(cloud, task.places)
    return grid_places(cloud, task.builder.places, np.array(box))


@lru_cache(maxsize=1)
def _network(checkpoint: Path, build: str) -> PlaceNetwork:
    """The network of a build, loaded once in a process."""
    del build
    return load_checkpoint(checkpoint).eval()


def release() -> None:
    """Give back what tasks of a build keep in this process for the next one."""
    _network.cache_clear()
    close_drive()
