"""Contact sheet of a recording: images, masks, panoramas of its map, and the map from above."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from scmpr_ros.datasets.drive import Drive
from scmpr_ros.datasets.recordings import open_drives
from scmpr_ros.errors import DatasetError
from scmpr_ros.evaluation.figures import FAINT, INK, new_figure, save_figure
from scmpr_ros.evaluation.map_view import view_from_above
from scmpr_ros.geometry import AngularGrid, body_axes
from scmpr_ros.lidar.map_rendering import render_map
from scmpr_ros.lidar.panorama import RenderConfig
from scmpr_ros.lidar.point_cloud_map import PointCloudMap
from scmpr_ros.lidar.sorted_points import SortedPoints
from scmpr_ros.pipeline.map_points import load_point_cloud_map
from scmpr_ros.pipeline.map_source import MapSourceConfig
from scmpr_ros.semantics import colourise

_COLUMNS = 3
_WIDTH = 620
_GRID = AngularGrid(48, 960, 15.0, -25.0)


def draw_contact_sheet(folder: Path, path: Path, captions: Mapping[str, str] | None = None) -> None:
    """Draw images and masks of each drive, panoramas of the first, and the map from above.

    captions: title of each drive, by its name; the name by default.

    Raises DatasetError if the folder has no images.
    """
    drives = [drive for drive in open_drives(folder) if len(drive.image_frames)]
    if not drives:
        raise DatasetError(f"{folder} has no images to show")
    point_map = load_point_cloud_map(folder, MapSourceConfig())
    captions = captions or {}
    strips = [(captions.get(drive.name, drive.name), _strip(drive, point_map, i == 0))
              for i, drive in enumerate(drives)]  # fmt: skip
    heights = [strip.shape[0] / strip.shape[1] * 13 + 0.35 for _, strip in strips]
    figure = new_figure(13.4, sum(heights) + 9.6)
    grid = figure.add_gridspec(
        len(strips) + 1, 1, height_ratios=[*heights, 9.2], left=0.015, right=0.985, top=0.985,
        bottom=0.01, hspace=0.06,
    )  # fmt: skip
    for row, (name, strip) in enumerate(strips):
        axes = figure.add_subplot(grid[row])
        axes.imshow(strip)
        axes.set_title(name, loc="left", fontsize=11, color=INK, pad=3)
        axes.axis("off")
    _draw_map(figure.add_subplot(grid[len(strips)]), point_map, drives)
    save_figure(figure, path)


def _strip(drive: Drive, point_map: PointCloudMap, with_panoramas: bool) -> NDArray[np.uint8]:
    """Images of a drive side by side above their masks and, on request, panoramas of the map."""
    frames = drive.image_frames
    picks = [frames[int((i + 0.5) * len(frames) / _COLUMNS)] for i in range(_COLUMNS)]
    rows = [[_fit(drive.image(f)) for f in picks]]
    masks = [drive.mask(f) for f in picks]
    if all(mask is not None for mask in masks):
        rows.append(
            [_fit(colourise(mask), cv2.INTER_NEAREST) for mask in masks if mask is not None]
        )
    if with_panoramas:
        points = SortedPoints.of_cloud(point_map.cloud)
        rows += [list(row) for row in zip(*(_panorama(drive, f, points) for f in picks),
                                          strict=True)]  # fmt: skip
    return np.vstack([np.hstack(row) for row in rows])


def _fit(pixels: NDArray[np.uint8], interpolation: int = cv2.INTER_AREA) -> NDArray[np.uint8]:
    height = round(pixels.shape[0] * _WIDTH / pixels.shape[1])
    return np.asarray(cv2.resize(pixels, (_WIDTH, height), interpolation=interpolation), np.uint8)


def _panorama(
    drive: Drive, frame: int, points: SortedPoints
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Ranges and classes of the map around an image's place, centred on the car's heading."""
    T = drive.T_world_camera(frame)
    panorama = render_map(
        points, T[None, :3, 3] - points.origin, body_axes(T)[None], _GRID, RenderConfig.max_range_m
    )
    label, range_m = panorama.label[0].numpy(), panorama.range_m[0].numpy()
    grey = np.where(range_m > 0, 255 * np.exp(-range_m / 18), 0).astype(np.uint8)
    rgb = np.repeat(grey[..., None], 3, -1), colourise(label)
    tall = [np.repeat(pixels, 2, axis=0) for pixels in rgb]
    return _fit(tall[0]), _fit(tall[1], cv2.INTER_NEAREST)


def _draw_map(axes: Axes, point_map: PointCloudMap, drives: list[Drive]) -> None:
    cloud = point_map.cloud
    low, high = np.percentile(cloud.xyz[:, :2], (0.5, 99.5), axis=0) + cloud.origin[:2]
    view = view_from_above(cloud, (low + high) / 2, float((high - low).max() / 2) + 5, 1400)
    axes.imshow(view.rgb, extent=view.extent_m)
    for drive in drives:
        path = np.stack([drive.T_world_camera(f)[:2, 3] for f in drive.image_frames])
        axes.plot(*path.T, linewidth=1.4, label=drive.name)
    axes.legend(loc="upper right", fontsize=8, frameon=False, labelcolor=FAINT)
    axes.set_title(f"the map: {len(cloud):,} static points", loc="left", fontsize=11, color=INK)
    axes.axis("off")
