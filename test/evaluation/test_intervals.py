"""The interval of a recall covers the truth although neighbouring queries fail together."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from scmpr_ros.errors import ShapeError
from scmpr_ros.evaluation.intervals import difference_interval, recall_interval


def straight(length_m: float, spacing_m: float) -> np.ndarray:
    """Positions (N, 2) along a straight drive."""
    along = np.arange(0, length_m, spacing_m)
    return np.stack([0.8 * along, 0.6 * along], axis=1)


def correlated(rng: np.random.Generator, count: int, spacing_m: float, recall: float) -> np.ndarray:
    """Successes (N,) along a drive; each is that of the query before with exp(-spacing / 50 m)."""
    repeated = rng.random(count) < np.exp(-spacing_m / 50.0)
    repeated[0] = False
    drawn = rng.random(count) < recall
    return drawn[np.maximum.accumulate(np.where(repeated, 0, np.arange(count)))]


def width(interval: tuple[float, float]) -> float:
    return interval[1] - interval[0]


@pytest.mark.parametrize("recall", [0.5, 0.85])
@pytest.mark.parametrize(("length_m", "spacing_m"), [(4000, 2), (4000, 30), (500, 2)])
def test_interval_covers_the_recall_of_correlated_queries(
    length_m: float, spacing_m: float, recall: float
) -> None:
    """Blocks of ten queries covered half of the drives at 2 m."""
    rng, xy_m = np.random.default_rng(0), straight(length_m, spacing_m)
    covered = 0
    for _ in range(300):
        low, high = recall_interval(correlated(rng, len(xy_m), spacing_m, recall), xy_m)
        covered += low <= recall <= high
    assert covered / 300 >= 0.9


def test_interval_of_independent_queries_is_nearly_binomial() -> None:
    rng, xy_m = np.random.default_rng(0), straight(6000, 10)
    widths = [width(recall_interval(rng.random(600) < 0.5, xy_m)) for _ in range(10)]
    assert np.mean(widths) == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(600), rel=0.25)


def test_spacing_of_queries_does_not_narrow_the_interval() -> None:
    """Ten times the images of the same streets say no more about other streets."""
    rng = np.random.default_rng(0)
    dense = [correlated(rng, 2000, 1.0, 0.5) for _ in range(30)]
    xy_m = straight(2000, 1)
    fine = np.mean([width(recall_interval(hits, xy_m)) for hits in dense])
    coarse = np.mean([width(recall_interval(hits[::10], xy_m[::10])) for hits in dense])
    assert fine > 0.9 * coarse


def test_drives_on_the_same_streets_are_not_independent() -> None:
    xy_m = straight(3000, 10)
    hits = correlated(np.random.default_rng(0), 300, 10.0, 0.5)
    once = width(recall_interval(hits, xy_m))
    both, twice = np.tile(hits, 2), np.tile(xy_m, (2, 1))
    assert width(recall_interval(both, twice)) == pytest.approx(once, rel=0.02)
    names = np.repeat(["a", "b"], 300)
    other_streets = width(recall_interval(both, twice, names))
    assert other_streets == pytest.approx(once / np.sqrt(2), rel=0.1)
    elsewhere = np.concatenate([xy_m, xy_m + [0, 5000]])
    assert width(recall_interval(both, elsewhere)) == pytest.approx(other_streets, rel=0.02)


def test_short_drive_has_a_wide_interval() -> None:
    """Sixty metres of street are about one observation, whatever the number of images."""
    hits = np.arange(31) % 2 == 0
    assert width(recall_interval(hits, straight(62, 2))) > 0.8
    low, high = recall_interval(np.ones(300, bool), straight(60, 0.2))
    assert high == pytest.approx(1) and low < 0.3


@pytest.mark.parametrize("right", [0, 3, 5])
def test_queries_far_apart_have_the_binomial_interval(right: int) -> None:
    """Two kilometres apart, five queries in five cells are independent."""
    hits = np.arange(5) < right
    wilson = stats.binomtest(right, 5).proportion_ci(0.95, method="wilson")
    assert recall_interval(hits, straight(10_000, 2000)) == pytest.approx(tuple(wilson), abs=1e-6)


def test_queries_at_one_place_are_one_trial() -> None:
    wilson = stats.binomtest(1, 1).proportion_ci(0.95, method="wilson")
    same_place = recall_interval(np.ones(5, bool), np.zeros((5, 2)))
    assert same_place == pytest.approx(tuple(wilson), abs=1e-6)


def test_all_correct_on_a_long_drive_leaves_a_doubt() -> None:
    low, high = recall_interval(np.ones(600, bool), straight(6000, 10))
    assert high == pytest.approx(1) and 0.8 < low < 0.9, "twenty cells, as twenty trials"


@pytest.mark.parametrize("length_m", [500, 4000])
def test_interval_of_a_difference_covers_it(length_m: float) -> None:
    """Of two methods, one right in 0.75 and the other in 0.5 of the streets."""
    rng, xy_m = np.random.default_rng(0), straight(length_m, 2)
    covered = 0
    for _ in range(300):
        better, worse = (correlated(rng, len(xy_m), 2, recall) for recall in (0.75, 0.5))
        low, high = difference_interval(better * 1.0 - worse, xy_m)
        assert -1 <= low < high <= 1
        covered += low <= 0.25 <= high
    assert covered / 300 >= 0.9


def of_three_seeds(rng: np.random.Generator, count: int) -> np.ndarray:
    """Successes (3, N) of a method whose recall is 0.5 on average, and deviates by 0.1."""
    recalls = np.clip(rng.normal(0.5, 0.1, 3), 0, 1)
    return np.stack([correlated(rng, count, 10, recall) for recall in recalls])


def test_intervals_cover_what_other_seeds_would_give() -> None:
    """Intervals of the seeds' mean answers, as if there were no other seeds, are too narrow."""
    rng, xy_m = np.random.default_rng(0), straight(6000, 10)
    covered, without = np.zeros(2), np.zeros(2)
    for _ in range(200):
        ours, theirs = (of_three_seeds(rng, len(xy_m)).astype(float) for _ in range(2))
        for count, hits, gain in (
            (covered, ours, ours - theirs), (without, ours.mean(0), (ours - theirs).mean(0)),
        ):  # fmt: skip
            low, high = recall_interval(hits, xy_m)
            less, more = difference_interval(gain, xy_m)
            count += [low <= 0.5 <= high, less <= 0 <= more]
    assert (covered / 200 >= 0.9).all()
    assert (without / 200 < 0.75).all()


