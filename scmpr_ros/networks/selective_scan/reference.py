"""The recurrence step by step, for tests: plain, slow, differentiable."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from scmpr_ros.networks.selective_scan.orders import to_image, to_sequence


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
    height, width = u.shape[2:4]
    slices = [torch.zeros_like(u[0]) for _ in range(len(u))]
    for k, order in enumerate(orders):
        s = k if len(u) > 1 else 0
        x = to_sequence(u[s], order)
        step = to_sequence(delta[k], order) + bias[k]
        step = functional.softplus(step) if softplus else step
        y = _recurrence(x, step, A[k], to_sequence(B[k], order), to_sequence(C[k], order))
        slices[s] = slices[s] + to_image(y + D[k] * x, order, height, width)
    return torch.stack(slices)


def _recurrence(u: Tensor, step: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """u, step: (batch, L, dim); A: (dim, state); B, C: (batch, L, state) -> (batch, L, dim)."""
    h = u.new_zeros(*u[:, 0].shape, A.shape[1])
    outputs = []
    for t in range(u.shape[1]):
        entry = (step[:, t] * u[:, t])[..., None] * B[:, t, None]
        h = torch.exp(step[:, t, :, None] * A) * h + entry
        outputs.append((h * C[:, t, None]).sum(-1))
    return torch.stack(outputs, dim=1)
