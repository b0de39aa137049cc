"""`convert`: convert between KITTI layouts and rosbag2, without ROS."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TypeVar

from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace, set_parsing_settings

from scmpr_ros.cli.console import run_command
from scmpr_ros.config import flatten, from_dict, unflatten
from scmpr_ros.datasets.bags.options import BagReaderConfig, load_options
from scmpr_ros.datasets.bags.reader import BagDrive
from scmpr_ros.datasets.bags.writer import BagWriterConfig, write_drive_bag
from scmpr_ros.datasets.drive import Drive
from scmpr_ros.datasets.drive_frames import DriveFrames, FrameChoice
from scmpr_ros.datasets.kitti.writer import write_drive_kitti
from scmpr_ros.datasets.recordings import open_drives
from scmpr_ros.errors import ConfigError, DatasetError

_EXAMPLES = """\
examples:
  a KITTI sequence to a bag, and back:
    convert kitti/dataset bags/07 --sequence 07
    convert bags/07 kitti/again
  smaller images without loss; a clip with odometry that drifts:
    convert kitti/dataset bags/07 --sequence 07 --image_format png
    convert kitti/dataset bags/clip --sequence 07 --frames 100:200 \\
        --odometry_drift_deg_per_m 0.05 --tf true
  your robot's bag, without LiDAR and camera on /tf_static:
    convert bags/robot kitti/robot --topics.image /cam/image_rect \\
        --topics.camera_info /cam/camera_info --topics.points /lidar/points \\
        --topics.pose /slam/pose --T_lidar_camera "[0,0,1,0.1, -1,0,0,0, 0,-1,0,-0.2]"
  a bag with SemanticKITTI labels but no label set in its metadata:
    convert bags/labelled kitti/labelled --label_set semantickitti
"""

Config = TypeVar("Config", BagReaderConfig, BagWriterConfig)


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the console script."""
    parser = _parser()
    options = parser.parse_args(arguments)
    return run_command(
        "convert", lambda: print(convert(parser.instantiate(options))), "nothing was written"
    )


def convert(options: Namespace) -> str:
    """Convert according to the options; return a summary."""
    start_s, source, target = time.monotonic(), options.source, options.target
    from_bag = _is_bag(source)
    drives = _open(source, _config(BagReaderConfig, options), options.sequence)
    drive = drives[0] if from_bag else _select(drives, source, options.sequence)
    choice = _parse_frames(options.frames, options.skip_bad)
    if (options.to or ("kitti" if from_bag else "rosbag2")) == "rosbag2":
        config = _config(BagWriterConfig, options)
        frames = write_drive_bag(drive, target, config, progress=True, choice=choice)
        return _summary(frames, target, time.monotonic() - start_s)
    name = options.sequence or drive.name
    frames = write_drive_kitti(drive, target, name, progress=True, choice=choice)
    return _summary(frames, target / "sequences" / name, time.monotonic() - start_s)


def _open(source: Path, bag: BagReaderConfig, name: str) -> Sequence[Drive]:
    """Open the named drive of a recording, or all of them; a bag is a single drive."""
    if not source.is_dir():
        raise DatasetError(f"folder {source} does not exist")
    if _is_bag(source):
        return [BagDrive(source, _with_file(source, bag))]
    return open_drives(source, name)


def _with_file(source: Path, given: BagReaderConfig) -> BagReaderConfig:
    """The bag's options file, with the options that were given in its place."""
    defaults = flatten(BagReaderConfig())
    changed = {key: value for key, value in flatten(given).items() if value != defaults[key]}
    return from_dict(BagReaderConfig, unflatten(flatten(load_options(source)) | changed))


def _is_bag(source: Path) -> bool:
    """Whether a folder is a bag, even one whose metadata is missing."""
    return any(any(source.glob(name)) for name in ("metadata.yaml", "*.mcap", "*.db3"))


def _select(drives: Sequence[Drive], source: Path, name: str) -> Drive:
    names = [drive.name for drive in drives]
    if name in names or (len(drives) == 1 and not name):
        return drives[names.index(name) if name else 0]
    found = f"has no sequence {name!r}" if name else "has several sequences"
    raise ConfigError(f"{source} {found}: choose one of {', '.join(names)} with --sequence")


def _config(kind: type[Config], options: Namespace) -> Config:
    """Build a config from the options named like its fields."""
    return kind(**{f.name: options[f.name] for f in fields(kind)})


def _summary(frames: DriveFrames, written: Path, seconds: float) -> str:
    size = sum(path.stat().st_size for path in written.rglob("*"))
    counts = [f"{len(frames.numbers)} poses"]
    counts += [f"{number} {kind}" for kind, number in frames.counts.items() if number]
    lines = [f"{written}: {', '.join(counts)}; {size / 1e6:.1f} MB in {seconds:.1f} s"]
    first, last, most = frames.numbers[0], frames.numbers[-1], len(frames.numbers) - 1
    if (first, last) != (0, most):
        lines.append(f"frames {first} to {last} are renumbered 0 to {most}")
    if frames.skipped:
        lines.append(f"skipped {len(frames.skipped)} damaged images, masks or scans:")
        lines += [f"  {line}" for line in frames.skipped]
    return "\n".join(lines)


def _parse_frames(frames: str, skip_bad: bool) -> FrameChoice:
    """Parse 100:200, 100: or :200."""
    first, colon, stop = frames.partition(":")
    try:
        if colon:
            return FrameChoice(int(first or 0), int(stop) if stop else None, skip_bad)
    except ValueError:
        pass
    raise ConfigError(f"--frames {frames!r}: expected something like 100:200, 100: or :200")


class _HelpFormatter(DefaultHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the line breaks of the examples."""


def _parser() -> ArgumentParser:
    set_parsing_settings(docstring_parse_attribute_docstrings=True)  # the fields' help
    parser = ArgumentParser(
        prog="convert",
        formatter_class=_HelpFormatter,
        description="Convert a drive to a rosbag2 directory (mcap, topics of kitti2bag), or to a\n"
        "sequence in KITTI odometry layout. Images (except jpeg), scans, labels with instances,\n"
        "masks, stamps, poses, intrinsics and extrinsics are preserved in both directions.",
        epilog=_EXAMPLES,
    )
    parser.add_argument("source", type=Path, help="folder in a KITTI layout, or a bag")
    parser.add_argument("target", type=Path, help="bag, or root folder of the KITTI layout")
    parser.add_argument(
        "--to",
        choices=["rosbag2", "kitti"],
        help="format (default: rosbag2 for a folder, kitti for a bag)",
    )
    parser.add_argument(
        "--sequence", default="",
        help="sequence to read from a folder that has several; for a bag, the name of the sequence "
        "to write (default: the bag's name)",
    )  # fmt: skip
    parser.add_argument(
        "--frames", default=":",
        help="frames first:stop, both optional; a KITTI sequence renumbers them from 0",
    )  # fmt: skip
    parser.add_argument(
        "--skip_bad", action="store_true",
        help="skip damaged images, masks and scans instead of stopping",
    )  # fmt: skip
    parser.add_class_arguments(BagReaderConfig)
    parser.add_class_arguments(BagWriterConfig, skip={"topics"})
    return parser


if __name__ == "__main__":
    sys.exit(main())
