"""From scores to answers: where the camera is believed to have been.

A score says how much a place looks like the image, not how likely it is to be the right one: the
next place on the same street looks much the same, and so does a place on another street. So the
scores of the shortlisted places become shares of belief, exp(score / temperature), and an answer is
a neighbourhood: a place and all that agree with it on where the camera was. The first is the one
that holds the most belief, which is its confidence; each further one holds the most of what is
left. Candidates are therefore alternatives, not five neighbours on one street.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from scmpr_ros.errors import ConfigError
from scmpr_ros.geometry import wrap_angle

_DECIMALS = 6
"""To which shares of belief are told apart; of equal ones the best score goes first."""


@dataclass(frozen=True)
class BeliefConfig:
    """How scores are weighed against each other, and which places agree.

    The limits lie between the steps of places and headings, so that rounding decides nothing.
    """

    score_temperature: float = 0.03
    """Score difference at which a place is believed in 1/e as much as the best one."""
    cluster_radius_m: float = 4.5
    """Places as near to each other as this agree on where the camera was; 0: each stands alone."""
    cluster_heading_deg: float = 15.5
    """Those that agree have headings as near as this."""

    def __post_init__(self) -> None:
        if not self.score_temperature > 0:
            raise ConfigError(
                f"belief.score_temperature must be positive, got {self.score_temperature}"
            )
        if not self.cluster_radius_m >= 0:
            raise ConfigError(f"belief.cluster_radius_m cannot be {self.cluster_radius_m}")
        if not 0 < self.cluster_heading_deg <= 180:
            raise ConfigError(
                f"belief.cluster_heading_deg {self.cluster_heading_deg} is not in (0, 180]"
            )


@dataclass(frozen=True)
class Hypothesis:
    """One neighbourhood.

    index: of the place amid it. confidence: the belief it holds, in [0, 1]. position: (3,) metres;
    yaw_rad: where the camera was and looked, the mean of the places by their belief.
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
    """The neighbourhoods of N scored places, the one that is most believed in first.

    position: (N, 3); yaw_rad, score: (N,), one heading for each place. At most `count`, each amid
    another place. Where there are fewer neighbourhoods, the places that they hold already follow,
    each with its own pose and no confidence, by their score.
    """
    ranked = np.argsort(-score, kind="stable")
    position, yaw_rad, score = position[ranked], yaw_rad[ranked], score[ranked]
    belief = np.exp((score - score[0]) / config.score_temperature)
    belief /= belief.sum()
    turned_rad = np.abs(wrap_angle(yaw_rad[:, None] - yaw_rad))
    agree = (cdist(position, position) <= config.cluster_radius_m) & (
        turned_rad <= np.deg2rad(config.cluster_heading_deg)
    )
    found: list[Hypothesis] = []
    centres: list[int] = []
    free = np.ones(len(score), bool)
    while len(found) < count:
        held = np.where(free, (agree @ belief).round(_DECIMALS), 0.0)
        centre = int(held.argmax())  # of equals the first, which has the best score
        if held[centre] <= 0:
            break
        share = belief * agree[centre]
        found.append(
            Hypothesis(
                int(ranked[centre]), float(held[centre]),
                np.average(position, axis=0, weights=share),
                _mean_heading(yaw_rad, yaw_rad[centre], share),
            )
        )  # fmt: skip
        centres.append(centre)
        belief = belief * ~agree[centre]
        free &= ~agree[centre]
    rest = np.delete(np.arange(len(score)), centres)[: count - len(found)]
    return found + [Hypothesis(int(ranked[i]), 0.0, position[i], float(yaw_rad[i])) for i in rest]


def _mean_heading(
    yaw_rad: NDArray[np.float64], about_rad: float, share: NDArray[np.float64]
) -> float:
    """Mean of headings weighted by `share`, all of which lie within a half turn of `about_rad`."""
    return float(about_rad + np.average(wrap_angle(yaw_rad - about_rad), weights=share))
