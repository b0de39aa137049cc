"""Non-negative factorisation of a feature map, as a layer.

The updates are those of Lee and Seung (2001), the layer is that of Geng et al. (2021).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_SMALLEST = 1e-6


class FactorisationBlock(nn.Module):
    """Adds to features (B, C, H, W) their own low-rank reconstruction.

    The features, made non-negative, X (C, N), are written as bases times coefficients, X ~ D C with
    D (C, R) and C (R, N) not negative, by multiplicative updates:

        C <- C * (D^T X) / (D^T D C),    D <- D * (X C^T) / (D C C^T)

    The initial bases are learned, and the same for all inputs, so that a basis means the same in
    both modalities and a descriptor is repeatable. Gradients pass the last update of C alone.
    """

    def __init__(self, channels: int, bases: int, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.enter = nn.Conv2d(channels, channels, 1)
        self.leave = nn.Conv2d(channels, channels, 1)
        self.bases = nn.Parameter(torch.randn(channels, bases))

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        x = self.enter(features).relu().flatten(2)
        with torch.autocast(x.device.type, enabled=False):  # the updates need all digits
            start = functional.normalize(functional.softplus(self.bases.float()), dim=0)
            bases, coefficients = factorise(x.float(), start, self.steps)
            common = (bases @ coefficients).view_as(features)
        result: Tensor = features + self.leave(common)
        return result


def factorise(x: Tensor, bases: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Factorise non-negative x (B, C, N): bases D (B, C, R) and coefficients C (B, R, N).

    bases: (C, R), unit columns, to start from. Gradients pass the last update of C alone, in which
        D is fixed but for what the start contributes.
    """
    with torch.no_grad():
        D = bases.expand(len(x), -1, -1)
        C = (D.mT @ x).softmax(1)
        for _ in range(steps):
            C = _updated_coefficients(x, D, C)
            D = D * (x @ C.mT) / (D @ (C @ C.mT)).clamp_min(_SMALLEST)
    D = D + (bases - bases.detach())  # the start's gradient, as if no step had moved it
    return D, _updated_coefficients(x, D, C)


def _updated_coefficients(x: Tensor, D: Tensor, C: Tensor) -> Tensor:
    return C * (D.mT @ x) / (D.mT @ D @ C).clamp_min(_SMALLEST)
