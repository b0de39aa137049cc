"""What houses may look like in each quarter: size, walls, windows, roof, colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.datasets.town.layout.street_network import Quarter
from scmpr_ros.datasets.town.materials import Material

Array = NDArray[np.float64]
Rng = np.random.Generator


@dataclass(frozen=True)
class House:
    """What distinguishes one house from the next. Lengths in metres, colours linear albedo."""

    width: float
    depth: float
    floors: int
    floor_height: float
    plinth: float
    wall: Material
    wall_colour: Array
    plinth_colour: Array
    trim_colour: Array
    window: tuple[float, float]
    window_pitch: float
    recess: float
    surround: float
    cornice: bool
    shop: bool
    balconies: bool
    roof: str
    roof_pitch: float
    roof_colour: Array
    blind_sides: bool

    @property
    def eaves(self) -> float:
        """Height of the walls above street level."""
        return self.plinth + self.floors * self.floor_height


_PLASTER_TINTS = np.array(
    [[0.70, 0.68, 0.62], [0.74, 0.73, 0.70], [0.66, 0.58, 0.40], [0.60, 0.48, 0.34],
     [0.52, 0.40, 0.34], [0.50, 0.52, 0.50], [0.66, 0.60, 0.30], [0.42, 0.36, 0.30],
     [0.58, 0.44, 0.40], [0.46, 0.52, 0.56], [0.30, 0.28, 0.26]]
)  # fmt: skip
_BRICK_TINTS = np.array([[0.34, 0.14, 0.09], [0.40, 0.20, 0.13], [0.42, 0.33, 0.22]])
_STONE_TINTS = np.array([[0.36, 0.28, 0.20], [0.32, 0.17, 0.12], [0.40, 0.38, 0.33]])
_ROOF_TINTS = np.array(
    [[0.26, 0.09, 0.055], [0.20, 0.08, 0.06], [0.10, 0.07, 0.06], [0.08, 0.08, 0.085],
     [0.32, 0.14, 0.08]]
)  # fmt: skip


def draw_house(rng: Rng, quarter: Quarter) -> House:
    """Draw a house that fits the quarter."""
    old, suburb = quarter is Quarter.OLD_TOWN, quarter in (Quarter.SUBURB, Quarter.PARK)
    industrial = quarter is Quarter.INDUSTRIAL
    wall = rng.choice(
        [Material.PLASTER, Material.BRICK, Material.STONE, Material.CONCRETE],
        p=[0.58, 0.16, 0.26, 0] if old else [0.85, 0.12, 0.03, 0] if suburb else [0.3, 0.2, 0, 0.5],
    )
    tints = {Material.BRICK: _BRICK_TINTS, Material.STONE: _STONE_TINTS}.get(wall, _PLASTER_TINTS)
    floors = rng.choice([3, 4, 5, 6], p=[0.3, 0.4, 0.25, 0.05]) if old else (
        rng.choice([1, 2, 3, 4], p=[0.22, 0.5, 0.2, 0.08]))  # fmt: skip
    width = rng.uniform(9, 22) if old else rng.uniform(8, 16) if suburb else rng.uniform(18, 40)
    pitched = ["gable", "hip", "gable_front"]
    roof = rng.choice([*pitched, "flat"], p=[0.55, 0.25, 0.02, 0.18] if old else
                      [0.45, 0.18, 0.25, 0.12] if suburb else [0.1, 0.0, 0.1, 0.8])  # fmt: skip
    colour = tints[rng.integers(len(tints))] * rng.uniform(0.8, 1.15) * rng.normal(1, 0.03, 3)
    window_width = rng.uniform(0.9, 1.5) if not industrial else rng.uniform(1.4, 2.8)
    return House(
        width=float(width),
        depth=float(rng.uniform(9, 14) if not industrial else rng.uniform(14, 30)),
        floors=int(floors),
        floor_height=float(rng.uniform(3.0, 3.8) if old else rng.uniform(2.6, 3.1)),
        plinth=float(rng.uniform(0.3, 1.1)),
        wall=Material(int(wall)),
        wall_colour=np.clip(colour, 0.03, 0.82),
        plinth_colour=colour * rng.uniform(0.35, 0.8),
        trim_colour=np.clip(rng.choice([0.68, 0.6, 0.3, 0.22]) * np.array([1, 0.95, 0.85]), 0, 0.8),
        window=(
            float(window_width),
            float(rng.uniform(1.2, 1.9) if old else rng.uniform(0.9, 1.5)),
        ),
        window_pitch=float(window_width + rng.uniform(0.8, 2.2 if not suburb else 3.4)),
        recess=float(rng.uniform(0.10, 0.30)),
        surround=float(rng.uniform(0.12, 0.22)) if old or rng.random() < 0.2 else 0.0,
        cornice=bool(old and rng.random() < 0.7),
        shop=bool(old and rng.random() < 0.4),
        balconies=bool(floors > 1 and rng.random() < (0.25 if old else 0.35)),
        roof=str(roof),
        roof_pitch=float(rng.uniform(0.55, 1.1)),
        roof_colour=_ROOF_TINTS[rng.integers(len(_ROOF_TINTS))] * rng.uniform(0.7, 1.3),
        blind_sides=bool(old),
    )
