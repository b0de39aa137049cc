"""Non-negative factorisation: its updates, and what gradients pass."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy_layers import factorise as by_loops
from numpy_layers import values
from torch.nn import functional

from scmpr_ros.networks.factorisation import FactorisationBlock, factorise


@pytest.fixture
def start() -> tuple[torch.Tensor, torch.Tensor]:
    """Two matrices of rank 2, and bases to start from."""
    torch.manual_seed(0)
    x = torch.rand(2, 6, 2) @ torch.rand(2, 2, 10)
    return x, functional.normalize(torch.rand(6, 3), dim=0)


@torch.no_grad()
def test_updates_are_those_of_lee_and_seung(start: tuple[torch.Tensor, torch.Tensor]) -> None:
    x, bases = start
    D, C = factorise(x, bases, 3)
    for found, one in zip(D @ C, x, strict=True):
        np.testing.assert_allclose(values(found), by_loops(values(one), values(bases), 3), 1e-5)


@torch.no_grad()
def test_factors_are_not_negative_and_come_closer(start: tuple[torch.Tensor, ...]) -> None:
    errors = []
    for steps in (*range(12), 100):
        D, C = factorise(*start, steps)
        assert D.shape == (2, 6, 3) and C.shape == (2, 3, 10)
        assert D.min() >= 0 and C.min() >= 0
        errors.append(float((D @ C - start[0]).norm()))
    assert all(later < earlier for earlier, later in zip(errors, errors[1:], strict=False))
    assert errors[-1] < 0.01 * float(start[0].norm()) < errors[1]


def test_gradients_reach_all_weights(start: tuple[torch.Tensor, torch.Tensor]) -> None:
    torch.manual_seed(0)
    block = FactorisationBlock(4, 3, 2)
    features = torch.randn(2, 4, 3, 5, requires_grad=True)
    (block(features) * torch.randn(2, 4, 3, 5)).sum().backward()
    for name, parameter in block.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_gradients_pass_the_last_update_alone(start: tuple[torch.Tensor, torch.Tensor]) -> None:
    """Those of x are those of one update from the factors found before."""
    x, bases = start[0].requires_grad_(), start[1]
    D, C = factorise(x, bases, 4)
    (found,) = torch.autograd.grad((D @ C).square().sum(), x)
    with torch.no_grad():
        D = bases.expand(2, -1, -1)
        C = (D.mT @ x).softmax(1)
        for _ in range(4):
            C = C * (D.mT @ x) / (D.mT @ D @ C)
            D = D * (x @ C.mT) / (D @ C @ C.mT)
    last = C * (D.mT @ x) / (D.mT @ D @ C)
    (expected,) = torch.autograd.grad((D @ last).square().sum(), x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_block_adds_a_reconstruction_of_low_rank() -> None:
    torch.manual_seed(0)
    block = FactorisationBlock(5, 2, 3)
    block.leave.bias.zero_()
    features = torch.randn(1, 5, 4, 6)
    added = (block(features) - features).flatten(2)[0]
    rank = torch.linalg.matrix_rank(added, rtol=1e-4)
    assert int(rank) == 2


@torch.no_grad()
def test_nothing_is_factorised_without_a_fault() -> None:
    D, C = factorise(torch.zeros(1, 4, 6), torch.full((4, 2), 0.5), 3)
    assert D.isfinite().all() and C.isfinite().all() and not (D @ C).any()
