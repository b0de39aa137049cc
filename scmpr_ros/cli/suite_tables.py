"""The part of `evaluate` that runs a suite, see `evaluation.suite`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from rich import box
from rich.console import Console
from rich.table import Table

from scmpr_ros.config import load_yaml
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.evaluation.suite.config import SuiteConfig
from scmpr_ros.evaluation.suite.entry import Column
from scmpr_ros.evaluation.suite.report import cells, shown_columns, write_suite
from scmpr_ros.evaluation.suite.run import EntryResult, SuiteReport, run_suite
from scmpr_ros.methods.checkpoint import load_checkpoint
from scmpr_ros.resources import DEFAULT_CHECKPOINT, resource

_ENTRIES_ABREAST = 6


def add_suite_arguments(parser: ArgumentParser) -> None:
    """Add the options of suites."""
    group = parser.add_argument_group("suites")
    group.add_argument("--suite", type=Path, metavar="FILE",
                       help="measure all entries of a suite, such as config/real_suite.yaml; --out "
                       "is then a folder for suite.json and suite.md")  # fmt: skip
    group.add_argument(
        "--data", type=Path, help="folder of the suite's data (default: the suite's)"
    )
    group.add_argument("--town", type=Path, help="recording of a town, for off-map entries")
    group.add_argument("--only", nargs="+", default=[], metavar="PATTERN",
                       help="names or kinds of entries, such as '0005*' or reading")  # fmt: skip


def evaluate_suite(options: Namespace) -> None:
    """Measure a suite, print its tables and write them.

    Raises DatasetError if nothing could be measured, or if the data of an entry cannot be used, and
    ConfigError for options that suites do not take.
    """
    if options.recordings or options.table or options.protocol or options.descriptors:
        raise ConfigError("--suite takes no recordings, and no protocol, table or descriptors")
    suite = load_yaml(SuiteConfig, options.suite)
    given = {name: options[name] for name in ("data", "town") if options[name] is not None}
    checkpoint = options.checkpoint or resource(DEFAULT_CHECKPOINT)
    network = load_checkpoint(checkpoint)
    report = run_suite(replace(suite, **given), network, options.settings, options.only)
    console = Console()
    for table in _tables(report):
        console.print(table)
    for result in report.results:
        if result.note:  # below the tables, whose columns would break paths
            console.print(f"{result.entry.name}: {result.note}", soft_wrap=True)
    if options.out:
        write_suite(report, options.out, checkpoint)
    _check_results(report)


def _check_results(report: SuiteReport) -> None:
    failed = [result for result in report.results if result.error]
    if failed:
        count = f"{len(failed)} of {len(report.results)} entries failed"
        raise DatasetError(f"{count}; {failed[0].entry.name}: {failed[0].error}")
    if not any(result.numbers for result in report.results):
        raise DatasetError(
            f"no entry has its data; there is no {report.results[0].missing}: name the folder of "
            "the data with --data"
        )


def _tables(report: SuiteReport) -> Iterator[Table]:
    """Tables with an entry in each column, which fit into 80 characters."""
    for kind in report.kinds:
        results = report.of_kind(kind)
        for first in range(0, len(results), _ENTRIES_ABREAST):
            yield _table(results[first : first + _ENTRIES_ABREAST])


def _table(results: Sequence[EntryResult]) -> Table:
    columns = shown_columns(results)
    table = Table(title=results[0].entry.title, box=box.SIMPLE_HEAD, pad_edge=False)
    titles = ("", *(column.title for column in columns), "time")
    texts = [titles, *(_short_cells(result, columns) for result in results)]
    for name, *_ in texts:
        table.add_column(name, justify="right" if name else "left")
    for row in list(zip(*texts, strict=True))[1:]:
        table.add_row(*row)
    return table


def _short_cells(result: EntryResult, columns: Sequence[Column]) -> list[str]:
    """Cells without the reason why an entry has no numbers: that is printed below the tables."""
    *row, last = cells(result, columns)
    if result.note:
        last = "failed" if result.error else "skipped"
    return [*row, last]
