"""Multi-view semantic-geometric matching: Sim = alpha phi + beta psi (eq. 10).

psi is the "visible semantic point overlap": the agreement of the classes predicted in an image
with the part of a place's semantic panorama that the camera would see. Two measures are available.

`likelihood`, the default, is the evidence for a place: the sum over visible cells of the
log-likelihood ratios of the classes and ranges that the map shows there, see `evidence`, divided by
the number of all cells, in nats: a camera that sees less gives less evidence. Rare agreements count
more than road on road, confident predictions more than uncertain ones. Cells in which the map shows
nothing count as well: a camera that sees walls there speaks against the place. Maps labelled by
geometry confuse classes; their confusion matrix is taken into account, see `PlaceMap`.

`iou` is the paper's measure: the weighted IoU of static classes between the most probable classes
and the map. Cells count where the map has a static return and the image shows neither a dynamic
object nor an unknown class. Sky over a wall counts against the place. A wall where the map has no
return is ignored: the LiDAR may not have reached that high.

Cells of small maps are kept on the device; of large ones those of the candidates are read for each
image, with equal results.

For a fixed position a pixel is a direction, so psi needs no depth, and a change of heading is a
shift of columns: sliding the mask by whole columns around a candidate refines its heading. All
candidates and slides are computed in one batch, on any device.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from scmpr_ros.errors import ConfigError, ShapeError
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.retrieval.evidence import CellStatistics
from scmpr_ros.retrieval.panoramas import Panoramas
from scmpr_ros.semantics import (
    CLASSES,
    DYNAMIC_IDS,
    GROUND_IDS,
    IGNORE,
    NUM_CLASSES,
    STATIC_IDS,
)

_THIN = ("pole", "traffic_sign")
_HIDING = (IGNORE, *DYNAMIC_IDS)
_KEPT_CELLS = 1 << 27
"""Cells, of a byte or two, that are kept on a CPU: 15,000 places of 24 x 360."""
_BLOCK_PLACES = 1024


@dataclass(frozen=True)
class MatchingConfig:
    """Weights of eq. 10 and measure of psi."""

    alpha: float = 1.0
    beta: float = 1.0
    """Weight of psi; with 0, masks do not move the heading of a candidate either."""
    measure: Literal["likelihood", "iou"] = "likelihood"
    """Measure of psi: evidence for a place in nats per cell, or the paper's weighted IoU (use it
    with beta 0.4)."""
    range_weight: float = 0.15
    """Weight of the ranges beside the classes in the evidence; 0 leaves them out."""
    slide_columns: int = 8
    """How far a mask may slide to either side of a candidate's heading, in panorama columns."""
    outlier_probability: float = 0.05
    """Probability that image and map are unrelated in a cell. Its logarithm bounds the evidence of
    a single cell against a place."""
    ground_weight: float = 0.5
    """Weight of ground classes in the IoU. Ground is nearly everywhere: it says little about where
    the camera is."""
    thin_weight: float = 2.0
    """Weight of poles and traffic signs in the IoU."""

    def __post_init__(self) -> None:
        weights = (
            self.alpha, self.beta, self.range_weight, self.ground_weight, self.thin_weight
        )  # fmt: skip
        if not all(0 <= weight < math.inf for weight in weights):
            raise ConfigError(
                "alpha, beta, range_weight, ground_weight and thin_weight must be finite and not "
                f"negative, got {weights}"
            )
        if self.measure not in ("likelihood", "iou"):
            raise ConfigError(f"measure is {self.measure!r}; it must be likelihood or iou")
        if not 0 < self.outlier_probability < 1:
            raise ConfigError(
                f"outlier_probability is {self.outlier_probability}; it must lie between 0 and 1"
            )
        if self.slide_columns < 0:
            raise ConfigError(f"slide_columns is {self.slide_columns}; it cannot be negative")

    def class_weights(self) -> NDArray[np.float32]:
        """Weight of each joint class in the IoU, (NUM_CLASSES,); zero unless static."""
        weights = np.zeros(NUM_CLASSES, dtype=np.float32)
        for index in STATIC_IDS:
            name = CLASSES[index].name
            thin = self.thin_weight if name in _THIN else 1.0
            weights[index] = self.ground_weight if index in GROUND_IDS else thin
        return weights


