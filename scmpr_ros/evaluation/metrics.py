"""Localisation metrics: position and heading errors, Recall@K, chance level and IoU.

Positions are compared in the map's horizontal plane (x, y of a z-up frame): places stand at one
height above the ground, so height says nothing about recognition.

Shapes: N queries, K candidates each (best first), P places, V headings at every place. An
unanswered query has NaN for its candidates; it is never correct, and it still counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import ConfigError, ShapeError
from scmpr_ros.geometry import wrap_angle
from scmpr_ros.semantics import IGNORE

FloatArray = NDArray[np.floating]
Axes = tuple[int, int]
"""Two axes of the z-up map in which distances are taken; (0, 1) is the ground plane."""


@dataclass(frozen=True)
class Tolerance:
    """Largest errors of a correct candidate; both bounds are included."""

    radius_m: float = 5.0
    """Horizontal distance. Place recognition commonly uses 5, 10 or 20 m."""
    angle_deg: float = 30.0
    """Heading difference. 180 accepts any heading, also an unknown one."""
    axes: Axes = (0, 1)
    """Axes of the distance. Others than the ground plane reproduce published code."""

    def __post_init__(self) -> None:
        if not self.radius_m > 0:
            raise ConfigError(f"radius_m must be positive, got {self.radius_m}")
        if not 0 < self.angle_deg <= 180:
            raise ConfigError(f"angle_deg must lie in (0, 180], got {self.angle_deg}")

    @property
    def angle_rad(self) -> float:
        """`angle_deg` in radians."""
        return float(np.deg2rad(self.angle_deg))

    def accepts_heading(self, error_rad: FloatArray) -> NDArray[np.bool_]:
        """Whether heading errors are small enough; NaN is, only if any heading is."""
        if self.angle_deg == 180:
            return np.ones(np.shape(error_rad), bool)
        return np.asarray(error_rad <= self.angle_rad)


def position_errors(
    estimated: FloatArray, true: FloatArray, axes: Axes = (0, 1)
) -> NDArray[np.float64]:
    """Distances in metres, by default in the ground plane.

    estimated: (N, D) or (N, K, D) positions, D of 2 or 3. true: (N, D).
    Returns (N,) or (N, K). Raises ShapeError if the two do not pair up.
    """
    estimated, true = np.asarray(estimated, np.float64), np.asarray(true, np.float64)
    if true.ndim != 2 or true.shape[1] not in (2, 3):
        raise ShapeError.of("true positions", "(N, 2) or (N, 3)", true.shape)
    if estimated.ndim not in (2, 3) or estimated.shape[0] != len(true) or estimated.shape[-1] < 2:
        raise ShapeError.of("estimated positions", f"({len(true)}, [K,] 2|3)", estimated.shape)
    chosen = list(axes)
    truth = true[:, chosen].reshape(len(true), *(1,) * (estimated.ndim - 2), 2)
    return np.linalg.norm(estimated[..., chosen] - truth, axis=-1)


def heading_errors(estimated_rad: FloatArray, true_rad: FloatArray) -> NDArray[np.float64]:
    """Absolute heading differences in radians, in [0, pi].

    estimated_rad: (N,) or (N, K). true_rad: (N,). Returns the shape of `estimated_rad`.
    """
    estimated_rad, true_rad = np.asarray(estimated_rad), np.asarray(true_rad)
    if true_rad.ndim != 1 or estimated_rad.shape[:1] != true_rad.shape or estimated_rad.ndim > 2:
        raise ShapeError.of("headings", f"(N, [K]) against (N,) = {true_rad.shape}",
                            estimated_rad.shape)  # fmt: skip
    return np.abs(
        wrap_angle(estimated_rad - true_rad.reshape(-1, *(1,) * (estimated_rad.ndim - 1)))
    )


def within(
    position_error_m: FloatArray, heading_error_rad: FloatArray, tolerance: Tolerance
) -> NDArray[np.bool_]:
    """Whether errors of equal shape are both within the tolerance; a NaN position never is."""
    near = np.asarray(position_error_m <= tolerance.radius_m)
    return near & tolerance.accepts_heading(heading_error_rad)


def recall_at(k: int, correct: NDArray[np.bool_]) -> float:
    """Recall@K: the share of queries with a correct candidate among the first `k`.

    correct: (N, K), candidates best first; there may be fewer than `k`.
    Raises ShapeError without a query, since 0/0 is not a recall of zero.
    """
    correct = np.asarray(correct, dtype=bool)
    if correct.ndim != 2 or len(correct) == 0:
        raise ShapeError.of("correct", "(N, K) with at least one query", correct.shape)
    if k < 1:
        raise ConfigError(f"Recall@K needs K of at least 1, got {k}")
    return float(correct[:, :k].any(axis=1).mean())


def first_correct_ranks(correct: NDArray[np.bool_]) -> tuple[int | None, ...]:
    """Rank of each query's first correct candidate, from 1; None if none of (N, K) is correct."""
    return tuple(int(np.argmax(row)) + 1 if row.any() else None for row in np.asarray(correct))


