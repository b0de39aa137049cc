"""Offline training: recordings in, a checkpoint out."""

from __future__ import annotations

import json
import logging
import os
import platform
import subprocess
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import lightning
import torch
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    LearningRateMonitor,
    ModelCheckpoint,
    TQDMProgressBar,
)
from lightning.pytorch.loggers import TensorBoardLogger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from scmpr_ros import __version__
from scmpr_ros.atomic_files import exclusive_lock, write_json
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.methods.pair_batch import collate
from scmpr_ros.networks.checkpoint import load_checkpoint, load_strictly, save_checkpoint
from scmpr_ros.networks.inference import choose_precision
from scmpr_ros.networks.official import load_official_into
from scmpr_ros.networks.scmpr import is_perception_weight
from scmpr_ros.networks.vmamba import VMamba
from scmpr_ros.pipeline.map_builder import choose_device
from scmpr_ros.training.mining import HardNegatives
from scmpr_ros.training.module import ModuleConfig, PlaceRecognitionModule, Task
from scmpr_ros.training.pairs import NeighbourhoodSampler, PairDataset, PairsConfig
from scmpr_ros.training.preparation import (
    PreparationConfig,
    PreparedRecording,
    RecordingSource,
    find_recordings,
    load_recordings,
)
from scmpr_ros.training.split import check_split

_log = logging.getLogger(__name__)
_RECORD = "run.json"
"""How a run was made, beside its weights."""
_BEST = "best"

Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]
"""Lightning's names, and `auto`."""


@dataclass(frozen=True)
class TrainConfig:
    """One training run.

    task: `place` learns everything; `segmentation` only to read images (masks and depth), `local`
        only to align pixels with map points: stages to start a `place` run from, by `initial`.
    recordings, validation: folders of recordings with a map or scans, whatever their layout, as
        `make_town` writes them; or one recording. None may lie in both. Without validation nothing
        is measured on the way.
    sequences, validation_sequences: drives of these recordings to use, such as `03,04`, of a folder
        that is one recording without a map.ply; all if empty.
    allow_test_data: train on test sequences of KITTI and KITTI-360, and on towns with seeds that
        are reserved for validation or test; results on these are then meaningless.
    initial: weights to start from, of a network of the same config; None starts from scratch.
    initial_share: how much of `initial` is in the weights at the end, which are means of both
        ("model soups", Wortsman et al. 2022): on unseen recordings they can be better
        than either, where a run did not go far from where it started. Not for a stage that began
        with untrained parts. What is validated on the way is the run alone.
    perception: weights of which only the perception modules (backbone, mask head, range head) are
        loaded; the rest of their network may differ. With `module.frozen_perception` only the
        descriptor is learned, so one perception stage serves all rows of an ablation.
    vmamba: a file of the official VMamba releases, for the backbone alone.
    prepared: cache of views and rendered places, which any run may share; jobs: processes that
        fill it.
    out: folder for the weights, TensorBoard logs and the state to resume from.
    batch_size: of all processes together; accumulate: batches for one step of the optimiser.
    precision: `auto` takes `bf16-mixed` where the hardware multiplies it faster, else `32-true`;
        `16-mixed` is for older GPUs.
    patience: validations without a better Recall@1 (IoU, in the task segmentation) after which
        training ends early, with the best weights; 0 goes on to the last step and takes the last.
    save_every_steps: how often the state to resume from is written; steps after it are done again,
        alike.
    deterministic: refuse operations that may give other sums each time, as some on GPUs do.
    """

    task: Task = "place"
    recordings: Path = Path("data/towns/train")
    validation: Path | None = Path("data/towns/validation")
    sequences: str = ""
    validation_sequences: str = ""
    allow_test_data: bool = False
    initial: Path | None = None
    initial_share: float = 0.0
    perception: Path | None = None
    vmamba: Path | None = None
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
    deterministic: bool = False
    preparation: PreparationConfig = field(default_factory=PreparationConfig)
    pairs: PairsConfig = field(default_factory=PairsConfig)
    module: ModuleConfig = field(default_factory=ModuleConfig)

    def __post_init__(self) -> None:
        if self.batch_size < 2:
            raise ConfigError("batch_size must be at least 2: a contrast needs another place")
        counts = ("validate_every_steps", "save_every_steps", "accumulate", "jobs")
        if min(getattr(self, name) for name in counts) < 1:
            raise ConfigError(f"{', '.join(counts)} must be at least 1")
        if self.module.architecture == "lip_loc" and self.task != "place":
            raise ConfigError(f"LIP-Loc has no task {self.task}")
        if not 0 <= self.initial_share < 1 or (self.initial_share and self.initial is None):
            raise ConfigError(
                f"initial_share is {self.initial_share}: it lies in [0, 1), and needs `initial`"
            )
        if self.perception is not None and self.module.architecture != "scmpr":
            raise ConfigError(
                f"{self.module.architecture} takes no perception weights of another network"
            )
        if self.task == "segmentation" and self.module.frozen_perception:
            raise ConfigError(
                "task segmentation trains the perception modules: frozen, nothing is left to train"
            )
        if self.patience < 0 or (self.patience and self.validation is None):
            raise ConfigError("patience counts validations: it needs recordings in `validation`")


