"""Benchmark of a localizer's query, from JPEG to pose, stage by stage."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from scmpr_ros.datasets.ros_images import rgb_from_image
from scmpr_ros.errors import ConfigError
from scmpr_ros.evaluation.benchmark.machine import Machine, peak_memory_mb, work_of
from scmpr_ros.evaluation.benchmark.networks import PEERS, classifier, classify, count_parameters
from scmpr_ros.evaluation.benchmark.timing import Timing, synchroniser, time_in_turn
from scmpr_ros.lidar.panorama import RenderConfig, render
from scmpr_ros.methods.checkpoint import fingerprint, load_checkpoint
from scmpr_ros.methods.network import PerceivingNetwork, PlaceDescription, PlaceNetwork
from scmpr_ros.methods.query_encoder import QueryEncoder
from scmpr_ros.methods.registry import find_method, method_names
from scmpr_ros.methods.scmpr.network import ScmprConfig, ScmprNetwork
from scmpr_ros.methods.views import PlaceView, QueryView
from scmpr_ros.networks.device import choose_device
from scmpr_ros.networks.precision import choose_precision, lower_weights
from scmpr_ros.networks.selective_scan import backend_for
from scmpr_ros.pipeline.localizer import Localizer, LocalizerConfig
from scmpr_ros.records import CameraModel
from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.semantics import NUM_CLASSES, STATIC_IDS, label_confusion
from scmpr_ros.stages import StageTimes, recording_stages

STAGES = (
    "decode", "preprocess", "backbone", "SAFF", "attention + NetVLAD", "descriptor", "RGB branch",
    "search", "psi",
)  # fmt: skip
"""In order; the RGB branch is one stage with OpenVINO and where nothing is predicted, three with
torch."""
_KITTI_FOCAL_PX = 718.856
_MAP_POINTS = 200_000


@dataclass(frozen=True)
class QueryBenchmarkConfig:
    """Networks to time, and the map they search."""

    networks: tuple[str, ...] = ("nano", "tiny_0230s")
    """SCM-PR's backbones, or other methods by name, with random weights, which do not change the
    time; or files of weights of any method."""
    peers: tuple[str, ...] = PEERS
    """Classifiers timed in the same rounds and precision, at 224 x 224."""
    queries: int = 200
    places: int = 10_000
    image_size: tuple[int, int] = (376, 1241)
    localizer: LocalizerConfig = field(default_factory=LocalizerConfig)

    def __post_init__(self) -> None:
        if min(self.queries, self.places, *self.image_size) < 1:
            raise ConfigError("a benchmark needs at least one query, one place and one pixel")


@dataclass(frozen=True)
class QueryTiming:
    """Timing of one network's queries.

    total: from JPEG to pose, not interrupted. stages: of separate queries; a GPU is synchronised
    after each stage. describe_place: one place of the map in all headings.
    floors_ms: lower bound of the stages whose work can be counted.
    """

    network: str
    precision: str
    scan: str
    """Backend of the scan, or `openvino` for the whole RGB branch."""
    parameters: int
    total: Timing
    without_decode: Timing
    stages: dict[str, Timing]
    floors_ms: dict[str, float]
    describe_place: Timing


@dataclass(frozen=True)
class QueryBenchmark:
    """Results of `benchmark_queries`."""

    timings: list[QueryTiming]
    peers: dict[str, Timing]
    peer_precision: str
    viewpoints: int
    peak_memory_mb: float


def benchmark_queries(config: QueryBenchmarkConfig, machine: Machine) -> QueryBenchmark:
    """Time queries of all networks and peers, which take turns after every query."""
    device = choose_device(config.localizer.device)
    images = [_jpeg(config.image_size, seed) for seed in range(8)]
    height, width = config.image_size
    camera = CameraModel(
        width, height, _KITTI_FOCAL_PX, _KITTI_FOCAL_PX, (width - 1) / 2, (height - 1) / 2
    )
    runs = [_Run.of(name, config, device) for name in config.networks]
    precision = choose_precision(config.localizer.precision, device)
    peers = {name: _peer(name, device, precision) for name in config.peers}
    peer_seconds: dict[str, list[float]] = {name: [] for name in peers}
    for query in tqdm(range(-5, config.queries), desc="queries", unit="query", leave=False):
        image = images[query % len(images)]
        for run in runs:
            run.query(image, camera, count=query >= 0)
        for name, peer in peers.items():
            began_s = time.perf_counter()
            peer()
            if query >= 0:
                peer_seconds[name].append(time.perf_counter() - began_s)
    return QueryBenchmark(
        [run.result(machine) for run in runs],
        {name: Timing.of(seconds) for name, seconds in peer_seconds.items()},
        _precision_name(precision),
        config.places * runs[0].network.config.num_headings if runs else 0,
        peak_memory_mb(device),
    )


class _Run:
    """One network, its localizer and the measured seconds."""

    def __init__(self, name: str, network: PlaceNetwork, localizer: Localizer) -> None:
        self.name, self.network, self.localizer = name, network, localizer
        self.device = choose_device(localizer.config.device)
        self.total_s: list[float] = []
        self.localize_s: list[float] = []
        self.stages_s: dict[str, list[float]] = {}

    @classmethod
    def of(cls, name: str, config: QueryBenchmarkConfig, device: torch.device) -> _Run:
        network = _network(name).eval().to(device)
        place_map = random_place_map(network, config.places)
        return cls(name, network, Localizer(place_map, network, config.localizer))

    def query(self, image: SimpleNamespace, camera: CameraModel, count: bool) -> None:
        """Localise an image uninterrupted, then again with the stages timed."""
        began_s = time.perf_counter()
        pixels = rgb_from_image(image)
        decoded_s = time.perf_counter()
        self.localizer.localize(pixels, camera)  # waits for the device: the answer is on the host
        ended_s = time.perf_counter()
        with recording_stages(StageTimes(synchroniser(self.device))) as times:
            with times.measure("decode"):
                pixels = rgb_from_image(image)
            self.localizer.localize(pixels, camera)
        if count:
            self.total_s.append(ended_s - began_s)
            self.localize_s.append(ended_s - decoded_s)
            for stage, seconds in times.seconds.items():
                self.stages_s.setdefault(stage, []).append(seconds)

    def result(self, machine: Machine) -> QueryTiming:
        """Summarise the measured times."""
        encoder = self.localizer.encoder
        view = self.network.config.view
        image = torch.zeros(1, 3, view.height, view.width, device=self.device)
        work = work_of(_QueryBranch(self.network), image)
        # A bfloat16 weight has half the bytes.
        least_bytes = work.num_bytes * encoder.dtype.itemsize / 4
        index_bytes = self.localizer.index.bytes_read
        return QueryTiming(
            network=self.name,
            precision=_precision_name(encoder.dtype),
            scan=backend_for(self.device) if isinstance(encoder, QueryEncoder) else "openvino",
            parameters=count_parameters(self.network),
            total=Timing.of(self.total_s),
            without_decode=Timing.of(self.localize_s),
            stages={stage: Timing.of(seconds) for stage, seconds in self.stages_s.items()},
            floors_ms={
                "backbone + SAFF": machine.floor_ms(work.flops, least_bytes, encoder.dtype),
                "search": machine.floor_ms(0, index_bytes, torch.float32),
            },
            describe_place=_describe_place(self.network, self.device, min(20, len(self.total_s))),
        )


class _QueryBranch(nn.Module):
    """What a network does with an image before it is matched, for counting operations.

    Of networks that predict masks and ranges, only these parts: the rest takes next to nothing.
    """

    def __init__(self, network: PlaceNetwork) -> None:
        super().__init__()
        self.parts = nn.ModuleList(network.perception_modules)
        self._network = [network]  # in a list, so that parameters are not counted twice

    def forward(self, pixels: torch.Tensor) -> Any:
        network = self._network[0]
        if isinstance(network, PerceivingNetwork):
            return network.predict(pixels)
        grid = network.config.mask_grid
        seen = torch.ones(grid.height, grid.width, dtype=torch.bool, device=pixels.device)
        context = pixels.new_zeros(network.config.context_shape)
        return network.describe_query(QueryView(pixels, seen), context).descriptor


def _network(name: str) -> PlaceNetwork:
    """The network of a file, or one with random weights of a backbone of SCM-PR or of a method."""
    if name.endswith(".safetensors"):
        return load_checkpoint(Path(name))
    torch.manual_seed(0)
    if name in method_names():
        method = find_method(name)
        return method.network(method.config())
    return ScmprNetwork(ScmprConfig(backbone=name))


def _precision_name(precision: torch.dtype) -> str:
    return str(precision).removeprefix("torch.")


def _peer(name: str, device: torch.device, precision: torch.dtype) -> Callable[[], object]:
    image, wait = torch.rand(1, 3, 224, 224, device=device), synchroniser(device)
    network = lower_weights(classifier(name).eval().to(device), precision)
    forward = classify(network, image, precision)

    def run() -> None:
        forward()
        wait()

    return run


def _describe_place(network: PlaceNetwork, device: torch.device, runs: int) -> Timing:
    """Time the LiDAR branch: render one place's panorama and describe it in all headings."""
    describe = partial(_description, network, *_random_points(device))
    return time_in_turn({"place": describe}, runs, device, 5, "describing a place")["place"]


