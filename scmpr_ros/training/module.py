"""The lightning module: one step of cross-modal semantic contrastive learning (section 3.5)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from scmpr_ros.errors import ConfigError
from scmpr_ros.evaluation.metrics import (
    Tolerance,
    heading_errors,
    position_errors,
    recall_at,
    within,
)
from scmpr_ros.networks.attention import mean_tokens
from scmpr_ros.networks.netvlad import heading_windows
from scmpr_ros.networks.scmpr import ScmprConfig, ScmprNetwork
from scmpr_ros.training.augmentation import AugmentationConfig, augment_panoramas, augment_views
from scmpr_ros.training.losses import (
    ambiguous_pairs,
    contrastive_loss,
    heading_targets,
    segmentation_loss,
    semantic_consistency_loss,
)
from scmpr_ros.training.pairs import Town, seen_cells

_PANORAMA = ("range_m", "height_m", "normal", "label")


@dataclass(frozen=True)
class LossConfig:
    """Weights of eq. 12 and what counts as the same place in the contrastive loss."""

    semantic_weight: float = 0.1
    """lambda of eq. 12."""
    segmentation_weight: float = 1.0
    ambiguous_radius_m: float = 6.0
    ambiguous_angle_deg: float = 26.0
    initial_scale: float = 14.0
    max_scale: float = 100.0


@dataclass(frozen=True)
class OptimiserConfig:
    """AdamW with linear warm-up and a cosine down to zero at `max_steps`."""

    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup_steps: int = 200
    max_steps: int = 4000
    clip_norm: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.warmup_steps < self.max_steps:
            raise ConfigError(
                f"warmup_steps {self.warmup_steps} must be less than max_steps {self.max_steps}"
            )


@dataclass(frozen=True)
class ModuleConfig:
    """Everything the module needs."""

    network: ScmprConfig = field(default_factory=ScmprConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)


class PlaceRecognitionModule(lightning.LightningModule):
    """Trains `network` on batches of `pairs.PairDataset`; validates by retrieval in whole towns."""

    def __init__(self, config: ModuleConfig, validation_towns: list[Town], seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.seed = seed
        self.network = ScmprNetwork(config.network, stochastic_depth=True)
        self.log_scale = nn.Parameter(torch.tensor(math.log(config.loss.initial_scale)))
        self.validation_towns = validation_towns

    def on_train_batch_start(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Let what is random in a step depend on its number alone: runs resume exactly."""
        words = np.random.SeedSequence([self.seed, self.global_step, self.global_rank])
        torch.manual_seed(int(words.generate_state(1, np.uint64)[0] >> np.uint64(1)))

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """L_total of one batch, eq. 12."""
        network, loss = self.network, self.config.loss
        view = augment_views(batch["view"], self.config.augmentation)
        panorama = augment_panoramas({k: batch[k] for k in _PANORAMA}, self.config.augmentation)

        place_features = network.encode_panorama(**panorama)
        place_descriptors = network.describe_headings(place_features, panorama["label"])
        context = network.semantic_context(place_features, panorama["label"])
        image = network.encode_image(view, batch["seen"], context)

        headings = network.headings_rad.to(view)
        target = heading_targets(batch["yaw_rad"], headings)
        ambiguous = ambiguous_pairs(
            batch["view_position"], batch["place_position"], batch["yaw_rad"], headings,
            batch["town"], loss.ambiguous_radius_m, math.radians(loss.ambiguous_angle_deg),
        )  # fmt: skip
        scale = self.log_scale.exp().clamp_max(loss.max_scale)
        contrastive = contrastive_loss(
            image.descriptor, place_descriptors, target, ambiguous, scale
        )
        window = heading_windows(
            batch["yaw_rad"], network.config.view.fov_rad, place_features.shape[-1], blocks=1
        )[:, 0]
        semantic = semantic_consistency_loss(
            image.features, batch["mask"], place_features, panorama["label"], window
        )
        segmentation = segmentation_loss(image.mask_logits, batch["mask"])
        total = (
            contrastive + loss.semantic_weight * semantic + loss.segmentation_weight * segmentation
        )
        self.log_dict(
            {
                "loss/total": total, "loss/contrastive": contrastive, "loss/semantic": semantic,
                "loss/segmentation": segmentation, "scale": scale,
            },
            prog_bar=True,
        )  # fmt: skip
        return total

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """Recall@1 by descriptors alone, in the validation town whose number comes as a batch."""
        town = self.validation_towns[int(batch[0])]
        recall, near = retrieve_town(self.network, town)
        values = {"val/recall_5m_30deg": recall, "val/recall_5m": near}
        self.log_dict(values, prog_bar=True, batch_size=len(town.views))

    def configure_optimizers(self) -> Any:
        """AdamW; no decay on biases, norms, scan parameters and the scale."""
        config = self.config.optimiser
        groups: list[dict[str, Any]] = [
            {"params": [p for p in self.parameters() if _decays(p)]},
            {"params": [p for p in self.parameters() if not _decays(p)], "weight_decay": 0.0},
        ]
        optimiser = torch.optim.AdamW(
            groups, lr=config.learning_rate, weight_decay=config.weight_decay
        )

        def factor(step: int) -> float:
            if step < config.warmup_steps:
                return (step + 1) / config.warmup_steps
            progress = (step - config.warmup_steps) / (config.max_steps - config.warmup_steps)
            return 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))

        schedule = {"scheduler": LambdaLR(optimiser, factor), "interval": "step"}
        return {"optimizer": optimiser, "lr_scheduler": schedule}


def _decays(parameter: Tensor) -> bool:
    """Matrices and kernels; VMamba's A_logs (4 Di, 1) is a vector in all but shape."""
    return parameter.ndim >= 2 and parameter[0].numel() > 1


@torch.no_grad()
def retrieve_town(network: ScmprNetwork, town: Town, batch: int = 32) -> tuple[float, float]:
    """Recall@1 of all views of a town: within `Tolerance`'s 5 m and 30 degrees, and 5 m alone."""
    panoramas = zip(*(getattr(town, name).split(batch) for name in _PANORAMA), strict=True)
    features, tokens = [], []
    for range_m, height_m, normal, label in panoramas:
        encoded = network.encode_panorama(range_m.float(), height_m.float(), normal.float(), label)
        features.append(network.describe_headings(encoded, label))
        tokens.append(network.class_tokens(encoded, label))
    sums, weights = (torch.cat(parts) for parts in zip(*tokens, strict=True))
    context = mean_tokens(sums, weights)
    descriptors = torch.cat(features)
    queries = []
    for views in town.views.split(batch):
        encoding = network.encode_image(views.float() / 255, seen_cells(views), context)
        queries.append(encoding.descriptor)
    best = (torch.cat(queries) @ descriptors.flatten(0, 1).T).argmax(1)
    place = torch.div(best, descriptors.shape[1], rounding_mode="floor")
    yaw = network.headings_rad[best % descriptors.shape[1]]
    off_m = position_errors(town.positions[place].numpy(), town.poses[:, :3, 3].numpy())
    turned_rad = heading_errors(yaw.numpy(), town.yaw_rad.numpy())
    tolerances = Tolerance(), Tolerance(angle_deg=180)
    recall, near = (
        recall_at(1, within(off_m, turned_rad, tolerance)[:, None]) for tolerance in tolerances
    )
    return recall, near
