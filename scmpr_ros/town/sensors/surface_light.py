"""Shading of hits: texture, wear, snow and wetness, lit by sky, sun and lamps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.semantics import DYNAMIC_IDS, class_id
from scmpr_ros.town.compiled import compiled
from scmpr_ros.town.materials import GROUND, SMOOTH, Material, column
from scmpr_ros.town.sensors.openness import open_sky
from scmpr_ros.town.sensors.scene import Hits, Scene
from scmpr_ros.town.textures.atlas import albedo as texture_albedo
from scmpr_ros.town.textures.atlas import noise

Array = NDArray[np.floating]

ROAD = class_id("road")
_LAMP_REACH_M2 = 400.0
"""Squared distance beyond which a lamp of intensity 1 is ignored."""


class Light(NamedTuple):
    """Light of N hits towards the viewer, before shadows and reflections.

    radiance: (N, 3) without direct light. direct: (N, 3) to add if nothing occludes the ray from
    `start` in direction `toward` within `reach` metres (0: no such light). mirror: (N,) specular
    reflectance.
    """

    radiance: Array
    direct: Array
    start: Array
    toward: Array
    reach: Array
    mirror: Array


class _Optics(NamedTuple):
    """Attributes of `Surface` by material; sheds_snow: by class."""

    gloss: Array
    translucency: Array
    weathering: Array
    is_ground: NDArray[np.bool_]
    is_porous: NDArray[np.bool_]
    sheds_snow: NDArray[np.bool_]


class _Air(NamedTuple):
    """The part of `Condition` that lights surfaces."""

    sun: Array
    sun_radiance: Array
    zenith: Array
    horizon: Array
    wetness: float
    snow: float


_OPTICS = _Optics(
    column("gloss"), column("translucency"), column("weathering"), np.isin(list(Material), GROUND),
    np.isin(list(Material), SMOOTH, invert=True), np.isin(np.arange(256), DYNAMIC_IDS),
)  # fmt: skip


def surface_light(
    scene: Scene, origin: Array, direction: Array, hits: Hits, pixel_rad: float, lamps: Array
) -> Light:
    """Light of the hits of rays from origins (N, 3) along directions (N, 3); zero where rays miss.

    See `shading.render_rays` for the other arguments.
    """
    count, c = len(hits.distance), scene.condition
    light = Light(*np.zeros((4, count, 3), np.float32), *np.zeros((2, count), np.float32))
    air = _Air(c.sun, c.sun_radiance, c.zenith, c.horizon, c.wetness, c.snow)
    _shade(
        np.ascontiguousarray(origin), direction, hits, np.float32(pixel_rad), scene.textures,
        scene.openness, _OPTICS, air, lamps, light,
    )  # fmt: skip
    return light


@compiled
def _shade(  # type: ignore[no-untyped-def]  # pragma: no cover
    origin, direction, hits, pixel_rad, textures, openness, optics, air, lamps, light
):
    """Fill `light` for all hits."""
    albedo = np.empty(3, np.float32)
    has_sun = max(air.sun_radiance[0], air.sun_radiance[1], air.sun_radiance[2]) > 1e-3
    bounce_sun = 0.10 * max(air.sun[2], 0.1)
    for i in range(len(hits.distance)):
        if not np.isfinite(hits.distance[i]):
            continue
        m = hits.material[i]
        px = origin[i, 0] + hits.distance[i] * direction[i, 0]
        py = origin[i, 1] + hits.distance[i] * direction[i, 1]
        pz = origin[i, 2] + hits.distance[i] * direction[i, 2]
        fx, fy, fz = hits.facet[i]
        nx, ny, nz = hits.normal[i]
        cosine_view = -(fx * direction[i, 0] + fy * direction[i, 1] + fz * direction[i, 2])
        incidence = min(max(cosine_view, 0.12), 1.0)
        footprint = hits.distance[i] * pixel_rad / np.sqrt(incidence) * hits.uv_per_m[i]
        texture_albedo(textures, m, hits.uv[i, 0], hits.uv[i, 1], footprint, albedo)
        wear = _wear(textures, px, py, pz, fx, fy, fz, optics.weathering[m])
        for k in range(3):
            albedo[k] = min(albedo[k] * hits.colour[i, k] * wear, np.float32(0.9))

        covered = 0.0
        if air.snow > 0 and not optics.sheds_snow[hits.label[i]] and optics.is_porous[m]:
            covered = _snow_cover(
                textures, px, py, nz, fz, air.snow, hits.label[i] == ROAD, textures.is_cut[m]
            )
            white = 0.80 + 0.05 * noise(textures, px, py, 1.7, 1)
            albedo[0] += covered * (white - albedo[0])
            albedo[1] += covered * (white * 1.01 - albedo[1])
            albedo[2] += covered * (white * 1.05 - albedo[2])
        gloss = optics.gloss[m]
        if air.wetness > 0 and fz > 0.3 and optics.is_porous[m] and covered < 0.5:
            puddle = 0.0
            if optics.is_ground[m]:
                depth = noise(textures, px, py, 37.0, 0) + 0.4 * noise(textures, px, py, 9.0, 1)
                puddle = min(max((depth + 1.6 * air.wetness - 1.3) * 2.0, 0.0), 1.0)
                gloss = 0.02 * air.wetness * (0.35 + 0.65 * puddle)
            for k in range(3):
                albedo[k] *= 1 - air.wetness * (0.35 + 0.25 * puddle)
        if gloss > 0:
            grazing = max(1 - max(cosine_view, 0.0), 0.0)
            rough = 0.25 + 20 * gloss if optics.is_ground[m] else 0.8
            light.mirror[i] = gloss + (1 - gloss) * grazing**5 * rough

        sky_share = open_sky(openness, px, py, pz)
        up = nz * 0.5 + 0.5
        for k in range(3):
            above = (0.55 * air.zenith[k] + 0.45 * air.horizon[k]) * up * sky_share * 0.65
            below = bounce_sun * air.sun_radiance[k] + 0.12 * air.horizon[k]
            below *= (1 - 0.6 * up) * (0.35 + 0.65 * sky_share)
            light.radiance[i, k] = albedo[k] * (above + below)
            if hits.glow[i] > 0:
                light.radiance[i, k] += hits.glow[i] * (0.25 + albedo[k])

        lift_side = 1.0
        if has_sun:
            cosine = nx * air.sun[0] + ny * air.sun[1] + nz * air.sun[2]
            facing = fx * air.sun[0] + fy * air.sun[1] + fz * air.sun[2]
            through = optics.translucency[m]
            lit = cosine if cosine > 0 else -cosine * through
            if lit > 0.01 and (facing > 0 or through > 0 or textures.is_cut[m]):
                light.reach[i] = 1e4
                lift_side = 1.0 if facing > 0 else -1.0
                for k in range(3):
                    light.direct[i, k] = albedo[k] * lit * air.sun_radiance[k]
                    light.toward[i, k] = air.sun[k]
        if len(lamps) > 0:
            lift_side = _lamp_light(
                i, px, py, pz, nx, ny, nz, fx, fy, fz, optics.translucency[m], albedo, lamps,
                has_sun, light, lift_side,
            )  # fmt: skip
        lift = 0.02 * lift_side
        light.start[i, 0], light.start[i, 1], light.start[i, 2] = (
            px + lift * fx,
            py + lift * fy,
            pz + lift * fz,
        )


@compiled
def _wear(textures, px, py, pz, fx, fy, fz, strength):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Albedo factor near one of stains and wear, at scales that hide the period of the tiles.

    The noise lies in the plan on the ground, and in the plane of walls, stretched vertically.
    """
    if abs(fz) < 0.5:
        plane = px * fx + py * fy
        x, y = py * fx - px * fy + 7.3 * plane, 0.45 * pz + 3.1 * plane
    else:
        x, y = px, py
    stain = 0.5 * noise(textures, x, y, 61.0, 0) + 0.42 * noise(textures, x, y, 13.0, 1)
    return min(max(1 + strength * stain, 0.3), 1.7)


