"""Small networks of all methods, and what to show those that describe windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy_layers import Array, softmax, values
from torch import Tensor, nn

from scmpr_ros.geometry import AngularGrid
from scmpr_ros.lidar.panorama import Panoramas
from scmpr_ros.methods.network import PlaceNetworkConfig
from scmpr_ros.methods.pair_batch import PairBatch
from scmpr_ros.methods.registry import find_method, method_names
from scmpr_ros.methods.views import PlaceView, QueryView
from scmpr_ros.methods.vxp.voxel_encoder import VoxelConfig
from scmpr_ros.methods.windows import WindowNetwork
from scmpr_ros.networks.feature_tower import TowerConfig
from scmpr_ros.networks.netvlad import NetVladConfig
from scmpr_ros.networks.saff import ImagePrediction, SaffConfig

VIEW = AngularGrid(32, 64, 12.0, -15.0, 80.0)
PANORAMA = AngularGrid(8, 90, 16.0, -16.0)
"""Columns of 4 degrees: a window is 20 of them wide."""
HEADINGS = 6
_MASK = (VIEW.height // 4, VIEW.width // 4)
_BACKBONE = "timm/test_resnet"


def window_methods() -> list[str]:
    """Names of the methods that describe a place window by window."""
    return [n for n in method_names() if issubclass(find_method(n).network, WindowNetwork)]


def small_config(
    name: str, view: AngularGrid = VIEW, panorama: AngularGrid = PANORAMA
) -> PlaceNetworkConfig:
    """The config of a method, with the smallest parts there are."""
    netvlad = NetVladConfig(clusters=3, blocks=1, descriptor_dim=10)
    reading = {"backbone": _BACKBONE, "saff": SaffConfig(8, 8)}
    own: dict[str, dict[str, Any]] = {
        "scmpr": reading,
        "lip_loc": {"tower": "test_resnet", "size": 32, "descriptor_dim": 12},
        "lc2": {"tower": TowerConfig(_BACKBONE, 16, 6), "netvlad": netvlad, **reading},
        "i2p_rec": {"tower": TowerConfig(_BACKBONE, 8, 6), "netvlad": netvlad,
                    "reach_m": 16.0, **reading},
        "modalink": {"tower": TowerConfig(_BACKBONE, 8, 6), "netvlad": netvlad, "bases": 3,
                     "steps": 2},
        "vxp": {"tower": TowerConfig(_BACKBONE, 8, 6), "descriptor_dim": 10,
                "voxels": VoxelConfig((0.0, 15.5), (-8.0, 8.0), (-3.2, 4.8), 0.4, (4, 5, 6))},
    }  # fmt: skip
    shown = {"view": view, "panorama": panorama, "num_headings": HEADINGS}
    return find_method(name).config(**shown, **own.get(name, {}))


@torch.no_grad()
def small_network(name: str, seed: int = 0, **changes: Any) -> Any:
    """A network to evaluate: random weights, and normalisations about as measured on a batch."""
    torch.manual_seed(seed)
    network: Any = find_method(name).network(replace(small_config(name), **changes)).train()
    for part in network.modules():
        if isinstance(part, nn.BatchNorm1d | nn.LayerNorm):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.uniform_(part.bias, -0.5, 0.5)
    if hasattr(network, "saff"):  # ranges that differ
        nn.init.normal_(network.saff.range_head.weight, std=3.0)
    norms = [part for part in network.modules() if hasattr(part, "running_mean")]
    for norm in norms:
        norm.momentum = 1.0
    window = PlaceView.of(random_panoramas(8, 30.0), PANORAMA).window(torch.zeros(8), VIEW.fov_rad)
    network.describe_query(random_view(8), torch.zeros(0, 0))
    network.describe_window(window)
    for norm in norms:
        norm.momentum = 0.1
        norm.running_mean += 0.2 * torch.randn_like(norm.running_mean) * norm.running_var.sqrt()
        norm.running_var *= 0.7 + 0.6 * torch.rand_like(norm.running_var)
    return network.eval()


def random_panoramas(count: int, max_range_m: float = 60.0) -> Panoramas:
    """Surfaces of 4 x 6 cells, one cell in five without a return."""
    shape = (count, PANORAMA.height, PANORAMA.width)
    range_m = max_range_m * _blocks(torch.rand(count, 2, 15), 4, 6) * (torch.rand(shape) > 0.2)
    label = torch.randint(0, 9, shape, dtype=torch.uint8)
    return Panoramas(range_m, torch.randn(shape), torch.randn(count, 3, *shape[1:]), label)


def random_view(count: int) -> QueryView:
    """Images of patches of 8 x 8 pixels, of which the cameras see most."""
    seen = torch.rand(count, *_MASK) > 0.2
    return QueryView(_blocks(torch.rand(count, 3, VIEW.height // 8, VIEW.width // 8), 8, 8), seen)


def _blocks(image: Tensor, rows: int, columns: int) -> Tensor:
    return image.repeat_interleave(rows, -2).repeat_interleave(columns, -1)


def random_pairs(count: int, spacing_m: float = 20.0) -> PairBatch:
    """Pairs along a line, each image a metre beside its place."""
    view, panorama = random_view(count), random_panoramas(count, 20.0)
    place = torch.stack([spacing_m * torch.arange(count), torch.zeros(count), torch.ones(count)])
    yaw_rad = 6 * torch.rand(count) - 3
    axes = torch.stack([_about_z(float(yaw)) for yaw in yaw_rad])
    cells = (count, *_MASK)
    return PairBatch(
        view=view.pixels, seen=view.seen, seen_pixels=torch.ones(count, VIEW.height, VIEW.width),
        mask=torch.ones(cells, dtype=torch.uint8), mask_confusion=torch.zeros(count, 15, 15),
        depth=torch.zeros(cells), yaw_rad=yaw_rad,
        view_position=place.T + torch.tensor([0.0, 1.0, 0.5]), view_axes=axes,
        place_position=place.T, place_axes=torch.eye(3).expand(count, 3, 3),
        recording=torch.zeros(count, dtype=torch.long), panorama=panorama, segmented=panorama,
        turned_rad=torch.zeros(count),
    )  # fmt: skip


def _about_z(yaw_rad: float) -> Tensor:
    c, s = math.cos(yaw_rad), math.sin(yaw_rad)
    return torch.tensor([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


@torch.no_grad()
def describe_window(network: WindowNetwork, panoramas: Panoramas, heading: int) -> Array:
    """Descriptor of the window of a heading of the last place, as a map would hold it."""
    place = network.describe_place(PlaceView.of(panoramas, PANORAMA)).descriptors
    assert place.shape[:2] == (len(panoramas.range_m), HEADINGS)
    return values(place[-1, heading])


def crop(panoramas: Panoramas, heading: int) -> Array:
    """Ranges of the last place's 20 columns around heading * 60 degrees, from left to right."""
    range_m = values(panoramas.range_m[-1])
    middle = 45 - heading * 15  # azimuth zero is in the middle, columns run to the right
    return np.stack([range_m[:, column % 90] for column in range(middle - 10, middle + 10)], axis=1)