def test_seeds_that_agree_leave_the_interval_as_it_is() -> None:
    hits, xy_m = correlated(np.random.default_rng(0), 300, 10.0, 0.5), straight(3000, 10)
    assert recall_interval(np.tile(hits, (3, 1)), xy_m) == recall_interval(hits, xy_m)
    gain = hits * 1.0 - np.roll(hits, 40)
    assert difference_interval(np.tile(gain, (3, 1)), xy_m) == difference_interval(gain, xy_m)


def test_no_difference_in_a_few_places_does_not_prove_that_there_is_none() -> None:
    along = np.stack([np.arange(0.0, 500.0, 5.0), np.zeros(100)], axis=1)
    low, high = difference_interval(np.zeros(100), along)
    assert low == -high and 0.2 < high < 0.5
    _, less = difference_interval(np.zeros(1000), np.tile(along * 20, (10, 1)))
    assert 0 < less < 0.15


def test_a_difference_on_one_street_may_be_anything() -> None:
    gain = np.array([1.0, 1, 1, 0, -1])
    assert difference_interval(gain, np.zeros((5, 2))) == (-1.0, 1.0)


def test_refusals() -> None:
    with pytest.raises(ShapeError, match="at least one query"):
        recall_interval(np.zeros(0, bool), np.zeros((0, 2)))
    with pytest.raises(ShapeError, match=r"query positions: expected \(3, 2\)"):
        recall_interval(np.zeros(3, bool), np.zeros((3, 3)))
    with pytest.raises(ShapeError, match=r"query positions: expected \(3, 2\)"):
        difference_interval(np.zeros(3), np.zeros((3, 3)))
