"""Confidence interval of a recall over queries that are not independent."""

from __future__ import annotations

import math

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

    correct: (N,) whether each query is answered correctly, or how often in [0, 1].
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
    hits, count = np.asarray(correct, np.float64), len(correct)
    if hits.ndim != 1 or count == 0:
        raise ShapeError.of("correct", "(N,) with at least one query", hits.shape)
    if np.shape(xy_m) != (count, 2):
        raise ShapeError.of("query positions", f"({count}, 2)", np.shape(xy_m))
    positions, groups = np.asarray(xy_m, np.float64), _groups(recordings, count)
    variance, cells = _clustered_variance(hits, positions, groups, cell_m)
    mean = float(hits.mean())
    if cells < _MIN_CELLS:
        trials = _assumed_trials(positions, groups)
    elif variance == 0:  # all correct or all wrong
        trials = cells
    else:
        variance *= cells / (cells - 1)
        trials = mean * (1 - mean) / variance * (_Z / stats.t.ppf(0.975, cells - 1)) ** 2
    return _wilson_interval(mean, float(np.clip(trials, 1.0, count)))


def difference_interval(
    gain: NDArray[np.floating],
    xy_m: NDArray[np.floating],
    recordings: NDArray[np.str_] | None = None,
    cell_m: float = CELL_M,
) -> tuple[float, float]:
    """95 % interval of the mean difference of two methods that answered the same queries.

    gain: (N,) what one method is better by, for each query: in [-1, 1]. Others as of
    `recall_interval`, whose clusters and assumptions it shares; the interval is Student's t.

    Streets that are hard for both methods are no difference, so that it is much narrower than the
    two recalls' intervals.
    """
    values, count = np.asarray(gain, np.float64), len(gain)
    if values.ndim != 1 or count == 0 or np.shape(xy_m) != (count, 2):
        shapes = (values.shape, np.shape(xy_m))
        raise ShapeError.of("gain and positions", "(N,) and (N, 2)", shapes)
    positions, groups = np.asarray(xy_m, np.float64), _groups(recordings, count)
    variance, cells = _clustered_variance(values, positions, groups, cell_m)
    if cells < _MIN_CELLS:
        trials = _assumed_trials(positions, groups)
        variance = float(values.var()) / trials
    else:
        trials = cells
    if trials <= 1:
        return -1.0, 1.0
    if variance > 0:
        deviation = math.sqrt(variance * trials / (trials - 1))
        half = float(stats.t.ppf(0.975, trials - 1)) * deviation
    else:  # the same for each query: others may differ as often as none of so many can tell
        half = _wilson_interval(0.0, trials)[1]
    mean = float(values.mean())
    return max(-1.0, mean - half), min(1.0, mean + half)


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
