"""Probabilities of the ranges from depth whose error is relative."""

from __future__ import annotations

import torch
from torch import Tensor

from scmpr_ros.networks.depth import DepthConfig


def range_probs_of_depth(
    depth_m: Tensor, axial: Tensor, config: DepthConfig, sigma: float
) -> Tensor:
    """Probabilities (1, num_ranges + 1, h, w) of the ranges; the last is no return.

    The range is log-normal about what the depth says. What lies before the first edge or beyond the
    last one is no return, as are depths that are not positive.

    depth_m: (h, w) along the optical axis. axial: (h, w), see `Cells`. sigma: relative standard
        deviation of a range.
    """
    range_m = depth_m / axial
    edges = depth_m.new_tensor(config.edges_m).log()[:, None, None]
    below = torch.special.ndtr((edges - range_m.clamp_min(1e-6).log()) / sigma)
    probs = below.diff(dim=0) * (range_m > 0)
    return torch.cat([probs, 1 - probs.sum(0, keepdim=True)])[None].clamp_min(0)


def without_sky(range_probs: Tensor, sky: Tensor) -> Tensor:
    """Move the probability (1, 1, h, w) of sky from the ranges to no return."""
    ranges = range_probs[:, :-1] * (1 - sky)
    return torch.cat([ranges, 1 - ranges.sum(1, keepdim=True)], dim=1)
