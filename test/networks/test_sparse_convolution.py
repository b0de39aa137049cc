"""Sparse convolutions have the numbers of dense ones."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from scmpr_ros.networks.sparse_convolution import SparseConv, SparseVoxels, convolve

SHAPE = (2, 5, 4, 7)
"""Of the grids: odd sides and an even one."""


def random_voxels(channels: int) -> tuple[SparseVoxels, Tensor]:
    """Voxels of two grids in random order, corners among them, and the dense grids they fill."""
    torch.manual_seed(0)
    occupied = torch.rand(SHAPE) < 0.25
    occupied[0, 0, 0, 0] = occupied[1, -1, -1, -1] = True
    cells = occupied.nonzero()
    cells = cells[torch.randperm(len(cells))]
    features = torch.randn(len(cells), channels, requires_grad=True)
    dense = torch.zeros(*SHAPE, channels).index_put(tuple(cells.T), features)
    return SparseVoxels(cells, features, SHAPE), dense.permute(0, 4, 1, 2, 3)


@pytest.mark.parametrize("stride", [1, 2])
def test_numbers_and_gradients_are_those_of_a_dense_convolution(stride: int) -> None:
    voxels, dense = random_voxels(3)
    weight = torch.randn(27, 3, 4, requires_grad=True)
    found = convolve(voxels, weight, stride)
    kernel = weight.view(3, 3, 3, 3, 4).permute(4, 3, 0, 1, 2)  # (C', C, x, y, z)
    whole = functional.conv3d(dense, kernel, stride=stride, padding=1)
    assert found.shape == (2, *whole.shape[2:])
    batch, x, y, z = found.cells.T
    expected = whole[batch, :, x, y, z]
    torch.testing.assert_close(found.features, expected)

    up = torch.randn_like(expected)
    of = (voxels.features, weight)
    gradients = (torch.autograd.grad((y * up).sum(), of) for y in (found.features, expected))
    for sparse, reference in zip(*gradients, strict=True):
        torch.testing.assert_close(sparse, reference)


def test_stride_one_keeps_the_voxels() -> None:
    voxels, _ = random_voxels(3)
    assert convolve(voxels, torch.randn(27, 3, 4), 1).cells.equal(voxels.cells)


def test_a_coarse_voxel_is_occupied_if_a_fine_one_is() -> None:
    voxels, dense = random_voxels(3)
    found = convolve(voxels, torch.randn(27, 3, 4), 2)
    filled = (dense != 0).any(1, keepdim=True).float()
    coarse = functional.max_pool3d(filled, 2, ceil_mode=True)[:, 0].nonzero()
    assert found.cells.tolist() == coarse.tolist()


def test_grids_do_not_touch_each_other() -> None:
    """Nor do opposite sides of a grid."""
    cells = torch.tensor([[0, 4, 3, 6], [1, 0, 0, 0]])
    voxels = SparseVoxels(cells, torch.tensor([[2.0], [3.0]]), SHAPE)
    weight = torch.ones(27, 1, 1)
    assert convolve(voxels, weight, 1).features.tolist() == [[2.0], [3.0]]
    assert convolve(voxels, weight, 2).features.tolist() == [[2.0], [3.0]]


def test_layer_normalises_what_it_convolves() -> None:
    voxels, _ = random_voxels(3)
    layer = SparseConv(3, 4, stride=2)
    found = layer(voxels)
    expected = functional.batch_norm(
        convolve(voxels, layer.weight, 2).features, None, None, training=True
    ).relu()
    torch.testing.assert_close(found.features, expected)
    assert found.shape == (2, 3, 2, 4)


@torch.no_grad()
def test_no_voxels_give_none() -> None:
    nothing = SparseVoxels(torch.zeros(0, 4, dtype=torch.long), torch.zeros(0, 3), SHAPE)
    for stride in (1, 2):
        found = SparseConv(3, 4, stride).eval()(nothing)
        assert found.cells.shape == (0, 4) and found.features.shape == (0, 4)
