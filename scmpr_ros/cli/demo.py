"""`demo`: localise a drive through an unseen town by the real nodes.

A car with a LiDAR maps a town. On another day, another car drives there with one camera. Its images
go through a bag and DDS to the nodes, and the published poses are compared with the truth. The
odometry of that car is the truth with the errors of a wheel odometry.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from scmpr_ros.atomic_files import write_json
from scmpr_ros.cli.console import run_command, show_log
from scmpr_ros.cli.make_town import TownOptions, make_towns
from scmpr_ros.cli.node_commands import localizer, map_loader, play_bag, record_answers
from scmpr_ros.cli.settings_arguments import add_settings, read_settings
from scmpr_ros.config import to_dict
from scmpr_ros.datasets.bags.options import BagReaderConfig
from scmpr_ros.datasets.drive import Drive, camera_tilt
from scmpr_ros.datasets.kitti.odometry import KittiOdometryDrive
from scmpr_ros.datasets.recordings import open_drives
from scmpr_ros.datasets.town_files import SEEDS
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.evaluation.localized_drive import LocalizedDrive
from scmpr_ros.evaluation.metrics import Tolerance
from scmpr_ros.evaluation.report import ReportScene, draw_report, number_tiles, tracked_tiles
from scmpr_ros.evaluation.rerun_recording import RerunRecording, require_rerun
from scmpr_ros.evaluation.result import Scores
from scmpr_ros.evaluation.ros_session import RosSession, RosSessionConfig
from scmpr_ros.evaluation.trajectory import TrackedDrive
from scmpr_ros.evaluation.trajectory_picture import draw_trajectory
from scmpr_ros.pipeline.map_points import load_point_cloud_map
from scmpr_ros.pipeline.map_source import MapSourceConfig
from scmpr_ros.resources import DEFAULT_CHECKPOINT, FASTDDS_PROFILE, resource
from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.town.drives import DriveConfig
from scmpr_ros.town.export import TownExportConfig
from scmpr_ros.town.traversal import TraversalConfig

QUERY_SEQUENCE = "01"
_PICTURES = ("report.png", "trajectory.png")
_ZERO_SHOT = "zero-shot: trained on synthetic towns only"
_IMAGE_SUBSCRIBERS = 2  # the localizer and the recorder
TOWN = TownExportConfig(
    traversals=(
        TraversalConfig(traversal=0, images=False, drive=DriveConfig(spacing_m=1.5)),
        TraversalConfig(
            traversal=1, scans=False, condition="clear", drive=DriveConfig(spacing_m=5.0)
        ),
    )
)


@dataclass(frozen=True)
class Scenario:
    """A drive to localise, the source of its map, and the texts of the report.

    label, map_label: what drive and map are. seed: of a synthetic town. bag: options of a bag.
    """

    drive: Drive
    source: Path
    title: str
    label: str
    map_label: str
    seed: int | None
    bag: BagReaderConfig = field(default_factory=BagReaderConfig)


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the console script."""
    options = _parser().parse_args(arguments)
    show_log()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends the nodes, too
    return run_command("demo", lambda: run_demo(options, Console()))


