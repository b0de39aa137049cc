"""Scores as likelihoods relative to being off the map."""

from __future__ import annotations

import numpy as np
import pytest
from lattice_maps import observation
from numpy.typing import NDArray

from scmpr_ros.errors import ConfigError
from scmpr_ros.pipeline.image_likelihood import ImageLikelihood, LikelihoodConfig
from scmpr_ros.pipeline.localizer import Viewpoints

CONFIG = LikelihoodConfig(score_temperature=0.1, none_share=0.25, none_margin=-0.05)
HEADINGS = 4
PLACE, HEADING = np.array([5, 0, 2, 2, 9]), np.array([1, 3, 0, 2, 0])
SCORE = np.array([0.9, 0.1, 0.3, 0.5, 0.2])
YAW = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
SAMPLE = np.array([2 * HEADINGS, 2 * HEADINGS + 2, 9 * HEADINGS, 3])  # all but the first


def likelihood(weight: float = 1.0, score: NDArray[np.float64] = SCORE) -> ImageLikelihood:
    seen = observation(Viewpoints(PLACE, HEADING), YAW, score)
    return ImageLikelihood.of(seen, CONFIG, HEADINGS, SAMPLE, weight)


def test_off_the_map_an_image_is_worth_the_best_share_of_the_sample_and_a_margin() -> None:
    """A quarter of four is the best one, 0.5, whatever the listed viewpoints score."""
    found = likelihood()
    expected = np.exp((SCORE - (0.5 - 0.05)) / 0.1)
    at, yaw_rad, listed = found.at(PLACE * HEADINGS + HEADING)
    np.testing.assert_allclose(at, expected)
    np.testing.assert_array_equal(yaw_rad, YAW)
    assert listed.all()
    assert found.floor == pytest.approx(expected[1:].mean())


def test_unlisted_viewpoints_are_worth_the_floor() -> None:
    found = likelihood()
    at, _, listed = found.at(np.array([0, 21, 1000]))
    np.testing.assert_array_equal(listed, [False, True, False])
    np.testing.assert_allclose(at[[0, 2]], found.floor)


def test_weight_is_an_exponent() -> None:
    once, half, none = (likelihood(weight).likelihood for weight in (1.0, 0.5, 0.0))
    np.testing.assert_allclose(half**2, once)
    np.testing.assert_array_equal(none, 1.0)


def test_a_shift_of_all_scores_changes_nothing() -> None:
    np.testing.assert_allclose(likelihood(score=SCORE + 7).likelihood, likelihood().likelihood)
    assert likelihood(score=SCORE + 7).floor == pytest.approx(likelihood().floor)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"score_temperature": 0.0}, r"likelihood\.score_temperature must be positive"),
        ({"score_temperature": float("nan")}, r"likelihood\.score_temperature"),
        ({"none_share": 0.0}, r"likelihood\.none_share 0\.0 is not in"),
        ({"none_share": 1.0}, r"likelihood\.none_share"),
        ({"none_margin": float("inf")}, r"likelihood\.none_margin must be finite"),
    ],
)
def test_invalid_settings(values: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LikelihoodConfig(**values)
