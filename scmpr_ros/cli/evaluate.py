"""`evaluate`: Recall@N of a checkpoint on recordings, without ROS."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace
from rich import box
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table

from scmpr_ros.atomic_files import write_json
from scmpr_ros.cli.console import run_command
from scmpr_ros.errors import ConfigError
from scmpr_ros.evaluation.evaluate import EvaluationConfig, predict_in_map, predict_in_scans
from scmpr_ros.evaluation.metrics import Tolerance
from scmpr_ros.evaluation.predictions import Predictions
from scmpr_ros.evaluation.protocols import PROTOCOLS, Protocol, find_protocol, map_protocol
from scmpr_ros.evaluation.tables import PROTOCOL_OF_TABLE, TABLES, make_table
from scmpr_ros.methods.checkpoint import load_checkpoint
from scmpr_ros.methods.network import PlaceNetwork
from scmpr_ros.resources import DEFAULT_CHECKPOINT, resource

_COLUMNS = {
    "condition": ("condition", "{}"),
    "num_queries": ("N", "{}"),
    "recall_at_1": ("R@1", "{:.1%}"),
    "recall_at_1_interval": ("95 %", "{0[0]:.0%}-{0[1]:.0%}"),
    "recall_at_5": ("R@5", "{:.1%}"),
    "chance": ("chance", "{:.2%}"),
    "heading_within_15_deg": ("15 deg", "{:.0%}"),
    "image_miou": ("mIoU", "{:.0%}"),
    "map_miou": ("map", "{:.0%}"),
}
"""What the table shows of a result, and how, in 80 columns; all of it goes to --out."""


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the console script."""
    parser = _parser()
    options = parser.parse_args(arguments)
    return run_command("evaluate", lambda: _evaluate(parser.instantiate(options)))


def _evaluate(options: Namespace) -> None:
    if options.table:
        _write_table(options)
        return
    protocol, results = _results(options, options.recordings, options.protocol or "map")
    Console().print(_table(results, protocol))
    if options.out:
        write_json(options.out, results)


def _write_table(options: Namespace) -> None:
    """Make a table of result files, and of recordings, which are evaluated first."""
    if options.out is None:
        raise ConfigError("--table needs --out, the folder for Markdown, JSON and picture")
    files = [path for path in options.recordings if path.suffix == ".json"]
    folders = [path for path in options.recordings if path.suffix != ".json"]
    if folders:
        if options.table not in PROTOCOL_OF_TABLE:
            raise ConfigError(f"table {options.table} is made of result files, not of {folders[0]}")
        name = options.protocol or PROTOCOL_OF_TABLE[options.table]
        checkpoint = options.checkpoint or resource(DEFAULT_CHECKPOINT)
        files.append(options.out / f"{checkpoint.stem}.json")
        write_json(files[-1], _results(options, folders, name)[1])
    table = make_table(options.table, files)
    path = table.write(options.out)
    Console().print(Markdown(table.markdown()), f"written to {path}, .json and .png")


def _results(
    options: Namespace, recordings: Sequence[Path], name: str
) -> tuple[Protocol, list[dict[str, Any]]]:
    """Localise, or take what was kept, and score."""
    config: EvaluationConfig = options.settings
    protocol = _rules(name, config.tolerance, options.code_faithful)
    if options.score:
        predictions: Iterator[Predictions] = map(Predictions.load, recordings)
    else:
        network = load_checkpoint(options.checkpoint or resource(DEFAULT_CHECKPOINT))
        predictions = _predict(options, recordings, protocol, network)
    results = []
    for number, answers in enumerate(predictions):
        if options.predictions and not options.score:
            name = f"{number:03d}-{answers.facts['recording']}-{answers.facts['drive']}.safetensors"
            answers.save(options.predictions / name)
        results.append(answers.score(protocol))
    return protocol, results


def _rules(name: str, tolerance: Tolerance, code_faithful: bool) -> Protocol:
    """The named protocol; `map` has the tolerance of the settings."""
    if name == "map":
        if code_faithful:
            raise ConfigError("--code_faithful is for protocols that have a published code")
        return map_protocol(tolerance)
    protocol = find_protocol(name)
    return protocol.code_faithful() if code_faithful else protocol


def _predict(
    options: Namespace, recordings: Sequence[Path], protocol: Protocol, network: PlaceNetwork
) -> Iterator[Predictions]:
    config: EvaluationConfig = options.settings
    for folder in recordings:
        if protocol.name == "map":
            yield from predict_in_map(folder, network, config)
            continue
        for sequence in options.sequences or protocol.sequences:
            yield predict_in_scans(folder, sequence, protocol, network, config)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="evaluate",
        description="Localise the images of recordings and print Recall@N beside chance. By "
        "default each recording's map is built and all its drives with images are localised in it. "
        "A protocol of the literature searches a drive's images among the drive's own scans "
        "instead. Whatever the rules are, they are written beside the numbers (--out). --table "
        "makes one of the paper's tables, of recordings or of files that --out, `ablate` and "
        "`benchmark query` wrote: several are several methods, called as their files are.",
    )
    parser.add_argument("recordings", nargs="+", type=Path,
                        help="folders; with --score, files of predictions; with --table, result "
                        "files, too")  # fmt: skip
    parser.add_argument("--checkpoint", type=Path, help="weights (default: the shipped ones)")
    parser.add_argument("--protocol", choices=["map", *PROTOCOLS],
                        help="what may answer, and what is right (default: map, or what --table "
                        "takes)")  # fmt: skip
    parser.add_argument("--table", choices=TABLES,
                        help="write one of the paper's tables into the folder --out")  # fmt: skip
    parser.add_argument("--sequences", nargs="+", default=[],
                        help="drives to test on (default: the protocol's)")  # fmt: skip
    parser.add_argument("--code_faithful", action="store_true",
                        help="take distances in the axes of its published code")  # fmt: skip
    parser.add_argument("--predictions", type=Path, help="folder to keep all answers in")
    parser.add_argument("--score", action="store_true",
                        help="score predictions that were kept, without a network")  # fmt: skip
    parser.add_argument(
        "--out", type=Path, help="JSON file for the numbers and their rules; with --table, a folder"
    )
    parser.add_class_arguments(EvaluationConfig, "settings")
    return parser


def _table(results: Sequence[dict[str, Any]], protocol: Protocol) -> Table:
    tolerance = protocol.tolerance
    turned = f" and {tolerance.angle_deg:g} deg" if tolerance.angle_deg < 180 else ""
    title = f"{protocol.name}: right within {tolerance.radius_m:g} m{turned}"
    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False)
    shown = [n for n in _COLUMNS if any(r.get(n) not in (None, "") for r in results)]
    table.add_column("drive", overflow="fold", min_width=7)
    for name in shown:
        table.add_column(_COLUMNS[name][0], justify="right", no_wrap=True)
    for result in results:
        cells = (_cell(name, result[name]) for name in shown)
        table.add_row(f"{result['recording']}/{result['drive']}", *cells)
    return table


def _cell(name: str, value: Any) -> str:
    return "" if value is None else _COLUMNS[name][1].format(value)


if __name__ == "__main__":
    sys.exit(main())
