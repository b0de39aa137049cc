"""`benchmark`: time queries, networks, scans, panoramas and towns; soak the localizer."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console, Group
from rich.table import Table

from scmpr_ros.atomic_files import write_json
from scmpr_ros.cli.console import run_command
from scmpr_ros.cli.panorama_accuracy import PanoramaAccuracyConfig, run_panorama_accuracy
from scmpr_ros.cli.soak import run_soak
from scmpr_ros.evaluation.benchmark.index import (
    IndexBenchmark,
    IndexBenchmarkConfig,
    benchmark_index,
)
from scmpr_ros.evaluation.benchmark.machine import Machine, measure_machine
from scmpr_ros.evaluation.benchmark.networks import (
    NetworkBenchmarkConfig,
    NetworkTiming,
    TrainingBenchmarkConfig,
    benchmark_networks,
    benchmark_training,
)
from scmpr_ros.evaluation.benchmark.picture import (
    draw_networks,
    draw_queries,
    draw_renders,
    draw_scans,
    draw_towns,
)
from scmpr_ros.evaluation.benchmark.queries import (
    STAGES,
    QueryBenchmark,
    QueryBenchmarkConfig,
    benchmark_queries,
)
from scmpr_ros.evaluation.benchmark.renders import (
    RenderBenchmarkConfig,
    RenderTiming,
    benchmark_renders,
)
from scmpr_ros.evaluation.benchmark.scans import (
    ScanBenchmarkConfig,
    ScanTiming,
    benchmark_scans,
)
from scmpr_ros.evaluation.benchmark.soak import SoakConfig
from scmpr_ros.networks.device import choose_device
from scmpr_ros.town.benchmark import (
    TownBenchmarkConfig,
    TownTiming,
    benchmark_towns,
)

_KINDS: dict[str, tuple[type, str]] = {
    "query": (QueryBenchmarkConfig, "queries of a localizer, stage by stage"),
    "index": (IndexBenchmarkConfig, "the search of a large map: recall, latency, bytes"),
    "networks": (NetworkBenchmarkConfig, "backbones with their classifiers, on one image"),
    "training": (TrainingBenchmarkConfig, "training steps of backbones"),
    "scan": (ScanBenchmarkConfig, "backends of the selective scan"),
    "render": (RenderBenchmarkConfig, "panoramas of maps of two extents"),
    "town": (TownBenchmarkConfig, "recording of synthetic towns, frame by frame"),
    "panoramas": (PanoramaAccuracyConfig, "panoramas of a town's maps, against ray-cast truth"),
    "soak": (SoakConfig, "a real localizer that is driven for long: leaks, latencies, drops"),
}
_REPORTS: dict[str, Callable[[Any, Path], None]] = {
    "panoramas": run_panorama_accuracy,
    "soak": run_soak,
}
"""What is no comparison of speeds prints and writes its own report."""


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the console script."""
    parser = _parser()
    options = parser.parse_args(arguments)
    return run_command(
        "benchmark", lambda: _run(options.kind, parser.instantiate(options)[options.kind])
    )


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="benchmark",
        description="Measure speed. Candidates take turns in one run, so that their ratios hold on "
        "a machine whose speed drifts; leave the machine idle otherwise. Prints a table and writes "
        "all numbers and a figure to --out.",
    )
    commands = parser.add_subcommands(dest="kind")
    for kind, (config, description) in _KINDS.items():
        verb = "Measure" if kind in _REPORTS else "Time"
        command = ArgumentParser(description=f"{verb} {description}.")
        command.add_argument(
            "--out", type=Path, default=Path("out/benchmark"),
            help="folder for the numbers (JSON) and the figure (PNG)",
        )  # fmt: skip
        command.add_class_arguments(config, "settings")
        commands.add_subcommand(kind, command, help=description)
    return parser


