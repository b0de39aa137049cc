"""A camera image by ray casting: textures, sun with shadows, sky, reflections, sensor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from scmpr_ros.datasets.town.materials import Material, column
from scmpr_ros.datasets.town.sensors.conditions import Condition
from scmpr_ros.datasets.town.sensors.scene import Hits, Scene
from scmpr_ros.records import CameraModel
from scmpr_ros.semantics import class_id

Array = NDArray[np.floating]
Rng = np.random.Generator

SKY = class_id("sky")
_EXTRA_RAYS = np.array([[0.0, -0.36], [0.31, 0.18], [-0.31, 0.18]], np.float32)
"""Where a pixel on an edge gets more rays, in pixels from its centre."""


@dataclass(frozen=True)
class RenderedImage:
    """rgb: (H, W, 3) uint8 sRGB. mask: (H, W) uint8 joint ids. depth: (H, W) float32, metres along
    the optical axis, inf for sky."""

    rgb: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    depth: Array


@dataclass(frozen=True)
class _Samples:
    """What N rays of one camera see: radiance (N, 3), label (N,), depth (N,), and `surface` (N,),
    a number that differs between surfaces that need an edge drawn between them."""

    radiance: Array
    label: NDArray[np.uint8]
    depth: Array
    surface: NDArray[np.int64]


def render_image(
    scene: Scene,
    camera: CameraModel,
    T_world_camera: NDArray[np.floating],
    condition: Condition,
    rng: Rng,
) -> RenderedImage:
    """Render what a camera sees at a pose, with the mask and depth of the same rays.

    Each pixel gets one ray; pixels on edges and in foliage, where that would alias, get three more.
    Inside a surface the mip-mapped textures need no more than one.
    """
    shape = (camera.height, camera.width)
    v, u = (a.ravel().astype(np.float32) for a in np.mgrid[0 : shape[0], 0 : shape[1]])
    centre = _sample(scene, camera, T_world_camera, condition, u, v, rng)
    radiance, mask, depth = centre.radiance, centre.label, centre.depth
    edge = np.flatnonzero(_edges(centre.surface.reshape(shape), depth.reshape(shape)))
    if len(edge):
        ue, ve = (a[edge, None] + _EXTRA_RAYS[:, i] for i, a in enumerate((u, v)))
        extra = _sample(scene, camera, T_world_camera, condition, ue.ravel(), ve.ravel(), rng)
        share = extra.radiance.reshape(-1, len(_EXTRA_RAYS), 3)
        radiance[edge] = (radiance[edge] + sum(share[:, i] for i in range(len(_EXTRA_RAYS)))) / 4
        labels = np.column_stack([mask[edge], extra.label.reshape(-1, len(_EXTRA_RAYS))])
        depths = np.column_stack([depth[edge], extra.depth.reshape(-1, len(_EXTRA_RAYS))])
        mask[edge], depth[edge] = _vote(labels, depths)
    rgb = _develop(radiance.reshape(*shape, 3), condition, rng)
    return RenderedImage(rgb, mask.reshape(shape), depth.reshape(shape))


def _sample(
    scene: Scene, camera: CameraModel, T_world_camera: NDArray[np.floating], condition: Condition,
    u: Array, v: Array, rng: Rng,
) -> _Samples:  # fmt: skip
    """Cast and shade one ray through each image point (u, v)."""
    local = np.stack(
        [(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones_like(u)], axis=1
    )
    local = local.astype(np.float32)
    length = np.sqrt(np.einsum("ij,ij->i", local, local))
    direction = (local / length[:, None]) @ T_world_camera[:3, :3].T.astype(np.float32)
    origin = T_world_camera[:3, 3].astype(np.float32)
    hits = scene.cast(origin, direction)
    radiance = np.empty((len(local), 3), np.float32)
    missed = np.ones(len(local), bool)
    missed[hits.ray] = False
    radiance[missed] = sky_radiance(scene, condition, direction[missed])
    radiance[hits.ray], lit = _shade(
        scene, condition, origin, direction, hits, 1.0 / camera.fx, rng
    )
    label = np.full(len(local), SKY, np.uint8)
    label[hits.ray] = scene.mesh.label[hits.triangle]
    depth = np.full(len(local), np.inf, np.float32)
    depth[hits.ray] = hits.distance / length[hits.ray]
    surface = np.full(len(local), -1, np.int64)
    facing = np.round(hits.normal * 3).astype(np.int64) @ np.array([1, 8, 64])
    material = scene.mesh.material[hits.triangle].astype(np.int64)
    leafy = material == Material.LEAVES
    surface[hits.ray] = np.where(leafy, hits.ray, material * 4096 + facing * 2 + lit)
    return _Samples(radiance, label, depth, surface)


def _edges(surface: NDArray[np.int64], depth: Array) -> NDArray[np.bool_]:
    """Pixels (H, W) that differ from a neighbour in surface or jump in depth."""
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


def _vote(mask: NDArray[np.uint8], depth: Array) -> tuple[NDArray[np.uint8], Array]:
    """The commonest class among each pixel's samples (N, K), and the depth of one that has it."""
    agree = np.zeros(mask.shape, np.int8)
    for k in range(mask.shape[1]):
        agree += mask == mask[:, k : k + 1]
    best = agree.argmax(axis=1)
    rows = np.arange(len(mask))
    return mask[rows, best], depth[rows, best]


