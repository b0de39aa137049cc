"""Measured rates of the machine, which give a lower bound of every time."""

from __future__ import annotations

import platform
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from scmpr_ros.evaluation.benchmark.timing import synchroniser, time_in_turn

_MATRICES = (256, 512, 1024, 2048)
_CHANNELS, _SIDES = 256, (14, 28, 56)  # of a convolution of 3 x 3
_LONGEST_S = 0.1
_COPY_BYTES = 256 << 20


@dataclass(frozen=True)
class Machine:
    """A device with its measured rates, each the best of several runs.

    float32, bfloat16: GFLOP/s of a large matrix product or convolution, whichever is faster.
    copy: GB/s of a copy of 256 MiB, counting bytes read and bytes written.
    """

    name: str
    torch_version: str
    threads: int
    float32: float
    bfloat16: float
    copy: float

    def __str__(self) -> str:
        return (
            f"{self.name}, {self.threads} threads, torch {self.torch_version}; measured: float32 "
            f"{self.float32:.0f}, bfloat16 {self.bfloat16:.0f} GFLOP/s, copy {self.copy:.0f} GB/s"
        )

    def floor_ms(self, flops: float, num_bytes: float, precision: torch.dtype) -> float:
        """Lower bound of the time for these operations and bytes, whichever takes longer."""
        rate = self.bfloat16 if precision == torch.bfloat16 else self.float32
        return max(flops / rate, num_bytes / self.copy) / 1e6


@dataclass(frozen=True)
class Work:
    """Least work of a function: operations, and bytes if weights, inputs, outputs move once."""

    flops: float
    num_bytes: float


def measure_machine(device: torch.device) -> Machine:
    """Name a device and measure its rates."""
    source = torch.rand(_COPY_BYTES // 4, device=device)
    target = torch.empty_like(source)
    calls: dict[str, Callable[[], object]] = {"copy": lambda: target.copy_(source)}
    flops: dict[str, float] = {}
    for name in ("float32", "bfloat16"):
        for sizes, kind in ((_MATRICES, _product), (_SIDES, _convolution)):
            key = f"{name} {kind.__name__}"
            calls[key], flops[key] = _affordable(sizes, kind, device, getattr(torch, name))
    times = time_in_turn(calls, runs=10, device=device, label="rates of the machine")

    def rate(name: str) -> float:
        return max(flops[k] / times[k].min_ms / 1e6 for k in flops if k.startswith(name))

    return Machine(
        name=device_name(device),
        torch_version=torch.__version__,
        threads=torch.get_num_threads(),
        float32=rate("float32"),
        bfloat16=rate("bfloat16"),
        copy=2 * _COPY_BYTES / times["copy"].min_ms / 1e6,
    )


_Call = tuple[Callable[[], object], float]
"""A function to time, and its number of operations."""


def _product(size: int, device: torch.device, dtype: torch.dtype) -> _Call:
    a, b = torch.randn(2, size, size, device=device, dtype=dtype).unbind()
    return partial(torch.mm, a, b), 2.0 * size**3


def _convolution(size: int, device: torch.device, dtype: torch.dtype) -> _Call:
    image = torch.randn(1, _CHANNELS, size, size, device=device, dtype=dtype)
    kernel = torch.randn(_CHANNELS, _CHANNELS, 3, 3, device=device, dtype=dtype)
    call = partial(torch.conv2d, image, kernel, padding=1)
    return call, 2.0 * (3 * _CHANNELS * size) ** 2


def _affordable(
    sizes: tuple[int, ...], kind: Callable[[int, torch.device, torch.dtype], _Call],
    device: torch.device, dtype: torch.dtype,
) -> _Call:  # fmt: skip
    """The largest of growing sizes whose call does not take too long.

    A processor without bfloat16 instructions may multiply it a thousand times slower: a product of
    2048 took a minute on a Zen 3.
    """
    wait = synchroniser(device)
    for size in sizes:
        call, flops = kind(size, device, dtype)
        for _ in range(2):  # the first one warms up
            wait()
            began_s = time.perf_counter()
            call()
            wait()
        if time.perf_counter() - began_s > _LONGEST_S / 8:  # the next takes 4 to 8 times longer
            break
    return call, flops


def device_name(device: torch.device) -> str:
    """Model name of the hardware."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{names[0] if names else platform.processor() or platform.machine()} ({capability})"


def work_of(network: nn.Module, *inputs: torch.Tensor) -> Work:
    """Work of one forward pass, counting products and convolutions only."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        output = network(*inputs)
    outputs = output if isinstance(output, (list, tuple)) else [output]
    tensors = [*network.parameters(), *inputs, *outputs]
    return Work(
        float(counter.get_total_flops()), float(sum(t.numel() * t.element_size() for t in tensors))
    )


def peak_memory_mb(device: torch.device) -> float:
    """Peak memory so far: of the process, or of tensors on a GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
