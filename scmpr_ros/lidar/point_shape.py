"""Geometric features of map points at several scales, for classification.

Foliage scatters and walls are flat, but a wall blurred by pose errors is flat only over metres, and
a pole differs from a hedge by the other points in its column. So the features of a point are its
height above the ground, the shape of its neighbourhood at three scales, the contents of its column
of the map at four widths, the steps of the ground beneath (`ground_shape`), and how bright it is.
Thickness and brightness are relative to those of the ground nearby, since sensors and pose errors
differ. All grids begin at multiples of their cells, and nothing reaches farther than `REACH_M`, so
that parts of a map give the same features as the whole.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from scmpr_ros.geometry import voxel_keys
from scmpr_ros.lidar.ground import GroundGrid
from scmpr_ros.lidar.ground_shape import GROUND_FEATURES, ground_shape, usual_nearby

VOXEL_M = 0.2  # evens out density, so that k neighbours span about the same radius everywhere
REACH_M = 25.0
"""Farther points hardly change the features of a point."""
SHAPE_FEATURES = 8
THICKNESS = 3
"""Index of s3 among the features of `local_shape`."""
_SCALES_M = (VOXEL_M, 0.5, 1.2)
_NEIGHBOURS = 24
_RADIUS_VOXELS = 4.5  # search radius of neighbours
_COLUMNS_M = (0.25, 0.75, 2.0, 6.0)
_COLUMN_FEATURES = 5
_LINE_COLUMN_M = _COLUMNS_M[0]
_LINE_CELLS = 12  # a wall continues for 3 m
_GROUND_CELL_M = 0.5
_ON_GROUND_M = 0.2
_THIN_M = 0.03  # added to thicknesses, since smaller ones are noise
_DARK = 0.02  # added to intensities relative to the usual one
_BRIGHTNESS_M = 1.0
_POINTS_PER_CHUNK = 200_000  # bounds the memory for neighbours to about 0.5 GB
BRIGHTNESS_FEATURES = 3
"""The last ones; NaN where intensities are unknown."""
NUM_FEATURES = (
    2 + len(_SCALES_M) * (SHAPE_FEATURES + 1) - 1 + len(_COLUMNS_M) * _COLUMN_FEATURES + 2
    + GROUND_FEATURES + BRIGHTNESS_FEATURES
)  # fmt: skip


class DescribedVoxels(NamedTuple):
    """Voxels of a map with their features.

    centre: (V, 3) mean of their points. height_m: (V,) above the ground.
    features: (V, NUM_FEATURES) float32.
    voxel: (N,) voxel index of each point.
    """

    centre: NDArray[np.float64]
    height_m: NDArray[np.float64]
    features: NDArray[np.float32]
    voxel: NDArray[np.int64]


def describe_points(
    xyz: NDArray[np.floating], intensity: NDArray[np.floating] | None = None
) -> DescribedVoxels:
    """Compute features of the voxels, of size `VOXEL_M`, of points (N, 3), z up, N > 0.

    intensity: (N,) of the points, in any unit; None if unknown.
    """
    points, voxel = voxel_means(xyz, VOXEL_M)
    height_m = points[:, 2] - GroundGrid.of(points, _GROUND_CELL_M).at(points)
    features = np.empty((NUM_FEATURES, len(points)), np.float32)  # most of the memory
    columns = iter(features)

    def add(*values: NDArray[np.floating]) -> None:
        for value in values:
            next(columns)[:] = value

    add(np.clip(height_m, -1, 8), np.clip(height_m, -0.5, 0.5))
    on_ground = np.abs(height_m) < _ON_GROUND_M
    for scale_m in _SCALES_M:
        centres, centre = (
            (points, np.arange(len(points))) if scale_m == VOXEL_M else voxel_means(points, scale_m)
        )
        shape = local_shape(centres, _NEIGHBOURS, _RADIUS_VOXELS * scale_m)[centre]
        thickness_m = shape[:, THICKNESS]
        usual_m = usual_nearby(points, thickness_m, on_ground)
        shape[:, THICKNESS] = np.log((thickness_m + _THIN_M) / (usual_m + _THIN_M))
        add(*shape.T)
        if scale_m != VOXEL_M:
            add(points[:, 2] - centres[centre, 2])
    for width_m in _COLUMNS_M:
        add(*_columns(points, height_m, width_m))
    add(*ground_shape(points, height_m))
    add(*_brightness(points, voxel, intensity, on_ground))
    assert next(columns, None) is None, "NUM_FEATURES is too large"
    return DescribedVoxels(points, height_m, features.T, voxel)


def local_shape(xyz: NDArray[np.floating], neighbours: int, radius_m: float) -> NDArray[np.float32]:
    """Eigenvalue features (N, SHAPE_FEATURES) of the neighbourhoods of points (N, 3).

    With the standard deviations s1 >= s2 >= s3 along the principal axes: scattering s3 / s1, s2 /
    s1, s1 and s3 in metres, |z| of the axes of s3 and of s1, the fraction of neighbours found
    within the radius, and the height of their mean above the point. After Weinmann et al., ISPRS
    Journal of Photogrammetry and Remote Sensing 105, 2015.
    """
    tree = cKDTree(xyz)
    features = np.empty((len(xyz), SHAPE_FEATURES), np.float32)
    for start in range(0, len(xyz), _POINTS_PER_CHUNK):
        chunk = slice(start, start + _POINTS_PER_CHUNK)
        distance, index = tree.query(xyz[chunk], k=neighbours, distance_upper_bound=radius_m)
        near = np.isfinite(distance)
        offset = (xyz[np.where(near, index, 0)] - xyz[chunk, None]) * near[..., None]
        count = near.sum(axis=1)[:, None]
        mean = offset.sum(axis=1) / count
        moment = np.einsum("nki,nkj->nij", offset, offset) / count[..., None]
        variance, axes = np.linalg.eigh(moment - mean[:, :, None] * mean[:, None, :])
        s3, s2, s1 = np.sqrt(np.maximum(variance, 1e-8)).T
        upright = np.abs(axes[:, 2, [0, 2]])
        found = count[:, 0] / neighbours
        features[chunk] = np.column_stack([s3 / s1, s2 / s1, s1, s3, upright, found, mean[:, 2]])
    return features


def voxel_means(
    xyz: NDArray[np.floating], voxel_m: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Mean (V, 3) of each occupied voxel, and the voxel index (N,) of each point."""
    _, voxel = np.unique(voxel_keys(xyz, voxel_m), return_inverse=True)
    count = np.bincount(voxel)
    return np.stack([np.bincount(voxel, axis) / count for axis in xyz.T], axis=1), voxel


