"""From scores to alternatives: neighbourhoods that hold the most belief."""

from __future__ import annotations

import numpy as np
import pytest

from scmpr_ros.errors import ConfigError
from scmpr_ros.retrieval.belief import BeliefConfig, hypotheses

T = 0.1


def found(x, score, yaw_deg=0.0, count=10, **settings):
    """Hypotheses of places along a line at x metres."""
    position = np.array([[v, 5.0, 1.0] for v in x], float)
    yaw_rad = np.deg2rad(np.broadcast_to(yaw_deg, len(x)).astype(float))
    config = BeliefConfig(
        **{"score_temperature": T, "cluster_radius_m": 3.0, "cluster_heading_deg": 20.0, **settings}
    )
    return hypotheses(position, yaw_rad, np.array(score, float), config, count)


def test_three_neighbours_outweigh_a_better_single_place() -> None:
    """By hand: exp(0.02 / 0.1) = 1.22 against 3 places of weight 1, of which the middle one sees
    the two others."""
    single, *_ = found([100, 0, 20], [0.52, 0.5, 0.5])
    assert single.index == 0
    street = found([100, 0, 2, 4], [0.52, 0.5, 0.5, 0.5])
    weight = np.exp(0.2)
    assert street[0].index == 2 and street[0].confidence == pytest.approx(
        3 / (3 + weight), abs=1e-6
    )
    assert street[1].index == 0
    assert street[1].confidence == pytest.approx(weight / (3 + weight), abs=1e-6)
    assert [h.confidence for h in street[2:]] == [0.0, 0.0], "their belief is spoken for"


def test_alternatives_come_before_neighbours_and_all_places_in_the_end() -> None:
    everything = found([0, 1, 2, 50, 51, 100], [0.9, 0.89, 0.88, 0.8, 0.79, 0.7])
    assert [h.index for h in everything] == [0, 3, 5, 1, 2, 4]
    assert sum(h.confidence for h in everything) == pytest.approx(1, abs=1e-5)
    assert len(found([0, 1, 2, 50], [1, 2, 3, 4], count=2)) == 2


def test_a_place_that_is_held_is_amid_no_other_neighbourhood() -> None:
    """The first holds 2 to 8; 8 sees 10 and 11, but is spoken for, so they stand by themselves."""
    first, second, *rest = found([2, 5, 8, 10, 11], [0.6, 0.9, 0.8, 0.5, 0.5])
    assert (first.index, second.index) == (1, 3) and second.confidence > 0
    assert second.position[0] == pytest.approx(10.5)
    assert [h.index for h in rest] == [2, 0, 4] and {h.confidence for h in rest} == {0.0}
    assert [h.position[0] for h in rest] == [8, 2, 11]


def test_each_stands_alone_without_agreement() -> None:
    x, score = [0, 1, 0, 3], [0.1, 0.4, 0.2, 0.3]
    alone = found(x, score, cluster_radius_m=0.0, yaw_deg=[0, 0, 90, 0])
    assert [h.index for h in alone] == [1, 3, 2, 0]
    assert [h.position[0] for h in alone] == [1, 3, 0, 0]


def test_of_equals_the_best_score_goes_first() -> None:
    """All see each other, so all hold the same belief, whatever the rounding of their sums is."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        scores = rng.uniform(0, 0.5, rng.integers(3, 40))
        x = rng.uniform(0, 2.9, len(scores))
        assert found(x, scores)[0].index == int(np.argmax(scores))


def test_headings_must_agree_across_the_seam() -> None:
    assert found([0, 1], [0.5, 0.5], yaw_deg=[175, -175])[0].confidence == 1.0
    assert found([0, 1], [0.5, 0.5], yaw_deg=[175, -155])[0].confidence == pytest.approx(0.5)


def test_the_pose_lies_amid_those_that_agree() -> None:
    """Weights 1 and 1/e, and a third place that does not agree."""
    best = found([0, 2, 40], [0.5, 0.4, 0.4], yaw_deg=[-178, 178, 0])[0]
    share = np.exp(-1) / (1 + np.exp(-1))
    np.testing.assert_allclose(best.position, [2 * share, 5, 1])
    turned = (np.rad2deg(best.yaw_rad) + 178) % 360 - 360
    assert turned == pytest.approx(-4 * share)


@pytest.mark.parametrize(
    "name, value",
    [
        ("score_temperature", 0.0), ("score_temperature", float("nan")), ("cluster_radius_m", -1.0),
        ("cluster_radius_m", float("nan")), ("cluster_heading_deg", 0.0),
        ("cluster_heading_deg", 181.0),
    ],
)  # fmt: skip
def test_impossible_settings_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"belief.{name}"):
        BeliefConfig(**{name: value})
