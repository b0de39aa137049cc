"""Projection of labelled points: occlusion, sparse masks, bad input."""

from __future__ import annotations

import numpy as np
import pytest

from scmpr_ros.datasets.projection import OcclusionConfig, project_labels, project_visible
from scmpr_ros.errors import ConfigError, ShapeError
from scmpr_ros.records import CameraModel
from scmpr_ros.semantics import IGNORE, class_id

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


def test_bad_input() -> None:
    with pytest.raises(ShapeError, match=r"labels of projected points: expected \(2,\), got \(3,"):
        project_labels(np.ones((2, 3)), np.zeros(3, np.uint8), CAMERA)
    with pytest.raises(ConfigError, match="patch_m=-1 must not be negative"):
        OcclusionConfig(patch_m=-1)
    with pytest.raises(ConfigError, match="min_grazing_deg=0"):
        OcclusionConfig(min_grazing_deg=0)
    with pytest.raises(ConfigError, match="max_window_px=0"):
        OcclusionConfig(max_window_px=0)
