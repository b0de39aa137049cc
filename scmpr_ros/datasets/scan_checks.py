"""Notice scans that would make a map silently wrong."""

from __future__ import annotations

import numpy as np

from scmpr_ros.errors import ShapeError
from scmpr_ros.records import PointCloud

_IMPOSSIBLE_RANGE_M = 300.0
"""In centimetres, a street is farther than that in the median; in metres, nothing is."""


def check_units(scan: PointCloud) -> None:
    """Raise ShapeError if half of a scan's points are farther away than any LiDAR sees."""
    ranges = np.linalg.norm(scan.xyz.astype(np.float64), axis=1)
    median = float(np.median(ranges)) if len(ranges) else 0.0
    if not median <= _IMPOSSIBLE_RANGE_M:
        raise ShapeError(
            f"half of the points are farther than {median:.0f} m from the sensor: points must be "
            "in metres, and in the frame of the sensor"
        )
