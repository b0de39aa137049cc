"""Offline training: recordings in, a checkpoint out."""

from __future__ import annotations

import json
import logging
import os
import platform
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

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
from scmpr_ros.config import flatten
from scmpr_ros.datasets.bags.options import BagReaderConfig
from scmpr_ros.errors import CheckpointError, ConfigError, DatasetError
from scmpr_ros.methods.checkpoint import load_checkpoint, save_checkpoint
from scmpr_ros.methods.network import PerceivingNetwork, PlaceNetwork
from scmpr_ros.methods.pair_batch import collate
from scmpr_ros.methods.registry import find_method
from scmpr_ros.networks.backbones import timm_models
from scmpr_ros.networks.depth import range_ids
from scmpr_ros.networks.device import choose_device
from scmpr_ros.networks.official import load_official_into
from scmpr_ros.networks.precision import choose_precision
from scmpr_ros.networks.pretrained import load_pretrained
from scmpr_ros.networks.vmamba import VMamba
from scmpr_ros.networks.weights import load_strictly
from scmpr_ros.resources import source_commit
from scmpr_ros.training.conditions import select_condition
from scmpr_ros.training.cost import CostMeter
from scmpr_ros.training.kept_weights import WeightsKeeper
from scmpr_ros.training.mining import HardNegatives
from scmpr_ros.training.module import PlaceRecognitionModule
from scmpr_ros.training.pairs import NeighbourhoodSampler, PairDataset
from scmpr_ros.training.preparation import (
    PreparedRecording,
    RecordingSource,
    find_recordings,
    load_recordings,
)
from scmpr_ros.training.settings import Precision, TrainConfig
from scmpr_ros.training.split import check_split

_log = logging.getLogger(__name__)
WEIGHTS = "model.safetensors"
"""In the folder of a run."""
_RECORD = "run.json"
"""Versions and settings of a run, beside its weights."""
_BEST = "best"
_MEASURED_VIEWS = 3000  # at least, where there are as many, for `CellStatistics`


def train(config: TrainConfig, callbacks: Sequence[Callback] = (), wait: bool = False) -> Path:
    """Train, or resume from `out/last.ckpt` if it exists; return the path of the weights.

    callbacks: further Lightning callbacks, called before the run's own.
    wait: for another run that uses `out`, and take its weights if it has finished.
    Under torchrun every process takes part (see `networks.distributed`); the first one writes.
    Raises ConfigError if another run uses `out`, unless it is waited for.
    """
    processes, rank = _world()
    if config.batch_size % processes:
        raise ConfigError(f"batch_size {config.batch_size} is not a multiple of {processes}, the "
                          "number of processes")  # fmt: skip
    with exclusive_lock(config.out, wait) if rank == 0 else nullcontext():
        weights = config.out / WEIGHTS
        if wait and weights.is_file():
            return weights
        return _train(config, callbacks, processes, rank)


def _train(config: TrainConfig, callbacks: Sequence[Callback], processes: int, rank: int) -> Path:
    lightning.seed_everything(config.seed)
    for setting, path in config.starts.items():  # before anything takes minutes
        if not path.is_file():
            raise CheckpointError(f"{setting}: {path}: no such file")
    training_sources, validation_sources = _find_split(config)
    if rank == 0:
        _warn_of_changes(config.out / _RECORD, config)
        write_json(config.out / _RECORD, _provenance(config))
    network = config.module.network
    recordings = _load_recordings(training_sources, config, "training recordings")
    if config.conditions:
        recordings = [
            select_condition(source, recording, config.conditions)
            for source, recording in zip(training_sources, recordings, strict=True)
        ]
    dataset = PairDataset(recordings, config.pairs, network.mask_grid, network.panorama)
    validation = _load_recordings(validation_sources, config, "validation recordings")

    last = config.out / "last.ckpt"
    resumed_steps = _step_of(last)
    module = _initialised_module(config, validation)
    hard_negatives = HardNegatives(
        dataset, config.pairs.mine_every_steps, config.accumulate,
        config.module.loss.ambiguous_radius_m,
    )  # fmt: skip
    meter = CostMeter(config.out, config.batch_size * config.accumulate)
    keeper = WeightsKeeper(config.out, config.keep_steps)
    trainer = _trainer(config, processes, [*callbacks, hard_negatives, meter, keeper])
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
        _load_best(module, config.out)
    weights_path = config.out / WEIGHTS
    if rank == 0:
        if config.initial is not None and config.initial_share:
            average_weights(module.network, load_checkpoint(config.initial), config.initial_share)
        _measure_statistics(module.network, recordings)
        save_checkpoint(module.network, weights_path, torch.float16)
        _log.info("weights written to %s", weights_path)
    return weights_path


