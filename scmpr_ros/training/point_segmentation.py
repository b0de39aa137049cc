"""Fit the networks that classify map points by their geometry (`lidar.segmentation`).

They learn from the labelled scans of towns, and of one's own recordings, see `labelled_clouds`: the
first look from the features of voxels, the second one also from what the first made of each cloud.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from scmpr_ros.atomic_files import atomic_write
from scmpr_ros.datasets.bags.options import BagReaderConfig
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.evaluation.iou import count_classes
from scmpr_ros.lidar.point_shape import BRIGHTNESS_FEATURES, NUM_FEATURES, describe_points
from scmpr_ros.lidar.segmentation import PointNetwork, VoxelClassifier
from scmpr_ros.process_pool import run_all
from scmpr_ros.semantics import NUM_CLASSES, STATIC_IDS
from scmpr_ros.training.labelled_clouds import (
    LabelledCloudConfig,
    LabelledVoxels,
    find_labelled,
    labelled_clouds,
    labelled_voxels,
    random_of,
)
from scmpr_ros.training.preparation import RecordingSource
from scmpr_ros.training.split import check_split

_log = logging.getLogger(__name__)
_FEATURE_NOISE = 0.2  # of a standard deviation
_UNKNOWN_FEATURES = 0.05
_UNKNOWN_BRIGHTNESS = 0.4  # of the voxels: many maps have no intensities
_RARE = 2000  # voxels; rarer classes get no larger weight
_BRIGHTNESS = slice(NUM_FEATURES - BRIGHTNESS_FEATURES, NUM_FEATURES)


@dataclass(frozen=True)
class PointSegmentationConfig(LabelledCloudConfig):
    """What the networks are fitted to, and for how long.

    recordings: folder of recordings with labelled scans.
    held_out: number of recordings, the last by name, that are used to evaluate only.
    own: folder of other recordings with labelled scans, or one of them, to fit to as well.
    own_share: share of these in what is learned from.
    bag: how they are read if they are bags.
    allow_test_data: fit to towns with seeds that are reserved for validation or test.
    """

    recordings: Path = Path("data/towns/train")
    out: Path = Path("out/train/segmentation.safetensors")
    held_out: int = 2
    own: Path | None = None
    own_share: float = 0.3
    bag: BagReaderConfig = field(default_factory=BagReaderConfig)
    steps: int = 2000
    batch_size: int = 2048
    learning_rate: float = 3e-3
    jobs: int = 2
    allow_test_data: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        counts = ("held_out", "steps", "batch_size", "jobs")
        if min(getattr(self, name) for name in counts) < 1 or not self.learning_rate > 0:
            raise ConfigError(f"{', '.join(counts)} and learning_rate must be positive")
        if not 0 < self.own_share < 1:
            raise ConfigError(f"own_share is {self.own_share}: it must be between 0 and 1")


def fit_point_network(config: PointSegmentationConfig) -> NDArray[np.int64]:
    """Fit the networks and write them to `config.out`.

    Returns the points of the held-out recordings by true and predicted class, (NUM_CLASSES,
    NUM_CLASSES). Raises DatasetError if no recording is left to fit to, and ConfigError if one is
    both fitted to and held out, or is test data, see `split`.
    """
    sources = find_labelled(config.recordings)
    split = len(sources) - config.held_out
    if split < 1:
        raise DatasetError(
            f"{config.recordings}: {len(sources)} recordings, of which {config.held_out} are held "
            "out; make towns with `make_town --split train`"
        )
    fitted, held_out = sources[:split], sources[split:]
    own = [] if config.own is None else find_labelled(config.own, config.bag)
    if config.own is not None and not own:
        raise DatasetError(f"{config.own}: no recording with scans is in this folder")
    check_split([*fitted, *own], test=held_out, allow_test_data=config.allow_test_data)
    network = PointNetwork()
    config.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".clouds-", dir=config.out.parent) as scratch:
        save = partial(_save_clouds, Path(scratch), config)
        files = run_all(save, [*fitted, *own], config.jobs, "describing points", "recording")
        sets = [list(chain(*part)) for part in (files[: len(fitted)], files[len(fitted) :])]
        _fit(network.first, [_samples(clouds, None) for clouds in sets], config)
        _fit(network.second, [_samples(clouds, network) for clouds in sets], config)
    evaluate = partial(_evaluate, network, config)
    counts = np.sum(run_all(evaluate, held_out, config.jobs, "evaluating", "recording"), axis=0)
    network.confusion = torch.from_numpy(_normalised(counts))
    with atomic_write(config.out) as temporary:
        save_file(network.state_dict(), temporary)
    return counts


def _save_clouds(
    folder: Path, config: PointSegmentationConfig, source: RecordingSource
) -> list[Path]:
    """Describe the clouds of one recording, and write them to files."""
    below = Path(tempfile.mkdtemp(dir=folder))
    files = []
    for number, voxels in enumerate(labelled_voxels(source, config)):
        files.append(below / f"{number}.npz")
        voxels.save(files[-1])
    return files


Samples = tuple[Tensor, Tensor]
"""Features (S, F) of voxels in half precision, and their classes (S,)."""


def _samples(files: Sequence[Path], network: PointNetwork | None) -> Samples | None:
    """The chosen voxels of clouds; with what the network's first look made of them, if given.

    Then each voxel comes twice, with its brightness and without.
    """
    features, labels = [], []
    for path in files:
        described, chosen, label = LabelledVoxels.load(path)
        seen = [described.features]
        if network is not None:
            dark = described.features.copy()
            dark[:, _BRIGHTNESS] = np.nan
            seen = [network.with_context(described),
                    network.with_context(described._replace(features=dark))]  # fmt: skip
        features += [each[chosen].astype(np.float16) for each in seen]
        labels += [label] * len(seen)
    if not files:
        return None
    return torch.from_numpy(np.concatenate(features)), torch.from_numpy(np.concatenate(labels))


def _fit(
    network: VoxelClassifier, sets: Sequence[Samples | None], config: PointSegmentationConfig
) -> None:
    """Fit with AdamW in one cycle; weights of classes grow with the cube root of their rarity.

    sets: samples of towns, and of one's own recordings if there are some.
    """
    torch.manual_seed(config.seed)
    known = [samples for samples in sets if samples is not None]
    features, label = known[0]
    network.mean, network.deviation = _statistics(features)
    weight = _class_weights(label)
    shares = [1.0] if len(known) == 1 else [1 - config.own_share, config.own_share]
    sizes = [max(1, round(share * config.batch_size)) for share in shares]
    optimiser = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.learning_rate, config.steps)
    for _ in tqdm(range(config.steps), "fitting", unit="step"):
        losses = []
        for member in range(len(network.members)):  # each on its own random voxels
            chosen = [torch.randint(len(s[0]), (n,)) for s, n in zip(known, sizes, strict=True)]
            seen = torch.cat([s[0][i] for s, i in zip(known, chosen, strict=True)]).float()
            true = torch.cat([s[1][i] for s, i in zip(known, chosen, strict=True)]).long()
            logits = network.logits(member, _augment(seen, network))
            losses.append(functional.cross_entropy(logits, true, weight))
        loss = torch.stack(losses).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    network.eval()
    _log.info("mean loss of the last batches: %.3f", loss.item() / len(network.members))


def _statistics(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (F,) of the known values of features (S, F)."""
    columns = [column[~column.isnan()].float() for column in features.T]
    known = [column if len(column) > 1 else torch.tensor([-1.0, 1.0]) for column in columns]
    mean = torch.stack([column.mean() for column in known])
    deviation = torch.stack([column.std() for column in known])
    return mean, deviation.clamp_min(1e-3)


