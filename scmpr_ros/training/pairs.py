"""Training pairs: camera views of a drive, and panoramas of the map it was driven in.

A town (any recording with labelled images or points) is prepared once: its images are resampled to
the network's view, its map is rendered at places along the mapping drive, and both are kept as one
safetensors file. A pair is a view and a place within reach of it, never at the identical pose.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset, Sampler

from scmpr_ros.datasets.drive import Drive, FrameReader
from scmpr_ros.datasets.recordings import open_drives
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.geometry import camera_yaw
from scmpr_ros.lidar.panorama import RenderConfig, render
from scmpr_ros.lidar.places import PlacesConfig, place_positions
from scmpr_ros.networks.saff import MASK_STRIDE
from scmpr_ros.networks.scmpr import ScmprConfig
from scmpr_ros.networks.view import ViewSampler
from scmpr_ros.pipeline.map_source import MapSourceConfig, load_point_cloud_map, makes_map
from scmpr_ros.whole_files import whole_file

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PairsConfig:
    """Where places lie and which of them belong to a view.

    reach_m: distance of the farthest place that a view is paired with; the other lane is 3 to 4 m
    away. neighbourhood_m, neighbours: size of the groups in a batch.
    skip_bad: leave damaged images, masks and scans out, with a warning, instead of stopping.
    """

    place_spacing_m: float = 1.5
    place_jitter_m: float = 0.7
    reach_m: float = 4.5
    neighbourhood_m: float = 35.0
    neighbours: int = 4
    seed: int = 0
    skip_bad: bool = False

    def __post_init__(self) -> None:
        if min(self.place_spacing_m, self.reach_m, self.neighbourhood_m) <= 0:
            raise ConfigError("place_spacing_m, reach_m and neighbourhood_m must be positive")
        if self.neighbours < 1:
            raise ConfigError(f"neighbours is {self.neighbours}; a group needs at least one view")


@dataclass(frozen=True)
class Town:
    """One prepared town.

    views: (Q, 3, H, W) uint8. masks: (Q, H/4, W/4) uint8 joint ids. poses: (Q, 4, 4) float64.
    positions: (P, 3) float64 of the places; range_m, height_m (P, h, w), normal (P, 3, h, w),
    label (P, h, w) as in `lidar.panorama.Panoramas`, kept in half precision.
    """

    views: Tensor
    masks: Tensor
    poses: Tensor
    positions: Tensor
    range_m: Tensor
    height_m: Tensor
    normal: Tensor
    label: Tensor

    @cached_property
    def yaw_rad(self) -> Tensor:
        """Heading of each view, (Q,)."""
        return torch.from_numpy(camera_yaw(self.poses.numpy()))


def load_town(folder: Path, network: ScmprConfig, config: PairsConfig, cache: Path) -> Town:
    """Prepare a town, or take it from `cache` if this very recording was, with these settings."""
    path = cache / f"{folder.name}-{_settings_digest(folder, network, config)}.safetensors"
    if not path.is_file():
        tensors = _prepare_town(folder, network, config)
        with whole_file(path) as temporary:
            save_file(tensors, temporary)
    return Town(**load_file(path))


def _settings_digest(folder: Path, network: ScmprConfig, config: PairsConfig) -> str:
    """Hash of all that a prepared town depends on."""
    settings = {
        "folder": str(folder.resolve()),
        "files": _files_digest(folder),
        "view": asdict(network.view),
        "panorama": asdict(network.panorama),
        "max_range_m": network.max_range_m,
        "places": [config.place_spacing_m, config.place_jitter_m, config.seed],
        "skip_bad": config.skip_bad,
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def _files_digest(folder: Path) -> str:
    """Hash of the names, sizes and times of a recording's files; their contents are not read."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        stat = path.stat()
        digest.update(f"{path.relative_to(folder)} {stat.st_size} {stat.st_mtime_ns}".encode())
    return digest.hexdigest()


def _prepare_town(folder: Path, network: ScmprConfig, config: PairsConfig) -> dict[str, Tensor]:
    drives = open_drives(folder)
    mapping = [drive for drive in drives if makes_map(drive)]
    queries = [drive for drive in drives if len(drive.image_frames)]
    if not mapping or not queries:
        raise DatasetError(
            f"{folder}: training needs one drive with scans (the mapping drive) and one with "
            f"images; found {len(mapping)} and {len(queries)}"
        )
    places = _render_places(folder, mapping[0].name, network, config)
    seen = (view for drive in queries for view in _views(drive, network, config.skip_bad))
    views, masks, poses = zip(*seen, strict=True)
    return {
        "views": torch.stack(views),
        "masks": torch.stack(masks),
        "poses": torch.from_numpy(np.stack(poses)),
        **places,
    }


def _render_places(
    folder: Path, mapping: str, network: ScmprConfig, config: PairsConfig
) -> dict[str, Tensor]:
    """Places along the mapping drive, moved a little so that they are nobody's exact pose."""
    source = MapSourceConfig(sequence=mapping, skip_bad=config.skip_bad)
    point_map = load_point_cloud_map(folder, source)
    positions = place_positions(point_map, PlacesConfig(spacing_m=config.place_spacing_m))
    rng = np.random.default_rng(config.seed)
    positions[:, :2] += rng.uniform(-1, 1, (len(positions), 2)) * config.place_jitter_m
    cloud = point_map.cloud
    if cloud.label is None:
        raise DatasetError(f"the map of {folder} has no labels; training needs them")
    panoramas = render(
        torch.from_numpy(cloud.xyz),
        torch.from_numpy(cloud.label),
        torch.from_numpy(positions).float(),
        network.panorama,
        RenderConfig(max_range_m=network.max_range_m),
    )
    return {
        "positions": torch.from_numpy(positions + cloud.origin),
        "range_m": panoramas.range_m.half(),
        "height_m": panoramas.height_m.half(),
        "normal": panoramas.normal.half(),
        "label": panoramas.label,
    }


