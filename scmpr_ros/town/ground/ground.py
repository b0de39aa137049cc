"""Queries about the ground: road, pavement or land, and height."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.town.ground.dropped_kerbs import DroppedKerbs
from scmpr_ros.town.ground.relief import Relief, camber
from scmpr_ros.town.ground.street_field import StreetField
from scmpr_ros.town.streets.network import StreetNetwork

Array = NDArray[np.float64]
Rng = np.random.Generator

KERB_HEIGHT_M = 0.12
_LOWERED_M = 0.095


class Ground:
    """Relief and streets, queried at points of the plan."""

    def __init__(self, rng: Rng, network: StreetNetwork) -> None:
        self.network = network
        self.hills = Relief.generate(rng)
        self.field = StreetField(network)
        self.dropped = DroppedKerbs(network, self.field)

    @property
    def extent(self) -> tuple[Array, Array]:
        """Lower corner (2,) and size (2,) of the plan in metres."""
        return self.field.low, np.array(self.field.shape[::-1]) * self.field.CELL_M

    def beyond_kerb(self, xy: Array) -> Array:
        """Signed distance to the kerb in metres, negative on the road."""
        return self.field(self.field.kerb, xy)

    def beyond_pavement(self, xy: Array) -> Array:
        """Signed distance to the pavement's outer edge in metres, negative on road and pavement."""
        return self.field(self.field.pavement, xy)

    def relief(self, xy: Array) -> Array:
        """Height (N,) of hills and cambered roads at points (N, 2), without kerbs."""
        xy = np.asarray(xy, np.float64).reshape(-1, 2)
        return self.hills(xy) + camber(self.beyond_kerb(xy))

    def kerb_height(self, xy: Array) -> Array:
        """Height (N,) of the kerb above the gutter near points (N, 2), lower at driveways."""
        return KERB_HEIGHT_M - _LOWERED_M * self.dropped(xy)

    def height(self, xy: Array) -> Array:
        """Height (N,) of the surface at points (N, 2), including the kerb off the road."""
        xy = np.asarray(xy, np.float64).reshape(-1, 2)
        return self.relief(xy) + self.kerb_height(xy) * (self.beyond_kerb(xy) > 0)

    def on_ground(self, xy: Array) -> Array:
        """Points (N, 3) on the surface."""
        xy = np.asarray(xy, np.float64).reshape(-1, 2)
        return np.concatenate([xy, self.height(xy)[:, None]], axis=1)
