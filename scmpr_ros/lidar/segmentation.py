"""Classify unlabelled map points by their geometry: 3DSegmentation of eq. 5.

Small networks classify each voxel of the map by the features of `point_shape`. Others then look
again, and also see what the neighbours were classified as (`class_context`). They were trained on
labelled scans of towns (`training.point_segmentation`), with true and with disturbed poses, since
real maps are blurred, and with the traces of moving and the bodies of parked vehicles, so that both
can be removed from the map. Where the points have intensities they are used: pavements are brighter
than roads, and signs than poles.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from scmpr_ros.errors import DatasetError
from scmpr_ros.geometry import voxel_keys
from scmpr_ros.lidar.class_context import CONTEXT_FEATURES, class_context
from scmpr_ros.lidar.point_shape import (
    NUM_FEATURES,
    REACH_M,
    VOXEL_M,
    DescribedVoxels,
    describe_points,
)
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import CLASSES, NUM_CLASSES, STATIC_IDS, Role

WEIGHTS = Path(__file__).with_name("segmentation.safetensors")
_MEMBERS = 3
_WIDTH = 64
_LIMIT = 6.0  # features are clipped, in standard deviations
_VOXELS_PER_BATCH = 100_000
_VOXELS_PER_PART = 600_000  # bounds the memory to about a gigabyte
_SMALLEST_PART_M = 25.0


class VoxelClassifier(nn.Module):
    """Ensemble that maps features of voxels to class probabilities."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.zeros(num_features))
        self.register_buffer("deviation", torch.ones(num_features))
        self.members = nn.ModuleList(
            nn.Sequential(
                nn.Linear(num_features, _WIDTH), nn.ReLU(),
                nn.Linear(_WIDTH, _WIDTH), nn.ReLU(),
                nn.Linear(_WIDTH, NUM_CLASSES),
            )
            for _ in range(_MEMBERS)
        )  # fmt: skip
        known = [c.role in (Role.STATIC, Role.DYNAMIC) for c in CLASSES]
        self.register_buffer("_known", torch.tensor(known), persistent=False)
        self._known: Tensor

    def forward(self, features: Tensor) -> Tensor:
        """Mean of the members' probabilities (V, NUM_CLASSES) for features (V, F)."""
        logits = [self.logits(number, features) for number in range(len(self.members))]
        return torch.stack(logits).softmax(-1).mean(0)

    def logits(self, member: int, features: Tensor) -> Tensor:
        """Logits (V, NUM_CLASSES) of one member; -inf for classes that no LiDAR sees.

        NaN features, which are unknown, count as usual ones.
        """
        scaled = ((features - self.mean) / self.deviation).clamp(-_LIMIT, _LIMIT).nan_to_num(0.0)
        return self.members[member](scaled).masked_fill(~self._known, -torch.inf)


class PointNetwork(nn.Module):
    """The two looks at the voxels of a map.

    first: sees the features of each voxel. second: sees what the first made of its neighbours, too.
    confusion: see `semantics.label_confusion`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first = VoxelClassifier(NUM_FEATURES)
        self.second = VoxelClassifier(NUM_FEATURES + CONTEXT_FEATURES)
        self.confusion: Tensor
        self.register_buffer("confusion", torch.eye(len(STATIC_IDS)))

    @torch.no_grad()
    def classify(self, described: DescribedVoxels) -> NDArray[np.float32]:
        """Class probabilities (V, NUM_CLASSES) of voxels with features."""
        return _in_batches(self.second, self.with_context(described))

    @torch.no_grad()
    def with_context(self, described: DescribedVoxels) -> NDArray[np.float32]:
        """Features (V, F) of the second look: those of the first one, and what it saw."""
        probability = _in_batches(self.first, described.features)
        context = class_context(described.centre, described.height_m, probability)
        return np.concatenate([described.features, context], axis=1)


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

    cloud: a map with z up; its labels are ignored. Raises DatasetError if empty.
    """
    return segment_with_confidence(cloud)[0]


def segment_with_confidence(
    cloud: PointCloud,
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Classify as `segment_points` does; also give each point's probability of its class, (N,).

    Large clouds are classified in parts with margins, so that memory stays bounded; parts of a map
    get the same classes as the whole, but for a few points near their borders.
    """
    if len(cloud) == 0:
        raise DatasetError("cannot segment an empty point cloud")
    label = np.empty(len(cloud), np.uint8)
    confidence = np.empty(len(cloud), np.float32)
    for inside, around in _parts(cloud.xyz):
        intensity = None if cloud.intensity is None else cloud.intensity[around]
        described = describe_points(cloud.xyz[around], intensity)
        probability = point_network().classify(described)
        voxel = described.voxel[inside]
        label[around[inside]] = probability.argmax(axis=1)[voxel]
        confidence[around[inside]] = probability.max(axis=1)[voxel]
    return label, confidence


def _parts(
    xyz: NDArray[np.floating],
) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.int64]]]:
    """Divide points (N, 3) into parts of bounded size.

    Yields the indices (M,) of the points in and around a part, and which of those (M,) are in it.
    """
    low, high = xyz[:, :2].min(axis=0), np.nextafter(xyz[:, :2].max(axis=0), np.inf)
    waiting = [(low.astype(np.float64), high.astype(np.float64), np.arange(len(xyz)))]
    while waiting:
        low, high, candidates = waiting.pop()
        xy = xyz[candidates, :2]
        around = ((xy >= low - REACH_M) & (xy < high + REACH_M)).all(axis=1)
        candidates, xy = candidates[around], xy[around]
        size = high - low
        if size.max() >= 2 * _SMALLEST_PART_M and _count_voxels(xyz[candidates]) > _VOXELS_PER_PART:
            axis = int(size.argmax())
            middle = np.where(np.arange(2) == axis, (low + high) / 2, high)
            waiting += [
                (low, middle, candidates),
                (np.where(np.arange(2) == axis, middle, low), high, candidates),
            ]
            continue
        inside = ((xy >= low) & (xy < high)).all(axis=1)
        if inside.any():
            yield inside, candidates


def _count_voxels(xyz: NDArray[np.floating]) -> int:
    if len(xyz) <= _VOXELS_PER_PART:
        return len(xyz)
    return len(np.unique(voxel_keys(xyz, VOXEL_M)))


def _in_batches(network: VoxelClassifier, features: NDArray[np.float32]) -> NDArray[np.float32]:
    batches = torch.from_numpy(features).split(_VOXELS_PER_BATCH)
    probability: NDArray[np.float32] = torch.cat([network(batch) for batch in batches]).numpy()
    return probability
