"""Cross-modal semantic attention, eq. 7-8: the map's semantic context weights image features.

The context has one token per static class: the mean of the panorama features of that class
(`class_tokens`). Every image position attends over these tokens, and the result gates its own
feature channel by channel.
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
        class_probs: (B, NUM_CLASSES, H, W), probability or fraction of each class.

    Returns:
        Sums (B, S, C) over the positions of each static class, and weights (B, S). The token of
        a class is sum / weight; sums and weights of several images may be added first.
    """
    static = class_probs[:, list(STATIC_IDS)]
    sums = torch.einsum("bchw,bshw->bsc", features, static)
    return sums, static.sum((2, 3))


def mean_tokens(sums: Tensor, weights: Tensor) -> Tensor:
    """SemanticContext(P_LiDAR): unit tokens (S, C) of the static classes of a batch or map.

    Classes that do not occur get a zero token, which `CrossModalSemanticAttention` ignores.
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
        # Initially A = 1: training starts from the network without attention.
        for parameter in self.gate.parameters():
            nn.init.zeros_(parameter)

    def forward(self, features: Tensor, context: Tensor) -> Tensor:
        """Compute weights A (B, C, H, W) for F_RGB (B, C, H, W) and tokens (S, C')."""
        present = context.abs().sum(-1) > 0
        query = self.query(features)
        scores = torch.einsum("bchw,sc->bshw", query, self.key(context)) * query.shape[1] ** -0.5
        # Not -inf: a map without any static class would give NaN.
        scores = scores - 1e4 * (~present)[None, :, None, None].to(scores)
        attended = torch.einsum("bshw,sc->bchw", scores.softmax(1), self.value(context))
        return 2 * torch.sigmoid(self.gate(torch.cat([features, attended], dim=1)))
