"""The map, once: from a labelled point cloud to a place map (section 3.3 of the paper)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from scmpr_ros.cancellation import raise_if_cancelled
from scmpr_ros.errors import ConfigError
from scmpr_ros.lidar.ground import ground_aligned_axes
from scmpr_ros.lidar.panorama import RenderConfig, render_sorted
from scmpr_ros.lidar.places import PlacesConfig, place_positions
from scmpr_ros.lidar.point_cloud_map import PointCloudMap
from scmpr_ros.lidar.sorted_points import SortedPoints
from scmpr_ros.methods.checkpoint import fingerprint
from scmpr_ros.methods.network import PlaceNetwork
from scmpr_ros.methods.views import PlaceView
from scmpr_ros.networks.device import choose_device
from scmpr_ros.records import PointCloud
from scmpr_ros.retrieval.place_map.place_map import PlaceMap
from scmpr_ros.retrieval.place_map.tile import PlaceTile
from scmpr_ros.retrieval.place_map.writing import MapHeader
from scmpr_ros.semantics import label_confusion


@dataclass(frozen=True)
class MapBuilderConfig:
    """Where places lie, how they are rendered, and on which device."""

    places: PlacesConfig = field(default_factory=PlacesConfig)
    splat_radius_m: float = RenderConfig.splat_radius_m
    batch_size: int = 16
    tile_m: float = 100.0
    """Edge length of the tiles that a large map is built in."""
    whole_up_to_points: int = 5_000_000
    """Maps of no more points than this are one tile."""
    index: str = "auto"
    """Search of descriptors: exact, a FAISS factory string, or auto by the number of viewpoints."""
    device: str = "auto"
    """A torch device; `auto` takes the GPU if there is one."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ConfigError(f"batch_size is {self.batch_size}; it must be at least 1")
        if not self.tile_m > 0 or self.whole_up_to_points < 0:
            raise ConfigError(
                f"tile_m={self.tile_m} must be positive, and whole_up_to_points="
                f"{self.whole_up_to_points} not negative"
            )


class _Places(NamedTuple):
    """B places: positions (B, 3) in the map frame, upright axes (B, 3, 3), and what is seen there,
    S_LiDAR of eq. 5."""

    positions: NDArray[np.float64]
    axes: NDArray[np.float64]
    view: PlaceView


def build_map(
    point_map: PointCloudMap,
    network: PlaceNetwork,
    config: MapBuilderConfig,
    progress: bool = True,
) -> PlaceMap:
    """Describe every place of a map that fits into memory, in every heading.

    Args:
        point_map: labelled static points, and the trajectory they were recorded on if known.
        network: trained network; it is moved to the device.
        progress: show a bar.
    """
    positions = place_positions(point_map, config.places).positions
    tile = describe_places(point_map.cloud, positions, network, config, "all", progress)
    return PlaceMap.of_tile(tile, map_header(network, point_map.confusion))


@torch.inference_mode()
def describe_places(
    cloud: PointCloud, positions: NDArray[np.float64], network: PlaceNetwork,
    config: MapBuilderConfig, key: str, progress: bool = False,
) -> PlaceTile:  # fmt: skip
    """Describe places in every heading.

    Args:
        cloud: labelled static points, as far as the places can see.
        positions: (P, 3) of the places, relative to the cloud's origin.
        network: trained network; it is moved to the device.
        key: name of the tile.
        progress: show a bar.
    """
    device = choose_device(config.device)
    network = network.eval().to(device)
    points = SortedPoints.of_cloud(cloud, device)
    axes = ground_aligned_axes(cloud.xyz, positions)

    def places() -> Iterator[_Places]:
        starts = range(0, len(positions), config.batch_size)
        for start in tqdm(starts, "describing places", unit="batch", disable=not progress):
            raise_if_cancelled()
            batch = slice(start, start + config.batch_size)
            viewpoint, upright = (torch.from_numpy(x[batch]).to(device) for x in (positions, axes))
            view = _view(points, viewpoint.float(), upright, network, config)
            yield _Places(positions[batch] + cloud.origin, axes[batch], view)

    return _describe(network, places(), key)


