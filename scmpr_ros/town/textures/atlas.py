"""All textures of the town as mip pyramids in one table, with compiled lookups."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.town.compiled import compiled
from scmpr_ros.town.materials import Material, column
from scmpr_ros.town.textures import foliage, tiles
from scmpr_ros.town.textures.pictures import door_sheet, shop_sheet, window_sheet
from scmpr_ros.town.textures.sign_faces import sign_sheet
from scmpr_ros.town.textures.tiles import SIZE, fractal

Array = NDArray[np.floating]
Rng = np.random.Generator

LEVELS = 10

_TILES: dict[Material, Callable[[Rng], Array]] = {
    Material.ASPHALT: tiles.asphalt,
    Material.MARKING: tiles.marking,
    Material.KERB: tiles.concrete,
    Material.PAVING: tiles.slabs,
    Material.COBBLE: tiles.cobble,
    Material.GRASS: tiles.grass,
    Material.GRAVEL: tiles.gravel,
    Material.PLASTER: tiles.plaster,
    Material.BRICK: tiles.brick,
    Material.STONE: tiles.stone,
    Material.CONCRETE: tiles.concrete,
    Material.WINDOW: lambda rng: window_sheet(rng, SIZE),
    Material.DOOR: lambda rng: door_sheet(rng, SIZE),
    Material.SHOP: lambda rng: shop_sheet(rng, SIZE),
    Material.ROOF_TILES: tiles.roof_tiles,
    Material.ROOF_FLAT: tiles.gravel,
    Material.WOOD: tiles.wood,
    Material.BARK: tiles.bark,
    Material.LEAVES: foliage.leaves,
    Material.NEEDLES: foliage.needles,
    Material.TWIGS: foliage.twigs,
    Material.BLADES: foliage.blades,
    Material.METAL: tiles.smooth,
    Material.CORRUGATED: tiles.corrugated,
    Material.SHUTTER: tiles.shutter,
    Material.SOIL: tiles.soil,
    Material.SIGN: lambda rng: sign_sheet(rng, SIZE),
    Material.CAR_PAINT: tiles.smooth,
    Material.GLASS: tiles.smooth,
    Material.RUBBER: tiles.smooth,
    Material.CLOTH: tiles.cloth,
    Material.PLATE: tiles.smooth,
    Material.LAMP: tiles.smooth,
    Material.HEADLIGHT: tiles.smooth,
    Material.TAILLIGHT: tiles.smooth,
}


def _pyramid(tile: Array) -> NDArray[np.uint8]:
    """All mip levels of a tile (SIZE, SIZE, 3 or 4), flattened and concatenated: (TEXELS, 4) uint8.

    128 is an albedo factor of one; alpha is 255 if the tile has none.
    """
    if tile.shape[-1] == 3:
        tile = np.dstack([tile, np.full(tile.shape[:2], 255 / 128, tile.dtype)])
    else:
        tile = tile * np.array([1, 1, 1, 255 / 128])
    levels: list[Array] = [tile.astype(np.float32)]
    while len(levels) < LEVELS:
        t = levels[-1]
        levels.append((t[::2, ::2] + t[1::2, ::2] + t[::2, 1::2] + t[1::2, 1::2]) / 4)
    flat = np.concatenate([level.reshape(-1, 4) for level in levels])
    return np.clip(flat * 128 + 0.5, 0, 255).astype(np.uint8)


LEVEL_START = np.cumsum([0] + [(SIZE >> i) ** 2 for i in range(LEVELS - 1)])
TEXELS = int(LEVEL_START[-1] + (SIZE >> (LEVELS - 1)) ** 2)


class Textures(NamedTuple):
    """Texture tables for compiled code.

    texels: (materials * TEXELS, 4) uint8. texel_m: (materials,) float32, edge of a texel in uv
    units. is_cut: (materials,) bool. noise: (SIZE, SIZE, 2) float32, periodic, unit variance.
    """

    texels: NDArray[np.uint8]
    texel_m: NDArray[np.float32]
    is_cut: NDArray[np.bool_]
    noise: NDArray[np.float32]


def make_textures(rng: Rng) -> Textures:
    """Generate the textures of a town."""
    missing = [m.name for m in Material if m not in _TILES]
    assert not missing, missing
    texels = np.concatenate([_pyramid(_TILES[m](rng)) for m in Material])
    noise = np.stack([fractal(rng, 1.15), fractal(rng, 0.8)], axis=-1)
    return Textures(
        texels, column("tile_m") / np.float32(SIZE), column("is_cut") > 0,
        np.ascontiguousarray(noise, np.float32),
    )  # fmt: skip


@compiled
def is_hole(textures: Textures, material: int, u: float, v: float) -> bool:  # pragma: no cover
    """Whether the texture of a material has a hole at (u, v)."""
    texel = textures.texel_m[material]
    x = int(np.floor(u / texel)) & (SIZE - 1)
    y = int(np.floor(v / texel)) & (SIZE - 1)
    return textures.texels[material * TEXELS + y * SIZE + x, 3] < 128


@compiled
def albedo(
    textures: Textures, material: int, u: float, v: float, footprint: float, out: Array
) -> None:  # pragma: no cover
    """Write the albedo factor (3,) at (u, v) to `out`, averaged over about `footprint` uv units.

    Interpolates bilinearly in the mip level whose texels are closest to the footprint.
    """
    texel = textures.texel_m[material]
    level = 0
    size = footprint / texel
    while size > np.float32(1.42) and level < LEVELS - 1:
        size *= np.float32(0.5)
        level += 1
    edge = SIZE >> level
    x, y = (
        u / (texel * (1 << level)) - np.float32(0.5),
        v / (texel * (1 << level)) - np.float32(0.5),
    )
    x0, y0 = np.floor(x), np.floor(y)
    fx, fy = np.float32(x - x0), np.float32(y - y0)
    i0, j0 = int(x0) & (edge - 1), int(y0) & (edge - 1)
    i1, j1 = (i0 + 1) & (edge - 1), (j0 + 1) & (edge - 1)
    base = material * TEXELS + LEVEL_START[level]
    a, b = base + j0 * edge + i0, base + j0 * edge + i1
    c, d = base + j1 * edge + i0, base + j1 * edge + i1
    one = np.float32(1)
    for k in range(3):
        top = textures.texels[a, k] * (one - fx) + textures.texels[b, k] * fx
        low = textures.texels[c, k] * (one - fx) + textures.texels[d, k] * fx
        out[k] = (top * (one - fy) + low * fy) * np.float32(1 / 128)


@compiled
def noise(
    textures: Textures, x: float, y: float, tile_m: float, channel: int
) -> float:  # pragma: no cover
    """Smooth noise of unit variance at (x, y) in metres, with period `tile_m`; channel: 0 or 1."""
    scale = np.float32(SIZE) / np.float32(tile_m)
    x, y = x * scale, y * scale
    x0, y0 = np.floor(x), np.floor(y)
    fx, fy = np.float32(x - x0), np.float32(y - y0)
    i0, j0 = int(x0) & (SIZE - 1), int(y0) & (SIZE - 1)
    i1, j1 = (i0 + 1) & (SIZE - 1), (j0 + 1) & (SIZE - 1)
    n, one = textures.noise, np.float32(1)
    top = n[j0, i0, channel] * (one - fx) + n[j0, i1, channel] * fx
    low = n[j1, i0, channel] * (one - fx) + n[j1, i1, channel] * fx
    return top * (one - fy) + low * fy