def _class_weights(label: Tensor) -> Tensor:
    count = torch.bincount(label.long(), minlength=NUM_CLASSES)
    return (len(label) / (count + _RARE)) ** (1 / 3)


def _augment(features: Tensor, network: VoxelClassifier) -> Tensor:
    """Add noise and hide some features, as real maps differ from those of towns.

    The context, which the second look sees in addition, comes from clouds with real errors.
    """
    own, context = features[:, :NUM_FEATURES], features[:, NUM_FEATURES:]
    own = own + torch.randn_like(own) * network.deviation[:NUM_FEATURES] * _FEATURE_NOISE
    own = own.masked_fill(torch.rand_like(own) < _UNKNOWN_FEATURES, torch.nan)
    if context.shape[1] == 0:
        dark = torch.rand(len(own)) < _UNKNOWN_BRIGHTNESS
        own[:, _BRIGHTNESS] = own[:, _BRIGHTNESS].masked_fill(dark[:, None], torch.nan)
    return torch.cat([own, context], dim=1)


def _evaluate(
    network: PointNetwork, config: PointSegmentationConfig, source: RecordingSource
) -> NDArray[np.int64]:
    """Points of a recording's clouds by true and predicted class, with intensities and without."""
    counts = np.zeros((NUM_CLASSES, NUM_CLASSES), np.int64)
    for cloud, label in labelled_clouds(source, config, random_of(source, config)):
        described = describe_points(cloud.xyz, cloud.intensity)
        dark = described.features.copy()
        dark[:, _BRIGHTNESS] = np.nan
        for seen in (described, described._replace(features=dark)):
            predicted = network.classify(seen).argmax(axis=1)[described.voxel]
            counts += count_classes(label, predicted)
    return counts


def _normalised(counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """Confusion of the static classes with rows that sum to one; absent classes have no error."""
    table = counts[np.ix_(STATIC_IDS, STATIC_IDS)].astype(np.float32)
    absent = table.sum(axis=1) == 0
    table[absent] = np.eye(len(table), dtype=np.float32)[absent]
    return table / table.sum(axis=1, keepdims=True)
