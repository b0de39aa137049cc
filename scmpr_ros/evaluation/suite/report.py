"""The report of a suite: tables by kind, as Markdown and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scmpr_ros.atomic_files import write_file, write_json
from scmpr_ros.config import to_dict
from scmpr_ros.evaluation.result_table import markdown_table
from scmpr_ros.evaluation.suite.entry import Column
from scmpr_ros.evaluation.suite.run import EntryResult, SuiteReport

FORMAT = "scmpr_ros suite/1"


def shown_columns(results: Sequence[EntryResult]) -> list[Column]:
    """Columns of a kind that have a value in some row."""
    columns = results[0].entry.columns
    return [c for c in columns if any(c.cell(result.numbers) for result in results)]


def cells(result: EntryResult, columns: Sequence[Column]) -> list[str]:
    """Name, numbers and wall time of an entry as text; why it has no numbers comes last."""
    numbers = [column.cell(result.numbers) for column in columns]
    return [result.entry.name, *numbers, result.note or f"{result.wall_s:.0f} s"]


def write_suite(report: SuiteReport, folder: Path, checkpoint: Path) -> None:
    """Write suite.json and suite.md into a folder."""
    content = {
        "format": FORMAT,
        "provenance": {"checkpoint": checkpoint.name, **report.provenance},
        "results": [_to_json(result) for result in report.results],
    }
    write_json(folder / "suite.json", content)
    write_file(folder / "suite.md", markdown(report, checkpoint))


def markdown(report: SuiteReport, checkpoint: Path) -> str:
    """A table with its rules for each kind, under what the numbers depend on."""
    facts = report.provenance
    weights = f"Weights {checkpoint.name}, fingerprint `{facts['fingerprint'][:16]}`"
    lines = ["# Suite", "", f"{weights}, commit {facts['commit'] or 'unknown'}."]
    if facts["changed_settings"]:
        changed = ", ".join(
            f"{name} = {value}" for name, value in facts["changed_settings"].items()
        )
        lines += ["", f"**Not the shipped settings:** {changed}."]
    for kind in report.kinds:
        results = report.of_kind(kind)
        entry, columns = results[0].entry, shown_columns(results)
        head = ["", *(column.title for column in columns), "time"]
        rows = [cells(result, columns) for result in results]
        lines += ["", f"## {entry.title}", "", *markdown_table(head, rows)]
        lines += ["", entry.rules]
    return "\n".join(lines) + "\n"


def _to_json(result: EntryResult) -> dict[str, object]:
    content = {"kind": result.kind, "entry": to_dict(result.entry), "wall_s": result.wall_s}
    if result.note:
        return {**content, "missing": result.missing, "error": result.error}
    return {**content, "numbers": result.numbers}
