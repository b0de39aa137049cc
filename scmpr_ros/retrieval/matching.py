"""Multi-view semantic-geometric matching: Sim = alpha phi + beta psi (eq. 10).

psi is the "visible semantic point overlap": the weighted IoU of static classes between the
predicted mask and the part of a place's semantic panorama that the camera would look at. A cell
counts where the map has a static return and where the camera looks and sees neither a dynamic
thing (which may hide the map) nor a thing without a class. Sky over a wall counts against the
match; a wall where the map has no return does not, for the map may simply not reach that high.

For a fixed position a pixel is a direction, so psi needs no depth, and another heading is another
column: sliding the mask by whole columns around a candidate refines its heading. All candidates
and slides are computed in one batch, on any device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from scmpr_ros.errors import ConfigError, ShapeError
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.semantics import CLASSES, DYNAMIC_IDS, IGNORE, NUM_CLASSES, STATIC_IDS

_GROUND = ("road", "sidewalk", "terrain")
_THIN = ("pole", "traffic_sign")


@dataclass(frozen=True)
class MatchingConfig:
    """Weights of eq. 10 and of the classes in psi."""

    alpha: float = 1.0
    beta: float = 0.4
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

    def __init__(
        self,
        mask_grid: AngularGrid,
        grid: AngularGrid,
        config: MatchingConfig,
        device: torch.device | str = "cpu",
    ) -> None:
        self._weights = torch.from_numpy(config.class_weights()).to(device)
        self._dynamic = torch.tensor((IGNORE, *DYNAMIC_IDS), dtype=torch.uint8, device=device)
        rows = np.floor(grid.rows(mask_grid.elevations())).astype(np.int64)
        self._row_seen = torch.from_numpy((rows >= 0) & (rows < grid.height)).to(device)
        self._rows = torch.from_numpy(rows.clip(0, grid.height - 1)).to(device)
        columns = grid.columns(mask_grid.azimuths())
        self._columns = torch.from_numpy(columns).to(device)
        reach = config.slide_columns
        self._span = math.ceil(columns[-1] - columns[0]) + 1 + 2 * reach
        # Of slides that are equally good, the smallest: argmax takes the first.
        slides = sorted(range(-reach, reach + 1), key=abs)
        self._slides = torch.tensor(slides, device=device)
        self._grid = grid
        self._shape = (mask_grid.height, mask_grid.width)

    def overlap(
        self, mask: Tensor, seen: Tensor, panoramas: Tensor, yaw_rad: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Best psi over the slide, and the yaw it is reached at, for K candidates.

        Args:
            mask: (h, w) uint8, predicted joint ids.
            seen: (h, w) bool, cells inside the camera's image.
            panoramas: (K, H, W) uint8, joint ids.
            yaw_rad: (K,) float64, headings before the slide.

        Returns:
            psi (K,) float32 in [0, 1], zero where nothing is visible to both; yaw (K,) in radians.
        """
        if mask.shape != self._shape or seen.shape != self._shape:
            raise ShapeError.of("mask", self._shape, tuple(mask.shape))
        table = self._column_table(mask, seen)
        columns = (self._columns - yaw_rad[:, None] / self._grid.column_rad).floor().long()
        first = columns[:, :1] - self._slides.amax()
        window = (first + torch.arange(self._span, device=first.device)) % self._grid.width
        terms = self._column_terms(table, panoramas, window)

        slid = (columns - first)[:, None] + self._slides[:, None]  # (K, slides, w)
        slid = slid[:, :, None].expand(-1, -1, 2, -1)
        intersection, union = terms.gather(1, slid).sum(-1).unbind(-1)
        psi = torch.where(union > 0, intersection / union.clamp_min(1e-6), 0)
        best = psi.argmax(1)
        return psi.amax(1), yaw_rad - self._slides[best] * self._grid.column_rad

    def _column_table(self, mask: Tensor, seen: Tensor) -> Tensor:
        """What each class of the map adds to intersection and union in each cell of the mask.

        Returns (NUM_CLASSES, h, 2, w). Over the visible cells, the weighted IoU is the sum of the
        first over the sum of the second: where the two agree, the weight of their class; where
        they differ, nothing, over the weights of both.
        """
        looks = seen & self._row_seen[:, None] & ~torch.isin(mask, self._dynamic)
        classes = torch.arange(NUM_CLASSES, device=mask.device)[:, None, None]
        of_map = self._weights[:, None, None]
        visible = looks & (of_map > 0)
        intersection = of_map * (visible & (classes == mask))
        union = (of_map + self._weights[mask.long()]) * visible - intersection
        return torch.stack([intersection, union], dim=2)

    def _column_terms(self, table: Tensor, panoramas: Tensor, window: Tensor) -> Tensor:
        """What each column of a panorama would add in each column of the mask.

        window: (K, n) columns of each candidate. Returns (K, n, 2, w): sums over the mask's rows.
        Only these are slid, so that sliding costs next to nothing.
        """
        height, width = self._shape
        candidates = torch.arange(len(panoramas), device=window.device)[:, None, None]
        labels = panoramas[candidates, self._rows, window[..., None]]  # (K, n, h)
        entries = labels.int() * height + torch.arange(height, device=window.device).int()
        sums = functional.embedding_bag(
            entries.flatten(0, 1), table.flatten(0, 1).flatten(1), mode="sum"
        )
        return sums.view(*window.shape, 2, width)