def _columns(
    xyz: NDArray[np.floating], height_m: NDArray[np.floating], width_m: float
) -> list[NDArray[np.floating]]:
    """Features of the column of each point: lowest, highest and mean height, number of points, and
    number above half a metre; for the narrowest columns, also the two features of `_line`."""
    index = np.floor(xyz[:, :2] / width_m).astype(np.int64)  # parts of a map have equal columns
    index -= index.min(axis=0)
    shape = tuple(index.max(axis=0) + 1)
    columns, column = np.unique(np.ravel_multi_index(tuple(index.T), shape), return_inverse=True)
    count = np.bincount(column)
    base, top = np.full(len(columns), np.inf), np.full(len(columns), -np.inf)
    np.minimum.at(base, column, height_m)
    np.maximum.at(top, column, height_m)
    features = [
        np.clip(base, -1, 5), np.clip(top, -1, 8), np.bincount(column, height_m) / count,
        np.log1p(count), np.log1p(np.bincount(column, height_m > 0.5)),
    ]  # fmt: skip
    if width_m == _LINE_COLUMN_M:
        tall = (top - base > 1.0) & (top > 1.5)
        raster = np.zeros(shape, bool)
        raster.ravel()[columns[tall]] = True
        line = np.zeros((2, len(columns)))
        line[:, tall] = _line(raster)
        features += list(line)
    return [feature[column] for feature in features]


def _brightness(
    xyz: NDArray[np.floating],
    voxel: NDArray[np.int64],
    intensity: NDArray[np.floating] | None,
    on_ground: NDArray[np.bool_],
) -> list[NDArray[np.floating]]:
    """Logarithm of the intensity of each voxel relative to that of the ground nearby, its mean over
    a metre, and the deviation there; all NaN if it is unknown."""
    if intensity is None:
        return [np.full(len(xyz), np.nan)] * BRIGHTNESS_FEATURES
    mean = np.bincount(voxel, intensity) / np.bincount(voxel)
    usual = np.maximum(usual_nearby(xyz, mean, on_ground), 1e-6)
    bright = np.log(mean / usual + _DARK)
    block = np.unique(voxel_keys(xyz, _BRIGHTNESS_M), return_inverse=True)[1]
    count = np.bincount(block)
    around = np.bincount(block, bright) / count
    square = np.bincount(block, bright**2) / count
    return [bright, around[block], np.sqrt(np.maximum(square - around**2, 0))[block]]


def _line(raster: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Features that separate walls from trees, for each occupied cell in raster order.

    Both are fractions of filled cells along rays: in the direction that is filled best, which is
    large for walls, and at right angles to it on both sides, which is small for walls.
    """
    occupied = np.argwhere(raster)
    thick = np.pad(ndimage.binary_dilation(raster, np.ones((3, 3), bool)), _LINE_CELLS)
    angles = np.arange(0, 2 * np.pi, np.pi / 12)
    steps = np.arange(1, _LINE_CELLS + 1)
    filled = np.zeros((len(angles), len(occupied)))
    for direction, angle in enumerate(angles):
        ray = np.rint(steps[:, None] * (np.cos(angle), np.sin(angle))).astype(np.int64)
        cells = occupied[:, None] + ray + _LINE_CELLS
        filled[direction] = thick[cells[..., 0], cells[..., 1]].mean(axis=1)
    best = filled.argmax(axis=0)
    quarter, cell = len(angles) // 4, np.arange(len(occupied))
    flanks = (
        filled[(best + quarter) % len(angles), cell] + filled[(best - quarter) % len(angles), cell]
    )
    return filled[best, cell], flanks / 2
