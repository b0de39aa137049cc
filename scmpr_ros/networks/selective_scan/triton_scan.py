"""The scan by Triton kernels of our own (`triton_kernels`): the fast backend on NVIDIA GPUs.

A program scans one direction of one image for BLOCK.channels channels, so K x batch x dim / 4
programs share the GPU; a single image's time is that of its length / BLOCK.positions chunks, one
after the other. Directions that share u write outputs and gradients of their own, which torch sums.

Roofline, with an H100 in mind. A cell (of one pixel, direction and channel) moves 17 bytes forward
(u, delta, the output, and the sum of directions) and 29 backward: 3.3 TB/s feed 2e11 and 1.1e11
cells a second. Computing one takes three exponentials or divisions and 16 shuffles forward, four
and 56 backward, for which 132 processors would allow 5e11 and 1.3e11. So memory bounds the way
forward, and the way back is about even. That is why nothing is reordered, why softplus, the
exponentials and D u happen between load and store, and why states are computed again rather than
kept. **No GPU has timed or run it yet**: it is tested in Triton's interpreter, and compiled for
sm_90.

A state of several numbers is scanned number by number, and the outputs are summed; so are, by
autograd, the gradients.
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
    """What one program scans at a time, and by how many warps of threads.

    Args:
        positions: length of a chunk, a power of 2.
        channels: a power of 2.
        warps: 32 threads each.
    """

    positions: int
    channels: int
    warps: int


# Of those that move 16 bytes at a time, the longest that leaves registers for two programs on a
# processor at sm_90: 95 a thread forward and 190 backward, where (256, 8, 4) takes 162 and 255, and
# (512, 4, 4) spills. (128, 8, 4), 96 and 187, reads whole sectors of memory, but walks an image in
# twice as many chunks; so does (128, 4, 4), 64 and 116, which leaves room for more programs.
BLOCK = Block(positions=256, channels=4, warps=4)

_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_MOST_ORDERS = 15  # pairs of bits in a kernel's argument


def unavailable(device_type: str) -> str | None:
    """Why this backend cannot scan on a kind of device; None where it can.

    In Triton's interpreter it can scan on a CPU, but that is for tests, and never a choice.
    """
    if device_type != "cuda":
        return "needs a GPU, or on a CPU Triton's interpreter (TRITON_INTERPRET=1), which is slow"
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
        raise ConfigError(f"scan backend triton was asked for, but: {reason}")
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
    """One number of the state. Keeps its inputs, and the states at which chunks begin."""

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
    """How the kernels of one scan are launched."""

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
        """Run `forward` or `backward` of the kernels, on the device of its tensors."""
        kernels = _kernels()[0]
        assert kernels is not None
        with torch.cuda.device_of(tensors[0]):  # Triton takes the current one; a CPU is no device
            getattr(kernels, direction)[(self._programs,)](
                *tensors, *self._sizes, SHARED=self.shared, SOFTPLUS=self._softplus, **settings,
                POSITIONS=self._block.positions, CHANNELS=self._block.channels,
                num_warps=self._block.warps, enable_fp_fusion=True,
            )  # fmt: skip


def _packed(orders: tuple[int, ...]) -> tuple[int, int]:
    """Orders as pairs of bits, and the number of them after which they repeat."""
    period = next(
        n for n in range(1, len(orders) + 1) if orders == (orders[:n] * len(orders))[: len(orders)]
    )
    if period > _MOST_ORDERS:
        raise ConfigError(
            f"scan backend triton takes {_MOST_ORDERS} orders, or any number that repeat; "
            f"these {period} do not"
        )
    return sum(order << 2 * i for i, order in enumerate(orders[:period])), period


@cache
def _kernels() -> tuple[ModuleType | None, str | None]:
    """The kernels, or why there are none. Imported on first use: Triton takes its time to."""
    try:
        from scmpr_ros.networks.selective_scan import triton_kernels
    except ImportError as error:
        return None, f"needs triton, which does not import: {error}"
    return triton_kernels, None


def _interpreted() -> bool:
    """Whether the kernels run in Triton's interpreter: where it was on when they were imported."""
    kernels = _kernels()[0]
    return kernels is not None and kernels.INTERPRETED
