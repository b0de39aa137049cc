"""(LC)2 (Lee et al. 2023), from its readme and what others report of it.

Monocular depth turns an image into a disparity image; the map gives range images of what a camera
would see. Two encoders of one architecture, each with its own weights, and one NetVLAD describe
both. In the first phase of training, features are pooled by GeM instead.

docs/explanation/rivals.md says what had to be assumed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from scmpr_ros.methods.perception import PerceptionConfig, PerceptionNetwork
from scmpr_ros.methods.views import PlaceView
from scmpr_ros.methods.windows import WindowNetwork
from scmpr_ros.networks.feature_tower import FeatureTower, TowerConfig
from scmpr_ros.networks.gem import Gem
from scmpr_ros.networks.netvlad import NetVladConfig, SharedNetVlad
from scmpr_ros.networks.saff import ImagePrediction
from scmpr_ros.stages import stage

_SCALE_NOISE = 0.2  # while training: the scale of monocular depth is uncertain
_NEAREST_M = 2.0  # of the disparity image: nearer surfaces are white


@dataclass(frozen=True)
class Lc2Config(PerceptionConfig):
    """Everything needed to build the network; saved in checkpoints."""

    tower: TowerConfig = field(default_factory=TowerConfig)
    netvlad: NetVladConfig = field(default_factory=lambda: NetVladConfig(blocks=1))


class Lc2Network(PerceptionNetwork, WindowNetwork):
    """Two encoders whose features meet in one NetVLAD."""

    method: ClassVar[str] = "lc2"
    uses_overlap: ClassVar[bool] = False
    learns_perception: ClassVar[bool] = False
    config: Lc2Config

    def __init__(self, config: Lc2Config, stochastic_depth: bool = False) -> None:
        """stochastic_depth: of the backbone that reads the image."""
        super().__init__(config, stochastic_depth)
        self.disparity_tower = FeatureTower(config.tower)
        self.range_tower = FeatureTower(config.tower)
        self.gem = Gem()
        self.netvlad = SharedNetVlad(config.tower.channels, config.netvlad)
        self.part_sizes = {"NetVLAD": self.descriptor_dim}

    @property
    def descriptor_dim(self) -> int:
        """D of the descriptors."""
        return self.config.netvlad.descriptor_dim

    def describe_image(self, prediction: ImagePrediction, seen: Tensor, context: Tensor) -> Tensor:
        """Describe images by the disparities of their predicted ranges; no context is used."""
        with stage("descriptor"):
            return self.netvlad.describe_image(self.image_features(prediction, seen))

    def describe_window(self, window: PlaceView) -> Tensor:
        """Describe windows by what their ranges look like."""
        return self.netvlad.describe_window(self.window_features(window))

    def image_features(self, prediction: ImagePrediction, seen: Tensor) -> Tensor:
        """Local features (B, C, h, w) of the disparity images."""
        range_m = self.ranges_in_image(prediction, seen)
        if self.training:
            scale = 1 + _SCALE_NOISE * (2 * torch.rand(len(range_m), 1, 1) - 1)
            range_m = range_m * scale.to(range_m)
        features: Tensor = self.disparity_tower(self.disparity_image(range_m)).float()
        return features

    def window_features(self, window: PlaceView) -> Tensor:
        """Local features (B, C, h, w) of the range images."""
        features: Tensor = self.range_tower(self.grey_ranges(window)).float()
        return features

    def disparity_image(self, range_m: Tensor) -> Tensor:
        """Inverse ranges (B, h, w) as grey images (B, 1, H, W) of the view's size.

        1 at two metres and nearer, 0 at the largest range, beyond, and where nothing returns.
        """
        grid, least = self.config.view, 1 / self.config.max_range_m
        inverse = torch.where(range_m > 0, 1 / range_m.clamp_min(_NEAREST_M), least)
        grey = ((inverse - least) / (1 / _NEAREST_M - least)).clamp_min(0)
        return functional.interpolate(grey[:, None], (grid.height, grid.width), mode="nearest")
