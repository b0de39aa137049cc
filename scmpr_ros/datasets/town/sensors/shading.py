"""How surfaces look: texture, wear, snow and wet, sun and sky, lamps, reflections, haze.

Light is traced backwards: what a ray hits is textured and lit by the sky, by the sun (or, at night,
its strongest lamp) if nothing stands between, and by all other lamps; what shines is followed one
reflection further. Ray casting is Embree's, the loops over hits are compiled by numba.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from scmpr_ros.datasets.town.materials import GROUND, SMOOTH, Material, column
from scmpr_ros.datasets.town.sensors.openness import open_sky
from scmpr_ros.datasets.town.sensors.scene import Hits, Scene
from scmpr_ros.datasets.town.sensors.sky import sky_radiance
from scmpr_ros.datasets.town.textures.atlas import albedo as texture_albedo
from scmpr_ros.datasets.town.textures.atlas import noise
from scmpr_ros.semantics import DYNAMIC_IDS
from scmpr_ros.stages import stage

Array = NDArray[np.floating]
Rng = np.random.Generator

LAMP_REACH_M = 60.0
_MAX_LAMPS = 40
_MIRROR_THRESHOLD = 0.025
"""Reflections weaker than this are not followed."""

_TABLE = np.stack(
    [column(name) for name in ("gloss", "translucency", "weathering", "glow")], axis=1
)  # fmt: skip
_GROUND = np.isin(list(Material), GROUND)
_POROUS = np.isin(list(Material), SMOOTH, invert=True)
_BARE_OF_SNOW = np.isin(np.arange(256), [*DYNAMIC_IDS])


@dataclass(frozen=True)
class Seen:
    """What N rays see. radiance: (N, 3) float32 linear RGB; hits: what they met; sunlit: (N,) share
    of the sun (or of the lamp in its place) that is on it."""

    radiance: Array
    hits: Hits
    sunlit: Array


def look(
    scene: Scene, origin: Array, direction: Array, pixel_rad: float, lamps: Array, rng: Rng,
    shape: tuple[int, int] | None = None, sunlit: Array | None = None,
) -> Seen:  # fmt: skip
    """See along rays with unit directions (N, 3) from one origin (3,).

    pixel_rad: angle between neighbouring rays, for the filtering of textures. lamps: (L, 10) the
    lights that matter here, see `nearby_lamps`. shape: height and width of the image that the rays
    make, if they do. sunlit: (N,) as in `Seen` where that is known, which saves the shadow rays.
    """
    with stage("cast"):
        hits = scene.cast(origin, direction)
    origins = np.broadcast_to(np.asarray(origin, np.float32), direction.shape)
    light = _surface(scene, origins, direction, hits, pixel_rad, lamps)
    if sunlit is None:
        with stage("shadows"):
            sunlit = _sunlight(scene, light, hits, rng, shape)
    radiance = light.radiance
    radiance += sunlit[:, None] * light.direct
    _reflect(scene, light, origins, direction, hits, pixel_rad, lamps, rng)
    _veil(scene, radiance, direction, hits)
    return Seen(radiance, hits, sunlit)


def nearby_lamps(scene: Scene, position: Array, extra: Array | None = None) -> Array:
    """The lights (L, 10) around a position (3,) that count, strongest first; none by day."""
    if scene.condition.lamps <= 0:
        return np.zeros((0, 10), np.float32)
    lights = scene.lights if extra is None else np.concatenate([scene.lights, extra])
    distance = np.linalg.norm(lights[:, :3] - np.asarray(position, np.float32), axis=1)
    strength = lights[:, 6:9].max(axis=1) / np.maximum(distance, 4.0) ** 2
    strength[distance > LAMP_REACH_M + 40] = 0
    order = np.argsort(-strength, kind="stable")[:_MAX_LAMPS]
    chosen = lights[order[strength[order] > 0]].copy()
    chosen[:, 6:9] *= scene.condition.lamps
    return chosen


@dataclass(frozen=True)
class _Light:
    """What leaves N hits towards the eye before shadows and reflections are known.

    radiance: (N, 3) for certain; direct: (N, 3) to be added where nothing lies between `start` and
    the light in direction `toward`, within `reach` metres (0: no such light). mirror: (N,) share of
    light from the mirrored direction.
    """

    radiance: Array
    direct: Array
    start: Array
    toward: Array
    reach: Array
    mirror: Array


def _surface(
    scene: Scene, origin: Array, direction: Array, hits: Hits, pixel_rad: float, lamps: Array
) -> _Light:
    c, n = scene.condition, len(hits)
    wide, narrow = np.zeros((4, n, 3), np.float32), np.zeros((2, n), np.float32)
    light = _Light(*wide, *narrow)
    with stage("shading"):
        _light(
            np.ascontiguousarray(origin), direction, hits.distance, hits.facet, hits.normal,
            hits.uv, hits.uv_per_m, hits.colour, hits.glow, hits.material, hits.label, np.float32(pixel_rad),
            scene.textures, scene.openness, _TABLE, _GROUND, _POROUS, _BARE_OF_SNOW,
            c.sun, c.sun_radiance, c.zenith, c.horizon, c.wetness, c.snow, lamps, light.radiance,
            light.direct, light.toward, light.start, light.reach, light.mirror,
        )  # fmt: skip
        missed = np.flatnonzero(np.isinf(hits.distance))
        light.radiance[missed] = sky_radiance(scene.textures, c, direction[missed])
    return light


def _sunlight(
    scene: Scene, light: _Light, hits: Hits, rng: Rng, shape: tuple[int, int] | None
) -> Array:
    """Share (N,) of the sun, or of the strongest lamp in its place, that reaches each hit.

    In an image every second pixel casts a shadow ray, and all take the mean of their 3 x 3
    neighbours, foliage from foliage and hard surfaces from hard ones: leaves' shadows have soft
    edges anyway.
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
        keep = known & ~(sampled & foliage)  # leaves that cast their own ray stay crisp
        sunlit[keep] = mean[keep]
        alone |= here & ~known
    _cast_shadows(scene, light, rng, np.flatnonzero(alone), sunlit)
    return sunlit


