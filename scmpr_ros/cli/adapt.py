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
how well the images of that stretch and of the validation towns are localised and read before and
after; certainty is the mean probability of the right answer. Weights that are no better there, or
worse in towns, are not written, and the command fails."""

_COLUMNS = {
    "num_queries": ("images", "{}"),
    "recall_at_1": ("R@1", "{:.1%}"),
    "recall_at_1_interval": ("95 %", "{0[0]:.0%}-{0[1]:.0%}"),
    "certainty": ("certainty", "{:.1%}"),
    "classes_correct": ("classes", "{:.0%}"),
    "ranges_correct": ("ranges", "{:.0%}"),
}
"""Columns of the printed table, which fits into 80 characters, by key of `Measurement.summary`."""


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
        f"after {report.steps} steps, with {report.after.share:.0%} of the initial weights"
        f"{'' if report.weights else ' (not written)'}"
    )
    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for label, _ in _COLUMNS.values():
        table.add_column(label, justify="right", no_wrap=True)
    measured = {"before": report.before.summary(), "after": report.after.summary()}
    for where, label in (("held_out", "held out"), ("towns", "towns")):
        for when, summary in measured.items():
            row = summary[where]
            cells = (
                "" if row[key] is None else form.format(row[key])
                for key, (_, form) in _COLUMNS.items()
            )
            table.add_row(f"{label}, {when}", *cells)
    return table


if __name__ == "__main__":
    sys.exit(main())
