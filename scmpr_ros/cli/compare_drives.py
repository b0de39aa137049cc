"""`compare_drives`: compare recordings by statistics of their images, masks and scans."""

from __future__ import annotations

import sys
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console
from rich.table import Table

from scmpr_ros.atomic_files import write_json
from scmpr_ros.cli.console import run_command, show_log
from scmpr_ros.datasets.bags.options import BagReaderConfig
from scmpr_ros.datasets.recordings import open_drives
from scmpr_ros.evaluation.statistics.drives import (
    MEANINGS,
    Comparison,
    Distance,
    Recording,
    StatisticsConfig,
    compare_recordings,
)
from scmpr_ros.evaluation.statistics.picture import draw_comparison

_DESCRIPTION = """\
Compare recordings with the first by statistics of their images, masks and scans: how similar is a
synthetic town to a real drive, or one sensor to another? A recording is a folder in a supported
layout, with all its drives pooled; join several folders by commas, and use `name=folder` to name
it. For every distribution the distance to the first recording is given as Wasserstein-1 (how far
values must move on average) and as Jensen-Shannon divergence (0 bits: equal, 1: nothing in common).
The baseline is the distance between the two halves of the first recording. `settings.frames` images
and scans of each recording, spread evenly, are measured. If focal lengths differ, images are scaled
down to `settings.focal_px`.
Example: compare_drives real=/data/kitti town=data/towns/train/0007,data/towns/train/0008"""


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the console script."""
    parser = _parser()
    options = parser.parse_args(arguments)
    show_log()
    return run_command("compare_drives", lambda: _compare(parser.instantiate(options)))


def _compare(options: Namespace) -> None:
    config: StatisticsConfig = options.settings
    recordings = [_recording(argument, options.bag) for argument in options.recordings]
    comparison = compare_recordings(recordings, config)
    write_json(options.out / "statistics.json", comparison.to_dict())
    draw_comparison(comparison, recordings, options.out / "statistics.png")
    console = Console()
    console.print(_numbers_table(comparison))
    console.print(_distances_table(comparison))
    console.print(f"{options.out}/statistics.json, {options.out}/statistics.png", highlight=False)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="compare_drives", description=_DESCRIPTION)
    parser.add_argument(
        "recordings",
        nargs="+",
        type=str,
        help="[name=]folder[,folder ...]; the first is the reference",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("out/compare"),
        help="folder for statistics.json and statistics.png (default: %(default)s)",
    )  # fmt: skip
    parser.add_class_arguments(BagReaderConfig, "bag")
    parser.add_class_arguments(StatisticsConfig, "settings")
    return parser


def _recording(argument: str, bag: BagReaderConfig) -> Recording:
    """Open `[name=]folder[,folder ...]`; the default name is that of the first folder."""
    name, _, folders = argument.rpartition("=")
    paths = [Path(folder) for folder in folders.split(",")]
    drives = [drive for path in paths for drive in open_drives(path, bag=bag)]
    return Recording(name or paths[0].resolve().name, tuple(drives))


def _numbers_table(comparison: Comparison) -> Table:
    scale = "as stored" if comparison.focal_px is None else f"at fx = {comparison.focal_px:.0f} px"
    table = Table(title=f"Statistics; images {scale}")
    table.add_column("")
    table.add_column("unit")
    for statistics in comparison.recordings:
        table.add_column(statistics.name, justify="right")
    summaries = [statistics.summary() for statistics in comparison.recordings]
    for name in dict.fromkeys(name for summary in summaries for name in summary):
        unit = MEANINGS[name if name in MEANINGS else name.rpartition(",")[0]][0]
        table.add_row(name, unit, *(_number(summary.get(name)) for summary in summaries))
    return table


def _distances_table(comparison: Comparison) -> Table:
    first, *others = (statistics.name for statistics in comparison.recordings)
    table = Table(
        title=f"Distance to {first}: Wasserstein-1 / Jensen-Shannon divergence in bits",
        caption=f"baseline: between the two halves of {first}",
    )
    table.add_column("")
    table.add_column("unit")
    table.add_column("baseline", justify="right")
    for name in others:
        table.add_column(name, justify="right")
    columns = (comparison.halves, *comparison.to_first)
    for name in (n for n in MEANINGS if any(n in column for column in columns)):
        unit = next(column[name].unit for column in columns if name in column)
        table.add_row(name, unit, *(_distance(column.get(name)) for column in columns))
    return table


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _distance(distance: Distance | None) -> str:
    if distance is None:
        return ""
    digits = 1 if distance.wasserstein >= 10 else 3
    return f"{distance.wasserstein:.{digits}f} / {distance.jensen_shannon_bits:.2f}"


if __name__ == "__main__":
    sys.exit(main())
