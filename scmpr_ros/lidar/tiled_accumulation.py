"""Accumulate scans into tiles on disk, for maps larger than memory."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.cancellation import raise_if_cancelled
from scmpr_ros.geometry import voxel_centres
from scmpr_ros.lidar.accumulation import (
    AccumulationConfig,
    ClassifiedScan,
    VoxelSums,
    mixed_fields,
    no_voxels,
    voxel_sums,
)
from scmpr_ros.lidar.point_tiles import PointTiles, Tile, TileGrid, write_tile
from scmpr_ros.records import PointCloud

_SUMS = ".sums"


def accumulate_tiles(
    scans: Iterable[ClassifiedScan], config: AccumulationConfig, folder: Path, grid: TileGrid
) -> PointTiles:
    """Merge scans as `accumulate_classes` does, into the tiles of an empty folder.

    The sums of a batch of scans are written at once, each tile's to a file of its own; at the end
    those files are added up one by one.

    Raises DatasetError as `accumulate` does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    dtype: np.dtype[np.void] | None = None
    origin = np.zeros(3)
    for voxels in voxel_sums(scans, config):
        if len(voxels) == 0:
            continue
        rows, origin = voxels.records(), voxels.origin
        if dtype not in (None, rows.dtype):
            raise mixed_fields()
        dtype = rows.dtype
        for tile, chosen in _by_tile(voxel_centres(rows["key"], config.voxel_m), grid):
            with (folder / f"{tile.key}{_SUMS}").open("ab") as file:
                file.write(rows[chosen].tobytes())
    like = _add_up(folder, dtype, config, origin)
    if like is None:
        raise no_voxels(config)
    PointTiles.finish(folder, grid, like)
    return PointTiles(folder)


def _by_tile(
    centres: NDArray[np.float64], grid: TileGrid
) -> Iterable[tuple[Tile, NDArray[np.int64]]]:
    """The tiles of voxels by their centres (V, 3), so that a voxel is always in the same one."""
    tiles, tile = np.unique(grid.index(centres), axis=0, return_inverse=True)
    for number, (x, y) in enumerate(tiles.tolist()):
        yield Tile(x, y), np.flatnonzero(tile.ravel() == number)


def _add_up(
    folder: Path, dtype: np.dtype[np.void] | None, config: AccumulationConfig,
    origin: NDArray[np.float64],
) -> PointCloud | None:  # fmt: skip
    """Write the points of each tile; return those of one, None if there are none at all."""
    like = None
    for path in sorted(folder.glob(f"*{_SUMS}")):
        raise_if_cancelled()
        rows = np.fromfile(path, dtype)
        cloud = VoxelSums.of_records(rows, config.voxel_m, origin).means(config.min_hits).cloud
        if len(cloud):
            like = cloud
            write_tile(folder, Tile.of_key(path.stem), cloud)
        path.unlink()
    return like
