"""Accuracy of panoramas rendered from a map's points, against what rays hit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import DatasetError

SEE_THROUGH_M = 0.5
"""A cell whose range is longer than the truth's by more than this shows what lies behind."""


@dataclass(frozen=True)
class PanoramaAccuracy:
    """Shares of cells, over all panoramas.

    coverage: of the cells where the truth has a surface in range, those that show anything.
    see_through: of these, those that show something `SEE_THROUGH_M` behind the surface.
    too_near: of these, those that show something as far in front of it.
    labels: of these, those with the right class.
    beyond: of all cells that show anything, those where the truth has no surface in range.
    """

    coverage: float
    see_through: float
    too_near: float
    labels: float
    beyond: float
    cells: int


Picture = tuple[NDArray[np.float32], NDArray[np.uint8]]
"""Ranges (H, W) in metres and joint classes (H, W)."""


def panorama_accuracy(
    pairs: Iterable[tuple[Picture, Picture]], min_range_m: float, max_range_m: float
) -> PanoramaAccuracy:
    """Compare pairs (rendered, true) of panoramas of any size.

    A range is zero, or infinite, where nothing is seen. Surfaces outside of min_range_m and
    max_range_m are left out.

    Raises DatasetError if no rendered cell shows a surface of the truth.
    """
    counts = np.zeros(6, np.int64)
    for (range_m, label), (true_m, true_label) in pairs:
        covered = range_m > 0
        surface = (true_m >= min_range_m) & (true_m <= max_range_m)
        both, behind = covered & surface, range_m - np.where(surface, true_m, 0)
        counts += [
            surface.sum(), both.sum(), (both & (behind > SEE_THROUGH_M)).sum(),
            (both & (behind < -SEE_THROUGH_M)).sum(), (both & (label == true_label)).sum(),
            covered.sum(),
        ]  # fmt: skip
    surfaces, shown, through, near, right, covered_cells = (int(count) for count in counts)
    if shown == 0:
        raise DatasetError(
            "no panorama shows a surface that the rays hit: are map and truth of the same frame?"
        )
    return PanoramaAccuracy(
        shown / surfaces, through / shown, near / shown, right / shown,
        1 - shown / covered_cells, surfaces,
    )  # fmt: skip