def train(config: TrainConfig, callbacks: Sequence[Callback] = ()) -> Path:
    """Train, resuming from `out/last.ckpt` if it is there; returns the path of the weights.

    callbacks: lightning's, of your own, called before those that a run has anyway.
    Under torchrun every process takes part (see `processes`); the first one writes. Raises
    ConfigError where another run is at work in `out`.
    """
    processes, rank = _launched()
    if config.batch_size % processes:
        raise ConfigError(f"batch_size {config.batch_size} is not a multiple of {processes}, the "
                          "number of processes")  # fmt: skip
    with exclusive_lock(config.out) if rank == 0 else nullcontext():
        return _train(config, callbacks, processes, rank)


def _train(config: TrainConfig, callbacks: Sequence[Callback], processes: int, rank: int) -> Path:
    lightning.seed_everything(config.seed)
    if rank == 0:
        _tell_changes(config.out / _RECORD, config)
        write_json(config.out / _RECORD, _provenance(config))
    network = config.module.trained
    sources = _find_recordings(config.recordings, config.sequences)
    validation_sources = (
        _find_recordings(config.validation, config.validation_sequences)
        if config.validation
        else []
    )
    check_split(sources, validation_sources, allow_test_data=config.allow_test_data)
    recordings = _load_recordings(sources, config, config.recordings.name)
    dataset = PairDataset(recordings, config.pairs, network.mask_grid, network.panorama)
    validation = _load_recordings(validation_sources, config, "validation")

    last = config.out / "last.ckpt"
    resumed_steps = _step_of(last)
    module = _module(config, validation)
    hard_negatives = HardNegatives(
        dataset,
        config.pairs.mine_every_steps,
        config.accumulate,
        config.module.loss.ambiguous_radius_m,
    )
    trainer = _trainer(config, processes, [*callbacks, hard_negatives])
    sampler = NeighbourhoodSampler(
        dataset, config.batch_size, trainer.max_steps * config.accumulate, config.seed,
        resumed_steps * config.accumulate, hard_negatives.negatives_for, (rank, processes),
    )  # fmt: skip
    trainer.fit(
        module,
        DataLoader(dataset, batch_sampler=sampler, collate_fn=collate),
        DataLoader(TensorDataset(torch.arange(len(validation)))) if validation else None,
        ckpt_path=str(last) if resumed_steps else None,
        weights_only=True,
    )
    if config.patience:
        _take_best(module, config.out)
    weights_path = config.out / "model.safetensors"
    if rank == 0:
        if config.initial is not None and config.initial_share:
            _mix(module.network, load_checkpoint(config.initial), config.initial_share)
        save_checkpoint(module.network, weights_path, torch.float16)
        _log.info("weights written to %s", weights_path)
    return weights_path


def _launched() -> tuple[int, int]:
    """Number of processes that torchrun started, and which of them this one is."""
    return int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))


def _module(config: TrainConfig, validation: list[PreparedRecording]) -> PlaceRecognitionModule:
    module = PlaceRecognitionModule(
        config.module, validation, config.seed, config.task, config.accumulate
    )
    if config.initial is not None:
        weights = load_checkpoint(config.initial).state_dict()
        load_strictly(module.network, weights, str(config.initial))
    if config.perception is not None:
        _take_perception(module.network, config.perception)
    if config.vmamba is not None:
        backbone = getattr(module.network, "vmamba", None)
        if not isinstance(backbone, VMamba):
            raise ConfigError(
                f"{config.vmamba} holds a VMamba, and the backbone of this run is none"
            )
        load_official_into(backbone, config.vmamba)
    return module


def _take_perception(network: nn.Module, weights: Path) -> None:
    """Take what reads images from other weights; a depth head that `network` lacks is left."""
    own = network.state_dict()
    rest = {name: value for name, value in own.items() if not is_perception_weight(name)}
    others = load_checkpoint(weights).state_dict()
    taken = {
        name: value for name, value in others.items() if is_perception_weight(name) and name in own
    }
    load_strictly(network, rest | taken, str(weights))


