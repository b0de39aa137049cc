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

Neighbouring images share their mistakes. So evidence counts by distance travelled, and scores are
divided by a temperature several times that of a single image. What
an image is worth off the map depends on the image: streets without features match many places
(compare the off-map state of Xu et al., "Probabilistic Visual Place Recognition for Hierarchical
Localization", 2021). So it is measured on viewpoints drawn at random.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from scmpr_ros.errors import ConfigError
from scmpr_ros.geometry import wrap_angle
from scmpr_ros.pipeline.localizer import Observation, Viewpoints
from scmpr_ros.pipeline.mixture import (
    POSE,
    SPEED,
    YAW,
    Mixture,
    X,
    Y,
    condition,
    correct,
    correct_yaw,
    neighbourhoods,
)
from scmpr_ros.retrieval.place_map import PlaceMap

Array = NDArray[np.float64]


@dataclass(frozen=True)
class TrackerConfig:
    """How a camera moves, and how much its images count."""

    score_temperature: float = 0.2
    """Score difference (eq. 10) by which an image makes a pose 1/e times as probable as another, if
    it is `independent_m` away from the image before. Several times that of a single image, since
    neighbouring images share their mistakes."""
    independent_m: float = 1.5
    """Distance between images that count in full; nearer ones count in proportion."""
    update_m: float = 0.5
    """Images nearer than this to the last one that counted, and turned by less than 5 deg, do not
    count."""
    none_share: float = 0.05
    """An image taken off the map is worth as much as the mean of the best viewpoints of the map,
    this share of them. A pose must do better than that in the long run."""
    none_margin: float = -0.12
    """Score added to that mean."""
    sample: int = 128
    """Viewpoints drawn at random with every image, to estimate that mean and what all viewpoints
    are worth that are not compared."""
    off_map_prior: float = 0.1
    """Probability that the camera is not on the map, before any image."""
    leave_m: float = 1000.0
    """Distance after which the camera is expected to have left the map."""
    enter_m: float = 200.0
    """Distance off the map after which the camera is expected to be back, anywhere on it."""
    kidnap_m: float = 500.0
    """Distance after which the camera is expected to have been carried elsewhere, or its odometry
    to have failed."""
    odometry_translation: float = 0.05
    """Standard deviation of odometry per metre travelled."""
    odometry_yaw_deg_per_m: float = 0.5
    """Standard deviation of odometry's yaw after one metre, in degrees."""
    speed_m_s: float = 4.0
    """Mean speed of a camera of which nothing is known; used without odometry."""
    speed_deviation_m_s: float = 4.0
    """Standard deviation of that speed."""
    acceleration_m_s2: float = 1.5
    """Standard deviation of the speed's change in one second; used without odometry."""
    yaw_rate_deg_s: float = 12.0
    """Standard deviation of the yaw's change in one second; used without odometry."""
    yaw_deviation_deg: float = 4.0
    """Standard deviation of the heading that a mask slid to gives."""
    max_components: int = 600
    """Components kept; the least probable ones return to `elsewhere`."""
    max_viewpoints: int = 150
    """Viewpoints near hypotheses that each image is compared with, beside its nearest ones."""

    def __post_init__(self) -> None:
        for name in (
            "score_temperature", "independent_m", "leave_m", "enter_m", "kidnap_m",
            "speed_deviation_m_s", "acceleration_m_s2", "yaw_rate_deg_s", "yaw_deviation_deg",
            "odometry_translation", "odometry_yaw_deg_per_m", "max_components", "max_viewpoints",
            "sample",
        ):  # fmt: skip
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"tracker.{name} must be positive, got {getattr(self, name)}")
        if not 0 <= self.update_m <= self.independent_m:
            raise ConfigError(
                f"tracker.update_m {self.update_m} must lie between 0 and independent_m "
                f"{self.independent_m}"
            )
        for name in ("off_map_prior", "none_share"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigError(f"tracker.{name} {getattr(self, name)} is not in (0, 1)")


@dataclass(frozen=True)
class Motion:
    """How the camera moved from one image to the next.

    elapsed_s: between their stamps. T_before_now: (4, 4) pose of the camera's body axes (x forward,
    y left, z up) now in those before, from odometry; None without odometry.
    """

    elapsed_s: float
    T_before_now: Array | None = None


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
        self._tree = cKDTree(self._xy)
        self._spacing_m = _spacing(self._tree)
        step_rad = 2 * np.pi / len(self._yaw)
        self._kernel = np.array([0.5 * self._spacing_m] * 2 + [0.5 * step_rad]) ** 2
        self._reach_m, self._reach_rad = self._spacing_m, step_rad
        self._rng = np.random.default_rng(0)
        self._cell = np.array([self._spacing_m / 2] * 2 + [step_rad / 2])
        self.reset()

    # --- the belief --------------------------------------------------------------------------

    def reset(self) -> None:
        """Forget everything."""
        self.mixture = Mixture.empty()
        self.off_map = self.config.off_map_prior
        self.elsewhere = 1 - self.off_map
        self._since_update_m = math.inf
        self._turned_rad = 0.0
        self.update_count = 0

    def set_prior(self, mean: Array, covariance: Array, probability: float) -> None:
        """Replace the belief by a pose: mean (3,) of x, y, yaw, and covariance (3, 3)."""
        self.reset()
        start = self._start(mean[None])
        start.covariance[:, POSE, POSE] = covariance
        self.mixture = start.scaled(probability)
        self.off_map *= 1 - probability
        self.elsewhere *= 1 - probability

    def _start(self, pose: Array) -> Mixture:
        """Components of weight one at poses (N, 3), as uncertain as a viewpoint."""
        config, N = self.config, len(pose)
        mean = np.column_stack([pose, np.full(N, config.speed_m_s)])
        variance = np.append(self._kernel, config.speed_deviation_m_s**2)
        return Mixture(np.ones(N), mean, np.tile(np.diag(variance), (N, 1, 1)))

    # --- motion ------------------------------------------------------------------------------

    def predict(self, motion: Motion) -> None:
        """Move the belief, by odometry if there is some, else by what is known of the speed."""
        if motion.T_before_now is None:
            travelled_m = self._coast(motion.elapsed_s)
        else:
            travelled_m = self._drive(motion.T_before_now, motion.elapsed_s)
        self._since_update_m += travelled_m
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

    def _drive(self, T_before_now: Array, elapsed_s: float) -> float:
        """Move all components by odometry; returns the distance in metres."""
        config, mean = self.config, self.mixture.mean.copy()
        forward_m, left_m = T_before_now[:2, 3]
        turn_rad = math.atan2(T_before_now[1, 0], T_before_now[0, 0])
        distance_m = math.hypot(forward_m, left_m)
        self._turned_rad += abs(turn_rad)
        cos, sin = np.cos(mean[:, YAW]), np.sin(mean[:, YAW])
        step = np.stack([cos * forward_m - sin * left_m, sin * forward_m + cos * left_m], 1)
        F = np.tile(np.eye(4), (len(mean), 1, 1))
        F[:, X, YAW], F[:, Y, YAW] = -step[:, 1], step[:, 0]
        F[:, SPEED, SPEED] = 0.0
        mean[:, :2] += step
        mean[:, YAW] = wrap_angle(mean[:, YAW] + turn_rad)
        mean[:, SPEED] = forward_m / elapsed_s if elapsed_s > 0 else config.speed_m_s
        # Independent errors of parts of a metre: variances grow with distance.
        position = config.odometry_translation**2 * distance_m
        yaw = math.radians(config.odometry_yaw_deg_per_m) ** 2 * distance_m
        yaw += (0.02 * turn_rad) ** 2
        noise = np.diag([position, position, yaw, config.acceleration_m_s2**2])
        covariance = F @ self.mixture.covariance @ F.transpose(0, 2, 1) + noise
        self.mixture = Mixture(self.mixture.weight, mean, covariance)
        return distance_m

    def _coast(self, elapsed_s: float) -> float:
        """Move all components at their speed; returns the mean distance in metres."""
        config, mean = self.config, self.mixture.mean.copy()
        cos, sin = np.cos(mean[:, YAW]), np.sin(mean[:, YAW])
        step = mean[:, SPEED, None] * elapsed_s * np.stack([cos, sin], 1)
        F = np.tile(np.eye(4), (len(mean), 1, 1))
        F[:, X, YAW], F[:, Y, YAW] = -step[:, 1], step[:, 0]
        F[:, X, SPEED], F[:, Y, SPEED] = cos * elapsed_s, sin * elapsed_s
        mean[:, :2] += step
        yaw = math.radians(config.yaw_rate_deg_s) ** 2 * elapsed_s
        speed = config.acceleration_m_s2**2 * elapsed_s
        slip = (0.05 * config.speed_m_s) ** 2 * elapsed_s**2
        noise = np.diag([slip, slip, yaw, speed])
        covariance = F @ self.mixture.covariance @ F.transpose(0, 2, 1) + noise
        weight = self.mixture.weight
        known = weight.sum()
        speed_m_s = weight @ np.abs(mean[:, SPEED]) + (1 - known) * config.speed_m_s
        self.mixture = Mixture(weight, mean, covariance)
        return float(speed_m_s) * elapsed_s

    # --- images ------------------------------------------------------------------------------

    @property
    def wants_image(self) -> bool:
        """Whether the camera has moved enough for another image to count."""
        turned = self._turned_rad > math.radians(5.0)
        return self._since_update_m >= self.config.update_m or turned

    def viewpoints(self) -> Viewpoints:
        """The viewpoints to compare an image with, for `Localizer.observe`.

        Those near the most probable components, and a random sample of all.
        """
        order = np.argsort(-self.mixture.weight, kind="stable")[: self.config.max_components]
        place, heading = self._near(self.mixture[order])[1:]
        flat = place * len(self._yaw) + heading
        _, first = np.unique(flat, return_index=True)
        near = flat[np.sort(first)[: self.config.max_viewpoints]]
        lattice = len(self._xy) * len(self._yaw)
        self._sample = self._rng.choice(lattice, min(self.config.sample, lattice), replace=False)
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
        weight = min(1.0, max(self._since_update_m, config.update_m) / config.independent_m)
        self._since_update_m, self._turned_rad = 0.0, 0.0
        self.update_count += 1
        headings = len(self._yaw)
        evidence = _Evidence.of(observation, self.config, headings, self._sample, weight)
        lattice = len(self._xy) * headings
        moved, lost = self._weigh(evidence)
        spawned = self._spawn(evidence).scaled(self.elsewhere / lattice)
        rest = self.elsewhere * (1 - len(evidence.key) / lattice) * evidence.floor
        self._normalise(moved + spawned + lost, rest, self.off_map)
        self._reduce()
        return weight

    def _spawn(self, evidence: _Evidence) -> Mixture:
        """A component at each listed viewpoint, weighted by its likelihood."""
        xy = self._xy[evidence.key // len(self._yaw)]
        return self._start(np.column_stack([xy, evidence.yaw_rad])).scaled(evidence.likelihood)

    def _weigh(self, evidence: _Evidence) -> tuple[Mixture, Mixture]:
        """Split the components among the viewpoints near them; those near none keep the floor."""
        component, place, heading = self._near(self.mixture)
        likelihood, yaw_rad, listed = evidence.at(place * len(self._yaw) + heading)
        target = np.column_stack([self._xy[place], self._yaw[heading]])
        share, children = condition(self.mixture, component, target, self._kernel)
        total = np.bincount(component, share, minlength=len(self.mixture))
        children = children.scaled(share / np.maximum(total[component], 1e-300) * likelihood)
        matters = children.weight > _NEGLIGIBLE * children.weight.max(initial=0.0)
        variance = np.where(listed, math.radians(self.config.yaw_deviation_deg) ** 2, np.inf)
        children = correct_yaw(children[matters], yaw_rad[matters], variance[matters])
        alone = total < 1e-12
        return children, self.mixture[alone].scaled(evidence.floor)

    def _near(
        self, mixture: Mixture
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Pairs of component, place and heading that lie within reach, by component."""
        deviation = np.sqrt(mixture.covariance[:, [X, Y, YAW], [X, Y, YAW]])
        radius = np.minimum(self._reach_m + deviation[:, :2].max(1), 4 * self._spacing_m)
        found = self._tree.query_ball_point(mixture.mean[:, :2], radius) if len(mixture) else []
        counts = np.array([len(each) for each in found], np.int64)
        place = np.concatenate([np.asarray(each, np.int64) for each in found] or [_NONE])
        component = np.repeat(np.arange(len(mixture)), counts)
        apart = np.abs(wrap_angle(mixture.mean[component, YAW, None] - self._yaw))
        reach = np.minimum(self._reach_rad + deviation[:, YAW], np.pi)
        pair, heading = np.nonzero(apart <= reach[component, None])
        return component[pair], place[pair], heading

    # --- what is believed --------------------------------------------------------------------

    def clusters(self, count: int) -> list[Cluster]:
        """The most probable clusters, best first; none if nothing but `elsewhere` is left."""
        clusters: list[Cluster] = []
        left = self.mixture
        while len(left) and len(clusters) < count:
            near = neighbourhoods(left)
            mass = near @ left.weight
            members = near[int(mass.argmax())]
            whole = left[members].merged(np.zeros(members.sum(), np.int64))
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
        average = self.elsewhere / (len(self._xy) * len(self._yaw))
        mixture = mixture[mixture.weight > 1e-3 * average]
        mixture = mixture.merged(self._cells(mixture))
        order = np.argsort(-mixture.weight, kind="stable")[: self.config.max_components]
        mixture = mixture[order]
        mixture = mixture[mixture.weight > average]
        self.elsewhere = max(0.0, 1 - self.off_map - mixture.weight.sum())
        self.mixture = mixture


_NONE = np.zeros(0, np.int64)
_NEGLIGIBLE = 1e-9
"""Weight, in parts of the largest, of components that are dropped before they are merged."""


@dataclass(frozen=True)
class _Evidence:
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
        cls, observation: Observation, config: TrackerConfig, headings: int,
        sample: NDArray[np.int64], weight: float,
    ) -> _Evidence:  # fmt: skip
        """Weigh an observation that lists a random `sample` (keys) of all viewpoints."""
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
        """Likelihood and slid heading of viewpoints (N,), and whether they are listed."""
        row = np.searchsorted(self.key, key).clip(max=len(self.key) - 1)
        listed = self.key[row] == key
        return np.where(listed, self.likelihood[row], self.floor), self.yaw_rad[row], listed


def _spacing(tree: cKDTree) -> float:
    """Median distance of a place to its nearest neighbour; 2 m for a single place."""
    if tree.n < 2:
        return 2.0
    distance_m, _ = tree.query(tree.data, k=2)
    return float(np.median(distance_m[:, 1]))
