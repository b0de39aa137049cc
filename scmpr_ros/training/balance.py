"""How often each view is drawn, so that few real frames are used well and no town is forgotten.

A car that waits at a light takes many images of one view, and a straight kilometre many of one
heading. Neither must dominate what is learned from a recording.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from scmpr_ros.training.pairs import PairDataset
from scmpr_ros.training.preparation import PreparedRecording

CELL_M = 2.0
"""Views in a square of this side with nearly the same heading count as one."""
SECTOR_DEG = 30.0
"""Headings within a sector of this size are nearly the same."""


def mixed_weights(dataset: PairDataset, own: int, own_share: float) -> Tensor:
    """Weight of each item of a dataset for `NeighbourhoodSampler`, (N,) float64; their sum is 1.

    own: number of recordings, the first ones, that share `own_share` and are balanced by
        `balanced_weights`. The views of all others share the rest equally.
    """
    weights = torch.ones(len(dataset), dtype=torch.float64)
    is_own = torch.zeros(len(dataset), dtype=torch.bool)
    for number in range(own):
        items, views = dataset.of_recording(number)
        weights[items] = balanced_weights(dataset.recordings[number], views)
        is_own[items] = True
    for part, share in ((is_own, own_share), (~is_own, 1 - own_share)):
        weights[part] *= share / weights[part].sum()
    return weights


def balanced_weights(recording: PreparedRecording, views: Tensor) -> Tensor:
    """Weight of some views (N,) of a recording, float64.

    Each occupied cell of position and heading has a weight, which its views share: the inverse
    square root of the number of cells with that heading, half way between equal weights for all
    cells and for all headings.
    """
    cells = np.floor(recording.poses[views, :2, 3].numpy() / CELL_M).astype(np.int64)
    sectors = np.floor(recording.yaw_rad[views].numpy() / np.deg2rad(SECTOR_DEG) + 0.5)
    sectors = sectors.astype(np.int64) % round(360 / SECTOR_DEG)
    keys = np.column_stack([cells, sectors])
    occupied, cell, count = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    _, sector, extent = np.unique(occupied[:, 2], return_inverse=True, return_counts=True)
    of_cell = 1 / (np.sqrt(extent[sector.ravel()]) * count)
    return torch.from_numpy(of_cell[cell.ravel()])
