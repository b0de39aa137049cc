"""A point cloud map has static classes only, and at least one point."""

from __future__ import annotations

import numpy as np
import pytest

from scmpr_ros.errors import DatasetError, ShapeError
from scmpr_ros.lidar.point_cloud_map import PointCloudMap
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import CLASSES, DYNAMIC_IDS, class_id

XYZ = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_dynamic_classes_are_dropped() -> None:
    label = np.arange(len(CLASSES), dtype=np.uint8)
    xyz = np.random.default_rng(0).normal(size=(len(label), 3)).astype(np.float32)
    origin = np.array([100.0, 200.0, 0.0])
    point_map = PointCloudMap.of(PointCloud(xyz, label, None, origin))
    assert point_map.cloud.label is not None
    assert set(label) - set(point_map.cloud.label) == set(DYNAMIC_IDS)
    np.testing.assert_array_equal(point_map.cloud.origin, origin)
    assert point_map.trajectory is None


def test_unlabelled_cloud_is_refused() -> None:
    with pytest.raises(DatasetError, match="needs a class for each point"):
        PointCloudMap.of(PointCloud(XYZ))


def test_all_dynamic_is_refused() -> None:
    with pytest.raises(DatasetError, match="none of the map's 2 points is static"):
        PointCloudMap.of(PointCloud(XYZ, np.full(2, class_id("car"), np.uint8)))


@pytest.mark.parametrize(
    "trajectory", [np.zeros((4, 2)), np.zeros((0, 3)), np.full((2, 3), np.nan)]
)
def test_bad_trajectory_is_refused(trajectory) -> None:
    with pytest.raises(ShapeError, match="trajectory"):
        PointCloudMap.of(PointCloud(XYZ, np.full(2, class_id("road"), np.uint8)), trajectory)
