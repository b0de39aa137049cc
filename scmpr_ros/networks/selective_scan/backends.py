"""Which implementation of the scan runs, and their common form, `scan_grid`.

| backend | device | what it is |
|---|---|---|
| `cpp` | CPU | a C++ kernel, compiled once on first use and cached (`cpp`) |
| `triton` | CUDA | a Triton kernel of our own (`triton_scan`) |
| `mamba_ssm` | CUDA | mamba_ssm's `selective_scan_fn`, on reordered copies (`mamba`) |
| `torch` | any | a block recurrence in plain torch (`blocks`) |
| `doubling` | any | short runs written out, doubling over runs: what can be exported (`doubling`) |
| `reference` | any | the recurrence step by step, for tests |

`auto` takes the first of `cpp`, `triton`, `mamba_ssm`, `torch` that the device and the installation
allow; `doubling` while a network is exported. To force one: `backend=` of the operation,
`forced_backend` for a block of code, the environment variable SCMPR_SCAN_BACKEND for a program.
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
_READING_HALF = ("cpp", "triton")
"""Backends that read half-precision images as they are; the others get a copy in float32."""


@contextmanager
def forced_backend(name: str) -> Iterator[None]:
    """Let all scans of a block of code run on one backend."""
    token = _forced.set(_known(name))
    try:
        yield
    finally:
        _forced.reset(token)


def backend_for(device: torch.device, backend: str = "auto") -> str:
    """Name of the backend that scans tensors of a device."""
    for choice in (backend, _forced.get()):
        if choice != "auto":
            return _known(choice)
    of_program = os.environ.get(ENVIRONMENT_VARIABLE) or "auto"
    if of_program != "auto":
        return _by_environment(of_program, device.type)
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
    """Scan images in K directions; the form that `selective_scan` and `ss2d` share.

    A sequence is an image of one row. Directions either have a slice of u each, S = K, or share
    one, S = 1; then their outputs are summed.

    Args:
        u: (S, batch, H, W, dim).
        delta: (K, batch, H, W, dim).
        A: (K, dim, state).
        B, C: (K, batch, H, W, state).
        D, bias: (K, dim).
        softplus: whether the step is softplus(delta + bias) or delta + bias itself.
        orders: K numbers of `orders`: how each direction walks the image.
        backend: one of `BACKENDS`, or `auto`.

    Returns:
        y, (S, batch, H, W, dim), in float32, or float64 where u is float64.
    """
    real = torch.promote_types(u.dtype, torch.float32)
    name = backend_for(u.device, backend)
    with torch.autocast(u.device.type, enabled=False):
        A, B, C, D, bias = (x.to(real) for x in (A, B, C, D, bias))
        if name not in _READING_HALF:
            u, delta = u.to(real), delta.to(real)
        return BACKENDS[name](u, delta, A, B, C, D, bias, softplus, orders)


@cache
def _by_environment(name: str, device_type: str) -> str:
    """The backend that the environment names; logged once."""
    _log.info("selective scan on %s: %s (by %s)", device_type, _known(name), ENVIRONMENT_VARIABLE)
    return name


@cache
def _automatic(device_type: str) -> str:
    """Best backend of a kind of device; logged once."""
    why_not = []
    for name, available in (
        ("cpp", cpp.unavailable), ("triton", triton_scan.unavailable),
        ("mamba_ssm", mamba.unavailable),
    ):  # fmt: skip
        reason = available(device_type)
        if reason is None:
            _log.info("selective scan on %s: %s", device_type, name)
            return name
        why_not.append(f"{name}: {reason}")
    _log.info("selective scan on %s: torch (%s)", device_type, "; ".join(why_not))
    return "torch"


def _known(name: str) -> str:
    if name != "auto" and name not in BACKENDS:
        raise ConfigError(f"no scan backend {name!r}; there are auto, {', '.join(BACKENDS)}")
    return name
