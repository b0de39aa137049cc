"""Batch normalisation without an affine part, synchronised across processes on any device."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributed.nn import functional as across_processes
from torch.nn import functional

from scmpr_ros.networks.distributed import num_processes


class PlainBatchNorm(nn.Module):
    """Batch normalisation over the second axis of (N, C, ...), without learned scale and shift.

    Training uses the statistics of the whole batch, across all processes that share it; evaluation
    uses the running statistics. `torch.nn.SyncBatchNorm` would synchronise on GPUs only.

    eps: added to the variance.
    """

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = channels, eps, momentum
        self.running_mean: Tensor
        self.running_var: Tensor
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, ...) -> (N, C, ...)."""
        if not (self.training and num_processes() > 1):
            return functional.batch_norm(
                x, self.running_mean, self.running_var, None, None, self.training, self.momentum,
                self.eps,
            )  # fmt: skip
        axes = [axis for axis in range(x.ndim) if axis != 1]
        shape = [1, -1] + [1] * (x.ndim - 2)
        precise = x.float()  # bfloat16 is too coarse for sums, and for counts above 256
        count = precise.new_tensor(x.numel() / x.shape[1])
        torch.distributed.all_reduce(count)
        mean = across_processes.all_reduce(precise.sum(axes)) / count
        centred = precise - mean.view(shape)
        variance = across_processes.all_reduce(centred.square().sum(axes)) / count
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        return (centred / (variance + self.eps).sqrt().view(shape)).to(x)
