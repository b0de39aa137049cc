"""Histograms, distances between them, and sets of measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import ConfigError, ShapeError


@dataclass(frozen=True)
class Axis:
    """Equal bins from `low` to `high`, in `unit`; values outside fall into the end bins.

    scale: `linear`; `log`, bins of equal ratio; `classes`, bin k holds the integer k, and all
        classes are equally far apart.
    """

    low: float
    high: float
    bins: int
    unit: str
    scale: Literal["linear", "log", "classes"] = "linear"

    def __post_init__(self) -> None:
        if self.bins < 1 or not self.low < self.high or (self.scale == "log" and self.low <= 0):
            raise ConfigError(
                f"axis from {self.low} to {self.high} {self.unit} in {self.bins} bins: expected "
                "low < high, at least one bin, and low > 0 on a logarithmic scale"
            )

    @classmethod
    def of_classes(cls, count: int) -> Axis:
        """An axis with a bin for each id from 0 to count - 1."""
        return cls(-0.5, count - 0.5, count, "class", "classes")

    @property
    def edges(self) -> NDArray[np.float64]:
        """Edges (bins + 1,) in `unit`."""
        if self.scale == "log":
            return np.geomspace(self.low, self.high, self.bins + 1)
        return np.linspace(self.low, self.high, self.bins + 1)

    @property
    def centres(self) -> NDArray[np.float64]:
        """Centres (bins,) in `unit`; geometric means of the edges on a logarithmic scale."""
        edges = self.edges
        if self.scale == "log":
            return np.sqrt(edges[1:] * edges[:-1])
        return (edges[1:] + edges[:-1]) / 2

    @property
    def step(self) -> float:
        """Width of a bin in `distance_unit`."""
        span = np.log10(self.high / self.low) if self.scale == "log" else self.high - self.low
        return float(span / self.bins)

    @property
    def distance_unit(self) -> str:
        """Unit of `wasserstein`."""
        return {"linear": self.unit, "log": "decades", "classes": "fraction"}[self.scale]

    def bin_of(self, values: NDArray) -> NDArray[np.int64]:
        """Bin of each value, of the same shape."""
        values = np.asarray(values, dtype=np.float32)
        if self.scale == "log":
            values = np.log10(np.maximum(values, self.low) / self.low)
        else:
            values = values - self.low
        return np.clip(values / self.step, 0, self.bins - 1).astype(np.int64)


@dataclass(frozen=True)
class Distribution:
    """A histogram: `weight` (bins,) float64 holds counts or powers."""

    axis: Axis
    weight: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.weight.shape != (self.axis.bins,):
            raise ShapeError.of("weights", f"({self.axis.bins},)", self.weight.shape)

    @classmethod
    def of(cls, values: NDArray, axis: Axis) -> Distribution:
        """Count values of any shape, without NaN."""
        counts = np.bincount(axis.bin_of(values).ravel(), minlength=axis.bins)
        return cls(axis, counts.astype(np.float64))

    @property
    def fractions(self) -> NDArray[np.float64]:
        """Weights (bins,) normalised to sum 1; zeros for an empty histogram."""
        return self.weight / max(self.weight.sum(), np.finfo(np.float64).tiny)

    @property
    def mean(self) -> float:
        """Mean, with values at the centres of their bins."""
        return float(self.fractions @ self.axis.centres)

    @property
    def std(self) -> float:
        """Standard deviation, with values at the centres of their bins."""
        return float(np.sqrt(self.fractions @ (self.axis.centres - self.mean) ** 2))

    def quantile(self, q: float) -> float:
        """Value below which the fraction `q` lies, interpolated in its bin; NaN if empty."""
        if not self.weight.any():
            return float("nan")
        cumulative = np.concatenate([[0.0], np.cumsum(self.fractions)])
        at = max(int(np.searchsorted(cumulative, q)), 1)
        within = (q - cumulative[at - 1]) / (cumulative[at] - cumulative[at - 1])
        low, high = self.axis.edges[at - 1 : at + 1]
        if self.axis.scale == "log":
            return float(low * (high / low) ** within)
        return float(low + (high - low) * within)

    def __add__(self, other: Distribution) -> Distribution:
        self._check_axis(other)
        return Distribution(self.axis, self.weight + other.weight)

    def _check_axis(self, other: Distribution) -> None:
        if self.axis != other.axis:
            raise ShapeError.of("axis of the other distribution", self.axis, other.axis)

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values for JSON."""
        return {**asdict(self.axis), "weight": self.weight.tolist()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Distribution:
        """The inverse of `to_dict`."""
        axis = {name: value for name, value in values.items() if name != "weight"}
        return cls(Axis(**axis), np.array(values["weight"], dtype=np.float64))


@dataclass(frozen=True)
class Measurement:
    """Measurements, by name, of one or several images, masks or scans.

    numbers: means over the images, masks or scans that have a value.
    """

    numbers: Mapping[str, float] = field(default_factory=dict)
    distributions: Mapping[str, Distribution] = field(default_factory=dict)

    @classmethod
    def pool(cls, parts: Sequence[Measurement]) -> Measurement:
        """Average the numbers, ignoring NaN, and add the distributions."""
        numbers: dict[str, list[float]] = {}
        distributions: dict[str, Distribution] = {}
        for part in parts:
            for name, value in part.numbers.items():
                if not np.isnan(value):
                    numbers.setdefault(name, []).append(value)
            for name, added in part.distributions.items():
                total = distributions.get(name)
                distributions[name] = added if total is None else total + added
        return cls(
            {name: float(np.mean(values)) for name, values in numbers.items()}, distributions
        )


def wasserstein(a: Distribution, b: Distribution) -> float:
    """Wasserstein-1 distance: how far values must move, on average, to make the two equal.

    In the axis' `distance_unit`: its unit, or decades on a logarithmic axis. The distance between
    any two classes is 1, so for classes it is the total variation.
    """
    a._check_axis(b)
    difference = a.fractions - b.fractions
    if a.axis.scale == "classes":
        return float(np.abs(difference).sum() / 2)
    return float(np.abs(np.cumsum(difference)[:-1]).sum() * a.axis.step)


def jensen_shannon(a: Distribution, b: Distribution) -> float:
    """Jensen-Shannon divergence in bits: 0 if equal, 1 if no bins are shared."""
    a._check_axis(b)
    p, q = a.fractions, b.fractions
    middle = (p + q) / 2
    return float((_kullback_leibler(p, middle) + _kullback_leibler(q, middle)) / 2)


def _kullback_leibler(p: NDArray, q: NDArray) -> float:
    occupied = p > 0
    return float((p[occupied] * np.log2(p[occupied] / q[occupied])).sum())
