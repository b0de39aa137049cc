"""The filter over poses and `off the map`, against a histogram filter and in toy streets."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from lattice_maps import lattice, observation, place_map
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.stats import norm

from scmpr_ros.errors import ConfigError
from scmpr_ros.geometry import make_transform, rotation_z, wrap_angle
from scmpr_ros.pipeline.image_likelihood import LikelihoodConfig
from scmpr_ros.pipeline.localizer import Viewpoints
from scmpr_ros.pipeline.mixture import Mixture
from scmpr_ros.pipeline.motion import Motion, MotionConfig
from scmpr_ros.pipeline.tracker import Tracker, TrackerConfig
from scmpr_ros.retrieval.place_map import PlaceMap

Array = NDArray[np.float64]
Scores = Callable[[Array, Array], Array]
"""Scores (N,) of viewpoints at positions (N, 2) with headings (N,)."""

LIKELIHOOD = LikelihoodConfig(score_temperature=0.1, none_share=0.1, none_margin=0.0)
SMALL = TrackerConfig(max_components=100, max_viewpoints=80, sample=64)
STILL = MotionConfig(odometry_translation=1e-4, odometry_yaw_deg=1e-4)
"""Odometry without error."""


def forward(distance_m: float, turn_rad: float = 0.0, elapsed_s: float = 0.2) -> Motion:
    return Motion(elapsed_s, make_transform(rotation_z(turn_rad), np.array([distance_m, 0, 0])))


def see(tracker: Tracker, on: PlaceMap, scores: Scores) -> float:
    """Show an image that scores viewpoints as said, without errors of the heading.

    Listed are the best 60 and what the tracker asks for.
    """
    V = len(on.headings_rad)
    score = scores(np.repeat(on.positions[:, :2], V, 0), np.tile(on.headings_rad, len(on)))
    asked = tracker.viewpoints()
    best = np.argsort(-score, kind="stable")[:60]
    key = np.union1d(best, asked.place * V + asked.heading)
    listed = Viewpoints(key // V, key % V)
    return tracker.update(observation(listed, on.headings_rad[listed.heading], score[key]))


def bump(x_m: float, y_m: float, yaw_rad: float = 0.0, width_m: float = 3.0) -> Scores:
    """Scores of an image taken at a pose: 1 there, falling to 0 around it."""

    def scores(xy: Array, yaw: Array) -> Array:
        apart = ((xy - (x_m, y_m)) ** 2).sum(1) / width_m**2
        return np.exp(-apart / 2 - (wrap_angle(yaw - yaw_rad) / 0.5) ** 2 / 2)

    return scores


def alike(xy: Array, yaw: Array) -> Array:
    """Scores of an image that looks like every viewpoint."""
    return np.full(len(xy), 0.5)


def mass_near(tracker: Tracker, x_m: float, y_m: float, within_m: float = 5.0) -> float:
    offset = tracker.mixture.mean[:, :2] - (x_m, y_m)
    return float(tracker.mixture.weight[np.hypot(*offset.T) <= within_m].sum())


def total(tracker: Tracker) -> float:
    return float(tracker.mixture.weight.sum() + tracker.elsewhere + tracker.off_map)


_CELL_M = 0.5


# --- a histogram filter ---------------------------------------------------------------------


class HistogramFilter:
    """The same filter over cells of 0.5 m and a fraction of a heading, without approximations.

    Likelihoods of viewpoints are interpolated by the tracker's kernels, half a spacing wide. Mass
    outside the cells is lost to all places; nothing of it may matter.
    """

    def __init__(self, xy: Array, headings_rad: Array, config: TrackerConfig) -> None:
        self.config = config
        spacing_m, step_rad = 2.0, 2 * np.pi / len(headings_rad)
        self.x = np.arange(xy[:, 0].min() - 3, xy[:, 0].max() + 3, _CELL_M)
        self.y = np.arange(xy[:, 1].min() - 3, xy[:, 1].max() + 3, _CELL_M)
        self.yaw = np.arange(0, 2 * np.pi - 1e-9, step_rad / 4)
        self.columns, self.rows = np.unique(xy[:, 0]), np.unique(xy[:, 1])
        self._kernels = (
            _kernel(self.x[:, None] - self.columns, spacing_m / 2),
            _kernel(self.y[:, None] - self.rows, spacing_m / 2),
            _kernel(wrap_angle(self.yaw[:, None] - headings_rad), step_rad / 2),
        )
        self._shape = (len(self.rows), len(self.columns), len(headings_rad))
        self.anywhere = self._interpolate(np.ones(self._shape))
        self._all = self.anywhere.copy()
        self.anywhere /= self.anywhere.sum()
        self.off_map = config.off_map_prior
        self.cells = self.anywhere * (1 - self.off_map)

    def _interpolate(self, at_viewpoints: Array) -> Array:
        x, y, yaw = self._kernels
        return np.einsum("xi,yj,tk,jik->xyt", x, y, yaw, at_viewpoints, optimize=True)

    def update(self, score: Array, weight: float) -> None:
        """score: (P * V,) of all viewpoints, in the order of a lattice."""
        config = self.config.likelihood
        best = np.sort(score)[-round(config.none_share * len(score)) :]
        none = best.mean() + config.none_margin
        likelihood = np.exp(weight * (score - none) / config.score_temperature)
        self.cells *= self._interpolate(likelihood.reshape(self._shape)) / self._all
        self._normalise()

    def predict(self, distance_m: float) -> None:
        """Go straight on."""
        x, y, yaw = np.meshgrid(self.x, self.y, self.yaw, indexing="ij")
        before = [
            (x - distance_m * np.cos(yaw) - self.x[0]) / _CELL_M,
            (y - distance_m * np.sin(yaw) - self.y[0]) / _CELL_M,
            np.broadcast_to(np.arange(len(self.yaw)), x.shape),
        ]
        config = self.config
        leave, enter, kidnap = (
            1 - math.exp(-distance_m / d) for d in (config.leave_m, config.enter_m, config.kidnap_m)
        )
        on_map = 1 - self.off_map
        moved = map_coordinates(self.cells, before, order=3).clip(0)
        moved *= on_map / moved.sum()
        stay = (1 - leave) * ((1 - kidnap) * moved + kidnap * on_map * self.anywhere)
        self.cells = stay + enter * self.off_map * self.anywhere
        self.off_map = (1 - enter) * self.off_map + leave * on_map
        self._normalise()

    def _normalise(self) -> None:
        whole = self.cells.sum() + self.off_map
        self.cells, self.off_map = self.cells / whole, self.off_map / whole

    def cells_of(self, tracker: Tracker) -> Array:
        """The tracker's belief in these cells."""
        mean, variance = tracker.mixture.mean, tracker.mixture.covariance
        deviation = np.sqrt(np.diagonal(variance, axis1=1, axis2=2)[:, :3])
        axes = [
            norm.pdf(axis - mean[:, n, None], scale=deviation[:, n, None])
            for n, axis in enumerate((self.x, self.y))
        ]
        turned = wrap_angle(self.yaw - mean[:, 2, None])
        axes.append(norm.pdf(turned, scale=deviation[:, 2, None]))
        cell = _CELL_M**2 * (self.yaw[1] - self.yaw[0])
        plane = np.einsum("n,nx,ny->nxy", tracker.mixture.weight, *axes[:2])
        density = np.tensordot(plane, axes[2], (0, 0))
        return density * cell + tracker.elsewhere * self.anywhere


