"""The voxel branch of VXP: points in front of a camera -> sparse voxel features."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from scmpr_ros.errors import ConfigError
from scmpr_ros.methods.range_points import Extent, mean_of_cells
from scmpr_ros.networks.sparse_convolution import SparseConv, SparseVoxels

_INPUTS = 6  # mean return in its voxel (3), height, distance, log of the number of returns
_STRIDE = 4  # of the features, in voxels


@dataclass(frozen=True)
class VoxelConfig:
    """Voxels ahead of a camera, and the channels of the three stages that convolve them.

    x_m, y_m, z_m: extent ahead, to the left and up. size_m: edge of a voxel.
    """

    x_m: Extent = (0.0, 44.8)
    y_m: Extent = (-22.4, 22.4)
    z_m: Extent = (-4.0, 12.0)
    size_m: float = 0.4
    widths: tuple[int, int, int] = (16, 32, 64)

    def __post_init__(self) -> None:
        if any(low >= high for low, high in (self.x_m, self.y_m, self.z_m)) or self.size_m <= 0:
            raise ConfigError("voxels need a positive size, and extents that rise")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along x, y and z."""
        x, y, z = (math.ceil((high - low) / self.size_m)
                   for low, high in (self.x_m, self.y_m, self.z_m))  # fmt: skip
        return x, y, z

    @property
    def corner_m(self) -> tuple[float, float, float]:
        """Lowest coordinates."""
        return self.x_m[0], self.y_m[0], self.z_m[0]


class VoxelFeatures(NamedTuple):
    """M coarse voxels of B windows: features (M, C), window (M,), and centre (M, 3) in metres, in
    the axes of the window."""

    features: Tensor
    window: Tensor
    centre: Tensor


class VoxelEncoder(nn.Module):
    """Returns -> voxels -> three stages of sparse convolutions at strides 1, 2 and 4."""

    def __init__(self, config: VoxelConfig, channels: int) -> None:
        """channels: of the resulting features."""
        super().__init__()
        self.config = config
        fine, middle, coarse = config.widths
        self.enter = nn.Sequential(
            nn.Linear(_INPUTS, fine), nn.BatchNorm1d(fine), nn.ReLU(), nn.Linear(fine, fine)
        )
        self.stages = nn.Sequential(
            SparseConv(fine, fine),
            SparseConv(fine, middle, stride=2),
            SparseConv(middle, middle),
            SparseConv(middle, middle),
            SparseConv(middle, coarse, stride=2),
            SparseConv(coarse, coarse),
            SparseConv(coarse, coarse),
        )
        self.leave = nn.Linear(coarse, channels)

    def forward(self, points: Tensor) -> VoxelFeatures:
        """Encode returns (B, N, 3) in the axes of their windows; NaN for no return."""
        voxels: SparseVoxels = self.stages(self.voxelise(points))
        corner = points.new_tensor(self.config.corner_m)
        centre = (voxels.cells[:, 1:] + 0.5) * self.config.size_m * _STRIDE + corner
        return VoxelFeatures(self.leave(voxels.features), voxels.cells[:, 0], centre)

    def voxelise(self, points: Tensor) -> SparseVoxels:
        """Occupied voxels, and features of what returns in them."""
        config = self.config
        corner = points.new_tensor(config.corner_m)
        cell = torch.floor((points - corner) / config.size_m)
        shape = points.new_tensor(config.shape)
        batch, point = ((cell >= 0) & (cell < shape)).all(-1).nonzero(as_tuple=True)
        returns = points[batch, point]
        index = torch.cat([batch[:, None], cell[batch, point].long()], dim=1)
        occupied, mean, count = mean_of_cells(index, returns)
        centre = (occupied[:, 1:] + 0.5) * config.size_m + corner
        offset = (mean - centre) / config.size_m
        distance = torch.log1p(mean[:, :2].norm(dim=1))
        rest = torch.stack([mean[:, 2] / 5, distance, count.log()], dim=1)
        features = self.enter(torch.cat([offset, rest], dim=1))
        return SparseVoxels(occupied, features, (len(points), *config.shape))
