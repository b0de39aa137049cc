"""Ids of cells as shares of each class, the form in which images and panoramas are compared."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from scmpr_ros.semantics import NUM_CLASSES


def one_hot(ids: Tensor, count: int) -> Tensor:
    """1 where a cell of ids (B, H, W) is of a class, 0 elsewhere: (B, count, H, W) float32.

    By comparison: torch's own writes 64-bit integers first, which takes three times as long.
    """
    classes = torch.arange(count, dtype=ids.dtype, device=ids.device)
    return (ids[:, None] == classes[:, None, None]).float()


def one_hot_share(label: Tensor, size: tuple[int, ...]) -> Tensor:
    """Share (B, NUM_CLASSES, *size) of each class of ids (B, H, W), in a grid of fewer cells."""
    return functional.adaptive_avg_pool2d(one_hot(label, NUM_CLASSES), (size[0], size[1]))
