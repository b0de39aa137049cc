"""A scan as a range image, and where in it each of its points lies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import DatasetError
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.lidar.range_view.description import RangeViewDescription
from scmpr_ros.records import PointCloud


@dataclass(frozen=True)
class RangeImage:
    """Nearest point of each cell, and the cell of each point.

    row, column: (N,) cell of each point; points above or below the grid lie in its edge rows.
    range_m: (N,) float32 distance of each point.
    nearest: (height, width) index of the cell's nearest point, -1 for none.
    """

    row: NDArray[np.int64]
    column: NDArray[np.int64]
    range_m: NDArray[np.float32]
    nearest: NDArray[np.int64]

    @classmethod
    def of(cls, xyz: NDArray[np.floating], grid: AngularGrid) -> RangeImage:
        """Project points (N, 3) of the sensor's frame, as RangeNet++ does (Milioto et al., IROS
        2019)."""
        x, y, z = xyz.T.astype(np.float64)
        range_m = np.sqrt(x * x + y * y + z * z)
        elevation = np.arcsin(np.clip(z / np.maximum(range_m, 1e-9), -1, 1))
        row = np.floor(grid.rows(elevation)).clip(0, grid.height - 1).astype(np.int64)
        column = np.floor(grid.columns(np.arctan2(y, x))).clip(0, grid.width - 1).astype(np.int64)
        nearest = np.full((grid.height, grid.width), -1, np.int64)
        far_first = np.argsort(-range_m, kind="stable")  # of several in a cell, the last one stays
        nearest[row[far_first], column[far_first]] = far_first
        return cls(row, column, range_m.astype(np.float32), nearest)

    @property
    def is_return(self) -> NDArray[np.bool_]:
        """(height, width) Cells with a point."""
        return self.nearest >= 0


def network_input(
    scan: PointCloud, image: RangeImage, description: RangeViewDescription
) -> NDArray[np.float32]:
    """The normalised range image (1, C, height, width) of a scan; zero where nothing returned.

    Raises DatasetError if the network needs remission and the scan has none, or one brighter than
    the description's white.
    """
    values = np.empty((len(description.channels), len(scan)), np.float32)
    for row, name in zip(values, description.channels, strict=True):
        row[:] = _channel(name, scan, image, description.remission_white)
    values -= np.array(description.mean, np.float32)[:, None]
    values /= np.array(description.std, np.float32)[:, None]
    pixels = np.where(image.is_return, values[:, image.nearest], 0)
    return np.ascontiguousarray(pixels[None], np.float32)


def _channel(
    name: str, scan: PointCloud, image: RangeImage, white: float
) -> NDArray[np.float32] | float:
    if name == "range":
        return image.range_m
    if name == "remission":
        return _remission(scan, white)
    return 1.0 if name == "mask" else scan.xyz[:, "xyz".index(name)]


def _remission(scan: PointCloud, white: float) -> NDArray[np.float32]:
    if scan.intensity is None:
        raise DatasetError(
            "the range-view network reads remission, but the scan has no intensity: record it, or "
            "use a network without"
        )
    brightest = float(scan.intensity.max(initial=0.0))
    if not 0 <= brightest <= 1.01 * white:
        raise DatasetError(
            f"the scan's intensity goes up to {brightest:g}, but remission_white is {white:g}: set "
            "it to the sensor's largest value, such as 255, in the network's YAML file"
        )
    return scan.intensity / np.float32(white)
