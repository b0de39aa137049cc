"""How probable an image makes each viewpoint of a map, against being taken off the map.

What an image is worth off the map depends on the image: a street without features matches many
places, and so would an image of another one. So it is measured on viewpoints drawn at random: off
the map an image is worth what the best of them are, a small share, in the mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scmpr_ros.errors import ConfigError
from scmpr_ros.pipeline.localizer import Observation

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LikelihoodConfig:
    """How scores become likelihoods."""

    score_temperature: float = 0.2
    """Score difference (eq. 10) by which an image makes a pose 1/e times as probable as another.
    Several times that of a single image (`belief.score_temperature`), since neighbouring images
    share their mistakes."""
    none_share: float = 0.05
    """Off the map an image is worth the mean of the best viewpoints of the map, this share."""
    none_margin: float = 0.0
    """Score added to that mean."""

    def __post_init__(self) -> None:
        if not self.score_temperature > 0:
            raise ConfigError(
                f"likelihood.score_temperature must be positive, got {self.score_temperature}"
            )
        if not 0 < self.none_share < 1:
            raise ConfigError(f"likelihood.none_share {self.none_share} is not in (0, 1)")
        if not np.isfinite(self.none_margin):
            raise ConfigError(f"likelihood.none_margin must be finite, got {self.none_margin}")


@dataclass(frozen=True)
class ImageLikelihood:
    """Likelihoods of M listed viewpoints relative to being off the map, and of all others.

    key: (M,) place * V + heading, rising. yaw_rad: (M,) heading refined by the mask.
    likelihood: (M,). floor: mean likelihood of all viewpoints, for those that are not listed.
    """

    key: NDArray[np.int64]
    yaw_rad: Array
    likelihood: Array
    floor: float

    @classmethod
    def of(
        cls, observation: Observation, config: LikelihoodConfig, headings: int,
        sample: NDArray[np.int64], weight: float,
    ) -> ImageLikelihood:  # fmt: skip
        """Weigh an observation.

        headings: V of the map. sample: (S,) keys of viewpoints that were drawn at random and are
        listed. weight: in [0, 1], exponent of the likelihoods.
        """
        scale = weight / config.score_temperature
        key = observation.place * headings + observation.heading
        background = np.sort(observation.score[np.isin(key, sample)])
        best = max(1, round(config.none_share * len(background)))
        none = background[-best:].mean() + config.none_margin
        listed, others = (
            np.exp(scale * (scores - none)) for scores in (observation.score, background)
        )
        order = np.argsort(key)
        return cls(key[order], observation.yaw_rad[order], listed[order], float(others.mean()))

    def at(self, key: NDArray[np.int64]) -> tuple[Array, Array, NDArray[np.bool_]]:
        """Likelihood and refined heading of viewpoints (N,), and whether they are listed."""
        row = np.searchsorted(self.key, key).clip(max=len(self.key) - 1)
        listed = self.key[row] == key
        return np.where(listed, self.likelihood[row], self.floor), self.yaw_rad[row], listed