def ranges_in_view(panoramas: Panoramas, heading: int) -> Array:
    """Ranges of the last place in the directions of the view's cells, looking along a heading."""
    range_m, result = crop(panoramas, heading), np.zeros((VIEW.height, VIEW.width))
    for i, j in np.ndindex(*result.shape):
        elevation_deg = 12.0 - (i + 0.5) * 27.0 / 32  # of panorama rows: from 16 down by 4 each
        result[i, j] = range_m[int((16.0 - elevation_deg) // 4), int((j + 0.5) * 20 / 64)]
    return result


def points_of(range_m: Array, fov_deg: float, up_deg: float, down_deg: float) -> list[Array]:
    """Points of the cells of a grid that have a return; x through its middle, y left, z up."""
    height, width = range_m.shape
    points = []
    for row, column in np.argwhere(range_m > 0):
        azimuth = math.radians(fov_deg * (0.5 - (column + 0.5) / width))
        elevation = math.radians(up_deg - (row + 0.5) * (up_deg - down_deg) / height)
        level = math.cos(elevation)
        direction = [level * math.cos(azimuth), level * math.sin(azimuth), math.sin(elevation)]
        points.append(range_m[row, column] * np.array(direction))
    return points


def window_points(panoramas: Panoramas, heading: int) -> list[Array]:
    """Points of the window of a heading of the last place."""
    return points_of(crop(panoramas, heading), 80.0, 16.0, -16.0)


def random_prediction(count: int, network: Any) -> ImagePrediction:
    """Of images, as SAFF would give it: all ranges are likely somewhere, no return as well."""
    logits = 2 * torch.randn(count, network.ranges.num_ranges + 1, *_MASK)
    logits[:, -1] += 3
    return ImagePrediction(torch.zeros(count, 8, 4, 8), torch.zeros(count, 15, *_MASK), logits)


def expected_ranges(range_logits: Tensor, seen: Tensor, edges_m: Sequence[float]) -> Array:
    """Ranges (h, w) that logits (R + 1, h, w) expect, zero for no return, and where not seen."""
    logits, range_m = values(range_logits), np.zeros(_MASK)
    for row, column in np.ndindex(*_MASK):
        *probs, nothing = softmax(logits[:, row, column])
        if nothing < 0.5 and seen[row, column]:
            middles = np.sqrt(np.multiply(edges_m[:-1], edges_m[1:]))
            log = sum(p * math.log(middle) for p, middle in zip(probs, middles, strict=True))
            range_m[row, column] = math.exp(log / sum(probs))
    assert 0.1 < (range_m > 0).mean() < 0.9
    return range_m


@torch.no_grad()
def tower_features(tower: nn.Module, image: Array) -> Array:
    """What a tower of the network makes of one image (C, H, W)."""
    return values(tower(torch.from_numpy(image).float()[None])[0])
