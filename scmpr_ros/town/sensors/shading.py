"""Radiance along rays: surfaces, shadows, one reflection, and haze.

Light is traced backwards. Each hit is textured and lit by the sky, by the sun (at night, by its
strongest lamp) with a shadow ray, and by all other lamps without one; specular surfaces are
followed for one reflection. Embree casts the rays; the loop over hits is compiled
(`surface_light`).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from scmpr_ros.stages import stage
from scmpr_ros.town.materials import GROUND, Material
from scmpr_ros.town.sensors.scene import Hits, Scene
from scmpr_ros.town.sensors.sky import sky_radiance
from scmpr_ros.town.sensors.surface_light import Light, surface_light

Array = NDArray[np.floating]
Rng = np.random.Generator

_MAX_LAMPS = 20
_HAZE_TOP_M = np.float32(60.0)
"""Height of the layer filled by haze, fog and rain."""
_MIRROR_THRESHOLD = 0.035
"""Reflections weaker than this are not traced."""

_GROUND = np.isin(list(Material), GROUND)


@dataclass(frozen=True)
class RaySamples:
    """Result of N rays. radiance: (N, 3) float32 linear RGB. sunlit: (N,) share of the sun, or of
    the strongest lamp at night, that reaches each hit."""

    radiance: Array
    hits: Hits
    sunlit: Array


def render_rays(
    scene: Scene, origin: Array, direction: Array, pixel_rad: float, lamps: Array, rng: Rng,
    shape: tuple[int, int] | None = None, sunlit: Array | None = None,
) -> RaySamples:  # fmt: skip
    """Render rays with unit directions (N, 3) from one origin (3,).

    pixel_rad: angle between neighbouring rays, for texture filtering. lamps: (L, 10) lights to
    consider, see `nearby_lamps`. shape: height and width of the image, if the rays form one.
    sunlit: (N,) as in `RaySamples` if already known; saves the shadow rays.
    """
    with stage("cast"):
        hits = scene.cast(origin, direction)
    origins = np.broadcast_to(np.asarray(origin, np.float32), direction.shape)
    light = _unshadowed_light(scene, origins, direction, hits, pixel_rad, lamps)
    if sunlit is None:
        with stage("shadows"):
            sunlit = _sunlit_share(scene, light, hits, rng, shape)
    radiance = light.radiance
    radiance += sunlit[:, None] * light.direct
    _reflect(scene, light, origins, direction, hits, pixel_rad, lamps, rng, shape)
    _add_haze(scene, radiance, direction, hits)
    return RaySamples(radiance, hits, sunlit)


def nearby_lamps(scene: Scene, position: Array, extra: Array | None = None) -> Array:
    """The strongest lights (L, 10) around a position (3,), in descending order; none by day."""
    if scene.condition.lamps <= 0:
        return np.zeros((0, 10), np.float32)
    lights = scene.lights if extra is None else np.concatenate([scene.lights, extra])
    distance = np.linalg.norm(lights[:, :3] - np.asarray(position, np.float32), axis=1)
    strength = lights[:, 6:9].max(axis=1) / np.maximum(distance, 4.0) ** 2
    strength[distance > 100.0] = 0
    order = np.argsort(-strength, kind="stable")[:_MAX_LAMPS]
    chosen = lights[order[strength[order] > 0]].copy()
    chosen[:, 6:9] *= scene.condition.lamps
    return chosen


def _unshadowed_light(
    scene: Scene, origin: Array, direction: Array, hits: Hits, pixel_rad: float, lamps: Array
) -> Light:
    """Light of hits, or of the sky where rays miss, before shadows and reflections."""
    with stage("shading"):
        light = surface_light(scene, origin, direction, hits, pixel_rad, lamps)
        missed = np.flatnonzero(np.isinf(hits.distance))
        sky = sky_radiance(scene.textures, scene.condition, direction[missed])
        light.radiance[missed] = sky
    return light


def _sunlit_share(
    scene: Scene, light: Light, hits: Hits, rng: Rng, shape: tuple[int, int] | None
) -> Array:
    """Share (N,) of the sun, or of the strongest lamp at night, that reaches each hit.

    In an image every second pixel casts a shadow ray, and each takes the mean of its 3 x 3
    neighbourhood, separately for foliage and for hard surfaces.
    """
    possible = light.reach > 0
    sunlit = np.zeros(len(possible), np.float32)
    if shape is None:
        _cast_shadows(scene, light, rng, np.flatnonzero(possible), sunlit)
        return sunlit
    row, column = np.divmod(np.arange(len(possible)), shape[1])
    sampled = possible & ((row + column) % 2 == 0)
    _cast_shadows(scene, light, rng, np.flatnonzero(sampled), sunlit)
    foliage = scene.textures.is_cut[hits.material]
    alone = np.zeros(len(possible), bool)
    for alike in (foliage, ~foliage):
        here = possible & alike
        weight = (sampled & alike).astype(np.float32).reshape(shape)
        total = cv2.blur(weight, (3, 3)).ravel()
        mean = cv2.blur(sunlit.reshape(shape) * weight, (3, 3)).ravel() / np.maximum(total, 1e-6)
        known = here & (total > 1e-3)
        keep = known & ~(sampled & foliage)  # foliage with its own ray stays sharp
        sunlit[keep] = mean[keep]
        alone |= here & ~known
    _cast_shadows(scene, light, rng, np.flatnonzero(alone), sunlit)
    return sunlit


def _cast_shadows(
    scene: Scene, light: Light, rng: Rng, which: NDArray[np.intp], sunlit: Array
) -> None:
    """Set `sunlit` to 1 or 0 for the hits `which`, aiming at random points of the sun or lamp."""
    aim = light.toward[which]
    aim += np.float32(0.003) * rng.standard_normal((len(which), 3), np.float32)
    sunlit[which] = ~scene.is_occluded(light.start[which], aim, light.reach[which])


def _reflect(
    scene: Scene, light: Light, origin: Array, direction: Array, hits: Hits, pixel_rad: float,
    lamps: Array, rng: Rng, shape: tuple[int, int] | None,
) -> None:  # fmt: skip
    """Add one reflection in glass, paint and wet ground (Schlick 1994).

    Shadows in reflections are not traced: half of the direct light is used. Wet ground is rough: in
    an image every second pixel of it casts a ray, and each takes a mean of its neighbours, wider
    along columns than along rows.
    """
    ground = _GROUND[hits.material]
    shiny = light.mirror > _MIRROR_THRESHOLD
    if shape is not None:
        row, column_ = np.divmod(np.arange(len(shiny)), shape[1])
        traced = shiny & ~(ground & ((row + column_) % 2 == 1))
    else:
        traced = shiny
    which = np.flatnonzero(traced)
    if len(which) == 0:
        return
    mirrored = _mirror(direction[which], hits.facet[which], ground[which], rng)
    start = origin[which] + hits.distance[which, None] * direction[which]
    start += np.float32(0.02) * hits.facet[which]
    with stage("reflections"):
        reflected_hits = scene.cast(start, mirrored)
    other = _unshadowed_light(scene, start, mirrored, reflected_hits, 2 * pixel_rad, lamps)
    reflected = np.zeros_like(light.radiance)
    reflected[which] = np.minimum(other.radiance + np.float32(0.5) * other.direct, 3.0)
    if shape is not None:
        wet = np.flatnonzero(shiny & ground)
        reflected[wet] = _blur_known(reflected, traced & ground, shape)[wet]
    light.radiance[shiny] += light.mirror[shiny, None] * reflected[shiny]


def _mirror(v: Array, n: Array, is_rough: NDArray[np.bool_], rng: Rng) -> Array:
    """Mirror directions v (N, 3) at normals n with noise, larger on rough ground."""
    roughness = np.where(is_rough, 0.02, 0.0006)[:, None].astype(np.float32)
    n = n + roughness * rng.standard_normal(n.shape, np.float32)
    mirrored = v - 2 * np.einsum("ij,ij->i", v, n)[:, None] * n
    mirrored /= np.linalg.norm(mirrored, axis=1, keepdims=True)
    return np.ascontiguousarray(mirrored, np.float32)


def _blur_known(values: Array, known: NDArray[np.bool_], shape: tuple[int, int]) -> Array:
    """Weighted mean (N, 3) of the known values (N, 3) around each pixel, mostly along columns."""
    weight = known.reshape(shape).astype(np.float32)
    size, sigma_x, sigma_y = (3, 17), 0.8, 4.0
    total = cv2.GaussianBlur(weight, size, sigma_x, sigmaY=sigma_y)[..., None]
    image = cv2.GaussianBlur(
        values.reshape(*shape, 3) * weight[..., None], size, sigma_x, sigmaY=sigma_y
    )
    return np.asarray(image / np.maximum(total, 1e-6), np.float32).reshape(-1, 3)


def _add_haze(scene: Scene, radiance: Array, direction: Array, hits: Hits) -> None:
    """Blend distant hits and the low sky into the colour of haze, fog or rain, in place."""
    c = scene.condition
    to_clear_air = _HAZE_TOP_M / np.maximum(direction[:, 2], np.float32(0.02))
    reach = np.where(np.isinf(hits.distance), to_clear_air, hits.distance)
    clear = np.exp(-reach / np.float32(c.haze_m))[:, None]
    air = c.horizon * np.float32(0.9)
    radiance *= clear
    radiance += (1 - clear) * air
