"""`benchmark panoramas`: panoramas of a town's map against what rays hit in the town."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from scmpr_ros.atomic_files import atomic_write, write_json
from scmpr_ros.errors import ConfigError
from scmpr_ros.evaluation.panorama_accuracy import (
    SEE_THROUGH_M,
    PanoramaAccuracy,
    Picture,
    panorama_accuracy,
)
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.lidar.accumulation import AccumulationConfig, accumulate
from scmpr_ros.lidar.panorama import RenderConfig, render_sorted
from scmpr_ros.lidar.sorted_points import SortedPoints
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import colourise
from scmpr_ros.town.drives import DriveConfig, plan_drive
from scmpr_ros.town.mesh_map import sample_mesh_map
from scmpr_ros.town.panorama_truth import StaticTown
from scmpr_ros.town.sensors.lidar import LidarConfig
from scmpr_ros.town.world import Town

_POSE_SPACING_M = 1.0
_POINTS_PER_VOXEL = 3.0  # of the perfect map: one voxel in twenty of a surface has none
_MARGIN_M = 25.0  # what scans see of the world beyond the range of the places


@dataclass(frozen=True)
class PanoramaAccuracyConfig:
    """A town, its maps and the places to compare.

    seed: of the town. places, spacing_m: on its drive. height_m: of the places over the ground.
    voxel_m: of the maps. scan_spacing_m: between the scans of the scanned map; 0 for none.
    grids: heights and widths of the panoramas.
    """

    seed: int = 11
    places: int = 6
    spacing_m: float = 12.0
    height_m: float = 1.73
    voxel_m: float = 0.1
    scan_spacing_m: float = 1.0
    max_range_m: float = 50.0
    grids: tuple[tuple[int, int], ...] = ((64, 1024), (24, 360))

    def __post_init__(self) -> None:
        if self.places < 1 or min(self.spacing_m, self.voxel_m, self.max_range_m) <= 0:
            raise ConfigError(
                f"{self.places} places every {self.spacing_m} m, voxels of {self.voxel_m} m, "
                f"ranges up to {self.max_range_m} m: all must be positive"
            )


@dataclass(frozen=True)
class MapAccuracy:
    """Accuracy of one way to render one map on one grid."""

    map: str
    grid: str
    way: str
    accuracy: PanoramaAccuracy


def run_panorama_accuracy(config: PanoramaAccuracyConfig, out: Path) -> None:
    """Make the town and its maps, compare, and print and write the results."""
    town = Town.generate(config.seed)
    static = StaticTown(town)
    drive = plan_drive(town, 0, DriveConfig(spacing_m=_POSE_SPACING_M))
    first, last = _stretch(drive, config)
    stations = np.linspace(first, last, config.places).round().astype(int)
    positions = drive[stations, :3, 3] + [0, 0, config.height_m]
    clouds = dict(_maps(static, drive, positions, config))
    ways = {
        "splats": RenderConfig(max_range_m=config.max_range_m),
        "rays": RenderConfig.fine(config.voxel_m, config.max_range_m),
    }
    results, strips = [], []
    for height, width in config.grids:
        grid = AngularGrid(height, width, 16.0, -16.0)
        truth = [static.panorama(position, grid) for position in positions]
        strips.append(truth[0].label)
        for name, cloud in clouds.items():
            points = SortedPoints.of_cloud(cloud)
            for way, render_config in ways.items():
                pictures = _render(points, positions, grid, render_config)
                accuracy = panorama_accuracy(
                    zip(pictures, truth, strict=True),
                    render_config.min_range_m,
                    config.max_range_m,
                )
                results.append(MapAccuracy(name, f"{height}x{width}", way, accuracy))
                strips.append(pictures[0][1])
    _write_picture(out / "panoramas.png", strips)
    write_json(
        out / "panoramas.json",
        {"settings": asdict(config), "results": [asdict(result) for result in results]},
    )
    console = Console()
    console.print(_table(config, results))
    console.print(f"{out / 'panoramas.json'}, {out / 'panoramas.png'}", highlight=False)


def _stretch(drive: NDArray[np.float64], config: PanoramaAccuracyConfig) -> tuple[int, int]:
    """First and last pose of the stretch of the drive, in its middle, with the places."""
    walked = np.concatenate(
        [[0], np.linalg.norm(np.diff(drive[:, :2, 3], axis=0), axis=1).cumsum()]
    )
    length = (config.places - 1) * config.spacing_m
    if length > walked[-1]:
        raise ConfigError(
            f"{config.places} places every {config.spacing_m} m do not fit on the town's drive of "
            f"{walked[-1]:.0f} m"
        )
    ends = walked[-1] / 2 + np.array([-length, length]) / 2
    first, last = np.searchsorted(walked, ends).clip(0, len(drive) - 1)
    return int(first), int(last)


def _maps(
    static: StaticTown, drive: NDArray[np.float64], positions: NDArray[np.float64],
    config: PanoramaAccuracyConfig,
) -> Iterator[tuple[str, PointCloud]]:  # fmt: skip
    """The perfect map, sampled from all surfaces, and one accumulated from scans."""
    perfect = sample_mesh_map(
        static.town, positions[:, :2], _POINTS_PER_VOXEL / config.voxel_m**2,
        config.max_range_m + 1,
    )  # fmt: skip
    voxels = AccumulationConfig(config.voxel_m, min_hits=1, min_range_m=0, max_range_m=1e6)
    yield "perfect", accumulate([(perfect, np.eye(4))], voxels)
    if config.scan_spacing_m:
        centre = positions[:, :2].mean(0)
        reach = np.linalg.norm(positions[:, :2] - centre, axis=1).max() + config.max_range_m
        near = np.linalg.norm(drive[:, :2, 3] - centre, axis=1) <= reach + _MARGIN_M
        poses = drive[near][:: max(1, round(config.scan_spacing_m / _POSE_SPACING_M))]
        scans = static.scans(poses, LidarConfig(columns=2048))
        bar = tqdm(scans, "scans", total=len(poses), unit="scan", leave=False)
        yield "scanned", accumulate(bar, AccumulationConfig(config.voxel_m, min_hits=1))


def _render(
    points: SortedPoints, positions: NDArray[np.float64], grid: AngularGrid, config: RenderConfig
) -> list[Picture]:
    """Panoramas at positions (P, 3) in the town's frame."""
    relative = torch.from_numpy(positions - points.origin).float()
    panoramas = render_sorted(points, relative, grid, config)
    return list(zip(panoramas.range_m.numpy(), panoramas.label.numpy(), strict=True))


