"""Find ghosts, the traces of moving objects, in a map without scans: by the ground beneath them.

What stands still hides ground: beneath or behind a parked car or a hedge there is a hole. Where a
vehicle drove past, the ground beneath its trace was seen at other times. Long, low objects above
ground without holes are therefore ghosts. `ghosts` also finds short and narrow ones, but needs the
scans.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from scmpr_ros.errors import ConfigError
from scmpr_ros.lidar.ground import GroundGrid, cell_indices

_SURFACE_M = 0.2  # farther than this from the ground's height, a point is not ground
_LAYER_M = 0.25
_SURROUNDINGS_M = 6.0  # about a lane and a half
_MIN_OPEN_SHARE = 0.1  # of the surroundings, to know how many points open ground gets
_TILE_M = 400.0  # bounds the memory of the grids
_HOLE_CELLS = 2  # narrower holes are gaps between the lines of a scan
_NEIGHBOURS = np.ones((3, 3), bool)
Grid = NDArray[np.bool_]
GHOSTS_REACH_M = 40.0
"""More than the distance of all that decides whether a point is a ghost."""


@dataclass(frozen=True)
class GroundGhostConfig:
    """When the points above a patch of ground are ghosts.

    enabled: false keeps all points.
    cell_m: edge length of the cells that the ground is divided into.
    low_m, high_m: heights above the ground between which objects are looked at; what goes on above
        is a wall, a pole or a tree.
    max_gap_m: a vertical gap of this size ends an object, as between a vehicle and a tree's crown.
    min_covered: where cells have fewer ground points than this share of what open ground around
        has, there is a hole.
    hole_reach_m: the part of an object this near to a hole is kept; a LiDAR sees some ground
        beneath the sides of a parked car.
    min_width_m: narrower objects are kept: posts, fences, walls.
    min_length_m: shorter objects are kept: cars, bus shelters. A moving vehicle leaves a trace
        longer than itself.
    """

    enabled: bool = True
    cell_m: float = 0.3
    low_m: float = 0.3
    high_m: float = 3.0
    max_gap_m: float = 0.75
    min_covered: float = 0.5
    hole_reach_m: float = 2.0
    min_width_m: float = 0.6
    min_length_m: float = 6.0

    def __post_init__(self) -> None:
        for name in ("cell_m", "max_gap_m", "min_covered", "min_width_m"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name}={getattr(self, name)} must be positive")
        for name in ("hole_reach_m", "min_length_m"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name}={getattr(self, name)} must not be negative")
        if not _SURFACE_M <= self.low_m < self.high_m:
            raise ConfigError(
                f"low_m={self.low_m} must lie in [{_SURFACE_M}, high_m={self.high_m})"
            )


def remove_ghosts_by_ground(
    xyz: NDArray[np.floating], config: GroundGhostConfig
) -> NDArray[np.bool_]:
    """Find the points of a map to keep.

    xyz: (N, 3) points with z up, evenly dense, as in a map of voxels.
    Returns a mask (N,), False for ghosts. It does not depend on points more than 40 m away.
    """
    keep = np.ones(len(xyz), bool)
    if not config.enabled or len(xyz) == 0:
        return keep
    tile, first = cell_indices(xyz, _TILE_M)
    for number in np.unique(tile, axis=0):
        low = (first + number) * _TILE_M
        around = (xyz[:, :2] >= low - GHOSTS_REACH_M) & (
            xyz[:, :2] < low + _TILE_M + GHOSTS_REACH_M
        )
        near = np.flatnonzero(around.all(axis=1))
        inside = (tile[near] == number).all(axis=1)
        keep[near[inside]] = ~_ghosts(xyz[near], config)[inside]
    return keep


def _ghosts(xyz: NDArray[np.floating], config: GroundGhostConfig) -> NDArray[np.bool_]:
    """Mask (N,) of the ghosts among points (N, 3)."""
    height_m = xyz[:, 2] - GroundGrid.of(xyz).at(xyz)
    index, _ = cell_indices(xyz, config.cell_m)
    shape = (int(index[:, 0].max()) + 1, int(index[:, 1].max()) + 1)
    cell = np.ravel_multi_index((index[:, 0], index[:, 1]), shape)

    top_m = _object_tops(cell, height_m, shape, config)
    is_ground = np.abs(height_m) < _SURFACE_M
    ground_points = np.bincount(cell[is_ground], minlength=top_m.size).reshape(shape)
    is_object = top_m > 0
    window = max(3, round(_SURROUNDINGS_M / config.cell_m) | 1)
    hole = _coverage(ground_points, ~is_object, window) < config.min_covered
    hole = ndimage.binary_opening(hole, np.ones((_HOLE_CELLS, _HOLE_CELLS)))
    near_hole = _dilate(hole, config.hole_reach_m / config.cell_m, within=is_object)
    candidate = is_object & (top_m <= config.high_m) & ~near_hole
    ghost = _wide_and_long(candidate, config)
    return ghost.ravel()[cell] & (height_m > _SURFACE_M) & (height_m < top_m.ravel()[cell])


def _object_tops(
    cell: NDArray[np.int64],
    height_m: NDArray[np.floating],
    shape: tuple[int, int],
    config: GroundGhostConfig,
) -> NDArray[np.float32]:
    """Height (rows, columns) at which the lowest object above each cell ends, 0 without one.

    cell, height_m: (N,) cell and height above the ground of the points.
    """
    num_layers = int(np.ceil((config.high_m + config.max_gap_m - config.low_m) / _LAYER_M))
    layer = np.floor((height_m - config.low_m) / _LAYER_M).astype(np.int64)
    used = (layer >= 0) & (layer < num_layers)
    cells, column = np.unique(cell[used], return_inverse=True)
    occupied = np.zeros((len(cells), num_layers), bool)
    occupied[column, layer[used]] = True

    top = np.zeros(len(cells), np.int64)
    for number in range(num_layers):
        gap_m = (number - top) * _LAYER_M
        top[occupied[:, number] & ((top == 0) | (gap_m < config.max_gap_m))] = number + 1
    top_m = np.zeros(shape, np.float32)
    top_m.ravel()[cells] = config.low_m + top * _LAYER_M
    return top_m


def _coverage(
    ground_points: NDArray[np.integer], is_open: Grid, window: int
) -> NDArray[np.float32]:
    """Ground points of each cell relative to those of open cells around it.

    ground_points: (rows, columns) number of ground points. is_open: cells without an object.
    window: width of the surroundings in cells.
    Returns 0 where hardly any ground around is open.
    """
    points = ground_points.astype(np.float32)
    is_open = is_open & (ground_points > 0)
    share = ndimage.uniform_filter(is_open.astype(np.float32), window)
    usual = ndimage.uniform_filter(np.where(is_open, points, 0), window)
    known = share >= _MIN_OPEN_SHARE
    mean = ndimage.uniform_filter(points, len(_NEIGHBOURS))
    return np.divide(mean * share, usual, out=np.zeros_like(mean), where=known)


def _wide_and_long(candidate: Grid, config: GroundGhostConfig) -> Grid:
    """Those of the candidate cells that belong to wide and long areas."""
    width = max(1, round(config.min_width_m / config.cell_m))
    closed = ndimage.binary_closing(candidate, _NEIGHBOURS)
    wide = ndimage.binary_opening(closed, np.ones((width, width)))
    area, _ = ndimage.label(_dilate(wide, 1) & candidate, _NEIGHBOURS)
    extents = [[s.stop - s.start for s in box] for box in ndimage.find_objects(area)]
    length_m = np.linalg.norm(np.reshape(extents, (-1, 2)), axis=1) * config.cell_m
    is_long = np.concatenate([[False], length_m >= config.min_length_m])
    return is_long[area]


def _dilate(cells: Grid, steps: float, within: Grid | None = None) -> Grid:
    """Grow an area by a number of cells, without leaving `within`."""
    steps = round(steps)
    if steps < 1:  # scipy would grow it without end
        return cells
    return ndimage.binary_dilation(cells, _NEIGHBOURS, iterations=steps, mask=within)
