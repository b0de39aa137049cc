"""The localisation state: how far a robot may trust the tracked pose.

    LOST       no pose is probable: the one that is published is a guess
    TENTATIVE  one pose is more probable than all others together
    LOCALIZED  the pose is right with high probability, and known to a few metres: act on it

A state is left only at a lower probability than it is entered with, so that it does not flicker.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from scmpr_ros.errors import ConfigError

LOST, TENTATIVE, LOCALIZED = "LOST", "TENTATIVE", "LOCALIZED"
_RISING = (LOST, TENTATIVE, LOCALIZED)


def is_at_least(state: str, least: str) -> bool:
    """Whether a state is `least`, or surer than it."""
    return _RISING.index(state) >= _RISING.index(least)


@dataclass(frozen=True)
class StateConfig:
    """Thresholds of the localisation state, for the probability that the pose is right."""

    localized_probability: float = 0.95
    """LOCALIZED from this probability on."""
    doubted_probability: float = 0.8
    """LOCALIZED no longer below this one."""
    tentative_probability: float = 0.5
    """TENTATIVE from this probability on."""
    lost_probability: float = 0.4
    """LOST below this one."""
    max_deviation_m: float = 2.5
    """LOCALIZED only if the standard deviation of the position is below this."""
    min_distance_m: float = 20.0
    """LOCALIZED only after the same pose has been the best one over this distance: neighbouring
    images share their mistakes."""
    min_named: float = 0.7
    """LOCALIZED only if this share of the images over that distance name the pose among their five
    best candidates by themselves. Off the map a sequence may fit some street, its images hardly."""
    max_age_s: float = 5.0
    """LOST when no image has been localised for this many seconds."""

    def __post_init__(self) -> None:
        rising = (
            self.lost_probability, self.tentative_probability, self.doubted_probability,
            self.localized_probability,
        )  # fmt: skip
        if not all(0 <= value <= 1 for value in rising) or list(rising) != sorted(rising):
            raise ConfigError(
                "state: lost_probability, tentative_probability, doubted_probability and "
                f"localized_probability must rise in this order from 0 to 1, got {rising}"
            )
        if not 0 <= self.min_named <= 1:
            raise ConfigError(f"state.min_named {self.min_named} is not in [0, 1]")
        if not self.max_age_s > 0 or not self.max_deviation_m > 0 or not self.min_distance_m >= 0:
            raise ConfigError(
                "state.max_age_s and state.max_deviation_m must be positive, and min_distance_m "
                f"not negative, got {self.max_age_s}, {self.max_deviation_m} and "
                f"{self.min_distance_m}"
            )


class Belief(NamedTuple):
    """What a state follows from.

    near: probability that the pose is right. off_map: that the camera is not on the map.
    deviation_m: of the position, its largest. followed_m: distance over which this pose has been
    the best one. named: share of the last images that name it by themselves.
    """

    near: float
    off_map: float
    deviation_m: float
    followed_m: float
    named: float


class StateGate:
    """State machine over beliefs, with hysteresis."""

    def __init__(self, config: StateConfig) -> None:
        self._config = config
        self.state = LOST
        self.reason = "no image yet"

    def use(self, config: StateConfig) -> None:
        """Take other thresholds; the state changes with the next belief."""
        self._config = config

    def update(self, belief: Belief) -> str:
        """Take a new belief and return the state."""
        config = self._config
        keep = self.state == LOCALIZED
        localized = config.doubted_probability if keep else config.localized_probability
        tentative = config.tentative_probability if self.state == LOST else config.lost_probability
        unfit = self._unfit(belief)
        if belief.near >= localized and not unfit:
            self.state = LOCALIZED
        elif belief.near >= tentative:
            self.state = TENTATIVE
        else:
            self.state = LOST
        self.reason = _reason(belief, unfit)
        return self.state

    def reset(self) -> None:
        """Become LOST."""
        self.state, self.reason = LOST, "no image yet"

    def _unfit(self, belief: Belief) -> str:
        """Why a probable pose is not good enough; empty if it is."""
        if belief.followed_m < self._config.min_distance_m:
            return f"it has been followed for {belief.followed_m:.0f} m only"
        if belief.named < self._config.min_named:
            return f"only {belief.named:.0%} of the last images name it by themselves"
        if belief.deviation_m > self._config.max_deviation_m:
            return f"the position is known to {belief.deviation_m:.1f} m only"
        return ""


def _reason(belief: Belief, unfit: str) -> str:
    right = f"the pose is right with {belief.near:.0%}"
    if belief.off_map > max(belief.near, 0.5):
        return f"the camera is probably not on the map ({belief.off_map:.0%}); {right}"
    others = 1 - belief.near - belief.off_map
    rest = f"off the map {belief.off_map:.0%}, elsewhere {max(others, 0.0):.0%}"
    return f"{right} ({rest})" + (f", but {unfit}" if unfit else "")
