"""`diagnose`: error analysis of a checkpoint."""

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
from scmpr_ros.cli.console import run_command, show_log
from scmpr_ros.methods.checkpoint import load_checkpoint
from scmpr_ros.resources import DEFAULT_CHECKPOINT, resource
from scmpr_ros.training.diagnosis import DiagnosisConfig, diagnose


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the console script."""
    parser = ArgumentParser(
        prog="diagnose",
        description="Analyse a checkpoint's errors: Recall@1 by the whole descriptor and by each "
        "part alone, without psi, and the fraction of mask cells predicted correctly. Rows are "
        "interventions: grey or blurred images, true masks and depth in place of the predicted "
        "ones, and another recording's map as the attention's context. Recordings without masks "
        "take the map's classes as the truth.",
    )
    parser.add_argument("recordings", nargs="+", type=Path,
                        help="folders of recordings with a map or scans, or of some")  # fmt: skip
    parser.add_argument("--checkpoint", type=Path, help="weights (default: the shipped ones)")
    parser.add_argument("--out", type=Path, help="JSON file for the numbers")
    parser.add_class_arguments(DiagnosisConfig, skip={"recordings"})
    options = parser.parse_args(arguments)
    show_log()

    def body() -> None:
        settings = vars(parser.instantiate(options))
        checkpoint, out = settings.pop("checkpoint"), settings.pop("out")
        network = load_checkpoint(checkpoint or resource(DEFAULT_CHECKPOINT))
        rows = diagnose(network, DiagnosisConfig(**settings))
        console, images = Console(), f"{rows[0]['num_queries']} images"
        console.print(_table(rows, "recall_at_1", f"Recall@1 of {images}"))
        console.print(_table(rows, "cells_correct", f"Mask cells predicted correctly in {images}"))
        if out:
            write_json(out, rows)

    return run_command("diagnose", body)


def _table(rows: Sequence[dict[str, Any]], key: str, title: str) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD)
    table.add_column("")
    for part in rows[0][key]:
        table.add_column(part, justify="right")
    for row in rows:
        table.add_row(row["intervention"], *(f"{value:.1%}" for value in row[key].values()))
    return table


if __name__ == "__main__":
    sys.exit(main())
