"""From scores to hypotheses about where the camera was.

A score measures how well a place matches the image, not how probable the place is: neighbouring
places match almost equally well, and so may a place on another street; and the image may have been
taken at none of them. So scores become probabilities over the shortlist and the hypothesis "none of
these", proportional to exp(score / temperature), and places are clustered: a cluster is a central
place and all places that agree with it on where the camera was, and its confidence is its total
probability. Clusters are taken greedily, the most probable first, and each removes its places.
Candidates are thus alternatives, not neighbours on one street.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from scmpr_ros.errors import ConfigError
from scmpr_ros.geometry import wrap_angle

_DECIMALS = 6
"""Decimals to which probabilities are compared; ties go to the best score."""


@dataclass(frozen=True)
class BeliefConfig:
    """How scores become probabilities, and which places form a cluster.

    The default limits lie between multiples of the default spacings of places (2 m) and headings
    (12 deg, slid by 1 deg), so that rounding decides no membership.
    """

    score_temperature: float = 0.04
    """Score difference at which a place is 1/e times as probable as the best one."""
    none_score: float = 0.66
    """Score of the hypothesis that the image was taken at none of the places. A single place with
    this score is as probable as that; a large negative number rules it out."""
    cluster_radius_m: float = 4.5
    """Places within this distance of a cluster's central place belong to it; 0: no clustering."""
    cluster_heading_deg: float = 15.5
    """Places of a cluster have headings within this angle of the central place's."""

    def __post_init__(self) -> None:
        if not self.score_temperature > 0:
            raise ConfigError(
                f"belief.score_temperature must be positive, got {self.score_temperature}"
            )
        if not np.isfinite(self.none_score):
            raise ConfigError(f"belief.none_score must be a finite number, got {self.none_score}")
        if not self.cluster_radius_m >= 0:
            raise ConfigError(f"belief.cluster_radius_m cannot be {self.cluster_radius_m}")
        if not 0 < self.cluster_heading_deg <= 180:
            raise ConfigError(
                f"belief.cluster_heading_deg {self.cluster_heading_deg} is not in (0, 180]"
            )


@dataclass(frozen=True)
class Hypothesis:
    """One cluster of places.

    index: of its central place. confidence: its total probability, in [0, 1]; all together lack
    that of "none of these". position: (3,)
    metres, and yaw_rad: means over its places, weighted by probability.
    """

    index: int
    confidence: float
    position: NDArray[np.float64]
    yaw_rad: float


def hypotheses(
    position: NDArray[np.float64],
    yaw_rad: NDArray[np.float64],
    score: NDArray[np.float64],
    config: BeliefConfig,
    count: int,
) -> list[Hypothesis]:
    """Cluster N scored places, the most probable cluster first.

    position: (N, 3) metres; yaw_rad, score: (N,), one heading per place.

    Returns at most `count` hypotheses with different central places. If there are fewer clusters,
    the remaining places follow by score, each with its own pose and confidence 0.
    """
    ranked = np.argsort(-score, kind="stable")
    position, yaw_rad, score = position[ranked], yaw_rad[ranked], score[ranked]
    highest = max(score[0], config.none_score)
    probability = np.exp((score - highest) / config.score_temperature)
    none = np.exp((config.none_score - highest) / config.score_temperature)
    probability /= probability.sum() + none
    difference_rad = np.abs(wrap_angle(yaw_rad[:, None] - yaw_rad))
    agree = (cdist(position, position) <= config.cluster_radius_m) & (
        difference_rad <= np.deg2rad(config.cluster_heading_deg)
    )
    clusters: list[Hypothesis] = []
    centres: list[int] = []
    free = np.ones(len(score), bool)
    while len(clusters) < count:
        total = np.where(free, (agree @ probability).round(_DECIMALS), 0.0)
        centre = int(total.argmax())  # ties: the first, which has the best score
        if total[centre] <= 0:
            break
        weights = probability * agree[centre]
        clusters.append(
            Hypothesis(
                int(ranked[centre]), float(total[centre]),
                np.average(position, axis=0, weights=weights),
                _mean_heading(yaw_rad, yaw_rad[centre], weights),
            )
        )  # fmt: skip
        centres.append(centre)
        probability = probability * ~agree[centre]
        free &= ~agree[centre]
    rest = np.delete(np.arange(len(score)), centres)[: count - len(clusters)]
    return clusters + [
        Hypothesis(int(ranked[i]), 0.0, position[i], float(yaw_rad[i])) for i in rest
    ]


def _mean_heading(
    yaw_rad: NDArray[np.float64], reference_rad: float, weights: NDArray[np.float64]
) -> float:
    """Weighted mean of headings within half a turn of a reference heading."""
    differences = wrap_angle(yaw_rad - reference_rad)
    return float(reference_rad + np.average(differences, weights=weights))
