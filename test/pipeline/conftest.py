"""A small network and a small street, shared by the tests of both flows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scmpr_ros.geometry import AngularGrid
from scmpr_ros.lidar.point_cloud_map import PointCloudMap
from scmpr_ros.methods.scmpr.network import ScmprConfig, ScmprNetwork
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import class_id


@pytest.fixture(scope="session")
def network() -> ScmprNetwork:
    torch.manual_seed(0)
    config = ScmprConfig(
        view=AngularGrid(32, 64, 12.0, -15.0, 80.0), panorama=AngularGrid(8, 120, 16.0, -16.0)
    )
    return ScmprNetwork(config).eval()


@pytest.fixture(scope="session")
def point_map() -> PointCloudMap:
    """A straight street of 30 m between two walls, recorded from its middle."""
    x, y = np.meshgrid(np.arange(-20, 50, 0.3), np.arange(-6, 6, 0.3))
    ground = np.stack([x.ravel(), y.ravel(), np.full(x.size, -1.7)], 1)
    x, z = np.meshgrid(np.arange(-20, 50, 0.3), np.arange(-1.5, 4, 0.3))
    walls = [np.stack([x.ravel(), np.full(x.size, s * 6.0), z.ravel()], 1) for s in (-1, 1)]
    xyz = np.concatenate([ground, *walls]).astype(np.float32)
    label = np.full(len(xyz), class_id("building"), np.uint8)
    label[: len(ground)] = class_id("road")
    trajectory = np.stack([np.arange(0, 30, 1.0), np.zeros(30), np.zeros(30)], 1)
    origin = np.array([1000.0, 2000.0, 100.0])
    return PointCloudMap.of(PointCloud(xyz, label, origin=origin), trajectory)
