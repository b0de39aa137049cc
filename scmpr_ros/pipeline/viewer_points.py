"""Points for viewers, beside a place map: `points.ply`, its static points, thinned."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scmpr_ros.lidar.cloud_files import read_cloud, write_cloud
from scmpr_ros.lidar.point_tiles import PointTiles, Tile, joined
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import IS_DYNAMIC

_POINTS = "points.ply"
_SPARE = 2.0  # more than the maximum is drawn, since points of dynamic classes fall away


def read_viewer_points(directory: Path) -> PointCloud | None:
    """Points with classes; None if the map has none."""
    path = directory / _POINTS
    return read_cloud(path) if path.is_file() else None


def keep_viewer_points(
    directory: Path, labelled: PointTiles, replaced: set[str], update: bool, max_points: int
) -> None:
    """Keep some of the points of a map that was built.

    labelled: points with classes. replaced: keys of the tiles that were built.
    update: keep the points that are there already, too, outside the tiles that were built.
    """
    share = min(1.0, _SPARE * max_points / max(1, labelled.num_points()))
    clouds = [
        _share_of(labelled.points_of(tile), tile, share)
        for tile in map(Tile.of_key, sorted(replaced))
    ]
    before = read_viewer_points(directory) if update else None
    if before is not None:
        shifted = (before.xyz + (before.origin - labelled.origin)).astype(np.float32)
        keys = [Tile(*tile).key for tile in labelled.grid.index(shifted).tolist()]
        outside = np.array([key not in replaced for key in keys], bool)
        clouds.append(PointCloud(shifted, before.label, None, labelled.origin).select(outside))
    write_cloud(directory / _POINTS, _at_most(max_points, joined(clouds)))


def _share_of(cloud: PointCloud, tile: Tile, share: float) -> PointCloud:
    """A share of the static points of a tile; the same ones wherever the map is built."""
    static = _without_intensity(_static(cloud))
    seed = np.array(tile, np.int64).view(np.uint64)
    return static.select(np.random.default_rng(seed).random(len(static)) < share)


def _static(cloud: PointCloud) -> PointCloud:
    assert cloud.label is not None
    return cloud.select(~IS_DYNAMIC[cloud.label])


def _without_intensity(cloud: PointCloud) -> PointCloud:
    return PointCloud(cloud.xyz, cloud.label, origin=cloud.origin)


def _at_most(max_points: int, cloud: PointCloud) -> PointCloud:
    """At most `max_points` of a cloud, chosen at random with a fixed seed."""
    if len(cloud) <= max_points:
        return cloud
    chosen = np.random.default_rng(0).choice(len(cloud), max_points, replace=False)
    return cloud.select(np.sort(chosen))
