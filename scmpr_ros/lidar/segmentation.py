"""Classes of unlabelled map points from their geometry alone: 3DSegmentation of eq. 5.

Stands in for a trained network. It tells road, terrain, building, barrier, vegetation, pole and
car apart, and leaves the rest to `ignore`; kerbs are too low to tell a sidewalk from a road.
Each decision is taken at the scale where it is plain: a point's neighbourhood says how flat, thin
or scattered a surface is, and a connected component how large the thing is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from scmpr_ros.errors import DatasetError
from scmpr_ros.lidar.accumulation import voxel_keys
from scmpr_ros.lidar.ground import GroundGrid
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import IGNORE, class_id, label_confusion

ROAD, TERRAIN, BUILDING = class_id("road"), class_id("terrain"), class_id("building")
BARRIER, VEGETATION = class_id("barrier"), class_id("vegetation")
POLE, CAR = class_id("pole"), class_id("car")
CONFUSION = label_confusion(
    {
        "road": {"road": 0.90, "terrain": 0.10},
        "sidewalk": {"road": 0.58, "terrain": 0.42},
        "building": {"building": 0.92, "vegetation": 0.05, "terrain": 0.01, "pole": 0.02},
        "barrier": {"building": 0.04, "barrier": 0.29, "vegetation": 0.65, "terrain": 0.02},
        "vegetation": {"building": 0.01, "barrier": 0.03, "vegetation": 0.87, "pole": 0.09},
        "terrain": {"road": 0.57, "terrain": 0.43},
        "pole": {"building": 0.01, "vegetation": 0.20, "pole": 0.79},
        "traffic_sign": {"vegetation": 0.11, "pole": 0.89},
    }
)  # fmt: skip
"""What `segment_points` takes each class for: shares of panorama cells that have both labels, over
the 6,600 places of 26 training towns, whose maps are accumulated; over the 10,700 of 40 others they
are the same to 0.02. Where it says `ignore` nothing is claimed."""

_VOXEL_M = 0.2  # evens out density, so that k neighbours mean about the same radius everywhere
_WALL_VOXEL_M = 0.6  # walls are judged over metres: pose errors blur a map's walls by 0.15 m
_NEIGHBOURS = 24
_REACH_VOXELS = 4.5  # how far neighbours are looked for
_WALL_SCATTERING = 0.45  # of a wall as a whole, at most
_FOLIAGE_SCATTERING = 0.55  # of a point, at least: trees grow into façades
_COLUMN_M = 0.25
_LINE_CELLS = 12  # a wall goes on for 3 m
_LINK_M = 0.3  # voxels of this size that touch belong to one thing; cars park further apart
_GROUND_CELL_M = 0.5
_POINTS_PER_CHUNK = 200_000  # bounds the memory of all neighbours at once to some 0.5 GB


@dataclass(frozen=True)
class LocalShape:
    """Eigenvalue features of each point's neighbourhood, (N,) each.

    With s1 >= s2 >= s3 the standard deviations along the principal axes: scattering is s3 / s1,
    thickness_m is s3, and normal_z the absolute vertical component of the axis of s3. After
    Weinmann et al., ISPRS Journal of Photogrammetry and Remote Sensing 105, 2015.
    """

    scattering: NDArray[np.floating]
    thickness_m: NDArray[np.floating]
    normal_z: NDArray[np.floating]

    @classmethod
    def of(cls, xyz: NDArray[np.floating], neighbours: int, radius_m: float) -> LocalShape:
        """Compute the features of points (N, 3) from their nearest neighbours."""
        tree = cKDTree(xyz)
        features = np.empty((3, len(xyz)))
        for start in range(0, len(xyz), _POINTS_PER_CHUNK):
            chunk = slice(start, start + _POINTS_PER_CHUNK)
            distance, index = tree.query(xyz[chunk], k=neighbours, distance_upper_bound=radius_m)
            near = np.isfinite(distance)
            offset = (xyz[np.where(near, index, 0)] - xyz[chunk, None]) * near[..., None]
            count = near.sum(axis=1)[:, None]
            mean = offset.sum(axis=1) / count
            moment = np.einsum("nki,nkj->nij", offset, offset) / count[..., None]
            variance, axes = np.linalg.eigh(moment - mean[:, :, None] * mean[:, None, :])
            s3, _, s1 = np.sqrt(np.maximum(variance, 1e-8)).T
            features[:, chunk] = s3 / s1, s3, np.abs(axes[:, 2, 0])
        return cls(*features)


def segment_points(cloud: PointCloud) -> NDArray[np.uint8]:
    """Label the points of a map, (N,) joint ids.

    cloud: a map with z up; labels and intensity are not looked at. Raises DatasetError if empty.
    """
    if len(cloud) == 0:
        raise DatasetError("cannot segment an empty point cloud")
    xyz, voxel = _voxel_means(cloud.xyz, _VOXEL_M)
    height_m = xyz[:, 2] - GroundGrid.of(xyz, _GROUND_CELL_M).at(xyz)
    shape = LocalShape.of(xyz, _NEIGHBOURS, _REACH_VOXELS * _VOXEL_M)
    label = np.full(len(xyz), IGNORE, np.uint8)

    ground = (np.abs(height_m) < 0.12) | (
        (np.abs(height_m) < 0.35) & (shape.normal_z > 0.9) & (shape.scattering < 0.3)
    )
    label[ground] = _classify_ground(xyz[ground])
    standing = np.flatnonzero(~ground & (height_m > 0))
    if len(standing) == 0:
        return label[voxel]
    label[standing] = _classify_walls(xyz[standing], height_m[standing])
    rest = standing[label[standing] == IGNORE]
    label[rest] = _classify_things(xyz[rest], height_m[rest], shape.scattering[rest])
    return label[voxel]


def _classify_ground(xyz: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Road or terrain: rough is what is far rougher than most of this map's ground.

    A fixed threshold would not do, because sensors and pose errors differ.
    """
    if len(xyz) == 0:
        return np.empty(0, np.uint8)
    thickness_m = LocalShape.of(xyz, neighbours=32, radius_m=1.2).thickness_m
    rough = thickness_m > 4.0 * np.percentile(thickness_m, 40)
    return np.where(rough, TERRAIN, ROAD).astype(np.uint8)


