"""How labels that come from a map's geometry differ from what an image shows."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from scmpr_ros.lidar.segmentation import point_confusion
from scmpr_ros.semantics import DYNAMIC_IDS, NUM_CLASSES, STATIC_IDS

_UNMAPPED = 0.5
"""Share of dynamic objects in images that the map does not hold: they moved, or came later."""
_OUTLIERS = 0.05
"""Share of cells whose label is unrelated to the image: poses, calibration, the edges of splats."""


def geometric_mask_confusion() -> Tensor:
    """Probability of each label (column) given the true class (row), (NUM_CLASSES, NUM_CLASSES).

    For masks that are rendered from a map whose points were classified by their geometry. Static
    classes are confused as `point_confusion` says. A dynamic object is labelled correctly, or as
    any static class that stands behind it. The sky may only be labelled by mistake.
    """
    static, dynamic = np.array(STATIC_IDS), np.array(DYNAMIC_IDS)
    table = np.eye(NUM_CLASSES)
    table[np.ix_(static, static)] = point_confusion()
    table[dynamic] *= 1 - _UNMAPPED
    table[np.ix_(dynamic, static)] = _UNMAPPED / len(static)
    table = (1 - _OUTLIERS) * table
    table[:, np.concatenate([static, dynamic])] += _OUTLIERS / (len(static) + len(dynamic))
    return torch.from_numpy(table).float()