def _random_points(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Points (N, 3) of a flat map around the origin, and their classes (N,)."""
    generator = np.random.default_rng(0)
    points = torch.from_numpy(generator.uniform(-50, 50, (_MAP_POINTS, 3))).float().to(device)
    points[:, 2] *= 0.05
    labels = torch.from_numpy(generator.choice(STATIC_IDS, _MAP_POINTS).astype(np.uint8)).to(device)
    return points, labels


@torch.inference_mode()
def _description(
    network: PlaceNetwork, points: torch.Tensor, labels: torch.Tensor
) -> PlaceDescription:
    """Render the place at the origin of a map, and describe it."""
    config = RenderConfig(max_range_m=network.config.max_range_m)
    grid, position = network.config.panorama, points.new_zeros(1, 3)
    panoramas = render(points, labels, position, grid, config)
    return network.describe_place(PlaceView.of(panoramas, grid))


def descriptor_dim(network: PlaceNetwork) -> int:
    """Dimensions of a network's descriptors."""
    points = _random_points(next(network.parameters()).device)
    return _description(network, *points).descriptors.shape[-1]


def random_place_map(network: PlaceNetwork, places: int) -> PlaceMap:
    """A place map of random unit descriptors and random blocks of classes."""
    config, generator = network.config, np.random.default_rng(0)
    shape = (places, config.num_headings, descriptor_dim(network))
    descriptors = np.empty(shape, np.float16)
    for block in np.array_split(descriptors, max(1, places // 500)):
        values = generator.standard_normal(block.shape, np.float32)
        block[:] = values / np.linalg.norm(values, axis=-1, keepdims=True)
    grid = config.panorama
    coarse = generator.integers(0, NUM_CLASSES, (places, grid.height, grid.width // 4 + 1))
    labels = coarse.astype(np.uint8).repeat(4, axis=2)[..., : grid.width]
    return PlaceMap(
        positions=generator.uniform(-1000, 1000, (places, 3)),
        axes=np.tile(np.eye(3), (places, 1, 1)),
        headings_rad=network.headings_rad.double().cpu().numpy(),
        descriptors=descriptors,
        panorama_labels=labels,
        panorama_ranges=np.where(labels > 0, 10, 0).astype(np.float16),
        confusion=label_confusion(),
        context=generator.standard_normal(config.context_shape, np.float32),
        grid=grid,
        fingerprint=fingerprint(network),
    )


def _jpeg(size: tuple[int, int], seed: int) -> SimpleNamespace:
    """A compressed image message with structure at all scales, like a photograph."""
    generator = np.random.default_rng(seed)
    image: NDArray[np.float64] = np.zeros((*size, 3))
    for cells in (4, 16, 64, 256):
        noise = generator.normal(0, 40 / np.log2(cells), (cells, cells, 3))
        image += cv2.resize(noise, size[::-1], interpolation=cv2.INTER_CUBIC)
    pixels = (image + 128).clip(0, 255).astype(np.uint8)
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return SimpleNamespace(data=data.tobytes(), format="jpeg")
