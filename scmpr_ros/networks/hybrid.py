"""A hybrid backbone: the pyramid of an EfficientNet-Lite, with VMamba blocks at its coarse strides.

ImageNet weights of EfficientNet-Lite are small and free to use, and they recognise real surfaces:
foliage, render, tarmac. What convolutions of a few pixels lack is the view as a whole, so VSS
blocks (`vmamba`) scan the maps at strides 16 and 32. They are added to the pyramid's own maps, and
their last layers start at zero: an untrained hybrid equals its pyramid.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scmpr_ros.networks.vmamba import VSSBlock

_SSM_RATIO = 1.0
_SCANNED = (2, 3)  # stages at strides 16 and 32


@dataclass(frozen=True)
class HybridVariant:
    """Sizes of one hybrid.

    pyramid: a model of timm with maps at strides 4, 8, 16 and 32.
    width: channels of the VSS blocks. depths: blocks at strides 16 and 32.
    """

    pyramid: str
    width: int
    depths: tuple[int, int]


HYBRIDS = {"lite0_vmamba": HybridVariant("tf_efficientnet_lite0", 96, (2, 2))}


class HybridBackbone(nn.Module):
    """A `Backbone` of a pyramid whose coarse maps are scanned by VSS blocks."""

    def __init__(self, pyramid: nn.Module, variant: HybridVariant) -> None:
        """pyramid: a `Backbone`, see `backbones`."""
        super().__init__()
        self.pyramid = pyramid
        self.widths: tuple[int, ...] = pyramid.widths  # type: ignore[assignment]
        self.scans = nn.ModuleList(
            _Scan(self.widths[stage], variant.width, depth)
            for stage, depth in zip(_SCANNED, variant.depths, strict=True)
        )

    def forward_features(self, image: Tensor) -> list[Tensor]:
        """Compute the stage maps of an image (B, 3, H, W), see `Backbone`."""
        maps: list[Tensor] = self.pyramid.forward_features(image)  # type: ignore[operator]
        for stage, scan in zip(_SCANNED, self.scans, strict=True):
            maps[stage] = maps[stage] + scan(maps[stage])
        return maps


class _Scan(nn.Module):
    """VSS blocks on a map (B, C, H, W), between projections to their width and back."""

    def __init__(self, channels: int, width: int, depth: int) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Conv2d(channels, width, 1), nn.GroupNorm(1, width))
        self.blocks = nn.Sequential(*(VSSBlock(width, _SSM_RATIO, 0.0) for _ in range(depth)))
        self.leave = nn.Conv2d(width, channels, 1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        x = self.blocks(self.enter(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        projected: Tensor = self.leave(x)
        return projected
