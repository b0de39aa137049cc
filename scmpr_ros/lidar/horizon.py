"""How much a place sees, from the map seen from above: structures, and where the map ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from scmpr_ros.lidar.drivable_ground import DrivableGround
from scmpr_ros.lidar.ground import GroundGrid
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import IS_DYNAMIC

_REACH_M = 40.0
_UNMAPPED_REACH_M = 20.0  # farther off, gaps between returns are no border
_STRUCTURE_M = 0.7  # lower things do not block the view
_CLIFF = 1.0
_DIRECTIONS = 72
_GAP_CELLS = 5  # narrower gaps between returns are closed
_PLACES_PER_CHUNK = 256


class Views(NamedTuple):
    """Shares (P,) of the horizon of P places.

    structure_share: directions with something upright within 40 m.
    unmapped_share: directions in which nothing upright stands between the place and the end of the
        map, less than 20 m away.
    """

    structure_share: NDArray[np.float64]
    unmapped_share: NDArray[np.float64]


@dataclass(frozen=True)
class Horizon:
    """A map from above: cells of the grid with any return, and those with something upright."""

    grid: GroundGrid
    is_mapped: NDArray[np.bool_]
    is_structure: NDArray[np.bool_]

    @classmethod
    def of(cls, cloud: PointCloud, ground: DrivableGround) -> Horizon:
        """Enter the points of a cloud."""
        rows, columns = ground.grid.cells(cloud.xyz)
        mapped, structure = np.zeros((2, *ground.grid.height_m.shape), bool)
        mapped[rows, columns] = True
        upright = ground.height_m > _STRUCTURE_M
        if cloud.label is not None:
            upright &= ~IS_DYNAMIC[cloud.label]  # places do not see them
        structure[rows[upright], columns[upright]] = True
        structure |= ground.grid.slope > _CLIFF  # of a roof that the grid takes for ground
        padded = np.pad(mapped, _GAP_CELLS)
        closed = ndimage.binary_closing(padded, np.ones((_GAP_CELLS, _GAP_CELLS), bool))
        inside = slice(_GAP_CELLS, -_GAP_CELLS)
        return cls(ground.grid, closed[inside, inside], structure)

    def views(self, xy: NDArray[np.floating]) -> Views:
        """What places at (P, 2) see."""
        chunks = [
            self._views(xy[start : start + _PLACES_PER_CHUNK])
            for start in range(0, len(xy), _PLACES_PER_CHUNK)
        ]
        structure, unmapped = zip(*chunks, strict=True) if chunks else ((), ())
        return Views(np.concatenate([[], *structure]), np.concatenate([[], *unmapped]))

    def _views(self, xy: NDArray[np.floating]) -> Views:
        azimuth = np.arange(_DIRECTIONS) * (2 * np.pi / _DIRECTIONS)
        step_m = self.grid.cell_m
        range_m = np.arange(1, int(_REACH_M / step_m) + 1) * step_m
        ray = np.stack([np.cos(azimuth), np.sin(azimuth)], axis=1)[:, None] * range_m[:, None]
        along = (xy[:, None, None, :2] + ray - self.grid.corner) / step_m
        index = np.floor(along).astype(np.int32)
        inside = ((index >= 0) & (index < self.is_mapped.shape)).all(axis=-1)
        row, column = np.where(inside[..., None], index, 0).transpose(3, 0, 1, 2)
        structure = self.is_structure[row, column] & inside
        unmapped = ~(self.is_mapped[row, column] & inside)
        first_structure = _first(structure)
        first_unmapped = _first(unmapped)
        leads_out = (first_unmapped < first_structure) & (
            first_unmapped < _UNMAPPED_REACH_M / step_m
        )
        return Views(structure.any(axis=2).mean(axis=1), leads_out.mean(axis=1))


def _first(flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Index of the first True along the last axis; its length if there is none."""
    return np.where(flags.any(axis=-1), flags.argmax(axis=-1), flags.shape[-1])
