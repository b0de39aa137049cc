"""Vehicles and people of one traversal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from scmpr_ros.town.materials import Material
from scmpr_ros.town.mesh import Mesh
from scmpr_ros.town.vehicles.details import DRIVING, PARKED
from scmpr_ros.town.vehicles.motor_vehicles import (
    Vehicle,
    draw_paint,
    lorry,
    of_one_body,
    trailer,
)
from scmpr_ros.town.vehicles.people import draw_outfit, person
from scmpr_ros.town.vehicles.shapes import CAR
from scmpr_ros.town.vehicles.two_wheelers import bicycle, cyclist

Rng = np.random.Generator

KINDS = ("compact", "hatchback", "sedan", "estate", "suv", "mpv", "small_van", "minibus",
          "panel_van", "box_van", "lorry", "trailer", "bus")  # fmt: skip
_PARKED_SHARES = (0.19, 0.25, 0.14, 0.15, 0.08, 0.07, 0.04, 0.025, 0.025, 0.01, 0.005, 0.015, 0.0)
_DRIVING_SHARES = (0.17, 0.23, 0.15, 0.14, 0.08, 0.06, 0.04, 0.02, 0.04, 0.02, 0.02, 0.0, 0.03)


def vehicle(rng: Rng, kind: str, is_driving: bool = False) -> Vehicle:
    """A vehicle of one of `KINDS` at the origin, pointing along +x, with length and width (m).

    is_driving: whether its lamps are on.
    """
    lamps = DRIVING if is_driving else PARKED
    if kind == "trailer":
        return trailer(rng)
    if kind in ("box_van", "lorry"):
        return lorry(rng, {"box_van": "cab", "lorry": "lorry_cab"}[kind], lamps)
    return of_one_body(rng, kind, lamps)


class Pool:
    """The vehicles and people of one traversal: a few dozen shapes, which recur like real models.

    Every car gets its own paint.
    """

    def __init__(self, rng: Rng, shapes: int = 24) -> None:
        parked = rng.choice(KINDS, shapes, p=_PARKED_SHARES)
        driving = rng.choice(KINDS, shapes // 2, p=_DRIVING_SHARES)
        self._parked = [vehicle(rng, str(kind)) for kind in parked]
        self._driving = [vehicle(rng, str(kind), is_driving=True) for kind in driving]
        self._people = [person(rng) for _ in range(16)]
        self._bicycles = [bicycle(rng) for _ in range(8)]
        self._cyclists = [cyclist(rng) for _ in range(6)]
        _skip_motorcycles(rng)

    def vehicle(self, rng: Rng) -> Vehicle:
        """A parked vehicle with its length and width, its lamps off."""
        return _repainted(rng, self._parked[rng.integers(len(self._parked))])

    def driving_vehicle(self, rng: Rng) -> Vehicle:
        """A driving vehicle with its length and width, its lamps on."""
        return _repainted(rng, self._driving[rng.integers(len(self._driving))])

    def person(self, rng: Rng) -> Mesh:
        """A person on foot."""
        return self._people[rng.integers(len(self._people))]

    def bicycle(self, rng: Rng) -> Mesh:
        """A parked bicycle."""
        return self._bicycles[rng.integers(len(self._bicycles))]

    def cyclist(self, rng: Rng) -> Mesh:
        """A cyclist."""
        return self._cyclists[rng.integers(len(self._cyclists))]


def _skip_motorcycles(rng: Rng) -> None:
    """Consume the draws of three parked and two ridden motorcycles, which no town shows.

    They keep all later draws, and so the looks of towns, as they are.
    """
    rng.integers(5, size=3)
    for _ in range(2):
        rng.random()
        draw_outfit(rng)
        rng.integers(5)


def _repainted(rng: Rng, shape: Vehicle) -> Vehicle:
    """The shape with newly drawn paint; only passenger cars are repainted."""
    mesh, length, width = shape
    paint = draw_paint(rng)
    is_painted = (mesh.material == Material.CAR_PAINT) & (mesh.label == CAR)
    colour = np.where(is_painted[:, None], paint, mesh.colour).astype(np.float32)
    return replace(mesh, colour=colour), length, width
