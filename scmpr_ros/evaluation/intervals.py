"""Confidence intervals of recalls over queries that are not independent, and over few seeds."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial.distance import cdist

from scmpr_ros.errors import ShapeError

CELL_M = 300.0
"""Side of the cells within which queries may fail together."""
CORRELATION_M = 50.0
"""Assumed distance at which failures correlate by 1/e, if it cannot be measured."""
_MIN_CELLS = 8
_OFFSETS = 4  # of the grid of cells along each axis
_Z = 1.959964  # of a normal distribution's central 95 %
_ROWS_AT_ONCE = 1000


def recall_interval(
    correct: NDArray[np.bool_] | NDArray[np.floating],
    xy_m: NDArray[np.floating],
    recordings: NDArray[np.str_] | None = None,
    cell_m: float = CELL_M,
) -> tuple[float, float]:
    """95 % interval of a recall, robust to queries that fail together.

    correct: (N,) whether each query is answered correctly; (S, N) by the networks of S seeds.
    xy_m: (N, 2) where the queries were taken, in the frame of their recording.
    recordings: (N,) name of each query's recording; one for all by default.
    cell_m: side of the cells.

    Nearby images show the same street and fail together, whether on one drive or on several. So all
    queries of a recording in one square cell of the map form a cluster, and clusters are taken as
    independent. Their variance, averaged over offsets of the grid, gives the number of independent
    queries that would be as certain (Korn and Graubard 1998). That number, reduced by the t
    quantile of few clusters, enters Wilson's binomial interval. With fewer than eight cells, too
    few to measure a variance, failures are assumed to be correlated by exp(-distance / 50 m).

    Coverage in percent of simulated straight drives with that correlation, queries 1 to 30 m apart
    and a true recall of 0.5 or 0.85 (0.95: from 86 on):

    | length of the drive       | 0.25 km | 0.5 km | 1 km  | 2 km  | 3 km  | 5 km  |
    | this interval             | 93-100  | 94-99  | 95-99 | 95-99 | 92-96 | 90-94 |
    | bootstrap of 200 m pieces | 9-32    | 48-71  | 68-85 | 81-91 | 80-91 |       |
    | bootstrap of ten queries  | 34-71   | 36-78  | 37-79 | 42-86 | 40-90 |       |
    """
    hits = _by_seed(correct, xy_m, "correct")
    streets = _Streets.of(hits.mean(axis=0), xy_m, recordings, cell_m)
    mean, count = float(hits.mean()), hits.shape[1]
    chance = _Variance(mean * (1 - mean) / streets.trials, math.inf)
    spread = (chance if streets.few else streets.spread()) + _variance_of_seeds(hits)
    trials = streets.trials
    if spread.value > 0:
        trials = mean * (1 - mean) / spread.value * (_Z / spread.quantile()) ** 2
    return _wilson_interval(mean, float(np.clip(trials, 1.0, count)))


def difference_interval(
    gain: NDArray[np.floating],
    xy_m: NDArray[np.floating],
    recordings: NDArray[np.str_] | None = None,
    cell_m: float = CELL_M,
) -> tuple[float, float]:
    """95 % interval of the mean difference of two methods that answered the same queries.

    gain: (N,) what one method is better by, for each query: in [-1, 1]; (S, N) for each of S seeds.
    Others as of `recall_interval`, whose clusters and assumptions it shares; the interval is
    Student's t.

    Streets that are hard for both methods are no difference, so that it is much narrower than the
    two recalls' intervals.
    """
    gains = _by_seed(gain, xy_m, "gain")
    streets = _Streets.of(gains.mean(axis=0), xy_m, recordings, cell_m)
    if streets.trials <= 1:
        return -1.0, 1.0
    spread = streets.spread() + _variance_of_seeds(gains)
    half = spread.quantile() * math.sqrt(spread.value)
    if spread.value == 0:  # others may differ as often as none of so many can tell
        half = _wilson_interval(0.0, streets.trials)[1]
    mean = float(gains.mean())
    return max(-1.0, mean - half), min(1.0, mean + half)


def _by_seed(
    values: NDArray[np.bool_] | NDArray[np.floating], xy_m: NDArray[np.floating], name: str
) -> NDArray[np.float64]:
    """Values as (S, N)."""
    found = np.atleast_2d(np.asarray(values, np.float64))
    if found.ndim != 2 or found.shape[1] == 0:
        raise ShapeError.of(name, "(N,) or (S, N) with at least one query", np.shape(values))
    if np.shape(xy_m) != (found.shape[1], 2):
        raise ShapeError.of("query positions", f"({found.shape[1]}, 2)", np.shape(xy_m))
    return found


class _Variance(NamedTuple):
    """Variance of a mean, and the degrees of freedom with which it is known."""

    value: float
    freedom: float

    def __add__(self, other: _Variance) -> _Variance:  # type: ignore[override]
        """Of a sum, by Welch and Satterthwaite."""
        value = self.value + other.value
        doubt = self.value**2 / self.freedom + other.value**2 / other.freedom
        return _Variance(value, value**2 / doubt if doubt else math.inf)

    def quantile(self) -> float:
        """How many deviations from the mean the central 95 % end."""
        return float(stats.t.ppf(0.975, self.freedom))


def _variance_of_seeds(values: NDArray[np.float64]) -> _Variance:
    """Of the mean of values (S, N), by how the means of the seeds differ."""
    seeds = len(values)
    if seeds == 1:
        return _Variance(0.0, math.inf)
    return _Variance(float(values.mean(axis=1).var(ddof=1)) / seeds, seeds - 1)


class _Streets(NamedTuple):
    """How much the mean of values (N,) varies with the streets.

    variance: of the mean. trials: independent queries as certain as these. few: whether the streets
    are too short to measure that, and it is assumed.
    """

    variance: float
    trials: float
    few: bool

    @classmethod
    def of(
        cls, values: NDArray[np.float64], xy_m: NDArray[np.floating],
        recordings: NDArray[np.str_] | None, cell_m: float,
    ) -> _Streets:  # fmt: skip
        positions, groups = np.asarray(xy_m, np.float64), _groups(recordings, len(values))
        variance, cells = _clustered_variance(values, positions, groups, cell_m)
        if cells >= _MIN_CELLS:
            return cls(variance, cells, False)
        trials = _assumed_trials(positions, groups)
        return cls(float(values.var()) / trials, trials, True)

    def spread(self) -> _Variance:
        """The variance as estimated by so few trials; there must be more than one."""
        return _Variance(self.variance * self.trials / (self.trials - 1), self.trials - 1)


def _groups(recordings: NDArray[np.str_] | None, count: int) -> NDArray[np.int_]:
    """Number of each query's recording, (N,)."""
    if recordings is None:
        return np.zeros(count, int)
    return np.unique(recordings, return_inverse=True)[1]