def _run(kind: str, options: Namespace) -> None:
    settings, out = options.settings, options.out
    if kind in _REPORTS:
        _REPORTS[kind](settings, out)
        return
    machine = measure_machine(choose_device(_device(kind, settings)))
    picture = out / f"{kind}.png"
    results: Any
    table: Table | Group
    if kind == "query":
        results = benchmark_queries(settings, machine)
        table = _query_table(results)
        draw_queries(results, machine, picture)
    elif kind == "index":
        results = benchmark_index(settings)
        table = _index_table(results)
    elif kind == "town":
        results = benchmark_towns(settings)
        table = _town_tables(results, settings.processes)
        draw_towns(results, machine, picture)
    elif kind == "scan":
        results, missing = benchmark_scans(settings, machine)
        table = _scan_table(results, missing)
        draw_scans(results, machine, picture)
    elif kind == "render":
        results = benchmark_renders(settings, machine)
        table = _render_table(results)
        draw_renders(results, machine, picture)
    else:
        run = benchmark_networks if kind == "networks" else benchmark_training
        results = run(settings, machine)
        height, width = settings.image_size
        title = f"{kind.capitalize()}: {getattr(settings, 'batch', 1)} x 3 x {height} x {width}"
        table = _network_table(results, title)
        draw_networks(results, title, machine, picture)
    _write_json(out / f"{kind}.json", machine, settings, results)
    console = Console()
    console.print(table)
    console.print(str(machine), style="dim", highlight=False)
    written = [f"{out / kind}.json", *([str(picture)] if picture.exists() else [])]
    console.print(", ".join(written), highlight=False)


def _device(kind: str, settings: Any) -> str:
    if kind in ("town", "index"):
        return "cpu"
    return str(settings.localizer.device if kind == "query" else settings.device)


def _query_table(result: QueryBenchmark) -> Table:
    table = Table(
        title=f"One query, ms: median / 95 %. Map of {result.viewpoints:,} viewpoints; "
        f"{result.peak_memory_mb:.0f} MB at most"
    )
    table.add_column("stage")
    for timing in result.timings:
        table.add_column(f"{timing.network}\n{timing.precision}, {timing.scan}", justify="right")
    rows: dict[str, list[Any]] = {
        stage: [t.stages.get(stage) for t in result.timings]
        for stage in STAGES if any(stage in t.stages for t in result.timings)
    }  # fmt: skip
    rows["total"] = [t.total for t in result.timings]
    rows["total without decode"] = [t.without_decode for t in result.timings]
    rows["(map) describe a place"] = [t.describe_place for t in result.timings]
    for name, timings in rows.items():
        cells = ["" if t is None else f"{t.median_ms:.2f} / {t.p95_ms:.2f}" for t in timings]
        table.add_row(name, *cells, end_section=name in (STAGES[-1], "total without decode"))
    for name in result.timings[0].floors_ms if result.timings else ():
        table.add_row(f"floor: {name}", *(f"{t.floors_ms[name]:.2f}" for t in result.timings))
    for name, peer in result.peers.items():
        table.add_row(
            f"peer: {name}, {result.peer_precision}", f"{peer.median_ms:.2f} / {peer.p95_ms:.2f}",
            *[""] * (len(result.timings) - 1),
        )  # fmt: skip
    return table


def _index_table(result: IndexBenchmark) -> Table:
    table = Table(
        title=f"{result.viewpoints:,} viewpoints, {result.queries} queries; phi of the exact "
        f"neighbours {result.phi[0]:.2f} to {result.phi[1]:.2f}"
    )
    for name in ("index", "recall", "of the codes", "bytes", "build, s", "median, ms", "95 %"):
        table.add_column(name, justify="left" if name == "index" else "right")
    for t in result.timings:
        table.add_row(
            t.spec, f"{t.recall:.3f}", f"{t.recall_of_codes:.3f}", f"{t.bytes_per_viewpoint:.1f}",
            f"{t.build_s:.1f}", f"{t.search.median_ms:.2f}", f"{t.search.p95_ms:.2f}",
        )  # fmt: skip
    return table


