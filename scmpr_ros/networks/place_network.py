"""What the map builder, the localizer and the trainer ask of a network, whichever it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from scmpr_ros.errors import ConfigError
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.networks.attention import mean_tokens
from scmpr_ros.networks.saff import MASK_STRIDE, ImagePrediction


@dataclass(frozen=True)
class PlaceNetworkConfig:
    """How images and places are shown to a network, and in how many headings it describes them."""

    view: AngularGrid = field(default_factory=lambda: AngularGrid(96, 256, 12.0, -15.0, 80.0))
    panorama: AngularGrid = field(default_factory=lambda: AngularGrid(24, 360, 16.0, -16.0))
    max_range_m: float = 50.0
    num_headings: int = 30

    def __post_init__(self) -> None:
        if self.view.height % 32 or self.view.width % 32:
            raise ConfigError(
                f"the view of {self.view.height}x{self.view.width} must be a multiple of 32: "
                "a backbone's last stage has stride 32"
            )
        if self.num_headings < 1:
            raise ConfigError(f"num_headings is {self.num_headings}; at least one is needed")

    @property
    def mask_grid(self) -> AngularGrid:
        """The grid of S_RGB: the view's, at the stride of SAFF's segmentation head."""
        return self.view.resized(self.view.height // MASK_STRIDE, self.view.width // MASK_STRIDE)


@dataclass(frozen=True)
class ImageEncoding:
    """What the RGB branch makes of B images.

    prediction: features, mask and depth. descriptor: (B, D) D_RGB, unit length.
    """

    prediction: ImagePrediction
    descriptor: Tensor


class PlaceNetwork(nn.Module):
    """Describes images, and places in all headings, by descriptors that can be compared."""

    config: PlaceNetworkConfig

    @property
    def headings_rad(self) -> Tensor:
        """Yaw of the N_V heading windows, (V,), counter-clockwise from the map's x axis."""
        step = 2 * math.pi / self.config.num_headings
        return torch.arange(self.config.num_headings) * step

    @property
    def perception_modules(self) -> Sequence[nn.Module]:
        """The parts of `predict`: what may run in lower precision."""
        raise NotImplementedError

    def predict(self, view: Tensor) -> ImagePrediction:
        """Predict features, mask and ranges of views (B, 3, H, W) in [0, 1], map-independent."""
        raise NotImplementedError

    def describe_image(self, prediction: ImagePrediction, seen: Tensor, context: Tensor) -> Tensor:
        """D_RGB (B, D), unit length.

        prediction: from `predict`. seen: (B, h, w) or (h, w) bool, cells of `config.mask_grid`
        inside the camera's image. context: (S, C) SemanticContext(P_LiDAR) of the map.
        """
        raise NotImplementedError

    def encode_panorama(
        self, range_m: Tensor, height_m: Tensor, normal: Tensor, label: Tensor
    ) -> Tensor:
        """Place features (B, C, h, w) of panoramas, see `lidar.panorama.Panoramas`."""
        raise NotImplementedError

    def describe_headings(self, features: Tensor, label: Tensor, range_m: Tensor) -> Tensor:
        """D_LiDAR of all N_V heading windows of each panorama, eq. 6: (B, V, D), unit length.

        features: from `encode_panorama`; label, range_m: (B, H, W) of the panoramas.
        """
        raise NotImplementedError

    def class_tokens(self, features: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Class-wise sums and weights of panorama features; see `attention.class_tokens`."""
        raise NotImplementedError

    def encode_image(self, view: Tensor, seen: Tensor, context: Tensor) -> ImageEncoding:
        """Read and describe images; arguments as of `predict` and `describe_image`."""
        prediction = self.predict(view)
        return ImageEncoding(prediction, self.describe_image(prediction, seen, context))

    def semantic_context(self, features: Tensor, label: Tensor) -> Tensor:
        """SemanticContext (S, C) of a batch of panoramas, as used in training."""
        return mean_tokens(*self.class_tokens(features, label))
