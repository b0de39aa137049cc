"""Recordings made ready for training: views, masks and depth of a drive, panoramas of its map.

A recording with a map (synthetic or real, files or a bag) is prepared once. Its images
are resampled to the network's view, its map is rendered from each image's pose, which is what the
depth head has to tell, and at places along the mapping drive. All is kept as one safetensors file.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from scmpr_ros.atomic_files import atomic_write, exclusive_lock
from scmpr_ros.datasets.drive import Drive, FrameReader
from scmpr_ros.datasets.recordings import is_recording, open_drives
from scmpr_ros.datasets.town_files import is_unfinished
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.geometry import body_axes, camera_yaw
from scmpr_ros.lidar.ground import ground_aligned_axes
from scmpr_ros.lidar.panorama import Panoramas, RenderConfig, render
from scmpr_ros.lidar.places import PlacesConfig, place_positions
from scmpr_ros.lidar.point_cloud_map import PointCloudMap
from scmpr_ros.lidar.segmentation import segment_points
from scmpr_ros.methods.network import PlaceNetworkConfig
from scmpr_ros.networks.saff import MASK_STRIDE
from scmpr_ros.networks.view import ViewSampler
from scmpr_ros.pipeline.map_source import (
    PREBUILT_MAP,
    MapSourceConfig,
    load_point_cloud_map,
    makes_map,
)
from scmpr_ros.process_pool import process_pool, results
from scmpr_ros.semantics import IGNORE, NUM_CLASSES

_log = logging.getLogger(__name__)
PREPARATION = 6
"""Version of what is kept; recordings that another one prepared are prepared anew."""


@dataclass(frozen=True)
class PreparationConfig:
    """Where a recording's places lie.

    place_jitter_m: how far at most they are moved along x and y from the mapping drive, so that no
        image was taken exactly there.
    skip_bad: leave damaged images, masks and scans out, with a warning, instead of stopping.
    """

    place_spacing_m: float = 1.5
    place_jitter_m: float = 0.7
    seed: int = 0
    skip_bad: bool = False

    def __post_init__(self) -> None:
        if self.place_spacing_m <= 0 or self.place_jitter_m <= 0:
            raise ConfigError("place_spacing_m and place_jitter_m must be positive")


@dataclass(frozen=True)
class PreparedRecording:
    """One prepared recording.

    views: (Q, 3, H, W) uint8. masks: (Q, H/4, W/4) uint8 joint ids. depth: (Q, H/4, W/4) metres to
    what the map shows in each mask cell, 0 for nothing. poses: (Q, 4, 4) float64.
    positions: (P, 3) float64 of the places; axes: (P, 3, 3) float64, how one stands there, see
    `ground_aligned_axes`; range_m, height_m (P, h, w), normal (P, 3, h, w), label (P, h, w) as in
    `lidar.panorama.Panoramas`. Metres and normals are in half precision.
    segmented: (P, h, w) uint8, what `label` would be of a map that had to be segmented by its
    geometry, as most real ones have.
    """

    views: Tensor
    masks: Tensor
    depth: Tensor
    poses: Tensor
    positions: Tensor
    axes: Tensor
    range_m: Tensor
    height_m: Tensor
    normal: Tensor
    label: Tensor
    segmented: Tensor

    @cached_property
    def yaw_rad(self) -> Tensor:
        """Heading of each view, (Q,)."""
        return torch.from_numpy(camera_yaw(self.poses.numpy()))

    @cached_property
    def view_axes(self) -> Tensor:
        """Ahead, left and up of each view, as columns (Q, 3, 3)."""
        return torch.from_numpy(body_axes(self.poses.numpy()))

    def panoramas(self, places: slice | Tensor, device: torch.device) -> Panoramas:
        """Panoramas of some places in single precision, on a device."""
        range_m, height_m, normal = (
            x[places].to(device).float() for x in (self.range_m, self.height_m, self.normal)
        )
        return Panoramas(range_m, height_m, normal, self.label[places].to(device))


class RecordingSource(NamedTuple):
    """A recording whose drives share the frame of its map.ply, or, without one, a single drive with
    scans and images."""

    folder: Path
    drive: str = ""

    @property
    def name(self) -> str:
        """For a file."""
        return f"{self.folder.name}-{self.drive}" if self.drive else self.folder.name


def find_recordings(folder: Path) -> list[RecordingSource]:
    """Find the recordings that can be trained on in a folder, or the folder itself.

    Towns that `make_town` has not finished are left out.
    """
    below = sorted(path for path in folder.glob("*") if path.is_dir())
    recordings = [folder] if is_recording(folder) else [p for p in below if is_recording(p)]
    found = []
    for recording in recordings:
        if is_unfinished(recording):
            continue
        if (recording / PREBUILT_MAP).is_file():
            found.append(RecordingSource(recording))
            continue
        for drive in open_drives(recording):  # each in a frame of its own
            if makes_map(drive) and len(drive.image_frames):
                found.append(RecordingSource(recording, drive.name))
    return found


def load_recording(
    source: RecordingSource, network: PlaceNetworkConfig, config: PreparationConfig, cache: Path
) -> PreparedRecording:
    """Prepare a recording, or load it from `cache` if it was prepared with these settings."""
    path = _prepared_file(source, network, config, cache)
    if not path.is_file():
        _prepare(source, network, config, cache)
    return PreparedRecording(**load_file(path))


def load_recordings(
    sources: Sequence[RecordingSource], network: PlaceNetworkConfig,
    config: PreparationConfig, cache: Path, jobs: int, name: str,
) -> list[PreparedRecording]:  # fmt: skip
    """As `load_recording`; those that are not prepared yet are shared out among `jobs` processes.

    Of several trainings, or processes of one, the first prepares and the others wait.
    name: of them all, for the progress bar.
    """
    with exclusive_lock(cache / ".preparing", wait=True):
        missing = [s for s in sources if not _prepared_file(s, network, config, cache).is_file()]
        if jobs > 1 and len(missing) > 1:
            with process_pool(min(jobs, len(missing))) as pool:
                asked = [pool.submit(_prepare, s, network, config, cache) for s in missing]
                results(asked, f"preparing {name}", "recording")
        else:
            progress = tqdm(missing, f"preparing {name}", unit="recording", disable=not missing)
            for source in progress:
                _prepare(source, network, config, cache)
    return [load_recording(source, network, config, cache) for source in sources]


def seen_cells(views: Tensor) -> Tensor:
    """Mask cells inside the camera's image, (..., H/4, W/4) bool, of views (..., 3, H, W) uint8.

    A prepared view is black where its camera does not look, and hardly anywhere else.
    """
    lit = (views.amax(-3, keepdim=True) > 0).float()
    return functional.max_pool2d(lit, MASK_STRIDE).squeeze(-3) > 0


def _prepared_file(
    source: RecordingSource, network: PlaceNetworkConfig, config: PreparationConfig, cache: Path
) -> Path:
    return cache / f"{source.name}-{_settings_digest(source, network, config)}.safetensors"


def _prepare(
    source: RecordingSource, network: PlaceNetworkConfig, config: PreparationConfig, cache: Path
) -> None:
    tensors = _prepare_recording(source, network, config)
    with atomic_write(_prepared_file(source, network, config, cache)) as temporary:
        save_file(tensors, temporary)


def _settings_digest(
    source: RecordingSource, network: PlaceNetworkConfig, config: PreparationConfig
) -> str:
    """Hash of all that a prepared recording depends on."""
    settings = {
        "preparation": PREPARATION,
        "folder": str(source.folder.resolve()),
        "drive": source.drive,
        "files": _files_digest(source.folder),
        "view": asdict(network.view),
        "panorama": asdict(network.panorama),
        "max_range_m": network.max_range_m,
        "config": asdict(config),
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def _files_digest(folder: Path) -> str:
    """Hash of the names, sizes and times of a recording's files; their contents are not read."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        stat = path.stat()
        digest.update(f"{path.relative_to(folder)} {stat.st_size} {stat.st_mtime_ns}".encode())
    return digest.hexdigest()