def _cast_shadows(
    scene: Scene, light: _Light, rng: Rng, which: NDArray[np.intp], sunlit: Array
) -> None:
    """Set `sunlit` to 1 or 0 for some hits.

    Lamps and the sun have a size: each ray aims at a point of it.
    """
    aim = light.toward[which]
    aim += np.float32(0.003) * rng.standard_normal((len(which), 3), np.float32)
    sunlit[which] = ~scene.is_occluded(light.start[which], aim, light.reach[which])


@njit(cache=True, error_model="numpy", nogil=True)
def _light(  # type: ignore[no-untyped-def]  # pragma: no cover
    origin, direction, distance, facet, normal, uv, uv_per_m, colour, glow, material, label, pixel_rad,
    textures, openness, table, is_ground, is_porous, bare_of_snow, sun, sun_radiance, zenith,
    horizon, wetness, snow, lamps, radiance, direct, toward, start, reach, mirror,
):  # fmt: skip
    """Everything about N hits but the shadow rays; `direct` waits for those towards `toward`."""
    albedo = np.empty(3, np.float32)
    has_sun = max(sun_radiance[0], sun_radiance[1], sun_radiance[2]) > 1e-3
    bounce_sun = 0.10 * max(sun[2], 0.1)
    for i in range(len(distance)):
        if not np.isfinite(distance[i]):
            continue
        m = material[i]
        px = origin[i, 0] + distance[i] * direction[i, 0]
        py = origin[i, 1] + distance[i] * direction[i, 1]
        pz = origin[i, 2] + distance[i] * direction[i, 2]
        fx, fy, fz = facet[i]
        nx, ny, nz = normal[i]
        cosine_view = -(fx * direction[i, 0] + fy * direction[i, 1] + fz * direction[i, 2])
        incidence = min(max(cosine_view, 0.12), 1.0)
        footprint = distance[i] * pixel_rad / np.sqrt(incidence) * uv_per_m[i]
        texture_albedo(textures, m, uv[i, 0], uv[i, 1], footprint, albedo)
        wear = _wear(textures, px, py, pz, fx, fy, fz, table[m, 2])
        for k in range(3):
            albedo[k] = min(albedo[k] * colour[i, k] * wear, np.float32(0.9))

        covered = 0.0
        if snow > 0 and not bare_of_snow[label[i]] and is_porous[m]:
            covered = _snow_cover(textures, px, py, nz, fz, snow, label[i] == 1, textures.is_cut[m])
            white = 0.80 + 0.05 * noise(textures, px, py, 1.7, 1)
            albedo[0] += covered * (white - albedo[0])
            albedo[1] += covered * (white * 1.01 - albedo[1])
            albedo[2] += covered * (white * 1.05 - albedo[2])
        gloss = table[m, 0]
        if wetness > 0 and fz > 0.3 and is_porous[m] and covered < 0.5:
            puddle = 0.0
            if is_ground[m]:
                depth = noise(textures, px, py, 37.0, 0) + 0.4 * noise(textures, px, py, 9.0, 1)
                puddle = min(max((depth + 1.6 * wetness - 1.3) * 2.0, 0.0), 1.0)
                gloss = 0.02 * wetness * (0.35 + 0.65 * puddle)
            for k in range(3):
                albedo[k] *= 1 - wetness * (0.35 + 0.25 * puddle)
        if gloss > 0:
            grazing = max(1 - max(cosine_view, 0.0), 0.0)
            rough = 0.8 if m != 0 and not is_ground[m] else 0.25 + 20 * gloss
            mirror[i] = gloss + (1 - gloss) * grazing**5 * rough

        sky_share = open_sky(openness, px, py, pz)
        up = nz * 0.5 + 0.5
        for k in range(3):
            above = (0.55 * zenith[k] + 0.45 * horizon[k]) * up * sky_share * 0.65
            below = bounce_sun * sun_radiance[k] + 0.12 * horizon[k]
            below *= (1 - 0.6 * up) * (0.35 + 0.65 * sky_share)
            radiance[i, k] = albedo[k] * (above + below)
            if glow[i] > 0:
                radiance[i, k] += glow[i] * (0.25 + albedo[k])

        lift_side = 1.0
        if has_sun:
            cosine = nx * sun[0] + ny * sun[1] + nz * sun[2]
            facing = fx * sun[0] + fy * sun[1] + fz * sun[2]
            through = table[m, 1]
            lit = cosine if cosine > 0 else -cosine * through
            if lit > 0.01 and (facing > 0 or through > 0 or textures.is_cut[m]):
                reach[i] = 1e4
                lift_side = 1.0 if facing > 0 else -1.0
                for k in range(3):
                    direct[i, k] = albedo[k] * lit * sun_radiance[k]
                    toward[i, k] = sun[k]
        if len(lamps) > 0:
            lift_side = _lamp_light(
                i, px, py, pz, nx, ny, nz, fx, fy, fz, table[m, 1], albedo, lamps, has_sun,
                radiance, direct, toward, reach, lift_side,
            )  # fmt: skip
        lift = 0.02 * lift_side
        start[i, 0], start[i, 1], start[i, 2] = px + lift * fx, py + lift * fy, pz + lift * fz


