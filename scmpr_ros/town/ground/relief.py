"""Heights of hills, and of the camber of roads and pavements."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rng = np.random.Generator

_CAMBER_M = 0.08
_CAMBER_WIDTH_M = 4.5
_FALL = 0.025
_FALL_WIDTH_M = 3.0


@dataclass(frozen=True)
class Relief:
    """Gentle hills: a sum of plane waves. wave: (K, 2) rad/m; phase, height_m: (K,)."""

    wave: Array
    phase: Array
    height_m: Array

    @classmethod
    def generate(cls, rng: Rng) -> Relief:
        """Draw hills with slopes of a few per cent and wavelengths of 100 to 350 m."""
        length, angle = rng.uniform(100, 350, 6), rng.uniform(0, 2 * np.pi, 6)
        k = 2 * np.pi / length
        wave = np.stack([k * np.cos(angle), k * np.sin(angle)], axis=1)
        slope = rng.uniform(0.001, 0.016, 6)
        return cls(wave, rng.uniform(0, 2 * np.pi, 6), slope / k)

    @classmethod
    def noise(cls, rng: Rng, wavelength_m: tuple[float, float]) -> Relief:
        """Draw smooth noise over the plan, of about unit variance."""
        length, angle = rng.uniform(*wavelength_m, 8), rng.uniform(0, 2 * np.pi, 8)
        wave = 2 * np.pi / length[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        return cls(wave, rng.uniform(0, 2 * np.pi, 8), np.full(8, 0.5))

    def __call__(self, xy: Array) -> Array:
        """Height (N,) at points (N, 2)."""
        return np.asarray(np.sin(np.asarray(xy) @ self.wave.T + self.phase) @ self.height_m)


def camber(beyond_kerb_m: Array) -> Array:
    """Height (N,) above the gutter: the crown of a road, 2 % on average, or a sloping pavement."""
    inside = np.minimum(np.maximum(-beyond_kerb_m, 0) / _CAMBER_WIDTH_M, 1)
    outside = np.minimum(np.maximum(beyond_kerb_m, 0) / _FALL_WIDTH_M, 1)
    return _CAMBER_M * inside * (2 - inside) + _FALL * _FALL_WIDTH_M * outside * (1 - outside / 2)
