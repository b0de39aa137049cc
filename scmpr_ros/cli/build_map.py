"""`build_map`: a place map from a LiDAR map, without ROS."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass, field
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from scmpr_ros.cli.console import run_command
from scmpr_ros.methods.checkpoint import load_checkpoint
from scmpr_ros.pipeline.map_builder import MapBuilderConfig, build_map
from scmpr_ros.pipeline.map_source import MapSourceConfig, load_point_cloud_map
from scmpr_ros.resources import DEFAULT_CHECKPOINT, resource


@dataclass(frozen=True)
class BuildMapConfig:
    """How the LiDAR map is read and how its places are described."""

    source: MapSourceConfig = field(default_factory=MapSourceConfig)
    builder: MapBuilderConfig = field(default_factory=MapBuilderConfig)


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the console script."""
    parser = _parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    return run_command("build_map", lambda: _build(parser.instantiate(options)))


def _build(options: Namespace) -> None:
    config: BuildMapConfig = options.settings
    network = load_checkpoint(options.checkpoint or resource(DEFAULT_CHECKPOINT))
    point_map = load_point_cloud_map(options.map, config.source)
    place_map = build_map(point_map, network, config.builder)
    place_map.save(options.out)
    print(f"{len(place_map)} places written to {options.out}")


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="build_map",
        description="Describe every place of a LiDAR map (.ply, .pcd, or a folder in KITTI layout) "
        "in every heading, and write the place map that the localizer reads.",
    )
    parser.add_argument("map", type=Path, help="the LiDAR map")
    parser.add_argument("out", type=Path, help="directory of the place map")
    parser.add_argument("--checkpoint", type=Path, help="weights (default: the shipped ones)")
    parser.add_class_arguments(BuildMapConfig, "settings")
    return parser


if __name__ == "__main__":
    sys.exit(main())
