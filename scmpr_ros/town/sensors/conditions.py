"""Light, weather and season, drawn once per traversal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import ConfigError

Array = NDArray[np.float32]
Rng = np.random.Generator

SEASONS: tuple[str, ...] = ("summer", "autumn", "winter")


@dataclass(frozen=True)
class Condition:
    """Conditions of one traversal. Radiances are linear RGB, relative to a white wall in the sun.

    All arrays are float32. season: one of `SEASONS`. sun: (3,) unit vector towards the sun (at
    night, the moon). sun_radiance, zenith, horizon: (3,) radiances. cloud_cover: share of the sky.
    haze_m: distance over which contrast falls by 63 %. exposure_bias: factor on the automatic
    exposure. noise: standard deviation of the sensor at mid grey. lamps: brightness of street
    lamps, headlights and windows, 0 to 1. wetness, snow, rain: amounts, 0 to 1.
    """

    name: str
    season: str
    sun: Array
    sun_radiance: Array
    zenith: Array
    horizon: Array
    cloud_cover: float
    haze_m: float
    exposure_bias: float
    noise: float
    lamps: float
    wetness: float
    snow: float
    rain: float


@dataclass(frozen=True)
class _Recipe:
    """Ranges to draw a condition from, as of `Condition`; warmth: blue over red of the sunlight."""

    elevation_deg: tuple[float, float]
    sun: tuple[float, float]
    warmth: tuple[float, float]
    zenith: tuple[float, float, float]
    horizon: tuple[float, float, float]
    cloud_cover: tuple[float, float]
    haze_m: tuple[float, float]
    exposure_bias: tuple[float, float]
    noise: tuple[float, float]
    lamps: tuple[float, float] = (0.0, 0.0)
    wetness: tuple[float, float] = (0.0, 0.0)
    rain: tuple[float, float] = (0.0, 0.0)


_RECIPES: dict[str, _Recipe] = {
    "clear": _Recipe((22, 62), (0.9, 1.25), (0.8, 1.0), (0.15, 0.27, 0.56), (0.90, 1.00, 1.12),
                     (0.0, 0.55), (900, 3000), (0.65, 1.5), (0.004, 0.012)),
    "overcast": _Recipe((30, 60), (0.0, 0.06), (1.0, 1.0), (0.62, 0.65, 0.69), (0.78, 0.80, 0.83),
                        (1.0, 1.0), (350, 1200), (0.8, 1.4), (0.004, 0.012)),
    "dusk": _Recipe((2, 9), (0.10, 0.4), (0.42, 0.6), (0.09, 0.14, 0.30), (0.62, 0.46, 0.36),
                    (0.1, 0.6), (400, 1500), (0.6, 1.0), (0.008, 0.02), (0.1, 0.5)),
    "night": _Recipe((25, 50), (0.0, 0.0), (1.0, 1.0), (0.0012, 0.0016, 0.0028),
                     (0.006, 0.0055, 0.005), (0.1, 1.0), (300, 1500), (0.4, 0.9), (0.02, 0.05),
                     (1.0, 1.0), (0.0, 0.3)),
    "fog": _Recipe((15, 50), (0.0, 0.0), (1.0, 1.0), (0.55, 0.57, 0.60), (0.62, 0.64, 0.67),
                   (1.0, 1.0), (22, 80), (1.1, 1.8), (0.005, 0.012), (0.0, 0.4), (0.0, 0.6)),
    "rain": _Recipe((20, 50), (0.0, 0.0), (1.0, 1.0), (0.34, 0.37, 0.41), (0.48, 0.51, 0.55),
                    (1.0, 1.0), (130, 500), (0.8, 1.3), (0.006, 0.015), (0.0, 0.5), (0.7, 1.0),
                    (0.4, 1.0)),
}  # fmt: skip
CONDITIONS: tuple[str, ...] = tuple(_RECIPES)
"""Names of light and weather; each is available in all `SEASONS`."""


def draw_condition(name: str, rng: Rng, season: str = "summer") -> Condition:
    """Draw the light and weather of one traversal; `name` is one of `CONDITIONS`.

    In winter the sun stands lower, and two of three days have snow unless it rains. Raises
    ConfigError for an unknown name or season.
    """
    if name not in _RECIPES:
        raise ConfigError(f"no condition {name!r}; there are {', '.join(CONDITIONS)}")
    if season not in SEASONS:
        raise ConfigError(f"no season {season!r}; there are {', '.join(SEASONS)}")
    recipe = _RECIPES[name]
    elevation, azimuth = np.radians(rng.uniform(*recipe.elevation_deg)), rng.uniform(-np.pi, np.pi)
    elevation *= {"summer": 1.0, "autumn": 0.7, "winter": 0.45}[season]
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
    snowy = rng.random() < 0.67 and season == "winter" and name != "rain"
    return Condition(
        name=name,
        season=season,
        sun=sun.astype(np.float32),
        sun_radiance=(3.4 * rng.uniform(*recipe.sun) * tint).astype(np.float32),
        zenith=(np.array(recipe.zenith) * wander).astype(np.float32),
        horizon=(np.array(recipe.horizon) * wander).astype(np.float32),
        cloud_cover=float(rng.uniform(*recipe.cloud_cover)),
        haze_m=float(rng.uniform(*recipe.haze_m)),
        exposure_bias=float(rng.uniform(*recipe.exposure_bias)),
        noise=float(rng.uniform(*recipe.noise)),
        lamps=float(rng.uniform(*recipe.lamps)),
        wetness=float(rng.uniform(*recipe.wetness)),
        rain=float(rng.uniform(*recipe.rain)),
        snow=float(rng.uniform(0.4, 1.0)) if snowy else 0.0,
    )
