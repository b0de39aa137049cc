"""The scan as Triton kernels (`triton_kernels`): the fast backend on NVIDIA GPUs.

A program scans one direction of one image for BLOCK.channels channels, so K x batch x dim / 4
programs share the GPU; a program processes its length / BLOCK.positions chunks sequentially.
Directions that share u write separate outputs and gradients, which torch sums.

Roofline for an H100: a cell (one pixel, direction and channel) moves 17 bytes forward (u, delta,
the output, and the sum over directions) and 29 backward; at 3.3 TB/s that is 2e11 and 1.1e11 cells
per second. It computes three exponentials or divisions and 16 shuffles forward, four and 56
backward; 132 multiprocessors could do 5e11 and 1.3e11. So memory bounds the forward pass, and the
backward pass is balanced. Hence nothing is reordered, softplus, exponentials and D u are fused
between load and store, and states are recomputed rather than stored. **Not yet run or timed on a
GPU**: tested in Triton's interpreter, and compiled for sm_90.

State dimensions are scanned one at a time, and their outputs summed.
"""

from __future__ import annotations

from functools import cache, reduce
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from scmpr_ros.errors import ConfigError


class Block(NamedTuple):
    """Size of the block that one program processes at a time.

    positions: length of a chunk, a power of 2.
    channels: a power of 2.
    warps: of 32 threads.
    """

    positions: int
    channels: int
    warps: int


# The longest block of 16-byte accesses that leaves registers for two programs per multiprocessor on
# sm_90: 95 per thread forward and 190 backward. (256, 8, 4) needs 162 and 255, (512, 4, 4) spills.
# (128, 8, 4), 96 and 187, reads whole memory sectors but takes twice as many chunks; so does
# (128, 4, 4), 64 and 116, which leaves room for more programs.
BLOCK = Block(positions=256, channels=4, warps=4)

_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_MAX_ORDERS = 15  # bit pairs in a kernel argument


def unavailable(device_type: str) -> str | None:
    """Reason why this backend cannot be used on a device type; None if it can.

    Triton's interpreter can scan on a CPU, but it is for tests and never chosen automatically.
    """
    if device_type != "cuda":
        return "needs a GPU, or for tests Triton's slow interpreter (TRITON_INTERPRET=1)"
    return _kernels()[1]


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
    """See `backends.scan_grid`; u and delta may also be bfloat16 or float16."""
    reason = unavailable(u.device.type)
    if reason is not None and not (u.device.type == "cpu" and _interpreted()):
        raise ConfigError(f"scan backend triton is not available: {reason}")
    if u.dtype not in _DTYPES or delta.dtype not in _DTYPES:
        u, delta = u.to(A.dtype), delta.to(A.dtype)
    packed = _packed(orders)
    no_skip = torch.zeros_like(D)
    outputs = (
        _Scan.apply(  # type: ignore[no-untyped-call]
            u, delta, A[..., n], B[..., n], C[..., n], no_skip if n else D, bias, softplus, packed
        )
        for n in range(A.shape[-1])
    )
    return reduce(torch.add, outputs)


class _Scan(torch.autograd.Function):
    """Scan of one state dimension. Saves its inputs and the states before each chunk."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        *tensors, softplus, packed = arguments
        tensors = [x.contiguous() for x in tensors]
        u, delta, A = tensors[:3]
        directions, batch, height, width, dim = delta.shape
        call = _Call(BLOCK, len(u), delta, softplus, packed)
        save = any(ctx.needs_input_grad)
        chunks = -(-height * width // BLOCK.positions) if save else 0
        starts = A.new_empty(directions, batch, chunks, dim)
        y = A.new_empty(delta.shape)
        call.launch("forward", *tensors, y, starts, SAVE=save)
        ctx.save_for_backward(*tensors, starts)
        ctx.call = call
        return y.sum(0, keepdim=True) if call.shared else y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        tensors, call = ctx.saved_tensors, ctx.call
        u, delta, A, B = tensors[:4]
        directions, batch, *_, dim = delta.shape
        du = A.new_empty(delta.shape)
        d_delta = torch.empty_like(delta)
        dA, dD, d_bias = (A.new_empty(batch, directions, dim) for _ in range(3))
        dB, dC = (A.new_empty(call.blocks, *B.shape) for _ in range(2))
        call.launch("backward", *tensors, dy.contiguous(), du, d_delta, dA, dB, dC, dD, d_bias)
        if call.shared:
            du = du.sum(0, keepdim=True)
        sums = [x.sum(0) for x in (dA, dB, dC, dD, d_bias)]
        return du.to(u.dtype), d_delta, *sums, None, None


class _Call:
    """Launches the kernels of one scan."""

    def __init__(
        self, block: Block, slices: int, delta: Tensor, softplus: bool, packed: tuple[int, int]
    ) -> None:
        directions, batch, height, width, dim = delta.shape
        self.shared = slices == 1 and directions > 1
        self.blocks = -(-dim // block.channels)
        self._block = block
        self._programs = directions * batch * self.blocks
        self._sizes = batch, height, width, dim, *packed
        self._softplus = softplus

    def launch(self, direction: str, *tensors: Tensor, **settings: bool) -> None:
        """Run the kernel `forward` or `backward` on the device of the tensors."""
        kernels = _kernels()[0]
        assert kernels is not None
        with torch.cuda.device_of(tensors[0]):  # Triton uses the current device; no-op on a CPU
            getattr(kernels, direction)[(self._programs,)](
                *tensors, *self._sizes, SHARED=self.shared, SOFTPLUS=self._softplus, **settings,
                POSITIONS=self._block.positions, CHANNELS=self._block.channels,
                num_warps=self._block.warps, enable_fp_fusion=True,
            )  # fmt: skip


def _packed(orders: tuple[int, ...]) -> tuple[int, int]:
    """Pack orders into bit pairs; return them and the period after which the orders repeat."""
    period = next(
        n for n in range(1, len(orders) + 1) if orders == (orders[:n] * len(orders))[: len(orders)]
    )
    if period > _MAX_ORDERS:
        raise ConfigError(
            "scan backend triton supports sequences of orders that repeat after at most "
            f"{_MAX_ORDERS}, got {period}"
        )
    return sum(order << 2 * i for i, order in enumerate(orders[:period])), period


@cache
def _kernels() -> tuple[ModuleType | None, str | None]:
    """The kernels, or the reason why there are none. Triton is slow to import: on first use."""
    try:
        from scmpr_ros.networks.selective_scan import triton_kernels
    except ImportError as error:
        return None, f"needs triton, which does not import: {error}"
    return triton_kernels, None


def _interpreted() -> bool:
    """Whether the kernels run in Triton's interpreter, as set when they were imported."""
    kernels = _kernels()[0]
    return kernels is not None and kernels.INTERPRETED
