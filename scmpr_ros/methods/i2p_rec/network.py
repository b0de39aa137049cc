"""I2P-Rec (Zheng et al. 2023), from its abstract and what others report of it.

Monocular depth turns an image into points, and points of image and map become bird's-eye views,
whose grey levels are the density of points. One encoder with shared weights, a convolutional tower
and NetVLAD, describes both.

docs/explanation/rivals.md says what had to be assumed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from scmpr_ros.errors import ConfigError
from scmpr_ros.methods.perception import PerceptionConfig, PerceptionNetwork
from scmpr_ros.methods.range_points import birds_eye_view, points_of_ranges, voxels
from scmpr_ros.methods.views import PlaceView, QueryView
from scmpr_ros.methods.windows import WindowNetwork
from scmpr_ros.networks.feature_tower import FeatureTower, TowerConfig
from scmpr_ros.networks.netvlad import NetVladConfig, SharedNetVlad
from scmpr_ros.networks.saff import ImagePrediction
from scmpr_ros.stages import stage


@dataclass(frozen=True)
class I2pRecConfig(PerceptionConfig):
    """Everything needed to build the network; saved in checkpoints.

    reach_m: length of the bird's-eye view ahead of the camera; as much wide. cell_m: of its cells.
    full_cell: occupied voxels above a cell, each as large as it, from which on it is white.
    """

    tower: TowerConfig = field(default_factory=lambda: TowerConfig(stride=8))
    netvlad: NetVladConfig = field(default_factory=lambda: NetVladConfig(blocks=1))
    reach_m: float = 48.0
    cell_m: float = 0.5
    full_cell: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.cell_m, self.reach_m) <= 0 or self.full_cell < 1:
            raise ConfigError("reach_m, cell_m and full_cell must be positive")
        if round(self.reach_m / self.cell_m) % 32:
            raise ConfigError(
                f"reach_m {self.reach_m} / cell_m {self.cell_m} must be a multiple of 32: a "
                "backbone's last stage has stride 32"
            )


class I2pRecNetwork(PerceptionNetwork, WindowNetwork):
    """One encoder for both bird's-eye views."""

    method: ClassVar[str] = "i2p_rec"
    uses_overlap: ClassVar[bool] = False
    learns_perception: ClassVar[bool] = False
    config: I2pRecConfig

    def __init__(self, config: I2pRecConfig, stochastic_depth: bool = False) -> None:
        """stochastic_depth: of the backbone that reads the image."""
        super().__init__(config, stochastic_depth)
        self.tower = FeatureTower(config.tower)
        self.netvlad = SharedNetVlad(config.tower.channels, config.netvlad)
        self.part_sizes = {"NetVLAD": self.descriptor_dim}

    @property
    def descriptor_dim(self) -> int:
        """D of the descriptors."""
        return self.config.netvlad.descriptor_dim

    def describe_image(self, prediction: ImagePrediction, seen: Tensor, context: Tensor) -> Tensor:
        """Describe images by the points of their predicted ranges; no context is used."""
        with stage("descriptor"):
            points = self.points_in_image(prediction, seen)
            return self.netvlad.describe_image(self.encode(points))

    def describe_window(self, window: PlaceView) -> Tensor:
        """Describe windows by their points."""
        return self.netvlad.describe_window(self.encode(window.points))

    def describe_pairs(self, view: QueryView, window: PlaceView) -> tuple[Tensor, Tensor]:
        """Describe images and windows, encoded together."""
        points = self.points_in_image(self.predict(view.pixels), view.seen)
        both = torch.cat([self.bird_view(points), self.bird_view(window.points)])
        images, windows = self.tower(both).float().chunk(2)
        return self.netvlad.describe_image(images), self.netvlad.describe_window(windows)

    def points_in_image(self, prediction: ImagePrediction, seen: Tensor) -> Tensor:
        """Points (B, N, 3) of the predicted ranges, in the axes of the view; NaN for no return."""
        return points_of_ranges(self.ranges_in_image(prediction, seen), self.config.mask_grid)

    def encode(self, points: Tensor) -> Tensor:
        """Local features (B, C, h, w) of points of either modality (B, N, 3)."""
        features: Tensor = self.tower(self.bird_view(points)).float()
        return features

    def bird_view(self, points: Tensor) -> Tensor:
        """Density of points (B, N, 3) on the ground ahead, (B, 1, H, W) in [0, 1].

        Points are thinned to one for each voxel, as a near surface has more of them.
        """
        config, half = self.config, self.config.reach_m / 2
        index, mean = voxels(points, config.cell_m)
        thinned = points.new_full((len(points), len(index), 3), torch.nan)
        thinned[index[:, 0], torch.arange(len(index), device=points.device)] = mean
        bounds = (0.0, config.reach_m), (-half, half)
        count = birds_eye_view(thinned, *bounds, config.cell_m)[:, 1:]
        return (count / config.full_cell).clamp_max(1.0)
