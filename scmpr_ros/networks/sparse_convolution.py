"""Sparse 3D convolutions of occupied voxels, by gathering neighbours: the numbers of dense ones.

Libraries for sparse convolution need a GPU to train, or a compiler that suits them. For the some
thousand voxels that a camera sees, gathering the 27 neighbours of each voxel and one matrix product
do.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

_OFFSETS = torch.cartesian_prod(*[torch.arange(-1, 2)] * 3)  # (27, 3), as a dense kernel's entries


class SparseVoxels(NamedTuple):
    """M occupied voxels of B grids.

    cells: (M, 4) int64 of batch, x, y, z, without repeats. features: (M, C).
    shape: batch and number of voxels along x, y, z.
    """

    cells: Tensor
    features: Tensor
    shape: tuple[int, int, int, int]


class SparseConv(nn.Module):
    """A 3 x 3 x 3 convolution without bias, batch norm and ReLU.

    With stride 1 the occupied voxels stay the same ("submanifold", Graham et al. 2018). With stride
    2 a coarse voxel is occupied if one of the eight fine ones is.
    """

    def __init__(self, channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        bound = (6 / (27 * channels)) ** 0.5
        self.weight = nn.Parameter(torch.empty(27, channels, out_channels).uniform_(-bound, bound))
        self.norm = nn.BatchNorm1d(out_channels)

    def forward(self, voxels: SparseVoxels) -> SparseVoxels:
        """Convolve voxels of `channels` to `out_channels`."""
        convolved = convolve(voxels, self.weight, self.stride)
        return convolved._replace(features=functional.relu(self.norm(convolved.features)))


def convolve(voxels: SparseVoxels, weight: Tensor, stride: int) -> SparseVoxels:
    """Convolve with a kernel (27, C, C'), entries ordered as x, y, z from -1 to 1.

    Equals `torch.nn.functional.conv3d` with padding 1 at the occupied voxels of the result.
    """
    cells, shape = voxels.cells, voxels.shape
    if stride > 1:
        scale = cells.new_tensor([1, stride, stride, stride])
        cells = torch.div(cells, scale, rounding_mode="floor").unique(dim=0)
        shape = (shape[0], *(-(-side // stride) for side in shape[1:]))  # type: ignore[assignment]
    neighbours = _neighbours(voxels, cells, stride)  # (M', 27)
    padded = functional.pad(voxels.features, (0, 0, 0, 1))  # a last row of zeros for what is empty
    gathered = padded[neighbours].flatten(1)
    return SparseVoxels(cells, gathered @ weight.flatten(0, 1), shape)


def _neighbours(voxels: SparseVoxels, cells: Tensor, stride: int) -> Tensor:
    """Rows (M', 27) of the voxels around each place of the result; the number of rows if empty."""
    sides = cells.new_tensor(voxels.shape)
    numbers = torch.full((int(sides.prod()),), len(voxels.cells), device=cells.device)
    numbers[_flat(voxels.cells, sides)] = torch.arange(len(voxels.cells), device=cells.device)
    offsets = functional.pad(_OFFSETS.to(cells.device), (1, 0))
    scale = cells.new_tensor([1, stride, stride, stride])
    around = (cells * scale)[:, None] + offsets
    inside = ((around >= 0) & (around < sides)).all(-1)
    flat = _flat(torch.where(inside[..., None], around, 0), sides)
    return torch.where(inside, numbers[flat], len(voxels.cells))


def _flat(cells: Tensor, sides: Tensor) -> Tensor:
    """Number of each voxel (..., 4) in the whole grids."""
    batch, x, y, z = cells.unbind(-1)
    return ((batch * sides[1] + x) * sides[2] + y) * sides[3] + z
