"""Materials of the town: texture size, optics and LiDAR reflectance."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, auto

import numpy as np
from numpy.typing import NDArray

SHEET_CELLS = 4
"""A sheet of pictures (windows, doors, shops, signs, foliage) is a grid of 4 x 4 cells."""


class Material(IntEnum):
    """Every material of the town; its value indexes the tables of this module."""

    ASPHALT = 0
    MARKING = auto()
    KERB = auto()
    PAVING = auto()
    COBBLE = auto()
    GRASS = auto()
    GRAVEL = auto()
    PLASTER = auto()
    BRICK = auto()
    STONE = auto()
    CONCRETE = auto()
    WINDOW = auto()
    DOOR = auto()
    SHOP = auto()
    ROOF_TILES = auto()
    ROOF_FLAT = auto()
    WOOD = auto()
    BARK = auto()
    LEAVES = auto()
    NEEDLES = auto()
    TWIGS = auto()
    BLADES = auto()
    METAL = auto()
    CORRUGATED = auto()
    SHUTTER = auto()
    SOIL = auto()
    SIGN = auto()
    CAR_PAINT = auto()
    GLASS = auto()
    RUBBER = auto()
    CLOTH = auto()
    PLATE = auto()
    LAMP = auto()
    HEADLIGHT = auto()
    TAILLIGHT = auto()


GROUND = (Material.ASPHALT, Material.MARKING, Material.COBBLE, Material.PAVING, Material.KERB)
"""Paved ground, where puddles form."""
SMOOTH = (
    Material.WINDOW, Material.SHOP, Material.GLASS, Material.CAR_PAINT, Material.METAL,
    Material.SIGN, Material.LAMP, Material.HEADLIGHT, Material.TAILLIGHT, Material.PLATE,
)  # fmt: skip
"""Materials that absorb no water and shed snow."""


@dataclass(frozen=True)
class Surface:
    """Optics of one material.

    tile_m: edge of its square texture in uv units (metres, or 1 for a sheet of pictures).
    lidar_reflectance: diffuse reflectance in [0, 1] at 905 nm and perpendicular incidence.
    lidar_loss: share of pulses without any return.
    gloss: specular reflectance at perpendicular incidence.
    translucency: share of sunlight transmitted from behind.
    weathering: amplitude of albedo variation by stains and wear at scales above the tile.
    glow: radiance when switched on, in the unit of `Condition`; windows are lit individually.
    is_cut: whether the texture's alpha cuts holes that rays of camera and LiDAR pass through.
    """

    tile_m: float
    lidar_reflectance: float
    lidar_loss: float = 0.01
    gloss: float = 0.0
    translucency: float = 0.0
    weathering: float = 0.14
    glow: float = 0.0
    is_cut: bool = False


SURFACES: dict[Material, Surface] = {
    Material.ASPHALT: Surface(5.0, 0.32, 0.0, weathering=0.13),
    Material.MARKING: Surface(5.0, 0.6, 0.0),
    Material.KERB: Surface(3.0, 0.36, 0.0),
    Material.PAVING: Surface(3.2, 0.36, 0.0),
    Material.COBBLE: Surface(2.4, 0.34, 0.0),
    Material.GRASS: Surface(5.0, 0.40, weathering=0.28),
    Material.GRAVEL: Surface(4.0, 0.30),
    Material.PLASTER: Surface(7.0, 0.45),
    Material.BRICK: Surface(2.56, 0.33),
    Material.STONE: Surface(4.0, 0.35),
    Material.CONCRETE: Surface(5.0, 0.34),
    Material.WINDOW: Surface(1.0, 0.10, 0.55, 0.10, weathering=0.25, glow=0.03),
    Material.DOOR: Surface(1.0, 0.30, 0.05),
    Material.SHOP: Surface(1.0, 0.15, 0.40, 0.06, glow=0.04),
    Material.ROOF_TILES: Surface(3.0, 0.35, weathering=0.2),
    Material.ROOF_FLAT: Surface(5.0, 0.25),
    Material.WOOD: Surface(2.4, 0.35),
    Material.BARK: Surface(1.6, 0.30),
    Material.LEAVES: Surface(1.0, 0.48, 0.05, 0.0, 0.35, is_cut=True),
    Material.NEEDLES: Surface(1.0, 0.42, 0.05, 0.0, 0.2, is_cut=True),
    Material.TWIGS: Surface(1.0, 0.32, 0.05, is_cut=True),
    Material.BLADES: Surface(1.0, 0.42, 0.03, 0.0, 0.3, is_cut=True),
    Material.METAL: Surface(3.0, 0.35, 0.03, 0.03),
    Material.CORRUGATED: Surface(2.4, 0.38, 0.02, 0.02, weathering=0.12),
    Material.SHUTTER: Surface(1.6, 0.35),
    Material.SOIL: Surface(4.0, 0.28, weathering=0.25),
    Material.SIGN: Surface(1.0, 0.95, 0.01, 0.02, weathering=0.05),
    Material.CAR_PAINT: Surface(4.0, 0.40, 0.15, 0.045, weathering=0.03),
    Material.GLASS: Surface(4.0, 0.06, 0.75, 0.07),
    Material.RUBBER: Surface(2.0, 0.06, 0.10),
    Material.CLOTH: Surface(1.0, 0.35, 0.03),
    Material.PLATE: Surface(1.0, 0.95, 0.0, 0.02, weathering=0.02),
    Material.LAMP: Surface(1.0, 0.30, 0.10, 0.04, weathering=0.0, glow=1.5),
    Material.HEADLIGHT: Surface(1.0, 0.60, 0.10, 0.06, weathering=0.0, glow=3.0),
    Material.TAILLIGHT: Surface(1.0, 0.70, 0.05, 0.05, weathering=0.0, glow=0.8),
}


def column(name: str) -> NDArray[np.float32]:
    """One attribute of `Surface` as an array indexed by `Material`."""
    return np.array([getattr(SURFACES[m], name) for m in Material], np.float32)