def _prepare_recording(
    source: RecordingSource, network: PlaceNetworkConfig, config: PreparationConfig
) -> dict[str, Tensor]:
    drives = open_drives(source.folder, source.drive)
    mapping = [drive for drive in drives if makes_map(drive)]
    queries = [drive for drive in drives if len(drive.image_frames)]
    if not mapping or not queries:
        raise DatasetError(
            f"{source.folder}: training needs one drive with scans (the mapping drive) and one "
            f"with images; found {len(mapping)} and {len(queries)}"
        )
    of_map = MapSourceConfig(sequence=mapping[0].name, skip_bad=config.skip_bad)
    point_map = load_point_cloud_map(source.folder, of_map)
    if point_map.cloud.label is None:
        raise DatasetError(f"the map of {source.folder} has no labels; training needs them")
    seen = (v for drive in queries for v in _views(drive, point_map, network, config.skip_bad))
    views, masks, depth, poses = zip(*seen, strict=True)
    return {
        "views": torch.stack(views),
        "masks": torch.stack(masks),
        "depth": torch.stack(depth),
        "poses": torch.from_numpy(np.stack(poses)),
        **_render_places(point_map, network, config),
    }


def _render_places(
    point_map: PointCloudMap, network: PlaceNetworkConfig, config: PreparationConfig
) -> dict[str, Tensor]:
    """Places along the mapping drive, moved a little so that they are nobody's exact pose."""
    positions = place_positions(point_map, PlacesConfig(spacing_m=config.place_spacing_m))
    rng = np.random.default_rng(config.seed)
    positions[:, :2] += rng.uniform(-1, 1, (len(positions), 2)) * config.place_jitter_m
    points, label = _tensors(point_map)
    where = torch.from_numpy(positions).float()
    axes = torch.from_numpy(ground_aligned_axes(point_map.cloud.xyz, positions))
    views = RenderConfig(max_range_m=network.max_range_m)
    by_geometry = torch.from_numpy(segment_points(point_map.cloud))
    # Both classes of a point in one byte: the map is rendered once.
    label = label + NUM_CLASSES * by_geometry
    panoramas = render(points, label, where, network.panorama, views, axes)
    return {
        "positions": torch.from_numpy(positions + point_map.cloud.origin),
        "axes": axes,
        "range_m": panoramas.range_m.half(),
        "height_m": panoramas.height_m.half(),
        "normal": panoramas.normal.half(),
        "label": panoramas.label % NUM_CLASSES,
        "segmented": panoramas.label // NUM_CLASSES,
    }


