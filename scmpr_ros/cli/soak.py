"""`benchmark soak`: drive a real localizer for long, and report leaks, latencies and drops."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from scmpr_ros.atomic_files import write_json
from scmpr_ros.cli import node_commands
from scmpr_ros.evaluation.benchmark.soak import (
    Growth,
    Latency,
    SoakConfig,
    SoakReport,
    make_files,
)
from scmpr_ros.evaluation.node_processes import NodeProcesses
from scmpr_ros.resources import FASTDDS_PROFILE, resource

_START_S = 300.0
_CYCLE_S = 30.0


def run_soak(config: SoakConfig, out: Path) -> None:
    """Start localizer and driver, wait for the end, and print and write the report."""
    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    checkpoint, place_map = make_files(config, out)
    environment = {
        "ROS_DOMAIN_ID": str(1 + os.getpid() % 100),  # up to 101 is safe on every platform
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "FASTDDS_DEFAULT_PROFILES_FILE": str(resource(FASTDDS_PROFILE)),
    }
    measurements = out / "soak_measurements.json"
    measurements.unlink(missing_ok=True)
    with NodeProcesses(out / "logs", environment) as nodes:
        nodes.start_node(node_commands.soaked_localizer(checkpoint, place_map))
        driver = node_commands.soak_localizer(config, nodes.pid("localizer"), measurements)
        nodes.start_node(driver)
        limit_s = _START_S + 2 * config.images / config.rate_hz + _CYCLE_S * config.lifecycle
        nodes.wait_for_end("soak_localizer", limit_s)
    report = SoakReport.load(measurements)
    write_json(out / "soak.json", {"settings": asdict(config), "results": asdict(report)})
    console = Console()
    console.print(_table(config, report))
    console.print(f"{out / 'soak.json'}", highlight=False)


def _table(config: SoakConfig, report: SoakReport) -> Table:
    counts = ", ".join(f"{value} {name}" for name, value in report.counts.items())
    table = Table(title=f"{report.images} images at {config.rate_hz:g} Hz", show_header=False)
    table.add_row("answers", f"{report.answers}; images: {counts}")
    table.add_row("latency, first tenth", _latency(report.first_tenth))
    table.add_row("latency, last tenth", _latency(report.last_tenth))
    table.add_row("growth after warm-up", _growth(report.growth), end_section=True)
    if report.overload is not None:
        overload = report.overload
        table.add_row(
            "overload", f"{overload.images} images at {overload.rate_hz:.1f} Hz, "
            f"{config.overload:g} times 1 / {overload.period_ms:.1f} ms; "
            f"{overload.answers} answers",
        )  # fmt: skip
        age = f"{_latency(overload.age)}; 95 % in periods: {overload.age_in_periods:.2f}"
        table.add_row("age of answers", age, end_section=True)
    if report.cycles:
        table.add_row("lifecycle", f"{report.cycles} cycles of {report.cycle_s:.2f} s")
        table.add_row("growth after warm-up", _growth(report.cycle_growth))
    return table


def _latency(latency: Latency | None) -> str:
    if latency is None:
        return "no answers"
    return f"{latency.p50_ms:.1f} ms, 95 % {latency.p95_ms:.1f}, at most {latency.max_ms:.1f}"


def _growth(growth: Growth | None) -> str:
    if growth is None:
        return "too short to say"
    return (
        f"{growth.rss_mb:+.1f} MB from {growth.rss_after_warm_up_mb:.0f} MB, "
        f"{growth.threads:+d} threads, {growth.files:+d} open files"
    )
