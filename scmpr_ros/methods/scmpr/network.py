"""SCM-PR: the two branches of section 3 and how their descriptors meet, equations 1 to 9."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from scmpr_ros.lidar.panorama import Panoramas
from scmpr_ros.methods.network import PlaceDescription
from scmpr_ros.methods.perception import PerceptionConfig, PerceptionNetwork
from scmpr_ros.methods.views import PlaceView
from scmpr_ros.networks.attention import CrossModalSemanticAttention, class_tokens
from scmpr_ros.networks.depth import one_hot_ranges, range_probs
from scmpr_ros.networks.layout import LayoutConfig, LayoutProjection, RangeLayout, SemanticLayout
from scmpr_ros.networks.netvlad import NetVlad, NetVladConfig, heading_windows, whole_view
from scmpr_ros.networks.one_hot import class_fractions, one_hot
from scmpr_ros.networks.panorama_encoder import PanoramaEncoder, PanoramaEncoderConfig
from scmpr_ros.networks.saff import ImagePrediction
from scmpr_ros.semantics import NUM_CLASSES, STATIC_IDS
from scmpr_ros.stages import stage


@dataclass(frozen=True)
class ScmprConfig(PerceptionConfig):
    """Everything needed to build the network; saved in checkpoints."""

    encoder: PanoramaEncoderConfig = field(default_factory=PanoramaEncoderConfig)
    netvlad: NetVladConfig = field(default_factory=NetVladConfig)
    layout: LayoutConfig = field(default_factory=LayoutConfig)
    use_attention: bool = True
    """Cross-modal semantic attention; off in the ablation only."""
    use_layout: bool = True
    """The semantic layout beside NetVLAD; off in the ablation only."""
    use_depth: bool = True
    """The depth head, and the range layout where there are layouts; off in the ablation only."""

    @property
    def has_range_head(self) -> bool:
        """Whether ranges are predicted."""
        return self.use_depth

    @property
    def descriptor_dim(self) -> int:
        """D of D_RGB and D_LiDAR."""
        layouts = (1 + self.use_depth) * self.use_layout
        return self.netvlad.descriptor_dim + layouts * self.layout.descriptor_dim

    @property
    def context_shape(self) -> tuple[int, int]:
        """One token of the panorama encoder's features for each static class."""
        return len(STATIC_IDS), self.encoder.place_channels


