"""Bar charts of benchmarks; that of queries follows the paper's figure 3."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scmpr_ros.evaluation.benchmark.machine import Machine
from scmpr_ros.evaluation.benchmark.networks import NetworkTiming
from scmpr_ros.evaluation.benchmark.queries import STAGES, QueryBenchmark
from scmpr_ros.evaluation.benchmark.renders import RenderTiming
from scmpr_ros.evaluation.benchmark.scans import ScanTiming
from scmpr_ros.evaluation.figures import FAINT, INK, new_figure, save_figure
from scmpr_ros.evaluation.published import LATENCY_MS

_COLOURS = (
    "#c9ccd1", "#8d99ae", "#1d3557", "#457b9d", "#7fb0cc", "#a8678d", "#1d3557", "#e9a03b",
    "#0a8f5b",
)  # fmt: skip
_PEER = "#b9a58c"


def draw_queries(result: QueryBenchmark, machine: Machine, path: Path) -> None:
    """Draw the stages of each network's query, stacked, beside peers and published values."""
    rows = len(result.timings) + len(result.peers) + 1
    figure, axes = _canvas(1.6 + 0.62 * rows, str(machine))
    figure.suptitle(
        f"One query in a map of {result.viewpoints:,} viewpoints, median", x=0.02, ha="left",
        fontsize=15, weight="bold", color=INK,
    )  # fmt: skip
    labels = []
    named: set[str] = set()
    for row, timing in enumerate(result.timings):
        labels.append(f"{_short(timing.network)}, {timing.precision}")
        left = 0.0
        for stage, colour in zip(STAGES, _COLOURS, strict=True):
            if stage not in timing.stages:
                continue
            ms = timing.stages[stage].median_ms
            label = None if stage in named else stage
            axes.barh(row, ms, left=left, color=colour, label=label)
            named.add(stage)
            left += ms
        _write(axes, row, left, f"{timing.total.median_ms:.1f} ms, 95 %: {timing.total.p95_ms:.1f}")
    for name, peer in result.peers.items():
        axes.barh(len(labels), peer.median_ms, color=_PEER)
        _write(axes, len(labels), peer.median_ms, f"{peer.median_ms:.1f} ms, the network alone")
        labels.append(f"{name.removeprefix('timm/')}, {result.peer_precision}")
    left = 0.0
    for part, colour in (("RGB branch", _COLOURS[2]), ("matching", _COLOURS[-1])):
        axes.barh(len(labels), LATENCY_MS[part], left=left, color=colour, alpha=0.45)
        left += LATENCY_MS[part]
    _write(axes, len(labels), left, "on an A100, without its LiDAR branch (26.3 ms)")
    labels.append("SCM-PR as published")
    _finish(figure, axes, labels, path)


def _short(network: str) -> str:
    """A network's name, or the folder of its weights."""
    path = Path(network)
    return path.parent.name if path.suffix == ".safetensors" else network


def draw_networks(
    timings: Sequence[NetworkTiming], title: str, machine: Machine, path: Path
) -> None:
    """Draw the median of each network, with the lower bound by its products as a mark."""
    figure, axes = _canvas(1.6 + 0.45 * len(timings), str(machine))
    figure.suptitle(title, x=0.02, ha="left", fontsize=15, weight="bold", color=INK)
    labels = []
    for row, timing in enumerate(timings):
        ours = not timing.network.startswith(("timm/", "official"))
        axes.barh(row, timing.timing.median_ms, color=_COLOURS[2] if ours else _PEER)
        axes.plot([timing.floor_ms] * 2, [row - 0.4, row + 0.4], color="#d1352b", lw=2,
                  label="floor: products at the machine's rate" if row == 0 else None)  # fmt: skip
        _write(axes, row, timing.timing.median_ms, f"{timing.timing.median_ms:.1f} ms")
        scan = f", scan: {timing.scan}" if timing.scan else ""
        labels.append(f"{timing.network.removeprefix('timm/')}, {timing.precision}{scan}")
    _finish(figure, axes, labels, path)


