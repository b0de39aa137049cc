"""Offline training: towns in, a checkpoint out."""

from __future__ import annotations

import json
import logging
import platform
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

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
_RECORD = "run.json"
"""How a run was made, beside its weights."""


@dataclass(frozen=True)
class TrainConfig:
    """One training run.

    towns, validation: folders whose sub-folders are recordings in KITTI layout with a `map.ply`,
        as `make_town` writes them. No town may lie in both.
    initial: weights to start from, of a network of the same config; None starts from scratch.
    prepared: cache of views and rendered places, which any run may share.
    out: folder for the weights, TensorBoard logs and the state to resume from.
    save_every_steps: how often that state is written; steps after it are done again, alike.
    deterministic: refuse operations that may give other sums each time, as some on GPUs do.
    """

    towns: Path = Path("data/towns/train")
    validation: Path = Path("data/towns/validation")
    initial: Path | None = None
    prepared: Path = Path("data/prepared")
    out: Path = Path("out/train")
    batch_size: int = 32
    seed: int = 0
    validate_every_steps: int = 500
    save_every_steps: int = 100
    deterministic: bool = False
    pairs: PairsConfig = field(default_factory=PairsConfig)
    module: ModuleConfig = field(default_factory=ModuleConfig)

    def __post_init__(self) -> None:
        if self.batch_size < 2:
            raise ConfigError("batch_size must be at least 2: a contrast needs another place")
        if min(self.validate_every_steps, self.save_every_steps) < 1:
            raise ConfigError("validate_every_steps and save_every_steps must be at least 1")


def train(config: TrainConfig) -> Path:
    """Train, resuming from `out/last.ckpt` if it is there; returns the path of the weights."""
    lightning.seed_everything(config.seed)
    _tell_changes(config.out / _RECORD, config)
    write_json(config.out / _RECORD, _provenance(config))
    dataset = PairDataset(_load_towns(config.towns, config), config.pairs)
    validation = _load_towns(config.validation, config)

    last = config.out / "last.ckpt"
    resumed_steps = _step_of(last)
    module = PlaceRecognitionModule(config.module, validation, config.seed)
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
        every_n_train_steps=config.save_every_steps,
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
        deterministic=config.deterministic,
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
