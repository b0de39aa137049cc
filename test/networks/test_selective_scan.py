"""The torch scans against the plain recurrence, forward and backward."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from scmpr_ros.errors import ShapeError
from scmpr_ros.networks.selective_scan import selective_scan, selective_scan_reference, ss2d


def sequence_arguments(batch: int, dim: int, length: int, state: int, groups: int) -> list[Tensor]:
    shapes = [
        (batch, dim, length), (batch, dim, length), (dim, state),
        (batch, groups, state, length), (batch, groups, state, length), (dim,), (dim,),
    ]  # fmt: skip
    arguments = [torch.randn(shape) for shape in shapes]
    arguments[2] = -torch.rand(dim, state) * 2
    return [a.requires_grad_() for a in arguments]


def assert_same(ours: Tensor, theirs: Tensor, arguments: list[Tensor], exact: list[Tensor]) -> None:
    weight = torch.randn_like(ours)
    gradients = torch.autograd.grad((ours * weight).sum(), arguments)
    expected = torch.autograd.grad((theirs * weight.double()).sum(), exact)
    torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-5)
    for got, want in zip(gradients, expected, strict=True):
        torch.testing.assert_close(
            got.double(), want, rtol=1e-4, atol=1e-4 * float(want.abs().max() + 1)
        )


@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 3),
    length=st.integers(1, 50),
    state=st.sampled_from([1, 3]),
    groups=st.sampled_from([1, 2]),
    seed=st.integers(0, 10_000),
)
def test_sequence_scan_agrees_with_the_recurrence(
    batch: int, length: int, state: int, groups: int, seed: int
) -> None:
    torch.manual_seed(seed)
    arguments = sequence_arguments(batch, 4, length, state, groups)
    exact = [a.detach().double().requires_grad_() for a in arguments]
    assert_same(
        selective_scan(*arguments, True), selective_scan_reference(*exact, True), arguments, exact
    )


def image_reference(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
    """The four orders as VMamba's paper draws them: reorder, scan as a sequence, reorder back."""
    batch, height, width, dim = u.shape
    total = torch.zeros_like(u)
    for order in range(4):

        def sequence(x: Tensor, order: int = order) -> Tensor:
            x = x if order % 2 == 0 else x.transpose(1, 2)
            x = x.reshape(batch, height * width, -1).transpose(1, 2)
            return x.flip(-1) if order >= 2 else x

        y = selective_scan_reference(
            sequence(u), sequence(delta[order]), A[order][:, None],
            sequence(B[order][..., None]), sequence(C[order][..., None]), D[order],
        )  # fmt: skip
        y = (y.flip(-1) if order >= 2 else y).transpose(1, 2)
        if order % 2 == 0:
            total = total + y.reshape(batch, height, width, dim)
        else:
            total = total + y.reshape(batch, width, height, dim).transpose(1, 2)
    return total


@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 3),
    height=st.integers(1, 7),
    width=st.integers(1, 7),
    step=st.sampled_from([1e-3, 1.0, 30.0]),
    seed=st.integers(0, 10_000),
)
def test_image_scan_agrees_with_the_recurrence(
    batch: int, height: int, width: int, step: float, seed: int
) -> None:
    torch.manual_seed(seed)
    dim = 3
    grid = (4, batch, height, width)
    arguments = [
        torch.randn(batch, height, width, dim), torch.rand(*grid, dim) * step,
        -torch.rand(4, dim) - 0.01, torch.randn(grid), torch.randn(grid), torch.randn(4, dim),
    ]  # fmt: skip
    arguments = [a.requires_grad_() for a in arguments]
    exact = [a.detach().double().requires_grad_() for a in arguments]
    assert_same(ss2d(*arguments), image_reference(*exact), arguments, exact)


def test_half_precision_input_accumulates_in_float32() -> None:
    torch.manual_seed(0)
    arguments = [a.detach() for a in sequence_arguments(1, 4, 400, 1, 1)]
    half = [arguments[0].bfloat16(), arguments[1].bfloat16(), *arguments[2:]]
    y = selective_scan(*half, True)
    exact = selective_scan_reference(*[a.double() for a in half], True)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.double(), exact, rtol=1e-2, atol=1e-2)


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(ShapeError, match="delta"):
        selective_scan(torch.zeros(1, 4, 5), torch.zeros(1, 4, 6), *[torch.zeros(4, 1)] * 3)
    with pytest.raises(ShapeError, match="groups"):
        selective_scan(
            torch.zeros(1, 4, 5), torch.zeros(1, 4, 5), torch.zeros(4, 1),
            torch.zeros(1, 3, 1, 5), torch.zeros(1, 3, 1, 5),
        )  # fmt: skip
    with pytest.raises(ShapeError, match="delta"):
        ss2d(torch.zeros(1, 2, 2, 3), torch.zeros(3, 1, 2, 2, 3), *[torch.zeros(4, 3)] * 4)
