"""Linear layers over images, computed by the faster of torch's CPU libraries.

torch multiplies float32 matrices with Intel's MKL, which on AMD processors is half as fast as
oneDNN (on Zen 5: 215 against 480 GFLOP/s). Convolutions use oneDNN, and a 1x1 convolution of a
channels-last image is the same product on the same memory.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from scmpr_ros.networks.device import processor_capabilities


class Linear(nn.Linear):
    """`nn.Linear` for images (B, H, W, C), with the same parameters."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, in_features) -> (B, H, W, out_features)."""
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`functional.linear` for images (B, H, W, C)."""
    if (
        x.dtype == torch.float32
        and x.device.type == "cpu"
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_exporting()
        and _convolutions_are_faster()
    ):
        y = functional.conv2d(x.permute(0, 3, 1, 2), weight[:, :, None, None], bias)
        return y.permute(0, 2, 3, 1)
    return functional.linear(x, weight, bias)


@cache
def _convolutions_are_faster() -> bool:
    libraries = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()
    return libraries and "AMD" in processor_capabilities().get("cpu_name", "")
