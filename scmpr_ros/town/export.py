"""Write traversals of a town in KITTI odometry layout, with labels, masks and depth."""

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
from scmpr_ros.town.compiled import SOURCES
from scmpr_ros.town.drives import DriveConfig
from scmpr_ros.town.sensors.lidar import LidarConfig
from scmpr_ros.town.sensors.rig import Rig
from scmpr_ros.town.traversal import Frame, Recording, TraversalConfig, pick_condition
from scmpr_ros.town.world import Town, TownConfig


@dataclass(frozen=True)
class TownExportConfig:
    """What is recorded in a town: sequence 00 is traversals[0], 01 is traversals[1] and so on.

    rig: "kitti" or "kitti360"; image_width, image_height: its images are scaled to this.
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
def open_recording(seed: int, config: TownExportConfig, sequence: int) -> Recording:
    """The traversal that becomes a sequence; the last one asked for is kept at hand."""
    rig = Rig.named(config.rig, (config.image_width, config.image_height))
    traversal = config.traversals[sequence]
    return Recording.plan(_town(seed, config.town), traversal, rig, config.lidar)


@dataclass(frozen=True)
class Task:
    """A run of frames of one sequence of one town, which one process writes."""

    root: Path
    seed: int
    config: TownExportConfig
    sequence: int
    frames: range

    def missing(self) -> Iterator[int]:
        """Frames that are not there yet."""
        folder = _folder(self.root, self.sequence)
        kinds = wanted_files(self.config.traversals[self.sequence])
        for frame in self.frames:
            if not all((folder / name.format(frame)).is_file() for name in kinds):
                yield frame

    def write(self) -> Iterator[int]:
        """Write the frames that are missing; yields each frame's number when it is done."""
        recording = None
        folder = _folder(self.root, self.sequence)
        for number in self.missing():
            recording = recording or open_recording(self.seed, self.config, self.sequence)
            frame = recording.frame(number, self.sequence)
            with stage("files"):
                write_frame(folder, number, frame, recording.config.depth)
            yield number


def _folder(root: Path, sequence: int) -> Path:
    return Path(root) / "sequences" / f"{sequence:02d}"


def wanted_files(config: TraversalConfig) -> list[str]:
    """What each frame of a traversal consists of, as templates below its sequence's folder."""
    images = ["image_2/{:06d}.png", "mask_2/{:06d}.png"] + ["depth_2/{:06d}.png"] * config.depth
    scans = ["velodyne/{:06d}.bin", "labels/{:06d}.label"]
    return images * config.images + scans * config.scans


def write_frame(folder: Path, number: int, frame: Frame, depth: bool) -> None:
    """Write one frame's files, each whole or not at all."""
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
    """Write calibration, poses and stamps, and say which frames are to be written.

    The tasks may be done in any order, by several processes: the bytes are the same.
    """
    root, config = Path(root), config or TownExportConfig()
    is_finished(root, seed, config)
    write_file(root / STARTED, _record(seed, config))
    tasks = []
    for sequence in range(len(config.traversals)):
        recording = open_recording(seed, config, sequence)
        folder, rig = _folder(root, sequence), recording.rig
        write_calibration(folder, rig.projections, rig.T_cam0_lidar)
        poses = root / "poses" / f"{sequence:02d}.txt"
        write_poses(poses, recording.T_world_lidar, rig.T_cam0_lidar)
        write_times(folder, recording.stamps_s)
        starts = range(0, len(recording), chunk)
        tasks += [Task(root, seed, config, sequence, range(s, min(s + chunk, len(recording))))
                  for s in starts]  # fmt: skip
    return tasks


def describe_conditions(seed: int, config: TownExportConfig) -> list[str]:
    """The condition and season of each sequence, e.g. "night/winter"."""
    drawn = [pick_condition(seed, traversal) for traversal in config.traversals]
    return [f"{condition.name}/{condition.season}" for condition in drawn]


def is_finished(root: Path, seed: int, config: TownExportConfig) -> bool:
    """Whether a town is complete.

    Raises DatasetError where the folder holds a town, or the beginnings of one, that was made with
    other settings or by another version: its frames must not be mixed with those of this one.
    """
    for name in (RECORD, STARTED):
        path = Path(root) / name
        if path.is_file() and path.read_bytes() != _record(seed, config):
            raise DatasetError(
                f"{root} holds a town that was made with other settings or by another version "
                f"(see {path}): remove it, or name another folder"
            )
    return (Path(root) / RECORD).is_file()


def finish_export(root: Path, seed: int, config: TownExportConfig) -> None:
    """Write down how the town was made; to be called when all tasks are done."""
    write_file(Path(root) / RECORD, _record(seed, config))
    (Path(root) / STARTED).unlink(missing_ok=True)


def _record(seed: int, config: TownExportConfig) -> bytes:
    record = {
        "version": __version__, "sources": SOURCES, "seed": seed,
        "conditions": describe_conditions(seed, config), "config": _plain(asdict(config)),
    }  # fmt: skip
    return yaml.safe_dump(record, sort_keys=False).encode()


def export_town(
    root: Path, seed: int, config: TownExportConfig | None = None
) -> Iterator[tuple[int, int]]:
    """Write the drives of a town under `root`, in this process; yields (written now, in all).

    A generator: nothing is written unless it is iterated. `finish_export` comes after it.
    """
    config = config or TownExportConfig()
    tasks: Sequence[Task] = plan_export(root, seed, config)
    total, done = sum(len(t.frames) for t in tasks), 0
    for task in tasks:
        for _ in task.write():
            done += 1
            yield done, total


def _plain(value: object) -> object:
    """Tuples to lists and paths to text, so that YAML stays safe."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, Path):
        return str(value)
    return [_plain(v) for v in value] if isinstance(value, (tuple, list)) else value
