"""The scan's backends, their choice, and their common interface `scan_grid`.

| backend | device | implementation |
|---|---|---|
| `cpp` | CPU | a C++ kernel, compiled on first use and cached (`cpp`) |
| `triton` | CUDA | a Triton kernel (`triton_scan`) |
| `mamba_ssm` | CUDA | mamba_ssm's `selective_scan_fn`, on reordered copies (`mamba`) |
| `torch` | any | a block recurrence in plain torch (`blocks`) |
| `doubling` | any | unrolled runs joined by doubling, for export (`doubling`) |
| `reference` | any | the recurrence step by step, for tests |

`auto` takes the first of `cpp`, `triton`, `mamba_ssm` and `torch` that is available for the device,
or `doubling` during export. Force a backend by `backend=` for a call, `forced_backend` for a block
of code, or the environment variable SCMPR_SCAN_BACKEND for a process.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

import torch
from torch import Tensor

from scmpr_ros.errors import ConfigError
from scmpr_ros.networks.selective_scan import blocks, cpp, doubling, mamba, reference, triton_scan

ENVIRONMENT_VARIABLE = "SCMPR_SCAN_BACKEND"

_log = logging.getLogger(__name__)
_forced: ContextVar[str] = ContextVar("forced scan backend", default="auto")

BACKENDS: dict[str, Callable[..., Tensor]] = {
    "cpp": cpp.scan_grid,
    "triton": triton_scan.scan_grid,
    "mamba_ssm": mamba.scan_grid,
    "torch": blocks.scan_grid,
    "doubling": doubling.scan_grid,
    "reference": reference.scan_grid,
}
_ACCEPT_HALF = ("cpp", "triton")
"""Backends that accept half-precision images; the others get float32 copies."""


@contextmanager
def forced_backend(name: str) -> Iterator[None]:
    """Force a backend for all scans within a block of code."""
    token = _forced.set(_checked(name))
    try:
        yield
    finally:
        _forced.reset(token)


def backend_for(device: torch.device, backend: str = "auto") -> str:
    """Choose the backend that scans tensors on a device, by name."""
    for choice in (backend, _forced.get()):
        if choice != "auto":
            return _checked(choice)
    by_environment = os.environ.get(ENVIRONMENT_VARIABLE) or "auto"
    if by_environment != "auto":
        return _by_environment(by_environment, device.type)
    if torch.compiler.is_exporting() or torch.onnx.is_in_onnx_export():
        return "doubling"
    return _automatic(device.type)


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
    backend: str = "auto",
) -> Tensor:
    """Scan images in K directions: the common form of `selective_scan` and `ss2d`.

    A sequence is an image of one row. Either each direction has its own slice of u (S = K), or all
    share one (S = 1) and their outputs are summed.

    Args:
        u: (S, batch, H, W, dim).
        delta: (K, batch, H, W, dim).
        A: (K, dim, state).
        B, C: (K, batch, H, W, state).
        D, bias: (K, dim).
        softplus: whether the step is softplus(delta + bias) or just delta + bias.
        orders: K values from module `orders`: the scan order of each direction.
        backend: one of `BACKENDS`, or `auto`.

    Returns:
        y, (S, batch, H, W, dim), float32, or float64 if u is.
    """
    dtype = torch.promote_types(u.dtype, torch.float32)
    name = backend_for(u.device, backend)
    with torch.autocast(u.device.type, enabled=False):
        A, B, C, D, bias = (x.to(dtype) for x in (A, B, C, D, bias))
        if name not in _ACCEPT_HALF:
            u, delta = u.to(dtype), delta.to(dtype)
        return BACKENDS[name](u, delta, A, B, C, D, bias, softplus, orders)


@cache
def _by_environment(name: str, device_type: str) -> str:
    """Check and log, once, the backend named by the environment variable."""
    _log.info("selective scan on %s: %s (by %s)", device_type, _checked(name), ENVIRONMENT_VARIABLE)
    return name


@cache
def _automatic(device_type: str) -> str:
    """Choose the best available backend for a device type; logged once."""
    reasons = []
    for name, unavailable in (
        ("cpp", cpp.unavailable), ("triton", triton_scan.unavailable),
        ("mamba_ssm", mamba.unavailable),
    ):  # fmt: skip
        reason = unavailable(device_type)
        if reason is None:
            _log.info("selective scan on %s: %s", device_type, name)
            return name
        reasons.append(f"{name}: {reason}")
    _log.info("selective scan on %s: torch (%s)", device_type, "; ".join(reasons))
    return "torch"


def _checked(name: str) -> str:
    if name != "auto" and name not in BACKENDS:
        raise ConfigError(f"unknown scan backend {name!r}; known: auto, {', '.join(BACKENDS)}")
    return name
