"""Export of a town's traversals in KITTI odometry layout, with labels, masks and depth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path

import yaml

from scmpr_ros import __version__
from scmpr_ros.atomic_files import write_file
from scmpr_ros.datasets.kitti.writer import (
    write_calibration,
    write_depth,
    write_image,
    write_mask,
    write_poses,
    write_scan,
    write_times,
)
from scmpr_ros.datasets.town_files import RECORD, STARTED
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.stages import stage
from scmpr_ros.town.compiled import sources_digest
from scmpr_ros.town.drives import DriveConfig
from scmpr_ros.town.sensors.lidar import LidarConfig
from scmpr_ros.town.sensors.rig import Rig
from scmpr_ros.town.traversal import Frame, Traversal, TraversalConfig, pick_condition
from scmpr_ros.town.world import Town, TownConfig


@dataclass(frozen=True)
class TownExportConfig:
    """What to record in a town: sequence 00 is traversals[0], 01 is traversals[1] and so on.

    rig: "kitti" or "kitti360". image_width, image_height: size in pixels to scale its images to.
    """

    rig: str = "kitti"
    image_width: int = 372
    image_height: int = 113
    town: TownConfig = field(default_factory=TownConfig)
    lidar: LidarConfig = field(default_factory=lambda: LidarConfig(rings=32, columns=1024))
    traversals: tuple[TraversalConfig, ...] = field(
        default_factory=lambda: (
            TraversalConfig(traversal=0, images=False, drive=DriveConfig(spacing_m=1.5)),
            TraversalConfig(traversal=1, scans=False, drive=DriveConfig(spacing_m=2.0)),
        )
    )

    def __post_init__(self) -> None:
        if min(self.image_width, self.image_height) < 16:
            raise ConfigError(
                f"images of {self.image_width}x{self.image_height} pixels show nothing: at least "
                "16x16"
            )
        Rig.named(self.rig)


@lru_cache(maxsize=1)
def _town(seed: int, config: TownConfig) -> Town:
    return Town.generate(seed, config)


@lru_cache(maxsize=1)
def open_traversal(seed: int, config: TownExportConfig, sequence: int) -> Traversal:
    """The traversal that becomes a sequence; the latest one is cached."""
    rig = Rig.named(config.rig, (config.image_width, config.image_height))
    return Traversal.plan(_town(seed, config.town), config.traversals[sequence], rig, config.lidar)


@dataclass(frozen=True)
class Task:
    """Consecutive frames of one sequence of one town, for one process to write."""

    root: Path
    seed: int
    config: TownExportConfig
    sequence: int
    frames: range

    def missing(self) -> Iterator[int]:
        """Frames of which a file is missing."""
        folder = _folder(self.root, self.sequence)
        templates = frame_files(self.config.traversals[self.sequence])
        for frame in self.frames:
            if not all((folder / name.format(frame)).is_file() for name in templates):
                yield frame

    def write(self) -> Iterator[int]:
        """Write the missing frames; yields the number of each one written."""
        traversal = None
        folder = _folder(self.root, self.sequence)
        for number in self.missing():
            traversal = traversal or open_traversal(self.seed, self.config, self.sequence)
            frame = traversal.frame(number, self.sequence)
            with stage("files"):
                write_frame(folder, number, frame, traversal.config.depth)
            yield number


def _folder(root: Path, sequence: int) -> Path:
    return Path(root) / "sequences" / f"{sequence:02d}"


def frame_files(config: TraversalConfig) -> list[str]:
    """Files of each frame of a traversal, as templates relative to the sequence's folder."""
    images = ["image_2/{:06d}.png", "mask_2/{:06d}.png"] + ["depth_2/{:06d}.png"] * config.depth
    scans = ["velodyne/{:06d}.bin", "labels/{:06d}.label"]
    return images * config.images + scans * config.scans


def write_frame(folder: Path, number: int, frame: Frame, depth: bool) -> None:
    """Write one frame's files, each atomically."""
    if frame.image is not None:
        write_image(folder, number, frame.image.rgb)
        write_mask(folder, number, frame.image.mask)
        if depth:
            write_depth(folder, number, frame.image.depth)
    if frame.scan is not None:
        write_scan(folder, number, frame.scan)


def plan_export(
    root: Path, seed: int, config: TownExportConfig | None = None, chunk: int = 40
) -> list[Task]:
    """Write calibration, poses and stamps, and return the tasks that write the frames.

    Tasks may run in any order and in several processes; the bytes are the same.
    """
    root, config = Path(root), config or TownExportConfig()
    is_finished(root, seed, config)
    write_file(root / STARTED, _record(seed, config))
    tasks = []
    for sequence in range(len(config.traversals)):
        traversal = open_traversal(seed, config, sequence)
        folder, rig = _folder(root, sequence), traversal.rig
        write_calibration(folder, rig.projections, rig.T_cam0_lidar)
        poses = root / "poses" / f"{sequence:02d}.txt"
        write_poses(poses, traversal.T_world_lidar, rig.T_cam0_lidar)
        write_times(folder, traversal.stamps_s)
        starts = range(0, len(traversal), chunk)
        tasks += [Task(root, seed, config, sequence, range(s, min(s + chunk, len(traversal))))
                  for s in starts]  # fmt: skip
    return tasks


def describe_conditions(seed: int, config: TownExportConfig) -> list[str]:
    """Condition and season of each sequence, e.g. "night/winter"."""
    conditions = [pick_condition(seed, traversal) for traversal in config.traversals]
    return [f"{condition.name}/{condition.season}" for condition in conditions]


def is_finished(root: Path, seed: int, config: TownExportConfig) -> bool:
    """Whether the folder holds this town, complete.

    Raises DatasetError if it holds a town, finished or not, that was made with other settings or by
    another version: frames of the two must not be mixed.
    """
    for name in (RECORD, STARTED):
        path = Path(root) / name
        if path.is_file() and path.read_bytes() != _record(seed, config):
            raise DatasetError(
                f"{root} holds a town made with other settings or by another version "
                f"(see {path}): remove it, or choose another folder"
            )
    return (Path(root) / RECORD).is_file()


def finish_export(root: Path, seed: int, config: TownExportConfig) -> None:
    """Record how the town was made. Call it when all tasks are done."""
    write_file(Path(root) / RECORD, _record(seed, config))
    (Path(root) / STARTED).unlink(missing_ok=True)


def _record(seed: int, config: TownExportConfig) -> bytes:
    record = {
        "version": __version__, "sources": sources_digest(), "seed": seed,
        "conditions": describe_conditions(seed, config), "config": _plain(asdict(config)),
    }  # fmt: skip
    return yaml.safe_dump(record, sort_keys=False).encode()


def export_town(
    root: Path, seed: int, config: TownExportConfig | None = None
) -> Iterator[tuple[int, int]]:
    """Write all traversals of a town in this process; yields (frames done, total).

    A generator: nothing is written until it is iterated. Call `finish_export` afterwards.
    """
    config = config or TownExportConfig()
    tasks: Sequence[Task] = plan_export(root, seed, config)
    total, done = sum(len(t.frames) for t in tasks), 0
    for task in tasks:
        for _ in task.write():
            done += 1
            yield done, total


def _plain(value: object) -> object:
    """Convert tuples to lists and paths to text, for safe YAML."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, Path):
        return str(value)
    return [_plain(v) for v in value] if isinstance(value, (tuple, list)) else value
