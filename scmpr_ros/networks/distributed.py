"""One batch spread over several processes: each holds a part, all compute the loss of the whole.

Every process gathers what the losses need and computes the same loss. The gradient of a sum over
processes reaches all of them, and DDP takes the mean over processes, so parameters get the gradient
of the whole batch's loss, as if one process had computed it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributed.nn import functional as across_processes


def num_processes() -> int:
    """Processes that train the same network together; 1 for a single one."""
    group = torch.distributed
    if not (group.is_available() and group.is_initialized()):
        return 1
    return group.get_world_size()


def gather(part: Tensor) -> Tensor:
    """Rows (B / processes, ...) of this process to those of all, (B, ...), with gradients."""
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
    """torch's own, on CPUs, mixes gradients up that do not lie in memory in their own order."""

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
