"""Radiance of the sky: gradient, sun or moon with its glow, and clouds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.town.compiled import compiled
from scmpr_ros.town.sensors.conditions import Condition
from scmpr_ros.town.textures.atlas import Textures, noise

Array = NDArray[np.floating]


def sky_radiance(textures: Textures, condition: Condition, direction: Array) -> Array:
    """Linear RGB (N, 3) float32 of the sky along unit directions (N, 3)."""
    out = np.empty((len(direction), 3), np.float32)
    _sky(
        direction, textures, condition.sun, condition.sun_radiance, condition.zenith,
        condition.horizon, condition.cloud_cover, condition.lamps, out,
    )  # fmt: skip
    return out


@compiled
def _sky(direction, textures, sun, sun_radiance, zenith, horizon, cover, lamps, out):  # type: ignore[no-untyped-def]  # pragma: no cover
    for i in range(len(direction)):
        x, y, up = direction[i, 0], direction[i, 1], max(direction[i, 2], np.float32(0))
        blend = np.exp(-4.5 * up)
        towards = max(x * sun[0] + y * sun[1] + direction[i, 2] * sun[2], 0.0)
        glow = 0.35 * towards**2 + 0.5 * towards**8 + 1.5 * towards**64 + 0.8 * towards**600
        if towards > 0.9998:
            glow += 60.0
        # Clouds lie on a plane: near overhead, far towards the horizon.
        reach = 1.0 / (up + 0.10)
        cx, cy = x * reach, y * reach
        density = noise(textures, cx + 3, cy + 5, 30.0, 0)
        density += 0.45 * noise(textures, cx + 7, cy, 11.0, 0)
        density += 0.22 * noise(textures, cx, cy + 2, 3.7, 1) * min(1.0, 6 * up)
        threshold = 1.9 - 2.9 * cover
        cloud = min(max((density - threshold) / 1.5, 0.0), 1.0)
        cloud = cloud * cloud * (3 - 2 * cloud)
        # Thick parts are darker from below; thin edges near the sun are bright.
        shade = 1.0 - 0.28 * min(max(density - threshold, 0.0), 2.0) * (0.4 + 0.6 * cover)
        for k in range(3):
            clear = zenith[k] * (1 - blend) + horizon[k] * blend + glow * sun_radiance[k] * 0.35
            lit = (0.35 + 0.3 * towards**8) * sun_radiance[k] + 0.78 * horizon[k]
            # Light pollution: clouds and haze scatter the town's lamps.
            town = 0.004 * lamps * np.exp(-3 * up) * (1.0, 0.72, 0.45)[k]
            value = clear * (1 - cloud) + max(lit * shade, 0.25 * lit) * cloud + town
            out[i, k] = min(value, 40.0)
