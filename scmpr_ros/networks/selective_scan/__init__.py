"""The selective scan of Mamba, along sequences and over images.

The recurrence, for every channel and every state n of a sequence (Gu and Dao 2023, eq. 2):

    h[t] = exp(delta[t] * A) * h[t-1] + delta[t] * B[t] * u[t]
    y[t] = sum over n of C[t] * h[t] + D * u[t]

`selective_scan` has the shapes of mamba_ssm's `selective_scan_fn`. `ss2d` is VMamba's scan of an
image in four orders (along rows, along columns, and both reversed), summed, in pixel order and
without reordered copies of the image. Both call `scan_grid`, which every backend implements; see
`backends` for the list and the choice.

States are accumulated in float32, also under autocast; float64 stays float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

from scmpr_ros.errors import ShapeError
from scmpr_ros.networks.selective_scan.backends import (
    BACKENDS,
    backend_for,
    forced_backend,
    scan_grid,
)
from scmpr_ros.networks.selective_scan.orders import FOUR_ORDERS

__all__ = ["BACKENDS", "backend_for", "forced_backend", "selective_scan", "ss2d"]


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    *,
    backend: str = "auto",
) -> Tensor:
    """Scan sequences of length L.

    Args:
        u, delta: (batch, dim, L).
        A: (dim, state), negative.
        B, C: (batch, state, L), or (batch, groups, state, L) where groups divides dim.
        D, delta_bias: (dim,).
        delta_softplus: apply softplus to delta + delta_bias.
        backend: one of `BACKENDS`, or `auto`.

    Returns:
        y, (batch, dim, L), in u's dtype.
    """
    batch, dim, length = u.shape
    _expect("delta", delta, u.shape)
    B, C = (x[:, None] if x.ndim == 3 else x for x in (B, C))
    groups, state = B.shape[1:3]
    if dim % groups:
        raise ShapeError(f"{groups} groups of B or C do not divide {dim} channels")
    _expect("A", A, (dim, state))
    for name, x in (("B", B), ("C", C)):
        _expect(name, x, (batch, groups, state, length))

    def by_group(x: Tensor | None, name: str) -> Tensor:
        x = A.new_zeros(dim) if x is None else x
        _expect(name, x, (dim,))
        return x.reshape(groups, -1)

    def grid(x: Tensor, channels: int) -> Tensor:  # (batch, ..., L) -> (groups, batch, 1, L, ...)
        return x.reshape(batch, groups, channels, length).permute(1, 0, 3, 2).unsqueeze(2)

    y = scan_grid(
        grid(u, dim // groups), grid(delta, dim // groups), A.reshape(groups, -1, state),
        grid(B, state), grid(C, state), by_group(D, "D"),
        by_group(delta_bias, "delta_bias"), delta_softplus, (0,) * groups, backend,
    )  # fmt: skip
    return y.squeeze(2).permute(1, 0, 3, 2).reshape(u.shape).to(u.dtype)


def ss2d(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    *,
    backend: str = "auto",
) -> Tensor:
    """Scan an image in VMamba's four orders and sum the results.

    All arguments are in pixel order, channels last. A leading 4 indexes the orders: along rows,
    along columns, rows reversed, columns reversed.

    Args:
        u: (batch, H, W, dim).
        delta: (4, batch, H, W, dim).
        A: (4, dim, state), negative.
        B, C: (4, batch, H, W, state), shared by all channels.
        D, delta_bias: (4, dim).
        delta_softplus: apply softplus to delta + delta_bias.
        backend: one of `BACKENDS`, or `auto`.

    Returns:
        y, (batch, H, W, dim), float32, or float64 if u is.
    """
    orders, dim = len(FOUR_ORDERS), u.shape[-1]
    _expect("delta", delta, (orders, *u.shape))
    _expect("A", A, (orders, dim, A.shape[-1]))
    for name, x in (("B", B), ("C", C)):
        _expect(name, x, (orders, *u.shape[:3], A.shape[-1]))
    bias = A.new_zeros(orders, dim) if delta_bias is None else delta_bias
    for name, x in (("D", D), ("delta_bias", bias)):
        _expect(name, x, (orders, dim))
    return scan_grid(u[None], delta, A, B, C, D, bias, delta_softplus, FOUR_ORDERS, backend)[0]


def _expect(name: str, x: Tensor, shape: tuple[int, ...] | torch.Size) -> None:
    if x.shape != torch.Size(shape):
        raise ShapeError.of(name, tuple(shape), tuple(x.shape))