def _network_table(timings: Sequence[NetworkTiming], title: str) -> Table:
    table = Table(title=f"{title}; ms")
    for name in ("network", "precision", "scan", "parameters", "GFLOP", "median", "95 %", "floor"):
        table.add_column(name, justify="left" if name in ("network", "scan") else "right")
    peers = {t.precision: t.timing.median_ms for t in timings if t.network.startswith("timm/")}
    table.add_column("ratio to the last peer", justify="right")
    for t in timings:
        peer = peers.get(t.precision)
        table.add_row(
            t.network, t.precision, t.scan, f"{t.parameters / 1e6:.1f} M", f"{t.gflops:.2f}",
            f"{t.timing.median_ms:.1f}", f"{t.timing.p95_ms:.1f}", f"{t.floor_ms:.1f}",
            f"{t.timing.median_ms / peer:.2f}" if peer else "",
        )  # fmt: skip
    return table


def _scan_table(timings: Sequence[ScanTiming], missing: dict[str, str]) -> Table:
    caption = "\n".join(f"{name}: {reason}" for name, reason in missing.items())
    table = Table(title="Selective scan, four orders, d_state 1; ms", caption=caption)
    for name in ("grid", "channels", "way", "backend", "median", "95 %", "floor", "error"):
        table.add_column(name, justify="right")
    for t in sorted(timings, key=lambda t: (t.stage, t.way)):
        table.add_row(
            f"{t.height}x{t.width}", str(t.dim), t.way, t.backend, f"{t.timing.median_ms:.2f}",
            f"{t.timing.p95_ms:.2f}", f"{t.floor_ms:.3f}", f"{t.error:.0e}",
        )  # fmt: skip
    return table


def _render_table(timings: Sequence[RenderTiming]) -> Table:
    table = Table(title=f"One panorama, {timings[0].reached:,} points in reach; ms")
    for name in ("map", "grid", "way"):
        table.add_column(name, no_wrap=True)
    for name in ("median", "95 %", "floor", "a second"):
        table.add_column(name, justify="right")
    for t in timings:
        table.add_row(
            f"{t.points / 1e6:.1f} M, {t.extent_m:.0f} m", t.grid, t.way,
            f"{t.timing.median_ms:.1f}", f"{t.timing.p95_ms:.1f}", f"{t.floor_ms:.1f}",
            f"{t.panoramas_per_s:.1f}",
        )  # fmt: skip
    return table


def _town_tables(timings: Sequence[TownTiming], processes: int) -> Group:
    """One table for each size, so that all conditions fit side by side."""
    sizes = dict.fromkeys(t.size for t in timings)
    return Group(*(_town_table([t for t in timings if t.size == s], processes) for s in sizes))


def _town_table(timings: Sequence[TownTiming], processes: int) -> Table:
    table = Table(title=f"{timings[0].size}, {processes} processes in parallel; ms of one process")
    table.add_column(f"target: {timings[0].wanted_per_s:.0f} frames/s")
    for t in timings:
        table.add_column(t.condition, justify="right")
    table.add_row("frames/s", *(f"{t.frames_per_s:.1f}" for t in timings), end_section=True)
    for name in dict.fromkeys(name for t in timings for name in t.stages_ms):
        table.add_row(name, *(f"{t.stages_ms.get(name, 0.0):.1f}" for t in timings))
    table.add_section()
    table.add_row("once, s", *(f"{t.once_s:.1f}" for t in timings))
    return table


def _write_json(path: Path, machine: Machine, settings: Any, results: Any) -> None:
    plain = [asdict(r) for r in results] if isinstance(results, list) else asdict(results)
    content = {"machine": asdict(machine), "settings": asdict(settings), "results": plain}
    write_json(path, content)


if __name__ == "__main__":
    sys.exit(main())
