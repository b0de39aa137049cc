"""The ground of a map where a vehicle can stand: covered with returns, level and connected."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from scmpr_ros.lidar.ground import MAX_SLOPE, GroundGrid, cell_indices
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import GROUND_IDS, IGNORE, class_id

_ROAD = class_id("road")
_PATCH_M = 0.5  # a candidate is covered if half of its patches have returns
_TOLERANCE_M = 0.15
_ROAD_REACH_M = 40.0  # other ground counts as drivable where no road is this near
_PATCH_EXTENT_M = 40.0  # wider ground is neither cut off nor a roof: a tile need not show all of it
_STEP_M = 1.0  # roofs are higher than this above the ground beside them
_RAISED_SHARE = 0.7  # of the ground beside a roof is lower; the rest may be other roofs
_EDGE_M = 6.0  # the grid smooths a step over about 4 m
_NEIGHBOURS = np.ones((3, 3), bool)


@dataclass(frozen=True)
class DrivableGround:
    """The ground of a map, and the cells of the grid of places that it covers.

    grid: height of the ground. height_m: (N,) of each point above it.
    is_surface: (N,) points on the ground that do not belong to anything else.
    candidates: (C, 2) centres of the covered cells. on_road: (C,) those on a road, or all where
        there is no road.
    """

    grid: GroundGrid
    height_m: NDArray[np.float32]
    is_surface: NDArray[np.bool_]
    candidates: NDArray[np.float64]
    on_road: NDArray[np.bool_]
    _seen: NDArray[np.bool_]

    @classmethod
    def of(cls, cloud: PointCloud, spacing_m: float) -> DrivableGround:
        """Find the ground of a cloud, N > 0, and the cells of width `spacing_m` that it covers."""
        xyz, label = cloud.xyz, cloud.label
        grid = GroundGrid.of(xyz)
        height_m = xyz[:, 2] - grid.at(xyz)
        is_surface = np.abs(height_m) < _TOLERANCE_M
        if label is not None:
            is_surface &= np.isin(label, (IGNORE, *GROUND_IDS))
        candidates = _covered(xyz[is_surface], spacing_m)
        on_road = np.ones(len(candidates), bool)
        if label is not None:
            road = _covered(xyz[is_surface & (label == _ROAD)], spacing_m)
            if len(road) and len(candidates):
                tree = cKDTree(road)
                nearest_m, _ = tree.query(candidates, distance_upper_bound=_ROAD_REACH_M)
                on_road = (nearest_m < spacing_m / 4) | np.isinf(nearest_m)
        seen = np.zeros(grid.height_m.shape, bool)
        seen[grid.cells(xyz[is_surface])] = True
        return cls(grid, height_m, is_surface, candidates, on_road, seen)

    def slope(self, xy: NDArray[np.floating]) -> NDArray[np.floating]:
        """Rise over run (P,) at positions (P, 2)."""
        return self.grid.slope[self.grid.cells(xy)]

    def on_island(self, xy: NDArray[np.floating], min_area_m2: float) -> NDArray[np.bool_]:
        """Which positions (P, 2) lie on a small patch of ground that no other ground adjoins."""
        patch, extents_m = self._patches
        area_m2 = np.bincount(patch.ravel(), minlength=len(extents_m)) * self.grid.cell_m**2
        is_island = (area_m2 < min_area_m2) & (extents_m < _PATCH_EXTENT_M)
        is_island[0] = False  # steep ground, see `slope`
        return is_island[patch[self.grid.cells(xy)]]

    def on_raised_patch(self, xy: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Which positions (P, 2) lie on a patch with lower ground all around, such as a roof."""
        patch, extents_m = self._patches
        number = patch[self.grid.cells(xy)]
        raised = np.zeros(len(extents_m), bool)
        boxes = ndimage.find_objects(patch)
        for candidate in np.unique(number):
            if candidate and extents_m[candidate] < _PATCH_EXTENT_M:
                raised[candidate] = self._is_raised(candidate, boxes[candidate - 1])
        return raised[number]

    @cached_property
    def _patches(self) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Number of each cell's connected patch of ground, 0 for none, and the patches' extents."""
        seen = ndimage.binary_closing(np.pad(self._seen, 2), np.ones((5, 5)))[2:-2, 2:-2]
        patch, count = ndimage.label(seen & (self.grid.slope <= MAX_SLOPE), _NEIGHBOURS)
        extents_m = np.zeros(count + 1)
        for number, box in enumerate(ndimage.find_objects(patch), start=1):
            extents_m[number] = max(s.stop - s.start for s in box) * self.grid.cell_m
        return patch, extents_m

    def _is_raised(self, number: int, box: tuple[slice, slice]) -> bool:
        """Whether most ground beside a patch, beyond the edge, is lower."""
        reach = round(_EDGE_M / self.grid.cell_m)
        around = tuple(slice(max(0, s.start - reach), s.stop + reach) for s in box)
        patch, height_m = self._patches[0][around], self.grid.height_m[around]
        inside = patch == number
        near = ndimage.binary_dilation(inside, _NEIGHBOURS, iterations=reach)
        beside = near & (patch > 0) & ~inside
        if not beside.any():
            return False
        lower = height_m[beside] < np.median(height_m[inside]) - _STEP_M
        return bool(lower.mean() > _RAISED_SHARE)


def _covered(xy: NDArray[np.floating], spacing_m: float) -> NDArray[np.float64]:
    """Centres (C, 2) of the cells at least half of whose patches hold a point of (N, 2|3)."""
    if len(xy) == 0:
        return np.empty((0, 2))
    per_cell = max(1, round(spacing_m / _PATCH_M))
    index, first = cell_indices(xy, spacing_m / per_cell)
    shape = index.max(axis=0) + 1
    filled = np.zeros(shape, bool)
    filled[tuple(index.T)] = True
    patches = np.argwhere(filled) + first
    cells, covered = np.unique(patches // per_cell, axis=0, return_counts=True)
    return (cells[covered >= per_cell**2 / 2] + 0.5) * spacing_m
