"""Probabilities of the joint classes from what a mask reader answers."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scmpr_ros.networks.one_hot import one_hot
from scmpr_ros.semantics import IGNORE, NUM_CLASSES


def class_probs(answer: Tensor, output: str, joint: NDArray[np.uint8]) -> Tensor:
    """Probabilities (1, NUM_CLASSES, h, w) of the joint classes.

    answer: (1, C, h, w) float32 logits or probabilities of C classes, or (1, 1, h, w) ids; ids
        beyond the C known ones, such as 255, are `ignore`.
    output: as in `ReaderDescription.output`. joint: (C,) joint id of each.
    """
    table = torch.from_numpy(joint.astype(np.int64)).to(answer.device)
    if output == "ids":
        ids = answer[:, 0].round().long()
        known = (ids >= 0) & (ids < len(table))
        return one_hot(torch.where(known, table[ids.clamp(0, len(table) - 1)], IGNORE), NUM_CLASSES)
    probs = answer.softmax(1) if output == "logits" else answer.clamp_min(0)
    height, width = probs.shape[-2:]
    merged = probs.new_zeros(len(probs), NUM_CLASSES, height, width).index_add(1, table, probs)
    return merged / merged.sum(1, keepdim=True).clamp_min(1e-12)