@njit(cache=True, error_model="numpy", inline="always")
def _wear(textures, px, py, pz, fx, fy, fz, strength):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Stains and wear at scales that no tile repeats at: a factor near one.

    On the ground the noise lies in the plan, on walls along the wall, drawn out downwards.
    """
    if abs(fz) < 0.5:
        plane = px * fx + py * fy
        x, y = py * fx - px * fy + 7.3 * plane, 0.45 * pz + 3.1 * plane
    else:
        x, y = px, py
    stain = 0.5 * noise(textures, x, y, 61.0, 0) + 0.42 * noise(textures, x, y, 13.0, 1)
    return min(max(1 + strength * stain, 0.3), 1.7)


@njit(cache=True, error_model="numpy", inline="always")
def _snow_cover(textures, px, py, nz, fz, snow, is_road, is_cut):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Share of snow on a surface: it lies on what faces up, and traffic wears it off the road."""
    slope = nz if is_cut else fz
    patches = 0.28 * noise(textures, px, py, 17.0, 0) + 0.2 * noise(textures, px, py, 4.0, 1)
    amount = 1.9 * snow + patches - 0.55 - (1.0 * snow if is_road else 0.0)
    if is_cut:
        amount = 0.45 * snow + 0.7 * patches - 0.1
    return min(max((slope - 0.25) * 2.2, 0.0), 1.0) * min(max(amount, 0.0), 1.0)


