"""How well a place was recognised: errors, Recall@K, and what guessing would reach.

Positions are compared in the map's horizontal plane (x, y of a z-up frame): places stand at one
height above the ground, so height says nothing about recognition. Shapes: N queries, K candidates
each (best first), P places, V headings at every place. A query without an answer has NaN for its
candidates; it is never correct, and it still counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import ConfigError, ShapeError
from scmpr_ros.geometry import wrap_angle

FloatArray = NDArray[np.floating]


@dataclass(frozen=True)
class Tolerance:
    """How far from the truth a candidate may be and still be correct; both bounds are included."""

    radius_m: float = 5.0
    """Horizontal distance. Place recognition commonly asks for 5, 10 or 20 m."""
    angle_deg: float = 30.0
    """Difference of heading. 180 asks for the position only."""

    def __post_init__(self) -> None:
        if not self.radius_m > 0:
            raise ConfigError(f"radius_m must be positive, got {self.radius_m}")
        if not 0 < self.angle_deg <= 180:
            raise ConfigError(f"angle_deg must lie in (0, 180], got {self.angle_deg}")

    @property
    def angle_rad(self) -> float:
        """`angle_deg` in radians."""
        return float(np.deg2rad(self.angle_deg))


def position_errors(estimated: FloatArray, true: FloatArray) -> NDArray[np.float64]:
    """Horizontal distances in metres.

    estimated: (N, D) or (N, K, D) positions, D of 2 or 3 with z ignored; true: (N, D).
    Returns (N,) or (N, K). Raises ShapeError where the two do not pair up.
    """
    estimated, true = np.asarray(estimated, np.float64), np.asarray(true, np.float64)
    if true.ndim != 2 or true.shape[1] not in (2, 3):
        raise ShapeError.of("true positions", "(N, 2) or (N, 3)", true.shape)
    if estimated.ndim not in (2, 3) or estimated.shape[0] != len(true) or estimated.shape[-1] < 2:
        raise ShapeError.of("estimated positions", f"({len(true)}, [K,] 2|3)", estimated.shape)
    truth = true[:, :2].reshape(len(true), *(1,) * (estimated.ndim - 2), 2)
    return np.linalg.norm(estimated[..., :2] - truth, axis=-1)


def heading_errors(estimated_rad: FloatArray, true_rad: FloatArray) -> NDArray[np.float64]:
    """Absolute differences of heading in radians, in [0, pi].

    estimated_rad: (N,) or (N, K); true_rad: (N,). Returns the shape of `estimated_rad`.
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
    """Whether errors of equal shape are both within the tolerance; NaN never is."""
    return (position_error_m <= tolerance.radius_m) & (heading_error_rad <= tolerance.angle_rad)


def recall_at(k: int, correct: NDArray[np.bool_]) -> float:
    """Recall@K: the share of queries with a correct candidate among the first `k`.

    correct: (N, K), candidates best first. Queries with fewer than `k` candidates count as they
    are. Raises ShapeError where there is no query, since 0/0 is not a recall of zero.
    """
    correct = np.asarray(correct, dtype=bool)
    if correct.ndim != 2 or len(correct) == 0:
        raise ShapeError.of("correct", "(N, K) with at least one query", correct.shape)
    if k < 1:
        raise ConfigError(f"Recall@K needs K of at least 1, got {k}")
    return float(correct[:, :k].any(axis=1).mean())


def chance_level(
    true_positions: FloatArray,
    true_headings_rad: FloatArray,
    place_positions: FloatArray,
    place_headings_rad: FloatArray,
    tolerance: Tolerance,
) -> float:
    """Recall@1 of an answer drawn at random: what a score has to be held against.

    For one query, the share of the map's P * V viewpoints (place, heading) that would count as
    correct; chance is the mean of that over the queries. Headings are the same at every place, so
    the share is that of places within the radius times that of headings within the angle.

    true_positions: (N, 2|3); true_headings_rad: (N,); place_positions: (P, 2|3);
    place_headings_rad: (V,).
    """
    if len(place_positions) == 0 or len(place_headings_rad) == 0 or len(true_positions) == 0:
        raise ShapeError("chance needs at least one query, one place and one heading")
    N, P, V = len(true_positions), len(place_positions), len(place_headings_rad)
    places = np.broadcast_to(np.asarray(place_positions)[None, :, :2], (N, P, 2))
    headings = np.broadcast_to(np.asarray(place_headings_rad)[None], (N, V))
    near = position_errors(places, np.asarray(true_positions)) <= tolerance.radius_m
    aligned = heading_errors(headings, true_headings_rad) <= tolerance.angle_rad
    return float((near.mean(axis=1) * aligned.mean(axis=1)).mean())
