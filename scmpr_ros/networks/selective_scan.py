"""The selective scan of Mamba, in plain torch, along sequences and over images.

The recurrence, for every channel d and state n of a sequence (Gu and Dao 2023, eq. 2):

    h[t] = exp(delta[t] * A) * h[t-1] + delta[t] * B[t] * u[t]        y[t] = C[t] * h[t] + D * u[t]

`selective_scan` has the shapes of mamba_ssm's `selective_scan_fn`. `ss2d` is VMamba's scan of an
image in four orders (along rows, along columns, and both reversed), summed. It never reorders the
image: a grid (rows, columns) is scanned along all its rows in parallel, and then each row is
given the state that the row before it ended with. The second order scans the transposed view.

Both accumulate in float32 whatever the input's precision.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from scmpr_ros.errors import ShapeError


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
) -> Tensor:
    """Scan sequences of length L; every backend agrees with `selective_scan_reference`.

    Args:
        u, delta: (batch, dim, L).
        A: (dim, state), negative.
        B, C: (batch, state, L), or (batch, groups, state, L) where groups divides dim.
        D, delta_bias: (dim,).
        delta_softplus: pass delta + delta_bias through softplus.

    Returns:
        y, (batch, dim, L), in u's dtype.
    """
    batch, dim, length = u.shape
    if delta.shape != u.shape:
        raise ShapeError.of("delta", tuple(u.shape), tuple(delta.shape))
    B, C = _per_channel(B, dim), _per_channel(C, dim)
    rows = _row_count(length)
    step = delta.float() if delta_bias is None else delta.float() + delta_bias.float()[:, None]
    step = functional.softplus(step) if delta_softplus else step
    signal = u.float()
    y = torch.zeros_like(signal) if D is None else signal * D.float()[:, None]
    for n in range(A.shape[1]):
        decay = torch.exp(step * A[:, n].float()[:, None])
        entry = step * signal * B[:, :, n]
        h = _scan_sequence(decay, entry, rows)
        y = y + C[:, :, n] * h
    return y.to(u.dtype)


def selective_scan_reference(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
) -> Tensor:
    """The recurrence step by step, in the input's own precision. For tests: slow and plain."""
    batch, dim, length = u.shape
    B, C = _per_channel(B, dim, cast=False), _per_channel(C, dim, cast=False)
    step = delta if delta_bias is None else delta + delta_bias[:, None]
    step = functional.softplus(step) if delta_softplus else step
    h = u.new_zeros(batch, dim, A.shape[1])
    outputs = []
    for t in range(length):
        h = torch.exp(step[:, :, t, None] * A) * h
        h = h + (step[:, :, t] * u[:, :, t])[..., None] * B[..., t]
        outputs.append((h * C[..., t]).sum(-1))
    y = torch.stack(outputs, dim=-1)
    return y if D is None else y + u * D[:, None]


def ss2d(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
    """Scan an image in VMamba's four orders with d_state 1, and sum the results.

    All arguments lie in pixel order, channels last.

    Args:
        u: (batch, H, W, dim).
        delta: (4, batch, H, W, dim), steps after bias and softplus, one for each order: along
            rows, along columns, rows reversed, columns reversed.
        A: (4, dim), negative.
        B, C: (4, batch, H, W), shared by all channels.
        D: (4, dim).

    Returns:
        y, (batch, H, W, dim), float32.
    """
    if delta.shape[1:] != u.shape or delta.shape[0] != 4:
        raise ShapeError.of("delta", f"(4, {tuple(u.shape)})", tuple(delta.shape))
    signal = u.float()
    y = signal * D.float().sum(0)
    for order in range(4):
        y = y + _OrderScan.apply(
            signal, delta[order].float(), A[order].float(), B[order].float(), C[order].float(),
            order,
        )  # fmt: skip
    return y


class _OrderScan(torch.autograd.Function):
    """One order of `ss2d`, without D. Keeps only its inputs and the states for the way back."""

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, step: Tensor, A: Tensor, B: Tensor, C: Tensor, order: int
    ) -> Tensor:
        decay = torch.exp(step * A)
        h = step * u
        h *= B[..., None]
        _scan_grid_(_in_order(decay.clone(), order), _in_order(h, order), reverse=order >= 2)
        ctx.save_for_backward(u, step, A, B, C, decay, h)
        ctx.order = order
        return h * C[..., None]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        u, step, A, B, C, decay, h = ctx.saved_tensors
        order, reverse = ctx.order, ctx.order >= 2
        (dy,) = grads
        dC = (dy * h).sum(-1)
        # The state's gradient runs the recurrence backwards with the decays moved by one step.
        g = dy * C[..., None]
        moved = _moved_against(decay, order)
        _scan_grid_(_in_order(moved, order), _in_order(g, order), reverse=not reverse)
        d_exponent = g * _moved_along(h, order)
        d_exponent *= decay
        dA = (d_exponent * step).sum((0, 1, 2))
        g_step = g * step
        dB = (g_step * u).sum(-1)
        du = g_step.mul_(B[..., None])
        d_step = g.mul_(u).mul_(B[..., None]).addcmul_(d_exponent, A.expand_as(d_exponent))
        return du, d_step, dA, dB, dC, None


