"""`evaluate`: Recall@K of a checkpoint, or of another method's descriptors, without ROS."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, get_args

from jsonargparse import ArgumentParser, Namespace, set_parsing_settings
from rich import box
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table

from scmpr_ros.cli.console import run_command, show_log
from scmpr_ros.cli.evaluate_trajectory import (
    add_trajectory_arguments,
    check_trajectory_arguments,
    evaluate_trajectories,
)
from scmpr_ros.cli.suite_tables import add_suite_arguments, evaluate_suite
from scmpr_ros.datasets.bags.options import BagReaderConfig
from scmpr_ros.errors import ConfigError
from scmpr_ros.evaluation.evaluate import EvaluationConfig, predict_by_protocol
from scmpr_ros.evaluation.external_descriptors import Similarity, predict_from_descriptors
from scmpr_ros.evaluation.metrics import Tolerance
from scmpr_ros.evaluation.predictions import Predictions
from scmpr_ros.evaluation.protocols import PROTOCOLS, Protocol, find_protocol, map_protocol
from scmpr_ros.evaluation.recorded_answers import predict_from_answers
from scmpr_ros.evaluation.rerun_recording import RerunRecording
from scmpr_ros.evaluation.result import Result, write_results
from scmpr_ros.evaluation.tables import PROTOCOL_OF_TABLE, TABLES, make_table
from scmpr_ros.methods.checkpoint import load_checkpoint
from scmpr_ros.methods.network import PlaceNetwork
from scmpr_ros.networks.readers.external import with_reader_files
from scmpr_ros.resources import DEFAULT_CHECKPOINT, resource

_COLUMNS = {
    "condition": ("condition", "{}"),
    "num_queries": ("N", "{}"),
    "recall_at_1": ("R@1", "{:.1%}"),
    "recall_at_1_interval": ("95 %", "{0[0]:.0%}-{0[1]:.0%}"),
    "recall_at_5": ("R@5", "{:.1%}"),
    "chance": ("chance", "{:.2%}"),
    "heading_within_15_deg": ("15 deg", "{:.0%}"),
    "calibration": ("ECE", "{0[expected_calibration_error]:.0%}"),
    "image_miou": ("mIoU", "{:.0%}"),
    "map_miou": ("map", "{:.0%}"),
}
"""Columns of the printed table, which fits into 80 characters, by key of `Result.to_json`."""

_DESCRIPTION = """\
Localise the images of recordings and print Recall@K beside chance. By default, build the map of
each recording and localise all its drives with images in it. A protocol of the literature searches
a drive's images among the drive's own scans instead. --out writes all numbers with their rules.
--table makes one of the paper's tables from recordings, or from files that --out, `ablate` and
`benchmark query` wrote; several files are several methods, named as their files are.
--suite measures all that a file lists, such as config/real_suite.yaml.
--trajectory tracks the drives as a robot would, instead of localising image by image."""

_DESCRIPTORS_HELP = """\
score another method by files of its descriptors, on one recording, with any protocol. QUERIES:
`descriptor` (N, D), `frame` (N,) or `stamp_s` (N,) seconds from the start of the drive, `drive`
(N,) names. PLACES: `descriptor` (P, V, D) for V headings, or (P, D); `heading_rad` (V,) or (P, V)
if there are headings; for protocol map `position` (P, 3) in the recording's frame, else `frame` or
`stamp_s`, and `drive`, of each scan (P,)"""


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the console script."""
    parser = _parser()
    options = parser.parse_args(arguments)
    show_log()
    return run_command("evaluate", lambda: _evaluate(parser.instantiate(options)))


def _evaluate(options: Namespace) -> None:
    options.settings = _with_readers(options.settings, options.readers_onnx)
    options.settings = _with_bag_options(options.settings, options.bag)
    check_trajectory_arguments(options)
    if options.suite:
        evaluate_suite(options)
        return
    if not options.recordings or options.data or options.town or options.only:
        raise ConfigError("name recordings, or a --suite, to which --data, --town, --only belong")
    if options.trajectory:
        evaluate_trajectories(options)
        return
    if options.rerun and (options.table or options.score or options.descriptors):
        raise ConfigError("--rerun shows images that are localised: without --table, --score, "
                          "--descriptors")  # fmt: skip
    if options.table:
        _write_table(options)
        return
    protocol, results = _results(options, options.recordings, options.protocol or "map")
    Console().print(_table(results, protocol))
    if options.out:
        write_results(results, options.out)


