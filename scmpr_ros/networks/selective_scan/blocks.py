"""The scan in plain torch: a block recurrence, for any device.

A grid (rows, columns) is scanned along all its rows in parallel, and then each row is given the
state that the row before it ended with: rows + columns steps instead of rows x columns. The odd
orders scan the transposed view. Gradients run the same recurrence backwards.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from scmpr_ros.networks.selective_scan.orders import along_rows, is_reversed


def scan_grid(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    bias: Tensor,
    softplus: bool,
    orders: tuple[int, ...],
) -> Tensor:
    """See `backends.scan_grid`."""
    step = delta + bias[:, None, None, None]
    step = functional.softplus(step) if softplus else step
    height, width = u.shape[2:4]
    if min(height, width) == 1:  # a line, in which the odd orders are the even ones
        u, step, B, C = (_folded(x) for x in (u, step, B, C))
        orders = tuple(order - order % 2 for order in orders)
    y = torch.zeros_like(u)
    for k, order in enumerate(orders):
        s = k if len(u) > 1 else 0
        y[s] += u[s] * D[k]
        for n in range(A.shape[2]):
            y[s] += _OrderScan.apply(u[s], step[k], A[k, :, n], B[k, ..., n], C[k, ..., n], order)  # type: ignore[no-untyped-call]
    return y.flatten(2, 3)[:, :, : height * width].unflatten(2, (height, width))


def _folded(line: Tensor) -> Tensor:
    """Fold lines (S, batch, H, W, C) of H W cells so that rows and columns are about equal.

    The cells that fill the last row have steps of zero: they carry the state and add nothing.
    """
    length = line.shape[2] * line.shape[3]
    rows = round(math.sqrt(length))
    columns = math.ceil(length / rows)
    filled = functional.pad(line.flatten(2, 3), (0, 0, 0, rows * columns - length))
    return filled.unflatten(2, (rows, columns))


class _OrderScan(torch.autograd.Function):
    """One order and one state, without D. Keeps its inputs and the states for the way back."""

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, step: Tensor, A: Tensor, B: Tensor, C: Tensor, order: int
    ) -> Tensor:
        decay = torch.exp(step * A)
        h = step * u
        h *= B[..., None]
        kept = decay.clone() if any(ctx.needs_input_grad) else decay
        _scan_rows_(along_rows(decay, order), along_rows(h, order), is_reversed(order))
        ctx.save_for_backward(u, step, A, B, C, kept, h)
        ctx.order = order
        return h * C[..., None]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        u, step, A, B, C, decay, h = ctx.saved_tensors
        order, reverse = ctx.order, is_reversed(ctx.order)
        (dy,) = grads
        dC = (dy * h).sum(-1)
        # The state's gradient runs the recurrence backwards with the decays moved by one step.
        g = dy * C[..., None]
        moved = _moved_along(decay, (order + 2) % 4)
        _scan_rows_(along_rows(moved, order), along_rows(g, order), not reverse)
        d_exponent = g * _moved_along(h, order)
        d_exponent *= decay
        dA = (d_exponent * step).sum((0, 1, 2))
        g_step = g * step
        dB = (g_step * u).sum(-1)
        du = g_step.mul_(B[..., None])
        d_step = g.mul_(u).mul_(B[..., None]).addcmul_(d_exponent, A.expand_as(d_exponent))
        return du, d_step, dA, dB, dC, None


def _scan_rows_(decay: Tensor, h: Tensor, reverse: bool) -> None:
    """Turn entries into states, in place: h[t] = decay[t] * h[t-1] + h[t], row after row.

    decay, h: (batch, rows, columns, dim), any strides. `decay` is overwritten with the products
    of the decays from the row's start, by which the state before the row reaches each cell.
    """
    rows, columns = h.shape[1], h.shape[2]
    column_steps = range(columns - 2, -1, -1) if reverse else range(1, columns)
    before = 1 if reverse else -1
    for t in column_steps:
        h[:, :, t].addcmul_(decay[:, :, t], h[:, :, t + before])
        decay[:, :, t].mul_(decay[:, :, t + before])
    end = 0 if reverse else columns - 1
    row_steps = range(rows - 2, -1, -1) if reverse else range(1, rows)
    for r in row_steps:
        carried = h[:, r + before, end]
        h[:, r].addcmul_(decay[:, r], carried[:, None])


def _moved_along(h: Tensor, order: int) -> Tensor:
    """State before each cell: h moved one step along the order, zeros at the start."""
    moved = torch.empty_like(h)
    grid, source = along_rows(moved, order), along_rows(h, order)
    if is_reversed(order):
        grid[:, :, :-1] = source[:, :, 1:]
        grid[:, :-1, -1] = source[:, 1:, 0]
        grid[:, -1, -1] = 0
    else:
        grid[:, :, 1:] = source[:, :, :-1]
        grid[:, 1:, 0] = source[:, :-1, -1]
        grid[:, 0, 0] = 0
    return moved
