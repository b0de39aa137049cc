"""The contrast of images with the window of each place that they look through."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, cast

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from scmpr_ros.errors import ConfigError
from scmpr_ros.methods.contrast import ambiguous_pairs, contrastive_loss, cosines, triplet_loss
from scmpr_ros.methods.memory import DescriptorMemory
from scmpr_ros.methods.objective import Objective, ObjectiveConfig, viewpoints
from scmpr_ros.methods.pair_batch import PairBatch, map_tensors
from scmpr_ros.methods.views import PlaceView, QueryView
from scmpr_ros.methods.windows import WindowNetwork
from scmpr_ros.networks.distributed import gather


@dataclass(frozen=True)
class WindowObjectiveConfig(ObjectiveConfig):
    """How images and windows are contrasted.

    contrast: InfoNCE against all others of the batch, or triplets with the hardest of them.
    triplet_margin: of the cosine; half of a margin of squared distances.
    memory: windows of earlier batches that stay as negatives.
    encoded_at_once: pairs whose activations are kept; larger batches are encoded in parts of this
        size, and again when gradients are computed, so that memory does not limit the number of
        negatives (Gao et al. 2021). Batch norms that are not frozen then see a part at a time. 0
        encodes all at once.
    """

    contrast: Literal["infonce", "triplet"] = "infonce"
    triplet_margin: float = 0.15
    memory: int = 0
    encoded_at_once: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.encoded_at_once, self.memory) < 0 or self.triplet_margin <= 0:
            raise ConfigError("triplet_margin must be positive, memory and encoded_at_once not "
                              "negative")  # fmt: skip


class WindowObjective(Objective):
    """Contrasts each image with one window of each place: the heading nearest to its own image."""

    config: WindowObjectiveConfig

    def __init__(self, network: WindowNetwork, config: WindowObjectiveConfig, task: str) -> None:
        super().__init__(network, config, task)
        if not self.contrasts and (config.memory or config.encoded_at_once):
            raise ConfigError(
                f"module.loss.memory and encoded_at_once are for descriptors that are contrasted; "
                f"task {task} of {network.method} has other losses: leave them at 0"
            )
        self.memory = DescriptorMemory(config.memory, 1, network.descriptor_dim)

    @property
    def network(self) -> WindowNetwork:
        """The network that learns."""
        return cast(WindowNetwork, self._network[0])

    @property
    def contrasts(self) -> bool:
        """Whether the task contrasts images with windows, by `contrast`."""
        return True

    def losses(self, batch: PairBatch) -> dict[str, Tensor]:
        """The contrastive loss of a batch."""
        parts = list(in_parts(self._describe, batch, self.config.encoded_at_once))
        queries, windows = (gather(torch.cat(part)) for part in zip(*parts, strict=True))
        return {"contrastive": self.contrast(queries, windows, batch)}

    def contrast(self, queries: Tensor, windows: Tensor, batch: PairBatch) -> Tensor:
        """Loss of unit descriptors of images and of their windows, (B, D) each, of the batch."""
        images, places = viewpoints(batch)
        headings_rad = self.network.nearest_heading(images.yaw_rad + places.yaw_rad)
        # As if each place were turned so that its window looks along x: one heading for all.
        faced = replace(places, yaw_rad=places.yaw_rad - headings_rad)
        ahead = headings_rad.new_zeros(1)
        similarity = cosines(queries, windows[:, None])
        target = torch.ones_like(headings_rad)[:, None]
        ambiguous = ambiguous_pairs(images, faced, ahead, *self.config.ambiguity)
        remembered = self.memory.similarity(queries, images, ahead, *self.config.ambiguity)
        self.memory.remember(windows[:, None], faced)
        if self.config.contrast == "triplet":
            margin = self.config.triplet_margin
            return triplet_loss(similarity, target, ambiguous, margin, remembered)
        return contrastive_loss(similarity, target, ambiguous, self.scale, remembered)

    def _describe(self, batch: PairBatch) -> tuple[Tensor, Tensor]:
        """Descriptors of images and of their windows, (B, D) each."""
        return self.network.describe_pairs(QueryView(batch.view, batch.seen), self.window(batch))

    def window(self, batch: PairBatch) -> PlaceView:
        """The window of each place that its image looks through."""
        place = PlaceView.of(batch.panorama, self.network.config.panorama)
        yaw_rad = self.network.nearest_heading(batch.yaw_rad + batch.turned_rad)
        return place.window(yaw_rad, self.network.config.view.fov_rad)


def in_parts(
    function: Callable[[PairBatch], tuple[Tensor, ...]], batch: PairBatch, size: int
) -> Iterator[tuple[Tensor, ...]]:
    """Apply a function to parts of a batch, whose activations are not kept.

    size: of the parts; 0 applies it to the whole batch, and keeps the activations.
    """
    if size == 0:
        yield function(batch)
        return
    for start in range(0, len(batch), size):
        part = map_tensors(lambda x: x[start : start + size], batch)  # noqa: B023 - used at once
        yield checkpoint(function, part, use_reentrant=False)