def _kernel(offset: Array, deviation: float) -> Array:
    return norm.pdf(offset / deviation)


@pytest.fixture(scope="module")
def square() -> PlaceMap:
    return place_map(lattice(12, 8), headings=24)


def oracle(square: PlaceMap, **changes: float) -> tuple[Tracker, HistogramFilter]:
    """A tracker that compares images with every viewpoint, and the histogram filter."""
    config = TrackerConfig(
        likelihood=LIKELIHOOD, motion=STILL, sample=10**6, max_components=600,
        yaw_deviation_deg=1e4, independent_m=0.5, update_m=0.5, off_map_prior=0.3,
    )  # fmt: skip
    config = replace(config, **changes)
    xy = square.positions[:, :2]
    return Tracker(square, config), HistogramFilter(xy, square.headings_rad, config)


def compare(tracker: Tracker, histogram: HistogramFilter) -> None:
    assert tracker.off_map == pytest.approx(histogram.off_map, abs=0.03)
    difference = np.abs(histogram.cells_of(tracker) - histogram.cells)
    assert difference.sum() / 2 < 0.07, "share of the mass that lies elsewhere"


def see_both(
    tracker: Tracker, histogram: HistogramFilter, square: PlaceMap, scores: Scores
) -> None:
    V = len(square.headings_rad)
    xy = np.repeat(square.positions[:, :2], V, 0)
    weight = see(tracker, square, scores)
    histogram.update(scores(xy, np.tile(square.headings_rad, len(square))), weight)


