"""Labelled points into the image: which of them the camera sees, and the sparse mask they give.

A cloud has no surfaces, so what hides what is judged from points alone. Each point stands for a
patch of surface, about as wide as the gap to its neighbours: `patch_m`, and more with the distance
as beams spread. In the image the patch is a square window that shrinks as the point moves away, and
it hides what lies behind it. A road seen from low above, though, is one surface whose far points
lie just above its near ones. So a point r pixels away hides another only where a surface through
both would be steeper to the line of sight than `min_grazing_deg`: it must be nearer by

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

    patch_m: width of the patch that a point stands for; about twice the spacing of a map.
    patch_deg: what its width gains with distance, as seen from the camera; about the angle between
        a scanner's beams.
    max_window_px: patches of points near the camera are not drawn wider than this.
    margin_m: depth that noise and the thickness of a surface may make up.
    min_grazing_deg: surfaces seen at a flatter angle than this may hide themselves.
    max_depth_m: points further away are not used: too few lie before them to tell.
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
    """Pixels of points, and which of the points the camera sees.

    points_camera: (N, 3) in the optical frame, metres.
    Returns pixel coordinates (N, 2) as (u, v), and a mask (N,) of the points that lie in the image
    with no other before them; the other rows of the coordinates mean nothing.
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
    """Paint the labels of the visible points: a sparse mask (H, W), IGNORE where no point is.

    points_camera: (N, 3) in the optical frame, metres; label: (N,) joint ids. Each point paints one
    pixel, the nearest one wins. Where points of two classes touch, neither paints: which of them a
    pixel shows is below the accuracy of calibrations.
    """
    if label.shape != (len(points_camera),):
        raise ShapeError.of("labels of projected points", f"({len(points_camera)},)", label.shape)
    uv, visible = project_visible(points_camera, camera, config)
    seen = np.flatnonzero(visible)
    seen = seen[np.argsort(-points_camera[seen, 2], kind="stable")]  # the nearest is painted last
    columns, rows = np.round(uv[seen]).astype(np.intp).T
    mask = np.full((camera.height, camera.width), IGNORE, np.uint8)
    mask[rows, columns] = label[seen]
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
    """Which of the points (N,) of an image lie behind the patch of another."""
    focal_px = max(camera.fx, camera.fy)
    patch_px = focal_px * (config.patch_m / depth + np.radians(config.patch_deg))
    reach_px = (np.minimum(patch_px, config.max_window_px) / 2).astype(np.intp)
    slope_m = depth / (focal_px * np.tan(np.radians(config.min_grazing_deg)))
    far_to_near = np.argsort(-depth, kind="stable")
    hidden = np.zeros(len(depth), np.bool_)
    for reach in range(int(reach_px.max(initial=0)) + 1):
        drawn = far_to_near[reach_px[far_to_near] >= reach]
        nearest = np.full((camera.height, camera.width), np.inf, np.float32)
        nearest[rows[drawn], columns[drawn]] = depth[drawn]  # the last, so nearest, one stays
        window = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
        before = depth - cv2.erode(nearest, window)[rows, columns]
        hidden |= before > config.margin_m + (reach + 1) * slope_m
    return hidden
