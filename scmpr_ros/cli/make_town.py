"""`make_town`: write synthetic towns in KITTI layout, each with a LiDAR map."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, as_completed, wait
from dataclasses import dataclass, fields
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from tqdm import tqdm

from scmpr_ros.cli.console import run_command
from scmpr_ros.datasets.bags.writer import write_drive_bag
from scmpr_ros.datasets.kitti.odometry import KittiOdometryDrive
from scmpr_ros.datasets.town_files import SEEDS
from scmpr_ros.errors import ConfigError
from scmpr_ros.lidar.accumulation import AccumulationConfig, accumulate
from scmpr_ros.lidar.cloud_files import write_cloud
from scmpr_ros.process_pool import process_pool
from scmpr_ros.town.drives import DriveConfig
from scmpr_ros.town.export import (
    Task,
    TownExportConfig,
    describe_conditions,
    export_town,
    finish_export,
    is_finished,
    open_traversal,
    plan_export,
)
from scmpr_ros.town.extras import check_extras
from scmpr_ros.town.mesh_map import sample_mesh_map
from scmpr_ros.town.sensors.conditions import CONDITIONS, SEASONS
from scmpr_ros.town.sensors.lidar import LidarConfig
from scmpr_ros.town.sensors.rig import Rig
from scmpr_ros.town.traversal import ANY, TraversalConfig
from scmpr_ros.town.world import TownConfig

MAPPING_SEQUENCE = "00"
MAP, PERFECT_MAP, SHEET = "map.ply", "mesh_map.ply", "town.png"


@dataclass(frozen=True)
class TownOptions:
    """What to record in every town.

    Args:
        drives: camera drives, each "condition", "condition/season" or "any", e.g. night/winter; a
            trailing ! reverses the direction
        map_season: season of the mapping drive
        length_m: length of each drive
        spacing_m: distance between images
        map_spacing_m: distance between the scans of the map
        image_width: width of the images in pixels
        image_height: height of the images in pixels; 0 keeps the aspect ratio of the rig's camera
        rig: kitti or kitti360
        rings: rings of the LiDAR
        columns: columns of a LiDAR scan
        query_scans: also record scans on the camera drives
        depth: also write depth images, depth_2/
        layout: file of KITTI odometry poses for the streets to follow
        mesh_map: also write mesh_map.ply, points sampled from the surfaces of the town
        bag: also write each drive as a rosbag2
        sheet: also draw town.png: images, masks, panoramas and the map from above
    """

    drives: Sequence[str] = (ANY,)
    map_season: str = ANY
    length_m: float = 520.0
    spacing_m: float = 2.0
    map_spacing_m: float = 1.5
    image_width: int = 372
    image_height: int = 0
    rig: str = "kitti"
    rings: int = 32
    columns: int = 1024
    query_scans: bool = False
    depth: bool = False
    layout: Path | None = None
    mesh_map: bool = False
    bag: bool = False
    sheet: bool = False

    def export_config(self) -> TownExportConfig:
        """The mapping drive as sequence 00, followed by the camera drives."""
        mapping = TraversalConfig(
            images=False, condition="overcast", season=self.map_season,
            drive=DriveConfig(spacing_m=self.map_spacing_m, length_m=self.length_m),
        )  # fmt: skip
        queries = [self._query(number, text) for number, text in enumerate(self.drives, start=1)]
        return TownExportConfig(
            rig=self.rig, image_width=self.image_width,
            image_height=self.image_height or Rig.proportional_height(self.rig, self.image_width),
            lidar=LidarConfig(rings=self.rings, columns=self.columns),
            town=TownConfig(layout=self.layout),
            traversals=(mapping, *queries),
        )  # fmt: skip

    def _query(self, number: int, text: str) -> TraversalConfig:
        condition, _, season = text.removesuffix("!").partition("/")
        drive = DriveConfig(
            spacing_m=self.spacing_m, length_m=self.length_m, reverse=text.endswith("!")
        )
        return TraversalConfig(
            traversal=number, scans=self.query_scans, depth=self.depth, condition=condition,
            season=season or ANY, drive=drive,
        )  # fmt: skip


def make_towns(
    folders: dict[int, Path], options: TownOptions, config: TownExportConfig, jobs: int = 2
) -> None:
    """Write the town of each seed to its folder, keeping files that exist.

    Processes share many towns by town, few towns by frames.
    """
    missing = {seed: f for seed, f in folders.items() if not _is_complete(f, seed, config, options)}
    if missing:
        check_extras()
    with process_pool(jobs) as pool:
        if len(missing) >= 2 * jobs:
            towns = [pool.submit(_whole_town, f, seed, config, options)
                     for seed, f in missing.items()]  # fmt: skip
            for town in tqdm(as_completed(towns), "towns", len(towns), disable=None):
                town.result()
            return
        for seed, folder in missing.items():
            tasks = pool.submit(plan_export, folder, seed, config).result()
            with tqdm(total=sum(len(t.frames) for t in tasks), desc=f"driving through town {seed}",
                      unit="frame", disable=None) as bar:  # fmt: skip
                for done in _write_all(pool, tasks, jobs):
                    bar.update(done)
            pool.submit(_complete, folder, seed, config, options).result()


def _whole_town(folder: Path, seed: int, config: TownExportConfig, options: TownOptions) -> None:
    for _ in export_town(folder, seed, config):
        pass
    _complete(folder, seed, config, options)


def _write_all(pool: Executor, tasks: list[Task], jobs: int) -> Iterator[int]:
    """Let the pool write all tasks; yields the number of frames of each finished task.

    Few tasks are submitted at a time, so the pool stops soon after an error.
    """
    waiting, running = iter(tasks), set[Future[int]]()
    while True:
        while len(running) < jobs + 1 and (task := next(waiting, None)) is not None:
            running.add(pool.submit(_write, task))
        if not running:
            return
        done, running = wait(running, return_when=FIRST_COMPLETED)
        yield from (future.result() for future in done)


def _write(task: Task) -> int:
    for _ in task.write():
        pass
    return len(task.frames)


def _is_complete(folder: Path, seed: int, config: TownExportConfig, options: TownOptions) -> bool:
    """Whether a town exists with everything that the options ask for."""
    extras = [PERFECT_MAP] * options.mesh_map + [SHEET] * options.sheet
    extras += [_bag(number) for number in range(len(config.traversals))] * options.bag
    return is_finished(folder, seed, config) and all((folder / name).exists() for name in extras)


def _bag(number: int) -> str:
    return f"bags/{number:02d}"


def _complete(folder: Path, seed: int, config: TownExportConfig, options: TownOptions) -> None:
    """Make what derives from a town's frames and is missing: its map and optional outputs."""
    if not (folder / MAP).exists():
        drive = KittiOdometryDrive(folder, MAPPING_SEQUENCE)
        scans = ((drive.scan(frame), drive.T_world_lidar(frame)) for frame in drive.scan_frames)
        write_cloud(folder / MAP, accumulate(scans, AccumulationConfig()))
    if options.mesh_map and not (folder / PERFECT_MAP).exists():
        traversal = open_traversal(seed, config, 0)
        drive_xy = traversal.T_world_base[:, :2, 3]
        write_cloud(folder / PERFECT_MAP, sample_mesh_map(traversal.town, drive_xy))
    for number in range(len(config.traversals) if options.bag else 0):
        if not (folder / _bag(number)).exists():
            write_drive_bag(KittiOdometryDrive(folder, f"{number:02d}"), folder / _bag(number))
    if options.sheet and not (folder / SHEET).exists():
        # torch and matplotlib, which each worker process would import for nothing
        from scmpr_ros.evaluation.contact_sheet import draw_contact_sheet

        conditions = describe_conditions(seed, config)
        captions = {f"{i:02d}": f"{i:02d}: {name}" for i, name in enumerate(conditions)}
        draw_contact_sheet(folder, folder / SHEET, captions)
    finish_export(folder, seed, config)


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the console script."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    return run_command("make_town", lambda: _make(chosen), "run it again to continue")


