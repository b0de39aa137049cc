"""`convert`: convert between KITTI layouts and rosbag2, without ROS."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace, set_parsing_settings

from scmpr_ros.cli.console import run_command, show_log
from scmpr_ros.datasets.bags.options import BagReaderConfig
from scmpr_ros.datasets.bags.writer import BagWriterConfig, write_drive_bag
from scmpr_ros.datasets.drive import Drive
from scmpr_ros.datasets.drive_frames import DriveFrames, FrameChoice
from scmpr_ros.datasets.kitti.writer import write_drive_kitti
from scmpr_ros.datasets.recordings import is_bag, open_drives
from scmpr_ros.errors import ConfigError

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
    convert bags/robot kitti/robot --bag.topics.image /cam/image_rect \\
        --bag.topics.points /lidar/points --bag.topics.pose /slam/pose \\
        --bag.T_lidar_camera "[0,0,1,0.1, -1,0,0,0, 0,-1,0,-0.2]"
  a bag of ROS 1, its options in a file:
    convert robot.bag kitti/robot --bag robot.yaml
  a bag with SemanticKITTI labels but no label set in its metadata:
    convert bags/labelled kitti/labelled --bag.label_set semantickitti
"""


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the console script."""
    parser = _parser()
    options = parser.parse_args(arguments)
    show_log()
    return run_command(
        "convert", lambda: print(convert(parser.instantiate(options))), "nothing was written"
    )


def convert(options: Namespace) -> str:
    """Convert according to the options; return a summary."""
    start_s, source, target = time.monotonic(), options.source, options.target
    from_bag = is_bag(source)
    drives = _open(source, options.bag, options.sequence)
    is_single = from_bag and len(drives) == 1  # then --sequence is the name to write
    drive = drives[0] if is_single else _select(drives, source, options.sequence)
    choice = _parse_frames(options.frames, options.skip_bad)
    if (options.to or ("kitti" if from_bag else "rosbag2")) == "rosbag2":
        config = _writer_config(options)
        frames = write_drive_bag(drive, target, config, progress=True, choice=choice)
        return _summary(frames, target, time.monotonic() - start_s)
    name = options.sequence or drive.name
    frames = write_drive_kitti(drive, target, name, progress=True, choice=choice)
    return _summary(frames, target / "sequences" / name, time.monotonic() - start_s)


def _open(source: Path, bag: BagReaderConfig, name: str) -> Sequence[Drive]:
    """Open the named drive of a recording, or all of them; of a bag `name` is what to write."""
    return open_drives(source, "" if is_bag(source) else name, bag)


def _select(drives: Sequence[Drive], source: Path, name: str) -> Drive:
    names = [drive.name for drive in drives]
    if name in names or (len(drives) == 1 and not name):
        return drives[names.index(name) if name else 0]
    found = f"has no sequence {name!r}" if name else "has several sequences"
    raise ConfigError(f"{source} {found}: choose one of {', '.join(names)} with --sequence")


def _writer_config(options: Namespace) -> BagWriterConfig:
    """Build the config from the options named like its fields; topics are those of a bag."""
    given = {f.name: options[f.name] for f in fields(BagWriterConfig) if f.name != "topics"}
    return BagWriterConfig(topics=options.bag.topics, **given)


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
    parser.add_argument(
        "source", type=Path, help="folder in a KITTI layout, or a bag (rosbag2, ROS 1)"
    )
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
    parser.add_class_arguments(BagReaderConfig, "bag")
    parser.add_class_arguments(BagWriterConfig, skip={"topics"})
    return parser


if __name__ == "__main__":
    sys.exit(main())
