"""(LC)2's two phases: by how far views overlap, then by triplets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor
from torch.nn import functional

from scmpr_ros.errors import ConfigError
from scmpr_ros.methods.contrast import cosines
from scmpr_ros.methods.lc2.network import Lc2Network
from scmpr_ros.methods.lc2.overlap import sector_overlap
from scmpr_ros.methods.objective import viewpoints
from scmpr_ros.methods.pair_batch import PairBatch
from scmpr_ros.methods.views import PlaceView
from scmpr_ros.methods.window_objective import WindowObjective, WindowObjectiveConfig
from scmpr_ros.networks.distributed import gather


@dataclass(frozen=True)
class Lc2ObjectiveConfig(WindowObjectiveConfig):
    """distance_margin: tau of the first phase, between views that share nothing."""

    contrast: Literal["infonce", "triplet"] = "triplet"
    triplet_margin: float = 0.05
    distance_margin: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.distance_margin <= 2:
            raise ConfigError("distance_margin must lie in (0, 2]: unit vectors are no further")


class Lc2Objective(WindowObjective):
    """Task `overlap` is the first phase, `place` the second, which starts from it."""

    tasks: ClassVar[tuple[str, ...]] = ("place", "overlap")
    config: Lc2ObjectiveConfig

    @property
    def contrasts(self) -> bool:
        """Whether this is the second phase."""
        return self.task == "place"

    def losses(self, batch: PairBatch) -> dict[str, Tensor]:
        """The loss of the phase."""
        if self.contrasts:
            return super().losses(batch)
        network = cast(Lc2Network, self.network)
        fov_rad, reach_m = network.config.view.fov_rad, network.config.max_range_m
        # Windows of all degrees of overlap: turned away by up to a whole field of view.
        offset_rad = (2 * torch.rand(len(batch), device=batch.view.device) - 1) * fov_rad
        place = PlaceView.of(batch.panorama, network.config.panorama)
        window = place.window(batch.yaw_rad + batch.turned_rad + offset_rad, fov_rad)
        images = network.image_features(network.predict(batch.view), batch.seen)
        queries, windows = (
            gather(functional.normalize(network.gem(x.flatten(2)), dim=1))
            for x in (images, network.window_features(window))
        )
        seen, shown = viewpoints(batch)
        looking_rad = gather(batch.yaw_rad + offset_rad)  # of the windows, in the recording
        overlap = sector_overlap(
            seen.position, seen.yaw_rad, shown.position, looking_rad, fov_rad, reach_m
        )
        overlap = overlap * (seen.recording[:, None] == shown.recording)
        return {"overlap": overlap_loss(queries, windows, overlap, self.config.distance_margin)}


def overlap_loss(queries: Tensor, windows: Tensor, overlap: Tensor, margin: float) -> Tensor:
    """Contrastive loss graded by overlap (Leyva-Vallina et al. 2021).

    With the distance d of two descriptors and their overlap psi, a pair costs
    psi d^2 / 2 + (1 - psi) max(margin - d, 0)^2 / 2. Pairs that overlap are few in a batch: the
    loss is the mean of their mean and of the mean of all others, or the only one there is.

    queries, windows: (B, D), unit length. overlap: (B, B) in [0, 1].
    """
    distance = (2 - 2 * cosines(queries, windows[:, None])[..., 0]).clamp_min(1e-6).sqrt()
    loss = overlap * distance.square() + (1 - overlap) * (margin - distance).relu().square()
    some = overlap > 0
    parts = [loss[chosen].mean() for chosen in (some, ~some) if chosen.any()]
    return torch.stack(parts).mean() / 2