def _trainer(config: TrainConfig, processes: int, first: Sequence[Callback]) -> lightning.Trainer:
    measure = "val/iou" if config.task == "segmentation" else "val/recall_5m_30deg"
    callbacks: list[Callback] = [
        *first,
        ModelCheckpoint(
            config.out, filename="step-{step}", save_last=True, save_top_k=0,
            every_n_train_steps=config.save_every_steps,
        ),
        LearningRateMonitor("step"),
        TQDMProgressBar(refresh_rate=20),
    ]  # fmt: skip
    if config.patience:
        callbacks += [
            EarlyStopping(measure, patience=config.patience, mode="max"),
            ModelCheckpoint(config.out, filename=_BEST, monitor=measure, mode="max",
                            enable_version_counter=False),
        ]  # fmt: skip
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return lightning.Trainer(
        max_steps=config.module.optimiser.max_steps,
        accumulate_grad_batches=config.accumulate,
        gradient_clip_val=config.module.optimiser.clip_norm,
        precision=_precision(config.precision),
        val_check_interval=config.validate_every_steps * config.accumulate,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        log_every_n_steps=20,
        logger=TensorBoardLogger(config.out, name="logs", version=""),
        callbacks=callbacks,
        use_distributed_sampler=False,
        deterministic=config.deterministic,
        devices=local if processes > 1 else "auto",
        num_nodes=processes // local,
        # Some parameters are without gradient: the heads, in the tasks that do not use them.
        strategy="ddp_find_unused_parameters_true" if processes > 1 else "auto",
    )


def _precision(wanted: Precision) -> Precision:
    """What `auto` is on this machine."""
    if wanted != "auto":
        return wanted
    lower = choose_precision("auto", choose_device("auto")) == torch.bfloat16
    return "bf16-mixed" if lower else "32-true"


def _take_best(module: PlaceRecognitionModule, out: Path) -> None:
    """Load the weights of the best validation."""
    state = torch.load(out / f"{_BEST}.ckpt", map_location="cpu", weights_only=True)
    module.load_state_dict(state["state_dict"])
    _log.info("the best validation was at step %d", state["global_step"])


@torch.no_grad()
def _mix(network: nn.Module, other: nn.Module, share: float) -> None:
    """Move all weights and running means by `share` of the way to those of another network."""
    others = other.state_dict()
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            value.lerp_(others[name].to(value), share)


def _find_recordings(folder: Path, sequences: str) -> list[RecordingSource]:
    sources = find_recordings(folder, sequences)
    if not sources:
        raise DatasetError(
            f"{folder}: no recording with images and a map or scans, nor a folder of some; "
            f"make recordings with `make_town --out {folder}`"
        )
    return sources


def _load_recordings(
    sources: list[RecordingSource], config: TrainConfig, name: str
) -> list[PreparedRecording]:
    return load_recordings(
        sources, config.module.trained, config.preparation, config.prepared, config.jobs, name
    )


def _step_of(checkpoint: Path) -> int:
    """Optimiser steps that a checkpoint has behind it; 0 where there is none."""
    if not checkpoint.is_file():
        return 0
    return int(torch.load(checkpoint, map_location="cpu", weights_only=True)["global_step"])


def _tell_changes(record: Path, config: TrainConfig) -> None:
    """Warn of settings that differ from those with which the run in this folder began."""
    if not record.is_file():
        return
    before = _flat(json.loads(record.read_text())["config"])
    today = _flat(json.loads(json.dumps(asdict(config), default=str)))
    for name in sorted(before.keys() | today.keys()):
        if before.get(name) != today.get(name):
            _log.warning("%s was %s when this run began, and is %s now", name, before.get(name),
                         today.get(name))  # fmt: skip


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        key = f"{prefix}{name}"
        leaves |= _flat(value, f"{key}.") if isinstance(value, dict) else {key: value}
    return leaves


def _provenance(config: TrainConfig) -> dict[str, object]:
    return {
        "scmpr_ros": __version__,
        "commit": _commit(),
        "torch": torch.__version__,
        "machine": platform.platform(),
        "precision": _precision(config.precision),
        "config": asdict(config),
    }


def _commit() -> str | None:
    """The commit of the clone that this code is in, with a + where it was changed since."""
    command = ["git", "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"]
    try:
        told = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return told.stdout.strip() or None
