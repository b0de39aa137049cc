"""`diagnose`: what a checkpoint loses where."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from rich import box
from rich.console import Console
from rich.table import Table

from scmpr_ros.atomic_files import write_json
from scmpr_ros.cli.console import run_command
from scmpr_ros.networks.checkpoint import load_checkpoint
from scmpr_ros.resources import DEFAULT_CHECKPOINT, resource
from scmpr_ros.training.diagnosis import DiagnosisConfig, diagnose


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the console script."""
    parser = ArgumentParser(
        prog="diagnose",
        description="Tell what a checkpoint loses where: Recall@1 by the whole descriptor and by "
        "each of its parts alone, without psi, and how much of the images is read right: as it is, "
        "of images made grey or soft, with true masks and depth in the place of those read, and "
        "with the attention told of another recording's map, where there is one. "
        "Where a recording has no masks, the map's classes are the truth.",
    )
    parser.add_argument("recordings", nargs="+", type=Path,
                        help="folders of recordings with a map or scans, or of some")  # fmt: skip
    parser.add_argument("--checkpoint", type=Path, help="weights (default: the shipped ones)")
    parser.add_argument("--out", type=Path, help="JSON file for the numbers")
    parser.add_class_arguments(DiagnosisConfig, skip={"recordings"})
    options = parser.parse_args(arguments)

    def body() -> None:
        settings = vars(parser.instantiate(options))
        checkpoint, out = settings.pop("checkpoint"), settings.pop("out")
        network = load_checkpoint(checkpoint or resource(DEFAULT_CHECKPOINT))
        rows = diagnose(network, DiagnosisConfig(**settings))
        console, images = Console(), f"{rows[0]['num_queries']} images"
        console.print(_table(rows, "recall_at_1", f"Recall@1 of {images}"))
        console.print(_table(rows, "read_right", f"Cells read right in {images}"))
        if out:
            write_json(out, rows)

    return run_command("diagnose", body)


def _table(rows: Sequence[dict[str, Any]], told: str, title: str) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD)
    table.add_column("")
    for part in rows[0][told]:
        table.add_column(part, justify="right")
    for row in rows:
        table.add_row(row["change"], *(f"{value:.1%}" for value in row[told].values()))
    return table


if __name__ == "__main__":
    sys.exit(main())