def _in_order(image: Tensor, order: int) -> Tensor:
    """View (batch, H, W, dim) as a grid whose rows are scanned: columns for the odd orders."""
    return image if order % 2 == 0 else image.transpose(1, 2)


def _scan_grid_(decay: Tensor, h: Tensor, reverse: bool) -> None:
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
    grid, source = _in_order(moved, order), _in_order(h, order)
    if order < 2:
        grid[:, :, 1:] = source[:, :, :-1]
        grid[:, 1:, 0] = source[:, :-1, -1]
        grid[:, 0, 0] = 0
    else:
        grid[:, :, :-1] = source[:, :, 1:]
        grid[:, :-1, -1] = source[:, 1:, 0]
        grid[:, -1, -1] = 0
    return moved


def _moved_against(decay: Tensor, order: int) -> Tensor:
    """Decay of the step after each cell: the mirror image of `_moved_along`."""
    return _moved_along(decay, (order + 2) % 4)


class _SequenceScan(torch.autograd.Function):
    """h[t] = decay[t] * h[t-1] + entry[t] along the last axis of (batch, dim, L)."""

    @staticmethod
    def forward(ctx: Any, decay: Tensor, entry: Tensor, rows: int) -> Tensor:
        h = _recur(decay, entry, rows, reverse=False)
        ctx.save_for_backward(decay, h)
        ctx.rows = rows
        return h

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        decay, h = ctx.saved_tensors
        moved = functional.pad(decay[..., 1:], (0, 1))
        g = _recur(moved, grads[0], ctx.rows, reverse=True)
        return g * functional.pad(h[..., :-1], (1, 0)), g, None


def _scan_sequence(decay: Tensor, entry: Tensor, rows: int) -> Tensor:
    return _SequenceScan.apply(decay, entry, rows)  # type: ignore[no-untyped-call]


def _recur(decay: Tensor, entry: Tensor, rows: int, reverse: bool) -> Tensor:
    """Fold sequences (batch, dim, L) into grids, scan those, and unfold."""
    batch, dim, length = entry.shape
    columns = math.ceil(length / rows)
    padding = (0, rows * columns - length)

    def fold(x: Tensor) -> Tensor:
        x = functional.pad(x, padding).view(batch * dim, rows, columns, 1)
        return x.permute(1, 2, 0, 3).contiguous().permute(2, 0, 1, 3)

    h = fold(entry)
    _scan_grid_(fold(decay), h, reverse)
    return h.reshape(batch, dim, rows * columns)[..., :length].contiguous()


def _row_count(length: int) -> int:
    """Rows of about the square root of the length balance the two loops."""
    return max(1, round(math.sqrt(length)))


def _per_channel(x: Tensor, dim: int, cast: bool = True) -> Tensor:
    """Bring B or C to (batch, dim, state, L)."""
    x = x[:, None] if x.ndim == 3 else x
    if dim % x.shape[1]:
        raise ShapeError(f"{x.shape[1]} groups of B or C do not divide {dim} channels")
    x = x.repeat_interleave(dim // x.shape[1], dim=1)
    return x.float() if cast else x
