"""Settings of an adaptation, with those of its method."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from scmpr_ros.datasets.bags.options import BagReaderConfig
from scmpr_ros.errors import ConfigError
from scmpr_ros.methods.objective import ObjectiveConfig
from scmpr_ros.methods.registry import find_method
from scmpr_ros.training.augmentation import AugmentationConfig
from scmpr_ros.training.held_out import HeldOutConfig
from scmpr_ros.training.module import OptimiserConfig
from scmpr_ros.training.pairs import PairsConfig
from scmpr_ros.training.preparation import PreparationConfig
from scmpr_ros.training.settings import Precision, specialised


@dataclass(frozen=True)
class AdaptConfig:
    """Learning from recordings of one's own, starting from trained weights.

    recordings: a folder of recordings with images and a map or scans, in any known layout, or one
        recording.
    sequences: drives of these recordings to use, such as `03,04`, of a folder that is one recording
        without a map.ply; all if empty.
    bag: topics, frames and conventions of the recordings that are bags.
    towns: a folder of training towns, mixed in so that nothing is forgotten.
    town_validation: a folder of validation towns, where the weights must not become worse.
    allow_test_data: use test sequences of KITTI and KITTI-360, and towns whose seeds are reserved;
        results on these are then meaningless.
    method: of the weights, a name of `methods.registry`.
    initial: weights to start from; None takes the shipped ones.
    own_share: share of the views in a batch that are from `recordings`.
    self_training: label cells that geometry does not label by confident predictions of `initial`.
    initial_shares: weights of `initial` in the weights that are written, an average of both
        (WiSE-FT, Wortsman et al. 2022); the one with the best held-out result is taken.
    max_town_loss: largest loss of Recall@1 on `town_validation`.
    validate_every_steps: steps between measurements on the held-out stretch.
    patience: measurements without a better result after which training stops; the best weights
        are kept.
    frozen_batch_norm: keep the means and variances of all batch norms, backbone and descriptor.
    prepared: cache of views and rendered places. jobs: processes that fill it.
    out: folder for the weights, the report and TensorBoard logs.
    """

    loss: ObjectiveConfig
    recordings: Path = Path("data/own")
    sequences: str = ""
    bag: BagReaderConfig = field(default_factory=BagReaderConfig)
    towns: Path = Path("data/towns/train")
    town_validation: Path = Path("data/towns/validation")
    allow_test_data: bool = False
    method: str = "scmpr"
    initial: Path | None = None
    own_share: float = 0.25
    self_training: bool = False
    initial_shares: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75)
    max_town_loss: float = 0.01
    validate_every_steps: int = 25
    patience: int = 4
    frozen_batch_norm: bool = True
    prepared: Path = Path("data/prepared")
    jobs: int = 2
    out: Path = Path("out/adapt")
    batch_size: int = 24
    seed: int = 0
    precision: Precision = "auto"
    held_out: HeldOutConfig = field(default_factory=HeldOutConfig)
    preparation: PreparationConfig = field(
        default_factory=lambda: PreparationConfig(min_label_confidence=0.6)
    )
    pairs: PairsConfig = field(default_factory=PairsConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    optimiser: OptimiserConfig = field(
        default_factory=lambda: OptimiserConfig(learning_rate=1e-4, warmup_steps=20, max_steps=300)
    )

    def __post_init__(self) -> None:
        if not 0 < self.own_share < 1:
            raise ConfigError(f"own_share is {self.own_share}; it must lie in (0, 1)")
        if not self.initial_shares or not all(0 <= share < 1 for share in self.initial_shares):
            raise ConfigError(
                f"initial_shares are {self.initial_shares}: at least one, each in [0, 1)"
            )
        counts = ("validate_every_steps", "patience", "jobs")
        if min(getattr(self, name) for name in counts) < 1:
            raise ConfigError(f"{', '.join(counts)} must be at least 1")
        if self.batch_size < 2:
            raise ConfigError("batch_size must be at least 2: a contrast needs another place")
        if self.max_town_loss < 0:
            raise ConfigError(f"max_town_loss is {self.max_town_loss}; it cannot be negative")


@cache
def adapt_config_class(method_name: str) -> type[AdaptConfig]:
    """`AdaptConfig` whose `loss` has the fields and defaults of a method's objective.

    Raises ConfigError for a method that does not exist.
    """
    loss = find_method(method_name).objective_config
    return specialised(
        AdaptConfig,
        loss=(loss, field(default_factory=loss)),
        method=(str, field(default=method_name)),
    )