_View = tuple[Tensor, Tensor, Tensor, NDArray[np.float64]]
"""View, mask, depth and pose, as in `PreparedRecording`."""


def _views(
    drive: Drive, point_map: PointCloudMap, network: PlaceNetworkConfig, skip_bad: bool
) -> Iterator[_View]:
    """Everything of a drive's images.

    Where there are neither masks nor labelled points, the map's classes, seen from the camera, are
    the mask: sparse, and without what is not in the map.
    """
    points, label = _tensors(point_map)
    config = RenderConfig(max_range_m=network.max_range_m)
    view = ViewSampler.of(drive.camera, network.view)
    mask_view = ViewSampler.of(drive.camera, network.mask_grid)

    masked = drive.mask(drive.image_frames[0]) is not None

    def read(frame: int) -> tuple[Tensor, NDArray[np.uint8] | None]:
        mask = drive.mask(frame)
        if masked and mask is None:
            raise DatasetError(f"{drive.name}: frame {frame} has no mask, as others have")
        return torch.from_numpy(drive.image(frame)), mask

    for frame, (image, mask) in FrameReader(drive.image_frames, read, skip_bad):
        sampled = view.image(image.permute(2, 0, 1)[None].float() / 255)[0]
        pose = drive.T_world_camera(frame)
        where = torch.from_numpy(pose[None, :3, 3] - point_map.cloud.origin).float()
        axes = torch.from_numpy(body_axes(pose)[None])
        of_map = render(points, label, where, network.mask_grid, config, axes)
        labels = of_map.label[0] * mask_view.seen
        if mask is not None:
            labels = mask_view.labels(torch.from_numpy(mask)[None])[0]
        elif not (labels != IGNORE).any():
            _log.warning("%s: the map shows nothing at frame %d", drive.name, frame)
        yield (sampled * 255).round().to(torch.uint8), labels, of_map.range_m[0].half(), pose


def _tensors(point_map: PointCloudMap) -> tuple[Tensor, Tensor]:
    cloud = point_map.cloud
    assert cloud.label is not None  # `_prepare_recording` has seen to it
    return torch.from_numpy(cloud.xyz), torch.from_numpy(cloud.label)