class ScmprNetwork(PerceptionNetwork):
    """Both branches. Built from its config alone; `load_checkpoint` brings the weights."""

    method: ClassVar[str] = "scmpr"
    config: ScmprConfig

    def __init__(self, config: ScmprConfig, stochastic_depth: bool = False) -> None:
        """stochastic_depth: drop blocks of the backbone at random while training."""
        super().__init__(config, stochastic_depth)
        self.attention = CrossModalSemanticAttention(
            config.saff.place_channels, config.encoder.place_channels
        )
        self.image_netvlad = NetVlad(config.saff.place_channels, config.netvlad)
        self.panorama_encoder = PanoramaEncoder(config.encoder)
        self.panorama_netvlad = NetVlad(config.encoder.place_channels, config.netvlad)
        sizes = {"NetVLAD": config.netvlad.descriptor_dim}
        if config.use_layout:
            self.image_layout = SemanticLayout(config.mask_grid, config.layout)
            self.panorama_layout = SemanticLayout(config.panorama, config.layout)
            self.layout_projection = _projection(self.image_layout, config.layout)
            sizes["semantic layout"] = config.layout.descriptor_dim
        if config.use_layout and config.use_depth:
            num_ranges = config.depth.num_ranges
            self.image_ranges = RangeLayout(config.mask_grid, config.layout, num_ranges)
            self.panorama_ranges = RangeLayout(config.panorama, config.layout, num_ranges)
            self.range_projection = _projection(self.image_ranges, config.layout)
            sizes["range layout"] = config.layout.descriptor_dim
        self.part_sizes = sizes
        self.part_logits = nn.Parameter(torch.zeros(len(sizes)))

    def describe_image(self, prediction: ImagePrediction, seen: Tensor, context: Tensor) -> Tensor:
        """Describe images by D_RGB (B, D), unit length, eq. 7-9."""
        with stage("attention + NetVLAD"):
            attended = prediction.features
            if self.config.use_attention:
                attention = self.attention(attended, context)  # eq. 7
                attended = attention * attended  # eq. 8
            window = whole_view(attended.shape[-1], self.config.netvlad.blocks).to(attended)
            parts = [self.image_netvlad(attended, window)]  # eq. 9
            if self.config.use_layout:
                # Detached, so that only their own losses train mask and ranges.
                mask = prediction.mask_logits.detach().softmax(1) * seen.unsqueeze(-3)
                window = whole_view(mask.shape[-1], self.config.layout.blocks).to(mask)
                parts.append(self.layout_projection(self.image_layout(mask, window)))
                if prediction.range_logits is not None:
                    ranges = range_probs(prediction.range_logits.detach())
                    layout = self.image_ranges(mask, ranges, window)
                    parts.append(self.range_projection(layout))
        return self._join(parts)[:, 0]

    def encode_panorama(self, panoramas: Panoramas) -> Tensor:
        """Encode panoramas (B, H, W) as semantic-geometric place features (B, C, h, w)."""
        features: Tensor = self.panorama_encoder(
            panoramas.range_m, panoramas.height_m, panoramas.normal, panoramas.label
        )
        return features

    def describe_headings(self, features: Tensor, label: Tensor, range_m: Tensor) -> Tensor:
        """Describe all N_V heading windows of each panorama by D_LiDAR (B, V, D), eq. 6.

        features: from `encode_panorama`; label, range_m: (B, H, W) of the panoramas.
        """
        windows = self._windows(features, self.config.netvlad.blocks)
        parts = [self.panorama_netvlad(features, windows)]
        if self.config.use_layout:
            classes = one_hot(label, NUM_CLASSES)
            windows = self._windows(classes, self.config.layout.blocks)
            parts.append(self.layout_projection(self.panorama_layout(classes, windows)))
            if self.config.use_depth:
                ranges = one_hot_ranges(range_m, self.config.depth)
                layout = self.panorama_ranges(classes, ranges, windows)
                parts.append(self.range_projection(layout))
        return self._join(parts)

    def _windows(self, panorama: Tensor, blocks: int) -> Tensor:
        """Heading windows over the columns of (B, C, H, W)."""
        headings = self.headings_rad.to(panorama.device)
        return heading_windows(headings, self.config.view.fov_rad, panorama.shape[-1], blocks)

    def _join(self, parts: list[Tensor]) -> Tensor:
        """Join unit parts to unit descriptors whose cosine is the weighted mean of their cosines.

        The weights, the softmax of `part_logits`, are learned.
        """
        roots = self.part_logits.softmax(0).sqrt()
        return torch.cat([root * part for root, part in zip(roots, parts, strict=True)], dim=-1)

    def class_tokens(self, features: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Class-wise sums and weights of panorama features; see `attention.class_tokens`."""
        return class_tokens(features, class_fractions(label, features.shape[-2:]))

    def describe_place(self, place: PlaceView) -> PlaceDescription:
        """Encode the panoramas once; describe all headings and pool the context's tokens."""
        panoramas = place.panoramas
        features = self.encode_panorama(panoramas)
        descriptors = self.describe_headings(features, panoramas.label, panoramas.range_m)  # eq. 6
        return PlaceDescription(descriptors, self.class_tokens(features, panoramas.label))


def _projection(layout: SemanticLayout | RangeLayout, config: LayoutConfig) -> LayoutProjection:
    return LayoutProjection(layout.batch_norm.num_features, config.descriptor_dim)
