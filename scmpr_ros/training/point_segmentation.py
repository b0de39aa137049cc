"""Fit the networks that classify map points by their geometry (`lidar.segmentation`).

They learn from the labelled scans of towns: the map accumulated from their true poses, maps from
wrong poses, a map with noise, and single scans. Vehicles stay in, as in maps without labels.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
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
from scmpr_ros.datasets.bags.options import BagReaderConfig
from scmpr_ros.datasets.drive import Drive
from scmpr_ros.datasets.recordings import is_recording, open_drives
from scmpr_ros.datasets.town_files import is_unfinished
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.evaluation.iou import count_classes
from scmpr_ros.lidar.accumulation import AccumulationConfig, PosedScan, accumulate
from scmpr_ros.lidar.point_shape import describe_points
from scmpr_ros.lidar.segmentation import PointNetwork, classify
from scmpr_ros.pipeline.map_source import PREBUILT_MAP
from scmpr_ros.process_pool import collect_results, process_pool
from scmpr_ros.records import PointCloud
from scmpr_ros.semantics import CLASSES, IGNORE, NUM_CLASSES, STATIC_IDS, class_id
from scmpr_ros.training.preparation import RecordingSource
from scmpr_ros.training.split import check_split

_log = logging.getLogger(__name__)
_FEATURE_NOISE = 0.2  # of a standard deviation
_UNKNOWN_FEATURES = 0.05
_RARE = 2000  # voxels; rarer classes get no larger weight
_MERGED = {"sidewalk": "road", "terrain": "road", "traffic_sign": "pole"}
"""Classes learned as another one: kerbs are too low and signs too few to be recognised, and ground
is divided by its roughness afterwards."""
_TARGET = torch.tensor([class_id(_MERGED.get(c.name, c.name)) for c in CLASSES])

Result = TypeVar("Result")
Sample = tuple[NDArray[np.float16], NDArray[np.uint8]]
"""Features (V, NUM_FEATURES) of voxels, and their classes (V,)."""


@dataclass(frozen=True)
class PointSegmentationConfig:
    """What the networks are fitted to, and for how long.

    recordings: folder of recordings with labelled scans.
    held_out: number of recordings, the last by name, that are used to evaluate only.
    own: folder of other recordings with labelled scans, or one of them, to fit to as well.
    own_share: share of these in what is learned from.
    bag: how they are read if they are bags.
    blurred: maps from wrong poses for each recording, beside the true map and one with noise.
    position_error_m, angle_error_deg: largest standard deviations of these poses.
    single_scans: number of single scans of each recording.
    voxels: largest number of voxels of each cloud.
    allow_test_data: fit to towns with seeds that are reserved for validation or test.
    """

    recordings: Path = Path("data/towns/train")
    out: Path = Path("out/train/segmentation.safetensors")
    held_out: int = 2
    own: Path | None = None
    own_share: float = 0.3
    bag: BagReaderConfig = field(default_factory=BagReaderConfig)
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
    allow_test_data: bool = False

    def __post_init__(self) -> None:
        counts = ("held_out", "voxels", "steps", "batch_size", "jobs")
        if min(getattr(self, name) for name in counts) < 1 or not self.learning_rate > 0:
            raise ConfigError(f"{', '.join(counts)} and learning_rate must be positive")
        if min(self.blurred, self.single_scans, self.position_error_m, self.angle_error_deg) < 0:
            raise ConfigError("blurred, single_scans and the errors cannot be negative")
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
    samples = _in_processes(_sample, [*fitted, *own], config, "describing points")
    sets = [_concatenate(part) for part in (samples[: len(fitted)], samples[len(fitted) :]) if part]
    network = _fit(sets, config)
    evaluate = partial(_evaluate, network)
    counts = np.sum(_in_processes(evaluate, held_out, config, "evaluating"), axis=0)
    network.confusion = torch.from_numpy(_normalised(counts))
    with atomic_write(config.out) as temporary:
        save_file(network.state_dict(), temporary)
    return counts


def find_labelled(folder: Path, bag: BagReaderConfig | None = None) -> list[RecordingSource]:
    """Recordings with scans in a folder, or the folder itself. Images are not needed.

    Unfinished towns are skipped. Drives that share the frame of a map.ply count as one.
    bag: options of all recordings that are bags.
    """
    bag = bag or BagReaderConfig()
    below = sorted(path for path in folder.glob("*") if path.is_dir())
    recordings = [folder] if is_recording(folder) else [p for p in below if is_recording(p)]
    found = []
    for recording in recordings:
        if is_unfinished(recording):
            continue
        scanning = [drive for drive in open_drives(recording, bag=bag) if drive.scan_frames]
        if scanning and (recording / PREBUILT_MAP).is_file():
            found.append(RecordingSource(recording, bag=bag))
        else:
            found += [RecordingSource(recording, drive.name, bag) for drive in scanning]
    return found


def _in_processes(
    work: Callable[[RecordingSource, PointSegmentationConfig], Result],
    sources: list[RecordingSource], config: PointSegmentationConfig, label: str,
) -> list[Result]:  # fmt: skip
    """Results of the work on each recording, in order. label: of the progress bar."""
    if config.jobs == 1:
        return [work(source, config) for source in tqdm(sources, label, unit="recording")]
    with process_pool(config.jobs) as pool:
        tasks = [pool.submit(work, source, config) for source in sources]
        return collect_results(tasks, label, "recording")


def _sample(source: RecordingSource, config: PointSegmentationConfig) -> list[Sample]:
    """Voxels of the clouds of one recording, with their classes."""
    rng, samples = _random(source, config), []
    for cloud, label in _clouds(source, config, rng):
        _, features, voxel = describe_points(cloud.xyz)
        votes = np.bincount(voxel * NUM_CLASSES + label, minlength=len(features) * NUM_CLASSES)
        votes = votes.reshape(-1, NUM_CLASSES)
        votes[:, IGNORE] = 0
        chosen = rng.permutation(np.flatnonzero(votes.any(axis=1)))[: config.voxels]
        labels = votes[chosen].argmax(axis=1).astype(np.uint8)
        samples.append((features[chosen].astype(np.float16), labels))
    return samples


def _evaluate(
    network: PointNetwork, source: RecordingSource, config: PointSegmentationConfig
) -> NDArray[np.int64]:
    """Points of a recording's clouds by true and predicted class."""
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
    """The recording's map from true and from wrong poses, and single scans, with their labels."""
    drives = [drive for drive in open_drives(*source) if drive.scan_frames]
    if not drives or drives[0].scan(drives[0].scan_frames[0]).label is None:
        raise DatasetError(f"{source.folder}: fitting a segmenter needs labelled scans")
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
        assert cloud.label is not None  # `accumulate` refuses to mix scans with and without labels
        yield cloud, cloud.label


