"""The labelled LiDAR map of static classes that places are rendered from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import DatasetError, ShapeError
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import IS_DYNAMIC, label_confusion


@dataclass(frozen=True)
class PointCloudMap:
    """A static, labelled point cloud with the trajectory of the sensor, if known.

    cloud: points of static or unknown classes, z up, in the map frame minus `cloud.origin`.
    trajectory: (S, 3) float64 sensor positions in driving order, relative to `cloud.origin`, or
        None.
    confusion: confusion matrix of the labels, see `semantics.label_confusion`.
    moving: points of dynamic classes, which are not part of the map, but where no place can be.
    """

    cloud: PointCloud
    trajectory: NDArray[np.float64] | None
    confusion: NDArray[np.float32]
    moving: PointCloud

    @classmethod
    def of(
        cls,
        cloud: PointCloud,
        trajectory: NDArray[np.float64] | None = None,
        confusion: NDArray[np.float32] | None = None,
    ) -> PointCloudMap:
        """Build a map from a labelled cloud by dropping dynamic classes, moving or parked.

        confusion: by default the labels are taken to be correct.

        Raises DatasetError if the cloud has no labels or no static points, ShapeError for a
        trajectory that is not (S, 3) or not finite.
        """
        if cloud.label is None:
            raise DatasetError("a map needs a class for each point: label it or use segment_points")
        if trajectory is not None and (
            trajectory.ndim != 2 or trajectory.shape[1] != 3 or len(trajectory) == 0
            or not np.isfinite(trajectory).all()
        ):  # fmt: skip
            raise ShapeError.of("trajectory", "(S, 3) finite positions, S > 0", trajectory.shape)
        is_dynamic = IS_DYNAMIC[cloud.label]
        static = cloud.select(~is_dynamic)
        if len(static) == 0:
            raise DatasetError(
                f"none of the map's {len(cloud)} points is static: check that it is the right file "
                "and that label_set is correct"
            )
        return cls(
            static, trajectory, label_confusion() if confusion is None else confusion,
            cloud.select(is_dynamic),
        )  # fmt: skip
