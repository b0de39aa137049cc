"""NetVLAD (Arandjelovic et al. 2016), eq. 9, over one view or over many windows of a panorama.

Plain NetVLAD forgets where in the view a feature was. Matching a heading needs the order of what
is seen from left to right, so a view may be cut into `blocks` of equal angle, each pooled and
projected by itself, with the same weights: what a wall looks like does not depend on where it
stands. With one block this is the published NetVLAD.

Summing residuals is linear, so a panorama's residuals are summed once for each of its columns, and
a window's VLAD is a weighted sum of columns: N_V heading windows come from a single pass (eq. 6).
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
"""NetVLAD's alpha at the start: how clearly a feature belongs to its nearest centroid."""
_SMALLEST_NORM = 1e-12


@dataclass(frozen=True)
class NetVladConfig:
    """Vocabulary, blocks and size of the descriptor."""

    clusters: int = 16
    blocks: int = 8
    descriptor_dim: int = 256
    projection: Literal["linear", "mlp"] = "linear"
    """Of a block's VLAD to its part of the descriptor; `mlp` has one hidden layer."""

    def __post_init__(self) -> None:
        if min(self.clusters, self.blocks, self.descriptor_dim) < 1:
            raise ConfigError("NetVLAD needs at least one cluster, one block and one dimension")
        if self.descriptor_dim % self.blocks:
            raise ConfigError(
                f"NetVLAD's descriptor_dim {self.descriptor_dim} must be a multiple of its "
                f"{self.blocks} blocks: each gets an equal part"
            )


class NetVlad(nn.Module):
    """Pools local features (B, C, H, W) to unit descriptors, one for each window of columns."""

    def __init__(self, channels: int, config: NetVladConfig) -> None:
        super().__init__()
        self.config = config
        # Local features share a large mean, which would put them all into one cluster.
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
        # VLADs of one kind of image nearly all point the same way. Taking off their mean and
        # scale, as PCA whitening does, leaves what tells places apart.
        self.whitening = PlainBatchNorm(config.descriptor_dim)

    def forward(self, features: Tensor, windows: Tensor) -> Tensor:
        """Describe each window.

        Args:
            features: (B, C, H, W); they are brought to unit length first.
            windows: (V, blocks, W), share of each column in each block of each window, from
                `whole_view` or `heading_windows`.

        Returns:
            (B, V, descriptor_dim), unit length.
        """
        columns = self.column_residuals(features)
        clusters, channels = columns.shape[1:3]
        summed = windows.to(columns).flatten(0, 1) @ columns.flatten(1, 2).transpose(1, 2)
        vlad = summed.view(len(columns), -1, self.config.blocks, clusters, channels)
        # Intra-normalisation, per block and cluster. It leaves the norm of all at the root of their
        # number, so that scaling by it is the last normalisation, too.
        norm = vlad.norm(dim=-1, keepdim=True).clamp_min(_SMALLEST_NORM)
        vlad = (vlad * (clusters**-0.5 / norm)).flatten(3)
        projected = self.projection(vlad).flatten(2)
        whitened = self.whitening(projected.flatten(0, 1)).view_as(projected)
        return functional.normalize(whitened, dim=-1)

    def column_residuals(self, features: Tensor) -> Tensor:
        """Sum of a_k(x) (x - c_k) over the rows of each column: (B, clusters, C, W)."""
        x = functional.normalize(self.batch_norm(features), dim=1)
        share = self.assignment(x).softmax(dim=1)
        weighted = torch.einsum("bkhw,bchw->bkcw", share, x)
        return weighted - share.sum(2)[:, :, None] * self.centroids[None, :, :, None]


def _projection(kind: str, size: int, part: int) -> nn.Module:
    if kind == "linear":
        return nn.Linear(size, part, bias=False)
    return nn.Sequential(nn.Linear(size, 4 * part), nn.GELU(), nn.Linear(4 * part, part))


def whole_view(width: int, blocks: int) -> Tensor:
    """One window over all `width` columns, cut into equal blocks: (1, blocks, width)."""
    return _overlap(torch.zeros(1), width / blocks, width, blocks, circular=False)


def heading_windows(headings_rad: Tensor, fov_rad: float, width: int, blocks: int) -> Tensor:
    """Windows of a panorama's columns, as wide as the camera's view: (V, blocks, width).

    headings_rad: (V,) yaw of each window's centre; see `geometry` for the columns' azimuth.
    """
    columns = fov_rad / (2 * math.pi) * width
    centre = (0.5 - headings_rad / (2 * math.pi)) * width
    return _overlap(centre - columns / 2, columns / blocks, width, blocks, circular=True)


def _overlap(start: Tensor, block: float, width: int, blocks: int, circular: bool) -> Tensor:
    """Length that each column [w, w + 1) shares with each block of each window."""
    number = torch.arange(max(blocks, width), device=start.device, dtype=start.dtype)
    begin = (start[:, None] + block * number[:blocks])[..., None]
    column = number[:width]
    turns = (-width, 0, width) if circular else (0,)
    shares = torch.zeros(*begin.shape[:2], width, device=start.device, dtype=start.dtype)
    for turn in turns:
        left = torch.maximum(begin, column + turn)
        right = torch.minimum(begin + block, column + turn + 1)
        shares = shares + (right - left).clamp_min(0)
    return shares
