"""The scan as a C++ kernel (`scan.cpp`), compiled on first use: the fast backend on CPUs.

The kernel is called through its C interface. It uses the OpenMP runtime that torch has loaded, so
the two share one thread pool.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from scmpr_ros.compilation import CompilationError, load_library
from scmpr_ros.errors import ConfigError

SOURCE = Path(__file__).with_name("scan.cpp")
_KERNELS = {torch.bfloat16: "bfloat16", torch.float32: "float32", torch.float64: "float64"}


def unavailable(device_type: str) -> str | None:
    """Reason why this backend cannot be used on a device type; None if it can."""
    if device_type != "cpu":
        return "runs on CPUs only"
    return _library()[1]


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
    """See `backends.scan_grid`; u and delta may also be bfloat16."""
    reason = unavailable(u.device.type)
    if reason is not None:
        raise ConfigError(f"scan backend cpp is not available: {reason}")
    if u.dtype != delta.dtype or u.dtype not in _KERNELS:
        u, delta = u.to(A.dtype), delta.to(A.dtype)
    y: Tensor = _Scan.apply(u, delta, A, B, C, D, bias, softplus, orders)  # type: ignore[no-untyped-call]
    return y


class _Scan(torch.autograd.Function):
    """Saves only its inputs; the backward pass recomputes the states."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        *tensors, softplus, orders = arguments
        tensors = [x.contiguous() for x in tensors]
        u, delta, A = tensors[:3]
        y = torch.empty(u.shape, dtype=A.dtype)
        call = _Call(u, delta, A, softplus, orders)
        call.kernel("forward")(
            u.data_ptr(), delta.data_ptr(), _pointers(tensors[2:]), y.data_ptr(),
            call.sizes, call.orders, torch.get_num_threads(),
        )  # fmt: skip
        ctx.save_for_backward(*tensors)
        ctx.settings = softplus, orders
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        u, delta, *parameters = ctx.saved_tensors
        A, B = parameters[:2]
        dy = dy.contiguous()
        call = _Call(u, delta, A, *ctx.settings)
        blocks = -(-u.shape[-1] // (_lanes() * 4 // A.element_size()))
        batch = u.shape[1]
        du, d_delta = (torch.empty(x.shape, dtype=A.dtype) for x in (u, delta))
        dA = A.new_empty(batch, *A.shape)
        dB, dC = (A.new_empty(blocks, *B.shape) for _ in range(2))
        dD, d_bias = (A.new_empty(batch, *A.shape[:2]) for _ in range(2))
        call.kernel("backward")(
            u.data_ptr(), delta.data_ptr(), _pointers(parameters), dy.data_ptr(),
            _pointers([du, d_delta, dA, dB, dC, dD, d_bias]),
            call.sizes, call.orders, torch.get_num_threads(),
        )  # fmt: skip
        sums = [x.sum(0) for x in (dA, dB, dC, dD, d_bias)]
        return du.to(u.dtype), d_delta.to(u.dtype), *sums, None, None


class _Call:
    """Sizes and orders of a scan as C arrays, and the kernels of its dtype."""

    def __init__(
        self, u: Tensor, delta: Tensor, A: Tensor, softplus: bool, orders: tuple[int, ...]
    ) -> None:
        sizes = (len(u), *delta.shape, A.shape[-1], int(softplus))
        self.sizes = (ctypes.c_int64 * len(sizes))(*sizes)
        self.orders = (ctypes.c_int32 * len(orders))(*orders)
        self._dtype = _KERNELS[u.dtype]

    def kernel(self, direction: str) -> Any:
        """The library's kernel for `forward` or `backward`."""
        library = _library()[0]
        assert library is not None
        function = library[f"{direction}_{self._dtype}"]
        function.restype = None
        function.argtypes = [ctypes.c_void_p] * (7 if direction == "backward" else 6) + [
            ctypes.c_int
        ]
        return function


def _pointers(tensors: list[Tensor]) -> Any:
    return (ctypes.c_void_p * len(tensors))(*(x.data_ptr() for x in tensors))


@cache
def _library() -> tuple[ctypes.CDLL | None, str | None]:
    """The compiled kernel, or the reason why there is none; tried once per process."""
    try:
        return load_library(SOURCE), None
    except CompilationError as error:
        return None, str(error)


def _lanes() -> int:
    """Number of float32 channels in one vector of the kernel."""
    library = _library()[0]
    assert library is not None
    return int(library.lanes())
