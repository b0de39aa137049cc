"""Multi-view semantic-geometric matching: Sim = alpha phi + beta psi (eq. 10).

psi is the "visible semantic point overlap": how well the classes that are read in an image agree
with the part of a place's semantic panorama that the camera would look at. There are two measures.

`likelihood`, the default: the evidence for a place. In each cell the reading says how probable the
map's class is there, and the map how common it is in that row; psi is the logarithm of their ratio,
in nats, summed over the cells that are seen and divided by the number of all: a camera that sees
less says less. So rare agreements count more than those of road with road, and doubtful readings
less than sure ones. What is hidden by a dynamic thing, has no class, or lies where the map has no
return says nothing; sky over a wall speaks against the place. Maps whose labels come from geometry
confuse classes, and say which: see `PlaceMap`.

`iou`, as the paper has it: the weighted IoU of static classes between the most probable classes and
the map's. A cell counts where the map has a static return and where the camera looks and sees
neither a dynamic thing nor a thing without a class. Sky over a wall counts against the match.

In both, a wall where the map has no return does not count, for the map may simply not reach that
high.

For a fixed position a pixel is a direction, so psi needs no depth, and another heading is another
column: sliding the mask by whole columns around a candidate refines its heading. All candidates
and slides are computed in one batch, on any device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

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
_HIDING = (IGNORE, *DYNAMIC_IDS)
_RAREST = 1e-3  # share of a row's cells; a class that a map lacks is not impossible


@dataclass(frozen=True)
class MatchingConfig:
    """Weights of eq. 10, and what psi is."""

    alpha: float = 1.0
    beta: float = 0.8
    measure: Literal["likelihood", "iou"] = "likelihood"
    """What psi is: the evidence for a place in nats a cell, or the paper's weighted IoU, for which
    beta was 0.4."""
    slide_columns: int = 8
    """How far a mask may slide to either side of a candidate's heading, in panorama columns."""
    outlier_probability: float = 0.05
    """Share of cells in which image and map are taken to have nothing to do with each other:
    what a single cell can say against a place ends at its logarithm."""
    ground_weight: float = 0.5
    """For the IoU. The ground is nearly everywhere: it says little about where one is."""
    thin_weight: float = 2.0
    """For the IoU."""

    def __post_init__(self) -> None:
        if min(self.alpha, self.beta, self.ground_weight, self.thin_weight) < 0:
            raise ConfigError("alpha, beta and the class weights of psi cannot be negative")
        if self.measure not in ("likelihood", "iou"):
            raise ConfigError(f"measure is {self.measure!r}; there are likelihood and iou")
        if not 0 < self.outlier_probability < 1:
            raise ConfigError(
                f"outlier_probability is {self.outlier_probability}; it must lie between 0 and 1"
            )
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
    """Computes psi between readings on the view's grid and places of one map."""

    def __init__(
        self,
        mask_grid: AngularGrid,
        grid: AngularGrid,
        config: MatchingConfig,
        panoramas: Tensor,
        confusion: Tensor,
    ) -> None:
        """panoramas: (P, H, W) uint8 joint ids on `grid`; they say on which device all is computed.
        confusion: (S, S) shares of the map's labels by true static class, as of a `PlaceMap`.
        """
        device = panoramas.device
        self._panoramas, self._grid, self._config = panoramas, grid, config
        self._weights = torch.from_numpy(config.class_weights()).to(device)
        self._static, self._hiding = (
            torch.tensor(ids, device=device) for ids in (STATIC_IDS, _HIDING)
        )
        rows = np.floor(grid.rows(mask_grid.elevations())).astype(np.int64)
        self._row_seen = torch.from_numpy((rows >= 0) & (rows < grid.height)).to(device)
        self._rows = torch.from_numpy(rows.clip(0, grid.height - 1)).to(device)
        self._rates = _class_rates(panoramas)[:, self._rows, None]
        self._confusion = confusion.to(self._rates)
        columns = grid.columns(mask_grid.azimuths())
        self._columns = torch.from_numpy(columns).to(device)
        reach = config.slide_columns
        self._span = math.ceil(columns[-1] - columns[0]) + 1 + 2 * reach
        # Of slides that are equally good, the smallest: argmax takes the first.
        slides = sorted(range(-reach, reach + 1), key=abs)
        self._slides = torch.tensor(slides, device=device)
        self._shape = (mask_grid.height, mask_grid.width)

    def overlap(
        self, class_probs: Tensor, seen: Tensor, place: Tensor, yaw_rad: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Best psi over the slide, and the yaw it is reached at, for K candidates.

        Args:
            class_probs: (NUM_CLASSES, h, w) float32, predicted probabilities.
            seen: (h, w) bool, cells inside the camera's image.
            place: (K,) int64, numbers of places.
            yaw_rad: (K,) float64, headings before the slide.

        Returns:
            psi (K,) float32, zero where nothing is visible to both; yaw (K,) in radians.
        """
        if class_probs.shape != (NUM_CLASSES, *self._shape) or seen.shape != self._shape:
            expected = (NUM_CLASSES, *self._shape)
            raise ShapeError.of("class_probs", expected, tuple(class_probs.shape))
        looks = seen & self._row_seen[:, None]
        likely = self._config.measure == "likelihood"
        table = self._evidence(class_probs, looks) if likely else self._iou(class_probs, looks)
        columns = (self._columns - yaw_rad[:, None] / self._grid.column_rad).floor().long()
        first = columns[:, :1] - self._slides.amax()
        window = (first + torch.arange(self._span, device=first.device)) % self._grid.width
        terms = self._column_terms(table, place, window)

        slid = (columns - first)[:, None] + self._slides[:, None]  # (K, slides, w)
        slid = slid[:, :, None].expand(-1, -1, terms.shape[2], -1)
        sums = terms.gather(1, slid).sum(-1).unbind(-1)
        if likely:
            psi = sums[0] / looks.numel()
        else:
            psi = torch.where(sums[1] > 0, sums[0] / sums[1].clamp_min(1e-6), 0)
        best = psi.argmax(1)
        return psi.amax(1), yaw_rad - self._slides[best] * self._grid.column_rad

    def _evidence(self, class_probs: Tensor, looks: Tensor) -> Tensor:
        """What each class of the map says for the place in each cell, (NUM_CLASSES, h, 1, w).

        log[(1 - e) p(class | image) / p(class) + e], with e the outlier probability. Behind dynamic
        objects, which hide the street, the map's class keeps its prior probability.
        """
        labels = torch.einsum("khw,km->mhw", class_probs[self._static], self._confusion)
        ratio = labels / self._rates + class_probs[self._hiding].sum(0)
        outlier_probability = self._config.outlier_probability
        table = torch.zeros_like(class_probs)
        table[self._static] = (
            torch.log((1 - outlier_probability) * ratio + outlier_probability) * looks
        )
        return table[:, :, None]

    def _iou(self, class_probs: Tensor, looks: Tensor) -> Tensor:
        """What each class of the map adds to intersection and union in each cell of the mask.

        Returns (NUM_CLASSES, h, 2, w). Over the visible cells, the weighted IoU is the sum of the
        first over the sum of the second: where the two agree, the weight of their class; where
        they differ, nothing, over the weights of both.
        """
        mask = class_probs.argmax(0)
        classes = torch.arange(NUM_CLASSES, device=mask.device)[:, None, None]
        of_map = self._weights[:, None, None]
        visible = looks & ~torch.isin(mask, self._hiding) & (of_map > 0)
        intersection = of_map * (visible & (classes == mask))
        union = (of_map + self._weights[mask]) * visible - intersection
        return torch.stack([intersection, union], dim=2)

    def _column_terms(self, table: Tensor, place: Tensor, window: Tensor) -> Tensor:
        """What each column of a panorama would add in each column of the mask.

        table: (NUM_CLASSES, h, n, w). window: (K, c) columns of each candidate. Returns
        (K, c, n, w): sums over the mask's rows. Only these are slid, so that sliding costs next to
        nothing.
        """
        height = self._shape[0]
        labels = self._panoramas[place[:, None, None], self._rows, window[..., None]]  # (K, c, h)
        entries = labels.int() * height + torch.arange(height, device=window.device).int()
        sums = functional.embedding_bag(
            entries.flatten(0, 1), table.flatten(0, 1).flatten(1), mode="sum"
        )
        return sums.view(*window.shape, *table.shape[2:])


def _class_rates(panoramas: Tensor) -> Tensor:
    """How common each static class is among those of each row, (S, H); each row sums to one."""
    cells = panoramas.shape[0] * panoramas.shape[2]
    counts = torch.stack([(panoramas == index).sum((0, 2)) for index in STATIC_IDS])
    rates = counts / cells + _RAREST
    return rates / rates.sum(0)
