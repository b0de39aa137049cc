"""The LiDAR map that places are taken from: labelled, and without anything that can drive away."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import DatasetError, ShapeError
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import IS_DYNAMIC, label_confusion


@dataclass(frozen=True)
class PointCloudMap:
    """A static, labelled point cloud, and where the sensor went if that is known.

    cloud: points of static (or unknown) classes, z up; `cloud.origin` plus `cloud.xyz` are the
        coordinates of the map frame.
    trajectory: (S, 3) float64 sensor positions in driving order, relative to `cloud.origin` like
        `cloud.xyz`, or None.
    confusion: how the labels differ from the truth, see `semantics.label_confusion`.
    """

    cloud: PointCloud
    trajectory: NDArray[np.float64] | None
    confusion: NDArray[np.float32]

    @classmethod
    def of(
        cls,
        cloud: PointCloud,
        trajectory: NDArray[np.float64] | None = None,
        confusion: NDArray[np.float32] | None = None,
    ) -> PointCloudMap:
        """Take the dynamic classes, parked ones too, out of a labelled cloud.

        Its labels are the truth unless `confusion` says otherwise.

        Raises DatasetError where the cloud has no labels or nothing static is left, ShapeError
        for a trajectory that is not (S, 3) or not finite.
        """
        if cloud.label is None:
            raise DatasetError("a map needs a class for each point: label it or use segment_points")
        if trajectory is not None and (
            trajectory.ndim != 2 or trajectory.shape[1] != 3 or len(trajectory) == 0
            or not np.isfinite(trajectory).all()
        ):  # fmt: skip
            raise ShapeError.of("trajectory", "(S, 3) finite positions, S > 0", trajectory.shape)
        static = cloud.select(~IS_DYNAMIC[cloud.label])
        if len(static) == 0:
            raise DatasetError(
                f"no static point among the map's {len(cloud)}: is it the right file, and are its "
                "labels of the stated label set?"
            )
        return cls(static, trajectory, label_confusion() if confusion is None else confusion)
