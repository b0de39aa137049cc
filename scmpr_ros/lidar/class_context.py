"""What the neighbours of a point were classified as: the context of a second look at it.

A wall above a fence is a house, and the leaves around a post are a tree. So the second of two
networks also reads the mean class probabilities around each voxel that the first one gave: in the
columns of the map around it, near and far, low and high, and in the blocks that it lies in.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from scmpr_ros.geometry import voxel_keys
from scmpr_ros.semantics import class_id

_GROUPS = (
    ("road",), ("sidewalk",), ("terrain",), ("building",), ("barrier",), ("vegetation",), ("pole",),
    ("traffic_sign",), ("car", "other_vehicle", "two_wheeler"), ("person", "rider"),
)  # fmt: skip
_CELL_M = 0.5
_LOW_M = 2.5
_EVERYWHERE = (-np.inf, np.inf)
_COLUMNS = (
    (0.5, _EVERYWHERE), (1.5, (-np.inf, _LOW_M)), (1.5, (_LOW_M, np.inf)), (5.0, _EVERYWHERE),
)  # fmt: skip
"""Standard deviation of a Gaussian in metres, and the heights above the ground that it averages."""
_BLOCKS_M = (0.6, 2.0)
CONTEXT_FEATURES = len(_GROUPS) * (len(_COLUMNS) + len(_BLOCKS_M))
REACH_M = 15.0
"""Farther voxels hardly change the context of a voxel."""


def class_context(
    centre: NDArray[np.floating], height_m: NDArray[np.floating], probability: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Context (V, CONTEXT_FEATURES) of voxels (V, 3) at these heights (V,) above the ground.

    probability: (V, NUM_CLASSES) of each voxel's classes.
    """
    groups = np.stack([probability[:, _ids(names)].sum(axis=1) for names in _GROUPS], axis=1)
    parts = [_around(centre, height_m, groups, sigma, band) for sigma, band in _COLUMNS]
    parts += [_in_block(centre, groups, block_m) for block_m in _BLOCKS_M]
    return np.concatenate(parts, axis=1, dtype=np.float32)


def _ids(names: tuple[str, ...]) -> list[int]:
    return [class_id(name) for name in names]


def _around(
    centre: NDArray[np.floating], height_m: NDArray[np.floating], groups: NDArray[np.float32],
    sigma_m: float, band: tuple[float, float],
) -> NDArray[np.float32]:  # fmt: skip
    """Gaussian mean (V, groups) over the columns around each voxel, zero where there are none."""
    index = np.floor(centre[:, :2] / _CELL_M).astype(np.int64)
    index -= index.min(axis=0)
    shape = tuple(index.max(axis=0) + 1)
    cell = np.ravel_multi_index(tuple(index.T), shape)
    used = (height_m >= band[0]) & (height_m < band[1])
    size = int(np.prod(shape))

    def blurred(weight: NDArray | None) -> NDArray[np.float64]:
        total = np.bincount(cell[used], weight, size).reshape(shape).astype(np.float64)
        return ndimage.gaussian_filter(total, sigma_m / _CELL_M, mode="constant").ravel()

    count = np.maximum(blurred(None), 1e-6)
    means = [(blurred(group[used]) / count)[cell] for group in groups.T]
    return np.stack(means, axis=1).astype(np.float32)


def _in_block(
    centre: NDArray[np.floating], groups: NDArray[np.float32], block_m: float
) -> NDArray[np.float32]:
    """Mean (V, groups) over the block of each voxel, of two grids that are half a block apart."""
    total = np.zeros_like(groups)
    for shift_m in (0.0, block_m / 2):
        block = np.unique(voxel_keys(centre + shift_m, block_m), return_inverse=True)[1]
        count = np.bincount(block)
        for column, group in zip(total.T, groups.T, strict=True):
            column += (np.bincount(block, group) / count)[block] / 2
    return total
