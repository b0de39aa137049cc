"""Camera images with mask and depth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.records import CameraModel
from scmpr_ros.stages import stage
from scmpr_ros.town.sensors.development import develop
from scmpr_ros.town.sensors.scene import Scene
from scmpr_ros.town.sensors.shading import RaySamples, nearby_lamps, render_rays

Array = NDArray[np.floating]
Rng = np.random.Generator

_SECOND_RAY = np.float32(0.45)
"""Offset to the right and down of the second ray of edge pixels, in pixels."""
_HEADLIGHT_INTENSITY = (7.0, 6.6, 6.0)


@dataclass(frozen=True)
class RenderedImage:
    """An image with the labels and depth of its pixels.

    rgb: (H, W, 3) uint8 sRGB. mask: (H, W) uint8 joint ids. depth: (H, W) float32, metres along the
    optical axis, inf for sky.
    """

    rgb: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    depth: Array


def render_image(
    scene: Scene, camera: CameraModel, T_world_camera: NDArray[np.floating], rng: Rng
) -> RenderedImage:
    """Render a camera's view from a pose, with the mask and depth of the same rays.

    Each pixel gets one ray through its centre. Pixels on edges and in foliage get a second one
    against aliasing, which reuses the shadow of the first; lens blur does the rest. Inside surfaces
    mip-mapping suffices.
    """
    shape = (camera.height, camera.width)
    v, u = (a.ravel().astype(np.float32) for a in np.mgrid[0 : shape[0], 0 : shape[1]])
    lamps = nearby_lamps(scene, T_world_camera[:3, 3], _headlights(T_world_camera))
    first, slant = _render_points(scene, camera, T_world_camera, u, v, lamps, rng, shape)
    radiance, depth = first.radiance, first.hits.distance / slant
    with stage("edges"):
        edge = _edge_pixels(first, depth, shape, scene.textures.is_cut)
    second, _ = _render_points(
        scene, camera, T_world_camera, u[edge] + _SECOND_RAY, v[edge] + _SECOND_RAY, lamps, rng,
        sunlit=first.sunlit[edge],
    )  # fmt: skip
    radiance[edge] = (radiance[edge] + second.radiance) / 2
    with stage("development"):
        rgb = develop(radiance.reshape(*shape, 3), scene.condition, rng)
    return RenderedImage(rgb, first.hits.label.reshape(shape), depth.reshape(shape))


def _headlights(T_world_camera: NDArray[np.floating]) -> Array:
    """Low beams of the car that carries the camera (2, 10), ahead of and below the camera."""
    R, t = T_world_camera[:3, :3], T_world_camera[:3, 3]
    axis = R @ np.array([0.0, 0.06, 0.998])
    return np.array(
        [[*(t + R @ np.array([x, 1.0, 1.3])), *axis, *_HEADLIGHT_INTENSITY, np.cos(np.radians(55))]
         for x in (-0.6, 0.6)], np.float32,
    )  # fmt: skip


def _render_points(
    scene: Scene, camera: CameraModel, T_world_camera: NDArray[np.floating], u: Array, v: Array,
    lamps: Array, rng: Rng, shape: tuple[int, int] | None = None, sunlit: Array | None = None,
) -> tuple[RaySamples, Array]:  # fmt: skip
    """Render one ray through each image point (u, v); also returns their length at unit depth."""
    local = np.stack(
        [(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones_like(u)], axis=1
    ).astype(np.float32)
    slant = np.sqrt(np.einsum("ij,ij->i", local, local))
    direction = (local / slant[:, None]) @ T_world_camera[:3, :3].T.astype(np.float32)
    origin = T_world_camera[:3, 3].astype(np.float32)
    direction = np.ascontiguousarray(direction)
    return render_rays(scene, origin, direction, 1.0 / camera.fx, lamps, rng, shape, sunlit), slant


def _edge_pixels(
    samples: RaySamples, depth: Array, shape: tuple[int, int], is_cut: NDArray[np.bool_]
) -> NDArray[np.intp]:
    """Indices of pixels on edges between surfaces or in depth, which need a second ray."""
    hits = samples.hits
    facing = np.round(hits.facet * 3).astype(np.int64) @ np.array([1, 8, 64])
    surface = hits.material.astype(np.int64) * 4096 + facing
    is_sky = np.isinf(hits.distance)
    foliage = is_cut[hits.material] & ~is_sky
    surface[is_sky], surface[foliage] = -1, -2
    return np.flatnonzero(_edges(surface.reshape(shape), depth.reshape(shape)))


def _edges(surface: NDArray[np.int64], depth: Array) -> NDArray[np.bool_]:
    """Pixels (H, W) that differ from a neighbour in surface, or in depth by more than 12 %."""
    edge = np.zeros(surface.shape, bool)
    disparity = 1.0 / depth
    for axis in (0, 1):
        ahead = (slice(1, None), slice(None)) if axis == 0 else (slice(None), slice(1, None))
        back = (slice(None, -1), slice(None)) if axis == 0 else (slice(None), slice(None, -1))
        jump = np.abs(disparity[ahead] - disparity[back]) > 0.12 * disparity[ahead]
        step = (surface[ahead] != surface[back]) | jump
        edge[ahead] |= step
        edge[back] |= step
    return edge