class SemanticMatcher:
    """Computes psi between predictions on the mask's grid and the places of one map."""

    def __init__(
        self,
        mask_grid: AngularGrid,
        grid: AngularGrid,
        config: MatchingConfig,
        panoramas: Panoramas,
        range_ids: Callable[[Tensor], Tensor],
        confusion: Tensor,
        statistics: CellStatistics,
        keep: bool | None = None,
    ) -> None:
        """Take the panoramas of all places; their device is used for everything.

        panoramas: on `grid`. range_ids: returns the ids (...) of ranges in metres (...), as counted
        by `statistics`. confusion: (S, S) as in `PlaceMap`. keep: the cells of all places on the
        device; by default on GPUs, and for maps that are not large.
        """
        device = panoramas.device
        self._grid, self._config = grid, config
        self._likelihood = config.measure == "likelihood"
        self._statistics = statistics
        self._panoramas = panoramas
        # Ids by look-up are 15 times as fast, which counts where they are made for each image.
        every_half = torch.arange(-(1 << 15), 1 << 15, dtype=torch.int16, device=device)
        ids = range_ids(every_half.view(torch.float16))
        self._range_table = torch.cat([ids[1 << 15 :], ids[: 1 << 15]])  # by bits, without sign
        count = len(statistics.ranges)
        classes = torch.arange(NUM_CLASSES, dtype=torch.uint8, device=device)[:, None]
        self._cell_table = statistics.cell_ids(
            classes.expand(-1, count), torch.arange(count, device=device)
        )
        if keep is None:
            keep = device.type != "cpu" or panoramas.num_cells <= _KEPT_CELLS
        self._kept = self._all_cells() if keep else None
        self._weights = torch.from_numpy(config.class_weights()).to(device)
        self._hiding = torch.tensor(_HIDING, device=device)
        rows = np.floor(grid.rows(mask_grid.elevations())).astype(np.int64)
        self._row_seen = torch.from_numpy((rows >= 0) & (rows < grid.height)).to(device)
        self._rows = torch.from_numpy(rows.clip(0, grid.height - 1)).to(device)
        self._class_ratios = statistics.class_ratios(confusion.to(device, torch.float32))
        columns = grid.columns(mask_grid.azimuths())
        self._columns = torch.from_numpy(columns).to(device)
        reach = config.slide_columns
        self._span = math.ceil(columns[-1] - columns[0]) + 1 + 2 * reach
        # Smallest slides first: argmax takes the first of equals.
        slides = sorted(range(-reach, reach + 1), key=abs)
        self._slides = torch.tensor(slides, device=device)
        self._shape = (mask_grid.height, mask_grid.width)

    def overlap(
        self, class_probs: Tensor, range_probs: Tensor | None, seen: Tensor, place: Tensor,
        yaw_rad: Tensor,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Compute the best psi over all slides, and its yaw, for K candidates.

        Args:
            class_probs: (NUM_CLASSES, h, w) float32, predicted probabilities.
            range_probs: (num_ranges + 1, h, w) float32, predicted, the last one for no return;
                None if none are predicted.
            seen: (h, w) bool, cells inside the camera's image.
            place: (K,) int64, indices of places.
            yaw_rad: (K,) float64, headings before the slide.

        Returns:
            psi (K,) float32, zero if image and map see nothing in common; yaw (K,) float64.
        """
        if class_probs.shape != (NUM_CLASSES, *self._shape) or seen.shape != self._shape:
            expected = (NUM_CLASSES, *self._shape)
            raise ShapeError.of("class_probs", expected, tuple(class_probs.shape))
        visible = seen & self._row_seen[:, None]
        if self._likelihood:
            table = self._evidence(class_probs, range_probs, visible)
        else:
            table = self._iou(class_probs, visible)
        columns = (self._columns - yaw_rad[:, None] / self._grid.column_rad).floor().long()
        first = columns[:, :1] - self._slides.amax()
        window = (first + torch.arange(self._span, device=first.device)) % self._grid.width
        terms = self._column_terms(table, *self._cells_of(place), window)

        slid = (columns - first)[:, None] + self._slides[:, None]  # (K, slides, w)
        slid = slid[:, :, None].expand(-1, -1, terms.shape[2], -1)
        sums = terms.gather(1, slid).sum(-1).unbind(-1)
        if self._likelihood:
            psi = sums[0] / visible.numel()
        else:
            psi = torch.where(sums[1] > 0, sums[0] / sums[1].clamp_min(1e-6), 0)
        best = psi.argmax(1)
        return psi.amax(1), yaw_rad - self._slides[best] * self._grid.column_rad

    def _evidence(self, class_probs: Tensor, range_probs: Tensor | None, visible: Tensor) -> Tensor:
        """Evidence of all that the map may show in each cell, (cell ids, h, 1, w)."""
        table = self._statistics.table(
            class_probs, range_probs, self._class_ratios, self._config.outlier_probability,
            self._config.range_weight,
        )  # fmt: skip
        return (table * visible)[:, :, None]

    def _iou(self, class_probs: Tensor, visible: Tensor) -> Tensor:
        """Intersection and union of each possible class of the map in each cell of the mask.

        Returns (NUM_CLASSES, h, 2, w). The weighted IoU is the sum of the first over the sum of the
        second: a cell adds the weight of its class to both where image and map agree, and the
        weights of both classes to the union where they differ.
        """
        mask = class_probs.argmax(0)
        classes = torch.arange(NUM_CLASSES, device=mask.device)[:, None, None]
        weights = self._weights[:, None, None]
        counted = visible & ~torch.isin(mask, self._hiding) & (weights > 0)
        intersection = weights * (counted & (classes == mask))
        union = (weights + self._weights[mask]) * counted - intersection
        return torch.stack([intersection, union], dim=2)

    def _all_cells(self) -> Tensor:
        count = len(self._panoramas)
        blocks = (slice(i, i + _BLOCK_PLACES) for i in range(0, count, _BLOCK_PLACES))
        return torch.cat([self._cells(*self._panoramas.of(block)) for block in blocks])

    def _cells_of(self, place: Tensor) -> tuple[Tensor, Tensor]:
        """Cells (U, H, W) that include those of some places (K,), and their rows in it (K,)."""
        if self._kept is not None:
            return self._kept, place
        unique, rows = place.unique(return_inverse=True)
        return self._cells(*self._panoramas.of(unique.cpu().numpy())), rows

    def _cells(self, labels: Tensor, ranges_m: Tensor) -> Tensor:
        """What each cell shows, as an index into the table of evidence or of classes."""
        if not self._likelihood:
            return labels
        bits = ranges_m.view(torch.int16).flatten().int() & 0xFFFF
        range_id = self._range_table.index_select(0, bits)
        entry = labels.flatten().int() * self._cell_table.shape[1] + range_id
        return self._cell_table.flatten().index_select(0, entry).view(labels.shape)

    def _column_terms(self, table: Tensor, cells: Tensor, row: Tensor, window: Tensor) -> Tensor:
        """Terms of each panorama column if it were seen in each column of the mask.

        table: (cell ids, h, n, w). cells: (U, H, W). row: (K,) those of the candidates.
        window: (K, c) panorama columns of each candidate.

        Returns (K, c, n, w), summed over the mask's rows. Slides reuse these sums, which makes
        them nearly free.
        """
        height = self._shape[0]
        shown = cells[row[:, None, None], self._rows, window[..., None]]  # (K, c, h)
        entries = shown.int() * height + torch.arange(height, device=window.device).int()
        sums = functional.embedding_bag(
            entries.flatten(0, 1), table.flatten(0, 1).flatten(1), mode="sum"
        )
        return sums.view(*window.shape, *table.shape[2:])
