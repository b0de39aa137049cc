"""Procedural texture tiles with the multi-scale statistics of real surfaces, as mip pyramids.

Every tile repeats seamlessly; what would betray the repetition (stains, wear, moss) is added when
shading, from noise at other scales. Tiles hold factors on the albedo; sheets of pictures (windows,
doors, shops, signs) hold the albedo itself.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.datasets.town.materials import Material, column

SIZE = 512
"""Texels along an edge of a tile; a power of two."""
LEVELS = 10
SHEET_CELLS = 4
"""A sheet of pictures is a grid of this many pictures along each edge."""

Array = NDArray[np.floating]
Rng = np.random.Generator


def fractal(rng: Rng, exponent: float, stretch: float = 1.0, low: float = 1.0) -> Array:
    """Periodic noise (SIZE, SIZE) with power spectrum 1/f**(2 exponent), zero mean, unit variance.

    stretch > 1 draws the noise out along rows (vertical streaks); waves below `low` per tile are
    left out, so that tiles do not show their period.
    """
    fy = np.fft.fftfreq(SIZE)[:, None] * SIZE * stretch
    fx = np.fft.rfftfreq(SIZE)[None] * SIZE
    f = np.hypot(fx, fy)
    amplitude = np.where(f >= low, np.maximum(f, 1.0) ** -exponent, 0.0)
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((SIZE, SIZE))) * amplitude)
    return (noise / noise.std()).astype(np.float32)


def _grey(values: NDArray[np.floating]) -> Array:
    return np.repeat(np.asarray(values, np.float32)[..., None], 3, axis=-1)


def _tinted(values: NDArray[np.floating], rng: Rng, amount: float) -> Array:
    """A grey tile whose hue wanders slowly."""
    hue = np.stack([fractal(rng, 1.2) for _ in range(3)], axis=-1)
    return _grey(values) * (1 + amount * hue)


def _blocks(rng: Rng, rows: int, columns: int, joint: float, bond: float, contrast: float) -> Array:
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


def _asphalt(rng: Rng) -> Array:
    grain = 0.16 * rng.standard_normal((SIZE, SIZE)) + 0.10 * fractal(rng, 1.0, low=4)
    crack = np.abs(fractal(rng, 1.6, low=2)) < 0.018
    return _tinted((1 + grain) * np.where(crack & (fractal(rng, 1.5) > 0.3), 0.6, 1), rng, 0.015)


def _marking(rng: Rng) -> Array:
    worn = np.clip(1.2 + 0.5 * fractal(rng, 0.9, low=4), 0.35, 1)
    return _grey(worn * (1 + 0.05 * rng.standard_normal((SIZE, SIZE))))


def _slabs(rng: Rng) -> Array:
    n = int(rng.choice([6, 8, 10]))
    tile = _blocks(rng, n, n, 2.0, float(rng.choice([0.0, 0.5])), 0.07)
    return tile * _grey(1 + 0.09 * fractal(rng, 0.8, low=3))


def _cobble(rng: Rng) -> Array:
    return _blocks(rng, 22, 18, 4.0, 0.5, 0.16) * _grey(1 + 0.10 * fractal(rng, 0.7, low=6))


def _grass(rng: Rng) -> Array:
    blades = 0.30 * fractal(rng, 0.45, 0.5, 8) + 0.16 * fractal(rng, 1.2, low=3)
    dry = fractal(rng, 1.4, low=2)[..., None] * np.array([0.13, 0.05, 0.02])
    return _grey(np.clip(1 + blades, 0.25, 2)) * (1 + dry)


def _gravel(rng: Rng) -> Array:
    return _tinted(1 + 0.25 * fractal(rng, 0.4, low=8) + 0.08 * fractal(rng, 1.2), rng, 0.03)


def _plaster(rng: Rng) -> Array:
    rough = 0.022 * rng.standard_normal((SIZE, SIZE)) + 0.035 * fractal(rng, 1.0, low=4)
    streaks = 0.03 * fractal(rng, 1.0, 6.0, 3)
    return _tinted(1 + rough + streaks, rng, 0.008)


def _brick(rng: Rng) -> Array:
    return _blocks(rng, 34, 10, 1.6, 0.5, 0.13) * _grey(1 + 0.07 * fractal(rng, 0.7, low=4))


def _stone(rng: Rng) -> Array:
    rows, columns = int(rng.choice([8, 10, 14])), int(rng.choice([5, 6, 8]))
    return _blocks(rng, rows, columns, 2.5, 0.5, 0.10) * _grey(1 + 0.10 * fractal(rng, 0.8, low=3))


def _concrete(rng: Rng) -> Array:
    return _tinted(
        1 + 0.07 * fractal(rng, 0.9, low=2) + 0.05 * fractal(rng, 1.0, 8.0, 4), rng, 0.01
    )


def _roof_tiles(rng: Rng) -> Array:
    tile = _blocks(rng, 10, 12, 2.5, 0.0, 0.10)
    ramp = 1.12 - 0.35 * ((np.arange(SIZE) * 10 / SIZE) % 1)
    return tile * ramp[:, None, None] * _grey(1 + 0.12 * fractal(rng, 1.0, low=2))


def _wood(rng: Rng) -> Array:
    planks = _blocks(rng, 1, 20, 3.0, 0.0, 0.13)
    return planks * _grey(1 + 0.12 * fractal(rng, 0.9, 0.08, 4).T)


def _bark(rng: Rng) -> Array:
    return _tinted(np.clip(1 + 0.28 * fractal(rng, 0.8, 0.25, 6).T, 0.3, 2), rng, 0.03)


def _leaves(rng: Rng) -> Array:
    return _tinted(np.clip(1 + 0.30 * fractal(rng, 0.5, low=8), 0.3, 2), rng, 0.05)


def _smooth(rng: Rng) -> Array:
    return _grey(1 + 0.03 * fractal(rng, 1.1, low=2) + 0.01 * rng.standard_normal((SIZE, SIZE)))


def _sheet(rng: Rng, draw: Callable[[Rng, Array, Array], Array]) -> Array:
    """A grid of pictures; `draw` gets the unit coordinates (x right, y up) of one picture."""
    cell = SIZE // SHEET_CELLS
    y, x = np.mgrid[0:cell, 0:cell].astype(np.float32) / cell
    rows = [
        np.concatenate([draw(rng, x, y) for _ in range(SHEET_CELLS)], axis=1)
        for _ in range(SHEET_CELLS)
    ]
    return np.concatenate(rows, axis=0)


def _paint(image: Array, where: NDArray[np.bool_], colour: NDArray[np.floating] | float) -> None:
    image[where] = colour


def _muted(rng: Rng, low: float, high: float) -> Array:
    """A colour as things are painted: mostly grey or brown, rarely strong."""
    strength = rng.choice([0.08, 0.25, 0.9], p=(0.5, 0.35, 0.15))
    hue = rng.dirichlet((4, 2.6, 2)) * 3
    return (rng.uniform(low, high) * (1 + strength * (hue - 1))).astype(np.float32)


def _window(rng: Rng, x: Array, y: Array) -> Array:
    image = _grey(0.04 + 0.05 * rng.random() + 0.03 * y)
    curtain = rng.random()
    tone = rng.uniform(0.25, 0.6) * np.array([1, rng.uniform(0.93, 1), rng.uniform(0.8, 1)])
    folds = (1 + 0.12 * np.sin(x * rng.uniform(40, 90) + 3 * np.sin(5 * x)))[..., None]
    if curtain < 0.4:
        side = np.abs(x - 0.5) > rng.uniform(0.15, 0.35)
        image = np.where(side[..., None], tone * folds, image)
    elif curtain < 0.62:
        blind = y > rng.uniform(0.0, 0.8)
        image = np.where(blind[..., None], tone * (1 + 0.1 * np.sin(y * 130))[..., None], image)
    frame = rng.choice([0.75, 0.7, 0.25]) * np.array([1, 0.97, 0.9])
    edge = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y)) < 0.055
    bars = np.abs(x - 0.5) < 0.025 if rng.random() < 0.7 else np.zeros_like(edge)
    bars = bars | ((np.abs(y - 0.68) < 0.022) if rng.random() < 0.5 else np.zeros_like(edge))
    _paint(image, edge | bars, frame)
    return image.astype(np.float32)


def _door(rng: Rng, x: Array, y: Array) -> Array:
    colour = _muted(rng, 0.04, 0.3)
    image = np.ones((*x.shape, 3), np.float32) * colour
    columns, rows = rng.integers(1, 4), rng.integers(2, 5)
    px, py = (x * columns) % 1, (y * rows) % 1
    panel = np.minimum(np.minimum(px, 1 - px), np.minimum(py, 1 - py)) > 0.15
    image *= np.where(panel, rng.uniform(0.65, 0.95), 1.0)[..., None]
    if rng.random() < 0.6:
        _paint(image, panel & (y > rng.uniform(0.5, 0.8)), 0.06)
    return image * (1 + 0.05 * rng.standard_normal((*x.shape, 1)))


def _shop(rng: Rng, x: Array, y: Array) -> Array:
    image = _grey(0.05 + 0.04 * rng.random((SIZE // SHEET_CELLS,) * 2))
    for _ in range(22):  # goods and posters behind the pane
        x0, y0, w, h = rng.random(), rng.uniform(0.05, 0.6), *rng.uniform(0.02, 0.10, 2)
        inside = (np.abs(x - x0) < w) & (np.abs(y - y0) < h)
        _paint(image, inside, _muted(rng, 0.03, 0.3))
    band = y > rng.uniform(0.78, 0.86)
    _paint(image, band, _muted(rng, 0.05, 0.5))
    letters = band & (np.abs(y - 0.9) < 0.04) & (np.abs(x - 0.5) < 0.38)
    _paint(image, letters & (rng.random(40)[(x * 39).astype(int)] > 0.35), rng.choice([0.02, 0.85]))
    panes = (x * rng.integers(1, 4)) % 1
    _paint(image, ((panes < 0.03) | (y < 0.07)) & ~band, rng.uniform(0.08, 0.4))
    return image


def _sign(rng: Rng, x: Array, y: Array) -> Array:
    r = np.hypot(x - 0.5, y - 0.5)
    image = np.full((*x.shape, 3), 0.8, np.float32)
    red, blue = np.array([0.6, 0.03, 0.03]), np.array([0.03, 0.12, 0.5])
    yellow = np.array([0.75, 0.5, 0.03])
    base = (red, blue, yellow, np.full(3, 0.8))[rng.integers(4)]
    _paint(image, r < 2, base)
    if rng.random() < 0.75:
        _paint(image, r < rng.uniform(0.25, 0.38), rng.choice([0.8, 0.8, 0.03]))
    glyph = rng.random((5, 5)) > 0.5
    inside = (np.abs(x - 0.5) < 0.2) & (np.abs(y - 0.5) < 0.2)
    picture = glyph[((y - 0.3) / 0.4 * 5).astype(int) % 5, ((x - 0.3) / 0.4 * 5).astype(int) % 5]
    _paint(image, inside & picture, rng.choice([0.02, 0.8]))
    return image


_TILES: dict[Material, Callable[[Rng], Array]] = {
    Material.ASPHALT: _asphalt,
    Material.MARKING: _marking,
    Material.KERB: _concrete,
    Material.PAVING: _slabs,
    Material.COBBLE: _cobble,
    Material.GRASS: _grass,
    Material.GRAVEL: _gravel,
    Material.PLASTER: _plaster,
    Material.BRICK: _brick,
    Material.STONE: _stone,
    Material.CONCRETE: _concrete,
    Material.WINDOW: lambda rng: _sheet(rng, _window),
    Material.DOOR: lambda rng: _sheet(rng, _door),
    Material.SHOP: lambda rng: _sheet(rng, _shop),
    Material.ROOF_TILES: _roof_tiles,
    Material.ROOF_FLAT: _gravel,
    Material.WOOD: _wood,
    Material.BARK: _bark,
    Material.LEAVES: _leaves,
    Material.NEEDLES: _leaves,
    Material.METAL: _smooth,
    Material.CORRUGATED: _smooth,
    Material.SHUTTER: _smooth,
    Material.SOIL: _gravel,
    Material.SIGN: lambda rng: _sheet(rng, _sign),
    Material.CAR_PAINT: _smooth,
    Material.GLASS: _smooth,
    Material.RUBBER: _smooth,
    Material.CLOTH: _leaves,
    Material.LAMP: _smooth,
    Material.HEADLIGHT: _smooth,
    Material.TAILLIGHT: _smooth,
}


def _pyramid(tile: Array) -> Array:
    """All mip levels of a tile (SIZE, SIZE, C), flattened and joined: (texels, C)."""
    levels = [tile]
    while len(levels) < LEVELS:
        t = levels[-1]
        levels.append((t[::2, ::2] + t[1::2, ::2] + t[::2, 1::2] + t[1::2, 1::2]) / 4)
    return np.concatenate([level.reshape(-1, tile.shape[-1]) for level in levels])


_LEVEL_START = np.cumsum([0] + [(SIZE >> i) ** 2 for i in range(LEVELS - 1)])
TEXELS = int(_LEVEL_START[-1] + (SIZE >> (LEVELS - 1)) ** 2)


class TextureAtlas:
    """Mip pyramids of all materials in one table, so that one look-up shades all pixels."""

    def __init__(self, rng: Rng) -> None:
        pyramids = [_pyramid(_TILES[m](rng).astype(np.float32)) for m in Material]
        # Half floats would be slower to gather than bytes: 128 stands for a factor of one.
        self._texels = np.clip(np.concatenate(pyramids) * 128, 0, 255).astype(np.uint8)
        noise = np.stack([fractal(rng, 1.15), fractal(rng, 0.8)], axis=-1)
        self._noise = np.ascontiguousarray(noise)
        self._texel_m = column("tile_m") / SIZE

    def albedo(self, material: NDArray[np.uint8], uv: Array, footprint_m: Array) -> Array:
        """Texture factor (N, 3) at `uv` (N, 2), averaged over about `footprint_m` (N,)."""
        texel_m = self._texel_m[material]
        level = np.log2(np.maximum(footprint_m / texel_m, 1.0)).astype(np.int32)
        level = np.minimum(level, LEVELS - 1)
        x, y = ((uv / texel_m[:, None]).astype(np.int32) & (SIZE - 1)).T
        index = _LEVEL_START[level] + ((y >> level) << (9 - level)) + (x >> level)
        index += material.astype(np.int64) * TEXELS
        return self._texels[index].astype(np.float32) * np.float32(1 / 128)

    def noise(self, x: Array, y: Array, tile_m: float) -> Array:
        """Two independent noises (N, 2), unit variance, at coordinates in metres."""
        scale = np.float32(SIZE / tile_m)
        column_index = (x * scale).astype(np.int32) & (SIZE - 1)
        return self._noise[(y * scale).astype(np.int32) & (SIZE - 1), column_index]
