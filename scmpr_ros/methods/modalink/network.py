"""ModaLink (Xie et al. 2024), from its abstract and readme; its code was not read.

The part of the map that the camera would see is projected to a range image. One encoder with shared
weights describes camera images and range images alike: a convolutional tower, a block of
non-negative factorisation that brings out what both have in common, and NetVLAD.

docs/explanation/rivals.md says what had to be assumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from scmpr_ros.errors import ConfigError
from scmpr_ros.methods.network import PlaceNetworkConfig, Query
from scmpr_ros.methods.views import PlaceView, QueryView
from scmpr_ros.methods.windows import WindowNetwork
from scmpr_ros.networks.factorisation import FactorisationBlock
from scmpr_ros.networks.feature_tower import FeatureTower, TowerConfig
from scmpr_ros.networks.netvlad import NetVladConfig, SharedNetVlad


@dataclass(frozen=True)
class ModaLinkConfig(PlaceNetworkConfig):
    """Everything needed to build the network; saved in checkpoints.

    bases, steps: of the factorisation.
    """

    tower: TowerConfig = field(default_factory=TowerConfig)
    bases: int = 32
    steps: int = 6
    netvlad: NetVladConfig = field(default_factory=lambda: NetVladConfig(blocks=1))

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.bases, self.steps) < 1:
            raise ConfigError("the factorisation needs a basis and a step at least")


class ModaLinkNetwork(WindowNetwork):
    """One encoder for both modalities."""

    method: ClassVar[str] = "modalink"
    config: ModaLinkConfig

    def __init__(self, config: ModaLinkConfig) -> None:
        super().__init__(config)
        channels = config.tower.channels
        self.tower = FeatureTower(config.tower)
        self.factorisation = FactorisationBlock(channels, config.bases, config.steps)
        self.netvlad = SharedNetVlad(channels, config.netvlad)

    @property
    def perception_modules(self) -> Sequence[nn.Module]:
        """The tower."""
        return (self.tower,)

    @property
    def descriptor_dim(self) -> int:
        """D of the descriptors."""
        return self.config.netvlad.descriptor_dim

    def describe_query(self, view: QueryView, context: Tensor) -> Query:
        """Describe images; neither `view.seen` nor a context is used."""
        return Query(self.netvlad.describe_image(self.encode(view.pixels)))

    def describe_window(self, window: PlaceView) -> Tensor:
        """Describe windows by what their ranges look like."""
        return self.netvlad.describe_window(self.encode(self.range_image(window)))

    def describe_pairs(self, view: QueryView, window: PlaceView) -> tuple[Tensor, Tensor]:
        """Describe images and windows, encoded together."""
        images, windows = self.encode(torch.cat([view.pixels, self.range_image(window)])).chunk(2)
        return self.netvlad.describe_image(images), self.netvlad.describe_window(windows)

    def range_image(self, window: PlaceView) -> Tensor:
        """Ranges (B, 3, H, W) as grey images of the view's size."""
        return self.grey_ranges(window).expand(-1, 3, -1, -1)

    def encode(self, image: Tensor) -> Tensor:
        """Local features (B, C, h, w) of images of either modality (B, 3, H, W)."""
        features: Tensor = self.factorisation(self.tower(image).float())
        return features
