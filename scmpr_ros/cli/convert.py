"""`convert`: recordings to rosbag2 and to KITTI's layout, without ROS."""

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
from scmpr_ros.datasets.drive import Drive
from scmpr_ros.datasets.drive_frames import DriveFrames, FrameChoice
from scmpr_ros.datasets.kitti.writer import write_drive_kitti
from scmpr_ros.datasets.recordings import open_drives
from scmpr_ros.datasets.rosbag2.reader import BagReaderConfig, Rosbag2Drive
from scmpr_ros.datasets.rosbag2.writer import BagWriterConfig, write_drive_bag
from scmpr_ros.errors import ConfigError, DatasetError

_EXAMPLES = """\
examples:
  a KITTI sequence as a bag, and the bag as a KITTI sequence again:
    convert kitti/dataset bags/07 --sequence 07
    convert bags/07 kitti/again
  images that are smaller, with every pixel; a clip of it, with odometry that drifts:
    convert kitti/dataset bags/07 --sequence 07 --image_format png
    convert kitti/dataset bags/clip --sequence 07 --frames 100:200 \\
        --odometry_drift_deg_per_m 0.05 --tf true
  a bag of a robot of yours, whose LiDAR and camera /tf_static does not connect:
    convert bags/robot kitti/robot --topics.image /cam/image_rect \\
        --topics.camera_info /cam/camera_info --topics.points /lidar/points \\
        --topics.pose /slam/pose --T_lidar_camera "[0,0,1,0.1, -1,0,0,0, 0,-1,0,-0.2]"
  labels that are SemanticKITTI's, in a bag that does not say so:
    convert bags/labelled kitti/labelled --label_set semantickitti
"""

Config = TypeVar("Config", BagReaderConfig, BagWriterConfig)


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the console script."""
    parser = _parser()
    options = parser.parse_args(arguments)
    return run_command(
        "convert", lambda: print(convert(parser.instantiate(options))), "nothing was left behind"
    )


def convert(options: Namespace) -> str:
    """Convert as the options say; gives a summary for people."""
    began_s, source, target = time.monotonic(), options.source, options.target
    from_bag = _is_bag(source)
    drives = _open(source, _config(BagReaderConfig, options), options.sequence)
    drive = drives[0] if from_bag else _chosen(drives, source, options.sequence)
    choice = _choice(options.frames, options.skip_bad)
    if (options.to or ("kitti" if from_bag else "rosbag2")) == "rosbag2":
        config = _config(BagWriterConfig, options)
        frames = write_drive_bag(drive, target, config, progress=True, choice=choice)
        return _summary(frames, target, time.monotonic() - began_s)
    name = options.sequence or drive.name
    frames = write_drive_kitti(drive, target, name, progress=True, choice=choice)
    return _summary(frames, target / "sequences" / name, time.monotonic() - began_s)


def _open(source: Path, bag: BagReaderConfig, name: str) -> Sequence[Drive]:
    """The named drive of a recording, or all; a bag is one drive, whatever the name."""
    if not source.is_dir():
        raise DatasetError(f"there is no folder {source}")
    if _is_bag(source):
        return [Rosbag2Drive(source, bag)]
    return open_drives(source, name)


def _is_bag(source: Path) -> bool:
    """Whether a folder is a bag; one that lost its metadata is one, too."""
    return any(any(source.glob(name)) for name in ("metadata.yaml", "*.mcap", "*.db3"))


def _chosen(drives: Sequence[Drive], source: Path, name: str) -> Drive:
    names = [drive.name for drive in drives]
    if name in names or (len(drives) == 1 and not name):
        return drives[names.index(name) if name else 0]
    found = f"has no sequence {name!r}" if name else "has several sequences"
    raise ConfigError(f"{source} {found}: choose one of {', '.join(names)} with --sequence")


def _config(kind: type[Config], options: Namespace) -> Config:
    """The options that are fields of a config, as that config."""
    return kind(**{f.name: options[f.name] for f in fields(kind)})


def _summary(frames: DriveFrames, written: Path, seconds: float) -> str:
    size = sum(path.stat().st_size for path in written.rglob("*"))
    counts = [f"{len(frames.numbers)} poses"]
    counts += [f"{number} {kind}" for kind, number in frames.counts.items() if number]
    lines = [f"{written}: {', '.join(counts)}; {size / 1e6:.1f} MB in {seconds:.1f} s"]
    first, last, most = frames.numbers[0], frames.numbers[-1], len(frames.numbers) - 1
    if (first, last) != (0, most):
        lines.append(f"frames {first} to {last} are {0} to {most} there")
    if frames.skipped:
        lines.append(f"{len(frames.skipped)} skipped, for they could not be read:")
        lines += [f"  {line}" for line in frames.skipped]
    return "\n".join(lines)


def _choice(frames: str, skip_bad: bool) -> FrameChoice:
    """100:200, 100: or :200 as a choice of frames."""
    first, colon, stop = frames.partition(":")
    try:
        if colon:
            return FrameChoice(int(first or 0), int(stop) if stop else None, skip_bad)
    except ValueError:
        pass
    raise ConfigError(f"--frames {frames!r}: expected something like 100:200, 100: or :200")


class _HelpFormatter(DefaultHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of the examples."""


def _parser() -> ArgumentParser:
    set_parsing_settings(docstring_parse_attribute_docstrings=True)  # the fields' help
    parser = ArgumentParser(
        prog="convert",
        formatter_class=_HelpFormatter,
        description="Write a recording as a rosbag2 directory (mcap, topics of kitti2bag), or as\n"
        "a sequence in KITTI odometry layout. There and back, images (but for jpeg), scans,\n"
        "labels with their instances, masks, stamps, poses, intrinsics and extrinsics stay\n"
        "what they are.",
        epilog=_EXAMPLES,
    )
    parser.add_argument("source", type=Path, help="a folder in KITTI layout, or a bag's folder")
    parser.add_argument("target", type=Path, help="the bag's folder, or the root of KITTI's layout")
    parser.add_argument(
        "--to", choices=["rosbag2", "kitti"], help="default: a folder becomes a bag, a bag a folder"
    )
    parser.add_argument(
        "--sequence", default="", help="of a folder: the one to read, where it has several; of a "
        "bag: the name of the one that is written (default: the bag's)"
    )  # fmt: skip
    parser.add_argument(
        "--frames", default=":",
        help="first:stop, either may be left out; those taken are numbered anew, from 0",
    )  # fmt: skip
    parser.add_argument(
        "--skip_bad", action="store_true",
        help="leave out images, masks and scans that cannot be read, instead of giving up",
    )  # fmt: skip
    parser.add_class_arguments(BagReaderConfig)
    parser.add_class_arguments(BagWriterConfig, skip={"topics"})
    return parser


if __name__ == "__main__":
    sys.exit(main())