def _write_table(options: Namespace) -> None:
    """Make a table of result files and of recordings, which are evaluated first."""
    if options.out is None:
        raise ConfigError("--table needs --out, the folder for Markdown, JSON and figure")
    files = [path for path in options.recordings if path.suffix == ".json"]
    folders = [path for path in options.recordings if path.suffix != ".json"]
    if folders:
        if options.table not in PROTOCOL_OF_TABLE:
            raise ConfigError(f"table {options.table} is made of result files, not of {folders[0]}")
        name = options.protocol or PROTOCOL_OF_TABLE[options.table]
        files.append(options.out / f"{_method_name(options)}.json")
        write_results(_results(options, folders, name)[1], files[-1])
    table = make_table(options.table, files)
    path = table.write(options.out)
    Console().print(Markdown(table.markdown()), f"written to {path}, .json and .png")


def _method_name(options: Namespace) -> str:
    if options.descriptors:
        return str(options.descriptors[0].stem)
    return str((options.checkpoint or resource(DEFAULT_CHECKPOINT)).stem)


def _results(
    options: Namespace, recordings: Sequence[Path], name: str
) -> tuple[Protocol, list[Result]]:
    """Localise, or load earlier predictions, and score."""
    config: EvaluationConfig = options.settings
    protocol = _protocol(name, config.tolerance, options.code_faithful)
    results = []
    for number, predictions in enumerate(_predictions(options, recordings, protocol)):
        if options.predictions and not options.score:
            source = predictions.provenance
            file = f"{number:03d}-{source.recording}-{source.drive}.safetensors"
            predictions.save(options.predictions / file)
        results.append(predictions.score(protocol))
    return protocol, results


def _with_readers(config: EvaluationConfig, files: Sequence[Path]) -> EvaluationConfig:
    readers = with_reader_files(config.localizer.readers, files)
    return replace(config, localizer=replace(config.localizer, readers=readers))


def _with_bag_options(config: EvaluationConfig, bag: BagReaderConfig) -> EvaluationConfig:
    if bag == BagReaderConfig():
        return config
    return replace(config, source=replace(config.source, bag=bag))


def _protocol(name: str, tolerance: Tolerance, code_faithful: bool) -> Protocol:
    """The named protocol; `map` takes the tolerance of the settings, others have their own."""
    if name == "map":
        if code_faithful:
            raise ConfigError("--code_faithful is for protocols with published code")
        return map_protocol(tolerance)
    protocol = find_protocol(name)
    if tolerance != Tolerance():
        raise ConfigError(
            f"settings.tolerance is for --protocol map; {name} has its own: "
            f"{protocol.tolerance.radius_m:g} m, {protocol.tolerance.angle_deg:g} deg"
        )
    return protocol.code_faithful() if code_faithful else protocol


def _predictions(
    options: Namespace, recordings: Sequence[Path], protocol: Protocol
) -> Iterator[Predictions]:
    config: EvaluationConfig = options.settings
    if options.score:
        return map(Predictions.load, recordings)
    if options.answers:
        if len(recordings) != 1 or protocol.name != "map":
            raise ConfigError("--answers takes one recording, the bag that was played, and no "
                              "--protocol: the localizer searched a map")  # fmt: skip
        answers, map_directory = options.answers
        return iter(
            [
                predict_from_answers(
                    recordings[0], answers, map_directory, protocol, config.source.bag
                )
            ]
        )
    if not options.descriptors:
        network = load_checkpoint(options.checkpoint or resource(DEFAULT_CHECKPOINT))
        return _localise(options, recordings, protocol, network)
    if len(recordings) != 1 or options.checkpoint:
        raise ConfigError("--descriptors takes one recording, and no --checkpoint")
    queries, places = options.descriptors
    return predict_from_descriptors(
        recordings[0],
        (queries, places),
        protocol,
        options.similarity,
        config.skip_bad,
        config.source.bag,
        options.sequences,
    )


