"""The truth of panoramas: what is on the ground, and scans that agree with it."""

from __future__ import annotations

import numpy as np
import pytest

from scmpr_ros.geometry import AngularGrid, transform_points
from scmpr_ros.semantics import IS_DYNAMIC
from scmpr_ros.town.panorama_truth import StaticTown
from scmpr_ros.town.sensors.lidar import LidarConfig
from scmpr_ros.town.traversal import Traversal
from scmpr_ros.town.world import Town


@pytest.fixture(scope="module")
def static(town: Town) -> StaticTown:
    return StaticTown(town)


def test_the_ground_is_as_far_as_it_is_below(static: StaticTown, traversal: Traversal) -> None:
    T = traversal.T_world_base[60]
    position, grid = T[:3, 3] + [0, 0, 2.0], AngularGrid(8, 64, 0.0, -64.0)
    truth = static.panorama(position, grid)
    assert truth.range_m[-1] == pytest.approx(2 / np.sin(np.radians(60.0)), rel=0.1)
    hits = position + truth.range_m[..., None] * grid.directions()
    seen = np.isfinite(truth.range_m)
    assert not IS_DYNAMIC[truth.label[seen]].any()
    height = static.town.ground.relief(hits[seen][:, :2])
    assert (hits[seen][:, 2] > height - 0.5).all()


def test_scans_lie_on_what_rays_hit(static: StaticTown, traversal: Traversal) -> None:
    poses = traversal.T_world_base[60:62]
    scans = list(static.scans(poses, LidarConfig(rings=16, columns=256, range_noise_m=0.0)))
    assert len(scans) == 2
    (scan, T), _ = scans
    assert scan.label is not None and not IS_DYNAMIC[scan.label].any()
    points = transform_points(T, scan.xyz) - T[:3, 3]
    near = np.linalg.norm(points, axis=1) < 15
    hits = static.cast(T[:3, 3], points[near])
    off = np.abs(hits.range_m - np.linalg.norm(points[near], axis=1))
    assert np.median(off) < 0.01 and (off < 0.3).mean() > 0.95
