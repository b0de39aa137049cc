"""The lightning module: one step of cross-modal semantic contrastive learning (section 3.5)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import lightning
import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from scmpr_ros.errors import ConfigError
from scmpr_ros.evaluation.iou import named_iou
from scmpr_ros.evaluation.metrics import Tolerance
from scmpr_ros.networks.attention import class_tokens, mean_tokens
from scmpr_ros.networks.distributed import gather
from scmpr_ros.networks.lip_loc import LipLocConfig, LipLocNetwork
from scmpr_ros.networks.netvlad import heading_windows
from scmpr_ros.networks.one_hot import class_fractions
from scmpr_ros.networks.place_network import ImageEncoding, PlaceNetworkConfig
from scmpr_ros.networks.saff import ImagePrediction
from scmpr_ros.networks.scmpr import ScmprConfig, ScmprNetwork, is_perception_weight
from scmpr_ros.training.alignment import Alignment
from scmpr_ros.training.augmentation import (
    AugmentationConfig,
    augment_panoramas,
    augment_views,
    mirror_worlds,
    turn_panoramas,
)
from scmpr_ros.training.losses import (
    Viewpoints,
    alignment_loss,
    ambiguous_pairs,
    contrastive_loss,
    cosines,
    depth_loss,
    heading_targets,
    segmentation_loss,
    semantic_consistency_loss,
    triplet_loss,
)
from scmpr_ros.training.memory import DescriptorMemory
from scmpr_ros.training.preparation import PreparedRecording
from scmpr_ros.training.validation import (
    PANORAMA,
    RetrievalResult,
    draw_examples,
    retrieve_recording,
)

Task = Literal["place", "segmentation", "local"]
"""What is learned: `place` everything; `segmentation` to read images, masks and depth; `local` to
align pixels with map points, as a first stage. The last two are made to be started from."""


@dataclass(frozen=True)
class LossConfig:
    """Weights of eq. 12 and of what may join it, and what counts as the same place."""

    contrast: Literal["infonce", "triplet"] = "infonce"
    semantic_weight: float = 0.1
    """lambda of eq. 12."""
    segmentation_weight: float = 1.0
    depth_weight: float = 1.0
    local_weight: float = 0.0
    """Of the alignment of pixels and map points in the task `place`; `local` has no other loss."""
    local_points: int = 512
    triplet_margin: float = 0.3
    memory: int = 0
    """Places of earlier batches that stay as wrong answers."""
    ambiguous_radius_m: float = 6.0
    ambiguous_angle_deg: float = 26.0
    initial_scale: float = 14.0
    max_scale: float = 100.0

    def __post_init__(self) -> None:
        weights = (self.semantic_weight, self.segmentation_weight, self.depth_weight)
        if min(*weights, self.local_weight, self.memory) < 0 or self.local_points < 2:
            raise ConfigError("weights and memory cannot be negative; local_points is 2 at least")


@dataclass(frozen=True)
class OptimiserConfig:
    """AdamW with linear warm-up and a cosine down to zero at `max_steps`.

    cycles: cosines, each from the full rate down to zero, in equal parts of the steps.
    """

    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup_steps: int = 200
    max_steps: int = 4000
    cycles: int = 1
    clip_norm: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.warmup_steps < self.max_steps:
            raise ConfigError(
                f"warmup_steps {self.warmup_steps} must be less than max_steps {self.max_steps}"
            )
        if self.cycles < 1:
            raise ConfigError(f"cycles is {self.cycles}; there is at least one")

    def rate_factor(self, step: int) -> float:
        """Share of the learning rate at a step."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        done = min((step - self.warmup_steps) / (self.max_steps - self.warmup_steps), 1.0)
        in_cycle = 1.0 if done == 1.0 else done * self.cycles % 1.0
        return 0.5 * (1 + math.cos(math.pi * in_cycle))


