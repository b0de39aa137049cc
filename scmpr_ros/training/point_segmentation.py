"""Fits the networks that tell the classes of map points from their geometry (`lidar.segmentation`).

What they learn from are the labelled scans of towns: the map that these make in their true poses,
the one that they make in wrong ones, one with noise, and single scans. Cars stay in, for a map
without labels has them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from scmpr_ros.atomic_files import atomic_write
from scmpr_ros.datasets.drive import Drive
from scmpr_ros.datasets.recordings import open_drives
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.evaluation.iou import count_classes
from scmpr_ros.lidar.accumulation import AccumulationConfig, PosedScan, accumulate
from scmpr_ros.lidar.point_shape import describe_points
from scmpr_ros.lidar.segmentation import PointNetwork, classify
from scmpr_ros.process_pool import collect_results, process_pool
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import CLASSES, IGNORE, NUM_CLASSES, STATIC_IDS, class_id
from scmpr_ros.training.preparation import RecordingSource, find_recordings

_log = logging.getLogger(__name__)
_FEATURE_NOISE = 0.2  # of a standard deviation
_UNKNOWN_FEATURES = 0.05
_RARE = 2000  # voxels under which a class is not weighted up any further
_TAKEN_FOR = {"sidewalk": "road", "terrain": "road", "traffic_sign": "pole"}
"""Ground is parted by its roughness afterwards; kerbs are too low, signs too few, to be told."""
_TARGET = torch.tensor([class_id(_TAKEN_FOR.get(c.name, c.name)) for c in CLASSES])

Result = TypeVar("Result")
Sample = tuple[NDArray[np.float16], NDArray[np.uint8]]
"""Features (V, NUM_FEATURES) of voxels, and their classes (V,)."""


@dataclass(frozen=True)
class PointSegmentationConfig:
    """From what, and how long.

    recordings: a folder of recordings with labelled scans. held_out: how many of them, the last,
    only judge it.
    Beside the map in true poses, each town gives a map with noise on every point, maps in wrong
    poses (`blurred`), their errors drawn up to these limits, and single scans. voxels: taken of
    each cloud at most.
    """

    recordings: Path = Path("data/towns/train")
    out: Path = Path("out/train/segmentation.safetensors")
    held_out: int = 2
    blurred: int = 1
    position_error_m: float = 0.15
    angle_error_deg: float = 0.4
    single_scans: int = 10
    voxels: int = 100_000
    steps: int = 1500
    batch_size: int = 4096
    learning_rate: float = 3e-3
    seed: int = 0
    jobs: int = 2

    def __post_init__(self) -> None:
        counts = ("held_out", "voxels", "steps", "batch_size", "jobs")
        if min(getattr(self, name) for name in counts) < 1 or not self.learning_rate > 0:
            raise ConfigError(f"{', '.join(counts)} and learning_rate must be positive")
        if min(self.blurred, self.single_scans, self.position_error_m, self.angle_error_deg) < 0:
            raise ConfigError("blurred, single_scans and the errors cannot be negative")


def fit_point_network(config: PointSegmentationConfig) -> NDArray[np.int64]:
    """Fit the network and write it; returns what the points of the held-out towns were taken for,
    (NUM_CLASSES, NUM_CLASSES) by true class and by answer.

    Raises DatasetError where there are no more towns than are held out.
    """
    sources = find_recordings(config.recordings)
    split = len(sources) - config.held_out
    if split < 1:
        raise DatasetError(
            f"{config.recordings}: {len(sources)} towns, of which {config.held_out} are held out; "
            "make some with `make_town --split train`"
        )
    features, label = _joined(_in_processes(_sample, sources[:split], config, "describing points"))
    network = _fit(features, _TARGET[label], config)
    judge = partial(_judge, network)
    counts = np.sum(_in_processes(judge, sources[split:], config, "judging"), axis=0)
    network.confusion = torch.from_numpy(_shares(counts))
    with atomic_write(config.out) as temporary:
        save_file(network.state_dict(), temporary)
    return counts


def _in_processes(
    work: Callable[[RecordingSource, PointSegmentationConfig], Result],
    sources: list[RecordingSource], config: PointSegmentationConfig, what: str,
) -> list[Result]:  # fmt: skip
    """What the work makes of each town, in their order."""
    with process_pool(config.jobs) as pool:
        asked = [pool.submit(work, source, config) for source in sources]
        return collect_results(asked, what, "town")


def _sample(source: RecordingSource, config: PointSegmentationConfig) -> list[Sample]:
    """Voxels of the clouds of one town, with their classes."""
    rng, samples = _random(source, config), []
    for cloud, label in _clouds(source, config, rng):
        _, features, voxel = describe_points(cloud.xyz)
        votes = np.bincount(voxel * NUM_CLASSES + label, minlength=len(features) * NUM_CLASSES)
        votes = votes.reshape(-1, NUM_CLASSES)
        votes[:, IGNORE] = 0
        taken = rng.permutation(np.flatnonzero(votes.any(axis=1)))[: config.voxels]
        labels = votes[taken].argmax(axis=1).astype(np.uint8)
        samples.append((features[taken].astype(np.float16), labels))
    return samples


def _judge(
    network: PointNetwork, source: RecordingSource, config: PointSegmentationConfig
) -> NDArray[np.int64]:
    """What the points of a town's clouds are taken for, by true class and by answer."""
    counts = [
        count_classes(label, classify(network, describe_points(cloud.xyz)))
        for cloud, label in _clouds(source, config, _random(source, config))
    ]
    return np.sum(counts, axis=0)