def _make(chosen: Namespace) -> None:
    options = TownOptions(**{f.name: getattr(chosen, f.name) for f in fields(TownOptions)})
    folders = {seed: chosen.out / f"{seed:04d}" for seed in _seeds(chosen)}
    make_towns(folders, options, options.export_config(), chosen.jobs)


def _seeds(chosen: Namespace) -> Sequence[int]:
    """The seeds to make; ConfigError if there are none."""
    if chosen.seeds:
        if min(chosen.seeds) < 0:
            raise ConfigError(f"seed {min(chosen.seeds)} is negative: seeds are 0 or more")
        return tuple(chosen.seeds)
    split = SEEDS[chosen.split]
    seeds = split[max(chosen.first, 0) : max(chosen.first, 0) + max(chosen.count, 0)]
    if not seeds:
        raise ConfigError(
            f"no towns selected: --first {chosen.first} --count {chosen.count} of the "
            f"{len(split)} of split {chosen.split}"
        )
    return seeds


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="make_town",
        description="Write synthetic towns in KITTI layout. In each, a car with a LiDAR drives "
        "first (sequence 00: labelled scans), and its scans are accumulated into map.ply. Then "
        "cars with a camera drive there on other days (01, 02, ...: images and masks). An "
        "interrupted run resumes where it stopped; the same seed gives the same bytes.",
    )
    parser.add_argument("--config", action="config", help="YAML file with any of the options below")
    parser.add_argument("--out", type=Path, default=Path("data/towns/train"),
                        help="output folder, with one folder per town")  # fmt: skip
    parser.add_argument("--split", choices=sorted(SEEDS), default="train",
                        help="split to take seeds from; splits share no town")  # fmt: skip
    parser.add_argument("--first", type=int, default=0, help="index of the first town in the split")
    parser.add_argument("--count", type=int, default=8, help="number of towns")
    parser.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        default=[],
        help="seeds to make, instead of --split, --first and --count",
    )
    parser.add_argument("--jobs", type=int, default=2, help="number of processes")
    parser.add_argument(
        "--drives", nargs="+", default=[ANY], metavar="CONDITION[/SEASON][!]",
        help=f"camera drives; conditions: {', '.join(CONDITIONS)}; seasons: "
        f"{', '.join(SEASONS)}; any: drawn from the seed; a trailing ! reverses the direction",
    )  # fmt: skip
    parser.add_class_arguments(TownOptions, skip={"drives"})
    return parser


if __name__ == "__main__":
    sys.exit(main())
