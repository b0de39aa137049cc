"""What the machine can do: the rates that give a floor under every time."""

from __future__ import annotations

import platform
import resource
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from scmpr_ros.evaluation.benchmark.timing import time_in_turn

_MATRIX = 2048
_CHANNELS, _SIDE = 256, 56  # of a convolution of 3 x 3
_COPY_BYTES = 256 << 20


@dataclass(frozen=True)
class Machine:
    """A device with its measured rates.

    float32, bfloat16: GFLOP/s of a large matrix product or convolution, whichever is faster.
    copy: GB/s of a copy of 256 MiB, bytes read and bytes written.
    All are the best of several runs: a floor is under what the machine can do at its best.
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
        """Least time for so many operations and bytes: the larger of the two shares."""
        rate = self.bfloat16 if precision == torch.bfloat16 else self.float32
        return max(flops / rate, num_bytes / self.copy) / 1e6


@dataclass(frozen=True)
class Work:
    """Least work of a function: operations, and bytes with each weight, input, output once."""

    flops: float
    num_bytes: float


def measure_machine(device: torch.device) -> Machine:
    """Name a device and measure its rates."""
    source = torch.rand(_COPY_BYTES // 4, device=device)
    target = torch.empty_like(source)
    calls: dict[str, Callable[[], object]] = {"copy": lambda: target.copy_(source)}
    for name in ("float32", "bfloat16"):
        dtype = getattr(torch, name)
        a, b = torch.randn(2, _MATRIX, _MATRIX, device=device, dtype=dtype).unbind()
        image = torch.randn(1, _CHANNELS, _SIDE, _SIDE, device=device, dtype=dtype)
        kernel = torch.randn(_CHANNELS, _CHANNELS, 3, 3, device=device, dtype=dtype)
        calls[f"{name} product"] = partial(torch.mm, a, b)
        calls[f"{name} convolution"] = partial(torch.conv2d, image, kernel, padding=1)
    times = time_in_turn(calls, runs=10, device=device, label="rates of the machine")

    def rate(name: str) -> float:
        return max(
            2.0 * _MATRIX**3 / times[f"{name} product"].min_ms / 1e6,
            2.0 * (3 * _CHANNELS * _SIDE) ** 2 / times[f"{name} convolution"].min_ms / 1e6,
        )

    return Machine(
        name=device_name(device),
        torch_version=torch.__version__,
        threads=torch.get_num_threads(),
        float32=rate("float32"),
        bfloat16=rate("bfloat16"),
        copy=2 * _COPY_BYTES / times["copy"].min_ms / 1e6,
    )


def device_name(device: torch.device) -> str:
    """The hardware's own name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{names[0] if names else platform.processor() or platform.machine()} ({capability})"


def work_of(network: nn.Module, *inputs: torch.Tensor) -> Work:
    """Work of one forward pass; products and convolutions count, elementwise operations do not."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        output = network(*inputs)
    outputs = output if isinstance(output, (list, tuple)) else [output]
    tensors = [*network.parameters(), *inputs, *outputs]
    return Work(
        float(counter.get_total_flops()), float(sum(t.numel() * t.element_size() for t in tensors))
    )


def peak_memory_mb(device: torch.device) -> float:
    """Most memory so far: of the process, or of tensors on a GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
