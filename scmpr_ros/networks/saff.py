"""Semantic-Aware Feature Fusion, eq. 2-4: place features and a segmentation mask from one trunk.

The four backbone stages are fused from coarse to fine. One head predicts the mask S_RGB, an
optional second one the ranges (see `depth`). Their probabilities are then concatenated to the
features of the place head, so the descriptor reflects classes and ranges as well as appearance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from scmpr_ros.errors import ConfigError
from scmpr_ros.semantics import NUM_CLASSES

MASK_STRIDE = 4
"""Image pixels per mask cell."""

_ELEVATIONS = 16  # rows of the learned elevation embedding, which is interpolated to each stage


class ImagePrediction(NamedTuple):
    """Predictions for B images.

    features: (B, place_channels, H/8, W/8) F_RGB, place features before the attention.
    mask_logits: (B, NUM_CLASSES, H/4, W/4) of S_RGB.
    range_logits: (B, num_ranges + 1, H/4, W/4) of the range head; None without one.
    """

    features: Tensor
    mask_logits: Tensor
    range_logits: Tensor | None


class GivenReading(NamedTuple):
    """What external readers say of B images, in place of the heads.

    mask_logits, range_logits: as in `ImagePrediction`; None where the head's own answer stays.
    seen: (h, w) bool, cells that were read; in the others the heads' answers stay.
    """

    mask_logits: Tensor | None
    range_logits: Tensor | None
    seen: Tensor


@dataclass(frozen=True)
class SaffConfig:
    """Channels of fused maps and place features."""

    fused_channels: int = 64
    place_channels: int = 64
    feed_semantics: bool = True
    """Fuse the predicted classes into the place features; off in the ablation only."""

    def __post_init__(self) -> None:
        if min(self.fused_channels, self.place_channels) < 1:
            raise ConfigError("SAFF needs at least one channel")


class Saff(nn.Module):
    """Predicts place features (stride 8), mask and ranges (stride 4) from maps at 4, 8, 16, 32."""

    def __init__(
        self, stage_channels: tuple[int, ...], config: SaffConfig, num_ranges: int = 0
    ) -> None:
        """num_ranges: ranges of the range head; 0 omits it."""
        super().__init__()
        self.config = config
        fused = config.fused_channels
        self.lateral = nn.ModuleList(nn.Conv2d(c, fused, 1) for c in stage_channels)
        self.smooth = nn.ModuleList(_smoothing(fused) for _ in stage_channels)
        # Rows of a view are elevations, which say much about the class and range of an object.
        self.elevation = nn.Parameter(torch.zeros(1, fused, _ELEVATIONS, 1))
        self.mask_head = nn.Conv2d(fused, NUM_CLASSES, 1)
        self.range_head = nn.Conv2d(fused, num_ranges + 1, 1) if num_ranges else None
        semantic = NUM_CLASSES if config.feed_semantics else 0
        depth = num_ranges + 1 if num_ranges else 0
        self.place_head = nn.Sequential(
            nn.Conv2d(fused + semantic + depth, fused, 3, padding=1),
            nn.GroupNorm(1, fused),
            nn.GELU(),
            nn.Conv2d(fused, config.place_channels, 1),
        )

    def forward(self, stages: list[Tensor], given: GivenReading | None = None) -> ImagePrediction:
        """Predict from the stage maps of B images; what is given is not predicted."""
        fine, middle = self._fuse(stages)
        mask_logits = self.mask_head(fine)
        range_logits = self.range_head(fine) if self.range_head is not None else None
        if given is not None and given.mask_logits is not None:
            mask_logits = torch.where(given.seen, given.mask_logits.to(mask_logits), mask_logits)
        if given is not None and given.range_logits is not None and range_logits is not None:
            range_logits = torch.where(
                given.seen, given.range_logits.to(range_logits), range_logits
            )
        fed_back = [mask_logits] if self.config.feed_semantics else []
        fed_back += [range_logits] if range_logits is not None else []
        for logits in fed_back:
            # Detached: trained by its own loss only, a prediction keeps its meaning.
            probs = logits.detach().softmax(1)
            probs = functional.interpolate(probs, stages[1].shape[-2:], mode="area")
            middle = torch.cat([middle, probs], dim=1)
        return ImagePrediction(self.place_head(middle), mask_logits, range_logits)

    def _fuse(self, stages: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Fuse from coarse to fine; return the fused maps of the two finest stages."""
        levels: list[Tensor] = []
        coarse: Tensor | None = None
        for stage, lateral, smooth in zip(
            reversed(stages), reversed(self.lateral), reversed(self.smooth), strict=True
        ):
            x = lateral(stage)
            x = x + functional.interpolate(self.elevation, (x.shape[-2], 1), mode="bilinear")
            if coarse is not None:
                x = x + functional.interpolate(coarse, x.shape[-2:], mode="bilinear")
            coarse = smooth(x)
            levels.append(coarse)
        return levels[-1], levels[-2]


def _smoothing(channels: int) -> nn.Sequential:
    """A depthwise-separable 3x3 convolution: an eighth of the multiplications of a full one."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
        nn.Conv2d(channels, channels, 1),
        nn.GroupNorm(1, channels),
        nn.GELU(),
    )
