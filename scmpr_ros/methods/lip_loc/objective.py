"""LIP-Loc's one loss: symmetric InfoNCE between images and the windows they look through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from scmpr_ros.methods.lip_loc.network import LipLocNetwork
from scmpr_ros.methods.window_objective import WindowObjective, WindowObjectiveConfig


@dataclass(frozen=True)
class LipLocObjectiveConfig(WindowObjectiveConfig):
    """frozen_range_tower: keep the weights of the range tower, and learn its head only."""

    frozen_range_tower: bool = False


class LipLocObjective(WindowObjective):
    """The contrast of all windows with one part that can be frozen."""

    def __init__(self, network: LipLocNetwork, config: LipLocObjectiveConfig, task: str) -> None:
        super().__init__(network, config, task)
        if config.frozen_range_tower:
            cast(LipLocNetwork, self.network).range_tower.requires_grad_(False)
