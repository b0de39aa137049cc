"""The ground as points see it: its steps and roughness, and what is usual on the ground nearby.

Kerbs are some 10 cm high, so that pavements and verges lie a little above the mean of the ground
around them, and roads a little below.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_CELL_M = 0.4
_BAND_M = 0.4  # farther than this from the estimated height, a point is not ground
_WINDOWS_M = (1.2, 2.8, 6.0, 12.0)
_STEP_WINDOW_M = 1.2
_ROUGH_WINDOW_M = 2.8
GROUND_FEATURES = len(_WINDOWS_M) + 3
_USUAL_CELL_M = 12.0
_USUAL_PERCENTILE = 40


def ground_shape(
    xyz: NDArray[np.floating], height_m: NDArray[np.floating]
) -> list[NDArray[np.floating]]:
    """Features (N,) of the ground beneath points (N, 3) at these heights above it.

    Its height above the mean of the ground around, at four widths; its largest step nearby, its
    roughness, and how much of the area around is ground. Zero where no ground was seen.
    """
    index = np.floor(xyz[:, :2] / _CELL_M).astype(np.int64)
    index -= index.min(axis=0)
    shape = tuple(index.max(axis=0) + 1)
    cell = np.ravel_multi_index(tuple(index.T), shape)
    ground = np.abs(height_m) < _BAND_M
    size = int(np.prod(shape))
    count = np.bincount(cell[ground], minlength=size).reshape(shape)
    seen = count > 0
    total = np.bincount(cell[ground], xyz[ground, 2], size).reshape(shape)
    surface = np.divide(total, count, out=np.zeros(shape), where=seen)

    means = [_mean_around(surface, seen, width_m) for width_m in _WINDOWS_M]
    offsets = [np.where(seen, surface - mean, 0) for mean, _ in means]
    width = _cells(_STEP_WINDOW_M)
    highest = ndimage.maximum_filter(np.where(seen, surface, -np.inf), width)
    lowest = ndimage.minimum_filter(np.where(seen, surface, np.inf), width)
    step = np.where(seen, highest - lowest, 0)
    rough = np.sqrt(np.maximum(_mean_around(offsets[0] ** 2, seen, _ROUGH_WINDOW_M)[0], 0))
    share = means[1][1]
    features = [np.clip(offset, -0.5, 0.5) for offset in offsets]
    features += [np.clip(step, 0, 1), np.log(rough + 0.01), share]
    return [feature.ravel()[cell] for feature in features]


def usual_nearby(
    xyz: NDArray[np.floating], value: NDArray[np.floating], on_ground: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """What a value (N,) usually is on the ground around each point (N, 3), within some 20 m.

    Its 40th percentile, of all points on the ground where there is none nearby, and 0 without any.
    """
    cell = np.floor(xyz[:, :2] / _USUAL_CELL_M).astype(np.int64)
    cell -= cell.min(axis=0) - 1
    columns = int(cell[:, 1].max()) + 2
    key = cell[:, 0] * columns + cell[:, 1]
    if not on_ground.any():
        return np.zeros(len(xyz))
    order = np.argsort(key[on_ground], kind="stable")
    ground_key, ground_value = key[on_ground][order], value[on_ground][order]
    overall = np.percentile(ground_value, _USUAL_PERCENTILE)
    cells, member = np.unique(key, return_inverse=True)
    usual = np.empty(len(cells))
    around = np.array([row * columns + column for row in (-1, 0, 1) for column in (-1, 0, 1)])
    for number, centre in enumerate(cells):
        low = np.searchsorted(ground_key, centre + around)
        high = np.searchsorted(ground_key, centre + around, side="right")
        near = np.concatenate([ground_value[a:b] for a, b in zip(low, high, strict=True)])
        usual[number] = np.percentile(near, _USUAL_PERCENTILE) if len(near) else overall
    return usual[member]


def _cells(width_m: float) -> int:
    return max(3, round(width_m / _CELL_M) | 1)


def _mean_around(
    value: NDArray[np.floating], seen: NDArray[np.bool_], width_m: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean of the seen cells in a window around each cell, and the share that is seen."""
    width = _cells(width_m)
    share = ndimage.uniform_filter(seen.astype(np.float64), width, mode="constant")
    total = ndimage.uniform_filter(np.where(seen, value, 0.0), width, mode="constant")
    return np.divide(total, share, out=np.zeros_like(total), where=share > 1e-6), share
