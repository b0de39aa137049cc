"""`build_map`: build a place map from a LiDAR map, without ROS."""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import dataclass, field
from pathlib import Path

from scmpr_ros.cli.console import run_command
from scmpr_ros.cli.settings_arguments import add_settings, read_settings
from scmpr_ros.errors import DatasetError
from scmpr_ros.methods.checkpoint import load_checkpoint
from scmpr_ros.pipeline.map_builder import MapBuilderConfig, build_map
from scmpr_ros.pipeline.map_source import MapSourceConfig, load_point_cloud_map
from scmpr_ros.resources import DEFAULT_CHECKPOINT, resource


@dataclass(frozen=True)
class BuildMapConfig:
    """How the LiDAR map is read, and how its places are described."""

    source: MapSourceConfig = field(default_factory=MapSourceConfig)
    builder: MapBuilderConfig = field(default_factory=MapBuilderConfig)


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the console script."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    return run_command("build_map", lambda: _build(options))


def _build(options: argparse.Namespace) -> None:
    config = read_settings(options, BuildMapConfig)
    if not options.map.exists():
        raise DatasetError(f"no LiDAR map {options.map}: check the path")
    network = load_checkpoint(options.checkpoint or resource(DEFAULT_CHECKPOINT))
    point_map = load_point_cloud_map(options.map, config.source)
    place_map = build_map(point_map, network, config.builder)
    place_map.save(options.out)
    print(f"{len(place_map)} places written to {options.out}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="build_map",
        allow_abbrev=False,
        description="Build the place map that the localizer reads from a LiDAR map: a .ply or .pcd "
        "file, or a recording.",
    )
    parser.add_argument("map", type=Path, help="the LiDAR map")
    parser.add_argument("out", type=Path, help="directory of the place map")
    parser.add_argument("--checkpoint", type=Path, help="weights (default: shipped)")
    add_settings(parser, BuildMapConfig)
    return parser


if __name__ == "__main__":
    sys.exit(main())