def _write_picture(path: Path, strips: list[NDArray[np.uint8]]) -> None:
    """Classes of the first place, one strip below the other."""
    width = max(strip.shape[1] for strip in strips)
    rows = []
    for strip in strips:
        image = Image.fromarray(colourise(strip))
        height = 2 * strip.shape[0] * width // strip.shape[1]
        rows.append(np.asarray(image.resize((width, height), Image.Resampling.NEAREST)))
        rows.append(np.full((6, width, 3), 255, np.uint8))
    with atomic_write(path) as partial:
        Image.fromarray(np.vstack(rows)).save(partial, "PNG")


def _table(config: PanoramaAccuracyConfig, results: list[MapAccuracy]) -> Table:
    table = Table(
        title=f"{config.places} panoramas of maps of {100 * config.voxel_m:g} cm voxels against "
        "ray-cast truth; %",
        caption="Covered: of the cells where the truth has a surface in range. Of these, see "
        f"through: {SEE_THROUGH_M} m or more behind it; too near: as far in front; labels: the "
        "right class. Beyond: of the cells that show anything, where the truth has no surface.",
    )
    for name in ("grid", "map", "way"):
        table.add_column(name)
    for name in ("covered", "see through", "too near", "labels", "beyond"):
        table.add_column(name, justify="right")
    for result in results:
        a = result.accuracy
        shares = (a.coverage, a.see_through, a.too_near, a.labels, a.beyond)
        cells = [f"{100 * share:.1f}" for share in shares]
        table.add_row(result.grid, result.map, result.way, *cells)
    return table