def _world() -> tuple[int, int]:
    """Number of processes that torchrun started, and the rank of this one."""
    return int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))


def _initialised_module(
    config: TrainConfig, validation: list[PreparedRecording]
) -> PlaceRecognitionModule:
    module = PlaceRecognitionModule(
        find_method(config.method), config.module, validation, config.seed, config.task,
        config.accumulate,
    )  # fmt: skip
    if config.pretrained is not None:  # first: the others replace it where they reach
        load_pretrained(module.network, config.pretrained)
    if config.image_encoder is not None:
        _load_image_encoder(module.network, config.image_encoder)
    if config.initial is not None:
        weights = load_checkpoint(config.initial).state_dict()
        load_strictly(module.network, weights, str(config.initial))
    if config.perception is not None:
        _load_part(module.network, config.perception, perception=True)
    if config.description is not None:
        _load_part(module.network, config.description, perception=False)
    if config.vmamba is not None:
        backbones = [part for part in module.network.modules() if isinstance(part, VMamba)]
        if len(backbones) != 1:
            raise ConfigError(
                f"{config.vmamba} holds a VMamba, but this run's network has {len(backbones)} "
                "VMamba backbones"
            )
        load_official_into(backbones[0], config.vmamba)
    return module


def _load_image_encoder(network: PlaceNetwork, path: Path) -> None:
    """Load the first timm model of another checkpoint into the first of `network`, as far as it is
    used there: both describe images by it."""
    found = [timm_models(x)[:1] for x in (network, load_checkpoint(path))]
    names = [[m.pretrained_cfg["architecture"] for m in models] for models in found]
    if not all(names) or names[0] != names[1]:
        raise ConfigError(
            f"{path}: its image encoder is {names[1] or 'no model of timm'}, but this run's is "
            f"{names[0] or 'none'}; they must be the same"
        )
    (own,), (other,) = found
    weights = other.state_dict()
    load_strictly(own, {n: weights[n] for n in own.state_dict() if n in weights}, str(path))


def _load_part(network: PlaceNetwork, weights: Path, perception: bool) -> None:
    """Load the perception weights of another checkpoint, or all others, except those that `network`
    lacks."""
    assert isinstance(network, PerceivingNetwork)  # `TrainConfig` checks it
    own, others = network.state_dict(), load_checkpoint(weights).state_dict()
    wanted = {name for name in own if network.is_perception_weight(name) == perception}
    rest = {name: x for name, x in own.items() if name not in wanted}
    if not perception:  # layouts and heads may be switched off in either network
        rest |= {name: own[name] for name in wanted - others.keys()}
    taken = {name: x for name, x in others.items() if name in wanted}
    load_strictly(network, rest | taken, str(weights))


