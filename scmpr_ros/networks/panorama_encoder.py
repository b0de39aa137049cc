"""Local features of a place from its panorama: the semantic-geometric hybrid of eq. 6.

Geometry (range, height, normals) and classes are concatenated along the channels (section 3.3 of
the paper). Convolutions pad circularly: a panorama has no left or right edge.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from scmpr_ros.errors import ConfigError
from scmpr_ros.networks.one_hot import one_hot
from scmpr_ros.semantics import NUM_CLASSES

_GEOMETRY_CHANNELS = 6  # log range, valid, height, and three of the normal


@dataclass(frozen=True)
class PanoramaEncoderConfig:
    """Channels and inputs of the encoder."""

    widths: tuple[int, int, int] = (32, 64, 96)
    place_channels: int = 64
    use_semantics: bool = True
    """Use the classes as input; off in the ablation only."""

    def __post_init__(self) -> None:
        if len(self.widths) != 3 or min(*self.widths, self.place_channels) < 1:
            raise ConfigError("the panorama encoder needs three widths and place_channels above 0")


class PanoramaEncoder(nn.Module):
    """Panorama (B, H, W) -> place features (B, place_channels, H/4, W/8)."""

    def __init__(self, config: PanoramaEncoderConfig) -> None:
        super().__init__()
        self.config = config
        semantic = NUM_CLASSES if config.use_semantics else 0
        fine, middle, coarse = config.widths
        self.stem = CircularConv(_GEOMETRY_CHANNELS + semantic, fine, 5, stride=2)
        self.body = nn.Sequential(
            ResidualBlock(fine, fine),
            ResidualBlock(fine, middle, stride=(2, 2)),
            ResidualBlock(middle, middle),
            ResidualBlock(middle, coarse, stride=(1, 2)),
            ResidualBlock(coarse, coarse),
        )
        self.head = nn.Conv2d(coarse, config.place_channels, 1)

    def forward(self, range_m: Tensor, height_m: Tensor, normal: Tensor, label: Tensor) -> Tensor:
        """Encode panoramas; see `lidar.panorama.Panoramas` for the shapes."""
        x = self._inputs(range_m, height_m, normal, label)
        features: Tensor = self.head(self.body(functional.gelu(self.stem(x))))
        return features

    def _inputs(self, range_m: Tensor, height_m: Tensor, normal: Tensor, label: Tensor) -> Tensor:
        """Stack geometry and classes; log ranges resolve near objects more finely."""
        valid = (range_m > 0).float()
        log_range = torch.log1p(range_m) * 0.25
        geometry = torch.stack([log_range, valid, height_m.clamp(-5, 15) * 0.2], dim=1)
        channels = [geometry, normal]
        if self.config.use_semantics:
            channels.append(one_hot(label, NUM_CLASSES).to(geometry))
        return torch.cat(channels, dim=1)


class ResidualBlock(nn.Module):
    """Two circular 3x3 convolutions and a shortcut."""

    def __init__(self, channels: int, out_channels: int, stride: tuple[int, int] = (1, 1)) -> None:
        super().__init__()
        self.conv1 = CircularConv(channels, out_channels, 3, stride)
        self.conv2 = CircularConv(out_channels, out_channels, 3)
        same_shape = channels == out_channels and stride == (1, 1)
        self.shortcut = (
            nn.Identity() if same_shape else nn.Conv2d(channels, out_channels, 1, stride)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        y = self.conv2(functional.gelu(self.conv1(x)))
        return functional.gelu(self.shortcut(x) + y)


class CircularConv(nn.Module):
    """Convolution and group norm; columns are padded circularly, rows with zeros."""

    def __init__(
        self, channels: int, out_channels: int, kernel: int, stride: int | tuple[int, int] = 1
    ) -> None:
        super().__init__()
        self.padding = kernel // 2
        self.conv = nn.Conv2d(
            channels, out_channels, kernel, stride, padding=(self.padding, 0), bias=False
        )
        self.norm = nn.GroupNorm(1, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        x = functional.pad(x, (self.padding, self.padding, 0, 0), mode="circular")
        result: Tensor = self.norm(self.conv(x))
        return result