def ambiguous(x_m: float) -> Scores:
    """Scores of a place in one of two alike streets, seen a little better in the first."""
    first, second = bump(x_m, 2.0), bump(x_m, 7.0)
    return lambda xy, yaw: 0.5 * np.maximum(first(xy, yaw), 0.95 * second(xy, yaw))


def rest(tracker: Tracker) -> None:
    """Turn a little and back, so that the next image counts."""
    for turn_rad in (0.1, -0.1):
        tracker.predict(forward(0.0, turn_rad))


def test_agrees_with_a_histogram_filter_at_rest(square: PlaceMap) -> None:
    tracker, histogram = oracle(square)
    for _ in range(3):
        see_both(tracker, histogram, square, ambiguous(6.0))
        compare(tracker, histogram)
        rest(tracker)


def test_agrees_with_a_histogram_filter_on_the_move(square: PlaceMap) -> None:
    """Whole cells ahead: out of the map is possible, into it, and elsewhere on it."""
    tracker, histogram = oracle(square, leave_m=60.0, enter_m=30.0, kidnap_m=20.0)
    for step in range(3):
        see_both(tracker, histogram, square, ambiguous(4.0 + 2 * step))
        compare(tracker, histogram)
        tracker.predict(forward(2.0))
        histogram.predict(2.0)


def test_agrees_with_a_histogram_filter_off_the_map(square: PlaceMap) -> None:
    tracker, histogram = oracle(square)
    rng = np.random.default_rng(0)
    for _ in range(3):
        noise = rng.normal(0, 0.05, len(square) * len(square.headings_rad))
        see_both(tracker, histogram, square, lambda xy, yaw, noise=noise: noise)
        compare(tracker, histogram)
        rest(tracker)
    assert tracker.off_map > 0.3


# --- the tracker alone ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def street() -> PlaceMap:
    """A street along x, 60 m long and 6 m wide."""
    return place_map(lattice(60, 6))


def drive(tracker: Tracker, on: PlaceMap, scores_at: Callable[[float], Scores], x_m: Array) -> None:
    """Drive along x from one position to the next, seeing an image at each."""
    for before, now in zip(np.concatenate([x_m[:1], x_m]), x_m, strict=False):
        tracker.predict(forward(now - before))
        see(tracker, on, scores_at(now))


def test_believes_anything_before_the_first_image(street: PlaceMap) -> None:
    tracker = Tracker(street, TrackerConfig(off_map_prior=0.2))
    assert (tracker.off_map, tracker.elsewhere, len(tracker.mixture)) == (0.2, 0.8, 0)
    assert tracker.clusters(3) == [] and tracker.wants_image


def test_finds_and_follows_a_drive_between_the_places(street: PlaceMap) -> None:
    tracker = Tracker(street, SMALL)
    x_m = np.arange(3.3, 40, 1.5)
    drive(tracker, street, lambda x: bump(x, 2.7), x_m)
    best = tracker.clusters(1)[0]
    assert best.probability > 0.9 and total(tracker) == pytest.approx(1)
    assert np.hypot(*(best.mean[:2] - (x_m[-1], 2.7))) < 0.7
    assert abs(best.mean[2]) < math.radians(4)


def test_images_that_look_like_all_viewpoints_change_nothing(street: PlaceMap) -> None:
    """Kernels are a partition of unity, in the middle of the places."""
    tracker = Tracker(street, TrackerConfig(yaw_deviation_deg=1e4, sample=10**6))
    covariance = np.diag([0.3, 0.2, 0.01]) + 0.002
    tracker.set_prior(np.array([30.7, 3.2, 0.05]), covariance, 0.999)
    for _ in range(3):
        see(tracker, street, alike)
        rest(tracker)
    best = tracker.clusters(1)[0]
    np.testing.assert_allclose(best.mean, [30.7, 3.2, 0.05], atol=0.1)
    np.testing.assert_allclose(best.covariance, covariance, rtol=0.15, atol=0.01)
    assert best.probability == pytest.approx(0.999, abs=0.02)


