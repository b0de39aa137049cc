"""`evaluate`: Recall@N of a checkpoint on recordings in KITTI layout, without ROS."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from rich.console import Console
from rich.table import Table

from scmpr_ros.cli.resources import DEFAULT_CHECKPOINT, resource
from scmpr_ros.errors import ScmprError
from scmpr_ros.evaluation.evaluate import EvaluationConfig, evaluate_recording
from scmpr_ros.networks.checkpoint import load_checkpoint

_COLUMNS = {
    "recording": "{}", "num_queries": "{}", "num_places": "{}", "recall_at_1": "{:.1%}",
    "recall_at_5": "{:.1%}", "chance": "{:.2%}", "median_position_error_m": "{:.2f}",
    "median_heading_error_deg": "{:.1f}", "latency_ms_p50": "{:.0f}",
}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the console script."""
    options = _parser().parse_args(arguments)
    try:
        network = load_checkpoint(options.checkpoint or resource(DEFAULT_CHECKPOINT))
        config: EvaluationConfig = _parser().instantiate(options).settings
        summaries = [evaluate_recording(Path(f), network, config) for f in options.recordings]
    except ScmprError as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return 1
    Console().print(_table(summaries))
    if options.out:
        temporary = Path(options.out).with_suffix(".tmp")
        temporary.write_text(json.dumps(summaries, indent=2))
        os.replace(temporary, options.out)
    return 0


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