@njit(cache=True, error_model="numpy")
def _lamp_light(  # type: ignore[no-untyped-def]  # pragma: no cover
    i, px, py, pz, nx, ny, nz, fx, fy, fz, through, albedo, lamps, has_sun, radiance, direct,
    toward, reach, lift_side,
):  # fmt: skip
    """Add the light of lamps; where there is no sun the strongest one casts the shadow."""
    strongest, best = -1, 1e-4
    for pass_ in range(2):
        for j in range(len(lamps)):
            if pass_ == 1 and (has_sun or j != strongest):
                continue
            dx, dy, dz = lamps[j, 0] - px, lamps[j, 1] - py, lamps[j, 2] - pz
            square = max(dx * dx + dy * dy + dz * dz, 0.05)
            if square > LAMP_REACH_M * LAMP_REACH_M:
                continue
            d = np.sqrt(square)
            along = -(dx * lamps[j, 3] + dy * lamps[j, 4] + dz * lamps[j, 5]) / d
            edge = lamps[j, 9]
            cone = min(max((along - edge) / max(0.8 * (1 - edge), 1e-3), 0.0), 1.0)
            cosine = (nx * dx + ny * dy + nz * dz) / d
            lit = cosine if cosine > 0 else -cosine * through
            power = cone * cone * (3 - 2 * cone) * max(lit, 0.0) / max(square, 0.5)
            if power <= 0:
                continue
            strength = power * lamps[j, 7]
            if pass_ == 0:
                if strength > best:
                    strongest, best = j, strength
                for k in range(3):
                    radiance[i, k] += albedo[k] * power * lamps[j, 6 + k]
            else:  # taken back from the sum: it waits for its shadow ray
                facing = fx * dx + fy * dy + fz * dz
                lift_side = 1.0 if facing > 0 else -1.0
                reach[i] = d - 0.35
                toward[i, 0], toward[i, 1], toward[i, 2] = dx / d, dy / d, dz / d
                for k in range(3):
                    part = albedo[k] * power * lamps[j, 6 + k]
                    radiance[i, k] -= part
                    direct[i, k] = part
    return lift_side


def _reflect(
    scene: Scene, light: _Light, origin: Array, direction: Array, hits: Hits, pixel_rad: float,
    lamps: Array, rng: Rng,
) -> None:  # fmt: skip
    """Add what glass, paint and wet ground mirror (Schlick 1994), one reflection deep.

    What is mirrored is taken to lie half in the sun: its shadows are not traced.
    """
    shiny = np.flatnonzero(light.mirror > _MIRROR_THRESHOLD)
    if len(shiny) == 0:
        return
    v, n = direction[shiny], hits.facet[shiny]
    wavy = _GROUND[hits.material[shiny]]
    n = n + np.where(wavy, 0.025, 0.0006)[:, None].astype(np.float32) * rng.standard_normal(
        n.shape, np.float32)  # fmt: skip
    mirrored = v - 2 * np.einsum("ij,ij->i", v, n)[:, None] * n
    mirrored /= np.linalg.norm(mirrored, axis=1, keepdims=True)
    start = origin[shiny] + hits.distance[shiny, None] * v + np.float32(0.02) * hits.facet[shiny]
    with stage("reflections"):
        seen = scene.cast(start, mirrored)
    mirrored = np.ascontiguousarray(mirrored, np.float32)
    other = _surface(scene, start, mirrored, seen, 2 * pixel_rad, lamps)
    reflected = np.minimum(other.radiance + np.float32(0.5) * other.direct, 2.5)
    light.radiance[shiny] += light.mirror[shiny, None] * reflected


def _veil(scene: Scene, radiance: Array, direction: Array, hits: Hits) -> None:
    """Haze, fog and falling rain hide what is far behind their own light."""
    c = scene.condition
    clear = np.exp(-hits.distance / np.float32(c.haze_m))[:, None]
    low = np.isinf(hits.distance)
    if c.haze_m < 200:  # fog also hides the low sky
        reach = 60.0 / np.maximum(direction[low, 2], 0.02)
        clear[low] = np.exp(-reach / c.haze_m)[:, None]
    else:
        clear[low] = 1.0
    air = c.horizon * np.float32(0.9)
    radiance *= clear
    radiance += (1 - clear) * air