def sky_radiance(scene: Scene, condition: Condition, direction: Array) -> Array:
    """Linear RGB (N, 3) of the sky along unit directions (N, 3)."""
    up = np.maximum(direction[:, 2], 0.0)
    blend = np.exp(-4.5 * up)[:, None]
    sky = condition.zenith * (1 - blend) + condition.horizon * blend
    towards = np.maximum(direction @ condition.sun, 0)[:, None]
    glow = 0.35 * towards**2 + 0.5 * towards**8 + 1.5 * towards**64 + 60.0 * (towards > 0.9998)
    sky = sky + glow * condition.sun_radiance * 0.35
    reach = 1.0 / (up + 0.12)
    x, y = direction[:, 0] * reach, direction[:, 1] * reach
    density = scene.atlas.noise(x + 3, y + 5, 26.0)[:, 0] + 0.2 * scene.atlas.noise(x, y, 9.0)[:, 0]
    threshold = 1.9 - 2.9 * condition.cloud_cover
    cloud = (np.clip(density - threshold, 0, 1.5) / 1.5)[:, None]
    white = 0.35 * condition.sun_radiance + 0.75 * condition.horizon
    shade = 1.0 - 0.25 * np.clip(density, -1, 1.5)[:, None] * (condition.cloud_cover > 0.8)
    return (sky * (1 - cloud) + white * cloud * shade).astype(np.float32)


def _shade(
    scene: Scene,
    condition: Condition,
    origin: Array,
    direction: Array,
    hits: Hits,
    pixel_rad: float,
    rng: Rng,
) -> tuple[Array, NDArray[np.bool_]]:
    """Radiance (M, 3) of the hits towards the camera, and whether (M,) the sun is on them."""
    view = direction[hits.ray]
    point = origin + hits.distance[:, None] * view
    material = scene.mesh.material[hits.triangle]
    incidence = np.abs(np.einsum("ij,ij->i", hits.normal, view)).clip(0.12, 1.0)
    footprint = hits.distance * pixel_rad / np.sqrt(incidence)
    albedo = scene.mesh.colour[hits.triangle] * scene.atlas.albedo(material, hits.uv, footprint)
    albedo *= _weathering(scene, point, hits.normal, material)[:, None]

    normal = scene.mesh.normal[hits.triangle]
    is_leaf = material == Material.LEAVES
    normal = np.where(is_leaf[:, None], normal, hits.normal)
    sun = _sunlight(scene, condition, point, normal, hits.normal, material, rng)
    up = normal[:, 2:] * 0.5 + 0.5
    open_sky = scene.openness(point)[:, None]
    ambient = (
        (0.55 * condition.zenith + 0.45 * condition.horizon).astype(np.float32) * up * open_sky
    )
    bounce = 0.10 * condition.sun_radiance * max(condition.sun[2], 0.1) + 0.12 * condition.horizon
    ambient = ambient * 0.65 + bounce.astype(np.float32) * (1 - 0.6 * up) * (0.35 + 0.65 * open_sky)
    radiance = albedo * (sun[:, None] * condition.sun_radiance.astype(np.float32) + ambient)
    _add_reflections(scene, condition, radiance, view, hits.normal, material, point)
    haze = (1 - np.exp(-hits.distance / condition.haze_m))[:, None]
    return radiance * (1 - haze) + condition.horizon * 0.9 * haze, sun > 0


def _weathering(scene: Scene, point: Array, normal: Array, material: NDArray[np.uint8]) -> Array:
    """Stains and wear at scales that no tile repeats at: a factor (M,) near one.

    On the ground the noise lies in the plan, on walls along the wall, drawn out downwards.
    """
    upright = np.abs(normal[:, 2]) < 0.5
    along = point[:, 1] * normal[:, 0] - point[:, 0] * normal[:, 1]
    plane = point[:, 0] * normal[:, 0] + point[:, 1] * normal[:, 1]
    x = np.where(upright, along + 7.3 * plane, point[:, 0])
    y = np.where(upright, 0.45 * point[:, 2] + 3.1 * plane, point[:, 1])
    large = scene.atlas.noise(x, y, 61.0)[:, 0]
    medium = scene.atlas.noise(x, y, 13.0)[:, 1]
    strength = column("weathering")[material]
    return np.clip(1 + strength * (0.55 * large + 0.45 * medium), 0.3, 1.7)


