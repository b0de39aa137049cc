"""`build_map`: build a place map from a LiDAR map, without ROS."""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import replace
from pathlib import Path

from scmpr_ros.cli.console import run_command
from scmpr_ros.cli.settings_arguments import add_settings, join_signed_values, read_settings
from scmpr_ros.config import descriptions, flatten
from scmpr_ros.datasets.bags.options import BagReaderConfig
from scmpr_ros.errors import ConfigError
from scmpr_ros.lidar.clouds.config import CloudConfig
from scmpr_ros.lidar.places import PlacesConfig
from scmpr_ros.pipeline.build_config import MapBuildConfig
from scmpr_ros.pipeline.map_build import BuildReport, BuildRequest, build_place_map
from scmpr_ros.resources import DEFAULT_CHECKPOINT, resource


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the console script."""
    given = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(join_signed_values(given))
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    return run_command("build_map", lambda: _build(options), "run it again to go on")


def _build(options: argparse.Namespace) -> None:
    if options.workers < 0:
        raise ConfigError(f"--workers {options.workers}: 0 takes as many processes as suit")
    config = _config(options)
    checkpoint = options.checkpoint or resource(DEFAULT_CHECKPOINT)
    request = BuildRequest(options.map, options.out, checkpoint, config, options.update)
    report = build_place_map(request, options.scheduler, options.workers)
    print(_summary(report, options.out))


def _config(options: argparse.Namespace) -> MapBuildConfig:
    """The settings, with the options that have names of their own in their place."""
    config = read_settings(options, MapBuildConfig)
    source, places = config.source, config.builder.places
    if options.trajectory:
        source = replace(source, trajectory=str(options.trajectory))
    named = {name: getattr(options, name) for name in flatten(CloudConfig())}
    given = {name: value for name, value in named.items() if value is not None}
    cloud = replace(source.cloud, **given)
    bag = read_settings(options, BagReaderConfig, "bag", source.bag)
    source = replace(source, cloud=cloud, bag=bag)
    if options.sensor_height is not None:
        places = replace(places, sensor_height_m=options.sensor_height)
    return replace(config, source=source, builder=replace(config.builder, places=places))


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
        usage="%(prog)s [-h] [--trajectory FILE] [--update] [options] MAP OUT",
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
    add = parser.add_argument
    add("--trajectory", type=Path, metavar="FILE",
        help="poses of the sensor that mapped (TUM, KITTI, CSV, a bag, ...), along which places "
        "lie; without it they lie all over the open ground")  # fmt: skip
    add("--sensor_height", type=float, metavar="M",
        help="height of the camera above the ground, for places without a trajectory (default: "
        f"{PlacesConfig.sensor_height_m})")  # fmt: skip
    cloud = parser.add_argument_group("what a point cloud file does not say")
    meanings = descriptions(CloudConfig)
    for name, default in flatten(CloudConfig()).items():
        cloud.add_argument(
            f"--{name}", f"--cloud.{name}", dest=name, type=type(default),
            metavar=type(default).__name__.upper(),
            help=f"{meanings[name]} (default: {default})",
        )  # fmt: skip
    add_settings(parser, MapBuildConfig, besides=("source.bag.", "source.cloud."))
    add_settings(parser, BagReaderConfig, "bag", "how a bag is read")
    return parser


if __name__ == "__main__":
    sys.exit(main())
