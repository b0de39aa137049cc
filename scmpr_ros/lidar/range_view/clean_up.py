"""From the classes of a range image back to points: k nearest neighbours in the image vote.

A cell holds several points, and edges of objects bleed onto what lies behind them. So a point does
not take the class of its cell, but that of the cells around it whose range is nearest to its own.
After the post-processing of RangeNet++ (Milioto et al., IROS 2019, section III-E).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import ConfigError
from scmpr_ros.semantics import IGNORE, NUM_CLASSES

_POINTS_PER_CHUNK = 50_000  # bounds the memory for neighbours to about 50 MB
_TIE = 1e-4  # metres; of cells equally far, those in the middle vote


@dataclass(frozen=True)
class CleanUpConfig:
    """How points take classes from the range image.

    neighbours: how many cells vote; 0 takes each point's own cell.
    window: width and height, in cells, of the window that they are chosen from.
    sigma: of the Gaussian, in cells, that prefers cells in the middle of the window.
    cutoff_m: cells whose weighted range differs by more do not vote.
    """

    neighbours: int = 5
    window: int = 5
    sigma: float = 1.0
    cutoff_m: float = 1.0

    def __post_init__(self) -> None:
        if self.window < 1 or self.window % 2 == 0:
            raise ConfigError(f"clean_up.window is {self.window}: it must be odd")
        if not 0 <= self.neighbours <= self.window**2:
            raise ConfigError(
                f"clean_up.neighbours is {self.neighbours}: a window of {self.window} has at most "
                f"{self.window**2}"
            )
        if not self.sigma > 0 or not self.cutoff_m > 0:
            raise ConfigError("clean_up.sigma and cutoff_m must be positive")


def classes_of_points(
    cell_label: NDArray[np.uint8],
    cell_confidence: NDArray[np.float32],
    cell_range_m: NDArray[np.float32],
    row: NDArray[np.int64],
    column: NDArray[np.int64],
    range_m: NDArray[np.float32],
    config: CleanUpConfig,
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Joint id (N,) of each point, and how sure the vote was, (N,) float32 in [0, 1].

    cell_label, cell_confidence: (H, W) class of each cell and its probability.
    cell_range_m: (H, W) range of each cell's nearest point, inf for none.
    row, column, range_m: (N,) cell and range of each point.
    The confidence is the mean over the voters of what they give to the winner. `ignore` wins only
    where nothing else was voted for.
    """
    if config.neighbours == 0:
        return cell_label[row, column], cell_confidence[row, column]
    half = config.window // 2
    label = _surrounded(cell_label, half, IGNORE)
    confidence = _surrounded(cell_confidence, half, 0.0)
    cell_range = _surrounded(cell_range_m, half, np.inf)
    aversion = _aversion(config)
    found = np.empty(len(row), np.uint8), np.empty(len(row), np.float32)
    for start in range(0, len(row), _POINTS_PER_CHUNK):
        chunk = slice(start, start + _POINTS_PER_CHUNK)
        window = _windows(row[chunk], column[chunk], config.window)
        distance = np.abs(cell_range[window] - range_m[chunk, None])
        distance[:, distance.shape[1] // 2] = 0.0  # the point itself
        distance = distance * aversion + _TIE * aversion
        chosen = np.argpartition(distance, config.neighbours - 1, axis=1)[:, : config.neighbours]
        votes = np.take_along_axis(distance, chosen, 1) <= config.cutoff_m
        labels = np.take_along_axis(label[window], chosen, 1)
        weights = np.take_along_axis(confidence[window], chosen, 1)
        found[0][chunk], found[1][chunk] = _majority(labels, weights, votes)
    return found


def _surrounded(values: NDArray, half: int, filler: float) -> NDArray:
    """Continue an image around the circle and by a filler above and below."""
    wide = np.pad(values, ((0, 0), (half, half)), mode="wrap")
    return np.pad(wide, ((half, half), (0, 0)), constant_values=filler)


def _windows(
    row: NDArray[np.int64], column: NDArray[np.int64], window: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns (N, window^2), in the surrounded image, of the cells around each point."""
    down, right = np.divmod(np.arange(window**2), window)
    return row[:, None] + down, column[:, None] + right


def _aversion(config: CleanUpConfig) -> NDArray[np.float32]:
    """Factor (window^2,) on the distance of each cell: one minus a normalised Gaussian."""
    offset = np.arange(config.window) - config.window // 2
    gaussian = np.exp(-(offset[:, None] ** 2 + offset**2) / (2 * config.sigma**2))
    return (1 - gaussian / gaussian.sum()).astype(np.float32).ravel()


def _majority(
    label: NDArray[np.uint8], weight: NDArray[np.float32], votes: NDArray[np.bool_]
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Most frequent label (N,) among voters (N, k); of equals the one with the larger weight."""
    point = np.repeat(np.arange(len(label)), label.shape[1])
    flat = point * NUM_CLASSES + label.ravel()
    shape = (len(label), NUM_CLASSES)
    size = len(label) * NUM_CLASSES
    count = np.bincount(flat, votes.ravel(), size).reshape(shape)
    total = np.bincount(flat, (weight * votes).ravel(), size).reshape(shape)
    voters = np.maximum(votes.sum(axis=1), 1)
    preference = count + 1e-6 * total
    preference[:, IGNORE] *= 1e-3  # the last choice
    winner = preference.argmax(axis=1)
    return winner.astype(np.uint8), (total[np.arange(len(label)), winner] / voters).astype(
        np.float32
    )
