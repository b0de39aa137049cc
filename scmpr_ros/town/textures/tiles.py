"""Procedural surface tiles with multi-scale statistics, as albedo factors.

Tiles repeat seamlessly. Features that would reveal the period (stains, wear) are added in shading,
from noise at other scales.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SIZE = 512
"""Edge of a tile in texels; a power of two."""

Array = NDArray[np.floating]
Rng = np.random.Generator


def fractal(rng: Rng, exponent: float, stretch: float = 1.0, low: float = 1.0) -> Array:
    """Periodic noise (SIZE, SIZE) with power spectrum 1/f**(2 exponent), zero mean, unit variance.

    stretch: above 1, elongates the noise vertically. low: lowest frequency in waves per tile, to
    hide the period.
    """
    fy = np.fft.fftfreq(SIZE)[:, None] * SIZE * stretch
    fx = np.fft.rfftfreq(SIZE)[None] * SIZE
    f = np.hypot(fx, fy)
    amplitude = np.where(f >= low, np.maximum(f, 1.0) ** -exponent, 0.0)
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((SIZE, SIZE))) * amplitude)
    return (noise / noise.std()).astype(np.float32)


def grey(values: NDArray[np.floating]) -> Array:
    """Repeat values as red, green and blue."""
    return np.repeat(np.asarray(values, np.float32)[..., None], 3, axis=-1)


def tinted(values: NDArray[np.floating], rng: Rng, amount: float) -> Array:
    """A grey tile with slow variation of hue."""
    hue = np.stack([fractal(rng, 1.2) for _ in range(3)], axis=-1)
    return grey(values) * (1 + amount * hue)


def blocks(rng: Rng, rows: int, columns: int, joint: float, bond: float, contrast: float) -> Array:
    """Masonry: blocks of varying tone between darker or lighter joints (`joint` in texels)."""
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    warp = 0.6 * fractal(rng, 1.5, low=8)
    row_f = (y + warp) * rows / SIZE
    row = np.floor(row_f).astype(int) % rows
    col_f = (x + warp) * columns / SIZE + bond * (row % 2)
    col = np.floor(col_f).astype(int) % columns
    tone = 1 + contrast * rng.standard_normal((rows, columns, 1))
    tone = tone * (1 + 0.15 * contrast * rng.standard_normal((rows, columns, 3)))
    edge_y = np.minimum(row_f % 1, 1 - row_f % 1) * SIZE / rows
    edge_x = np.minimum(col_f % 1, 1 - col_f % 1) * SIZE / columns
    inside = np.clip(np.minimum(edge_x, edge_y) / joint, 0, 1)[..., None]
    return tone[row, col] * inside + (1 - inside) * rng.choice([0.55, 0.7, 1.25])


def asphalt(rng: Rng) -> Array:
    """Rolled asphalt: grain, and some cracks."""
    grain = 0.16 * rng.standard_normal((SIZE, SIZE)) + 0.10 * fractal(rng, 1.0, low=4)
    crack = np.abs(fractal(rng, 1.6, low=2)) < 0.018
    return tinted((1 + grain) * np.where(crack & (fractal(rng, 1.5) > 0.3), 0.6, 1), rng, 0.015)


def marking(rng: Rng) -> Array:
    """Worn road paint."""
    worn = np.clip(1.2 + 0.5 * fractal(rng, 0.9, low=4), 0.35, 1)
    return grey(worn * (1 + 0.05 * rng.standard_normal((SIZE, SIZE))))


def slabs(rng: Rng) -> Array:
    """Paving slabs."""
    n = int(rng.choice([6, 8, 10]))
    tile = blocks(rng, n, n, 2.0, float(rng.choice([0.0, 0.5])), 0.07)
    return tile * grey(1 + 0.09 * fractal(rng, 0.8, low=3))


def cobble(rng: Rng) -> Array:
    """Small setts."""
    return blocks(rng, 22, 18, 4.0, 0.5, 0.16) * grey(1 + 0.10 * fractal(rng, 0.7, low=6))


def grass(rng: Rng) -> Array:
    """Lawn: blades, and drier patches."""
    blades = 0.30 * fractal(rng, 0.45, 0.5, 8) + 0.16 * fractal(rng, 1.2, low=3)
    dry = fractal(rng, 1.4, low=2)[..., None] * np.array([0.13, 0.05, 0.02])
    return grey(np.clip(1 + blades, 0.25, 2)) * (1 + dry)


def gravel(rng: Rng) -> Array:
    """Loose stones."""
    return tinted(1 + 0.25 * fractal(rng, 0.4, low=8) + 0.08 * fractal(rng, 1.2), rng, 0.03)


def plaster(rng: Rng) -> Array:
    """Rendered walls, faintly streaked."""
    rough = 0.022 * rng.standard_normal((SIZE, SIZE)) + 0.035 * fractal(rng, 1.0, low=4)
    streaks = 0.03 * fractal(rng, 1.0, 6.0, 3)
    return tinted(1 + rough + streaks, rng, 0.008)


def brick(rng: Rng) -> Array:
    """Bricks in stretcher bond."""
    return blocks(rng, 34, 10, 1.6, 0.5, 0.13) * grey(1 + 0.07 * fractal(rng, 0.7, low=4))


def stone(rng: Rng) -> Array:
    """Blocks of natural stone."""
    rows, columns = int(rng.choice([8, 10, 14])), int(rng.choice([5, 6, 8]))
    return blocks(rng, rows, columns, 2.5, 0.5, 0.10) * grey(1 + 0.10 * fractal(rng, 0.8, low=3))


def concrete(rng: Rng) -> Array:
    """Cast concrete with runs of water."""
    return tinted(1 + 0.07 * fractal(rng, 0.9, low=2) + 0.05 * fractal(rng, 1.0, 8.0, 4), rng, 0.01)


def roof_tiles(rng: Rng) -> Array:
    """Rows of tiles, each darker towards its upper edge."""
    tile = blocks(rng, 10, 12, 2.5, 0.0, 0.10)
    ramp = 1.12 - 0.35 * ((np.arange(SIZE) * 10 / SIZE) % 1)
    return tile * ramp[:, None, None] * grey(1 + 0.12 * fractal(rng, 1.0, low=2))


def wood(rng: Rng) -> Array:
    """Upright boards."""
    planks = blocks(rng, 1, 20, 3.0, 0.0, 0.13)
    return planks * grey(1 + 0.12 * fractal(rng, 0.9, 0.08, 4).T)


def bark(rng: Rng) -> Array:
    """Furrowed bark."""
    return tinted(np.clip(1 + 0.28 * fractal(rng, 0.8, 0.25, 6).T, 0.3, 2), rng, 0.03)


def cloth(rng: Rng) -> Array:
    """Woven fabric with a hint of folds."""
    return grey(1 + 0.04 * fractal(rng, 0.4, low=12) + 0.06 * fractal(rng, 1.4, 3.0, 2))


def smooth(rng: Rng) -> Array:
    """Painted or polished surfaces."""
    return grey(1 + 0.03 * fractal(rng, 1.1, low=2) + 0.01 * rng.standard_normal((SIZE, SIZE)))


def corrugated(rng: Rng) -> Array:
    """Sheet metal with upright ribs."""
    ribs = np.sin(np.arange(SIZE) * 2 * np.pi * 12 / SIZE)[None, :, None]
    return (1 + 0.16 * ribs) * grey(1 + 0.04 * fractal(rng, 1.0, 5.0, 2))


def shutter(rng: Rng) -> Array:
    """Slats of a roller shutter, each with a shadow below it."""
    slat = (np.arange(SIZE) * 32 / SIZE) % 1
    ramp = np.where(slat < 0.18, 0.55, 0.92 + 0.12 * slat)[:, None, None]
    return ramp * grey(1 + 0.03 * fractal(rng, 1.0, 4.0, 2))


def soil(rng: Rng) -> Array:
    """Earth with clods, small stones and litter."""
    litter = np.where(fractal(rng, 0.5, low=10) > 1.6, 1.7, 1.0)
    return tinted((1 + 0.28 * fractal(rng, 0.7, low=4)) * litter, rng, 0.04)