def _views(
    drive: Drive, network: ScmprConfig, skip_bad: bool
) -> Iterator[tuple[Tensor, Tensor, np.ndarray]]:
    def read(frame: int) -> tuple[Tensor, Tensor]:
        mask = drive.mask(frame)
        if mask is None:
            raise DatasetError(
                f"{drive.name}: frame {frame} has neither a mask nor labelled points"
            )
        return torch.from_numpy(drive.image(frame)), torch.from_numpy(mask)

    view = ViewSampler.of(drive.camera, network.view)
    mask_view = ViewSampler.of(drive.camera, network.mask_grid)
    for frame, (image, mask) in FrameReader(drive.image_frames, read, skip_bad):
        sampled = view.image(image.permute(2, 0, 1)[None].float() / 255)[0]
        labels = mask_view.labels(mask[None])[0]
        yield (sampled * 255).round().to(torch.uint8), labels, drive.T_world_camera(frame)


def seen_cells(views: Tensor) -> Tensor:
    """Mask cells inside the camera's image, (..., H/4, W/4) bool, of views (..., 3, H, W) uint8.

    A prepared view is black where its camera does not look, and hardly anywhere else.
    """
    lit = (views.amax(-3, keepdim=True) > 0).float()
    return functional.max_pool2d(lit, MASK_STRIDE).squeeze(-3) > 0


class Draw(NamedTuple):
    """What a sampler draws: a view, and where in [0, 1) among the places in its reach."""

    view: int
    share: float


class PairDataset(Dataset[dict[str, Tensor]]):
    """All pairs of all towns. The sampler draws, so that a pair depends on its draw alone."""

    def __init__(self, towns: list[Town], config: PairsConfig) -> None:
        self.towns = towns
        self.config = config
        self.index: list[tuple[int, int]] = []
        self.reachable: list[Tensor] = []
        for number, town in enumerate(towns):
            distance = torch.cdist(town.poses[:, :2, 3], town.positions[:, :2])
            for view, row in enumerate(distance):
                within = (row < config.reach_m).nonzero().squeeze(1)
                if len(within):
                    self.index.append((number, view))
                    self.reachable.append(within)
        if not self.index:
            raise DatasetError(
                f"no view lies within {config.reach_m} m of a place: were the images and the map "
                "recorded in different frames?"
            )
        dropped = sum(len(town.views) for town in towns) - len(self.index)
        _log.info("%d pairs in %d towns, %d views without place", len(self), len(towns), dropped)

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, draw: Draw) -> dict[str, Tensor]:
        number, view = self.index[draw.view]
        town = self.towns[number]
        choices = self.reachable[draw.view]
        place = int(choices[int(draw.share * len(choices))])
        origin = town.positions[0]
        return {
            "view": town.views[view].float() / 255,
            "mask": town.masks[view],
            "seen": seen_cells(town.views[view]),
            "yaw_rad": town.yaw_rad[view].float(),
            "view_position": (town.poses[view, :3, 3] - origin).float(),
            "place_position": (town.positions[place] - origin).float(),
            "town": torch.tensor(number),
            "range_m": town.range_m[place].float(),
            "height_m": town.height_m[place].float(),
            "normal": town.normal[place].float(),
            "label": town.label[place],
        }


class NeighbourhoodSampler(Sampler[list[Draw]]):
    """Batches of groups: each group is an anchor view and others within the neighbourhood.

    Views down the same street are the hard negatives; a batch of strangers teaches little. The
    n-th batch is the same however often a run was stopped before it; `skip` leaves the first out.
    """

    def __init__(
        self, dataset: PairDataset, batch_size: int, batches: int, seed: int, skip: int = 0
    ) -> None:
        self.batch_size, self.batches, self.seed, self.skip = batch_size, batches, seed, skip
        self.config = dataset.config
        self.near: list[Tensor] = []
        numbers = torch.tensor([number for number, _ in dataset.index])
        for number, town in enumerate(dataset.towns):
            items = (numbers == number).nonzero().squeeze(1)
            views = torch.tensor([dataset.index[int(i)][1] for i in items])
            position = town.poses[views, :2, 3]
            close = torch.cdist(position, position) < self.config.neighbourhood_m
            self.near.extend(items[row] for row in close)

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[Draw]]:
        generator = torch.Generator().manual_seed(self.seed)
        for number in range(self.batches):
            batch = self._batch(generator)
            if number >= self.skip:
                yield batch

    def _batch(self, generator: torch.Generator) -> list[Draw]:
        batch: list[int] = []
        while len(batch) < self.batch_size:
            anchor = int(torch.randint(len(self.near), (), generator=generator))
            near = self.near[anchor]
            order = torch.randperm(len(near), generator=generator)
            batch.extend(near[order[: self.config.neighbours]].tolist())
        shares = torch.rand(self.batch_size, generator=generator, dtype=torch.float64).tolist()
        return [Draw(*drawn) for drawn in zip(batch, shares, strict=False)]