@dataclass(frozen=True)
class ModuleConfig:
    """Everything the module needs.

    architecture: what is trained: SCM-PR as `network` has it, or its rival LIP-Loc as `lip_loc`
    has it, on the same views and panoramas.
    stochastic_depth: drop blocks of the backbone at random.
    frozen_perception: keep backbone, mask head and range head fixed; learn the descriptor only.
    """

    architecture: Literal["scmpr", "lip_loc"] = "scmpr"
    network: ScmprConfig = field(default_factory=ScmprConfig)
    lip_loc: LipLocConfig = field(default_factory=LipLocConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    stochastic_depth: bool = True
    frozen_perception: bool = False

    def __post_init__(self) -> None:
        if self.frozen_perception and self.architecture != "scmpr":
            raise ConfigError(f"{self.architecture} has no perception modules that could be frozen")

    @property
    def trained(self) -> PlaceNetworkConfig:
        """The config of the network that is trained."""
        return self.lip_loc if self.architecture == "lip_loc" else self.network


class PlaceRecognitionModule(lightning.LightningModule):
    """Trains a network on batches of `pairs.PairDataset`; validates by retrieval."""

    def __init__(
        self,
        config: ModuleConfig,
        validation_recordings: list[PreparedRecording],
        seed: int = 0,
        task: Task = "place",
        accumulate: int = 1,
    ) -> None:
        super().__init__()
        self.config, self.task = config, task
        self.seed, self.accumulate = seed, accumulate
        self.network: ScmprNetwork | LipLocNetwork = (
            LipLocNetwork(config.lip_loc)
            if config.architecture == "lip_loc"
            else ScmprNetwork(
                config.network, config.stochastic_depth and not config.frozen_perception
            )
        )
        if config.frozen_perception:
            for name, parameter in self.network.named_parameters():
                parameter.requires_grad_(not is_perception_weight(name))
        self.log_scale = nn.Parameter(torch.tensor(math.log(config.loss.initial_scale)))
        self.memory = DescriptorMemory(
            config.loss.memory, config.network.num_headings, config.network.descriptor_dim
        )
        self._align = Alignment(config.network.view, config.network.panorama)
        self.validation_recordings = validation_recordings
        self._found: list[RetrievalResult] = []

    @property
    def scale(self) -> Tensor:
        """Inverse temperature, learned."""
        return self.log_scale.exp().clamp_max(self.config.loss.max_scale)

    def on_train_batch_start(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Let what is random in a step depend on its number alone: runs resume exactly."""
        part = batch_idx % self.accumulate
        words = np.random.SeedSequence([self.seed, self.global_step, part, self.global_rank])
        torch.manual_seed(int(words.generate_state(1, np.uint64)[0] >> np.uint64(1)))

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Weighted sum of the task's losses on one batch: L_total, eq. 12, in the task `place`."""
        with self.device:  # where the batch is, for all that is drawn
            batch = mirror_worlds(batch, self.config.augmentation.mirror)
            view = augment_views(batch["view"], self.config.augmentation, self.network.config.view)
        if isinstance(self.network, LipLocNetwork):
            losses = self._learn_pairs(self.network, view, batch)
        elif self.task == "segmentation":
            losses = self._perception_losses(self.network.predict(view), batch)
        else:
            losses = self._learn_places(self.network, view, batch)
        config = self.config.loss
        weights = {
            "contrastive": 1.0, "semantic": config.semantic_weight,
            "segmentation": config.segmentation_weight, "depth": config.depth_weight,
            "local": config.local_weight if self.task == "place" else 1.0,
        }  # fmt: skip
        total = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
        told = {f"loss/{name}": loss for name, loss in {"total": total, **losses}.items()}
        self.log_dict({**told, "scale": self.scale}, prog_bar=True)
        return total

    def _learn_pairs(
        self, network: LipLocNetwork, view: Tensor, batch: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """LIP-Loc's one loss: of each place it sees the window that the image looks through."""
        panorama, turned_rad = self._augmented_places(batch)
        images, places = _viewpoints(batch, turned_rad)
        described = gather(network.describe_image(network.predict(view), *_UNUSED))
        features = network.encode_panorama(**panorama)
        windows = gather(network.describe_windows(features, batch["yaw_rad"] + turned_rad))
        # Of each place only the window at its own image's heading is there to be mistaken.
        headings_rad = (images.yaw_rad + places.yaw_rad)[:, None]
        similarity = cosines(described, windows[:, None])
        target, nothing = torch.ones_like(headings_rad), similarity.new_zeros(len(similarity), 0)
        ambiguous = ambiguous_pairs(images, places, headings_rad, *self._ambiguity)
        return {"contrastive": contrastive_loss(similarity, target, ambiguous, self.scale, nothing)}

    def _perception_losses(
        self, prediction: ImagePrediction, batch: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """L_seg and the depth head's loss, which need no place."""
        losses = {"segmentation": segmentation_loss(prediction.mask_logits, batch["mask"])}
        if prediction.range_logits is not None:
            losses["depth"] = depth_loss(
                prediction.range_logits, batch["depth"], batch["seen"], self.config.network.depth
            )
        return losses

    def _augmented_places(self, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        """Panoramas, and by how much the world of each was turned."""
        shown = {name: batch[name] for name in (*PANORAMA, "segmented")}
        with self.device:
            panorama = augment_panoramas(shown, self.config.augmentation)
            return turn_panoramas(panorama, self.config.augmentation.turn)

    def _learn_places(
        self, network: ScmprNetwork, view: Tensor, batch: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """All losses of the tasks `place` and `local`."""
        config = self.config.loss
        panorama, turned_rad = self._augmented_places(batch)
        label, range_m = panorama["label"], panorama["range_m"]

        place_features = network.encode_panorama(**panorama)
        tokens = network.class_tokens(place_features, label)
        context = mean_tokens(*(gather(x) for x in tokens))
        image = network.encode_image(view, batch["seen"], context)
        losses = {}
        if self.task == "local" or config.local_weight > 0:
            pairs = self._align(
                image.prediction.features, place_features, batch["depth"], range_m, batch,
                turned_rad, config.local_points,
            )  # fmt: skip
            losses["local"] = alignment_loss(*pairs, self.scale)
        if self.task == "local":
            return losses

        places = gather(network.describe_headings(place_features, label, range_m))
        viewpoints = _viewpoints(batch, turned_rad)
        losses["contrastive"] = self._contrast(gather(image.descriptor), places, *viewpoints)
        yaw_rad = batch["yaw_rad"] + turned_rad
        losses["semantic"] = self._consistency(image, batch["mask"], place_features, label, yaw_rad)
        return losses | self._perception_losses(image.prediction, batch)

    @property
    def _ambiguity(self) -> tuple[float, float]:
        """Radius and angle within which a pair is not called wrong."""
        config = self.config.loss
        return config.ambiguous_radius_m, math.radians(config.ambiguous_angle_deg)

    def _contrast(
        self, descriptors: Tensor, windows: Tensor, images: Viewpoints, places: Viewpoints
    ) -> Tensor:
        """L_contrastive of descriptors (B, D) and (B, V, D) of the whole batch."""
        config, headings_rad = self.config.loss, self.network.headings_rad.to(descriptors)
        target = heading_targets(images.yaw_rad + places.yaw_rad, headings_rad)
        ambiguous = ambiguous_pairs(images, places, headings_rad, *self._ambiguity)
        similarity = cosines(descriptors, windows)
        remembered = self.memory.similarity(descriptors, images, headings_rad, *self._ambiguity)
        self.memory.remember(windows, places)
        if config.contrast == "triplet":
            return triplet_loss(similarity, target, ambiguous, config.triplet_margin, remembered)
        return contrastive_loss(similarity, target, ambiguous, self.scale, remembered)

    def _consistency(
        self, image: ImageEncoding, mask: Tensor, place_features: Tensor, label: Tensor,
        yaw_rad: Tensor,
    ) -> Tensor:  # fmt: skip
        """L_sem of the batch: classes in the image, and in its window of the panorama."""
        features = image.prediction.features
        of_image = class_tokens(features, class_fractions(mask, features.shape[-2:]))
        fov_rad, columns = self.network.config.view.fov_rad, place_features.shape[-1]
        window = heading_windows(yaw_rad, fov_rad, columns, blocks=1)[:, 0]
        share = class_fractions(label, place_features.shape[-2:])
        share = share * window[:, None, None, :].clamp_max(1)
        of_place = class_tokens(place_features, share)
        return semantic_consistency_loss(*(gather(x) for x in (*of_image, *of_place)))

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """Retrieval in the validation recording whose number comes as a batch."""
        self._found.append(
            retrieve_recording(self.network, self.validation_recordings[int(batch[0])])
        )

    def on_validation_epoch_end(self) -> None:
        """Log Recall@1 by descriptors alone, IoU by class, and, in TensorBoard, some answers."""
        iou = named_iou(np.sum([recording.confusion for recording in self._found], axis=0))
        anywhere = Tolerance(angle_deg=180)
        recall, near = (
            float(np.mean([recording.recall(tolerance) for recording in self._found]))
            for tolerance in (Tolerance(), anywhere)
        )
        self.log_dict(
            {"val/recall_5m_30deg": recall, "val/recall_5m": near, "val/iou": iou["mean"]},
            prog_bar=True,
        )
        self.log_dict({f"iou/{name}": value for name, value in iou.items()})
        if self.logger is not None and self.global_rank == 0:
            fov_rad = self.network.config.view.fov_rad
            figure = draw_examples(self.validation_recordings[0], self._found[0], fov_rad)
            self.logger.experiment.add_figure("val/answers", figure, self.global_step)  # type: ignore[attr-defined]
        self._found.clear()

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
        schedule = {"scheduler": LambdaLR(optimiser, config.rate_factor), "interval": "step"}
        return {"optimizer": optimiser, "lr_scheduler": schedule}


_UNUSED = (torch.zeros(0), torch.zeros(0))
"""LIP-Loc looks neither at what the camera sees nor at a context."""


def _viewpoints(batch: dict[str, Tensor], turned_rad: Tensor) -> tuple[Viewpoints, Viewpoints]:
    """Images and places of the whole batch, of all processes."""
    recording = gather(batch["recording"])
    images = Viewpoints(gather(batch["view_position"]), recording, gather(batch["yaw_rad"]))
    return images, Viewpoints(gather(batch["place_position"]), recording, gather(turned_rad))


def _decays(parameter: Tensor) -> bool:
    """Matrices and kernels; VMamba's A_logs (4 Di, 1) is a vector in all but shape."""
    return parameter.ndim >= 2 and parameter[0].numel() > 1
