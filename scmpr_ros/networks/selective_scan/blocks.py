"""The scan in plain torch: a block recurrence, for any device.

All rows of a grid (rows, columns) are scanned in parallel, then each row receives the final state
of the previous one: rows + columns steps instead of rows x columns. Odd orders scan the transposed
view. Gradients run the same recurrence backwards.
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
    if min(height, width) == 1:  # a line, for which odd orders equal even ones
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
    """Fold lines (S, batch, H, W, C) of H W cells into about square grids.

    The last row is padded with zeros: a step of zero keeps the state and adds nothing.
    """
    length = line.shape[2] * line.shape[3]
    rows = round(math.sqrt(length))
    columns = math.ceil(length / rows)
    padded = functional.pad(line.flatten(2, 3), (0, 0, 0, rows * columns - length))
    return padded.unflatten(2, (rows, columns))


class _OrderScan(torch.autograd.Function):
    """Scan of one order and one state dimension, without D. Saves inputs and states."""

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, step: Tensor, A: Tensor, B: Tensor, C: Tensor, order: int
    ) -> Tensor:
        decay = torch.exp(step * A)
        h = step * u
        h *= B[..., None]
        saved = decay.clone() if any(ctx.needs_input_grad) else decay
        _scan_rows_(along_rows(decay, order), along_rows(h, order), is_reversed(order))
        ctx.save_for_backward(u, step, A, B, C, saved, h)
        ctx.order = order
        return h * C[..., None]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        u, step, A, B, C, decay, h = ctx.saved_tensors
        order, reverse = ctx.order, is_reversed(ctx.order)
        (dy,) = grads
        dC = (dy * h).sum(-1)
        # The state's gradient g follows the recurrence backwards, with decays shifted by one step.
        g = dy * C[..., None]
        shifted = _shifted_along(decay, (order + 2) % 4)
        _scan_rows_(along_rows(shifted, order), along_rows(g, order), not reverse)
        d_exponent = g * _shifted_along(h, order)
        d_exponent *= decay
        dA = (d_exponent * step).sum((0, 1, 2))
        g_step = g * step
        dB = (g_step * u).sum(-1)
        du = g_step.mul_(B[..., None])
        d_step = g.mul_(u).mul_(B[..., None]).addcmul_(d_exponent, A.expand_as(d_exponent))
        return du, d_step, dA, dB, dC, None


def _scan_rows_(decay: Tensor, h: Tensor, reverse: bool) -> None:
    """Turn inputs into states in place: h[t] = decay[t] * h[t-1] + h[t], row after row.

    decay, h: (batch, rows, columns, dim), any strides. `decay` is overwritten with its cumulative
    products along each row: the weights of the state before the row.
    """
    rows, columns = h.shape[1], h.shape[2]
    column_steps = range(columns - 2, -1, -1) if reverse else range(1, columns)
    previous = 1 if reverse else -1
    for t in column_steps:
        h[:, :, t].addcmul_(decay[:, :, t], h[:, :, t + previous])
        decay[:, :, t].mul_(decay[:, :, t + previous])
    end = 0 if reverse else columns - 1
    row_steps = range(rows - 2, -1, -1) if reverse else range(1, rows)
    for r in row_steps:
        carried = h[:, r + previous, end]
        h[:, r].addcmul_(decay[:, r], carried[:, None])


def _shifted_along(h: Tensor, order: int) -> Tensor:
    """The state before each cell: h shifted by one step along the order, zero at the start."""
    shifted = torch.empty_like(h)
    grid, source = along_rows(shifted, order), along_rows(h, order)
    if is_reversed(order):
        grid[:, :, :-1] = source[:, :, 1:]
        grid[:, :-1, -1] = source[:, 1:, 0]
        grid[:, -1, -1] = 0
    else:
        grid[:, :, 1:] = source[:, :, :-1]
        grid[:, 1:, 0] = source[:, :-1, -1]
        grid[:, 0, 0] = 0
    return shifted