def one_percent(num_places: int) -> int:
    """K of Recall@1 %: one hundredth of the map's places, at least one."""
    return max(1, round(num_places / 100))


def chance_level(
    true_positions: FloatArray,
    true_headings_rad: FloatArray,
    place_positions: FloatArray,
    place_headings_rad: FloatArray,
    tolerance: Tolerance,
    allowed: NDArray[np.bool_] | None = None,
) -> float:
    """Recall@1 of random answers, the baseline of any score.

    The probability that a viewpoint (place, heading) drawn at random is correct, averaged over the
    queries.

    true_positions: (N, 2|3). true_headings_rad: (N,). place_positions: (P, 2|3).
    place_headings_rad: (V,) of all places, or (P, V) of each.
    allowed: (N, P) places that may answer each query; all by default.
    """
    if len(place_positions) == 0 or np.size(place_headings_rad) == 0 or len(true_positions) == 0:
        raise ShapeError("chance needs at least one query, one place and one heading")
    N, P = len(true_positions), len(place_positions)
    near = near_places(true_positions, place_positions, tolerance)
    headings = np.atleast_2d(place_headings_rad)  # (1 or P, V)
    errors = heading_errors(
        np.broadcast_to(headings.reshape(1, -1), (N, headings.size)), true_headings_rad
    )
    aligned = tolerance.accepts_heading(errors).reshape(N, *headings.shape).mean(axis=2)
    allowed = np.ones((N, P), bool) if allowed is None else allowed
    hits = (near & allowed) * aligned
    return float((hits.sum(axis=1) / np.maximum(allowed.sum(axis=1), 1)).mean())


def near_places(
    true_positions: FloatArray, place_positions: FloatArray, tolerance: Tolerance
) -> NDArray[np.bool_]:
    """Which places (N, P) lie within the radius of each query, whatever the heading."""
    places = np.broadcast_to(np.asarray(place_positions), (len(true_positions),
                             *np.shape(place_positions)))  # fmt: skip
    errors = position_errors(places, np.asarray(true_positions), tolerance.axes)
    return errors <= tolerance.radius_m


def class_iou(confusion: NDArray[np.integer]) -> NDArray[np.float64]:
    """Intersection over union of every class, (C,), NaN for classes that do not occur.

    confusion: (C, C) counts by true (row) and predicted class. The first row, true `ignore`, is
    not scored.
    """
    counts = np.array(confusion, np.float64)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise ShapeError.of("confusion", "(C, C)", counts.shape)
    counts[IGNORE] = 0
    found, true = np.diag(counts), counts.sum(axis=1)
    union = true + counts.sum(axis=0) - found
    return np.divide(found, union, where=true > 0, out=np.full(len(counts), np.nan))
