"""Light and weather, drawn once for a traversal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import ConfigError

Array = NDArray[np.float32]
Rng = np.random.Generator


@dataclass(frozen=True)
class Condition:
    """The light of one traversal. Radiances are linear RGB, relative to a white wall in the sun.

    All arrays are float32. sun: (3,) unit vector towards the sun. sun_radiance, zenith, horizon:
    (3,). cloud_cover: share of the sky under cloud. haze_m: distance at which haze hides 63 % of
    the contrast. exposure_bias: factor on the automatic exposure. noise: standard deviation
    of the sensor at mid grey.
    """

    name: str
    sun: Array
    sun_radiance: Array
    zenith: Array
    horizon: Array
    cloud_cover: float
    haze_m: float
    exposure_bias: float
    noise: float


@dataclass(frozen=True)
class _Recipe:
    elevation_deg: tuple[float, float]
    sun: tuple[float, float]
    warmth: tuple[float, float]
    zenith: tuple[float, float, float]
    horizon: tuple[float, float, float]
    cloud_cover: tuple[float, float]
    haze_m: tuple[float, float]
    exposure_bias: tuple[float, float]
    noise: tuple[float, float]


_RECIPES: dict[str, _Recipe] = {
    "clear": _Recipe((22, 62), (0.9, 1.25), (0.8, 1.0), (0.10, 0.20, 0.46), (0.60, 0.70, 0.82),
                     (0.0, 0.55), (700, 2500), (0.75, 1.5), (0.008, 0.02)),
    "overcast": _Recipe((30, 60), (0.0, 0.06), (1.0, 1.0), (0.62, 0.65, 0.69), (0.78, 0.80, 0.83),
                        (1.0, 1.0), (350, 1200), (0.8, 1.2), (0.01, 0.022)),
    "dusk": _Recipe((3, 12), (0.18, 0.55), (0.42, 0.6), (0.09, 0.14, 0.30), (0.62, 0.46, 0.36),
                    (0.1, 0.6), (400, 1500), (0.6, 1.0), (0.018, 0.035)),
}  # fmt: skip
CONDITIONS: tuple[str, ...] = tuple(_RECIPES)


def draw_condition(name: str, rng: Rng) -> Condition:
    """Draw the light of one traversal; `name` is one of `CONDITIONS`.

    Raises ConfigError for a name that is not known.
    """
    if name not in _RECIPES:
        raise ConfigError(f"no condition {name!r}; there are {', '.join(CONDITIONS)}")
    recipe = _RECIPES[name]
    elevation, azimuth = np.radians(rng.uniform(*recipe.elevation_deg)), rng.uniform(-np.pi, np.pi)
    sun = np.array(
        [
            np.cos(elevation) * np.cos(azimuth),
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation),
        ]
    )
    warmth = rng.uniform(*recipe.warmth)
    tint = np.array([1.0, warmth**0.45, warmth])
    wander = rng.uniform(0.85, 1.15)
    return Condition(
        name=name,
        sun=sun.astype(np.float32),
        sun_radiance=(2.4 * rng.uniform(*recipe.sun) * tint).astype(np.float32),
        zenith=(np.array(recipe.zenith) * wander).astype(np.float32),
        horizon=(np.array(recipe.horizon) * wander).astype(np.float32),
        cloud_cover=float(rng.uniform(*recipe.cloud_cover)),
        haze_m=float(rng.uniform(*recipe.haze_m)),
        exposure_bias=float(rng.uniform(*recipe.exposure_bias)),
        noise=float(rng.uniform(*recipe.noise)),
    )
