"""LIP-Loc (Shubodh et al. 2023), a rival in the same harness: images and range images by contrast.

From its paper and readme: two towers of one architecture, each with a projection head, trained by
symmetric InfoNCE on pairs of an image and the part of the range image that the camera sees. It
knows no classes and no map: every heading window of a panorama is cropped and encoded by itself,
which SCM-PR does in one pass.

What differs from its code: descriptors are compared by cosine with a learned temperature, as ours
are; and the image comes on the view's grid, so that one map serves both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from scmpr_ros.errors import ConfigError
from scmpr_ros.networks.backbones import IMAGE_MEAN, IMAGE_STD, build_tower
from scmpr_ros.networks.place_network import PlaceNetwork, PlaceNetworkConfig
from scmpr_ros.networks.saff import ImagePrediction
from scmpr_ros.semantics import IGNORE, NUM_CLASSES, STATIC_IDS

_GREY_PER_M = 5.1 / 255
_EMPTY = 251 / 255  # as in its code: what gave no return looks far away


@dataclass(frozen=True)
class LipLocConfig(PlaceNetworkConfig):
    """What a checkpoint must know to rebuild the network.

    tower: a model of timm, such as vit_small_patch16_224 or resnet50, its two. size: of the square
    that both modalities are resized to.
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
    """Both towers. Built from its config alone."""

    config: LipLocConfig

    def __init__(self, config: LipLocConfig) -> None:
        super().__init__()
        self.config = config
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
        """See `PlaceNetwork.perception_modules`."""
        return (self.image_tower, self.image_head)

    def predict(self, view: Tensor) -> ImagePrediction:
        """Its features are the whole image's, (B, D, 1, 1); its mask is `ignore` for certain."""
        embedding = self.image_head(self.image_tower(self._square(view)))
        grid = self.config.mask_grid
        shape = (len(view), NUM_CLASSES, grid.height, grid.width)
        mask_logits = view.new_full(shape, -torch.inf)
        mask_logits[:, IGNORE] = 0
        return ImagePrediction(embedding[:, :, None, None], mask_logits, None)

    def describe_image(self, prediction: ImagePrediction, seen: Tensor, context: Tensor) -> Tensor:
        """D_RGB (B, D), unit length; neither `seen` nor the context is looked at."""
        return functional.normalize(prediction.features[:, :, 0, 0], dim=-1)

    def encode_panorama(
        self, range_m: Tensor, height_m: Tensor, normal: Tensor, label: Tensor
    ) -> Tensor:
        """The range image as grey levels, (B, 1, H, W): towers see windows of it."""
        reach = range_m.clamp_max(self.config.max_range_m)
        return torch.where(range_m > 0, reach * _GREY_PER_M, _EMPTY)[:, None]

    def describe_headings(self, features: Tensor, label: Tensor, range_m: Tensor) -> Tensor:
        """D_LiDAR of all heading windows, (B, V, D), each from a crop of its own."""
        headings = self.headings_rad.to(features.device)
        each = [self.describe_windows(features, yaw.expand(len(features))) for yaw in headings]
        return torch.stack(each, dim=1)

    def describe_windows(self, features: Tensor, yaw_rad: Tensor) -> Tensor:
        """Descriptors (B, D) of one window of each panorama, around headings (B,)."""
        width = features.shape[-1]
        columns = round(self.config.view.fov_rad / (2 * math.pi) * width)
        first = ((0.5 - yaw_rad / (2 * math.pi)) * width - columns / 2).round().long()
        index = (first[:, None] + torch.arange(columns, device=features.device)) % width
        index = index[:, None, None, :].expand(-1, 1, features.shape[-2], -1)
        crop = torch.gather(features, -1, index).expand(-1, 3, -1, -1)
        return functional.normalize(self.range_head(self.range_tower(self._square(crop))), dim=-1)

    def class_tokens(self, features: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """None: a context of zeros."""
        shape = (len(features), len(STATIC_IDS))
        return features.new_zeros(*shape, 1), features.new_zeros(shape)

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