def _sunlight(
    scene: Scene,
    condition: Condition,
    point: Array,
    normal: Array,
    facet: Array,
    material: NDArray[np.uint8],
    rng: Rng,
) -> Array:
    """Share of the sun (M,) that surfaces receive: cosine, shadow, light through leaves."""
    if condition.sun_radiance.max() < 1e-3:
        return np.zeros(len(point), np.float32)
    toward = condition.sun
    cosine = normal @ toward
    through = column("translucency")[material]
    lit = np.where(cosine > 0, cosine, -cosine * through)
    facet_cosine = facet @ toward
    possible = np.flatnonzero((lit > 0.01) & ((facet_cosine > 0) | (through > 0)))
    # The sun is half a degree wide; each sample aims at a point of it, which softens shadow edges.
    aim = toward + np.float32(0.003) * rng.standard_normal((len(possible), 3), np.float32)
    lift = np.where(facet_cosine[possible] > 0, np.float32(0.02), np.float32(-0.02))
    hidden = scene.is_occluded(point[possible] + lift[:, None] * facet[possible], aim)
    result = np.zeros(len(point), np.float32)
    result[possible] = lit[possible] * ~hidden
    return result


def _add_reflections(
    scene: Scene, condition: Condition, radiance: Array, view: Array, normal: Array,
    material: NDArray[np.uint8], point: Array,
) -> None:  # fmt: skip
    """Mirror the sky, or a dim street below the skyline, in glass and paint (Schlick 1994)."""
    gloss = column("gloss")[material]
    shiny = np.flatnonzero(gloss > 0)
    if len(shiny) == 0:
        return
    v, n = view[shiny], normal[shiny]
    cosine = -np.einsum("ij,ij->i", v, n)
    mirrored = v + 2 * cosine[:, None] * n
    fresnel = gloss[shiny] + (1 - gloss[shiny]) * (1 - cosine.clip(0, 1)) ** 5 * 0.8
    sky = np.minimum(sky_radiance(scene, condition, mirrored), 6.0)
    # What stands opposite hides the low sky: an uneven skyline instead of a second ray.
    x, y = point[shiny, 0] + mirrored[:, 0] * 25, point[shiny, 1] + mirrored[:, 1] * 25
    skyline = 0.26 + 0.10 * scene.atlas.noise(x, y, 300.0)[:, 0]
    street: Array = 0.16 * (condition.horizon + 0.3 * condition.sun_radiance)
    clear = np.clip((mirrored[:, 2] - skyline) * 12, 0, 1)[:, None]
    seen = sky * clear + street * (1 - clear)
    radiance[shiny] += fresnel[:, None] * seen


def _develop(image: Array, condition: Condition, rng: Rng) -> NDArray[np.uint8]:
    """Exposure, lens blur, vignette, shot and read noise, clipping, tone curve."""
    luminance = image @ np.array([0.3, 0.6, 0.1], np.float32)
    # The controller meters the lower two thirds, as a driving camera's does: skies may burn out.
    metered = np.log(luminance[len(luminance) // 3 :] + 0.01).mean()
    exposure = 0.17 / np.exp(metered) * condition.exposure_bias * rng.lognormal(0, 0.08)
    image = image * np.float32(exposure)
    sigma = rng.uniform(0.25, 0.5)
    image = gaussian_filter(image, (sigma, sigma, 0))
    height, width = image.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    image = image * (1 - 0.14 * (x * x + 0.3 * y * y))[..., None].astype(np.float32)
    image = image * rng.normal(1, 0.02, 3).astype(np.float32)
    spread = condition.noise * np.sqrt(np.maximum(image, 0) + 0.02)
    image = image + rng.standard_normal(image.shape, np.float32) * spread.astype(np.float32)
    # A steep toe, as the real camera's: shadows sink towards black.
    image = np.clip(image, 0, 1)
    curve = np.where(image < 0.0031308, 12.92 * image, 1.055 * image ** (1 / 2.2) - 0.055)
    curve = curve + 0.06 * np.sin(2 * np.pi * (curve - 0.5)) * 0.8
    return (np.clip(curve, 0, 1) * 255 + 0.5).astype(np.uint8)