def _clustered_variance(
    hits: NDArray[np.float64], xy_m: NDArray[np.float64], groups: NDArray[np.int_], cell_m: float
) -> tuple[float, float]:
    """Variance of the mean of clusters, and their effective number (Kish), over grid offsets."""
    residual, count = hits - hits.mean(), len(hits)
    scaled = (xy_m - xy_m.min(axis=0)) / cell_m
    variances, numbers = [], []
    for offset in np.ndindex(_OFFSETS, _OFFSETS):
        x, y = np.floor(scaled + np.array(offset) / _OFFSETS).astype(int).T
        keys = (groups * (x.max() + 1) + x) * (y.max() + 1) + y
        cluster = np.unique(keys, return_inverse=True)[1]
        variances.append(np.square(np.bincount(cluster, residual)).sum() / count**2)
        numbers.append(count**2 / np.square(np.bincount(cluster)).sum())
    return float(np.mean(variances)), float(np.mean(numbers))


def _assumed_trials(xy_m: NDArray[np.float64], groups: NDArray[np.int_]) -> float:
    """Independent queries as certain as these, if failures are correlated as assumed."""
    variance = 0.0
    for group in np.unique(groups):
        inside = xy_m[groups == group]
        for rows in np.array_split(inside, -(-len(inside) // _ROWS_AT_ONCE)):
            variance += np.exp(-cdist(rows, inside) / CORRELATION_M).sum()
    return len(xy_m) ** 2 / variance


def _wilson_interval(mean: float, trials: float) -> tuple[float, float]:
    """Wilson's interval of a binomial proportion; trials need not be whole."""
    spread = _Z**2 / trials
    centre = (mean + spread / 2) / (1 + spread)
    half = _Z / (1 + spread) * math.sqrt((mean * (1 - mean) + spread / 4) / trials)
    return max(0.0, centre - half), min(1.0, centre + half)
