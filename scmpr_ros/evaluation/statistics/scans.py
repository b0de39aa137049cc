"""Statistics of single scans of a rotating LiDAR."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.evaluation.statistics.distribution import Axis, Distribution, Measurement
from scmpr_ros.lidar.ground import GroundGrid
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import NUM_CLASSES

ELEVATION = Axis(-25.0, 3.0, 64, "deg")
RANGE = Axis(0.0, 80.0, 40, "m")
HEIGHT = Axis(-1.0, 9.0, 50, "m")
INTENSITY = Axis(0.0, 1.0, 64, "0 to 1")
CLASSES = Axis.of_classes(NUM_CLASSES)

_NEAR_M = (3.0, 10.0)  # there, neighbouring rings on the ground are at most 0.5 m apart
_GROUND_M = 0.3
_CELL_M = 1.0
_CELL_POINTS = 20


def measure_scan(scan: PointCloud, nominal_beams: int) -> Measurement:
    """Measure a scan in the LiDAR frame, z up.

    nominal_beams: beams of the sensor per rotation, rings times columns.
    """
    xyz = scan.xyz
    numbers = {
        "returns per scan": float(len(xyz)),
        "beams without return": 1 - len(xyz) / nominal_beams,
    }
    if not len(xyz):
        return Measurement(numbers)
    distance = np.linalg.norm(xyz, axis=1)
    elevation = np.degrees(np.arcsin(np.clip(xyz[:, 2] / np.maximum(distance, 1e-6), -1, 1)))
    height = xyz[:, 2] - GroundGrid.of(xyz).at(xyz)
    distributions = {
        "elevation": Distribution.of(elevation, ELEVATION),
        "range": Distribution.of(distance, RANGE),
        "height": Distribution.of(height, HEIGHT),
    }
    if scan.intensity is not None:
        distributions["intensity"] = Distribution.of(scan.intensity, INTENSITY)
    if scan.label is not None:
        distributions["point classes"] = Distribution.of(scan.label, CLASSES)
    numbers["ground roughness"] = ground_roughness(xyz, height)
    return Measurement(numbers, distributions)


def ground_roughness(xyz: NDArray[np.floating], height: NDArray[np.floating]) -> float:
    """Median distance, in metres, of ground points near the sensor from locally fitted planes.

    xyz: (N, 3). height: (N,) above the ground. Points 3 to 10 m away and within 0.3 m of the ground
    are used; planes are fitted to cells of 1 m with at least 20 points. NaN without such cells.
    """
    distance = np.linalg.norm(xyz[:, :2], axis=1)
    near = (distance > _NEAR_M[0]) & (distance < _NEAR_M[1]) & (np.abs(height) < _GROUND_M)
    points = xyz[near].astype(np.float64)
    column, row = np.floor(points[:, :2] / _CELL_M).astype(np.int64).T
    _, cell, count = np.unique(column * 4096 + row, return_inverse=True, return_counts=True)
    dense = count >= _CELL_POINTS
    if not dense.any():
        return float("nan")
    centre = np.stack([np.bincount(cell, axis) for axis in points.T], axis=1) / count[:, None]
    local = points - centre[cell]
    x, y, z = local.T
    xx, xy, yy = (np.bincount(cell, w) for w in (x * x, x * y, y * y))
    xz, yz = (np.bincount(cell, w) for w in (x * z, y * z))
    determinant = np.maximum(xx * yy - xy * xy, 1e-12)
    slope_x, slope_y = (yy * xz - xy * yz) / determinant, (xx * yz - xy * xz) / determinant
    residual = (z - slope_x[cell] * x - slope_y[cell] * y) / np.sqrt(
        1 + slope_x[cell] ** 2 + slope_y[cell] ** 2
    )
    return float(np.median(np.abs(residual[dense[cell]])))
