"""VXP's three stages: the teacher, then local, then global correspondence of the student."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor
from torch.nn import functional

from scmpr_ros.errors import ConfigError
from scmpr_ros.methods.contrast import Viewpoints, ambiguous_pairs
from scmpr_ros.methods.objective import viewpoints
from scmpr_ros.methods.pair_batch import PairBatch
from scmpr_ros.methods.range_points import rotated, turned
from scmpr_ros.methods.vxp.network import VxpNetwork
from scmpr_ros.methods.vxp.voxel_encoder import VoxelFeatures
from scmpr_ros.methods.window_objective import WindowObjective, WindowObjectiveConfig
from scmpr_ros.networks.distributed import gather


@dataclass(frozen=True)
class VxpObjectiveConfig(WindowObjectiveConfig):
    """match: in the last stage, the student either repeats the teacher's descriptors, as in the
        paper, or both learn by contrast.
    teacher_margin: of the triplets of images, whose descriptors are not normalised.
    positive_m, negative_m: images of nearly one heading show the same if they are closer than the
        first, and something else from the second on; in between they are left out of the triplets.
    """

    match: Literal["teacher", "contrast"] = "teacher"
    teacher_margin: float = 0.3
    positive_m: float = 10.0
    negative_m: float = 25.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.positive_m <= self.negative_m:
            raise ConfigError("positive_m must be positive and not more than negative_m")


class VxpObjective(WindowObjective):
    """Tasks `teacher`, `local` and `place`, each of which starts from the one before."""

    tasks: ClassVar[tuple[str, ...]] = ("place", "teacher", "local")
    config: VxpObjectiveConfig

    def __init__(self, network: VxpNetwork, config: VxpObjectiveConfig, task: str) -> None:
        super().__init__(network, config, task)
        if self._repeats_teacher:
            for part in network.teacher:
                part.requires_grad_(False)

    @property
    def network(self) -> VxpNetwork:
        """The network that learns."""
        return cast(VxpNetwork, self._network[0])

    @property
    def contrasts(self) -> bool:
        """Whether both sides learn by contrast in the last stage."""
        return self.task == "place" and self.config.match == "contrast"

    @property
    def _repeats_teacher(self) -> bool:
        return self.task == "local" or (self.task == "place" and self.config.match == "teacher")

    def losses(self, batch: PairBatch) -> dict[str, Tensor]:
        """The loss of the stage."""
        if self.task == "teacher":
            return {"teacher": self._teacher_loss(batch)}
        if self.task == "local":
            return {"local": self._local_loss(batch)}
        if self.contrasts:
            return super().losses(batch)
        target = self.network.image_embedding(self._teacher_features(batch))
        found = self.network.point_embedding(self.window(batch).points)
        for whitening in (self.network.image_whitening, self.network.voxel_whitening):
            whitening(target)  # measures its statistics: one mean and scale for both sides
        return {"global": functional.smooth_l1_loss(found, target)}

    def _teacher_features(self, batch: PairBatch) -> Tensor:
        """Local features of the images; a teacher keeps its running statistics."""
        tower = self.network.tower
        learning = {part: part.training for part in tower.modules()}
        tower.eval()
        with torch.no_grad():
            features = self.network.image_features(batch.view)
        for part, training in learning.items():
            part.training = training
        return features

    def _teacher_loss(self, batch: PairBatch) -> Tensor:
        """Triplets of images, see `batch_hard_triplets`."""
        features = self.network.image_features(batch.view)
        embedding = gather(self.network.image_embedding(features))
        images, config = viewpoints(batch)[0], self.config
        _, angle_rad = config.ambiguity
        alike, unclear = (
            _alike(images, radius_m, angle_rad)
            for radius_m in (config.positive_m, config.negative_m)
        )
        return batch_hard_triplets(embedding, alike, ~unclear, config.teacher_margin)

    def _local_loss(self, batch: PairBatch) -> Tensor:
        """Features of voxels against the teacher's at the pixels that show them.

        Near voxels count more: weights are inverse distances.
        """
        network, count = self.network, len(batch)
        network.start_student()  # for the last stage: the teacher does not change any more
        target = self._teacher_features(batch).flatten(2)  # (B, C, h * w)
        window = self.window(batch)
        voxels: VoxelFeatures = network.voxel_encoder(window.points)
        centre = self._in_view(voxels, batch)
        # The distance is projected as one feature more.
        with_distance = torch.cat([voxels.features, centre.norm(dim=1, keepdim=True)], dim=1)
        projected, occupied = network.project(
            voxels._replace(features=with_distance), centre, count
        )
        features, distance = projected[:, :-1], projected[:, -1]
        loss = functional.smooth_l1_loss(features, target, reduction="none").mean(1)
        weight = occupied / distance.clamp_min(1.0)
        return (loss * weight).sum() / weight.sum().clamp_min(1e-6)

    def _in_view(self, voxels: VoxelFeatures, batch: PairBatch) -> Tensor:
        """Centres (M, 3) of voxels in the axes of the image, which is not exactly at the place."""
        heading = self.network.nearest_heading(batch.yaw_rad + batch.turned_rad)
        in_place = turned(voxels.centre, (heading - batch.turned_rad)[voxels.window])
        in_map = rotated(batch.place_axes[voxels.window], in_place)
        in_map = in_map + batch.place_position[voxels.window]
        offset = in_map - batch.view_position[voxels.window]
        return rotated(batch.view_axes[voxels.window].mT, offset)


def batch_hard_triplets(
    embedding: Tensor, positive: Tensor, negative: Tensor, margin: float
) -> Tensor:
    """Mean of the violated triplets of each image, its farthest positive and its nearest negative.

    With distances d of an image a, its positive p and its negative n, a triplet costs
    d(a, p) - min(d(a, n), d(p, n)) + margin, if that is more than zero.

    embedding: (B, D). positive, negative: (B, B) bool, which pairs are.
    """
    distance = torch.cdist(embedding, embedding)
    own = torch.eye(len(distance), dtype=torch.bool, device=distance.device)
    farthest, far = distance.masked_fill(~positive | own, -1).max(1)
    nearest, near = distance.masked_fill(~negative, torch.inf).min(1)
    usable = (farthest >= 0) & nearest.isfinite()
    wrong = torch.minimum(nearest, distance[far, near])
    cost = (farthest - wrong + margin)[usable].relu()
    violated = cost[cost > 0]
    return violated.mean() if len(violated) else embedding.sum() * 0


def _alike(images: Viewpoints, radius_m: float, angle_rad: float) -> Tensor:
    """Pairs (B, B) of images that show the same: near each other, with nearly the same heading."""
    upright = Viewpoints(images.position, images.recording, torch.zeros_like(images.yaw_rad))
    return ambiguous_pairs(images, upright, images.yaw_rad[:, None], radius_m, angle_rad)[..., 0]
