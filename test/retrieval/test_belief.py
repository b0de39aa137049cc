"""Scores become hypotheses: the most probable clusters of places."""

from __future__ import annotations

import numpy as np
import pytest

from scmpr_ros.errors import ConfigError
from scmpr_ros.retrieval.belief import BeliefConfig, hypotheses

T = 0.1


def cluster(x, score, yaw_deg=0.0, count=10, **settings):
    """Hypotheses for places along a line at x metres."""
    position = np.array([[v, 5.0, 1.0] for v in x], float)
    yaw_rad = np.deg2rad(np.broadcast_to(yaw_deg, len(x)).astype(float))
    config = BeliefConfig(
        **{
            "score_temperature": T, "none_score": -100.0, "cluster_radius_m": 3.0,
            "cluster_heading_deg": 20.0, **settings,
        }
    )  # fmt: skip
    return hypotheses(position, yaw_rad, np.array(score, float), config, count)


def test_three_neighbours_outweigh_a_better_single_place() -> None:
    """By hand: exp(0.02 / 0.1) = 1.22 against 3 places of weight 1 around the middle one."""
    single, *_ = cluster([100, 0, 20], [0.52, 0.5, 0.5])
    assert single.index == 0
    street = cluster([100, 0, 2, 4], [0.52, 0.5, 0.5, 0.5])
    weight = np.exp(0.2)
    assert street[0].index == 2 and street[0].confidence == pytest.approx(
        3 / (3 + weight), abs=1e-6
    )
    assert street[1].index == 0
    assert street[1].confidence == pytest.approx(weight / (3 + weight), abs=1e-6)
    assert [h.confidence for h in street[2:]] == [0.0, 0.0], "they belong to the first cluster"


def test_a_view_that_fits_nowhere_was_taken_at_none_of_the_places() -> None:
    """By hand: weights 1 and 1/e of two places against 1 of none."""
    scores, weight = [0.5, 0.4], np.exp(-1)
    known = cluster([0, 50], scores, none_score=0.5)
    assert [h.confidence for h in known] == pytest.approx(
        [1 / (2 + weight), weight / (2 + weight)], abs=1e-6
    )
    unknown = cluster([0, 50], scores, none_score=3.0)
    assert [h.index for h in unknown] == [0, 1] and unknown[0].confidence < 1e-6
    assert cluster([0, 50], scores, none_score=-3.0)[0].confidence == pytest.approx(
        1 / (1 + weight), abs=1e-6
    )
    with pytest.raises(ConfigError, match="none_score"):
        BeliefConfig(none_score=float("nan"))


def test_alternatives_precede_members_of_clusters() -> None:
    hypotheses = cluster([0, 1, 2, 50, 51, 100], [0.9, 0.89, 0.88, 0.8, 0.79, 0.7])
    assert [h.index for h in hypotheses] == [0, 3, 5, 1, 2, 4]
    assert all(type(h.index) is int for h in hypotheses)
    assert sum(h.confidence for h in hypotheses) == pytest.approx(1, abs=1e-5)
    assert len(cluster([0, 1, 2, 50], [1, 2, 3, 4], count=2)) == 2


def test_a_member_of_a_cluster_is_the_centre_of_no_other() -> None:
    """The first cluster takes 2 to 8. 8 is near 10 and 11, which now form their own cluster."""
    first, second, *rest = cluster([2, 5, 8, 10, 11], [0.6, 0.9, 0.8, 0.5, 0.5])
    assert (first.index, second.index) == (1, 3) and second.confidence > 0
    assert second.position[0] == pytest.approx(10.5)
    assert [h.index for h in rest] == [2, 0, 4] and {h.confidence for h in rest} == {0.0}
    assert [h.position[0] for h in rest] == [8, 2, 11]


def test_a_radius_of_zero_disables_clustering() -> None:
    x, score = [0, 1, 0, 3], [0.1, 0.4, 0.2, 0.3]
    alone = cluster(x, score, cluster_radius_m=0.0, yaw_deg=[0, 0, 90, 0])
    assert [h.index for h in alone] == [1, 3, 2, 0]
    assert [h.position[0] for h in alone] == [1, 3, 0, 0]


def test_ties_go_to_the_best_score() -> None:
    """All places agree, so all sums are equal up to rounding."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        scores = rng.uniform(0, 0.5, rng.integers(3, 40))
        x = rng.uniform(0, 2.9, len(scores))
        assert cluster(x, scores)[0].index == int(np.argmax(scores))


def test_headings_are_compared_across_the_seam() -> None:
    assert cluster([0, 1], [0.5, 0.5], yaw_deg=[175, -175])[0].confidence == 1.0
    assert cluster([0, 1], [0.5, 0.5], yaw_deg=[175, -155])[0].confidence == pytest.approx(0.5)


def test_the_pose_is_the_weighted_mean_of_the_cluster() -> None:
    """Weights 1 and 1/e, and a third place that does not agree."""
    best = cluster([0, 2, 40], [0.5, 0.4, 0.4], yaw_deg=[-178, 178, 0])[0]
    weight = np.exp(-1) / (1 + np.exp(-1))
    np.testing.assert_allclose(best.position, [2 * weight, 5, 1])
    turned = (np.rad2deg(best.yaw_rad) + 178) % 360 - 360
    assert turned == pytest.approx(-4 * weight)


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
