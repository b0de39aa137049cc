"""Classify unlabelled map points by their geometry: 3DSegmentation of eq. 5.

An ensemble of small networks classifies each voxel of the map by the features of `point_shape`. It
was trained on labelled scans of towns (`training.point_segmentation`), with true and with disturbed
poses, since real maps are blurred. Cars are among the classes, so that they can be removed from the
map. Ground is divided by a rule into road and terrain: kerbs are too low to separate sidewalks from
roads, and roughness is relative to the map.
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
_LIMIT = 6.0  # features are clipped, in standard deviations
_CONTEXT_M = 2.0
_VOXELS_PER_BATCH = 100_000


class PointNetwork(nn.Module):
    """Ensemble that maps the features of a voxel to class probabilities."""

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
        """Mean of the members' probabilities (V, NUM_CLASSES) for features (V, NUM_FEATURES)."""
        logits = [self.logits(number, features) for number in range(len(self.members))]
        return torch.stack(logits).softmax(-1).mean(0)

    def logits(self, member: int, features: Tensor) -> Tensor:
        """Logits (V, NUM_CLASSES) of one member; -inf for classes that no LiDAR sees."""
        scaled = ((features - self.mean) / self.deviation).clamp(-_LIMIT, _LIMIT)
        return self.members[member](scaled).masked_fill(~self._known, -torch.inf)


@cache
def point_network() -> PointNetwork:
    """Load the network shipped with the package."""
    with torch.random.fork_rng(devices=[]):  # a training's random numbers must not depend on it
        network = PointNetwork()
    network.load_state_dict(load_file(WEIGHTS))
    return network.eval()


def point_confusion() -> NDArray[np.float32]:
    """Confusion matrix of `segment_points`, see `semantics.label_confusion`.

    Measured on towns that the network was not trained on.
    """
    return point_network().confusion.numpy()


def segment_points(cloud: PointCloud) -> NDArray[np.uint8]:
    """Classify the points of a map as joint ids (N,).

    cloud: a map with z up; its labels and intensity are ignored. Raises DatasetError if empty.
    """
    return segment_with_confidence(cloud)[0]


def segment_with_confidence(
    cloud: PointCloud,
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Classify as `segment_points` does; also give each point's probability of its class, (N,).

    All ground counts as one class in these probabilities, since a rule divides it.
    """
    if len(cloud) == 0:
        raise DatasetError("cannot segment an empty point cloud")
    described = describe_points(cloud.xyz)
    probability = _class_probability(point_network(), described)
    return _labels(probability, described), probability.max(axis=1)[described.voxel]


def classify(network: PointNetwork, described: DescribedVoxels) -> NDArray[np.uint8]:
    """Classify the points of voxels with features as joint ids (N,)."""
    return _labels(_class_probability(network, described), described)


@torch.no_grad()
def _class_probability(network: PointNetwork, described: DescribedVoxels) -> NDArray[np.float32]:
    """Class probabilities of each voxel, (V, NUM_CLASSES).

    Neighbouring voxels mostly belong to one class, so each voxel's probabilities are multiplied by
    their mean over its block of `_CONTEXT_M`.
    """
    batches = torch.from_numpy(described.features).split(_VOXELS_PER_BATCH)
    probability = torch.cat([network(batch) for batch in batches]).numpy()
    block = np.unique(voxel_keys(described.centre, _CONTEXT_M), return_inverse=True)[1]
    count = np.bincount(block)
    for class_probability in probability.T:
        class_probability *= (np.bincount(block, class_probability) / count)[block]
    total: NDArray[np.float32] = probability.sum(axis=1, keepdims=True)
    return probability / np.maximum(total, np.finfo(np.float32).tiny)


def _labels(probability: NDArray[np.float32], described: DescribedVoxels) -> NDArray[np.uint8]:
    """Most probable class of each point, ground divided into road and terrain."""
    label = probability.argmax(axis=1).astype(np.uint8)
    ground = label == ROAD
    label[ground] = _classify_ground(described.centre[ground])
    return label[described.voxel]


def _classify_ground(xyz: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Classify ground as terrain if it is much rougher than most of the map's ground, else road.

    A fixed threshold would not work, since sensors and pose errors differ.
    """
    if len(xyz) == 0:
        return np.empty(0, np.uint8)
    thickness_m = local_shape(xyz, neighbours=32, radius_m=1.2)[:, THICKNESS]
    rough = thickness_m > 4.0 * np.percentile(thickness_m, 40)
    return np.where(rough, TERRAIN, ROAD).astype(np.uint8)
