"""Benchmark of backbones: one image forward, or one training step."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from scmpr_ros.errors import ConfigError
from scmpr_ros.evaluation.benchmark.machine import Machine, work_of
from scmpr_ros.evaluation.benchmark.timing import Timing, time_in_turn
from scmpr_ros.networks.backbones import build_backbone
from scmpr_ros.networks.device import choose_device
from scmpr_ros.networks.precision import lower_weights
from scmpr_ros.networks.selective_scan import backend_for, forced_backend
from scmpr_ros.networks.vmamba import VARIANTS, build_vmamba

PEERS = ("timm/vit_small_patch16_224", "timm/resnet50")
"""LIP-Loc's two towers."""


@dataclass(frozen=True)
class NetworkBenchmarkConfig:
    """Classifiers to time forward, on one image each."""

    networks: tuple[str, ...] = ("nano", "tiny_0230s", *PEERS)
    image_size: tuple[int, int] = (224, 224)
    runs: int = 30
    device: str = "auto"
    official: Path | None = None
    """Clone of github.com/MzeroMiko/VMamba, to time its tiny_0230s, too (needs fvcore)."""

    def __post_init__(self) -> None:
        if self.official is not None and not (self.official / "vmamba.py").is_file():
            raise ConfigError(
                f"{self.official} has no vmamba.py: give a clone of github.com/MzeroMiko/VMamba"
            )


@dataclass(frozen=True)
class TrainingBenchmarkConfig:
    """Backbones to time in training steps: forward, backward, AdamW."""

    networks: tuple[str, ...] = ("nano", "timm/resnet18")
    batch: int = 8
    image_size: tuple[int, int] = (128, 416)
    runs: int = 10
    device: str = "auto"


@dataclass(frozen=True)
class NetworkTiming:
    """One network in one precision. floor_ms: lower bound by its products and weights."""

    network: str
    precision: str
    scan: str
    parameters: int
    gflops: float
    timing: Timing
    floor_ms: float


def benchmark_networks(config: NetworkBenchmarkConfig, machine: Machine) -> list[NetworkTiming]:
    """Time classifiers in float32 and bfloat16, and VMamba also with the scan in plain torch."""
    device = choose_device(config.device)
    image = torch.rand(1, 3, *config.image_size, device=device)
    calls: dict[tuple[str, str, str], Callable[[], object]] = {}
    built: dict[str, nn.Module] = {}
    for name in config.networks:
        built[name] = classifier(name).eval().to(device)
        lowered = lower_weights(classifier(name).eval().to(device), torch.bfloat16)
        scan = backend_for(device) if name in VARIANTS else ""
        calls[name, "float32", scan] = classify(built[name], image)
        calls[name, "bfloat16", scan] = classify(lowered, image, torch.bfloat16)
        if scan not in ("", "torch"):
            calls[name, "float32", "torch"] = classify(built[name], image, scan="torch")
    if config.official is not None:
        name = "official tiny_0230s"
        built[name] = _official_tiny(config.official).eval().to(device)
        lowered = lower_weights(_official_tiny(config.official).eval().to(device), torch.bfloat16)
        calls[name, "float32", "its own"] = classify(built[name], image)
        calls[name, "bfloat16", "its own"] = classify(lowered, image, torch.bfloat16)
    times = time_in_turn(calls, config.runs, device, label="networks")
    work = {name: work_of(network, image) for name, network in built.items()}
    return [
        NetworkTiming(
            name, precision, scan, count_parameters(built[name]), work[name].flops / 1e9, timing,
            machine.floor_ms(work[name].flops, work[name].num_bytes, getattr(torch, precision)),
        )
        for (name, precision, scan), timing in times.items()
    ]  # fmt: skip


def benchmark_training(config: TrainingBenchmarkConfig, machine: Machine) -> list[NetworkTiming]:
    """Time training steps of backbones, with all stage maps in the loss."""
    device = choose_device(config.device)
    image = torch.rand(config.batch, 3, *config.image_size, device=device)
    calls, built = {}, {}
    for name in config.networks:
        built[name] = build_backbone(name).train().to(device)
        scan = backend_for(device) if name in VARIANTS else ""
        calls[name, scan] = _training_step(built[name], image)
    times = time_in_turn(calls, config.runs, device, label="training steps")
    timings = []
    for (name, scan), timing in times.items():
        work = work_of(_Features(built[name]), image)
        floor = machine.floor_ms(3 * work.flops, 3 * work.num_bytes, torch.float32)
        gflops, parameters = 3 * work.flops / 1e9, count_parameters(built[name])
        timings.append(NetworkTiming(name, "float32", scan, parameters, gflops, timing, floor))
    return timings


class _Features(nn.Module):
    """A backbone whose forward pass returns its stage maps."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, image: Tensor) -> list[Tensor]:
        maps: list[Tensor] = self.backbone.forward_features(image)  # type: ignore[operator]
        return maps


def classifier(name: str) -> nn.Module:
    """Build a VMamba or `timm/<model>` with its classification head and random weights."""
    if name in VARIANTS:
        return build_vmamba(name)
    import timm  # takes seconds

    if not name.startswith("timm/"):
        raise ConfigError(
            f"no network {name!r}; choose one of {', '.join(VARIANTS)} or timm/<model>"
        )
    network: nn.Module = timm.create_model(name.removeprefix("timm/"), pretrained=False)
    return network


def classify(
    network: nn.Module, image: Tensor, precision: torch.dtype = torch.float32, scan: str = "auto"
) -> Callable[[], object]:
    """Return a function that classifies an image with a backend of the scan."""

    @torch.inference_mode()
    def forward() -> object:
        lower = precision != torch.float32
        with torch.autocast(image.device.type, precision, enabled=lower), forced_backend(scan):
            return network(image)

    return forward


def _training_step(backbone: nn.Module, image: Tensor) -> Callable[[], object]:
    optimiser = torch.optim.AdamW(backbone.parameters())
    features = _Features(backbone)

    def step() -> None:
        optimiser.zero_grad()
        loss = torch.stack([x.square().mean() for x in features(image)]).sum()
        loss.backward()
        optimiser.step()

    return step


def count_parameters(network: nn.Module) -> int:
    """Number of parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def _official_tiny(folder: Path) -> nn.Module:
    """tiny_0230s of the official implementation; its top-level file also runs on CPUs."""
    path = folder / "vmamba.py"
    spec = importlib.util.spec_from_file_location("official_vmamba", path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # for timm
    try:
        spec.loader.exec_module(module)
        network: nn.Module = module.vmamba_tiny_s1l8()
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{path}: {error}; it needs `pip install fvcore`") from error
    return network
