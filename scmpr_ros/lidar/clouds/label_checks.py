"""Notice labels that mean something else than what is assumed, by where their points are.

Ids of different label sets overlap: class 2 is ground to ASPRS, and a building in other sets. A
ground that stands on something else is none.
"""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import DatasetError
from scmpr_ros.label_sets import LabelSet
from scmpr_ros.lidar.clouds.checks import CloudSample
from scmpr_ros.semantics import GROUND_IDS

_log = logging.getLogger(__name__)

_CELL_M = 20.0
"""Wider than most buildings, so that the ground beside them is in their cells."""
_FEWEST_IN_CELL = 20
_LOWEST_SHARE = 0.05
_BOTTOM_M, _RAISED_M = 1.0, 2.0
_MOST_RAISED = 0.25
_FEWEST_GROUND = 100


def check_ground_labels(
    sample: CloudSample, labels: LabelSet, where: str, assumed: bool = True
) -> None:
    """Refuse labels by which the ground stands on other things; `where` names the file.

    assumed: whether nobody said that it is this label set; else there is but a warning.
    """
    if sample.label is None:
        return
    is_ground = np.isin(labels.to_joint(sample.label), GROUND_IDS)
    if is_ground.sum() < _FEWEST_GROUND:
        return
    raised = _raised(sample.xyz, is_ground)[is_ground].mean()
    if raised <= _MOST_RAISED:
        return
    ids = ", ".join(map(str, np.unique(sample.label[is_ground])[:6]))
    found = (
        f"{where}: {raised:.0%} of the points that are ground in {labels.name} (ids {ids}) stand "
        f"more than {_RAISED_M:.0f} m above points that are not"
    )
    if not assumed:
        _log.warning("%s: are they ids of this set?", found)
        return
    raise DatasetError(
        f"{found}: set label_set to a YAML file that maps your ids to classes, to {labels.name} if "
        "they are its ids, or to none to ignore them"
    )


def _raised(xyz: NDArray[np.float64], is_ground: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which points (S,) are far above the lowest of their cell, few of which are ground."""
    index = np.floor(xyz[:, :2] / _CELL_M).astype(np.int64)
    _, cell, count = np.unique(index, axis=0, return_inverse=True, return_counts=True)
    cell = cell.reshape(-1)
    order = np.lexsort((xyz[:, 2], cell))
    first = np.cumsum(count) - count
    bottom = xyz[order[first + (_LOWEST_SHARE * count).astype(int)], 2]
    at_bottom = xyz[:, 2] < bottom[cell] + _BOTTOM_M
    lowest = np.bincount(cell[at_bottom], minlength=len(count))
    of_ground = np.bincount(cell[at_bottom & is_ground], minlength=len(count))
    judged = (count >= _FEWEST_IN_CELL) & (2 * of_ground < lowest)  # walls have a foot there, too
    raised: NDArray[np.bool_] = judged[cell] & (xyz[:, 2] > bottom[cell] + _RAISED_M)
    return raised
