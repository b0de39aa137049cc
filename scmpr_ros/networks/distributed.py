"""One batch split over several processes, each of which computes the loss of the whole batch.

Every process gathers the inputs of the losses and computes the same loss. The gradient of a sum
over processes reaches all of them, and DDP averages over processes, so parameters get the gradient
of the whole batch's loss, as in a single process.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributed.nn import functional as across_processes


def num_processes() -> int:
    """Number of processes that train the network together, at least 1."""
    group = torch.distributed
    if not (group.is_available() and group.is_initialized()):
        return 1
    return group.get_world_size()


def gather(part: Tensor) -> Tensor:
    """Concatenate the rows (B / processes, ...) of all processes to (B, ...), with gradients."""
    if num_processes() == 1:
        return part
    whole: Tensor = _Gather.apply(part)  # type: ignore[no-untyped-call]
    return whole


def total(part: Tensor) -> Tensor:
    """Sum over all processes, with gradients."""
    if num_processes() == 1:
        return part
    summed: Tensor = across_processes.all_reduce(part.clone())
    return summed


class _Gather(torch.autograd.Function):
    """Replaces torch's gather, which on CPUs scrambles gradients that are not contiguous."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        ctx.rows = len(part)
        part = part.contiguous()
        rows = [torch.empty_like(part) for _ in range(num_processes())]
        torch.distributed.all_gather(rows, part)
        return torch.cat(rows)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        summed = gradients[0].clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(summed)
        first = torch.distributed.get_rank() * ctx.rows
        return summed[first : first + ctx.rows]
