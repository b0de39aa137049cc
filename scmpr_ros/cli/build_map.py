"""`build_map`: build a place map from a LiDAR map, without ROS."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from scmpr_ros.cli.console import run_command
from scmpr_ros.cli.settings_arguments import add_settings, read_settings
from scmpr_ros.pipeline.build_config import MapBuildConfig
from scmpr_ros.pipeline.map_build import BuildReport, BuildRequest, build_place_map
from scmpr_ros.resources import DEFAULT_CHECKPOINT, resource


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the console script."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    return run_command("build_map", lambda: _build(options))


def _build(options: argparse.Namespace) -> None:
    config = read_settings(options, MapBuildConfig)
    checkpoint = options.checkpoint or resource(DEFAULT_CHECKPOINT)
    request = BuildRequest(options.map, options.out, checkpoint, config, options.update)
    report = build_place_map(request, options.scheduler, options.workers)
    print(_summary(report, options.out))


def _summary(report: BuildReport, out: Path) -> str:
    tiles = report.manifest.tiles
    kept = f", {report.kept} of them as they were" if report.kept else ""
    lines = [f"{report.manifest.places} places in {len(tiles)} tiles{kept} written to {out}"]
    if report.dropped:
        reasons = (f"{count} {reason}" for reason, count in report.dropped.most_common())
        lines.append(f"no places: {'; '.join(reasons)}")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="build_map",
        allow_abbrev=False,
        description="Build the place map that the localizer reads from a LiDAR map: a point cloud "
        "file, a folder of tiles, or a recording. An interrupted build goes on where it stopped.",
    )
    parser.add_argument("map", type=Path, help="the LiDAR map")
    parser.add_argument("out", type=Path, help="directory of the place map")
    parser.add_argument("--checkpoint", type=Path, help="weights (default: shipped)")
    parser.add_argument("--update", action="store_true",
                        help="update the place map: replace and append the tiles that the LiDAR "
                        "map covers, and keep all others")  # fmt: skip
    parser.add_argument("--workers", type=int, default=0, metavar="N",
                        help="processes on this machine (default: as many as suit)")  # fmt: skip
    parser.add_argument("--scheduler", default="", metavar="ADDRESS",
                        help="Dask scheduler, such as tcp://host:8786, whose workers see the same "
                        "folders")  # fmt: skip
    add_settings(parser, MapBuildConfig)
    return parser


if __name__ == "__main__":
    sys.exit(main())
