"""NetVLAD (Arandjelovic et al. 2016), eq. 9, over one view or many windows of a panorama.

NetVLAD discards where in the view a feature lies, but matching headings needs the order from left
to right. A view can therefore be cut into `blocks` of equal angle, pooled and projected separately
with the same weights. With one block this is the published NetVLAD.

Summing residuals is linear: a panorama's residuals are summed once per column, and the VLAD of a
window is a weighted sum of columns. So all N_V heading windows come from one pass (eq. 6).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from scmpr_ros.errors import ConfigError
from scmpr_ros.networks.batch_norm import PlainBatchNorm

_SHARPNESS = 10.0
"""Initial alpha of NetVLAD: how hard features are assigned to their nearest centroid."""
_SMALLEST_NORM = 1e-12


@dataclass(frozen=True)
class NetVladConfig:
    """Vocabulary, blocks and size of the descriptor."""

    clusters: int = 16
    blocks: int = 8
    descriptor_dim: int = 256
    projection: Literal["linear", "mlp"] = "linear"
    """From a block's VLAD to its part of the descriptor; `mlp` has one hidden layer."""

    def __post_init__(self) -> None:
        if min(self.clusters, self.blocks, self.descriptor_dim) < 1:
            raise ConfigError("NetVLAD needs at least one cluster, one block and one dimension")
        if self.descriptor_dim % self.blocks:
            raise ConfigError(
                f"NetVLAD's descriptor_dim {self.descriptor_dim} must be a multiple of its "
                f"{self.blocks} blocks: each gets an equal part"
            )


class NetVlad(nn.Module):
    """Pools local features (B, C, H, W) into unit descriptors, one for each window of columns."""

    def __init__(self, channels: int, config: NetVladConfig) -> None:
        super().__init__()
        self.config = config
        # Local features share a large mean: uncentred, all would fall into one cluster.
        self.batch_norm = PlainBatchNorm(channels)
        centroids = functional.normalize(torch.randn(config.clusters, channels), dim=1)
        self.centroids = nn.Parameter(centroids)
        self.assignment = nn.Conv2d(channels, config.clusters, 1)
        with torch.no_grad():  # NetVLAD's initialisation: w_k = 2 alpha c_k, b_k = -alpha |c_k|^2
            self.assignment.weight.copy_(2 * _SHARPNESS * centroids[:, :, None, None])
            self.assignment.bias.fill_(-_SHARPNESS)  # type: ignore[union-attr]
        self.projection = _projection(
            config.projection, config.clusters * channels, config.descriptor_dim // config.blocks
        )
        # VLADs of similar images have a common direction. Removing mean and scale, as PCA
        # whitening does, keeps what differs between places.
        self.whitening = PlainBatchNorm(config.descriptor_dim)

    def forward(self, features: Tensor, windows: Tensor) -> Tensor:
        """Describe each window.

        Args:
            features: (B, C, H, W); normalised to unit length first.
            windows: (V, blocks, W), fraction of each column in each block of each window, from
                `whole_view` or `heading_windows`.

        Returns:
            (B, V, descriptor_dim), unit length.
        """
        return self._pool(features, windows, self.batch_norm, self.whitening)

    def _pool(
        self, features: Tensor, windows: Tensor, batch_norm: nn.Module, whitening: nn.Module
    ) -> Tensor:
        columns = self.column_residuals(batch_norm(features))
        clusters, channels = columns.shape[1:3]
        summed = windows.to(columns).flatten(0, 1) @ columns.flatten(1, 2).transpose(1, 2)
        vlad = summed.view(len(columns), -1, self.config.blocks, clusters, channels)
        # Intra-normalisation per block and cluster leaves each block the norm sqrt(clusters);
        # dividing by it is NetVLAD's final normalisation.
        norm = vlad.norm(dim=-1, keepdim=True).clamp_min(_SMALLEST_NORM)
        vlad = (vlad * (clusters**-0.5 / norm)).flatten(3)
        projected = self.projection(vlad).flatten(2)
        whitened = whitening(projected.flatten(0, 1)).view_as(projected)
        return functional.normalize(whitened, dim=-1)

    def column_residuals(self, features: Tensor) -> Tensor:
        """Sum a_k(x) (x - c_k) over the rows of each column: (B, clusters, C, W).

        features: (B, C, H, W), centred.
        """
        x = functional.normalize(features, dim=1)
        assignment = self.assignment(x).softmax(dim=1)
        weighted = torch.einsum("bkhw,bchw->bkcw", assignment, x)
        return weighted - assignment.sum(2)[:, :, None] * self.centroids[None, :, :, None]


class SharedNetVlad(NetVlad):
    """One vocabulary and projection for two modalities, each centred by statistics of its own.

    Common statistics would keep what tells the modalities apart, and all images would be unlike all
    places. Separate ones for each domain are the remedy of Chang et al. (2019).
    """

    def __init__(self, channels: int, config: NetVladConfig) -> None:
        super().__init__(channels, config)
        self.image_batch_norm = PlainBatchNorm(channels)
        self.image_whitening = PlainBatchNorm(config.descriptor_dim)

    def describe_image(self, features: Tensor) -> Tensor:
        """Describe features of whole images (B, C, H, W) by (B, descriptor_dim)."""
        window = whole_view(features.shape[-1], self.config.blocks).to(features)
        return self._pool(features, window, self.image_batch_norm, self.image_whitening)[:, 0]

    def describe_window(self, features: Tensor) -> Tensor:
        """Describe features of windows of places (B, C, H, W) by (B, descriptor_dim)."""
        window = whole_view(features.shape[-1], self.config.blocks).to(features)
        return self._pool(features, window, self.batch_norm, self.whitening)[:, 0]


def _projection(kind: str, in_dim: int, out_dim: int) -> nn.Module:
    if kind == "linear":
        return nn.Linear(in_dim, out_dim, bias=False)
    return nn.Sequential(nn.Linear(in_dim, 4 * out_dim), nn.GELU(), nn.Linear(4 * out_dim, out_dim))


def whole_view(width: int, blocks: int) -> Tensor:
    """One window over all `width` columns, cut into equal blocks: (1, blocks, width)."""
    return _overlap(torch.zeros(1), width / blocks, width, blocks, circular=False)


def heading_windows(headings_rad: Tensor, fov_rad: float, width: int, blocks: int) -> Tensor:
    """Windows of a panorama's columns, as wide as the camera's view: (V, blocks, width).

    headings_rad: (V,) yaw of each window's centre; see `geometry` for the azimuth of columns.
    """
    columns = fov_rad / (2 * math.pi) * width
    centre = (0.5 - headings_rad / (2 * math.pi)) * width
    return _overlap(centre - columns / 2, columns / blocks, width, blocks, circular=True)


def _overlap(start: Tensor, block_width: float, width: int, blocks: int, circular: bool) -> Tensor:
    """Length of the overlap of each column [w, w + 1) with each block: (V, blocks, width).

    start: (V,) column at which each window begins. block_width: in columns.
    """
    index = torch.arange(max(blocks, width), device=start.device, dtype=start.dtype)
    begin = (start[:, None] + block_width * index[:blocks])[..., None]
    column = index[:width]
    overlap = torch.zeros(*begin.shape[:2], width, device=start.device, dtype=start.dtype)
    for shift in (-width, 0, width) if circular else (0,):
        left = torch.maximum(begin, column + shift)
        right = torch.minimum(begin + block_width, column + shift + 1)
        overlap = overlap + (right - left).clamp_min(0)
    return overlap
