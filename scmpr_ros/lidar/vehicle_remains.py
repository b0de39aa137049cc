"""Find what is left of vehicles and ghosts when most of them is recognised: fragments amid them.

Geometry takes a bonnet for a hedge and the end of a streak for a post. Seen from above, such points
lie among points that are known to be of vehicles, people or ghosts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from scmpr_ros.lidar.ground import GroundGrid, cell_indices
from scmpr_ros.semantics import IS_DYNAMIC

_CELL_M = 0.3
_AROUND_CELLS = 5
_LOW_M, _HIGH_M = 0.2, 2.5
_MIN_SHARE = 0.5  # of the points around; 0.65 leaves a third more of the ghosts of towns


def remove_vehicle_remains(
    xyz: NDArray[np.floating], label: NDArray[np.uint8], ghosts: NDArray[np.floating]
) -> NDArray[np.bool_]:
    """Find the points of a map to keep.

    xyz: (N, 3) points with z up. label: (N,) joint ids. ghosts: (G, 3) points that were removed
        before the map was labelled.
    Returns a mask (N,), False for points of static classes between 0.2 and 2.5 m above the ground
    that have more points of dynamic classes and ghosts around them than others. It does not
    depend on points more than 20 m away.
    """
    if len(xyz) == 0:
        return np.ones(0, bool)
    every = np.concatenate([xyz, ghosts])
    height_m = xyz[:, 2] - GroundGrid.of(xyz).at(every)[: len(xyz)]
    is_upright = (height_m > _LOW_M) & (height_m < _HIGH_M)
    is_dynamic = IS_DYNAMIC[label]
    index, _ = cell_indices(every, _CELL_M)
    shape = tuple(index.max(axis=0) + 1)
    cell = np.ravel_multi_index(tuple(index.T), shape)

    def around(chosen: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Mean number of chosen points in the cells around each cell."""
        count = np.bincount(cell[chosen], minlength=shape[0] * shape[1]).reshape(shape)
        return ndimage.uniform_filter(count.astype(np.float32), _AROUND_CELLS)

    is_ghost = np.arange(len(every)) >= len(xyz)
    known = np.zeros(len(every), bool)
    known[: len(xyz)] = is_upright & is_dynamic
    other = np.zeros(len(every), bool)
    other[: len(xyz)] = is_upright & ~is_dynamic
    amid_vehicles = around(known | is_ghost) > _MIN_SHARE / (1 - _MIN_SHARE) * around(other)
    is_remains = is_upright & ~is_dynamic & amid_vehicles.ravel()[cell[: len(xyz)]]
    return ~is_remains
