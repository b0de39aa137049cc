"""Where the camera is, from a sequence of images: a recursive Bayes filter over the map.

The filter is over the viewpoints of a map, (place, heading), and one state more: off the map. Its
belief has three parts that sum to one:

- a mixture of Gaussians over pose and speed, wherever images have pointed to,
- `elsewhere`, the mass of all other viewpoints together, spread evenly, and
- `off_map`.

That is a histogram filter whose empty cells share one number, so time and memory follow the number
of hypotheses and not the size of the map; and as a component carries its own mean, motion is exact
and not rounded to cells. An image gives each viewpoint a likelihood, which is interpolated between
viewpoints by Gaussian kernels that sum to one (a Gaussian sum filter, Alspach and Sorenson 1972):
each component becomes one for each viewpoint nearby, and those in the same cell are merged by their
moments. Where all viewpoints are equally likely, this returns the component that came in. New
components start from `elsewhere` at every viewpoint that an image lists.

Neighbouring images share their mistakes: evidence counts by distance travelled, and its temperature
is several times that of a single image. An off-map state as in Xu et al., "Probabilistic Visual
Place Recognition for Hierarchical Localization" (2021).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from scmpr_ros.errors import ConfigError
from scmpr_ros.geometry import wrap_angle
from scmpr_ros.pipeline.image_likelihood import ImageLikelihood, LikelihoodConfig
from scmpr_ros.pipeline.localizer import Observation, Viewpoints
from scmpr_ros.pipeline.mixture import (
    POSE,
    YAW,
    Mixture,
    X,
    Y,
    are_near,
    best_cluster,
    best_members,
    condition,
    correct,
    correct_yaw,
)
from scmpr_ros.pipeline.motion import Motion, MotionConfig, compose, move, start
from scmpr_ros.retrieval.place_map import PlaceMap

Array = NDArray[np.float64]


@dataclass(frozen=True)
class TrackerConfig:
    """How a camera moves, and how much its images count."""

    independent_m: float = 1.5
    """Distance between images that count in full; nearer ones count in proportion."""
    update_m: float = 0.5
    """Images nearer than this to the last one that counted, and turned by less than 5 deg, do not
    count."""
    sample: int = 128
    """Viewpoints drawn at random with every image, to estimate what an image is worth off the map
    and at all viewpoints that are not compared."""
    likelihood: LikelihoodConfig = field(default_factory=LikelihoodConfig)
    motion: MotionConfig = field(default_factory=MotionConfig)
    off_map_prior: float = 0.1
    """Probability that the camera is not on the map, before any image."""
    leave_m: float = 1000.0
    """Distance after which the camera is expected to have left the map."""
    enter_m: float = 200.0
    """Distance off the map after which the camera is expected to be back, anywhere on it."""
    kidnap_m: float = 500.0
    """Distance after which the camera is expected to have been carried elsewhere, or its odometry
    to have failed."""
    yaw_deviation_deg: float = 4.0
    """Standard deviation of the heading that a mask slid to gives."""
    max_components: int = 600
    """Components kept; the least probable ones return to `elsewhere`."""
    max_viewpoints: int = 150
    """Viewpoints near hypotheses that each image is compared with, beside its nearest ones."""

    def __post_init__(self) -> None:
        for name in (
            "independent_m", "leave_m", "enter_m", "kidnap_m", "yaw_deviation_deg",
            "max_components", "max_viewpoints", "sample",
        ):  # fmt: skip
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"tracker.{name} must be positive, got {getattr(self, name)}")
        if not 0 <= self.update_m <= self.independent_m:
            raise ConfigError(
                f"tracker.update_m {self.update_m} must lie between 0 and independent_m "
                f"{self.independent_m}"
            )
        if not 0 < self.off_map_prior < 1:
            raise ConfigError(f"tracker.off_map_prior {self.off_map_prior} is not in (0, 1)")


@dataclass(frozen=True)
class Cluster:
    """Components that agree on where the camera is: within 5 m and 15 deg of the best one.

    probability: their mass. mean: (3,) of x, y, yaw. covariance: (3, 3).
    """

    probability: float
    mean: Array
    covariance: Array


class Tracker:
    """Belief about the camera's pose in one map. Not thread-safe."""

    def __init__(self, place_map: PlaceMap, config: TrackerConfig | None = None) -> None:
        """Begin anywhere on the map, or off it."""
        self.config = config or TrackerConfig()
        self._xy, self._yaw = place_map.positions[:, :2], place_map.headings_rad
        self._num_viewpoints = len(self._xy) * len(self._yaw)
        self._tree = cKDTree(self._xy)
        self._spacing_m = _spacing(self._tree)
        step_rad = 2 * np.pi / len(self._yaw)
        self._kernel = np.array([0.5 * self._spacing_m] * 2 + [0.5 * step_rad]) ** 2
        self._cell = np.array([self._spacing_m / 2] * 2 + [step_rad / 2])
        self.reset()

    # --- the belief --------------------------------------------------------------------------

    def reset(self) -> None:
        """Forget everything.

        travelled_m: distance up to the last image that counted. followed_m: the part of it since
        the best pose is the continuation of the one before.
        """
        self.mixture = Mixture.empty()
        self.off_map = self.config.off_map_prior
        self.elsewhere = 1 - self.off_map
        self._since = np.array([math.inf, 0.0, 0.0])
        self._rng = np.random.default_rng(0)
        self._draw_sample()
        self.followed_m = self.travelled_m = 0.0
        self._best = Mixture.empty()

    def set_prior(self, mean: Array, covariance: Array, probability: float) -> None:
        """Replace the belief by a pose: mean (3,) of x, y, yaw, and covariance (3, 3)."""
        self.reset()
        begin = start(mean[None], np.ones(3), self.config.motion)
        begin.covariance[:, POSE, POSE] = covariance
        self.mixture = begin.scaled(probability)
        self.off_map *= 1 - probability
        self.elsewhere *= 1 - probability

    # --- motion ------------------------------------------------------------------------------

    def predict(self, motion: Motion) -> None:
        """Move the belief, by odometry if there is some, else by what is known of the speed."""
        self.mixture, travelled_m = move(self.mixture, motion, self.config.motion)
        self._best, _ = move(self._best, motion, self.config.motion)
        self._since = compose(self._since, motion, travelled_m)
        leave, enter, kidnap = (
            -math.expm1(-travelled_m / distance_m)
            for distance_m in (self.config.leave_m, self.config.enter_m, self.config.kidnap_m)
        )
        on_map = self.mixture.weight.sum()
        self.mixture = self.mixture.scaled((1 - leave) * (1 - kidnap))
        left = leave * (on_map + self.elsewhere)
        entered = enter * self.off_map
        carried = on_map * (1 - leave) * kidnap
        self.off_map += left - entered
        self.elsewhere += entered + carried - leave * self.elsewhere

    # --- images ------------------------------------------------------------------------------

    @property
    def wants_image(self) -> bool:
        """Whether the camera has moved enough for another image to count."""
        turned = abs(self._since[YAW]) > math.radians(5.0)
        return bool(self._since_m >= self.config.update_m or turned)

    @property
    def _since_m(self) -> float:
        """Distance from where the last image that counted was taken: noise at rest adds nothing."""
        return math.hypot(self._since[X], self._since[Y])

    def _draw_sample(self) -> None:
        count = min(self.config.sample, self._num_viewpoints)
        self._sample = self._rng.choice(self._num_viewpoints, count, replace=False)

    def viewpoints(self) -> Viewpoints:
        """The viewpoints to compare an image with, for `Localizer.observe`.

        Those near the most probable components, and a random sample of all.
        """
        order = np.argsort(-self.mixture.weight, kind="stable")
        mass = np.cumsum(self.mixture.weight[order])
        matters = mass - self.mixture.weight[order] < (1 - _IGNORED) * mass[-1:]
        place, heading = self._near(self.mixture[order[matters]])[1:]
        flat = place * len(self._yaw) + heading
        _, first = np.unique(flat, return_index=True)
        near = flat[np.sort(first)[: self.config.max_viewpoints]]
        self._draw_sample()
        chosen = np.union1d(near, self._sample)
        return Viewpoints(chosen // len(self._yaw), chosen % len(self._yaw))

    def update(self, observation: Observation) -> float:
        """Weigh the belief by what an image says, if the camera has moved since the last one.

        observation: lists what `viewpoints` asked for.

        Returns how much the image counts, in [0, 1].
        """
        if not self.wants_image:
            return 0.0
        config = self.config
        weight = min(1.0, max(self._since_m, config.update_m) / config.independent_m)
        if math.isfinite(self._since_m):
            self.followed_m += self._since_m
            self.travelled_m += self._since_m
        self._since = np.zeros(3)
        evidence = ImageLikelihood.of(
            observation, config.likelihood, len(self._yaw), self._sample, weight
        )
        moved, lost = self._weigh(evidence, weight)
        spawned = self._spawn(evidence).scaled(self.elsewhere / self._num_viewpoints)
        rest = self.elsewhere * (1 - len(evidence.key) / self._num_viewpoints) * evidence.floor
        self._normalise(moved + spawned + lost, rest, self.off_map)
        self._reduce()
        self._follow()
        return weight

    def _follow(self) -> None:
        """Start `followed_m` anew if another pose has become the best one."""
        best = best_cluster(self.mixture)
        if not len(best) or not len(self._best) or not are_near(best, self._best):
            self.followed_m = 0.0
        self._best = best

    def _spawn(self, evidence: ImageLikelihood) -> Mixture:
        """A component at each listed viewpoint, weighted by its likelihood."""
        xy = self._xy[evidence.key // len(self._yaw)]
        pose = np.column_stack([xy, evidence.yaw_rad])
        return start(pose, self._kernel, self.config.motion).scaled(evidence.likelihood)

    def _weigh(self, evidence: ImageLikelihood, weight: float) -> tuple[Mixture, Mixture]:
        """Split the components among the viewpoints near them; those near none keep the floor."""
        component, place, heading = self._near(self.mixture)
        likelihood, yaw_rad, listed = evidence.at(place * len(self._yaw) + heading)
        target = np.column_stack([self._xy[place], self._yaw[heading]])
        share, children = condition(self.mixture, component, target, self._kernel)
        total = np.bincount(component, share, minlength=len(self.mixture))
        children = children.scaled(share / np.maximum(total[component], 1e-300) * likelihood)
        matters = children.weight > _NEGLIGIBLE * children.weight.max(initial=0.0)
        deviation = math.radians(self.config.yaw_deviation_deg)
        variance = np.where(listed, deviation**2 / weight, np.inf)
        children = correct_yaw(children[matters], yaw_rad[matters], variance[matters])
        alone = total < 1e-12
        return children, self.mixture[alone].scaled(evidence.floor)

    def _near(
        self, mixture: Mixture
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Pairs of component, place and heading that lie within reach, by component."""
        variance = mixture.covariance[:, [X, Y, YAW], [X, Y, YAW]]
        reach = _REACH * np.sqrt(variance + self._kernel)
        radius = np.minimum(reach[:, :2].max(1), _MAX_REACH * self._spacing_m)
        found = self._tree.query_ball_point(mixture.mean[:, :2], radius) if len(mixture) else []
        counts = np.array([len(each) for each in found], np.int64)
        place = np.concatenate([np.asarray(each, np.int64) for each in found] or [_NONE])
        component = np.repeat(np.arange(len(mixture)), counts)
        apart = np.abs(wrap_angle(mixture.mean[component, YAW, None] - self._yaw))
        pair, heading = np.nonzero(apart <= np.minimum(reach[:, YAW], np.pi)[component, None])
        return component[pair], place[pair], heading

    # --- what is believed --------------------------------------------------------------------

    def clusters(self, count: int) -> list[Cluster]:
        """The most probable clusters, best first; none if nothing but `elsewhere` is left."""
        clusters: list[Cluster] = []
        left = self.mixture
        while len(left) and len(clusters) < count:
            members = best_members(left)
            whole = left[members].whole()
            clusters.append(
                Cluster(float(whole.weight[0]), whole.mean[0, POSE],
                        whole.covariance[0, POSE, POSE])
            )  # fmt: skip
            left = left[~members]
        return clusters

    def measure(self, pose: Array, covariance: Array) -> None:
        """Take a measured pose (3,), x, y and yaw, with its covariance (3, 3), for what lies near.

        Components further away than four standard deviations are left as they are.
        """
        self.mixture = correct(self.mixture, pose, covariance, gate=4.0)

    # --- bookkeeping -------------------------------------------------------------------------

    def _cells(self, mixture: Mixture) -> NDArray[np.int64]:
        """Number (N,) of the cell of x, y and yaw that each component's mean lies in."""
        index = np.floor(mixture.mean[:, POSE] / self._cell).astype(np.int64)
        index -= index.min(0, initial=0)
        _, rows, turns = index.max(0, initial=0) + 1
        return np.asarray((index[:, 0] * rows + index[:, 1]) * turns + index[:, 2])

    def _normalise(self, mixture: Mixture, elsewhere: float, off_map: float) -> None:
        total = mixture.weight.sum() + elsewhere + off_map
        self.mixture = mixture.scaled(1 / total)
        self.elsewhere, self.off_map = elsewhere / total, off_map / total

    def _reduce(self) -> None:
        """Merge components of the same cell; return improbable ones to `elsewhere`."""
        mixture = self.mixture
        average = self.elsewhere / self._num_viewpoints
        mixture = mixture[mixture.weight > 1e-3 * average]
        mixture = mixture.merged(self._cells(mixture))
        order = np.argsort(-mixture.weight, kind="stable")[: self.config.max_components]
        mixture = mixture[order]
        least = max(average, _IMPROBABLE * mixture.weight.max(initial=0.0))
        mixture = mixture[mixture.weight > least]
        self.elsewhere = max(0.0, 1 - self.off_map - mixture.weight.sum())
        self.mixture = mixture


_NONE = np.zeros(0, np.int64)
_REACH, _MAX_REACH = 2.2, 6.0
"""Viewpoints near a component lie within so many standard deviations, and spacings of places."""
_IMPROBABLE = 1e-5
"""Weight, in parts of the largest, below which a component returns to `elsewhere`."""
_IGNORED = 1e-3
"""Share of the components' mass around which no viewpoint is asked for."""
_NEGLIGIBLE = 1e-9
"""Weight, in parts of the largest, of components that are dropped before they are merged."""


def _spacing(tree: cKDTree) -> float:
    """Median distance of a place to its nearest neighbour; 2 m for a single place."""
    if tree.n < 2:
        return 2.0
    distance_m, _ = tree.query(tree.data, k=2)
    return float(np.median(distance_m[:, 1]))
