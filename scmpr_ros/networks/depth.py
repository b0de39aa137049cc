"""Depth in the terms of a LiDAR map: what range the map shows in each direction of a view.

The depth head does not measure how far a pixel is. It tells, for each cell of the mask's grid, in
which of a few ranges the map would have its return, or that it would have none: sky, what a LiDAR
never reached, and what hides the street today but was not there when it was mapped. So its truth is
the map itself, seen from the camera's pose, and needs no depth sensor beside the camera.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scmpr_ros.errors import ConfigError
from scmpr_ros.networks.shares import one_hot


@dataclass(frozen=True)
class DepthConfig:
    """The ranges that are told apart."""

    edges_m: tuple[float, ...] = (1.0, 4.0, 5.5, 7.0, 9.0, 12.0, 15.5, 20.0, 27.0, 36.0, 50.0)
    """Rising, each about a third more than the last: as a monocular estimate errs by a share."""

    def __post_init__(self) -> None:
        edges = self.edges_m
        if len(edges) < 2 or any(a >= b for a, b in zip(edges, edges[1:], strict=False)):
            raise ConfigError(f"edges_m {edges} must rise, with two edges at least")
        if edges[0] < 0:
            raise ConfigError(f"edges_m begin at {edges[0]}: a range cannot be negative")

    @property
    def num_ranges(self) -> int:
        """Ranges that are told apart; `nothing` comes on top as the last class of the head."""
        return len(self.edges_m) - 1


def range_ids(range_m: Tensor, config: DepthConfig) -> Tensor:
    """Index of the range of every cell, int64; `num_ranges` where there is no return in reach."""
    edges = torch.tensor(config.edges_m, device=range_m.device)
    ids = torch.bucketize(range_m.float(), edges, right=True) - 1
    return torch.where((ids < 0) | (ids >= config.num_ranges), config.num_ranges, ids)


def range_shares(range_m: Tensor, config: DepthConfig) -> Tensor:
    """One-hot shares (B, num_ranges, H, W) of the ranges of (B, H, W); zeros without a return."""
    return one_hot(range_ids(range_m, config), config.num_ranges)


def predicted_shares(logits: Tensor) -> Tensor:
    """Probabilities (B, num_ranges, h, w) of the ranges; `nothing` takes its share and is left."""
    return logits.softmax(1)[:, :-1]
