"""Meshes of buildings of every kind."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from scmpr_ros.town.buildings.dwellings import (
    build_detached,
    build_slab,
    build_terrace,
)
from scmpr_ros.town.buildings.faces import Shell
from scmpr_ros.town.buildings.halls import build_hall, build_market
from scmpr_ros.town.buildings.house_styles import House, Kind
from scmpr_ros.town.buildings.landmarks import build_church, build_kiosk, build_school
from scmpr_ros.town.buildings.tenements import build_tenement
from scmpr_ros.town.buildings.villas import build_villa
from scmpr_ros.town.mesh import Mesh

Rng = np.random.Generator

_BUILDERS: dict[Kind, Callable[[Rng, Shell, House], None]] = {
    Kind.TENEMENT: build_tenement,
    Kind.DETACHED: build_detached,
    Kind.TERRACE: build_terrace,
    Kind.SLAB: build_slab,
    Kind.HALL: build_hall,
    Kind.MARKET: build_market,
    Kind.VILLA: build_villa,
    Kind.CHURCH: build_church,
    Kind.SCHOOL: build_school,
    Kind.KIOSK: build_kiosk,
}


def build_house(rng: Rng, house: House) -> Mesh:
    """Build a house in its own frame.

    x runs along the street, y into the plot, z up; the street front is the plane y = 0, the origin
    the middle of the front at street level. Walls reach `faces.FOUNDATION_M` below it.
    """
    shell = Shell()
    _BUILDERS[house.kind](rng, shell, house)
    return shell.mesh()