def test_look_alike_streets_stay_two_hypotheses_until_they_differ() -> None:
    streets = place_map(np.concatenate([lattice(40, 4), lattice(40, 4) + (0, 60)]))

    def scores_at(x_m: float) -> Scores:
        first, second = bump(x_m, 2.0), bump(x_m, 62.0)
        differ = 0.2 if x_m > 20 else 1.0
        return lambda xy, yaw: np.maximum(first(xy, yaw), differ * second(xy, yaw))

    tracker = Tracker(streets, SMALL)
    drive(tracker, streets, scores_at, np.arange(4.0, 20.0, 2.0))
    both = sorted(tracker.clusters(2), key=lambda cluster: cluster.mean[1])
    assert [round(each.mean[1] / 60) for each in both] == [0, 1]
    assert both[0].probability == pytest.approx(both[1].probability, abs=0.15)
    assert sum(each.probability for each in both) > 0.8
    tracker.predict(forward(2.0))
    drive(tracker, streets, scores_at, np.arange(21.0, 33.0, 2.0))
    assert mass_near(tracker, 31.0, 2.0) > 0.9 and mass_near(tracker, 31.0, 62.0) < 0.05


def test_an_image_counts_by_the_distance_since_the_last(street: PlaceMap) -> None:
    tracker = Tracker(street, TrackerConfig(independent_m=2.0, update_m=0.5))
    assert see(tracker, street, bump(10, 2)) == 1
    for distance_m, weight in ((0.4, 0.0), (0.2, 0.3), (1.0, 0.5), (5.0, 1.0)):
        tracker.predict(forward(distance_m))
        assert tracker.wants_image == (weight > 0)
        assert see(tracker, street, bump(10, 2)) == pytest.approx(weight)
    tracker.predict(forward(0.0, turn_rad=math.radians(6)))
    assert see(tracker, street, bump(10, 2)) == pytest.approx(0.25), "as update_m would"


def test_a_pause_adds_no_evidence(street: PlaceMap) -> None:
    tracker = Tracker(street, SMALL)
    see(tracker, street, bump(10, 2))
    before = tracker.clusters(1)[0]
    for _ in range(100):
        tracker.predict(forward(0.0))
        assert not tracker.wants_image and see(tracker, street, bump(10, 2)) == 0
    after = tracker.clusters(1)[0]
    assert after.probability == before.probability
    np.testing.assert_allclose(after.covariance, before.covariance)


def test_no_image_and_no_motion_leaves_the_total_at_one(street: PlaceMap) -> None:
    tracker = Tracker(street, TrackerConfig(leave_m=20.0, enter_m=10.0, kidnap_m=15.0))
    for x_m in np.arange(0.0, 12.0, 3.0):
        see(tracker, street, bump(x_m, 2))
        assert total(tracker) == pytest.approx(1)
        tracker.predict(forward(3.0))
        assert total(tracker) == pytest.approx(1)
    assert min(tracker.off_map, tracker.elsewhere) > 0


def test_far_from_images_the_belief_goes_to_leaving_and_coming_back(street: PlaceMap) -> None:
    config = TrackerConfig(leave_m=30.0, enter_m=10.0, kidnap_m=1e6)
    tracker = Tracker(street, config)
    for _ in range(300):
        tracker.predict(forward(1.0))
    leave, enter = 1 - math.exp(-1 / 30), 1 - math.exp(-1 / 10)
    assert tracker.off_map == pytest.approx(leave / (leave + enter), rel=1e-3)


def test_measured_poses_pull_what_is_near(street: PlaceMap) -> None:
    tracker = Tracker(street, SMALL)
    see(tracker, street, lambda xy, yaw: np.maximum(bump(10, 2)(xy, yaw), bump(50, 2)(xy, yaw)))
    far = mass_near(tracker, 50, 2)
    for _ in range(5):
        tracker.measure(np.array([10.6, 2.4, 0.1]), np.diag([0.01, 0.01, 1e-4]))
    near = tracker.mixture[np.hypot(*(tracker.mixture.mean[:, :2] - (10, 2)).T) < 3]
    assert np.abs(near.mean[near.weight.argmax(), :3] - (10.6, 2.4, 0.1)).max() < 0.05
    assert mass_near(tracker, 50, 2) == pytest.approx(far)


