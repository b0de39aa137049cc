"""Palettes of walls, stone, wood and roofs in south-west Germany, as linear albedo."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.town.materials import Material

Array = NDArray[np.float64]
Rng = np.random.Generator

WHITES = np.array([[0.78, 0.77, 0.74], [0.74, 0.72, 0.66], [0.70, 0.70, 0.69], [0.76, 0.73, 0.64]])
"""Paints of most plastered houses."""
PLASTERS = np.array(
    [[0.70, 0.65, 0.53], [0.60, 0.50, 0.34], [0.60, 0.53, 0.43], [0.62, 0.58, 0.49],
     [0.54, 0.56, 0.50], [0.60, 0.51, 0.46], [0.50, 0.49, 0.47], [0.40, 0.385, 0.36],
     [0.57, 0.58, 0.58], [0.70, 0.64, 0.46]]
)  # fmt: skip
"""Cream, ochre, sand, pale green, pink, greys and yellow."""
SANDSTONES = np.array(
    [[0.24, 0.14, 0.105], [0.29, 0.19, 0.14], [0.41, 0.34, 0.25], [0.40, 0.375, 0.33]]
)  # fmt: skip
"""Karlsruhe's red sandstone, then yellow and grey."""
BRICKS = np.array([[0.26, 0.13, 0.09], [0.31, 0.18, 0.13], [0.42, 0.345, 0.245]])
ROOFS = np.array(
    [[0.17, 0.080, 0.058], [0.14, 0.070, 0.052], [0.10, 0.065, 0.050], [0.075, 0.060, 0.053],
     [0.060, 0.060, 0.064], [0.21, 0.115, 0.082]]
)  # fmt: skip
"""Red-brown to anthracite tiles."""
SHEETS = np.array(
    [[0.60, 0.61, 0.61], [0.40, 0.42, 0.44], [0.30, 0.34, 0.39], [0.55, 0.53, 0.47],
     [0.22, 0.26, 0.23], [0.16, 0.17, 0.18]]
)  # fmt: skip
"""Coated steel of halls."""
STRONG = np.array(
    [[0.36, 0.055, 0.045], [0.06, 0.11, 0.26], [0.06, 0.16, 0.08], [0.52, 0.37, 0.06],
     [0.38, 0.15, 0.05], [0.62, 0.62, 0.60], [0.06, 0.06, 0.07]]
)  # fmt: skip
"""Awnings and sign boards."""
PAINTS = np.array(
    [[0.06, 0.105, 0.07], [0.13, 0.16, 0.19], [0.60, 0.60, 0.58], [0.16, 0.055, 0.05],
     [0.26, 0.26, 0.25]]
)  # fmt: skip
"""Shutters, garage doors, balconies."""
WOODS = np.array(
    [[0.16, 0.085, 0.045], [0.24, 0.14, 0.075], [0.09, 0.055, 0.035], [0.32, 0.23, 0.14]]
)
METAL = np.array([0.34, 0.35, 0.36])
"""Zinc of gutters and window sills."""
IRON = np.array([0.035, 0.036, 0.04])

_TINTS = {Material.BRICK: BRICKS, Material.STONE: SANDSTONES, Material.CORRUGATED: SHEETS}


def shade(rng: Rng, palette: Array) -> Array:
    """Draw a colour (3,) from a palette (N, 3) and vary it slightly."""
    colour = palette[rng.integers(len(palette))]
    return np.clip(colour * rng.uniform(0.88, 1.1) * rng.normal(1, 0.018, 3), 0.02, 0.82)


def wall_colour(rng: Rng, wall: Material, white: float) -> Array:
    """Draw a colour for walls of a material; white: share of plastered walls painted white."""
    if wall in _TINTS:
        return shade(rng, _TINTS[wall])
    return shade(rng, WHITES if rng.random() < white else PLASTERS)
