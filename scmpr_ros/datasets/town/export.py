"""Write drives of a town in KITTI odometry layout, with SemanticKITTI labels and image masks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from scmpr_ros.datasets.town.drives import DriveConfig, plan_drive
from scmpr_ros.datasets.town.sensors.camera import RenderedImage, render_image
from scmpr_ros.datasets.town.sensors.conditions import CONDITIONS, Condition, draw_condition
from scmpr_ros.datasets.town.sensors.lidar import LidarConfig, simulate_scan
from scmpr_ros.datasets.town.sensors.rig import Rig
from scmpr_ros.datasets.town.sensors.scene import Scene
from scmpr_ros.datasets.town.world import Town, TownConfig, stream
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.geometry import invert
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import colourise, from_joint

Array = NDArray[np.float64]

SPEED_M_S = 8.0


@dataclass(frozen=True)
class TraversalConfig:
    """One drive through the town: what it records, and in which light.

    traversal: numbers the traffic and the place in the lane; sequences of one town with the same
    traversal meet the same cars. condition: one of `CONDITIONS`, or `any` to draw one by the seed.
    """

    traversal: int = 0
    images: bool = True
    scans: bool = True
    condition: str = "any"
    drive: DriveConfig = field(default_factory=DriveConfig)

    def __post_init__(self) -> None:
        if self.condition not in (*CONDITIONS, "any"):
            raise ConfigError(f"condition {self.condition!r}: expected any or one of {CONDITIONS}")


@dataclass(frozen=True)
class TownExportConfig:
    """What `export_town` writes: sequence 00 is traversals[0], 01 is traversals[1] and so on."""

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


def export_town(
    root: Path, seed: int, config: TownExportConfig | None = None
) -> Iterator[tuple[int, int]]:
    """Write the town of a seed under `root`, frame by frame; yields (frames done, frames in all).

    A generator: nothing is written unless it is iterated. `town.yaml` is written last, so its
    presence says that the export is complete.
    """
    config = config or TownExportConfig()
    root = Path(root)
    town = Town.generate(seed, config.town)
    rig = Rig.kitti((config.image_width, config.image_height))
    drives = [plan_drive(town, t.traversal, t.drive) for t in config.traversals]
    total, done = sum(len(d) for d in drives), 0
    conditions = []
    for number, (traversal, poses) in enumerate(zip(config.traversals, drives, strict=True)):
        condition = pick_condition(seed, traversal)
        conditions.append(condition.name)
        scene = town.scene(traversal.traversal, poses[:, :2, 3])
        for _ in export_drive(root, f"{number:02d}", scene, poses, rig, traversal, condition,
                              config.lidar, seed):  # fmt: skip
            done += 1
            yield done, total
        del scene
    record = {"seed": seed, "conditions": conditions, "config": _plain(asdict(config))}
    _replace(root / "town.yaml", yaml.safe_dump(record, sort_keys=False).encode())


def _plain(value: object) -> object:
    """Tuples to lists, so that YAML stays safe."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (tuple, list)) else value


def pick_condition(seed: int, traversal: TraversalConfig) -> Condition:
    """The light of a traversal: the condition that was asked for, or one drawn by the seed."""
    rng = stream(seed, "condition", traversal.traversal)
    name = str(rng.choice(CONDITIONS, p=(0.65, 0.25, 0.10)))
    return draw_condition(name if traversal.condition == "any" else traversal.condition, rng)