def _localise(
    options: Namespace, recordings: Sequence[Path], protocol: Protocol, network: PlaceNetwork
) -> Iterator[Predictions]:
    config: EvaluationConfig = options.settings
    if options.rerun and (protocol.name != "map" or len(recordings) != 1):
        raise ConfigError("--rerun takes one recording, with --protocol map")
    with ExitStack() as stack:
        recorded = stack.enter_context(RerunRecording(options.rerun)) if options.rerun else None
        for folder in recordings:
            yield from predict_by_protocol(
                folder, protocol, network, config, options.sequences, recorded
            )


@cache  # takes a third of a second, and a process may call `main` often
def _parser() -> ArgumentParser:
    set_parsing_settings(docstring_parse_attribute_docstrings=True)  # the fields' help
    parser = ArgumentParser(prog="evaluate", description=_DESCRIPTION)
    parser.add_argument("recordings", nargs="*", type=Path,
                        help="folders; with --score, files of predictions; with --table, also "
                        "result files; with --suite, none")  # fmt: skip
    parser.add_argument("--checkpoint", type=Path, help="weights (default: the shipped ones)")
    parser.add_argument("--protocol", choices=["map", *PROTOCOLS],
                        help="what is searched and which answers are correct (default: map, or "
                        "the protocol of --table)")  # fmt: skip
    parser.add_argument("--table", choices=TABLES,
                        help="write one of the paper's tables, or the calibration of the "
                        "confidence, into the folder --out")  # fmt: skip
    parser.add_argument("--sequences", nargs="+", default=[],
                        help="drives to test on (default: the protocol's, or with "
                        "--trajectory all with images)")  # fmt: skip
    parser.add_argument("--code_faithful", action="store_true",
                        help="take distances in the axes of the published code")  # fmt: skip
    parser.add_argument("--descriptors", nargs=2, type=Path, metavar=("QUERIES.npz", "PLACES.npz"),
                        help=_DESCRIPTORS_HELP)  # fmt: skip
    parser.add_argument("--answers", nargs=2, type=Path, metavar=("ANSWERS.jsonl", "MAP"),
                        help="score what `record_answers` wrote while a bag was played, with the "
                        "place map of the localizer; the recording is the bag")  # fmt: skip
    parser.add_argument("--similarity", choices=get_args(Similarity), default="cosine",
                        help="how --descriptors are compared")  # fmt: skip
    parser.add_argument("--predictions", type=Path, help="folder to save all answers in")
    parser.add_argument("--score", action="store_true",
                        help="score saved predictions, without a network")  # fmt: skip
    parser.add_argument(
        "--out", type=Path,
        help="JSON file for the numbers and their rules; with --table, --suite or --trajectory, a "
        "folder",
    )  # fmt: skip
    parser.add_argument("--rerun", type=Path, metavar="OUT.rrd",
                        help="record map, images and answers for the Rerun viewer; needs "
                        'pip install "scmpr_ros[viewer]"')  # fmt: skip
    parser.add_argument("--readers-onnx", nargs="+", type=Path, default=[], metavar="READER.yaml",
                        help="read images by these ONNX networks instead of the checkpoint's "
                        "heads; sets settings.localizer.readers.masks and .depth")  # fmt: skip
    add_suite_arguments(parser)
    add_trajectory_arguments(parser)
    parser.add_class_arguments(BagReaderConfig, "bag")
    parser.add_class_arguments(EvaluationConfig, "settings")
    return parser


def _table(results: Sequence[Result], protocol: Protocol) -> Table:
    tolerance = protocol.tolerance
    heading = f" and {tolerance.angle_deg:g} deg" if tolerance.angle_deg < 180 else ""
    title = f"{protocol.name}: correct within {tolerance.radius_m:g} m{heading}"
    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False)
    rows = [result.to_json() for result in results]
    shown = [name for name in _COLUMNS if any(row[name] not in (None, "") for row in rows)]
    table.add_column("drive", overflow="fold", min_width=7)
    for name in shown:
        table.add_column(_COLUMNS[name][0], justify="right", no_wrap=True)
    for row in rows:
        cells = (_cell(name, row[name]) for name in shown)
        table.add_row(f"{row['recording']}/{row['drive']}", *cells)
    return table


def _cell(name: str, value: Any) -> str:
    return "" if value is None else _COLUMNS[name][1].format(value)


if __name__ == "__main__":
    sys.exit(main())
