"""Generalised mean pooling (Radenovic et al. 2018): between the mean (p = 1) and the maximum."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Gem(nn.Module):
    """Pools local features (B, C, N) into (B, C): (mean over n of max(x, eps)^p)^(1/p)."""

    def __init__(self, p: float = 3.0, eps: float = 1e-6) -> None:
        """p: initial exponent, which is learned."""
        super().__init__()
        self.p = nn.Parameter(torch.tensor(p))
        self.eps = eps

    def forward(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """Pool features; weight (B, N) of each in the mean, all equal if None."""
        powers = x.float().clamp_min(self.eps).pow(self.p)
        if weight is None:
            return powers.mean(-1).pow(1 / self.p)
        share = weight / weight.sum(-1, keepdim=True).clamp_min(self.eps)
        mean = (powers * share[:, None]).sum(-1)
        return mean.clamp_min(self.eps**3).pow(1 / self.p)
