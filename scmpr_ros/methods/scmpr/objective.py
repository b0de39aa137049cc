"""L_total of eq. 12, L_contrastive + lambda L_sem + L_seg, and the losses that may join it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, cast

from torch import Tensor

from scmpr_ros.errors import ConfigError
from scmpr_ros.methods.contrast import (
    ambiguous_pairs,
    contrastive_loss,
    cosines,
    heading_targets,
    triplet_loss,
)
from scmpr_ros.methods.memory import DescriptorMemory
from scmpr_ros.methods.network import Query
from scmpr_ros.methods.objective import Objective, ObjectiveConfig, viewpoints
from scmpr_ros.methods.pair_batch import PairBatch
from scmpr_ros.methods.scmpr.alignment import Alignment
from scmpr_ros.methods.scmpr.losses import (
    alignment_loss,
    depth_loss,
    segmentation_loss,
    semantic_consistency_loss,
)
from scmpr_ros.methods.scmpr.network import ScmprNetwork
from scmpr_ros.methods.views import QueryView
from scmpr_ros.networks.attention import class_tokens, mean_tokens
from scmpr_ros.networks.distributed import gather
from scmpr_ros.networks.netvlad import heading_windows
from scmpr_ros.networks.one_hot import class_fractions
from scmpr_ros.networks.saff import ImagePrediction


@dataclass(frozen=True)
class ScmprObjectiveConfig(ObjectiveConfig):
    """Weights of eq. 12 and of further losses.

    contrast: of images and places: InfoNCE, or triplets with the hardest negative.
    semantic_weight: lambda of eq. 12. segmentation_weight: of L_seg. depth_weight: of the range
        head's loss.
    local_weight: of the alignment of pixels and map points in the task `place`; the task `local`
        has no other loss. local_points: pairs of a pixel and a map point drawn from a batch.
    triplet_margin: of the cosine.
    memory: places of earlier batches that stay as negatives.
    """

    contrast: Literal["infonce", "triplet"] = "infonce"
    semantic_weight: float = 0.1
    segmentation_weight: float = 1.0
    depth_weight: float = 1.0
    local_weight: float = 0.0
    local_points: int = 512
    triplet_margin: float = 0.3
    memory: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        weights = (self.semantic_weight, self.segmentation_weight, self.depth_weight)
        if min(*weights, self.local_weight, self.memory) < 0 or self.local_points < 2:
            raise ConfigError("weights and memory cannot be negative; local_points is 2 at least")


class ScmprObjective(Objective):
    """Task `place` learns everything; `segmentation` masks and ranges; `local` the alignment."""

    tasks: ClassVar[tuple[str, ...]] = ("place", "segmentation", "local")
    config: ScmprObjectiveConfig

    def __init__(self, network: ScmprNetwork, config: ScmprObjectiveConfig, task: str) -> None:
        super().__init__(network, config, task)
        settings = network.config
        self.memory = DescriptorMemory(
            config.memory, settings.num_headings, settings.descriptor_dim
        )
        self._align = Alignment(settings.view, settings.panorama)

    @property
    def network(self) -> ScmprNetwork:
        """The network that learns."""
        return cast(ScmprNetwork, self._network[0])

    @property
    def weights(self) -> Mapping[str, float]:
        """Eq. 12's."""
        config = self.config
        return {
            "semantic": config.semantic_weight, "segmentation": config.segmentation_weight,
            "depth": config.depth_weight,
            "local": config.local_weight if self.task == "place" else 1.0,
        }  # fmt: skip

    def losses(self, batch: PairBatch) -> dict[str, Tensor]:
        """Losses of the task."""
        if self.task == "segmentation":
            return self._perception_losses(self.network.predict(batch.view), batch)
        network, panorama = self.network, batch.panorama
        place_features = network.encode_panorama(panorama)
        tokens = network.class_tokens(place_features, panorama.label)
        context = mean_tokens(*(gather(x) for x in tokens))
        query = network.describe_query(QueryView(batch.view, batch.seen), context)
        assert query.prediction is not None  # SCM-PR always predicts
        losses = {}
        if self.task == "local" or self.config.local_weight > 0:
            pairs = self._align(
                query.prediction.features, place_features, batch, self.config.local_points
            )
            losses["local"] = alignment_loss(*pairs, self.scale)
        if self.task == "local":
            return losses
        windows = network.describe_headings(place_features, panorama.label, panorama.range_m)
        losses["contrastive"] = self._contrast(query, windows, batch)
        losses["semantic"] = self._consistency(query.prediction.features, place_features, batch)
        return losses | self._perception_losses(query.prediction, batch)

    def _perception_losses(
        self, prediction: ImagePrediction, batch: PairBatch
    ) -> dict[str, Tensor]:
        """L_seg and the range head's loss."""
        losses = {
            "segmentation": segmentation_loss(
                prediction.mask_logits, batch.mask, batch.mask_confusion
            )
        }
        if prediction.range_logits is not None:
            losses["depth"] = depth_loss(
                prediction.range_logits, batch.depth, batch.seen, self.network.config.depth
            )
        return losses

    def _contrast(self, query: Query, windows: Tensor, batch: PairBatch) -> Tensor:
        """L_contrastive of the whole batch, in all processes. windows: (B, V, D)."""
        config, windows = self.config, gather(windows)
        descriptors = gather(query.descriptor)
        images, places = viewpoints(batch)
        headings_rad = self.network.headings_rad.to(descriptors)
        target = heading_targets(images.yaw_rad + places.yaw_rad, headings_rad)
        ambiguous = ambiguous_pairs(images, places, headings_rad, *config.ambiguity)
        similarity = cosines(descriptors, windows)
        remembered = self.memory.similarity(descriptors, images, headings_rad, *config.ambiguity)
        self.memory.remember(windows, places)
        if config.contrast == "triplet":
            return triplet_loss(similarity, target, ambiguous, config.triplet_margin, remembered)
        return contrastive_loss(similarity, target, ambiguous, self.scale, remembered)

    def _consistency(self, features: Tensor, place_features: Tensor, batch: PairBatch) -> Tensor:
        """L_sem of the batch: classes in each image, and in its window of the panorama."""
        of_image = class_tokens(features, class_fractions(batch.mask, features.shape[-2:]))
        fov_rad, columns = self.network.config.view.fov_rad, place_features.shape[-1]
        yaw_rad = batch.yaw_rad + batch.turned_rad
        window = heading_windows(yaw_rad, fov_rad, columns, blocks=1)[:, 0]
        classes = class_fractions(batch.panorama.label, place_features.shape[-2:])
        of_place = class_tokens(place_features, classes * window[:, None, None, :].clamp_max(1))
        return semantic_consistency_loss(*(gather(x) for x in (*of_image, *of_place)))
