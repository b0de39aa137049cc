"""Cross-modal semantic attention, eq. 7-8: the map tells the image where to look.

The map's semantic context is one token for each static class: the panorama features of all cells
of that class, averaged (`class_tokens`). Every image position attends over these tokens, and what
it reads there decides, channel by channel, how much of its own feature passes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from scmpr_ros.semantics import STATIC_IDS


def class_tokens(features: Tensor, class_probs: Tensor) -> tuple[Tensor, Tensor]:
    """Pool features by class.

    Args:
        features: (B, C, H, W).
        class_probs: (B, NUM_CLASSES, H, W), share of each class in each position.

    Returns:
        Sums (B, S, C) over the positions of each static class, and weights (B, S). The token of
        a class is its sum over its weight; sums and weights of several images may be added first.
    """
    share = class_probs[:, list(STATIC_IDS)]
    sums = torch.einsum("bchw,bshw->bsc", features, share)
    return sums, share.sum((2, 3))


def mean_tokens(sums: Tensor, weights: Tensor) -> Tensor:
    """SemanticContext(P_LiDAR): unit tokens (S, C) of the static classes over a whole batch or map.

    Classes that were never seen have a token of zeros, which `CrossModalSemanticAttention` skips.
    """
    mean = sums.sum(0) / weights.sum(0).clamp_min(1e-6)[:, None]
    return functional.normalize(mean, dim=-1)


class CrossModalSemanticAttention(nn.Module):
    """A = AttentionMechanism(F_RGB, SemanticContext(P_LiDAR)), with A in (0, 2)."""

    def __init__(self, channels: int, context_channels: int) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, channels, 1)
        self.key = nn.Linear(context_channels, channels)
        self.value = nn.Linear(context_channels, channels)
        self.gate = nn.Conv2d(2 * channels, channels, 1)
        # At first A = 1: training starts from the network without attention.
        for parameter in self.gate.parameters():
            nn.init.zeros_(parameter)

    def forward(self, features: Tensor, context: Tensor) -> Tensor:
        """Attention weights A (B, C, H, W) for F_RGB of that shape and tokens (S, C')."""
        present = context.abs().sum(-1) > 0
        query = self.query(features)
        scores = torch.einsum("bchw,sc->bshw", query, self.key(context)) * query.shape[1] ** -0.5
        # Subtracting a large number instead of infinity keeps a map without any class finite.
        scores = scores - 1e4 * (~present)[None, :, None, None].to(scores)
        read = torch.einsum("bshw,sc->bchw", scores.softmax(1), self.value(context))
        return 2 * torch.sigmoid(self.gate(torch.cat([features, read], dim=1)))
