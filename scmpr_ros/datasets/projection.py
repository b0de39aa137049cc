"""Project labelled points into an image: visibility, and a sparse mask of the visible ones.

A cloud has no surfaces, so occlusion is estimated from points. Each point represents a patch of
surface about as wide as the gap to its neighbours: `patch_m`, plus a term that grows with distance
as beams diverge. In the image, the patch is a square window that hides what lies behind it. On a
road seen at a grazing angle, however, far points lie in the windows of near points of the same
surface. So a point r pixels away hides another only if a surface through both would make an angle
of more than `min_grazing_deg` with the line of sight, that is, if it is nearer by

    margin_m + (r + 1) depth / (f tan(min_grazing_deg))
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import ConfigError, ShapeError
from scmpr_ros.records import CameraModel
from scmpr_ros.semantics import IGNORE


@dataclass(frozen=True)
class OcclusionConfig:
    """When a point hides another.

    patch_m: width of the patch around a point; about twice the point spacing of a map.
    patch_deg: growth of the patch with distance; about the angle between a scanner's beams.
    max_window_px: largest width of a patch in the image.
    margin_m: depth difference due to noise and the thickness of surfaces.
    min_grazing_deg: surfaces seen at a smaller angle are not expected to hide others.
    max_depth_m: farther points are dropped: too few points lie in front of them to judge.
    """

    patch_m: float = 0.2
    patch_deg: float = 0.4
    max_window_px: int = 31
    margin_m: float = 0.2
    min_grazing_deg: float = 3.0
    max_depth_m: float = 80.0

    def __post_init__(self) -> None:
        for name in ("patch_m", "patch_deg", "margin_m"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name}={getattr(self, name)} must not be negative")
        if not 0 < self.min_grazing_deg < 90 or not self.max_depth_m > 0:
            raise ConfigError(
                f"min_grazing_deg={self.min_grazing_deg} must lie between 0 and 90 and "
                f"max_depth_m={self.max_depth_m} be positive"
            )
        if self.max_window_px < 1:
            raise ConfigError(f"max_window_px={self.max_window_px} must be at least 1")


def project_visible(
    points_camera: NDArray[np.floating],
    camera: CameraModel,
    config: OcclusionConfig | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Project points and find those that the camera sees.

    points_camera: (N, 3) in the optical frame, metres.
    Returns pixel coordinates (N, 2) as (u, v), and a mask (N,) of the points inside the image that
    no other point hides; coordinates outside the mask are meaningless.
    """
    config = config or OcclusionConfig()
    uv, visible = camera.project(points_camera)
    visible &= points_camera[:, 2] <= config.max_depth_m
    inside = np.flatnonzero(visible)
    columns, rows = np.round(uv[inside]).astype(np.intp).T
    depth = points_camera[inside, 2].astype(np.float32)
    visible[inside] = ~_hidden(rows, columns, depth, camera, config)
    return uv, visible


def project_labels(
    points_camera: NDArray[np.floating],
    label: NDArray[np.uint8],
    camera: CameraModel,
    config: OcclusionConfig | None = None,
) -> NDArray[np.uint8]:
    """Project labels into a sparse mask (H, W), IGNORE at pixels without a visible point.

    points_camera: (N, 3) in the optical frame, metres. label: (N,) joint ids.
    Each point sets one pixel; the nearest point wins. Pixels next to one of another class are
    dropped: calibrations are not accurate enough to tell which class they show.
    """
    if label.shape != (len(points_camera),):
        raise ShapeError.of("labels of projected points", f"({len(points_camera)},)", label.shape)
    uv, visible = project_visible(points_camera, camera, config)
    drawn = np.flatnonzero(visible)
    drawn = drawn[np.argsort(-points_camera[drawn, 2], kind="stable")]  # the nearest comes last
    columns, rows = np.round(uv[drawn]).astype(np.intp).T
    mask = np.full((camera.height, camera.width), IGNORE, np.uint8)
    mask[rows, columns] = label[drawn]
    window = np.ones((3, 3), np.uint8)
    lowest = cv2.erode(np.where(mask == IGNORE, np.uint8(255), mask), window)
    return np.where(lowest == cv2.dilate(mask, window), mask, np.uint8(IGNORE))


def _hidden(
    rows: NDArray[np.intp],
    columns: NDArray[np.intp],
    depth: NDArray[np.float32],
    camera: CameraModel,
    config: OcclusionConfig,
) -> NDArray[np.bool_]:
    """Find the points (N,) that lie behind the patch of another."""
    focal_px = max(camera.fx, camera.fy)
    patch_px = focal_px * (config.patch_m / depth + np.radians(config.patch_deg))
    reach_px = (np.minimum(patch_px, config.max_window_px) / 2).astype(np.intp)
    slope_m = depth / (focal_px * np.tan(np.radians(config.min_grazing_deg)))
    far_to_near = np.argsort(-depth, kind="stable")
    hidden = np.zeros(len(depth), np.bool_)
    for reach in range(int(reach_px.max(initial=0)) + 1):
        drawn = far_to_near[reach_px[far_to_near] >= reach]
        nearest = np.full((camera.height, camera.width), np.inf, np.float32)
        nearest[rows[drawn], columns[drawn]] = depth[drawn]  # the last one, the nearest, wins
        window = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
        behind_m = depth - cv2.erode(nearest, window)[rows, columns]
        hidden |= behind_m > config.margin_m + (reach + 1) * slope_m
    return hidden
