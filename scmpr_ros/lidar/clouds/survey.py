"""The first pass over a point cloud: what must be known of all its points before any is used."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from scmpr_ros.lidar.clouds.checks import FEWEST_POINTS, CloudSample

_SAMPLE_POINTS = 500_000
_CELL_M = 1000.0
_MAX_CELLS = 20_000
_MAX_INDEX = 1 << 20
_BITS = 21
_STRAY_SHARE = 1e-4
_FEWEST_STRAYS = 10


@dataclass
class CloudSurvey:
    """Count, bounds and a sample of the finite points that were added, and where they lie.

    bounds: (2, 3) least and greatest coordinates.
    """

    count: int = 0
    not_finite: int = 0
    dark: int = 0
    """Number of points without a finite intensity."""
    bounds: NDArray[np.float64] = field(
        default_factory=lambda: np.array([[np.inf] * 3, [-np.inf] * 3])
    )
    label_counts: Counter[int] = field(default_factory=Counter)
    cells: CellCounts = field(default_factory=lambda: CellCounts())
    _sample: list[NDArray[np.float64]] = field(default_factory=list)
    _labels: list[NDArray[np.int64]] = field(default_factory=list)
    _kept: float = 1.0
    _rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def add(self, xyz: NDArray[np.floating], label: NDArray[np.integer] | None = None) -> None:
        """Add finite points (N, 3), with ids of classes (N,) if there are some."""
        if len(xyz) == 0:
            return
        self.count += len(xyz)
        self.bounds = np.stack([np.minimum(self.bounds[0], xyz.min(axis=0)),
                                np.maximum(self.bounds[1], xyz.max(axis=0))])  # fmt: skip
        self.cells.add(xyz)
        chosen = slice(None) if self._kept == 1 else self._rng.random(len(xyz)) < self._kept
        self._sample.append(xyz[chosen].astype(np.float64))
        if label is not None:
            ids, counts = np.unique(label, return_counts=True)
            self.label_counts.update(dict(zip(ids.tolist(), counts.tolist(), strict=True)))
            self._labels.append(label[chosen].astype(np.int64))
        if sum(map(len, self._sample)) > 2 * _SAMPLE_POINTS:
            half = self._rng.random(sum(map(len, self._sample))) < 0.5
            self._sample = [np.concatenate(self._sample)[half]]
            if self._labels:
                self._labels = [np.concatenate(self._labels)[half]]
            self._kept /= 2

    def sample(self) -> CloudSample:
        """A random sample; all points of a cloud of at most a million."""
        xyz = np.concatenate(self._sample or [np.empty((0, 3))])
        return CloudSample(xyz, self.count, np.concatenate(self._labels) if self._labels else None)


class CellCounts:
    """Numbers of points in coarse cubic cells, which grow as needed to stay few."""

    def __init__(self) -> None:
        self.size_m = _CELL_M
        self._counts: Counter[int] = Counter()
        self._zeros = 0

    def add(self, xyz: NDArray[np.floating]) -> None:
        """Count finite points (N, 3)."""
        keys, counts = np.unique(self._keys(xyz), return_counts=True)
        self._counts.update(dict(zip(keys.tolist(), counts.tolist(), strict=True)))
        self._zeros += int(np.sum(~xyz.any(axis=1)))
        while len(self._counts) > _MAX_CELLS:
            coarser: Counter[int] = Counter()
            for key, count in self._counts.items():
                coarser[_pack(_unpack(key) >> 1)] += count
            self._counts, self.size_m = coarser, 2 * self.size_m

    def strays(self) -> Strays:
        """Cells away from all others that hold next to nothing, or nothing but zeros."""
        total = sum(self._counts.values())
        keys = np.array(list(self._counts), np.int64)
        if total < FEWEST_POINTS or len(keys) < 2:
            return Strays(self.size_m, np.empty(0, np.int64), 0)
        index = np.stack([_unpack(key) for key in keys.tolist()])
        pairs = cKDTree(index).query_pairs(1.8, output_type="ndarray")
        links = coo_array((np.ones(len(pairs)), pairs.T), shape=(len(keys), len(keys)))
        _, component = connected_components(links, directed=False)
        points = np.bincount(component, np.array(list(self._counts.values())))
        few = points <= max(_FEWEST_STRAYS, _STRAY_SHARE * total)
        zero = np.flatnonzero((index == 0).all(axis=1))  # the cell that begins at zero
        if len(zero):
            few[component[zero]] |= points[component[zero]] == self._zeros
        few[np.argmax(points)] = False
        stray = few[component]
        return Strays(self.size_m, np.sort(keys[stray]), int(points[few].sum()))

    def _keys(self, xyz: NDArray[np.floating]) -> NDArray[np.int64]:
        return _cell_keys(xyz, self.size_m)


@dataclass(frozen=True)
class Strays:
    """Points far from all others: keys of the cells that they lie in, and their number."""

    cell_m: float
    keys: NDArray[np.int64]
    count: int

    def contain(self, xyz: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Which of the finite points (N, 3) are strays."""
        if len(self.keys) == 0:
            return np.zeros(len(xyz), bool)
        return np.isin(_cell_keys(xyz, self.cell_m), self.keys)


def _cell_keys(xyz: NDArray[np.floating], cell_m: float) -> NDArray[np.int64]:
    index = np.clip(np.floor(xyz / cell_m), -_MAX_INDEX, _MAX_INDEX - 1).astype(np.int64)
    index += _MAX_INDEX
    return (index[:, 0] << (2 * _BITS)) | (index[:, 1] << _BITS) | index[:, 2]


def _pack(index: NDArray[np.int64]) -> int:
    x, y, z = (int(i) + _MAX_INDEX for i in index)
    return (x << (2 * _BITS)) | (y << _BITS) | z


def _unpack(key: int) -> NDArray[np.int64]:
    mask = (1 << _BITS) - 1
    parts = [key >> (2 * _BITS), (key >> _BITS) & mask, key & mask]
    return np.array(parts, np.int64) - _MAX_INDEX
