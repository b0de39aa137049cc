"""Dropped kerbs at driveways and crossings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.town.ground.street_field import StreetField
from scmpr_ros.town.streets.network import StreetNetwork

Array = NDArray[np.float64]

LATTICE_M = 1.2
"""Edge of the ground's fine triangles."""
_RAMP_M = (0.8, 2.3)
"""The kerb is fully lowered within the first of a spot, and at full height beyond the second."""


class DroppedKerbs:
    """How far the kerb is lowered, 0 to 1, piecewise linear over the triangles of the ground.

    Sharing these triangles, objects on sloping pavements neither float nor sink in.
    """

    def __init__(self, network: StreetNetwork, field: StreetField) -> None:
        self._low = field.low
        shape = tuple(int(n * field.CELL_M / LATTICE_M) + 2 for n in field.shape)
        self._depth = np.zeros(shape)
        for spot in _spots(network, field):
            self._lower(spot)

    def _lower(self, spot: Array) -> None:
        first = np.floor((spot - _RAMP_M[1] - self._low) / LATTICE_M).astype(int)
        last = np.ceil((spot + _RAMP_M[1] - self._low) / LATTICE_M).astype(int) + 1
        window = (slice(first[1], last[1]), slice(first[0], last[0]))
        y, x = np.mgrid[window]
        away = np.hypot(*(np.stack([x, y]) * LATTICE_M + (self._low - spot)[:, None, None]))
        depth = np.clip((_RAMP_M[1] - away) / (_RAMP_M[1] - _RAMP_M[0]), 0, 1)
        self._depth[window] = np.maximum(self._depth[window], depth)

    def __call__(self, xy: Array) -> Array:
        """Degree (N,) to which the kerb is lowered at points (N, 2)."""
        g = (np.asarray(xy, np.float64) - self._low) / LATTICE_M
        rows, cols = self._depth.shape
        x, y = np.clip(g[:, 0], 0, cols - 1.001), np.clip(g[:, 1], 0, rows - 1.001)
        i, j = y.astype(int), x.astype(int)
        fy, fx = y - i, x - j
        corner = self._depth[i, j]
        opposite = self._depth[i + 1, j + 1]
        beside = np.where(fx > fy, self._depth[i, j + 1], self._depth[i + 1, j])
        longer, shorter = np.maximum(fx, fy), np.minimum(fx, fy)
        return np.asarray(corner + longer * (beside - corner) + shorter * (opposite - beside))


def _spots(network: StreetNetwork, field: StreetField) -> Array:
    """Points (N, 2) on kerbs at driveways and on both sides of street ends."""
    spots = [np.zeros((0, 2))]
    for street in network.streets:
        for side, s in street.driveways:
            spots.append(street.frame(s, side * street.half_width_m)[0])
        start, end = field.mouths(street)
        ends = [start + 1.5, street.length_m - end - 1.5][: 2 if street.end >= 0 else 1]
        for side in (1, -1):
            spots.append(street.frame(np.array(ends), side * street.half_width_m)[0])
    return np.concatenate(spots)