def export_drive(
    root: Path, sequence: str, scene: Scene, poses: Array, rig: Rig, traversal: TraversalConfig,
    condition: Condition, lidar: LidarConfig, seed: int,
) -> Iterator[int]:  # fmt: skip
    """Write one sequence of `T_world_base` poses (N, 4, 4); yields each frame's number when done.

    Poses are written in a frame common to all sequences of the town: T_i = Tr T_world_lidar Tr^-1,
    so that readers that undo this (T_world_lidar = Tr^-1 T_i Tr) find the town's own z-up frame.
    Every frame draws its noise from a stream of its own: frames may be rendered in any order.
    """
    folder = Path(root) / "sequences" / sequence
    wanted = ("image_2", "mask_2") * traversal.images + ("velodyne", "labels") * traversal.scans
    for name in wanted:
        (folder / name).mkdir(parents=True, exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / "calib.txt", rig.calibration_text().encode())
    Tr, Tr_inverse = rig.T_cam0_lidar, invert(rig.T_cam0_lidar)
    T_world_lidar = poses @ rig.T_base_lidar
    _write_poses(Path(root) / "poses" / f"{sequence}.txt", Tr @ T_world_lidar @ Tr_inverse)
    stamps = np.arange(len(poses)) * traversal.drive.spacing_m / SPEED_M_S
    _replace(folder / "times.txt", "".join(f"{t:.6e}\n" for t in stamps).encode())
    for frame, T_world_base in enumerate(poses):
        rng = stream(seed, "frame", int(sequence), frame)
        if traversal.images:
            T = T_world_base @ rig.T_base_camera
            write_image(folder, frame, render_image(scene, rig.camera, T, condition, rng))
        if traversal.scans:
            write_scan(folder, frame, simulate_scan(scene, T_world_lidar[frame], lidar, rng))
        yield frame


def write_image(folder: Path, frame: int, image: RenderedImage) -> None:
    """Write image_2/%06d.png and mask_2/%06d.png (Cityscapes label ids)."""
    mask = from_joint(image.mask, "cityscapes").astype(np.uint8)
    for name, pixels in (("image_2", image.rgb[..., ::-1]), ("mask_2", mask)):
        ok, data = cv2.imencode(".png", np.ascontiguousarray(pixels))
        if not ok:
            raise DatasetError(f"could not encode {name} of frame {frame} as PNG")
        _replace(folder / name / f"{frame:06d}.png", data.tobytes())


def write_scan(folder: Path, frame: int, scan: PointCloud) -> None:
    """Write velodyne/%06d.bin (x, y, z, intensity) and labels/%06d.label (SemanticKITTI ids)."""
    if scan.label is None or scan.intensity is None:
        raise DatasetError(f"scan {frame} for {folder} lacks labels or intensity")
    table = np.column_stack([scan.xyz, scan.intensity]).astype("<f4")
    _replace(folder / "velodyne" / f"{frame:06d}.bin", table.tobytes())
    labels = from_joint(scan.label, "semantickitti").astype("<u4")
    _replace(folder / "labels" / f"{frame:06d}.label", labels.tobytes())


def _write_poses(path: Path, T: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = T[:, :3].reshape(-1, 12)
    _replace(path, "".join(" ".join(f"{v:.9e}" for v in row) + "\n" for row in rows).encode())


def _replace(path: Path, data: bytes) -> None:
    """Write under a temporary name, then rename: a file that exists is whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(data)
    os.replace(temporary, path)


def contact_sheet(
    seed: int, config: TownExportConfig | None = None, columns: int = 4, rows: int = 4
) -> NDArray[np.uint8]:
    """Images of a town above their masks, (2 rows * height, columns * width, 3) uint8 RGB.

    Pictures are spread over the drive, one row for each condition in turn.
    """
    config = config or TownExportConfig()
    town = Town.generate(seed, config.town)
    rig = Rig.kitti((config.image_width, config.image_height))
    poses = plan_drive(town, 0)
    scene = town.scene(0, poses[:, :2, 3])
    picks = np.linspace(0, len(poses) - 1, rows * columns).astype(int).reshape(rows, columns)
    lines = []
    for row in range(rows):
        rng = stream(seed, "contact sheet", row)
        condition = draw_condition(CONDITIONS[row % len(CONDITIONS)], rng)
        shots = [
            render_image(scene, rig.camera, poses[i] @ rig.T_base_camera, condition, rng)
            for i in picks[row]
        ]
        lines += [np.hstack([s.rgb for s in shots]), np.hstack([colourise(s.mask) for s in shots])]
    return np.vstack(lines)
