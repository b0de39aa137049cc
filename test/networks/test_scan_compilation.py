"""The C++ scan agrees with the recurrence in every vector width."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from scmpr_ros.compilation import VECTOR_FLAGS, find_compiler, load_library
from scmpr_ros.networks.selective_scan import cpp, ss2d

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler")

CAPABILITIES = ("DEFAULT", *reversed(VECTOR_FLAGS))
OWN = torch.backends.cpu.get_cpu_capability()
"""What this processor can: its kernel is in the user's cache, other widths must be compiled."""
OWN_FIRST = [
    OWN,
    *(pytest.param(other, marks=pytest.mark.slow) for other in CAPABILITIES if other != OWN),
]


@pytest.mark.parametrize("capability", OWN_FIRST)
def test_vector_widths_agree_with_the_recurrence(
    capability: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if capability != OWN and CAPABILITIES.index(capability) > CAPABILITIES.index(OWN):
        pytest.skip(f"this processor has no {capability}")
    library = load_library(cpp.SOURCE, capability, None if capability == OWN else tmp_path)
    assert library.lanes() == {"AVX512": 16, "AVX2": 8}.get(capability, 4)
    monkeypatch.setattr(cpp, "_library", lambda: (library, None))
    torch.manual_seed(0)
    grid = (4, 2, 5, 6)
    arguments = [
        torch.randn(*grid[1:], 21), torch.randn(*grid, 21), -torch.rand(4, 21, 2),
        torch.randn(*grid, 2), torch.randn(*grid, 2), torch.randn(4, 21), torch.randn(4, 21),
    ]  # fmt: skip
    ours = [a.requires_grad_() for a in arguments]
    exact = [a.detach().double().requires_grad_() for a in arguments]
    y = ss2d(*ours, True, backend="cpp")
    expected = ss2d(*exact, True, backend="reference")
    torch.testing.assert_close(y.double(), expected, rtol=1e-5, atol=1e-4)
    gradients = torch.autograd.grad(y.sum(), ours)
    for got, want in zip(gradients, torch.autograd.grad(expected.sum(), exact), strict=True):
        torch.testing.assert_close(got.double(), want, rtol=1e-4, atol=1e-3)
