"""Projected points of simulated scans against the depth and mask of the simulated image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from scmpr_ros.datasets.projection import OcclusionConfig, project_labels, project_visible
from scmpr_ros.geometry import invert, transform_points
from scmpr_ros.semantics import IGNORE, IS_DYNAMIC
from scmpr_ros.town.traversal import Traversal

FRAME = 44
NEIGHBOURS = (32, 38, 44, 50, 56, 62)


def test_visible_points_agree_with_the_image(traversal: Traversal) -> None:
    """For the scan at the image's pose, and for scans accumulated along the drive."""
    image, camera = traversal.frame(FRAME).image, traversal.rig.camera
    assert image is not None
    scan_only = replace(traversal, config=replace(traversal.config, images=False))
    scans = {number: scan_only.frame(number).scan for number in NEIGHBOURS}
    T_camera_world = invert(traversal.T_world_base[FRAME] @ traversal.rig.T_base_camera)

    def static_points(*numbers: int) -> tuple[np.ndarray, np.ndarray]:
        """Points in the camera frame, and their labels, without moving objects."""
        world = np.concatenate(
            [transform_points(traversal.T_world_lidar[i], scans[i].xyz) for i in numbers]
        )
        label = np.concatenate([scans[i].label for i in numbers])
        static = ~IS_DYNAMIC[label]
        return transform_points(T_camera_world, world[static]), label[static]

    def in_image(uv: np.ndarray, depth_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mask ids at projected points, and whether the image shows the points by its depth."""
        u, v = np.round(uv).astype(int).T
        shown = np.abs(image.depth[v, u] - depth_m) < 0.1 + 0.02 * depth_m
        return image.mask[v, u], shown

    def agreement(sparse: np.ndarray) -> float:
        compared = (sparse != IGNORE) & (image.mask != IGNORE) & ~IS_DYNAMIC[image.mask]
        return float((sparse == image.mask)[compared].mean())

    for numbers, min_points, min_shown in (((FRAME,), 1_200, 0.9), (NEIGHBOURS, 15_000, 0.8)):
        points, label = static_points(*numbers)
        uv, visible = project_visible(points, camera)
        mask, shown = in_image(uv[visible], points[visible, 2])
        assert shown.sum() > min_points and shown.mean() > min_shown
        assert (mask == label[visible])[shown].mean() >= 0.985
        assert agreement(project_labels(points, label, camera)) >= 0.965

    uv, visible = project_visible(points, camera, OcclusionConfig(margin_m=1e6))
    _, shown_without_occlusion = in_image(uv[visible], points[visible, 2])
    assert shown.mean() > shown_without_occlusion.mean() + 0.03
