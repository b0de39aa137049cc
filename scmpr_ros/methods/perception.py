"""The parts that read classes and ranges from an image, shared by all methods that need them.

Every method that needs depth of one image gets it from the same head, so that a comparison is one
of what they make of it. External readers take the head's place for all of them, see
`networks.readers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from scmpr_ros.methods.network import PerceivingNetwork, PlaceNetworkConfig
from scmpr_ros.networks.backbones import (
    IMAGE_MEAN,
    IMAGE_STD,
    Backbone,
    build_backbone,
    check_backbone,
)
from scmpr_ros.networks.depth import DepthConfig, expected_ranges
from scmpr_ros.networks.saff import GivenReading, ImagePrediction, Saff, SaffConfig
from scmpr_ros.retrieval.evidence import CellStatistics
from scmpr_ros.stages import stage


@dataclass(frozen=True)
class PerceptionConfig(PlaceNetworkConfig):
    """The parts that read an image."""

    backbone: str = "nano"
    """A variant of VMamba, `timm/<model>`, or a registered name; see `networks.backbones`."""
    saff: SaffConfig = field(default_factory=SaffConfig)
    depth: DepthConfig = field(default_factory=DepthConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_backbone(self.backbone)

    @property
    def has_range_head(self) -> bool:
        """Whether ranges are predicted."""
        return True


class PerceptionNetwork(PerceivingNetwork):
    """A `PerceivingNetwork` whose predictions come from a backbone and SAFF, eq. 1 to 4."""

    config: PerceptionConfig

    def __init__(self, config: PerceptionConfig, stochastic_depth: bool = False) -> None:
        """stochastic_depth: drop blocks of the backbone at random while training."""
        super().__init__(config)
        # This name is part of checkpoints and fingerprints, so it stays for every backbone.
        self.vmamba = build_backbone(config.backbone, stochastic_depth)
        num_ranges = config.depth.num_ranges if config.has_range_head else 0
        self.saff = Saff(self.backbone.widths, config.saff, num_ranges)
        self.cell_statistics = CellStatistics(config.mask_grid.height, config.depth.num_ranges)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(IMAGE_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGE_STD).view(3, 1, 1), persistent=False)

    @classmethod
    def for_training(cls, config: PerceptionConfig, stochastic_depth: bool) -> PerceptionNetwork:
        """Build a network to train."""
        return cls(config, stochastic_depth)

    @property
    def backbone(self) -> Backbone:
        """The backbone of the RGB branch; `vmamba` in checkpoints."""
        return cast(Backbone, self.vmamba)

    @property
    def ranges(self) -> DepthConfig:
        """The ranges that the range head distinguishes."""
        return self.config.depth

    @property
    def statistics(self) -> CellStatistics:
        """Part of the checkpoint; `train` measures them."""
        return self.cell_statistics

    @property
    def perception_modules(self) -> Sequence[nn.Module]:
        """Backbone and SAFF."""
        return (self.vmamba, self.saff)

    def predict(self, pixels: Tensor, given: GivenReading | None = None) -> ImagePrediction:
        """Predict F_RGB and, unless given, mask and ranges, eq. 1-4."""
        with stage("backbone"):
            stages = self.backbone.forward_features((pixels - self.mean) / self.std)  # eq. 1
        with stage("SAFF"):
            prediction: ImagePrediction = self.saff(stages, given)  # eq. 2-4
        return prediction

    def ranges_in_image(self, prediction: ImagePrediction, seen: Tensor) -> Tensor:
        """Metres (B, h, w) that the range head expects; 0 for no return, and where not `seen`."""
        assert prediction.range_logits is not None  # for networks with a range head
        return expected_ranges(prediction.range_logits.float(), self.config.depth) * seen

    @staticmethod
    def is_perception_weight(name: str) -> bool:
        """Backbone and SAFF without its place head, and the frequencies of what they were shown."""
        parts = ("vmamba.", "saff.", "cell_statistics.")
        return name.startswith(parts) and not name.startswith("saff.place_head.")