def draw_scans(timings: Sequence[ScanTiming], machine: Machine, path: Path) -> None:
    """Draw backends by stage, forward and forward with backward, on a logarithmic scale."""
    backends = list(dict.fromkeys(t.backend for t in timings))
    ways = list(dict.fromkeys(t.way for t in timings))
    figure = new_figure(11, 4.6, layout="constrained")
    figure.suptitle(f"Selective scan of an image, four orders\n{machine}", fontsize=11)
    for axes, way in zip(figure.subplots(1, len(ways), sharey=True), ways, strict=True):
        for number, backend in enumerate(backends):
            own = [t for t in timings if t.backend == backend and t.way == way]
            where = np.arange(len(own)) + (number - len(backends) / 2 + 0.5) * 0.8 / len(backends)
            axes.bar(where, [t.timing.median_ms for t in own], 0.8 / len(backends), label=backend,
                     color=_COLOURS[2 + number])  # fmt: skip
        stages = [t for t in timings if t.backend == backends[0] and t.way == way]
        axes.set_xticks(range(len(stages)), [f"{t.height}x{t.width}, {t.dim}" for t in stages])
        axes.set_yscale("log")
        axes.set_title(way)
        axes.set_xlabel("cells, channels")
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("milliseconds, median")
    figure.axes[0].legend(frameon=False)
    save_figure(figure, path)


def draw_renders(timings: Sequence[RenderTiming], machine: Machine, path: Path) -> None:
    """Draw the median of each way to render a panorama, with the lower bound as a mark."""
    figure, axes = _canvas(1.6 + 0.4 * len(timings), str(machine))
    figure.suptitle(
        f"One panorama of a map; {timings[0].reached:,} points in reach", x=0.02, ha="left",
        fontsize=15, weight="bold", color=INK,
    )  # fmt: skip
    labels = []
    for row, t in enumerate(timings):
        colour = _PEER if t.way.startswith("peer") else _COLOURS[2]
        axes.barh(row, t.timing.median_ms, color=colour)
        axes.plot([t.floor_ms] * 2, [row - 0.4, row + 0.4], color="#d1352b", lw=2,
                  label="floor: points in reach, read once" if row == 0 else None)  # fmt: skip
        _write(axes, row, t.timing.median_ms, f"{t.timing.median_ms:.1f} ms")
        labels.append(f"{t.points / 1e6:.1f} million, {t.grid}, {t.way}")
    _finish(figure, axes, labels, path)


class FrameTiming(Protocol):
    """Timing of town frames at one size in one condition, see `town.benchmark.TownTiming`."""

    @property
    def size(self) -> str:
        """Name of the size."""

    @property
    def condition(self) -> str:
        """Light and weather."""

    @property
    def frames_per_s(self) -> float:
        """Frames per second of all processes together."""

    @property
    def stages_ms(self) -> dict[str, float]:
        """Milliseconds per frame by stage, and of the `whole frame`."""


def draw_towns(timings: Sequence[FrameTiming], machine: Machine, path: Path) -> None:
    """Draw the stages of a frame, stacked, for each size and condition, with the frame rate."""
    figure, axes = _canvas(1.6 + 0.5 * len(timings), str(machine))
    figure.suptitle(
        "One frame of a town in one process", x=0.02, ha="left", fontsize=15,
        weight="bold", color=INK,
    )  # fmt: skip
    stages = [s for s in timings[0].stages_ms if s != "whole frame"]
    longest = {t.size: max(o.stages_ms["whole frame"] for o in timings if o.size == t.size)
               for t in timings}  # fmt: skip
    for row, t in enumerate(timings):
        left, unit = 0.0, 100 / longest[t.size]
        for name, colour in zip(stages, _COLOURS * 2, strict=False):
            share = t.stages_ms.get(name, 0.0) * unit
            axes.barh(row, share, left=left, color=colour, label=name if row == 0 else None)
            left += share
        text = f"{t.stages_ms['whole frame']:.0f} ms, together {t.frames_per_s:.1f} frames/s"
        _write(axes, row, left, text)
    labels = [f"{t.size}, {t.condition}" for t in timings]
    _finish(figure, axes, labels, path, "% of the slowest frame of its size")


def _canvas(height: float, subtitle: str) -> tuple[Figure, Axes]:
    figure = new_figure(11, height, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(subtitle, loc="left", fontsize=9.5, color=FAINT)
    return figure, axes


def _write(axes: Axes, row: int, ms: float, text: str) -> None:
    axes.annotate(text, (ms, row), (5, 0), textcoords="offset points", va="center", fontsize=9.5,
                  color=INK)  # fmt: skip


def _finish(
    figure: Figure, axes: Axes, labels: list[str], path: Path, unit: str = "milliseconds"
) -> None:
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.margins(x=0.3)
    axes.set_xlim(left=0)
    axes.set_xlabel(unit)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    save_figure(figure, path)
