"""Depth in the terms of a LiDAR map: the range that the map shows in each direction of a view.

The target of the depth head is the map rendered at the camera's pose: the surface behind today's
occluders, such as parked cars, as the map shows it. For each cell of the mask's grid the head
predicts one of a few ranges, or "no return" (sky, or beyond the LiDAR's reach). Training needs no
depth sensor beside the camera.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scmpr_ros.errors import ConfigError
from scmpr_ros.networks.one_hot import one_hot


@dataclass(frozen=True)
class DepthConfig:
    """The ranges that the depth head predicts."""

    edges_m: tuple[float, ...] = (1.0, 4.0, 5.5, 7.0, 9.0, 12.0, 15.5, 20.0, 27.0, 36.0, 50.0)
    """Edges between ranges, rising by about a third each: monocular depth errors are relative."""

    def __post_init__(self) -> None:
        edges = self.edges_m
        if len(edges) < 2 or not all(a < b for a, b in zip(edges, edges[1:], strict=False)):
            raise ConfigError(f"edges_m {edges} must rise, with two edges at least")
        if edges[0] < 0:
            raise ConfigError(f"edges_m begin at {edges[0]}: a range cannot be negative")

    @property
    def num_ranges(self) -> int:
        """Number of ranges; the head has one class more, its last, for no return."""
        return len(self.edges_m) - 1


def range_ids(range_m: Tensor, config: DepthConfig) -> Tensor:
    """Index of the range of each cell, int64; `num_ranges` without a return between the edges."""
    edges = torch.tensor(config.edges_m, device=range_m.device)
    ids = torch.bucketize(range_m.float(), edges, right=True) - 1
    return torch.where((ids < 0) | (ids >= config.num_ranges), config.num_ranges, ids)


def one_hot_ranges(range_m: Tensor, config: DepthConfig) -> Tensor:
    """Encode ranges (B, H, W) as (B, num_ranges, H, W); cells without a return are zero."""
    return one_hot(range_ids(range_m, config), config.num_ranges)


def range_probs(logits: Tensor) -> Tensor:
    """Probabilities (B, num_ranges, h, w) of the ranges; they sum to 1 less that of no return."""
    return logits.softmax(1)[:, :-1]


def expected_ranges(logits: Tensor, config: DepthConfig) -> Tensor:
    """Metres (B, h, w) that the range head expects; 0 where no return is likelier than one.

    The mean of the logarithms of the ranges' middles, weighted by their probabilities.
    """
    probs = range_probs(logits)
    edges = torch.tensor(config.edges_m, device=logits.device).clamp_min(0.5).log()
    middles = (edges[1:] + edges[:-1]) / 2
    some = probs.sum(1)
    mean = torch.einsum("brhw,r->bhw", probs, middles.to(probs)) / some.clamp_min(1e-6)
    return torch.where(some > 0.5, mean.exp(), 0.0)
