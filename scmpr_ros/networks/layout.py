"""The semantic layout: how much of each static class lies where in a view.

NetVLAD describes what a place looks like and must learn from nothing that a wall in an image is a
wall in a map. The layout need not: predicted mask and semantic panorama speak of the same classes
in the same angles, so their shares of each class, in bands of elevation and blocks of azimuth, can
be compared as they are. It makes D_RGB and D_LiDAR explicitly semantic, and is what the contrastive
loss starts from.

The range layout does the same with ranges in the place of elevations: a wall at seven metres, a
trunk at twelve. With true masks and depth it finds 88 to 99 % of views in towns in which the first
finds 54 to 84 %, and an estimate that is off by a tenth costs it little.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from scmpr_ros.errors import ConfigError
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.networks.batch_norm import PlainBatchNorm
from scmpr_ros.semantics import STATIC_IDS

_SMALLEST_DEVIATION = 0.02  # of the root of a share


@dataclass(frozen=True)
class LayoutConfig:
    """Bands, blocks and size of the layout's part of the descriptor."""

    band_edges_deg: tuple[float, ...] = (12, 9, 6, 4, 2, 0, -2, -4, -6, -9, -15)
    """Elevations between which cells are pooled, falling; finer near the horizon, where most is."""
    blocks: int = 8
    descriptor_dim: int = 256

    def __post_init__(self) -> None:
        edges = self.band_edges_deg
        if len(edges) < 2 or any(a <= b for a, b in zip(edges, edges[1:], strict=False)):
            raise ConfigError(f"band_edges_deg {edges} must fall, with two edges at least")
        if min(self.blocks, self.descriptor_dim) < 1:
            raise ConfigError("the layout needs at least one block and one dimension")

    @property
    def size(self) -> int:
        """Numbers in a layout."""
        return len(STATIC_IDS) * (len(self.band_edges_deg) - 1) * self.blocks


class SemanticLayout(nn.Module):
    """How much of each static class lies in each band and block; one modality's way to it."""

    def __init__(self, grid: AngularGrid, config: LayoutConfig) -> None:
        super().__init__()
        self.bands: Tensor
        self.register_buffer("bands", _band_shares(grid, config.band_edges_deg), persistent=False)
        self.batch_norm = _batch_norm(config.size)

    def forward(self, class_probs: Tensor, windows: Tensor) -> Tensor:
        """Describe each window.

        Args:
            class_probs: (B, NUM_CLASSES, H, W), probabilities or one-hot, zero where unseen.
            windows: (V, blocks, W) as for `NetVlad.forward`.

        Returns:
            (B, V, size), centred and scaled over the training data.
        """
        static = class_probs[:, list(STATIC_IDS)]
        banded = torch.einsum("bchw,rh->bcrw", static, self.bands)
        return _pool(banded, windows, self.batch_norm)


class RangeLayout(nn.Module):
    """How much of each static class lies in each range and block; one modality's way to it."""

    def __init__(self, grid: AngularGrid, config: LayoutConfig, num_ranges: int) -> None:
        super().__init__()
        edges = config.band_edges_deg
        self.rows: Tensor  # both modalities look at the same elevations, and at all of them alike
        self.register_buffer("rows", _band_shares(grid, (edges[0], edges[-1])), persistent=False)
        self.batch_norm = _batch_norm(len(STATIC_IDS) * num_ranges * config.blocks)

    def forward(self, class_probs: Tensor, range_probs: Tensor, windows: Tensor) -> Tensor:
        """Describe each window.

        Args:
            class_probs: as for `SemanticLayout.forward`.
            range_probs: (B, num_ranges, H, W), of each range in each cell.
            windows: (V, blocks, W).

        Returns:
            (B, V, size), centred and scaled over the training data.
        """
        static = class_probs[:, list(STATIC_IDS)] * self.rows[0, :, None]
        ranged = torch.einsum("bchw,brhw->bcrw", static, range_probs)
        return _pool(ranged, windows, self.batch_norm)


class LayoutProjection(nn.Module):
    """Layouts (B, V, size) to unit descriptors (B, V, D), for both modalities; orthogonal first."""

    def __init__(self, size: int, descriptor_dim: int) -> None:
        super().__init__()
        self.projection = nn.Linear(size, descriptor_dim, bias=False)
        nn.init.orthogonal_(self.projection.weight)

    def forward(self, layout: Tensor) -> Tensor:
        """(B, V, size) -> (B, V, descriptor_dim), unit length."""
        return functional.normalize(self.projection(layout), dim=-1)


def _pool(columns: Tensor, windows: Tensor, batch_norm: nn.Module) -> Tensor:
    """Mean shares of (B, S, R, W) in the blocks of each window, centred: (B, V, S * R * blocks)."""
    share = windows / windows.sum(-1, keepdim=True)
    layout = torch.einsum("bcrw,vnw->bvcrn", columns, share.to(columns)).flatten(2)
    layout = layout.clamp_min(0).sqrt()  # Hellinger: small shares, such as a pole's, count
    centred: Tensor = batch_norm(layout.flatten(0, 1)).view_as(layout)
    return centred


def _batch_norm(size: int) -> PlainBatchNorm:
    """Takes off mean and scale. What hardly ever differs must not be blown up to count as much as
    the rest, as without a floor it was: some cells of a layout are hardly ever filled."""
    return PlainBatchNorm(size, eps=_SMALLEST_DEVIATION**2)


def _band_shares(grid: AngularGrid, edges_deg: tuple[float, ...]) -> Tensor:
    """Weight (bands, H) of each row in each band's mean."""
    elevation = torch.rad2deg(torch.from_numpy(grid.elevations()).float())
    upper = torch.tensor(edges_deg[:-1])[:, None]
    lower = torch.tensor(edges_deg[1:])[:, None]
    inside = ((elevation < upper) & (elevation >= lower)).float()
    return inside / inside.sum(1, keepdim=True).clamp_min(1)
