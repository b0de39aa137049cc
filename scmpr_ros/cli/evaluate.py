"""`evaluate`: Recall@N of a checkpoint on recordings in KITTI layout, without ROS."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console
from rich.table import Table

from scmpr_ros.cli.console import run_command
from scmpr_ros.cli.resources import DEFAULT_CHECKPOINT, resource
from scmpr_ros.evaluation.evaluate import EvaluationConfig, evaluate_recording
from scmpr_ros.networks.checkpoint import load_checkpoint
from scmpr_ros.whole_files import write_json

_COLUMNS = {
    "recording": "{}", "num_queries": "{}", "num_places": "{}", "recall_at_1": "{:.1%}",
    "recall_at_5": "{:.1%}", "chance": "{:.2%}", "median_position_error_m": "{:.2f}",
    "median_heading_error_deg": "{:.1f}", "latency_ms_p50": "{:.0f}",
}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the console script."""
    parser = _parser()
    options = parser.parse_args(arguments)
    return run_command("evaluate", lambda: _evaluate(parser.instantiate(options)))


def _evaluate(options: Namespace) -> None:
    network = load_checkpoint(options.checkpoint or resource(DEFAULT_CHECKPOINT))
    config: EvaluationConfig = options.settings
    summaries = [evaluate_recording(Path(f), network, config) for f in options.recordings]
    Console().print(_table(summaries))
    if options.out:
        write_json(options.out, summaries)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="evaluate",
        description="Build the map of each recording (a folder in KITTI layout), localise all its "
        "images in it, and print Recall@1 and @5 beside chance.",
    )
    parser.add_argument("recordings", nargs="+", type=Path, help="folders in KITTI layout")
    parser.add_argument("--checkpoint", type=Path, help="weights (default: the shipped ones)")
    parser.add_argument("--out", type=Path, help="JSON file for the numbers")
    parser.add_class_arguments(EvaluationConfig, "settings")
    return parser


def _table(summaries: list[dict[str, Any]]) -> Table:
    table = Table(title="5 m and 30 deg unless settings.tolerance says otherwise")
    for name in _COLUMNS:
        table.add_column(name.replace("_", " "), justify="right")
    for summary in summaries:
        table.add_row(*(form.format(summary[name]) for name, form in _COLUMNS.items()))
    return table


if __name__ == "__main__":
    sys.exit(main())
