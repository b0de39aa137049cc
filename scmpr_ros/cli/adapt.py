"""`adapt`: learn from recordings of one's own, without losing what the weights can do."""

from __future__ import annotations

import sys

from rich import box
from rich.console import Console
from rich.table import Table

from scmpr_ros.cli.training_command import chosen_method, run_training_command
from scmpr_ros.training.adaptation import AdaptationReport, adapt, refusal
from scmpr_ros.training.adaptation_settings import AdaptConfig, adapt_config_class

_DESCRIPTION = """Adapt weights to recordings of your own with a camera and a LiDAR: mixed with
towns, at a low rate, until a held-out stretch of the same recordings is found no better. Prints
how well that stretch and the validation towns are found before and after. Weights that are no
better there, or worse in towns, are not written, and the command fails."""

_ROWS = {
    "num_queries": ("images", "{}"),
    "recall_at_1": ("Recall@1", "{:.1%}"),
    "recall_at_1_interval": ("95 %", "{0[0]:.0%}-{0[1]:.0%}"),
    "certainty": ("probability of the right answer", "{:.1%}"),
    "classes_correct": ("classes read correctly", "{:.1%}"),
    "ranges_correct": ("ranges read correctly", "{:.1%}"),
}
"""Rows of the printed table, by key of `Measurement.summary`."""


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the console script."""
    return run_training_command(
        "adapt", _DESCRIPTION, lambda: adapt_config_class(chosen_method(arguments)), _adapt,
        arguments, "no weights were written",
    )  # fmt: skip


def _adapt(config: AdaptConfig) -> None:
    report = adapt(config)
    Console().print(_table(report))
    if report.weights is None:
        raise refusal(report, config)
    print(f"weights written to {report.weights}")


def _table(report: AdaptationReport) -> Table:
    """Before and after, on the held-out stretch and in the validation towns."""
    title = (
        f"After {report.steps} steps, {report.after.share:.0%} of the initial weights"
        f"{'' if report.weights else ' (not written)'}"
    )
    table = Table(title=title, box=box.SIMPLE_HEAD)
    table.add_column("")
    columns = []
    for name in ("held_out", "towns"):
        for when in ("before", "after"):
            table.add_column(f"{name.replace('_', '-')}, {when}", justify="right")
            columns.append(report.to_json()[when][name])
    for key, (label, form) in _ROWS.items():
        cells = ("" if column[key] is None else form.format(column[key]) for column in columns)
        table.add_row(label, *cells)
    return table


if __name__ == "__main__":
    sys.exit(main())
