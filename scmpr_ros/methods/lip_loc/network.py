"""LIP-Loc (Shubodh et al. 2023): contrastive learning of images and range images.

From its paper and readme: two towers of one architecture, each with a projection head, trained by
symmetric InfoNCE on pairs of an image and the part of the range image that the camera sees. It
uses no classes, and encodes a crop for every heading window of a panorama, where SCM-PR needs one
pass.

Three things differ from its code: descriptors are whitened over the batch, as all of this package
are; they are compared by cosine with a learned temperature; and images are resampled to the view
grid, as for every method here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from scmpr_ros.errors import ConfigError
from scmpr_ros.methods.network import PlaceNetworkConfig, Query
from scmpr_ros.methods.views import PlaceView, QueryView
from scmpr_ros.methods.windows import WindowNetwork, ranges_in_view
from scmpr_ros.networks.backbones import build_tower
from scmpr_ros.networks.batch_norm import PlainBatchNorm

_FARTHEST_M = 50.0
_GREY_PER_M = 1 / _FARTHEST_M
_EMPTY = 251 / 255  # as in its code: cells without a return that near look far away


@dataclass(frozen=True)
class LipLocConfig(PlaceNetworkConfig):
    """Everything needed to build the network; saved in checkpoints.

    tower: a timm model, such as vit_small_patch16_224 or resnet50, the two of the paper. size: side
    of the square, in pixels, that both modalities are resized to.
    head: from a tower's vector to the descriptor: LIP-Loc's own, CLIP's linear one, or an MLP with
        one hidden layer.
    """

    tower: str = "vit_small_patch16_224"
    size: int = 224
    descriptor_dim: int = 256
    head: Literal["residual", "linear", "mlp"] = "residual"
    dropout: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.size, self.descriptor_dim) < 1 or not 0 <= self.dropout < 1:
            raise ConfigError("LIP-Loc needs a size, a dimension, and a dropout in [0, 1)")


class LipLocNetwork(WindowNetwork):
    """Both towers, built from the config alone."""

    method: ClassVar[str] = "lip_loc"
    config: LipLocConfig

    def __init__(self, config: LipLocConfig) -> None:
        super().__init__(config)
        self.image_tower = build_tower(config.tower)
        self.range_tower = build_tower(config.tower)
        width = self.image_tower.num_features
        self.image_head, self.range_head = _head(width, config), _head(width, config)
        # Without these, all images look alike at first, and all range images.
        self.image_whitening = PlainBatchNorm(config.descriptor_dim)
        self.range_whitening = PlainBatchNorm(config.descriptor_dim)
        self.mean: Tensor
        self.std: Tensor
        mean, std = (torch.tensor(self.image_tower.pretrained_cfg[key]) for key in ("mean", "std"))
        self.register_buffer("mean", mean.view(3, 1, 1), persistent=False)
        self.register_buffer("std", std.view(3, 1, 1), persistent=False)

    @property
    def descriptor_dim(self) -> int:
        """D of the descriptors."""
        return self.config.descriptor_dim

    @property
    def perception_modules(self) -> Sequence[nn.Module]:
        """The image tower and its head."""
        return (self.image_tower, self.image_head)

    def describe_query(self, view: QueryView, context: Tensor) -> Query:
        """Describe images; LIP-Loc uses neither `view.seen` nor a context."""
        embedding = self.image_head(self.image_tower(self._square(view.pixels)))
        return Query(functional.normalize(self.image_whitening(embedding.float()), dim=-1))

    def describe_window(self, window: PlaceView) -> Tensor:
        """Describe windows by what their ranges look like."""
        embedding = self.range_head(self.range_tower(self._square(self.range_image(window))))
        return functional.normalize(self.range_whitening(embedding.float()), dim=-1)

    def range_image(self, window: PlaceView) -> Tensor:
        """Ranges as grey levels (B, 3, H, W)."""
        range_m = ranges_in_view(window, self.config.view)
        shown = (range_m > 0) & (range_m <= _FARTHEST_M)
        grey = torch.where(shown, range_m * _GREY_PER_M, _EMPTY)
        return grey[:, None].expand(-1, 3, -1, -1)

    def _square(self, image: Tensor) -> Tensor:
        size = (self.config.size, self.config.size)
        image = functional.interpolate(image, size, mode="bilinear", antialias=True)
        return (image - self.mean) / self.std


def _head(width: int, config: LipLocConfig) -> nn.Module:
    dim = config.descriptor_dim
    if config.head == "linear":
        return nn.Linear(width, dim)
    if config.head == "mlp":
        return nn.Sequential(nn.Linear(width, dim), nn.GELU(), nn.Linear(dim, dim))
    return ProjectionHead(width, dim, config.dropout)


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
