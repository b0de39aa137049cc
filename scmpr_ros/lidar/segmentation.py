"""Classes of unlabelled map points from their geometry alone: 3DSegmentation of eq. 5.

Small networks judge each voxel of the map by the shape of its surroundings (`point_shape`), and
their mean is taken: what differs from one to the next was chance. They were fitted to the labelled
scans of towns (`training.point_segmentation`), in their true poses and in wrong ones, as real maps
are blurred. Cars, which a map without labels still has, are told as well, so that they can be left
out. Ground is parted by a rule: kerbs are too low to tell a sidewalk from a road, and what is rough
ground depends on the map.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from scmpr_ros.errors import DatasetError
from scmpr_ros.geometry import voxel_keys
from scmpr_ros.lidar.point_shape import (
    NUM_FEATURES,
    THICKNESS,
    DescribedVoxels,
    describe_points,
    local_shape,
)
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import CLASSES, NUM_CLASSES, STATIC_IDS, Role, class_id

ROAD, TERRAIN = class_id("road"), class_id("terrain")
WEIGHTS = Path(__file__).with_name("segmentation.safetensors")
_MEMBERS = 5
_WIDTH = 64
_LIMIT = 6.0  # standard deviations; stranger than all that was seen is no stranger than that
_CONTEXT_M = 2.0
_VOXELS_PER_BATCH = 100_000


class PointNetwork(nn.Module):
    """From the description of a voxel to how probable its classes are."""

    def __init__(self) -> None:
        super().__init__()
        self.mean: Tensor
        self.deviation: Tensor
        self.confusion: Tensor
        self.register_buffer("mean", torch.zeros(NUM_FEATURES))
        self.register_buffer("deviation", torch.ones(NUM_FEATURES))
        self.register_buffer("confusion", torch.eye(len(STATIC_IDS)))
        self.members = nn.ModuleList(
            nn.Sequential(
                nn.Linear(NUM_FEATURES, _WIDTH), nn.ReLU(),
                nn.Linear(_WIDTH, _WIDTH), nn.ReLU(),
                nn.Linear(_WIDTH, NUM_CLASSES),
            )
            for _ in range(_MEMBERS)
        )  # fmt: skip
        known = [c.role in (Role.STATIC, Role.DYNAMIC) for c in CLASSES]
        self.register_buffer("_known", torch.tensor(known), persistent=False)
        self._known: Tensor

    def forward(self, features: Tensor) -> Tensor:
        """Probabilities (V, NUM_CLASSES) of features (V, NUM_FEATURES), the members' mean."""
        logits = [self.logits(number, features) for number in range(len(self.members))]
        return torch.stack(logits).softmax(-1).mean(0)

    def logits(self, member: int, features: Tensor) -> Tensor:
        """What one member says; minus infinity for what no LiDAR sees."""
        scaled = ((features - self.mean) / self.deviation).clamp(-_LIMIT, _LIMIT)
        return self.members[member](scaled).masked_fill(~self._known, -torch.inf)


@cache
def point_network() -> PointNetwork:
    """The networks that the package comes with."""
    network = PointNetwork()
    network.load_state_dict(load_file(WEIGHTS))
    return network.eval()


def point_confusion() -> NDArray[np.float32]:
    """What `segment_points` takes each static class for, as `semantics.label_confusion` has it.

    Shares of points of towns that the network was not fitted to.
    """
    return point_network().confusion.numpy()


def segment_points(cloud: PointCloud) -> NDArray[np.uint8]:
    """Label the points of a map, (N,) joint ids.

    cloud: a map with z up; labels and intensity are not looked at. Raises DatasetError if empty.
    """
    if len(cloud) == 0:
        raise DatasetError("cannot segment an empty point cloud")
    return classify(point_network(), describe_points(cloud.xyz))


@torch.no_grad()
def classify(network: PointNetwork, described: DescribedVoxels) -> NDArray[np.uint8]:
    """Joint ids (N,) of the points of described voxels.

    What stands together is mostly of one class: a voxel's class is the one that is likeliest by its
    own probability times the mean of all within `_CONTEXT_M`.
    """
    batches = torch.from_numpy(described.features).split(_VOXELS_PER_BATCH)
    probability = torch.cat([network(batch) for batch in batches]).numpy()
    block = np.unique(voxel_keys(described.centre, _CONTEXT_M), return_inverse=True)[1]
    count = np.bincount(block)
    for of_class in probability.T:
        of_class *= (np.bincount(block, of_class) / count)[block]
    label = probability.argmax(axis=1).astype(np.uint8)
    ground = label == ROAD
    label[ground] = _classify_ground(described.centre[ground])
    return label[described.voxel]


def _classify_ground(xyz: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Road or terrain: rough is what is far rougher than most of this map's ground.

    A fixed threshold would not do, because sensors and pose errors differ.
    """
    if len(xyz) == 0:
        return np.empty(0, np.uint8)
    thickness_m = local_shape(xyz, neighbours=32, radius_m=1.2)[:, THICKNESS]
    rough = thickness_m > 4.0 * np.percentile(thickness_m, 40)
    return np.where(rough, TERRAIN, ROAD).astype(np.uint8)
