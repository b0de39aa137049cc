"""Benchmark of recording towns: frames per second, and the cost of each stage of a frame."""

from __future__ import annotations

import shutil
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from scmpr_ros.errors import ConfigError
from scmpr_ros.process_pool import process_pool
from scmpr_ros.stages import StageTimes, recording_stages
from scmpr_ros.town.export import Task, TownExportConfig
from scmpr_ros.town.extras import check_extras
from scmpr_ros.town.sensors.lidar import LidarConfig
from scmpr_ros.town.traversal import TraversalConfig


@dataclass(frozen=True)
class TownBenchmarkConfig:
    """What to time.

    frames: frames that each process records per size and condition, in sequence as in a task of
    `make_town`; each process takes another part of the drive. processes: number of processes that
    work at the same time. seed: seed of the town. conditions: conditions to time one after another.
    """

    frames: int = 40
    processes: int = 2
    seed: int = 7
    conditions: tuple[str, ...] = ("clear", "overcast", "night", "rain")

    def __post_init__(self) -> None:
        if not 1 <= self.frames <= 200 or not 1 <= self.processes <= 16 or self.seed < 0:
            raise ConfigError(
                f"frames {self.frames}, processes {self.processes}, seed {self.seed}: expected 1 "
                "to 200, 1 to 16, and 0 or more"
            )
        for condition in self.conditions:
            TraversalConfig(condition=condition)


@dataclass(frozen=True)
class TownSize:
    """Resolution of images (width, height) and scans (rings, columns), and the target rate on two
    cores."""

    name: str
    image: tuple[int, int]
    lidar: tuple[int, int]
    wanted_per_s: float


SIZES = (
    TownSize("1241x376 + 64x2048", (1241, 376), (64, 2048), 3.0),
    TownSize("320x96 + 32x512", (320, 96), (32, 512), 30.0),
)


@dataclass(frozen=True)
class TownTiming:
    """Timing of one size in one condition. A frame is files of image, mask, depth, scan and labels.

    wanted_per_s: target rate. frames_per_s: rate of all processes together, one-off costs excluded.
    stages_ms: milliseconds per frame in one process, by stage. once_s: seconds to the first frame
    of a process: compiling, generating the town unless cached, and building its scene.
    """

    size: str
    wanted_per_s: float
    condition: str
    frames_per_s: float
    stages_ms: dict[str, float]
    once_s: float


def benchmark_towns(config: TownBenchmarkConfig) -> list[TownTiming]:
    """Time all sizes and conditions, with all processes at work at once as in `make_town`."""
    check_extras()
    timings = []
    with process_pool(config.processes) as pool:
        for size in SIZES:
            for condition in config.conditions:
                with tempfile.TemporaryDirectory() as folder:
                    timings.append(_time(pool, Path(folder), size, condition, config))
    return timings


def _time(
    pool: ProcessPoolExecutor, folder: Path, size: TownSize, condition: str,
    config: TownBenchmarkConfig,
) -> TownTiming:  # fmt: skip
    export = TownExportConfig(
        image_width=size.image[0], image_height=size.image[1],
        lidar=LidarConfig(rings=size.lidar[0], columns=size.lidar[1]),
        traversals=(TraversalConfig(depth=True, condition=condition, season="summer"),),
    )  # fmt: skip
    starts = [1 + 300 * i // config.processes for i in range(config.processes)]
    tasks = [Task(folder / str(i), config.seed, export, 0, range(start, start + config.frames))
             for i, start in enumerate(starts)]  # fmt: skip
    results = list(pool.map(time_task, tasks))
    rate = sum(config.frames / seconds for _, seconds, _ in results)
    stages = [times for _, _, times in results]
    names = dict.fromkeys(name for s in stages for name in s)
    mean = {name: sum(s.get(name, 0.0) for s in stages) / len(stages) for name in names}
    return TownTiming(
        size.name,
        size.wanted_per_s,
        condition,
        rate,
        mean,
        sum(r[0] for r in results) / len(results),
    )


def time_task(task: Task) -> tuple[float, float, dict[str, float]]:
    """Write a task's frames; returns seconds to prepare, seconds for all frames, and milliseconds
    per frame by stage."""
    began_s = time.perf_counter()
    warm_up = replace(task, root=task.root / "warm-up", frames=task.frames[:1])
    for _ in warm_up.write():
        pass
    once_s = time.perf_counter() - began_s
    times = StageTimes()
    began_s = time.perf_counter()
    with recording_stages(times):
        for _ in task.write():
            pass
    seconds = time.perf_counter() - began_s
    shutil.rmtree(task.root, ignore_errors=True)
    count = len(task.frames)
    stages = {name: 1000 * s / count for name, s in times.seconds.items()}
    return once_s, seconds, {**stages, "whole frame": 1000 * seconds / count}