def run_demo(options: argparse.Namespace, console: Console) -> None:
    """Prepare a drive and its map, localise the drive through the nodes, and report."""
    began_s = time.monotonic()
    checkpoint = options.checkpoint or resource(DEFAULT_CHECKPOINT)
    if options.rerun:
        require_rerun()
    if not checkpoint.is_file():
        raise ConfigError(f"there is no checkpoint {checkpoint}; `models/` holds the shipped ones")

    console.rule("1. A drive and a LiDAR map")
    if options.data:  # read first: a mistyped path must not delete an earlier demo's output
        bag = read_settings(options, BagReaderConfig, "bag")
        scenario = recorded_drive(options.data, options.sequence, not options.checkpoint, bag)
        prepare_output(options.out)
    else:
        prepare_output(options.out)
        scenario = town_drive(options.out / "town", options.seed)
    images = len(scenario.drive.image_frames)
    console.print(f"{scenario.title} ({scenario.label}): {images} images")

    node_recording = options.out / "localizer.rrd" if options.rerun else None
    place_map, localized, tracked = _localize(
        scenario, checkpoint, options.out, node_recording, console
    )

    console.rule("4. Estimated and true poses")
    tolerance = Tolerance(options.radius, options.angle)
    scores = localized.score(place_map.positions, place_map.headings_rad, tolerance)
    summary = {
        **to_dict(scores),
        "tracked": to_dict(tracked.score()),
        "odometry": {"source": "true poses, with errors", **to_dict(RosSessionConfig().odometry)},
        "data": scenario.label,
        "map": scenario.map_label,
        "seed": scenario.seed,
        "zero_shot": _ZERO_SHOT in scenario.label,
        "checkpoint": checkpoint.name,
        "fingerprint": place_map.fingerprint,
        "duration_s": round(time.monotonic() - began_s, 1),
    }
    write_json(options.out / "summary.json", summary)
    scene = _scene(scenario, place_map, localized, tracked, tolerance, scores)
    draw_report(scene, options.out / "report.png")
    draw_trajectory(tracked, place_map.positions, options.out / "trajectory.png", scene.cloud,
                    scenario.title)  # fmt: skip
    console.print(_table(scenario, scores, tracked))
    console.print(*(f"{options.out}/{name}" for name in ("summary.json", *_PICTURES)), sep="  ")
    if node_recording is not None:
        _record(options.rerun, node_recording, scene)
        console.print(f"{options.rerun}: open it with `rerun {options.rerun}`")


def _localize(
    scenario: Scenario, checkpoint: Path, out: Path, recording: Path | None, console: Console
) -> tuple[PlaceMap, LocalizedDrive, TrackedDrive]:
    """Build the map and localise the drive, both by nodes.

    recording: file that the localizer records for Rerun into, if any.
    """
    drive = scenario.drive
    with RosSession(out, resource(FASTDDS_PROFILE)) as session:
        config, topics = session.config, session.config.topics
        console.rule("2. The nodes start; the map loader describes every place of the map")
        console.print(f"ROS_DOMAIN_ID={session.domain_id}, logs in {out}/logs")
        rate = session.play_rate(drive)
        session.start(
            map_loader(scenario.source, checkpoint, session.map_folder, scenario.bag),
            localizer(checkpoint, topics, config.queue_size, recording, camera_tilt(drive)),
        )
        session.write_bag(drive)
        with console.status("building the place map"):
            place_map = session.wait_for_map()
        console.print(f"{len(place_map)} places, {len(place_map.headings_rad)} headings each")

        console.rule("3. The camera's images are played; the localizer answers")
        images = len(drive.image_frames)
        with console.status(f"localising {images} images"):
            localized = session.play(
                drive,
                record_answers(session.answers, topics, images, config.answer_timeout_s),
                play_bag(session.bag, rate, topics, _IMAGE_SUBSCRIBERS, config.start_timeout_s),
            )
    return place_map, localized, session.tracked_drive(drive)


def _record(path: Path, node_recording: Path, scene: ReportScene) -> None:
    """Add to what the node recorded what it cannot know: the points of the map, and the truth."""
    tracked = scene.tracked
    with RerunRecording(path) as recording:
        recording.log_map(scene.place_map, scene.cloud)
        recording.log_true_track(tracked.T_true)
        recording.include(node_recording)
        for index, stamp_s in enumerate(tracked.stamps_s):
            recording.log_errors(
                stamp_s, tracked.T_true[index], tracked.T_tracked[index], tracked.T_single[index]
            )
    node_recording.unlink()


def prepare_output(folder: Path) -> None:
    """Create an empty folder with `logs` in it; the output of an earlier demo is deleted."""
    if folder.exists() and any(folder.iterdir()) and not (folder / "logs").is_dir():
        raise ConfigError(
            f"--out {folder} is not empty and not the output of a demo: choose another folder"
        )
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "logs").mkdir(parents=True)


