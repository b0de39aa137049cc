"""Benchmark of the selective scan's backends on the grids of VMamba's four stages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from scmpr_ros.errors import ConfigError
from scmpr_ros.evaluation.benchmark.machine import Machine
from scmpr_ros.evaluation.benchmark.timing import Timing, time_in_turn
from scmpr_ros.networks.device import choose_device
from scmpr_ros.networks.selective_scan import ss2d
from scmpr_ros.networks.vmamba import VARIANTS


@dataclass(frozen=True)
class ScanBenchmarkConfig:
    """Scans to time."""

    network: str = "tiny_0230s"
    image_size: tuple[int, int] = (224, 224)
    batch: int = 1
    backends: tuple[str, ...] = ("cpp", "triton", "mamba_ssm", "torch", "doubling")
    """Backends that cannot run here are skipped, with the reason."""
    runs: int = 30
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.network not in VARIANTS:
            raise ConfigError(f"no VMamba {self.network!r}; choose one of {', '.join(VARIANTS)}")


@dataclass(frozen=True)
class ScanTiming:
    """One backend on one stage's grid: four orders, d_state 1, forward or both ways.

    way: `forward`, or `both ways` with the backward pass.
    floor_ms: lower bound by the bytes moved; exponentials and logarithms take longer.
    """

    backend: str
    stage: int
    height: int
    width: int
    dim: int
    way: str
    timing: Timing
    floor_ms: float
    error: float
    """Largest difference from the float64 reference, relative to the largest output."""


def benchmark_scans(
    config: ScanBenchmarkConfig, machine: Machine
) -> tuple[list[ScanTiming], dict[str, str]]:
    """Time every backend that runs here; return the reasons why others do not, too."""
    device = choose_device(config.device)
    variant = VARIANTS[config.network]
    results, missing = [], {}
    for stage, width in enumerate(variant.widths):
        height_px, width_px = (side // (4 << stage) for side in config.image_size)
        dim = int(variant.ssm_ratio * width)
        arguments = _arguments(config.batch, height_px, width_px, dim, device)
        exact = _scan([a.detach().double() for a in arguments], "doubling")
        calls: dict[tuple[str, str], Callable[[], object]] = {}
        errors = {}
        for backend in config.backends:
            try:
                y = _scan(arguments, backend)
            except ConfigError as error:
                missing[backend] = str(error)
                continue
            errors[backend] = float((y.detach() - exact).abs().max() / exact.abs().max())
            calls |= _calls(arguments, backend)
        times = time_in_turn(calls, config.runs, device, label=f"scans of stage {stage + 1}")
        for (backend, way), timing in times.items():
            least = _bytes(arguments, both_ways=way != "forward")
            floor = machine.floor_ms(0, least, torch.float32)
            results.append(
                ScanTiming(backend, stage + 1, height_px, width_px, dim, way, timing, floor,
                           errors[backend])
            )  # fmt: skip
    return results, missing


def _arguments(batch: int, height: int, width: int, dim: int, device: torch.device) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    grid = (4, batch, height, width)
    shapes = [(*grid[1:], dim), (*grid, dim), (4, dim, 1), (*grid, 1), (*grid, 1), (4, dim)]
    arguments = [torch.randn(shape, generator=generator) for shape in (*shapes, (4, dim))]
    arguments[2] = -arguments[2].exp()
    arguments[6] -= 4.6  # steps of about 0.01, as in VMamba before training
    return [a.to(device).requires_grad_() for a in arguments]


def _scan(arguments: list[Tensor], backend: str) -> Tensor:
    u, delta, A, B, C, D, bias = arguments
    return ss2d(u, delta, A, B, C, D, bias, delta_softplus=True, backend=backend)


def _calls(arguments: list[Tensor], backend: str) -> dict[tuple[str, str], Callable[[], object]]:
    def forward() -> Tensor:
        with torch.no_grad():
            return _scan(arguments, backend)

    def both_ways() -> object:
        y = _scan(arguments, backend)
        return torch.autograd.grad(y.sum(), arguments)

    return {(backend, "forward"): forward, (backend, "both ways"): both_ways}


def _bytes(arguments: list[Tensor], both_ways: bool) -> float:
    """Bytes if each argument is read and y is written once; backward also moves the gradients."""
    elements = sum(a.numel() for a in arguments) + arguments[0].numel()
    return 4.0 * elements * (3 if both_ways else 1)