def map_header(network: PlaceNetwork, confusion: NDArray[np.float32], **more: Any) -> MapHeader:
    """What all tiles of a map that a network describes share.

    confusion: how the points' labels differ from the truth. more: other fields of `MapHeader`.
    """
    return MapHeader(
        fingerprint(network), network.config.panorama, network.headings_rad.double().cpu().numpy(),
        confusion, **more,
    )  # fmt: skip


@torch.inference_mode()
def build_scan_map(
    scans: Iterable[tuple[PointCloud, NDArray[np.float64]]],
    network: PlaceNetwork,
    config: MapBuilderConfig,
    confusion: NDArray[np.float32] | None = None,
) -> PlaceMap:
    """Describe every scan of a drive by itself, as if it were the map of its own place.

    The literature's protocols search such a database of single scans.

    Args:
        scans: labelled clouds in the LiDAR frame with `T_world_lidar` (4, 4). Places lie where
            the LiDAR was; headings are those of the world.
        confusion: how the scans' labels differ from the truth, see `semantics.label_confusion`;
            None if they do not.
    """
    device = choose_device(config.device)
    network = network.eval().to(device)

    def places() -> Iterator[_Places]:
        here = torch.zeros(1, 3, device=device)
        for cloud, T_world_lidar in scans:
            turned = PointCloud(cloud.xyz @ T_world_lidar[:3, :3].T.astype(np.float32), cloud.label)
            points = SortedPoints.of_cloud(turned, device, "a scan")
            # The ground's axes and not the LiDAR's, which may be mounted with a tilt.
            axes = ground_aligned_axes(turned.xyz, np.zeros((1, 3)))
            view = _view(points, here, torch.from_numpy(axes), network, config)
            yield _Places(T_world_lidar[None, :3, 3], axes, view)

    header = map_header(network, label_confusion() if confusion is None else confusion)
    return PlaceMap.of_tile(_describe(network, places(), "scans"), header)


def _view(
    points: SortedPoints, positions: Tensor, axes: Tensor, network: PlaceNetwork,
    config: MapBuilderConfig,
) -> PlaceView:  # fmt: skip
    """What is seen of the points from each position."""
    grid = network.config.panorama
    settings = RenderConfig(
        max_range_m=network.config.max_range_m, splat_radius_m=config.splat_radius_m
    )
    return PlaceView(partial(render_sorted, points, positions, grid, settings, axes), grid)


def _describe(network: PlaceNetwork, batches: Iterable[_Places], key: str) -> PlaceTile:
    """The descriptions of batches of places, at least one."""
    positions, axes, descriptors, labels, ranges_m = [], [], [], [], []
    tokens: list[tuple[Tensor, Tensor]] = []
    for places in batches:
        description = network.describe_place(places.view)
        positions.append(places.positions)
        axes.append(places.axes)
        descriptors.append(description.descriptors.half().cpu())
        labels.append(places.view.panoramas.label.cpu())
        ranges_m.append(places.view.panoramas.range_m.half().cpu())
        if description.tokens is not None:
            sums, weights = description.tokens
            tokens.append((sums.float().cpu(), weights.float().cpu()))
    count = sum(map(len, positions))
    sums, weights = (
        (torch.cat(part) for part in zip(*tokens, strict=True)) if tokens
        else (torch.zeros(count, 0, 0), torch.zeros(count, 0))
    )  # fmt: skip
    return PlaceTile(
        key, np.concatenate(positions), np.concatenate(axes), torch.cat(descriptors).numpy(),
        torch.cat(labels).numpy(), torch.cat(ranges_m).numpy(), sums.numpy(), weights.numpy(),
    )  # fmt: skip
