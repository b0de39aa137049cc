"""The scan in log2(length) steps over whole images: few, plain operations, fit for export.

After step i every cell holds what the last 2^i cells bring to its state (Hillis and Steele 1986).
That is more work than a recurrence, but a graph of about ten operations a step, with no loop that
a runtime could get wrong and nothing written in place.
"""

from __future__ import annotations

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
    slices = [u[s] * D[s] if len(u) > 1 else u[s] * D.sum(0) for s in range(len(u))]
    for k, order in enumerate(orders):
        s = k if len(u) > 1 else 0
        step = delta[k] + bias[k]
        step = functional.softplus(step) if softplus else step
        entry = step * u[s]
        for n in range(A.shape[2]):
            h = _states(torch.exp(step * A[k, :, n]), entry * B[k, ..., n : n + 1], order)
            slices[s] = slices[s] + h * C[k, ..., n : n + 1]
    return torch.stack(slices)


def _states(decay: Tensor, entry: Tensor, order: int) -> Tensor:
    """h[t] = decay[t] * h[t-1] + entry[t] in walking order, for images (batch, H, W, dim)."""
    decay, h, back = along_rows(decay, order), along_rows(entry, order), is_reversed(order)
    decay, h = _scan_axis(decay, h, 2, back)
    # Each row's last decay and state carry all that came before into the next row.
    last = 0 if back else h.shape[2] - 1
    _, ends = _scan_axis(decay[:, :, last], h[:, :, last], 1, back)
    before = _moved(ends, 1, 1, back, 0.0)
    return along_rows(h + decay * before[:, :, None], order)


def _scan_axis(decay: Tensor, h: Tensor, axis: int, back: bool) -> tuple[Tensor, Tensor]:
    """Products of decays and states along one axis, from its start to each cell."""
    reach = 1
    while reach < h.shape[axis]:
        h = h + decay * _moved(h, axis, reach, back, 0.0)
        decay = decay * _moved(decay, axis, reach, back, 1.0)
        reach *= 2
    return decay, h


def _moved(x: Tensor, axis: int, reach: int, back: bool, fill: float) -> Tensor:
    """Move x along an axis by `reach` cells, towards its start if `back`; `fill` the rest."""
    length = x.shape[axis]
    kept = x.narrow(axis, reach if back else 0, length - reach)
    edge = torch.full_like(x.narrow(axis, 0, reach), fill)
    return torch.cat([kept, edge] if back else [edge, kept], dim=axis)
