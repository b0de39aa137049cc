"""Time and check the search of large maps: recall against exact search, latency, bytes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from scmpr_ros.datasets.recordings import open_drives
from scmpr_ros.errors import ConfigError
from scmpr_ros.evaluation.benchmark.timing import Timing
from scmpr_ros.methods.checkpoint import load_checkpoint
from scmpr_ros.pipeline.localizer import Localizer, LocalizerConfig
from scmpr_ros.resources import DEFAULT_CHECKPOINT, resource
from scmpr_ros.retrieval.compressed_index import EXACT, build_index, index_spec, read_index
from scmpr_ros.retrieval.index import DescriptorIndex
from scmpr_ros.retrieval.place_map import PlaceMap

_BLOCK_PLACES = 500
_WARM_UP = 5


@dataclass(frozen=True)
class IndexBenchmarkConfig:
    """Which descriptors are searched, by which indexes.

    map: place map whose descriptors are used. recording, drive: whose images are the queries; by
        default, descriptors of the map that are disturbed until they are as unlike it as images.
    viewpoints: size to which the map is enlarged by mixtures of two of its places.
    indexes: settings, see `write_place_map`.
    """

    map: Path | None = None
    recording: Path | None = None
    drive: str = ""
    viewpoints: int = 1_000_000
    indexes: tuple[str, ...] = ("auto", EXACT)
    neighbours: int = 20
    queries: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if self.map is None:
            raise ConfigError("map is not set: name a place map, such as one of a town")
        if self.neighbours < 1 or self.queries < 1:
            raise ConfigError("neighbours and queries must be positive")


@dataclass(frozen=True)
class IndexTiming:
    """Results of one index.

    recall: share of the exact neighbours that are found. recall_of_codes: without the exact
    comparison of the best. bytes_per_viewpoint: of the index, all that memory must hold of a
    descriptor.
    """

    spec: str
    recall: float
    recall_of_codes: float
    bytes_per_viewpoint: float
    build_s: float
    search: Timing


@dataclass(frozen=True)
class IndexBenchmark:
    """phi: mean similarity of the best and of the last exact neighbour."""

    viewpoints: int
    queries: int
    phi: tuple[float, float]
    timings: tuple[IndexTiming, ...]


def benchmark_index(config: IndexBenchmarkConfig) -> IndexBenchmark:
    """Search for the same queries with each index, in turns."""
    assert config.map is not None
    generator = np.random.default_rng(config.seed)
    place_map = PlaceMap.load(config.map)
    queries = torch.from_numpy(_queries(config, place_map, generator))
    descriptors = enlarged(np.asarray(place_map.descriptors), config.viewpoints, generator)
    places, headings, dim = descriptors.shape
    neighbours, phi = _exact(descriptors, queries, config.neighbours)
    timings = []
    for setting in config.indexes:
        spec = index_spec(setting, places * headings, dim)
        began_s = time.perf_counter()
        content = build_index(descriptors, spec)
        build_s = time.perf_counter() - began_s
        faiss_index = None if content is None else read_index(content, descriptors.shape, spec)
        index = DescriptorIndex(descriptors, "cpu", faiss_index)
        found, seconds = [], []
        for query in (*queries[:_WARM_UP], *queries):
            began_s = time.perf_counter()
            near = index.search(query, config.neighbours)
            seconds.append(time.perf_counter() - began_s)
            found.append((near.place * headings + near.heading).numpy())
        codes = 1.0
        if faiss_index is not None:
            _, rows = faiss_index.search(queries.numpy(), config.neighbours)
            codes = _recall(rows, neighbours)
        size = 2 * dim * places * headings if content is None else len(content)
        timings.append(
            IndexTiming(
                spec, _recall(np.array(found[_WARM_UP:]), neighbours), codes,
                size / (places * headings), build_s, Timing.of(seconds[_WARM_UP:]),
            )
        )  # fmt: skip
    return IndexBenchmark(places * headings, len(queries), phi, tuple(timings))


def enlarged(
    descriptors: NDArray[np.float16], viewpoints: int, generator: np.random.Generator
) -> NDArray[np.float16]:
    """A map of the places (P, V, D) of another, and of mixtures of two of them, turned at random.

    Mixtures lie where places lie: their spectrum and the likeness of neighbouring headings are
    those of the map.
    """
    known, headings, dim = descriptors.shape
    places = max(viewpoints // headings, 1)
    result = np.empty((places, headings, dim), np.float16)
    for begin in range(0, places, _BLOCK_PLACES):
        count = min(_BLOCK_PLACES, places - begin)
        first, second = generator.integers(0, known, (2, count))
        turned = (np.arange(headings) + generator.integers(0, headings, (count, 1))) % headings
        share = generator.uniform(0.5, 0.95, (count, 1, 1)).astype(np.float32)
        mixed = share * descriptors[first] + (1 - share) * descriptors[second[:, None], turned]
        mixed /= np.linalg.norm(mixed, axis=-1, keepdims=True)
        result[begin : begin + count] = mixed
    result[:known] = descriptors[:places]
    return result


def _queries(
    config: IndexBenchmarkConfig, place_map: PlaceMap, generator: np.random.Generator
) -> NDArray[np.float32]:
    """Descriptors (N, D) of images, or of viewpoints that are disturbed."""
    if config.recording is not None:
        found = list(_image_descriptors(config, place_map))
        return np.stack(found)[generator.permutation(len(found))[: config.queries]]
    places, headings, _ = place_map.descriptors.shape
    place, other = generator.integers(0, places, (2, config.queries))
    heading, turned = generator.integers(0, headings, (2, config.queries))
    base, noise = (
        np.asarray(place_map.descriptors[p, h], np.float32)
        for p, h in ((place, heading), (other, turned))
    )
    mixed = base + 1.2 * noise
    return np.asarray(mixed / np.linalg.norm(mixed, axis=1, keepdims=True), np.float32)


def _image_descriptors(
    config: IndexBenchmarkConfig, place_map: PlaceMap
) -> Iterator[NDArray[np.float32]]:
    assert config.recording is not None
    network = load_checkpoint(resource(DEFAULT_CHECKPOINT))
    localizer = Localizer(place_map, network, LocalizerConfig(device="cpu"))
    drive = open_drives(config.recording, config.drive)[-1]
    for frame in drive.image_frames[: config.queries]:
        encoded = localizer.encode(drive.image(frame), drive.camera)
        yield encoded.query.descriptor[0].float().numpy()


def _exact(
    descriptors: NDArray[np.float16], queries: torch.Tensor, count: int
) -> tuple[NDArray[np.int64], tuple[float, float]]:
    """Indices (N, K) of the nearest rows; mean phi of the first and of the last."""
    best, rows = torch.empty(len(queries), 0), torch.empty(len(queries), 0, dtype=torch.int64)
    headings = descriptors.shape[1]
    for begin in range(0, len(descriptors), _BLOCK_PLACES):
        block = torch.from_numpy(descriptors[begin : begin + _BLOCK_PLACES]).flatten(0, 1).float()
        phi = queries @ block.T
        here = begin * headings + torch.arange(len(block)).expand(len(queries), -1)
        best, order = torch.cat([best, phi], 1).topk(min(count, best.shape[1] + len(block)))
        rows = torch.cat([rows, here], 1).gather(1, order)
    return rows.numpy(), (float(best[:, 0].mean()), float(best[:, -1].mean()))


def _recall(found: NDArray[np.int64], expected: NDArray[np.int64]) -> float:
    hits = (expected[:, :, None] == found[:, None, :]).any(2)
    return float(hits.mean())
