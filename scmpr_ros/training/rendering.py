"""Render what training needs of a recording: its images as views, its map as panoramas."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scmpr_ros.datasets.bags.options import BagReaderConfig
from scmpr_ros.datasets.drive import Drive, FrameReader
from scmpr_ros.datasets.recordings import open_drives
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.geometry import R_BODY_OPTICAL, make_transform
from scmpr_ros.lidar.ground import ground_aligned_axes
from scmpr_ros.lidar.map_rendering import render_camera_view, render_map
from scmpr_ros.lidar.places import PlacesConfig, place_positions
from scmpr_ros.lidar.point_cloud_map import PointCloudMap
from scmpr_ros.lidar.sorted_points import SortedPoints
from scmpr_ros.methods.network import PlaceNetworkConfig
from scmpr_ros.networks.view import ViewSampler
from scmpr_ros.pipeline.label_free_map import load_label_free_map
from scmpr_ros.pipeline.map_points import LabelledCloud, load_labelled_cloud
from scmpr_ros.pipeline.map_source import MapSourceConfig, makes_map
from scmpr_ros.records import Mount, PointCloud
from scmpr_ros.semantics import IGNORE

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparationConfig:
    """How a recording is prepared.

    place_spacing_m: distance between places along the mapping drive.
    place_jitter_m: largest random offset of a place along x and y, so that no image was taken
        exactly at a place.
    seed: of these offsets.
    skip_bad: skip damaged images, masks and scans with a warning, instead of stopping.
    mount: how the camera is mounted on the vehicle; its roll and pitch level the images.
    min_label_confidence: where a map's classes come from geometry and serve as masks, those less
        probable than this are left out.
    """

    place_spacing_m: float = 1.5
    place_jitter_m: float = 0.7
    seed: int = 0
    skip_bad: bool = False
    mount: Mount = field(default_factory=Mount)
    min_label_confidence: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.min_label_confidence < 1:
            raise ConfigError(
                f"min_label_confidence is {self.min_label_confidence}; it must lie in [0, 1)"
            )
        if self.place_spacing_m <= 0 or self.place_jitter_m <= 0:
            raise ConfigError("place_spacing_m and place_jitter_m must be positive")


def render_recording(
    folder: Path,
    drive: str,
    bag: BagReaderConfig,
    network: PlaceNetworkConfig,
    config: PreparationConfig,
) -> dict[str, Tensor]:
    """Tensors of a recording, or of one of its drives, by their names in a prepared file.

    These are the names in `PreparedRecording`; those of panoramas are `panorama.range_m` and so on.
    `segmented` is left out if the map has no labels of its own, as it would equal `panorama`.
    """
    drives = open_drives(folder, drive, bag)
    mapping = [drive for drive in drives if makes_map(drive)]
    queries = [drive for drive in drives if len(drive.image_frames)]
    if not mapping or not queries:
        raise DatasetError(
            f"{folder}: training needs one drive with scans (the mapping drive) and one with "
            f"images; found {len(mapping)} and {len(queries)}"
        )
    source = MapSourceConfig(sequence=mapping[0].name, skip_bad=config.skip_bad, bag=bag)
    labelled = load_labelled_cloud(folder, source)
    point_map = labelled.static_map()
    mask_source = _mask_source(labelled, config.min_label_confidence)
    label_free = load_label_free_map(folder, source, point_map)
    return {
        **_render_views(queries, point_map, mask_source, network, config),
        **_render_places(
            point_map, None if label_free is None else label_free.static, network, config
        ),
    }


def _render_places(
    point_map: PointCloudMap, label_free: PointCloudMap | None, network: PlaceNetworkConfig,
    config: PreparationConfig,
) -> dict[str, Tensor]:  # fmt: skip
    spacing = PlacesConfig(spacing_m=config.place_spacing_m)
    positions = place_positions(point_map, spacing).positions
    rng = np.random.default_rng(config.seed)
    positions[:, :2] += rng.uniform(-1, 1, (len(positions), 2)) * config.place_jitter_m
    origin = point_map.cloud.origin
    axes = ground_aligned_axes(point_map.cloud.xyz, positions)
    tensors = {"positions": torch.from_numpy(positions + origin), "axes": torch.from_numpy(axes)}
    for name, rendered in (("panorama", point_map), ("segmented", label_free)):
        if rendered is not None:
            relative = positions + (origin - rendered.cloud.origin)
            panoramas = render_map(
                SortedPoints.of_cloud(rendered.cloud),
                relative,
                axes,
                network.panorama,
                network.max_range_m,
            )
            tensors |= {
                f"{name}.{key}": value.half() if value.is_floating_point() else value
                for key, value in vars(panoramas).items()
            }
    return tensors


def _mask_source(labelled: LabelledCloud, min_confidence: float) -> PointCloud | None:
    """Points whose classes serve as masks if they come from geometry; None if they do not.

    Parked vehicles hide what the image does not show either, so they stay. Points with an uncertain
    class hide others, but have no class.
    """
    cloud = labelled.cloud
    if labelled.confidence is None or cloud.label is None:
        return None
    certain = labelled.confidence >= min_confidence
    return replace(cloud, label=np.where(certain, cloud.label, IGNORE).astype(np.uint8))


def _render_views(
    drives: list[Drive], point_map: PointCloudMap, mask_source: PointCloud | None,
    network: PlaceNetworkConfig, config: PreparationConfig,
) -> dict[str, Tensor]:  # fmt: skip
    points = SortedPoints.of_cloud(point_map.cloud)
    masking = None if mask_source is None else SortedPoints.of_cloud(mask_source)
    of_drives = [_render_drive(drive, points, masking, network, config) for drive in drives]
    counts = torch.tensor([len(tensors["views"]) for tensors in of_drives])
    joined = {name: torch.cat([drive[name] for drive in of_drives]) for name in of_drives[0]}
    return {**joined, "camera": torch.repeat_interleave(torch.arange(len(drives)), counts)}


def _render_drive(
    drive: Drive, points: SortedPoints, mask_source: SortedPoints | None,
    network: PlaceNetworkConfig, config: PreparationConfig,
) -> dict[str, Tensor]:  # fmt: skip
    """Views of one drive.

    Without masks and labelled points, the map's classes as seen from the camera serve as masks:
    sparse, and without objects that are not in the map.

    mask_source: see `_mask_source`.
    """
    R_level_camera = config.mount.R_level_camera
    view = ViewSampler.of(drive.camera, network.view, R_level_camera)
    cells = ViewSampler.of(drive.camera, network.mask_grid, R_level_camera)
    has_masks = drive.mask(drive.image_frames[0]) is not None

    def read(frame: int) -> tuple[Tensor, NDArray[np.uint8] | None]:
        mask = drive.mask(frame)
        if has_masks and mask is None:
            raise DatasetError(f"{drive.name}: frame {frame} has no mask, unlike other frames")
        return torch.from_numpy(drive.image(frame)), mask

    rows = []
    for frame, (image, mask) in FrameReader(drive.image_frames, read, config.skip_bad):
        sampled = view.image(image.permute(2, 0, 1)[None].float() / 255)[0]
        T_map_camera = drive.T_world_camera(frame)
        labels, range_m, axes = render_camera_view(
            points, T_map_camera, R_level_camera, network.mask_grid, network.max_range_m
        )
        if mask is not None:
            labels = cells.labels(torch.from_numpy(mask)[None])[0]
        elif mask_source is not None:
            labels, _, _ = render_camera_view(
                mask_source, T_map_camera, R_level_camera, network.mask_grid, network.max_range_m
            )
        labels = labels * cells.seen
        if mask is None and not (labels != IGNORE).any():
            _log.warning("%s: no part of the map is visible in frame %d", drive.name, frame)
        pose = torch.from_numpy(make_transform(axes @ R_BODY_OPTICAL, T_map_camera[:3, 3]))
        pixels = (sampled * 255).round().to(torch.uint8)
        rows.append((pixels, labels, range_m.half(), pose))
    names = ("views", "masks", "depth", "poses")
    tensors = {name: torch.stack(x) for name, x in zip(names, zip(*rows, strict=True), strict=True)}
    geometric = torch.tensor([not has_masks and mask_source is not None])
    return {
        **tensors, "seen": cells.seen[None], "seen_pixels": view.seen[None],
        "geometric_masks": geometric,
    }  # fmt: skip