def town_drive(folder: Path, seed: int) -> Scenario:
    """Generate a town with two drives: one maps it by LiDAR, the other has a camera."""
    if seed not in SEEDS["test"]:
        raise ConfigError(f"seed {seed} is not a test town: choose one in {SEEDS['test']}")
    make_towns({seed: folder}, TownOptions(), TOWN)
    return Scenario(
        KittiOdometryDrive(folder, QUERY_SEQUENCE),
        folder,
        "A robot localises itself in an unseen town",
        f"synthetic test town {seed}, clear day",
        "a map of simulated LiDAR scans of another drive",
        seed,
    )


def recorded_drive(
    folder: Path, sequence: str, shipped: bool, bag: BagReaderConfig | None = None
) -> Scenario:
    """Open a recording with a prebuilt map.ply or with scans.

    shipped: whether the checkpoint is the package's, which was trained without real images.
    bag: options of a bag.
    """
    drives = open_drives(folder, sequence, bag)
    with_images = [drive for drive in drives if drive.image_frames]
    if len(with_images) != 1:
        names = ", ".join(drive.name for drive in with_images) or "none"
        raise DatasetError(
            f"{folder} has {len(with_images)} sequences with images ({names}): name one with "
            "--sequence"
        )
    (drive,) = with_images
    return Scenario(
        drive,
        folder,
        f"Drive {drive.name}, localised in its LiDAR map",
        f"{folder.name}, {_ZERO_SHOT}" if shipped else folder.name,
        "the recording's LiDAR map",
        None,
        bag or BagReaderConfig(),
    )


def _scene(
    scenario: Scenario,
    place_map: PlaceMap,
    localized: LocalizedDrive,
    tracked: TrackedDrive,
    tolerance: Tolerance,
    scores: Scores,
) -> ReportScene:
    return ReportScene(
        title=scenario.title,
        subtitle=f"{scenario.label}; camera images against {scenario.map_label}, over ROS 2: each "
        "alone (dots), and tracked with odometry (diamonds)",
        cloud=load_point_cloud_map(scenario.source, MapSourceConfig(bag=scenario.bag)).cloud,
        place_map=place_map,
        drive=localized,
        tolerance=tolerance,
        scores=scores,
        tracked=tracked,
        image=scenario.drive.image,
        camera_fov_rad=scenario.drive.camera.horizontal_fov_rad,
    )


def _table(scenario: Scenario, scores: Scores, tracked: TrackedDrive) -> Table:
    table = Table(title=scenario.label, show_header=False, title_justify="left")
    for value, caption in number_tiles(scores) + tracked_tiles(tracked.score()):
        table.add_row(caption, value)
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="demo",
        description="Localise a drive over ROS 2 and score the poses. Without --data, generate an "
        "unseen synthetic town whose map comes from simulated LiDAR scans of another drive.",
    )
    parser.add_argument("--data", type=Path, help="a recording: KITTI, KITTI-360 or a bag")
    parser.add_argument("--sequence", default="", help="drive of --data, if it has several")
    parser.add_argument(
        "--out", type=Path, default=Path("out/demo"), help="output folder, emptied first"
    )
    parser.add_argument("--checkpoint", type=Path, help=f"default: {DEFAULT_CHECKPOINT}")
    parser.add_argument("--seed", type=int, default=SEEDS["test"][0], help="seed of the town")
    parser.add_argument(
        "--rerun", type=Path, metavar="OUT.rrd",
        help='record for the Rerun viewer; needs pip install "scmpr_ros[viewer]"',
    )  # fmt: skip
    parser.add_argument(
        "--radius",
        type=float,
        default=5.0,
        help="largest position error of a correct answer, metres",
    )
    parser.add_argument(
        "--angle",
        type=float,
        default=30.0,
        help="largest heading error of a correct answer, degrees",
    )
    add_settings(parser, BagReaderConfig, "bag", "topics, frames and conventions of a bag")
    return parser


if __name__ == "__main__":
    sys.exit(main())
