"""`make_town`: synthetic towns in KITTI layout, with the LiDAR map of another traversal."""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from tqdm import tqdm

from scmpr_ros.datasets.kitti import KittiOdometryDrive
from scmpr_ros.datasets.town.export import TownExportConfig, export_town
from scmpr_ros.datasets.town.splits import SEEDS
from scmpr_ros.errors import ScmprError
from scmpr_ros.lidar.accumulation import AccumulationConfig, accumulate
from scmpr_ros.lidar.cloud_files import write_ply

MAPPING_SEQUENCE = "00"


def make_town(folder: Path, seed: int, config: TownExportConfig, progress: bool = False) -> Path:
    """Write one town, or leave it if it is there: drives, then the map of the mapping drive.

    The map is written last, so its presence says that the town is complete.
    """
    if (folder / "map.ply").is_file():
        return folder
    with tqdm(desc="driving through the town", unit="frame", disable=not progress) as bar:
        for done, total in export_town(folder, seed, config):
            bar.total = total
            bar.update(done - bar.n)
    drive = KittiOdometryDrive(folder, MAPPING_SEQUENCE)
    frames = tqdm(drive.scan_frames, desc="accumulating scans", unit="scan", disable=not progress)
    scans = ((drive.scan(frame), drive.T_world_lidar(frame)) for frame in frames)
    write_ply(folder / "map.ply", accumulate(scans, AccumulationConfig()))
    return folder


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the console script."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    seeds = SEEDS[options.split][options.first : options.first + options.count]
    config = TownExportConfig()
    try:
        with ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn")) as pool:
            towns = [pool.submit(make_town, options.out / f"{s:04d}", s, config) for s in seeds]
            for town in tqdm(as_completed(towns), total=len(towns), unit="town"):
                town.result()
    except ScmprError as error:
        print(f"make_town: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make_town",
        description="Write synthetic towns: for each a mapping drive (LiDAR scans with labels), a "
        "query drive (camera images with masks) on other days, and map.ply, the labelled map "
        "accumulated from the mapping drive. Towns that are already there are kept.",
    )
    parser.add_argument("--out", type=Path, default=Path("data/towns/train"), help="output folder")
    parser.add_argument(
        "--split", choices=sorted(SEEDS), default="train",
        help="seeds to draw from; splits never share a town (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--count", type=int, default=8, help="number of towns (default: 8)")
    parser.add_argument("--first", type=int, default=0, help="first town of the split (default: 0)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
