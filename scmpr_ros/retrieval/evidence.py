"""Evidence of image cells for what a map may show in their direction, by Bayes.

In each cell the image gives probabilities of classes k and of ranges, and a place of the map shows
a class m, or no return, and a range. The evidence for the place is the likelihood ratio

    p(image | m) / p(image) = sum over k of p(k | image) / p(k) * p(k | m)

where p(k) is how often the training images showed class k in that row: the prior that a trained
classifier has absorbed and that must be divided out again, whatever map it meets later. p(k | m) is
how often class k is seen where the map shows m: mostly m itself, but also a car in front of it, and
sky or foliage where the map shows nothing. So a direction without return is evidence too, and
places that see little of the map do not win by default. The range head predicts what the map shows
directly: its evidence is p(range | image) / p(range).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from scmpr_ros.semantics import IGNORE, NUM_CLASSES, STATIC_IDS, class_id

_NOTHING = len(STATIC_IDS)
"""Slot of directions without a return, behind those of the static classes."""
_MISALIGNED = 0.1  # of cells with a static class where image and map may show neighbours
_PRIOR_WEIGHT = 2e-3  # of what is assumed before anything is measured


class CellStatistics(nn.Module):
    """Frequencies of classes and ranges in each row of the mask grid, measured on training images.

    class_pairs: (NUM_CLASSES, S + 1, h), image class and map class together; the last slot is no
        return. Each row sums to one, or is zero as long as nothing was measured.
    ranges: (num_ranges + 1, h), the last one is no return.
    """

    def __init__(self, rows: int, num_ranges: int) -> None:
        """num_ranges: into which the ranges of the map are sorted, beside no return."""
        super().__init__()
        self.class_pairs: Tensor
        self.ranges: Tensor
        self.register_buffer("class_pairs", torch.zeros(NUM_CLASSES, _NOTHING + 1, rows))
        self.register_buffer("ranges", torch.zeros(num_ranges + 1, rows))

    def measure(self, masks: Tensor, range_ids: Tensor, seen: Tensor) -> None:
        """Replace the frequencies by those of N images.

        A static class is taken to be what the map shows as well, up to misalignment; behind
        anything else the map may show any static class, in their frequency in that row.

        masks: (N, h, w) true joint ids. range_ids: (N, h, w) int64 ranges of the map at the same
        cells, the last one for no return. seen: (N, h, w) bool, cells inside the image.
        """
        empty = range_ids == len(self.ranges) - 1
        hit, missed = (_count_by_row(masks, seen & kind, NUM_CLASSES) for kind in (~empty, empty))
        static = list(STATIC_IDS)
        of_row = (hit[static] + 1) / (hit[static] + 1).sum(0)  # (S, h)
        pairs = torch.zeros_like(self.class_pairs)
        pairs[:, :_NOTHING] = hit[:, None] * of_row
        pairs[static, :_NOTHING] *= _MISALIGNED
        pairs[static, torch.arange(_NOTHING)] += (1 - _MISALIGNED) * hit[static]
        pairs[:, _NOTHING] = missed
        self.class_pairs.copy_(pairs / pairs.sum((0, 1)).clamp_min(1))
        ranges = _count_by_row(range_ids, seen, len(self.ranges))
        self.ranges.copy_(ranges / ranges.sum(0).clamp_min(1))

    def cell_ids(self, labels: Tensor, range_ids: Tensor) -> Tensor:
        """Index of what a cell shows, its row in `table`: (...) uint8, or int16 for many ranges.

        labels: joint ids, `ignore` without a return. range_ids: of the same shape.
        """
        slots = torch.full((NUM_CLASSES,), _NOTHING, dtype=torch.int64, device=labels.device)
        slots[list(STATIC_IDS)] = torch.arange(_NOTHING, device=labels.device)
        ids = slots[labels.long()] * len(self.ranges) + range_ids
        few = len(self.ranges) * (_NOTHING + 1) <= 256
        return ids.to(torch.uint8 if few else torch.int16)

    def table(
        self, class_probs: Tensor, range_probs: Tensor | None, class_ratios: Tensor,
        outlier_probability: float, range_weight: float,
    ) -> Tensor:  # fmt: skip
        """Log-evidence of everything that the map may show in each cell, (cell ids, h, w).

        Args:
            class_probs: (NUM_CLASSES, h, w), predicted.
            range_probs: (num_ranges + 1, h, w), predicted, the last one for no return; or None.
            class_ratios: of the map, see `class_ratios`.
            outlier_probability: that image and map are unrelated in a cell; bounds the evidence.
            range_weight: of the evidence of ranges.
        """
        kept = 1 - outlier_probability
        ratio = torch.einsum("khw,kmh->mhw", class_probs, class_ratios)
        classes = torch.log(kept * ratio + outlier_probability)
        if range_probs is None:
            return classes.repeat_interleave(len(self.ranges), 0)
        ratio = range_probs / _smoothed(self.ranges)[:, :, None]
        ranges = range_weight * torch.log(kept * ratio + outlier_probability)
        return (classes[:, None] + ranges).flatten(0, 1)

    def class_ratios(self, confusion: Tensor) -> Tensor:
        """p(k | m) / p(k) in a map, (NUM_CLASSES, S + 1, h), for `table`.

        confusion: (S, S) label given the class of an object, see `PlaceMap`.
        """
        pairs = self.class_pairs + _PRIOR_WEIGHT * _assumed_pairs().to(self.class_pairs)
        of_labels = torch.einsum("ksh,sl->klh", pairs[:, :_NOTHING], confusion)
        pairs = torch.cat([of_labels, pairs[:, _NOTHING:]], dim=1)
        given_map = pairs / pairs.sum(0)
        ratios = given_map / _normalised(pairs.sum(1))[:, None]
        ratios[IGNORE] = 1.0  # unknown: no evidence for anything
        return ratios


def _count_by_row(ids: Tensor, counted: Tensor, count: int) -> Tensor:
    """Cells of each id in each row, (count, h), of ids (N, h, w)."""
    rows = ids.shape[1]
    row = torch.arange(rows, device=ids.device)[:, None]
    flat = (ids.long() * rows + row)[counted]
    return torch.bincount(flat, minlength=count * rows).view(count, rows).float()


def _normalised(frequencies: Tensor) -> Tensor:
    return frequencies / frequencies.sum(0)


def _smoothed(frequencies: Tensor) -> Tensor:
    """Every id stays possible in every row."""
    return _normalised(frequencies + _PRIOR_WEIGHT / len(frequencies))


def _assumed_pairs() -> Tensor:
    """What meets what before anything is measured, (NUM_CLASSES, S + 1, 1); sums to one.

    Static classes meet themselves, sky meets no return, everything meets anything at times.
    """
    pairs = torch.full((NUM_CLASSES, _NOTHING + 1, 1), 0.02)
    pairs[list(STATIC_IDS), torch.arange(_NOTHING)] += 1
    pairs[class_id("sky"), _NOTHING] += 1
    return pairs / pairs.sum()