def _classify_walls(xyz: NDArray[np.floating], height_m: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Building and barrier among points above the ground: tall columns that stand in a line.

    Seen from above and at a coarse scale, since façades are rough in themselves (recesses, blurred
    poses) and only their course tells them from trees.
    """
    label = np.full(len(xyz), IGNORE, np.uint8)
    index = ((xyz[:, :2] - xyz[:, :2].min(axis=0)) / _COLUMN_M).astype(np.int64)
    shape = tuple(index.max(axis=0) + 1)
    columns, column = np.unique(np.ravel_multi_index(tuple(index.T), shape), return_inverse=True)
    base, top = _extremes(height_m, column)
    tall = (top - base > 1.0) & (top > 1.5)
    raster = np.zeros(shape, bool)
    raster.ravel()[columns[tall]] = True
    in_line = tall.copy()
    in_line[tall] = _stands_in_line(raster)
    coarse, voxel = _voxel_means(xyz, _WALL_VOXEL_M)
    local = LocalShape.of(coarse, _NEIGHBOURS, _REACH_VOXELS * _WALL_VOXEL_M)
    scattering = local.scattering[voxel]
    members = np.flatnonzero(in_line[column] & (scattering < _FOLIAGE_SCATTERING))
    if len(members) == 0:
        return label
    things = Components.of(xyz[members], height_m[members])
    long = (things.length_m > 3.0) & (things.mean(scattering[members]) < _WALL_SCATTERING)
    building = long & (things.top_m > 2.2)
    barrier = long & ~building & (things.width_m < 0.8)
    label[members] = np.select([building, barrier], [BUILDING, BARRIER], IGNORE)[things.component]
    return label


def _stands_in_line(raster: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether each occupied cell, in raster order, continues to one side and has open flanks."""
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
    flanks = (filled[(best + quarter) % len(angles), cell]
              + filled[(best - quarter) % len(angles), cell]) / 2  # fmt: skip
    return (filled[best, cell] > 0.8) & (flanks < 0.55)


def _classify_things(
    xyz: NDArray[np.floating], height_m: NDArray[np.floating], scattering: NDArray[np.floating]
) -> NDArray[np.uint8]:
    """Pole, car and vegetation among what is no ground and no wall, by the size of each thing."""
    if len(xyz) == 0:
        return np.empty(0, np.uint8)
    things = Components.of(xyz, height_m)
    scattering = things.mean(scattering)
    tall_m = things.top_m - things.base_m
    pole = (things.length_m < 0.8) & (tall_m > 1.2) & (things.top_m > 1.5)
    car = (
        ((things.length_m > 2.5) & (things.length_m < 6.5))
        & ((things.width_m > 1.0) & (things.width_m < 2.7))
        & ((things.top_m > 1.1) & (things.top_m < 2.2) & (things.base_m < 0.8))
    )
    vegetation = (scattering > 0.25) & (things.size > 5) & (things.top_m > 0.5)
    kinds = np.select([pole, car, vegetation], [POLE, CAR, VEGETATION], IGNORE).astype(np.uint8)
    return kinds[things.component]


def _voxel_means(
    xyz: NDArray[np.floating], voxel_m: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Mean (V, 3) of each occupied voxel, and the voxel (N,) of each point."""
    _, voxel = np.unique(voxel_keys(xyz, voxel_m), return_inverse=True)
    count = np.bincount(voxel)
    return np.stack([np.bincount(voxel, axis) / count for axis in xyz.T], axis=1), voxel


@dataclass(frozen=True)
class Components:
    """Connected components of points, and the extent of each.

    component: (N,) index into the other arrays, which are (C,): number of points, length and
    width of the horizontal footprint, lowest and highest point above the ground.
    """

    component: NDArray[np.integer]
    size: NDArray[np.integer]
    length_m: NDArray[np.floating]
    width_m: NDArray[np.floating]
    base_m: NDArray[np.floating]
    top_m: NDArray[np.floating]

    @classmethod
    def of(cls, xyz: NDArray[np.floating], height_m: NDArray[np.floating]) -> Components:
        """Link points (N, 3) whose voxels of `_LINK_M` touch, N > 0."""
        component = _link(xyz)
        size = np.bincount(component)

        def mean(values: NDArray) -> NDArray[np.float64]:
            return np.bincount(component, values) / size

        x, y = xyz[:, 0] - mean(xyz[:, 0])[component], xyz[:, 1] - mean(xyz[:, 1])[component]
        xx, yy, xy = mean(x * x), mean(y * y), mean(x * y)
        middle, spread = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
        # A uniform bar of length L has the variance L^2 / 12.
        length, width = (np.sqrt(12 * np.maximum(middle + s * spread, 0)) for s in (1, -1))
        return cls(component, size, length, width, *_extremes(height_m, component))

    def mean(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Mean of each component's values (N,)."""
        return np.bincount(self.component, values) / self.size


def _extremes(
    values: NDArray[np.floating], group: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Least and greatest value of each group."""
    least, greatest = np.full(group.max() + 1, np.inf), np.full(group.max() + 1, -np.inf)
    np.minimum.at(least, group, values)
    np.maximum.at(greatest, group, values)
    return least, greatest


def _link(xyz: NDArray[np.floating]) -> NDArray[np.int32]:
    """Component (N,) of each point, by the 26-neighbourhood of occupied voxels."""
    index = np.floor(xyz / _LINK_M).astype(np.int64)
    voxels, voxel = np.unique(index, axis=0, return_inverse=True)
    pairs = cKDTree(voxels).query_pairs(1.8, output_type="ndarray")  # sqrt(3): across a corner
    graph = coo_matrix((np.ones(len(pairs), bool), pairs.T), shape=(len(voxels), len(voxels)))
    return connected_components(graph, directed=False)[1][voxel.ravel()]