def _trainer(config: TrainConfig, processes: int, first: Sequence[Callback]) -> lightning.Trainer:
    measure = "val/iou" if config.task == "segmentation" else "val/recall_5m_30deg"
    callbacks: list[Callback] = [
        *first,
        ModelCheckpoint(
            config.out, filename="step-{step}", save_last=True, save_top_k=0,
            every_n_train_steps=config.save_every_steps, enable_version_counter=False,
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
        precision=resolve_precision(config.precision),
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
        # Tasks that do not use a head leave its parameters without gradient.
        strategy="ddp_find_unused_parameters_true" if processes > 1 else "auto",
    )


def resolve_precision(wanted: Precision) -> Precision:
    """Resolve `auto` for this machine."""
    if wanted != "auto":
        return wanted
    lower = choose_precision("auto", choose_device("auto")) == torch.bfloat16
    return "bf16-mixed" if lower else "32-true"


def _load_best(module: PlaceRecognitionModule, out: Path) -> None:
    """Load the weights with the best validation."""
    state = torch.load(out / f"{_BEST}.ckpt", map_location="cpu", weights_only=True)
    module.load_state_dict(state["state_dict"])
    _log.info("the best validation was at step %d", state["global_step"])


def _measure_statistics(network: PlaceNetwork, recordings: list[PreparedRecording]) -> None:
    """Measure how often classes and ranges occur; without true masks the statistics stay."""
    if not isinstance(network, PerceivingNetwork):
        return
    masked = [recording for recording in recordings if recording.has_true_masks]
    if not masked:
        return
    every = slice(None, None, max(1, sum(len(r.views) for r in masked) // _MEASURED_VIEWS))
    masks, depth_m, seen = (
        torch.cat(parts) for parts in zip(
            *((r.masks[every], r.depth[every], r.seen_by(every)) for r in masked), strict=True
        )
    )  # fmt: skip
    network.statistics.measure(masks, range_ids(depth_m, network.ranges), seen)


@torch.no_grad()
def average_weights(network: nn.Module, other: nn.Module, share: float) -> None:
    """Interpolate weights and running means towards another network's; `share` 1 reaches them."""
    others = other.state_dict()
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            value.lerp_(others[name].to(value), share)


def _find_split(config: TrainConfig) -> tuple[list[RecordingSource], list[RecordingSource]]:
    """Recordings of training and of validation."""
    training = find_sources(config.recordings, config.sequences, config.bag)
    validation = []
    if config.validation is not None:
        validation = find_sources(config.validation, config.validation_sequences, config.bag)
    check_split(training, validation, allow_test_data=config.allow_test_data)
    return training, validation


def find_sources(folder: Path, sequences: str, bag: BagReaderConfig) -> list[RecordingSource]:
    """Recordings of a folder, see `find_recordings`; DatasetError if there are none."""
    sources = find_recordings(folder, sequences, bag)
    if not sources:
        raise DatasetError(
            f"{folder}: no recording with images and a map or scans, nor a folder of such; "
            f"make towns with `make_town --out {folder}`"
        )
    return sources


def _load_recordings(
    sources: list[RecordingSource], config: TrainConfig, name: str
) -> list[PreparedRecording]:
    return load_recordings(
        sources, config.module.network, config.preparation, config.prepared, config.jobs, name
    )


def _step_of(checkpoint: Path) -> int:
    """Optimiser steps of a checkpoint; 0 if it does not exist."""
    if not checkpoint.is_file():
        return 0
    return int(torch.load(checkpoint, map_location="cpu", weights_only=True)["global_step"])


def _warn_of_changes(record: Path, config: TrainConfig) -> None:
    """Warn of settings that differ from those that the run in this folder started with."""
    if not record.is_file():
        return
    before, today = json.loads(record.read_text())["settings"], flatten(config)
    for name in sorted(before.keys() | today.keys()):
        if before.get(name) != today.get(name):
            _log.warning("%s was %s when this run started and is %s now", name, before.get(name),
                         today.get(name))  # fmt: skip


def _provenance(config: TrainConfig) -> dict[str, object]:
    return {
        "scmpr_ros": __version__,
        "commit": source_commit(),
        "torch": torch.__version__,
        "machine": platform.platform(),
        "precision": resolve_precision(config.precision),
        "settings": flatten(config),
    }