def _posed_scans(
    drive: Drive, position_error_m: float, angle_error_deg: float, rng: np.random.Generator
) -> Iterator[PosedScan]:
    """Yield all scans of a drive with independent pose errors of these standard deviations.

    Errors along z and about x and y are half as large, as those of wheel or LiDAR odometry.
    """
    for frame in drive.scan_frames:
        pose = drive.T_world_lidar(frame).copy()
        turn = rng.normal(0, 1, 3) * angle_error_deg * np.array([1.0, 0.5, 0.5])
        pose[:3, :3] = Rotation.from_euler("ZYX", turn, degrees=True).as_matrix() @ pose[:3, :3]
        pose[:3, 3] += rng.normal(0, 1, 3) * position_error_m * np.array([1.0, 1.0, 0.5])
        yield drive.scan(frame), pose


def _concatenate(samples: list[list[Sample]]) -> tuple[Tensor, Tensor]:
    features, labels = zip(*(sample for part in samples for sample in part), strict=True)
    return (
        torch.from_numpy(np.concatenate(features)).float(),
        _TARGET[torch.from_numpy(np.concatenate(labels)).long()],
    )


def _fit(sets: Sequence[tuple[Tensor, Tensor]], config: PointSegmentationConfig) -> PointNetwork:
    """Fit with AdamW in one cycle; weights of classes grow with the cube root of their rarity.

    sets: features (S, F) and classes (S,) of voxels of towns, and of one's own recordings if there
        are some.
    """
    torch.manual_seed(config.seed)
    features, label = sets[0]
    shares = [1.0] if len(sets) == 1 else [1 - config.own_share, config.own_share]
    sizes = [max(1, round(share * config.batch_size)) for share in shares]
    network = PointNetwork()
    network.mean = features.mean(0)
    network.deviation = features.std(0).clamp_min(1e-3)
    count = torch.bincount(label, minlength=NUM_CLASSES)
    weight = (len(label) / (count + _RARE)) ** (1 / 3)
    optimiser = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.learning_rate, config.steps)
    for _ in tqdm(range(config.steps), "fitting", unit="step"):
        losses = []
        for member in range(len(network.members)):  # each on its own random voxels
            chosen = [torch.randint(len(y), (n,)) for (_, y), n in zip(sets, sizes, strict=True)]
            seen = torch.cat([x[i] for (x, _), i in zip(sets, chosen, strict=True)])
            true = torch.cat([y[i] for (_, y), i in zip(sets, chosen, strict=True)])
            logits = network.logits(member, _augment(seen, network))
            losses.append(functional.cross_entropy(logits, true, weight))
        loss = torch.stack(losses).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    _log.info("mean loss of the last batches: %.3f", loss.item() / len(network.members))
    return network.eval()


def _augment(features: Tensor, network: PointNetwork) -> Tensor:
    """Add noise and hide some features, as real maps differ from those of towns."""
    noisy = features + torch.randn_like(features) * network.deviation * _FEATURE_NOISE
    return torch.where(torch.rand_like(features) < _UNKNOWN_FEATURES, network.mean, noisy)


def _normalised(counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """Confusion of the static classes with rows that sum to one; absent classes have no error."""
    table = counts[np.ix_(STATIC_IDS, STATIC_IDS)].astype(np.float32)
    absent = table.sum(axis=1) == 0
    table[absent] = np.eye(len(table), dtype=np.float32)[absent]
    return table / table.sum(axis=1, keepdims=True)