def _random(source: RecordingSource, config: PointSegmentationConfig) -> np.random.Generator:
    return np.random.default_rng([config.seed, *source.name.encode()])


def _clouds(
    source: RecordingSource, config: PointSegmentationConfig, rng: np.random.Generator
) -> Iterator[tuple[PointCloud, NDArray[np.uint8]]]:
    """The town's map in true poses and in wrong ones, and single scans, with their labels."""
    drives = [drive for drive in open_drives(source.folder, source.drive) if drive.scan_frames]
    if not drives or drives[0].scan(drives[0].scan_frames[0]).label is None:
        raise DatasetError(f"{source.folder}: learning classes of points needs labelled scans")
    drive, clouds = drives[0], []
    for error in (0.0, *rng.uniform(0, 1, config.blurred)):
        scans = _posed_scans(drive, error * config.position_error_m,
                             error * config.angle_error_deg, rng)  # fmt: skip
        clouds.append(accumulate(scans, AccumulationConfig(), keep_dynamic=True))
    noise_m = rng.normal(0, rng.uniform(0, config.position_error_m), clouds[0].xyz.shape)
    clouds.append(replace(clouds[0], xyz=(clouds[0].xyz + noise_m).astype(np.float32)))
    count = min(config.single_scans, len(drive.scan_frames))
    frames = rng.choice(np.array(drive.scan_frames), count, replace=False)
    clouds.extend(drive.scan(int(frame)) for frame in frames)
    for cloud in clouds:
        assert cloud.label is not None  # `accumulate` refuses scans of which only some have labels
        yield cloud, cloud.label


def _posed_scans(
    drive: Drive, position_error_m: float, angle_error_deg: float, rng: np.random.Generator
) -> Iterator[PosedScan]:
    """All scans of a drive in poses that are each wrong by so much (standard deviations); by half
    as much along z and about x and y, as odometry on wheels or LiDAR errs."""
    for frame in drive.scan_frames:
        pose = drive.T_world_lidar(frame).copy()
        turn = rng.normal(0, 1, 3) * angle_error_deg * np.array([1.0, 0.5, 0.5])
        pose[:3, :3] = Rotation.from_euler("ZYX", turn, degrees=True).as_matrix() @ pose[:3, :3]
        pose[:3, 3] += rng.normal(0, 1, 3) * position_error_m * np.array([1.0, 1.0, 0.5])
        yield drive.scan(frame), pose


def _joined(towns: list[list[Sample]]) -> tuple[Tensor, Tensor]:
    features, labels = zip(*(sample for town in towns for sample in town), strict=True)
    return (
        torch.from_numpy(np.concatenate(features)).float(),
        torch.from_numpy(np.concatenate(labels)).long(),
    )


def _fit(features: Tensor, label: Tensor, config: PointSegmentationConfig) -> PointNetwork:
    """AdamW with one cycle; rare classes weigh more, by the cube root of their rarity."""
    torch.manual_seed(config.seed)
    network = PointNetwork()
    network.mean = features.mean(0)
    network.deviation = features.std(0).clamp_min(1e-3)
    count = torch.bincount(label, minlength=NUM_CLASSES)
    weight = (len(label) / (count + _RARE)) ** (1 / 3)
    optimiser = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.learning_rate, config.steps)
    for _ in tqdm(range(config.steps), "fitting", unit="step"):
        losses = []
        for member in range(len(network.members)):  # each sees other voxels than the others
            chosen = torch.randint(len(features), (config.batch_size,))
            logits = network.logits(member, _disturbed(features[chosen], network))
            losses.append(functional.cross_entropy(logits, label[chosen], weight))
        loss = torch.stack(losses).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    _log.info("mean loss of the last batches: %.3f", loss.item() / len(network.members))
    return network.eval()


def _disturbed(features: Tensor, network: PointNetwork) -> Tensor:
    """Features with noise, and some of them unknown: real maps are not quite like towns' maps."""
    noisy = features + torch.randn_like(features) * network.deviation * _FEATURE_NOISE
    return torch.where(torch.rand_like(features) < _UNKNOWN_FEATURES, network.mean, noisy)


def _shares(counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """Rows of static classes and columns of static answers, as shares of each row; a class that
    was not met is taken for itself."""
    table = counts[np.ix_(STATIC_IDS, STATIC_IDS)].astype(np.float32)
    unseen = table.sum(axis=1) == 0
    table[unseen] = np.eye(len(table), dtype=np.float32)[unseen]
    return table / table.sum(axis=1, keepdims=True)
