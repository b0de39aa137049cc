"""Soak test of a running localizer: its settings, and what the measurements come to.

A node drives the localizer with real messages and writes the measurements; nothing of ROS is
imported here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scmpr_ros.errors import ConfigError
from scmpr_ros.evaluation.benchmark.queries import random_place_map
from scmpr_ros.methods.checkpoint import load_checkpoint, save_checkpoint
from scmpr_ros.methods.scmpr.network import ScmprConfig, ScmprNetwork
from scmpr_ros.resources import DEFAULT_CHECKPOINT, resource


@dataclass(frozen=True)
class SoakConfig:
    """How long a localizer is driven, and what it localises."""

    images: int = 36_000
    rate_hz: float = 10.0
    """Of the images."""
    overload: float = 3.0
    """Multiple of the rate that the node can take, for `overload_images`."""
    overload_images: int = 200
    """0: do not measure the overload."""
    lifecycle: int = 0
    """Cycles of configure, activate, one image, deactivate and clean up."""
    backbone: str = ""
    """Random weights with this backbone; empty: the shipped weights."""
    places: int = 1000
    """Of the random place map."""
    image_size: tuple[int, int] = (376, 1241)

    def __post_init__(self) -> None:
        if min(self.images, self.overload_images, self.lifecycle) < 0:
            raise ConfigError("images, overload_images and lifecycle must not be negative")
        if min(self.places, *self.image_size) < 1 or min(self.rate_hz, self.overload) <= 0:
            raise ConfigError("places, image_size, rate_hz and overload must be positive")


@dataclass(frozen=True)
class ProcessUse:
    """What a process holds: resident memory, threads and open files."""

    rss_mb: float
    threads: int
    files: int

    @classmethod
    def of(cls, pid: int) -> ProcessUse:
        """Read it from /proc; raises OSError if there is no such process."""
        folder = Path("/proc") / str(pid)
        status = dict(
            line.split(":", 1) for line in (folder / "status").read_text().splitlines() if line
        )
        files = len(list((folder / "fd").iterdir()))
        return cls(int(status["VmRSS"].split()[0]) / 1024, int(status["Threads"]), files)


@dataclass(frozen=True)
class Latency:
    """Milliseconds from the stamp of an image to the receipt of its pose."""

    p50_ms: float
    p95_ms: float
    max_ms: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Latency | None:
        """Summarise; None without answers."""
        if not seconds:
            return None
        ms = np.asarray(seconds) * 1e3
        return cls(float(np.median(ms)), float(np.percentile(ms, 95)), float(ms.max()))


@dataclass(frozen=True)
class Growth:
    """Change of what the process holds, after a warm-up of a tenth of the run.

    rss_mb: median of the last tenth minus that of the second; threads, files: last minus first
    after the warm-up. rss_after_warm_up_mb: median of the second tenth.
    """

    rss_mb: float
    threads: int
    files: int
    rss_after_warm_up_mb: float

    @classmethod
    def of(cls, uses: Sequence[ProcessUse]) -> Growth | None:
        """Compare samples taken at equal distances; None for fewer than ten."""
        if len(uses) < 10:
            return None
        tenth = len(uses) // 10
        rss = [use.rss_mb for use in uses]
        warm = float(np.median(rss[tenth : 2 * tenth]))
        first, last = uses[tenth], uses[-1]
        return cls(
            float(np.median(rss[-tenth:])) - warm, last.threads - first.threads,
            last.files - first.files, warm,
        )  # fmt: skip


@dataclass(frozen=True)
class Overload:
    """Answers while images come faster than they can be localised.

    period_ms: from an image to its answer when images wait for answers. age_in_periods: p95 of the
    age of answers, in these periods.
    """

    period_ms: float
    rate_hz: float
    images: int
    answers: int
    age: Latency | None
    age_in_periods: float


@dataclass(frozen=True)
class SoakReport:
    """Results of a soak test. counts: see `ros.soak_node`."""

    images: int
    answers: int
    counts: dict[str, int]
    first_tenth: Latency | None
    last_tenth: Latency | None
    growth: Growth | None
    overload: Overload | None
    cycles: int
    cycle_growth: Growth | None
    cycle_s: float

    @classmethod
    def load(cls, path: Path) -> SoakReport:
        """Summarise the measurements of the driver, see `ros.soak_node`."""
        raw: dict[str, Any] = json.loads(path.read_text())
        latencies = raw["latencies_s"]
        tenth = max(1, len(latencies) // 10)

        def answered(part: list[float | None]) -> list[float]:
            return [value for value in part if value is not None]

        cycles = [ProcessUse(**use) for use in raw["cycles"]]
        return cls(
            images=len(latencies),
            answers=len(answered(latencies)),
            counts=raw["counts"],
            first_tenth=Latency.of(answered(latencies[:tenth])),
            last_tenth=Latency.of(answered(latencies[-tenth:])),
            growth=Growth.of([ProcessUse(**use) for use in raw["uses"]]),
            overload=_overload(raw["overload"]) if raw["overload"] else None,
            cycles=len(cycles),
            cycle_growth=Growth.of(cycles),
            cycle_s=raw["cycle_s"],
        )


def make_files(config: SoakConfig, folder: Path) -> tuple[Path, Path]:
    """Write a random place map for the network; return the paths of checkpoint and map."""
    if config.backbone:
        torch.manual_seed(0)
        checkpoint = folder / "network.safetensors"
        save_checkpoint(ScmprNetwork(ScmprConfig(backbone=config.backbone)), checkpoint)
    else:
        checkpoint = resource(DEFAULT_CHECKPOINT)
    network = load_checkpoint(checkpoint)
    if not isinstance(network, ScmprNetwork):
        raise ConfigError(f"{checkpoint}: a network of SCM-PR is needed, not of {network.method}")
    random_place_map(network, config.places).save(folder / "place_map")
    return checkpoint, folder / "place_map"


def _overload(raw: dict[str, Any]) -> Overload:
    age = Latency.of(raw["ages_s"])
    period_ms = raw["period_s"] * 1e3
    return Overload(
        period_ms, raw["rate_hz"], raw["images"], len(raw["ages_s"]), age,
        age.p95_ms / period_ms if age else 0.0,
    )  # fmt: skip
