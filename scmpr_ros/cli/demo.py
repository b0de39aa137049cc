"""`demo`: a drive through a town that no training saw, localised by the real nodes.

The story: a car with a LiDAR maps a town. Another day another car with one camera drives there.
Its images go through a bag and DDS to the nodes, and the poses they publish are held against the
truth.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from scmpr_ros.atomic_files import write_json
from scmpr_ros.cli.console import run_command
from scmpr_ros.cli.make_town import TownOptions, make_towns
from scmpr_ros.datasets.drive import Drive
from scmpr_ros.datasets.kitti.odometry import KittiOdometryDrive
from scmpr_ros.datasets.recordings import open_drives
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.evaluation.localized_drive import LocalizedDrive
from scmpr_ros.evaluation.metrics import Tolerance
from scmpr_ros.evaluation.report import ReportScene, draw_report, number_tiles
from scmpr_ros.evaluation.ros_session import RosSession
from scmpr_ros.pipeline.map_source import MapSourceConfig, load_point_cloud_map
from scmpr_ros.resources import DEFAULT_CHECKPOINT, FASTDDS_PROFILE, resource
from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.town.drives import DriveConfig
from scmpr_ros.town.export import TownExportConfig
from scmpr_ros.town.splits import SEEDS
from scmpr_ros.town.traversal import TraversalConfig

QUERY_SEQUENCE = "01"
_ZERO_SHOT = "zero-shot: trained on synthetic towns only"
TOWN = TownExportConfig(
    traversals=(
        TraversalConfig(traversal=0, images=False, drive=DriveConfig(spacing_m=1.5)),
        TraversalConfig(
            traversal=1, scans=False, condition="clear", drive=DriveConfig(spacing_m=5.0)
        ),
    )
)


@dataclass(frozen=True)
class Story:
    """What the demo is about: a drive, the folder its map is made of, and how to speak of them."""

    drive: Drive
    source: Path
    title: str
    label: str
    map_label: str
    seed: int | None


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the console script."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the nodes are ended, too
    return run_command("demo", lambda: tell_story(options, Console()))


def tell_story(options: argparse.Namespace, console: Console) -> None:
    """The demo from beginning to end."""
    began_s = time.monotonic()
    checkpoint = options.checkpoint or resource(DEFAULT_CHECKPOINT)
    if not checkpoint.is_file():
        raise ConfigError(f"there is no checkpoint {checkpoint}; `models/` holds the shipped ones")

    console.rule("1. A drive and a LiDAR map")
    if options.data:  # read first: a mistyped path must not cost an earlier demo's output
        story = recorded_drive(options.data, options.sequence, not options.checkpoint)
        prepare_output(options.out)
    else:
        prepare_output(options.out)
        story = town_drive(options.out / "town", options.seed)
    drive = story.drive
    console.print(f"{story.title} ({story.label}): {len(drive.image_frames)} images")

    with RosSession(options.out, resource(FASTDDS_PROFILE)) as ros:
        console.rule("2. The nodes start; the map loader describes every place of the map")
        console.print(f"ROS_DOMAIN_ID={ros.domain_id}, logs in {options.out}/logs")
        ros.start_nodes(story.source, checkpoint)
        ros.write_bag(drive)
        with console.status("building the place map"):
            place_map = ros.wait_for_map()
        console.print(f"{len(place_map)} places, {len(place_map.headings_rad)} headings each")

        console.rule("3. The camera's images are played; the localizer answers")
        with console.status(f"localising {len(drive.image_frames)} images"):
            localized = ros.play(drive)

    console.rule("4. Where it thought it was")
    tolerance = Tolerance(options.radius, options.angle)
    summary = {
        **localized.summary(place_map.positions, place_map.headings_rad, tolerance),
        "data": story.label,
        "map": story.map_label,
        "seed": story.seed,
        "zero_shot": _ZERO_SHOT in story.label,
        "checkpoint": checkpoint.name,
        "fingerprint": place_map.fingerprint,
        "duration_s": round(time.monotonic() - began_s, 1),
    }
    write_json(options.out / "summary.json", summary)
    draw_report(_scene(story, place_map, localized, tolerance, summary), options.out / "report.png")
    console.print(_table(story, summary))
    console.print(f"{options.out}/summary.json  {options.out}/report.png")


def prepare_output(folder: Path) -> None:
    """Make an empty folder with `logs` in it; what an earlier demo left there is removed."""
    if folder.exists() and any(folder.iterdir()) and not (folder / "logs").is_dir():
        raise ConfigError(f"--out {folder} is not empty and not of an earlier demo: name another")
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "logs").mkdir(parents=True)


def town_drive(folder: Path, seed: int) -> Story:
    """Make a town: one drive with a LiDAR maps it, another one, another day, has the camera."""
    if seed not in SEEDS["test"]:
        raise ConfigError(f"seed {seed} is none of a test town; take one of {SEEDS['test']}")
    make_towns({seed: folder}, TownOptions(), TOWN)
    return Story(
        KittiOdometryDrive(folder, QUERY_SEQUENCE),
        folder,
        "A robot finds itself in a town it has never seen",
        f"synthetic test town {seed}, clear day",
        "a map of simulated LiDAR scans of another drive",
        seed,
    )


def recorded_drive(folder: Path, sequence: str, shipped: bool) -> Story:
    """Take a recording that `open_drives` knows, with a prebuilt map.ply or with scans.

    shipped: whether the checkpoint is the package's own, which has seen no real image.
    """
    with_images = [drive for drive in open_drives(folder, sequence) if drive.image_frames]
    if len(with_images) != 1:
        names = ", ".join(drive.name for drive in with_images) or "none"
        raise DatasetError(
            f"{folder} has {len(with_images)} sequences with images ({names}): name one with "
            "--sequence"
        )
    (drive,) = with_images
    return Story(
        drive,
        folder,
        f"Drive {drive.name}, localised in its LiDAR map",
        f"{folder.name}, {_ZERO_SHOT}" if shipped else folder.name,
        "the folder's LiDAR map",
        None,
    )


def _scene(
    story: Story,
    place_map: PlaceMap,
    localized: LocalizedDrive,
    tolerance: Tolerance,
    summary: Mapping[str, Any],
) -> ReportScene:
    return ReportScene(
        title=story.title,
        subtitle=f"{story.label}; single camera images against {story.map_label}, over ROS 2",
        cloud=load_point_cloud_map(story.source, MapSourceConfig()).cloud,
        place_map=place_map,
        drive=localized,
        tolerance=tolerance,
        summary=summary,
        image=story.drive.image,
        camera_fov_rad=story.drive.camera.horizontal_fov_rad,
    )


def _table(story: Story, summary: Mapping[str, Any]) -> Table:
    table = Table(title=story.label, show_header=False, title_justify="left")
    for value, caption in number_tiles(summary):
        table.add_row(caption, value)
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="demo",
        description="Localise a drive over ROS 2 and score the poses. Without --data, a synthetic "
        "town that no training saw; the map comes from simulated LiDAR scans of another drive.",
    )
    parser.add_argument("--data", type=Path, help="a recording: KITTI, KITTI-360 or rosbag2")
    parser.add_argument("--sequence", default="", help="drive in --data, where it has several")
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="output; emptied first")
    parser.add_argument("--checkpoint", type=Path, help=f"default: {DEFAULT_CHECKPOINT}")
    parser.add_argument("--seed", type=int, default=SEEDS["test"][0], help="of the town")
    parser.add_argument("--radius", type=float, default=5.0, help="in metres, of a right answer")
    parser.add_argument("--angle", type=float, default=30.0, help="in degrees, of a right answer")
    return parser


if __name__ == "__main__":
    sys.exit(main())
