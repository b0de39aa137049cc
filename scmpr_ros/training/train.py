"""Offline training: towns in, a checkpoint out."""

from __future__ import annotations

import logging
import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader, TensorDataset
from tqdm import tqdm

from scmpr_ros import __version__
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.networks.checkpoint import load_checkpoint, load_strictly, save_checkpoint
from scmpr_ros.training.module import ModuleConfig, PlaceRecognitionModule
from scmpr_ros.training.pairs import (
    NeighbourhoodSampler,
    PairDataset,
    PairsConfig,
    Town,
    load_town,
)
from scmpr_ros.whole_files import write_json

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainConfig:
    """One training run.

    towns, validation: folders whose sub-folders are recordings in KITTI layout with a `map.ply`,
        as `make_town` writes them. No town may lie in both.
    initial: weights to start from, of a network of the same config; None starts from scratch.
    prepared: cache of views and rendered places, which any run may share.
    out: folder for the weights, TensorBoard logs and the state to resume from.
    """

    towns: Path = Path("data/towns/train")
    validation: Path = Path("data/towns/validation")
    initial: Path | None = None
    prepared: Path = Path("data/prepared")
    out: Path = Path("out/train")
    batch_size: int = 32
    seed: int = 0
    validate_every_steps: int = 500
    pairs: PairsConfig = field(default_factory=PairsConfig)
    module: ModuleConfig = field(default_factory=ModuleConfig)

    def __post_init__(self) -> None:
        if self.batch_size < 2:
            raise ConfigError("batch_size must be at least 2: a contrast needs another place")


def train(config: TrainConfig) -> Path:
    """Train, resuming from `out/last.ckpt` if it is there; returns the path of the weights."""
    lightning.seed_everything(config.seed)
    write_json(config.out / "run.json", _provenance(config))
    dataset = PairDataset(_load_towns(config.towns, config), config.pairs)
    validation = _load_towns(config.validation, config)

    last = config.out / "last.ckpt"
    resumed_steps = _step_of(last)
    module = PlaceRecognitionModule(config.module, validation)
    if config.initial is not None:
        weights = load_checkpoint(config.initial).state_dict()
        load_strictly(module.network, weights, str(config.initial))
    trainer = _trainer(config)
    sampler = NeighbourhoodSampler(
        dataset, config.batch_size, trainer.max_steps, config.seed, skip=resumed_steps
    )
    trainer.fit(
        module,
        DataLoader(dataset, batch_sampler=sampler),
        DataLoader(TensorDataset(torch.arange(len(validation)))),
        ckpt_path=str(last) if resumed_steps else None,
        weights_only=True,
    )
    weights_path = config.out / "model.safetensors"
    save_checkpoint(module.network, weights_path, torch.float16)
    _log.info("weights written to %s", weights_path)
    return weights_path


def _trainer(config: TrainConfig) -> lightning.Trainer:
    keep = ModelCheckpoint(
        config.out, filename="step-{step}", save_last=True, save_top_k=0,
        every_n_train_steps=config.validate_every_steps,
    )  # fmt: skip
    return lightning.Trainer(
        max_steps=config.module.optimiser.max_steps,
        gradient_clip_val=config.module.optimiser.clip_norm,
        val_check_interval=config.validate_every_steps,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        log_every_n_steps=20,
        logger=TensorBoardLogger(config.out, name="logs", version=""),
        callbacks=[keep, LearningRateMonitor("step"), TQDMProgressBar(refresh_rate=20)],
        use_distributed_sampler=False,
    )


def _load_towns(folder: Path, config: TrainConfig) -> list[Town]:
    folders = sorted(path.parent for path in folder.glob("*/map.ply"))
    if not folders:
        raise DatasetError(
            f"{folder}: no recordings with a map.ply below it; "
            f"make some with `make_town --out {folder}`"
        )
    progress = tqdm(folders, desc=f"preparing {folder.name}", unit="town")
    network, pairs = config.module.network, config.pairs
    return [load_town(town, network, pairs, config.prepared) for town in progress]


def _step_of(checkpoint: Path) -> int:
    """Optimiser steps that a checkpoint has behind it; 0 where there is none."""
    if not checkpoint.is_file():
        return 0
    return int(torch.load(checkpoint, map_location="cpu", weights_only=True)["global_step"])


def _provenance(config: TrainConfig) -> dict[str, object]:
    return {
        "scmpr_ros": __version__,
        "torch": torch.__version__,
        "machine": platform.platform(),
        "config": asdict(config),
    }
