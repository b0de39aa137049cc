"""From scores to answers: where the camera is believed to have been.

A score says how much a place looks like the image, not how likely it is to be the right one: the
next place on the same street looks much the same, and so does a place on another street. So the
scores of the shortlisted places become shares of belief, exp(score / temperature), and an answer is
a neighbourhood: all places that agree on where the camera was. The first is the one that holds the
most belief, which is its confidence; each further one holds the most of what is left. Candidates
are therefore alternatives, not five neighbours on one street.

With the shipped weights in towns that they had not seen, the first neighbourhood is right as often
as its confidence says (85 %), and one of the first five in 97 %, where the five best places had 92.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import ConfigError
from scmpr_ros.geometry import wrap_angle

_EQUAL = 6
"""Decimals of a share of belief; of those that are equal to them the best score goes first."""


@dataclass(frozen=True)
class BeliefConfig:
    """How scores are weighed against each other, and which places agree."""

    temperature: float = 0.03
    """Score difference at which a place is believed in 1/e as much as the best one."""
    agreement_m: float = 4.0
    """Places as near to each other as this agree on where the camera was..."""
    agreement_deg: float = 15.0
    """...if their headings are as near as this."""
    average: bool = True
    """Answer with the mean pose of the places that agree, not with that of the one amid them."""

    def __post_init__(self) -> None:
        for name in ("temperature", "agreement_m", "agreement_deg"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"belief.{name} must be positive, got {getattr(self, name)}")


@dataclass(frozen=True)
class Hypothesis:
    """One neighbourhood.

    index: of the place that it is named after. confidence: the belief it holds, in [0, 1].
    position: (3,) metres; yaw_rad: where the camera was and looked.
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

    position: (N, 3); yaw_rad, score: (N,), one heading for each place. At most `count`, each named
    after another place; those that hold no belief any more come last, by their score.
    """
    belief = np.exp((score - score.max()) / config.temperature)
    belief /= belief.sum()
    apart_m = np.linalg.norm(position[:, None] - position, axis=2)
    turned_rad = np.abs(wrap_angle(yaw_rad[:, None] - yaw_rad))
    agree = (apart_m <= config.agreement_m) & (turned_rad <= np.deg2rad(config.agreement_deg))

    found: list[Hypothesis] = []
    left = np.argsort(-score, kind="stable")
    while len(left) and len(found) < count:
        held = (agree[left] @ belief).round(_EQUAL)
        first = held.argmax()  # of equals the first, which has the best score
        centre, left = left[first], np.delete(left, first)
        share = belief * agree[centre] if config.average else np.zeros_like(belief)
        found.append(
            Hypothesis(int(centre), float(held[first]), *_mean(centre, share, position, yaw_rad))
        )
        belief = belief * ~agree[centre]
    return found


def _mean(
    centre: int, share: NDArray[np.float64], position: NDArray[np.float64],
    yaw_rad: NDArray[np.float64],
) -> tuple[NDArray[np.float64], float]:  # fmt: skip
    """Mean position and heading, weighted by `share`; those of the centre where all are zero."""
    if share.sum() <= 0:
        return position[centre], float(yaw_rad[centre])
    turn = float(np.average(wrap_angle(yaw_rad - yaw_rad[centre]), weights=share))
    mean: NDArray[np.float64] = np.average(position, axis=0, weights=share)
    return mean, float(yaw_rad[centre]) + turn
