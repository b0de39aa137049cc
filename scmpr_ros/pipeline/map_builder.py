"""The map, once: from a labelled point cloud to a place map (section 3.3 of the paper)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from scmpr_ros.cancellation import raise_if_cancelled
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.lidar.ground import ground_aligned_axes
from scmpr_ros.lidar.panorama import Panoramas, RenderConfig, render
from scmpr_ros.lidar.places import PlacesConfig, place_positions
from scmpr_ros.lidar.point_cloud_map import PointCloudMap
from scmpr_ros.networks.attention import mean_tokens
from scmpr_ros.networks.checkpoint import fingerprint
from scmpr_ros.networks.place_network import PlaceNetwork
from scmpr_ros.records import PointCloud
from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.semantics import label_confusion


@dataclass(frozen=True)
class MapBuilderConfig:
    """Where places lie, how they are rendered, and on what."""

    places: PlacesConfig = field(default_factory=PlacesConfig)
    splat_radius_m: float = RenderConfig.splat_radius_m
    batch_size: int = 16
    device: str = "auto"
    """A torch device; `auto` takes the GPU where there is one."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ConfigError(f"batch_size is {self.batch_size}; it must be at least 1")


_Seen = tuple[NDArray[np.float64], NDArray[np.float64], Panoramas]
"""Positions (B, 3) in the map frame, axes (B, 3, 3) of who stands there, and the panoramas that
are seen so, S_LiDAR of eq. 5."""


@torch.inference_mode()
def build_map(
    point_map: PointCloudMap,
    network: PlaceNetwork,
    config: MapBuilderConfig,
    progress: bool = True,
) -> PlaceMap:
    """Describe every place of a map in every heading.

    Args:
        point_map: labelled static points, and the trajectory they were recorded on if known.
        network: trained network; it is moved to the device.
        progress: show a bar.
    """
    device = choose_device(config.device)
    network = network.eval().to(device)
    cloud = point_map.cloud
    if cloud.label is None:
        raise DatasetError("the map has no labels; label its points first (eq. 5)")
    points = torch.from_numpy(cloud.xyz).to(device)
    labels = torch.from_numpy(cloud.label).to(device)
    positions = place_positions(point_map, config.places)
    axes = ground_aligned_axes(cloud.xyz, positions)
    where, standing = (torch.from_numpy(x).to(device) for x in (positions, axes))
    size = config.batch_size
    batches = [slice(first, first + size) for first in range(0, len(positions), size)]
    grid, views = network.config.panorama, _views(network, config)

    def seen() -> Iterator[_Seen]:
        for some in tqdm(batches, "describing places", unit="batch", disable=not progress):
            raise_if_cancelled()
            panoramas = render(points, labels, where[some].float(), grid, views, standing[some])
            yield positions[some] + cloud.origin, axes[some], panoramas

    return _describe(network, seen(), point_map.confusion)


@torch.inference_mode()
def build_scan_map(
    scans: Iterable[tuple[PointCloud, NDArray[np.float64]]],
    network: PlaceNetwork,
    config: MapBuilderConfig,
    confusion: NDArray[np.float32] | None = None,
) -> PlaceMap:
    """Describe every scan of a drive by itself, as if it were the map of its own place.

    So the literature's protocols ask for it, where the database is a drive's single scans.

    Args:
        scans: labelled clouds in the LiDAR frame with `T_world_lidar` (4, 4). Places stand where
            the LiDAR was, headings are those of the world.
        confusion: how their labels differ from the truth, see `semantics.label_confusion`; None
            where they do not.
    """
    device = choose_device(config.device)
    network = network.eval().to(device)
    here, grid = torch.zeros(1, 3, device=device), network.config.panorama
    views = _views(network, config)

    def seen() -> Iterator[_Seen]:
        for cloud, T_world_lidar in scans:
            if cloud.label is None:
                raise DatasetError("a scan has no labels; label its points first (eq. 5)")
            turned = cloud.xyz @ T_world_lidar[:3, :3].T.astype(np.float32)
            points, label = (torch.from_numpy(x).to(device) for x in (turned, cloud.label))
            # As its car stood: a LiDAR may be mounted with a tilt, as KITTI-360's is.
            axes = ground_aligned_axes(turned, np.zeros((1, 3)))
            panoramas = render(points, label, here, grid, views, torch.from_numpy(axes))
            yield T_world_lidar[None, :3, 3], axes, panoramas

    return _describe(network, seen(), label_confusion() if confusion is None else confusion)


def _views(network: PlaceNetwork, config: MapBuilderConfig) -> RenderConfig:
    return RenderConfig(
        max_range_m=network.config.max_range_m, splat_radius_m=config.splat_radius_m
    )


def _describe(
    network: PlaceNetwork, batches: Iterable[_Seen], confusion: NDArray[np.float32]
) -> PlaceMap:
    """The place map of batches of places and what is seen from them."""
    positions, axes, descriptors, panorama_labels = [], [], [], []
    token_sums, token_weights = [], []
    for where, standing, panoramas in batches:
        positions.append(where)
        axes.append(standing)
        features = encode(network, panoramas)
        windows = network.describe_headings(features, panoramas.label, panoramas.range_m)  # eq. 6
        descriptors.append(windows.cpu())
        panorama_labels.append(panoramas.label.cpu())
        sums, weights = network.class_tokens(features, panoramas.label)
        token_sums.append(sums.cpu())
        token_weights.append(weights.cpu())

    context = mean_tokens(torch.cat(token_sums), torch.cat(token_weights))  # for eq. 7
    return PlaceMap(
        positions=np.concatenate(positions),
        axes=np.concatenate(axes),
        headings_rad=network.headings_rad.double().numpy(),
        descriptors=torch.cat(descriptors).numpy().astype(np.float16),
        panorama_labels=torch.cat(panorama_labels).numpy(),
        confusion=confusion,
        context=context.numpy(),
        grid=network.config.panorama,
        fingerprint=fingerprint(network),
    )


def encode(network: PlaceNetwork, panoramas: Panoramas) -> Tensor:
    """Place features (B, C, h, w) of rendered panoramas."""
    return network.encode_panorama(
        panoramas.range_m, panoramas.height_m, panoramas.normal, panoramas.label
    )


def choose_device(name: str) -> torch.device:
    """Resolve `auto`; raise ConfigError for a device that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"no device {name!r}: use auto, cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device {name!r} was asked for, but torch sees no GPU; use auto or cpu")
    return device
