"""Labelled points in the image: what hides what, by hand and against the town's own masks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scmpr_ros.datasets.projection import OcclusionConfig, project_labels, project_visible
from scmpr_ros.errors import ConfigError, ShapeError
from scmpr_ros.geometry import invert, transform_points
from scmpr_ros.records import CameraModel
from scmpr_ros.semantics import IGNORE, IS_DYNAMIC, class_id
from scmpr_ros.town.drives import DriveConfig
from scmpr_ros.town.sensors.lidar import LidarConfig
from scmpr_ros.town.sensors.rig import Rig
from scmpr_ros.town.streets.network import StreetNetworkConfig
from scmpr_ros.town.traversal import Traversal, TraversalConfig
from scmpr_ros.town.world import Town, TownConfig

CAMERA = CameraModel(1240, 376, 720.0, 720.0, 620.0, 180.0)
ROAD, BUILDING, POLE = class_id("road"), class_id("building"), class_id("pole")


def wall(depth_m: float, half_width_m: float, step_m: float) -> np.ndarray:
    """Points (N, 3) across the optical axis, four metres high."""
    across = np.arange(-half_width_m, half_width_m, step_m)
    x, y = np.meshgrid(across, np.arange(-2, 2, step_m))
    return np.stack([x.ravel(), y.ravel(), np.full(x.size, depth_m)], axis=1)


def test_a_wall_of_points_hides_points_behind_it() -> None:
    """Points of the near wall are 11 pixels apart; the far wall would show through the gaps."""
    near, far = wall(10, 2, 0.15), wall(14, 12, 0.15)
    uv, visible = project_visible(np.concatenate([near, far]), CAMERA)
    visible_near, visible_far = visible[: len(near)], visible[len(near) :]
    assert visible_near.all()
    edge_m = 2 * 14 / 10
    inside = np.abs(uv[len(near) :, 1] - CAMERA.cy) < 720 * 1.9 / 10
    assert not visible_far[inside & (np.abs(far[:, 0]) < edge_m - 0.3)].any()
    assert visible_far[inside & (np.abs(far[:, 0]) > edge_m + 0.3) & (np.abs(far[:, 0]) < 11)].all()


def test_a_road_does_not_hide_itself() -> None:
    x, z = np.meshgrid(np.arange(-4, 4, 0.1), np.arange(5, 30, 0.1))
    road = np.stack([x.ravel(), np.full(x.size, 1.65), z.ravel()], axis=1)
    _, visible = project_visible(road, CAMERA)
    _, inside = CAMERA.project(road)
    assert inside.sum() > 15_000
    np.testing.assert_array_equal(visible, inside)


def test_points_outside_are_not_visible() -> None:
    points = np.array([[0, 0, 10.0], [0, 0, -10], [20, 0, 10], [0, 0.0, 90]])
    uv, visible = project_visible(points, CAMERA)
    assert visible.tolist() == [True, False, False, False]
    assert uv[0].tolist() == [620, 180]
    _, visible = project_visible(points[3:], CAMERA, OcclusionConfig(max_depth_m=100.0))
    assert visible.all()


def test_no_points_give_an_empty_mask() -> None:
    mask = project_labels(np.zeros((0, 3)), np.zeros(0, np.uint8), CAMERA)
    assert mask.shape == (376, 1240) and not mask.any()


def test_each_visible_point_labels_its_pixel() -> None:
    points = np.array([[0, 0, 10.0], [0, 0, 10.2], [-5, 0, 10], [5, 0, 10]])
    label = np.array([POLE, ROAD, BUILDING, ROAD], np.uint8)
    mask = project_labels(points, label, CAMERA)
    assert mask[180, 620] == POLE, "the nearer point wins"
    assert mask[180, 260] == BUILDING and mask[180, 980] == ROAD
    assert np.count_nonzero(mask) == 3 and mask.dtype == np.uint8


def test_pixels_between_classes_stay_empty() -> None:
    points = np.array([[0, 0, 10.0], [10 / 720, 0, 10], [20 / 720, 0, 10], [30 / 720, 0, 10]])
    mask = project_labels(points, np.array([POLE, POLE, ROAD, ROAD], np.uint8), CAMERA)
    assert mask[180, 620:624].tolist() == [POLE, IGNORE, IGNORE, ROAD]


def test_town_points_agree_with_town_masks() -> None:
    """A scan from where the camera is, and many scans, as a drive accumulates them."""
    town = Town.generate(3, TownConfig(StreetNetworkConfig(columns=2, rows=2)))
    config = TraversalConfig(condition="overcast", season="summer", drive=DriveConfig(length_m=90))
    rig = Rig.named("kitti")
    traversal = Traversal.plan(town, config, rig, LidarConfig())
    image = traversal.frame(44).image
    assert image is not None
    scan_only = replace(traversal, config=replace(config, images=False))
    scans = {i: scan_only.frame(i).scan for i in (32, 38, 44, 50, 56, 62)}
    T_world_camera = traversal.T_world_base[44] @ rig.T_base_camera

    def points_of(*frames: int) -> tuple[np.ndarray, np.ndarray]:
        """Still points in the camera's frame; what moves is elsewhere by the time of the image."""
        world = np.concatenate(
            [transform_points(traversal.T_world_lidar[i], scans[i].xyz) for i in frames]
        )
        label = np.concatenate([scans[i].label for i in frames])
        still = ~IS_DYNAMIC[label]
        return transform_points(invert(T_world_camera), world[still]), label[still]

    for frames, at_least, share in (((44,), 5_000, 0.93), (tuple(scans), 60_000, 0.8)):
        points, label = points_of(*frames)
        uv, visible = project_visible(points, rig.camera)
        u, v = np.round(uv[visible]).astype(int).T
        z = points[visible, 2]
        # The image's own depth tells which of these points its pixels really show: not those that
        # lie behind the bars of a fence or beside a leaf.
        seen = np.abs(image.depth[v, u] - z) < 0.1 + 0.02 * z
        assert seen.sum() > at_least and seen.mean() > share
        assert (image.mask[v, u] == label[visible])[seen].mean() >= 0.99
        sparse = project_labels(points, label, rig.camera)
        painted = (sparse != IGNORE) & (image.mask != IGNORE) & ~IS_DYNAMIC[image.mask]
        assert (sparse == image.mask)[painted].mean() >= 0.98

    points, _ = points_of(*scans)
    shares = []
    for occlusion in (OcclusionConfig(), OcclusionConfig(margin_m=1e6)):
        uv, visible = project_visible(points, rig.camera, occlusion)
        u, v = np.round(uv[visible]).astype(int).T
        z = points[visible, 2]
        shares.append((np.abs(image.depth[v, u] - z) < 0.1 + 0.02 * z).mean())
    assert shares[0] > shares[1] + 0.05, "points behind others are left out"


def test_bad_input() -> None:
    with pytest.raises(ShapeError, match=r"labels of projected points: expected \(2,\), got \(3,"):
        project_labels(np.ones((2, 3)), np.zeros(3, np.uint8), CAMERA)
    with pytest.raises(ConfigError, match="patch_m=-1 must not be negative"):
        OcclusionConfig(patch_m=-1)
    with pytest.raises(ConfigError, match="min_grazing_deg=0"):
        OcclusionConfig(min_grazing_deg=0)
    with pytest.raises(ConfigError, match="max_window_px=0"):
        OcclusionConfig(max_window_px=0)
