"""Multi-view semantic-geometric matching: Sim = alpha phi + beta psi (eq. 10).

psi is the "visible semantic point overlap": the weighted IoU of static classes between the
predicted mask and the part of a place's semantic panorama that the camera would look at. A cell
counts where the map has a static return and where the camera looks and sees neither a dynamic
thing (which may hide the map) nor a thing without a class. Sky over a wall counts against the
match; a wall where the map has no return does not, for the map may simply not reach that high.

For a fixed position a pixel is a direction, so psi needs no depth, and another heading is another
column: sliding the mask by whole columns around a candidate refines its heading.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import ConfigError, ShapeError
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.semantics import CLASSES, DYNAMIC_IDS, IGNORE, NUM_CLASSES, STATIC_IDS

_GROUND = ("road", "sidewalk", "terrain")
_THIN = ("pole", "traffic_sign")


@dataclass(frozen=True)
class MatchingConfig:
    """Weights of eq. 10 and of the classes in psi."""

    alpha: float = 1.0
    beta: float = 0.7
    slide_columns: int = 8
    """How far a mask may slide to either side of a candidate's heading, in panorama columns."""
    ground_weight: float = 0.5
    """The ground is nearly everywhere: it says little about where one is."""
    thin_weight: float = 2.0

    def __post_init__(self) -> None:
        if min(self.alpha, self.beta, self.ground_weight, self.thin_weight) < 0:
            raise ConfigError("alpha, beta and the class weights of psi cannot be negative")
        if self.slide_columns < 0:
            raise ConfigError(f"slide_columns is {self.slide_columns}; it cannot be negative")

    def class_weights(self) -> NDArray[np.float32]:
        """Weight of each joint class in psi, (NUM_CLASSES,); zero for all but static ones."""
        weights = np.zeros(NUM_CLASSES, dtype=np.float32)
        for index in STATIC_IDS:
            name = CLASSES[index].name
            thin = self.thin_weight if name in _THIN else 1.0
            weights[index] = self.ground_weight if name in _GROUND else thin
        return weights


class SemanticMatcher:
    """Computes psi between a mask on the view's grid and panoramas on the map's grid."""

    def __init__(self, mask_grid: AngularGrid, grid: AngularGrid, config: MatchingConfig) -> None:
        self._config = config
        self._weights = config.class_weights()
        rows = np.floor(grid.rows(mask_grid.elevations())).astype(np.int64)
        self._row_seen = (rows >= 0) & (rows < grid.height)
        self._rows = rows.clip(0, grid.height - 1)
        self._columns = grid.columns(mask_grid.azimuths())
        self._grid = grid
        self._shape = (mask_grid.height, mask_grid.width)

    def overlap(
        self,
        mask: NDArray[np.uint8],
        seen: NDArray[np.bool_],
        panoramas: NDArray[np.uint8],
        yaw_rad: NDArray[np.floating],
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Best psi over the slide, and the yaw it is reached at, for K candidates.

        Args:
            mask: (h, w) predicted joint ids. seen: (h, w), cells inside the camera's image.
            panoramas: (K, H, W) joint ids. yaw_rad: (K,) headings before the slide.

        Returns:
            psi (K,) in [0, 1], zero where nothing is visible to both; yaw (K,) in radians.
        """
        if mask.shape != self._shape or seen.shape != self._shape:
            raise ShapeError.of("mask", self._shape, mask.shape)
        reach = self._config.slide_columns
        slides = np.arange(-reach, reach + 1)
        # Of slides that are equally good, the smallest: argmax takes the first.
        slides = slides[np.argsort(np.abs(slides), kind="stable")]
        tables = self._cell_tables(mask, seen)
        psi = np.stack([self._overlap_at(tables, panoramas, yaw_rad, int(s)) for s in slides])
        best = psi.argmax(0)
        yaw = yaw_rad - slides[best] * self._grid.column_rad
        return psi.max(0), yaw

    def _cell_tables(self, mask: NDArray[np.uint8], seen: NDArray[np.bool_]) -> NDArray[np.float32]:
        """What each class of the map adds to intersection and union in each cell of the mask.

        Returns (2, NUM_CLASSES h w). Over the visible cells, the weighted IoU is the sum of the
        first over the sum of the second: where the two agree, the weight of their class; where
        they differ, nothing, over the weights of both.
        """
        looks = seen & self._row_seen[:, None] & ~np.isin(mask, (IGNORE, *DYNAMIC_IDS))
        agree = np.arange(NUM_CLASSES)[:, None, None] == mask[None]
        of_map = self._weights[:, None, None]
        visible = looks[None] & (of_map > 0)
        intersection = np.where(visible & agree, of_map, 0)
        union = np.where(visible, of_map + self._weights[mask][None], 0) - intersection
        return np.stack([intersection, union]).reshape(2, -1).astype(np.float32)

    def _overlap_at(
        self,
        tables: NDArray[np.float32],
        panoramas: NDArray[np.uint8],
        yaw_rad: NDArray[np.floating],
        slide: int,
    ) -> NDArray[np.float32]:
        """psi (K,) with the mask slid by whole columns to the right."""
        turn = np.asarray(yaw_rad)[:, None] / self._grid.column_rad
        columns = np.floor(self._columns[None] - turn + slide).astype(np.int32) % self._grid.width
        candidates = np.arange(len(panoramas))[:, None, None]
        of_map = panoramas[candidates, self._rows[None, :, None], columns[:, None, :]]

        cells = self._shape[0] * self._shape[1]
        entry = of_map.reshape(len(panoramas), cells).astype(np.int32) * cells + np.arange(cells)
        intersection, union = tables[0].take(entry).sum(1), tables[1].take(entry).sum(1)
        return np.where(union > 0, intersection / np.maximum(union, 1e-6), 0).astype(np.float32)