def test_prior_replaces_the_belief(street: PlaceMap) -> None:
    tracker = Tracker(street, TrackerConfig(off_map_prior=0.4))
    see(tracker, street, bump(50, 2))
    tracker.set_prior(np.array([10.0, 3.0, 0.0]), np.diag([1.0, 1.0, 0.03]), 0.8)
    assert tracker.off_map == pytest.approx(0.4 * 0.2) and total(tracker) == pytest.approx(1)
    best = tracker.clusters(1)[0]
    assert best.probability == pytest.approx(0.8)
    np.testing.assert_allclose(best.covariance, np.diag([1.0, 1.0, 0.03]))
    assert tracker.wants_image and mass_near(tracker, 50, 2) == 0


def test_a_wrong_prior_is_overcome(street: PlaceMap) -> None:
    tracker = Tracker(street, SMALL)
    tracker.set_prior(np.array([50.0, 3.0, 0.0]), np.diag([1.0, 1.0, 0.03]), 0.9)
    drive(tracker, street, lambda x: bump(x, 3), np.arange(5.0, 35.0, 1.5))
    assert mass_near(tracker, 33.5, 3) > 0.8


def test_a_hypothesis_that_drives_off_the_places_is_left(street: PlaceMap) -> None:
    tracker = Tracker(street, SMALL)
    tracker.set_prior(np.array([55.0, 3.0, 0.0]), np.diag([0.3, 0.3, 0.01]), 0.99)
    see(tracker, street, bump(55, 3))
    for _ in range(15):
        tracker.predict(forward(2.0))
        see(tracker, street, bump(-100, 3))
        assert total(tracker) == pytest.approx(1)
    assert mass_near(tracker, 85, 3) < 0.8


def test_a_single_place_can_be_tracked() -> None:
    alone = place_map(np.zeros((1, 2)))
    tracker = Tracker(alone)
    see(tracker, alone, bump(0, 0))
    assert mass_near(tracker, 0, 0) > 0.3 and total(tracker) == pytest.approx(1)


def test_work_does_not_grow_with_the_map() -> None:
    """Viewpoints that are asked for and components are capped, and the same in a larger map."""
    config = TrackerConfig(max_components=50, max_viewpoints=40, sample=60)
    asked = []
    for length_m in (60, 960):
        on = place_map(lattice(length_m, 6))
        tracker = Tracker(on, config)
        drive(tracker, on, lambda x: bump(x, 3, width_m=6.0), np.arange(5.0, 20.0, 1.5))
        viewpoints = tracker.viewpoints()
        asked.append(len(viewpoints.place))
        assert len(tracker.mixture) <= 50
        flat = viewpoints.place * 30 + viewpoints.heading
        assert len(np.unique(flat)) == len(flat) <= 100
    assert asked[1] <= asked[0] + 10


def test_same_images_give_the_same_belief(street: PlaceMap) -> None:
    def belief() -> tuple[Mixture, float, float]:
        tracker = Tracker(street, SMALL)
        drive(tracker, street, lambda x: bump(x, 2.7), np.arange(3.0, 15.0, 1.5))
        return tracker.mixture, tracker.elsewhere, tracker.off_map

    (one, *shares), (other, *same) = belief(), belief()
    assert shares == same
    np.testing.assert_array_equal(one.weight, other.weight)
    np.testing.assert_array_equal(one.mean, other.mean)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"independent_m": 0.0}, r"tracker\.independent_m must be positive"),
        ({"max_components": 0}, r"tracker\.max_components must be positive"),
        ({"kidnap_m": float("nan")}, r"tracker\.kidnap_m must be positive"),
        ({"update_m": 99.0}, r"tracker\.update_m 99\.0 must lie between 0 and independent_m"),
        ({"off_map_prior": 1.0}, r"tracker\.off_map_prior 1\.0 is not in"),
    ],
)
def test_invalid_tracker_settings(values: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrackerConfig(**values)
