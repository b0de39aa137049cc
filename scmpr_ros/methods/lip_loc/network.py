"""LIP-Loc (Shubodh et al. 2023): contrastive learning of images and range images.

From its paper and readme: two towers of one architecture, each with a projection head, trained by
symmetric InfoNCE on pairs of an image and the part of the range image that the camera sees. It
uses no classes, and encodes a crop for every heading window of a panorama, where SCM-PR needs one
pass.

Two things differ from its code: descriptors are compared by cosine with a learned temperature, and
images are resampled to the view grid, as for every method here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from scmpr_ros.errors import ConfigError
from scmpr_ros.methods.network import (
    PlaceDescription,
    PlaceNetwork,
    PlaceNetworkConfig,
    Query,
)
from scmpr_ros.methods.views import PlaceView, QueryView
from scmpr_ros.networks.backbones import IMAGE_MEAN, IMAGE_STD, build_tower

_GREY_PER_M = 5.1 / 255
_EMPTY = 251 / 255  # as in its code: cells without a return look far away


@dataclass(frozen=True)
class LipLocConfig(PlaceNetworkConfig):
    """Everything needed to build the network; saved in checkpoints.

    tower: a timm model, such as vit_small_patch16_224 or resnet50, the two of the paper. size: side
    of the square, in pixels, that both modalities are resized to.
    """

    tower: str = "vit_small_patch16_224"
    size: int = 224
    descriptor_dim: int = 256
    dropout: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.size, self.descriptor_dim) < 1 or not 0 <= self.dropout < 1:
            raise ConfigError("LIP-Loc needs a size, a dimension, and a dropout in [0, 1)")


class LipLocNetwork(PlaceNetwork):
    """Both towers, built from the config alone."""

    method: ClassVar[str] = "lip_loc"
    config: LipLocConfig

    def __init__(self, config: LipLocConfig) -> None:
        super().__init__(config)
        self.image_tower = build_tower(config.tower)
        self.range_tower = build_tower(config.tower)
        width = self.image_tower.num_features
        self.image_head = ProjectionHead(width, config.descriptor_dim, config.dropout)
        self.range_head = ProjectionHead(width, config.descriptor_dim, config.dropout)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(IMAGE_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGE_STD).view(3, 1, 1), persistent=False)

    @property
    def perception_modules(self) -> Sequence[nn.Module]:
        """The image tower and its head."""
        return (self.image_tower, self.image_head)

    def describe_query(self, view: QueryView, context: Tensor) -> Query:
        """Describe images; LIP-Loc uses neither `view.seen` nor a context."""
        embedding = self.image_head(self.image_tower(self._square(view.pixels)))
        return Query(functional.normalize(embedding.float(), dim=-1))

    def describe_place(self, place: PlaceView) -> PlaceDescription:
        """Encode a crop of the range image for each heading window."""
        image = self.range_image(place.panoramas.range_m)
        headings = self.headings_rad.to(image.device)
        windows = [self.describe_windows(image, yaw.expand(len(image))) for yaw in headings]
        return PlaceDescription(torch.stack(windows, dim=1))

    def range_image(self, range_m: Tensor) -> Tensor:
        """Ranges (B, H, W) as grey levels (B, 1, H, W)."""
        reach = range_m.clamp_max(self.config.max_range_m)
        return torch.where(range_m > 0, reach * _GREY_PER_M, _EMPTY)[:, None]

    def describe_windows(self, image: Tensor, yaw_rad: Tensor) -> Tensor:
        """Descriptors (B, D) of one window of each range image, around headings (B,)."""
        width = image.shape[-1]
        columns = round(self.config.view.fov_rad / (2 * math.pi) * width)
        first = ((0.5 - yaw_rad / (2 * math.pi)) * width - columns / 2).round().long()
        index = (first[:, None] + torch.arange(columns, device=image.device)) % width
        index = index[:, None, None, :].expand(-1, 1, image.shape[-2], -1)
        crop = torch.gather(image, -1, index).expand(-1, 3, -1, -1)
        return functional.normalize(self.range_head(self.range_tower(self._square(crop))), dim=-1)

    def _square(self, image: Tensor) -> Tensor:
        size = (self.config.size, self.config.size)
        image = functional.interpolate(image, size, mode="bilinear", antialias=True)
        return (image - self.mean) / self.std


class ProjectionHead(nn.Module):
    """A linear layer, a residual second one behind GELU with dropout, and a layer norm."""

    def __init__(self, width: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.project = nn.Linear(width, dim)
        self.refine = nn.Sequential(nn.GELU(), nn.Linear(dim, dim), nn.Dropout(dropout))
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width) -> (B, dim)."""
        x = self.project(x)
        result: Tensor = self.norm(x + self.refine(x))
        return result