@compiled
def _snow_cover(textures, px, py, nz, fz, snow, is_road, is_cut):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Share of a surface under snow: more on what faces up, less on roads with traffic."""
    slope = nz if is_cut else fz
    patches = 0.28 * noise(textures, px, py, 17.0, 0) + 0.2 * noise(textures, px, py, 4.0, 1)
    amount = 1.9 * snow + patches - 0.55 - (1.0 * snow if is_road else 0.0)
    if is_cut:
        amount = 0.45 * snow + 0.7 * patches - 0.1
    return min(max((slope - 0.25) * 2.2, 0.0), 1.0) * min(max(amount, 0.0), 1.0)


@compiled
def _lamp_light(  # type: ignore[no-untyped-def]  # pragma: no cover
    i, px, py, pz, nx, ny, nz, fx, fy, fz, through, albedo, lamps, has_sun, light, lift_side
):
    """Add the light of lamps; without sun the strongest one is `direct`, to be shadowed."""
    strongest, best = -1, 0.0
    for j in range(len(lamps)):
        dx, dy, dz = lamps[j, 0] - px, lamps[j, 1] - py, lamps[j, 2] - pz
        square = dx * dx + dy * dy + dz * dz
        if square > lamps[j, 7] * _LAMP_REACH_M2:
            continue
        d = np.sqrt(max(square, 0.05))
        edge = lamps[j, 9]
        along = -(dx * lamps[j, 3] + dy * lamps[j, 4] + dz * lamps[j, 5]) / d
        cone = min((along - edge) / (0.8 * (1 - edge)), 1.0)
        cosine = (nx * dx + ny * dy + nz * dz) / d
        lit = cosine if cosine > 0 else -cosine * through
        if cone <= 0 or lit <= 0:
            continue
        power = cone * cone * (3 - 2 * cone) * lit / max(square, 0.5)
        strength = power * lamps[j, 7]
        if strength > best and not has_sun:  # strongest so far: needs a shadow ray
            strongest, best = j, strength
            for k in range(3):
                light.radiance[i, k] += light.direct[i, k]
                light.direct[i, k] = albedo[k] * power * lamps[j, 6 + k]
            light.reach[i] = d - 0.35
            light.toward[i, 0], light.toward[i, 1], light.toward[i, 2] = dx / d, dy / d, dz / d
        else:
            for k in range(3):
                light.radiance[i, k] += albedo[k] * power * lamps[j, 6 + k]
    if strongest >= 0:
        facing = fx * light.toward[i, 0] + fy * light.toward[i, 1] + fz * light.toward[i, 2]
        return 1.0 if facing > 0 else -1.0
    return lift_side
