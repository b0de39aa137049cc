"""A tower of local features: one map of a backbone's coarse stages, for any image-like input.

Of a plain ViT these are the tokens of its last block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from scmpr_ros.errors import ConfigError
from scmpr_ros.networks.backbones import (
    IMAGE_MEAN,
    IMAGE_STD,
    STRIDES,
    Backbone,
    build_backbone,
    build_vit_tokens,
    check_backbone,
)


@dataclass(frozen=True)
class TowerConfig:
    """Backbone, stride and width of the local features."""

    backbone: str = "timm/tf_efficientnet_lite0"
    """As of SCM-PR, see `networks.backbones`."""
    stride: int = 16
    """Pixels per feature. Coarser stages of a pyramid are added to that of this stride; of a plain
    ViT it is the size of the patches."""
    channels: int = 128

    def __post_init__(self) -> None:
        check_backbone(self.backbone)
        if self.stride not in STRIDES or self.channels < 1:
            raise ConfigError(
                f"a tower needs a channel, and one of the strides {STRIDES}; got {self.channels} "
                f"channels at stride {self.stride}"
            )


class FeatureTower(nn.Module):
    """Image (B, 1 or 3, H, W) in [0, 1] -> local features (B, channels, H / stride, W / stride)."""

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        self.config = config
        tokens = build_vit_tokens(config.backbone)
        if tokens is not None and tokens.stride != config.stride:
            raise ConfigError(
                f"a tower of {config.backbone} has the stride of its patches, {tokens.stride}, and "
                f"not {config.stride}"
            )
        self.backbone = build_backbone(config.backbone) if tokens is None else tokens
        self._first = STRIDES.index(config.stride) if tokens is None else 0
        widths = cast(Backbone, self.backbone).widths[self._first :]
        self.laterals = nn.ModuleList(nn.Conv2d(width, config.channels, 1) for width in widths)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(IMAGE_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGE_STD).view(3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Compute features; a single channel is shown to the backbone as grey."""
        image = (image.expand(-1, 3, -1, -1) - self.mean) / self.std
        stages = cast(Backbone, self.backbone).forward_features(image)[self._first :]
        size = stages[0].shape[-2:]
        maps = [lateral(stage) for lateral, stage in zip(self.laterals, stages, strict=True)]
        return torch.stack([functional.interpolate(x, size, mode="bilinear") for x in maps]).sum(0)
