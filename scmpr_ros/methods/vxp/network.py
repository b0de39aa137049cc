"""VXP, Voxel-Cross-Pixel (Li et al. 2024), from its paper's summaries and published settings.

A teacher describes images: a tower (DINO's ViT-S/8 in the paper), GeM and a linear layer. A student
describes points: sparse convolutions of voxels, whose features are projected onto the grid of the
image's features, so that voxels and pixels correspond, then GeM and a linear layer as well.

docs/explanation/rivals.md says what had to be assumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from scmpr_ros.geometry import AngularGrid
from scmpr_ros.methods.network import PlaceNetworkConfig, Query
from scmpr_ros.methods.views import PlaceView, QueryView
from scmpr_ros.methods.vxp.projection import cells_of, nearest_in_cell
from scmpr_ros.methods.vxp.voxel_encoder import VoxelConfig, VoxelEncoder, VoxelFeatures
from scmpr_ros.methods.windows import WindowNetwork
from scmpr_ros.networks.batch_norm import PlainBatchNorm
from scmpr_ros.networks.feature_tower import FeatureTower, TowerConfig
from scmpr_ros.networks.gem import Gem


@dataclass(frozen=True)
class VxpConfig(PlaceNetworkConfig):
    """Everything needed to build the network; saved in checkpoints."""

    tower: TowerConfig = field(
        default_factory=lambda: TowerConfig("timm/vit_small_patch8_224", 8, 384)
    )
    voxels: VoxelConfig = field(default_factory=VoxelConfig)
    descriptor_dim: int = 256

    @property
    def feature_grid(self) -> AngularGrid:
        """The grid of the image's local features."""
        stride = self.tower.stride
        return self.view.resized(self.view.height // stride, self.view.width // stride)


class VxpNetwork(WindowNetwork):
    """The teacher and the student."""

    method: ClassVar[str] = "vxp"
    config: VxpConfig

    def __init__(self, config: VxpConfig) -> None:
        super().__init__(config)
        channels, dim = config.tower.channels, config.descriptor_dim
        self.tower = FeatureTower(config.tower)
        self.image_gem, self.image_head = Gem(), nn.Linear(channels, dim)
        self.voxel_encoder = VoxelEncoder(config.voxels, channels)
        self.voxel_gem, self.voxel_head = Gem(), nn.Linear(channels, dim)
        # For descriptors to be compared by cosine; measured in the last stage.
        self.image_whitening, self.voxel_whitening = PlainBatchNorm(dim), PlainBatchNorm(dim)

    @property
    def teacher(self) -> tuple[nn.Module, ...]:
        """Parts that describe images."""
        return self.tower, self.image_gem, self.image_head

    @property
    def descriptor_dim(self) -> int:
        """D of the descriptors."""
        return self.config.descriptor_dim

    @property
    def perception_modules(self) -> Sequence[nn.Module]:
        """The tower."""
        return (self.tower,)

    def describe_query(self, view: QueryView, context: Tensor) -> Query:
        """Describe images; neither `view.seen` nor a context is used."""
        embedding = self.image_whitening(self.image_embedding(self.image_features(view.pixels)))
        return Query(functional.normalize(embedding, dim=-1))

    def describe_window(self, window: PlaceView) -> Tensor:
        """Describe windows by their points."""
        embedding = self.voxel_whitening(self.point_embedding(window.points))
        return functional.normalize(embedding, dim=-1)

    def image_features(self, pixels: Tensor) -> Tensor:
        """Local features (B, C, h, w) of images (B, 3, H, W), normalised at each pixel.

        So a student has targets of one scale whatever the tower, as those of a ViT are.
        """
        features = self.tower(pixels).movedim(1, -1)
        return functional.layer_norm(features, features.shape[-1:]).movedim(-1, 1)

    def image_embedding(self, features: Tensor) -> Tensor:
        """Embeddings (B, D) of local features (B, C, h, w), not normalised."""
        embedding: Tensor = self.image_head(self.image_gem(features.flatten(2)))
        return embedding

    def point_embedding(self, points: Tensor) -> Tensor:
        """Embeddings (B, D) of points (B, N, 3) in the axes of their windows, not normalised."""
        voxels: VoxelFeatures = self.voxel_encoder(points)
        features, occupied = self.project(voxels, voxels.centre, len(points))
        embedding: Tensor = self.voxel_head(self.voxel_gem(features, occupied.to(features)))
        return embedding

    @torch.no_grad()
    def start_student(self) -> None:
        """Give the student's GeM and linear layer the teacher's weights."""
        self.voxel_gem.load_state_dict(self.image_gem.state_dict())
        self.voxel_head.load_state_dict(self.image_head.state_dict())

    def project(self, voxels: VoxelFeatures, centre: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Voxel features on the grid of the image's: (B, C, h * w), and whether a cell has one.

        The nearest voxel of a cell wins.

        centre: (M, 3) of the voxels, in the axes of the view that they are projected onto.
        count: B.
        """
        grid = self.config.feature_grid
        cells = grid.height * grid.width
        cell, distance = cells_of(centre, grid)
        cell = torch.where(cell >= 0, voxels.window * cells + cell, -1)
        chosen = nearest_in_cell(cell, distance, count * cells)
        occupied = torch.zeros(count * cells, dtype=torch.bool, device=cell.device)
        occupied[cell[chosen]] = True
        features = voxels.features.new_zeros(count * cells, voxels.features.shape[1])
        features = features.index_put((cell[chosen],), voxels.features[chosen])
        return features.view(count, cells, -1).mT, occupied.view(count, cells)
