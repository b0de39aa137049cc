"""What a method learns from: its losses, and the state that they need while training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from scmpr_ros.errors import ConfigError
from scmpr_ros.methods.contrast import Viewpoints
from scmpr_ros.methods.network import PlaceNetwork
from scmpr_ros.methods.pair_batch import PairBatch
from scmpr_ros.networks.distributed import gather


@dataclass(frozen=True)
class ObjectiveConfig:
    """What every contrastive objective needs.

    ambiguous_radius_m, ambiguous_angle_deg: a place and heading as close to an image as this is
        neither right nor wrong for it.
    initial_scale, max_scale: of the similarities, an inverse temperature, which is learned.
    """

    ambiguous_radius_m: float = 6.0
    ambiguous_angle_deg: float = 26.0
    initial_scale: float = 14.0
    max_scale: float = 100.0

    def __post_init__(self) -> None:
        if not 0 < self.initial_scale <= self.max_scale:
            raise ConfigError(
                f"initial_scale {self.initial_scale} must lie in (0, max_scale = {self.max_scale}]"
            )

    @property
    def ambiguity(self) -> tuple[float, float]:
        """Radius in metres and angle in radians."""
        return self.ambiguous_radius_m, math.radians(self.ambiguous_angle_deg)


class Objective(nn.Module):
    """Computes the losses of a network; its own parameters are learned with the network's."""

    tasks: ClassVar[tuple[str, ...]] = ("place",)
    """What can be learned: `place` is everything; others are stages to start from."""

    def __init__(self, network: PlaceNetwork, config: ObjectiveConfig, task: str) -> None:
        """task: one of `tasks`."""
        super().__init__()
        self._network = [network]  # in a list: not a second set of parameters
        self.config, self.task = config, task
        self.log_scale = nn.Parameter(torch.tensor(math.log(config.initial_scale)))

    @property
    def network(self) -> PlaceNetwork:
        """The network that learns."""
        return self._network[0]

    @property
    def scale(self) -> Tensor:
        """Inverse temperature, learned."""
        return self.log_scale.exp().clamp_max(self.config.max_scale)

    @property
    def weights(self) -> Mapping[str, float]:
        """Weight of each loss in the total, by name; 1 for those not named."""
        return {}

    def losses(self, batch: PairBatch) -> dict[str, Tensor]:
        """Losses of an augmented batch, by name."""
        raise NotImplementedError

    def total(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Weighted sum of losses: eq. 12."""
        weights = self.weights
        return torch.stack([weights.get(name, 1.0) * x for name, x in losses.items()]).sum()


def viewpoints(batch: PairBatch) -> tuple[Viewpoints, Viewpoints]:
    """Where the images and the places of the whole batch are, in all processes."""
    recording = gather(batch.recording)
    images = Viewpoints(gather(batch.view_position), recording, gather(batch.yaw_rad))
    places = Viewpoints(gather(batch.place_position), recording, gather(batch.turned_rad))
    return images, places
