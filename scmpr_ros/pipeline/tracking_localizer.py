"""Images in, tracked poses out: localizer, tracker and refinement put together."""

from __future__ import annotations

import logging
import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from scmpr_ros.errors import ConfigError
from scmpr_ros.geometry import body_from_optical, camera_yaw, invert, wrap_angle
from scmpr_ros.methods.network import PerceivingNetwork
from scmpr_ros.pipeline.localizer import EncodedImage, Localizer, Observation
from scmpr_ros.pipeline.mixture import NEAR_M, NEAR_RAD, agree
from scmpr_ros.pipeline.motion import Motion
from scmpr_ros.pipeline.refinement import RefinementConfig, Refiner
from scmpr_ros.pipeline.states import LOST, Belief, StateConfig, StateGate
from scmpr_ros.pipeline.tracked_pose import PoseHypothesis, TrackedPose
from scmpr_ros.pipeline.tracker import Cluster, Tracker, TrackerConfig
from scmpr_ros.records import CameraModel, PlaceMatch
from scmpr_ros.stages import stage

_log = logging.getLogger(__name__)
Array = NDArray[np.float64]

_NAMED = 5
"""Best candidates of an image that count as named by it."""


@dataclass(frozen=True)
class TrackingConfig:
    """Settings of the tracked localisation."""

    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    state: StateConfig = field(default_factory=StateConfig)
    refinement: RefinementConfig = field(default_factory=RefinementConfig)
    refined_probability: float = 0.3
    """Poses are refined from this probability on."""
    hypotheses: int = 5
    """Alternatives in an answer."""
    max_gap_s: float = 10.0
    """Without odometry, a pause between images longer than this makes the tracker start anew."""
    max_speed_m_s: float = 60.0
    """Odometry that is faster than this has jumped: the motion over the jump is not used."""
    max_turn_deg_s: float = 200.0
    """The same of its turn."""
    height_deviation_m: float = 0.2
    """Standard deviation of the height above that of the places."""
    tilt_deviation_deg: float = 1.5
    """Standard deviation of roll and pitch against the ground."""

    def __post_init__(self) -> None:
        for name in (
            "hypotheses", "max_gap_s", "max_speed_m_s", "max_turn_deg_s", "height_deviation_m",
            "tilt_deviation_deg", "refined_probability",
        ):  # fmt: skip
            if not getattr(self, name) > 0:
                raise ConfigError(f"tracking.{name} must be positive, got {getattr(self, name)}")


@dataclass(frozen=True)
class TrackedAnswer:
    """The answer to one image: from it alone (`match`), and from all images so far (`pose`)."""

    observation: Observation
    match: PlaceMatch
    pose: TrackedPose


class TrackingLocalizer:
    """Localises the images of one camera, one after the other, in one map. Not thread-safe."""

    def __init__(self, localizer: Localizer, config: TrackingConfig | None = None) -> None:
        """Begin anywhere on the localizer's map, or off it."""
        self.localizer, self.config = localizer, config or TrackingConfig()
        self.tracker = Tracker(localizer.place_map, self.config.tracker)
        self._gate = StateGate(self.config.state)
        self._refiner: Refiner | None = None
        if self.config.refinement.enabled and isinstance(localizer.network, PerceivingNetwork):
            self._refiner = Refiner(localizer, self.config.refinement)
        self.reset()

    def locate(
        self,
        image: NDArray[np.uint8],
        camera: CameraModel,
        stamp_s: float,
        T_odom_camera: Array | None = None,
    ) -> TrackedAnswer:
        """Take the next image.

        Args:
            image: (H, W, 3) RGB, rectified. camera: its intrinsics.
            stamp_s: when it was taken. A stamp before that of the last image starts anew.
            T_odom_camera: (4, 4) pose of the optical frame in a frame in which the vehicle's motion
                is continuous, such as `odom`; None without odometry.

        Raises ShapeError if the image does not fit the camera; then nothing changes.
        """
        encoded = self.localizer.encode(image, camera)
        return self.locate_encoded(encoded, stamp_s, T_odom_camera)

    def locate_encoded(
        self, image: EncodedImage, stamp_s: float, T_odom_camera: Array | None = None
    ) -> TrackedAnswer:
        """Take the next image as `Localizer.encode` returned it, see `locate`."""
        self._move(stamp_s, T_odom_camera)
        counts = self.tracker.wants_image
        also = self.tracker.viewpoints() if counts else None
        observation = self.localizer.compare(image, also=also)
        if counts:
            with stage("tracker"):
                weight = self.tracker.update(observation)
            self._refine(observation, weight)
        match = self.localizer.answer(observation)
        return TrackedAnswer(observation, match, self._pose(match, counts))

    def set_prior(self, T_map_camera: Array, covariance: Array, probability: float = 0.9) -> None:
        """Replace the belief by a pose from elsewhere, such as a person's or the last run's.

        T_map_camera: (4, 4) optical frame. covariance: (6, 6) as in `TrackedPose`. probability:
        that the camera is there.
        """
        planar = np.ix_((0, 1, 5), (0, 1, 5))
        self.tracker.set_prior(_planar(T_map_camera), covariance[planar], probability)
        self._judge_anew()

    def use(self, config: StateConfig) -> None:
        """Take other thresholds of the state, for the next image; from any thread."""
        self._gate.use(config)

    def reset(self) -> None:
        """Forget everything: anywhere on the map, or off it."""
        self.tracker.reset()
        self._judge_anew()
        self._stamp_s: float | None = None
        self._T_odom_camera: Array | None = None

    def _judge_anew(self) -> None:
        """Forget what the state follows from: images before say nothing about the new belief."""
        self._gate.reset()
        self._named: deque[tuple[float, bool]] = deque()

    def _move(self, stamp_s: float, T_odom_camera: Array | None) -> None:
        """Predict the motion since the last image."""
        before_s, before = self._stamp_s, self._T_odom_camera
        if before_s is not None:
            elapsed_s = stamp_s - before_s
            motion = self._motion(elapsed_s, before, T_odom_camera)
            blind = motion.T_before_now is None and elapsed_s > self.config.max_gap_s
            if elapsed_s < 0 or blind:
                _log.warning("the stamps jumped by %.1f s: tracking starts anew", elapsed_s)
                self.reset()
            else:
                self.tracker.predict(motion)
        self._stamp_s, self._T_odom_camera = stamp_s, T_odom_camera

    def _motion(self, elapsed_s: float, before: Array | None, now: Array | None) -> Motion:
        if before is None or now is None:
            return Motion(elapsed_s)
        T_before_now = invert(body_from_optical(before)) @ body_from_optical(now)
        distance_m = float(np.linalg.norm(T_before_now[:3, 3]))
        motion = Motion(elapsed_s, T_before_now)
        turn_deg, at_least_s = math.degrees(abs(motion.turn_rad)), max(elapsed_s, 0.1)
        slow = distance_m <= self.config.max_speed_m_s * at_least_s
        if slow and turn_deg <= self.config.max_turn_deg_s * at_least_s:
            return motion
        _log.warning(
            "odometry jumped by %.1f m and %.0f deg in %.2f s: not used", distance_m, turn_deg,
            elapsed_s,
        )  # fmt: skip
        return Motion(elapsed_s)

    def _refine(self, observation: Observation, weight: float) -> None:
        """Measure the best cluster's pose by one image, which counts with a weight in [0, 1]."""
        if self._refiner is None or not (clusters := self.tracker.clusters(1)):
            return
        best = clusters[0]
        wide = _deviation_m(best.covariance) > self.config.refinement.max_window_m
        if wide or best.probability < self.config.refined_probability:
            return  # the truth may lie outside the window, and what is found inside misleads
        T_map_camera = self.localizer.camera_pose(best.mean[:2], float(best.mean[2]))
        measured = self._refiner.measure(observation, T_map_camera, best.covariance)
        if measured is not None:
            self.tracker.measure(measured.mean, measured.covariance / weight)

    def _pose(self, match: PlaceMatch, counts: bool) -> TrackedPose:
        clusters = self.tracker.clusters(self.config.hypotheses) or [_guess(match)]
        best = clusters[0]
        if counts:
            self._note(match, best)
        belief = Belief(
            near_probability(best), self.tracker.off_map, _deviation_m(best.covariance),
            self.tracker.followed_m, self._named_share,
        )  # fmt: skip
        state = self._gate.update(belief)
        hypotheses = tuple(
            PoseHypothesis(
                self.localizer.camera_pose(each.mean[:2], float(each.mean[2])), each.covariance,
                each.probability,
            )
            for each in clusters
        )  # fmt: skip
        planar = _spread(clusters) if state == LOST else best.covariance
        return TrackedPose(
            state, self._gate.reason, hypotheses[0].T_map_camera, self._covariance(planar),
            belief.near, self.tracker.off_map, hypotheses,
        )  # fmt: skip

    @property
    def _named_share(self) -> float:
        """Share of the last images that name the best pose by themselves."""
        return sum(named for _, named in self._named) / max(1, len(self._named))

    def _note(self, match: PlaceMatch, best: Cluster) -> None:
        """Note whether an image that counts names the best pose by itself."""
        poses = np.stack([each.T_map_camera for each in match.candidates[:_NAMED]])
        named = bool(agree(_planar(poses), best.mean).any())
        self._named.append((self.tracker.travelled_m, named))
        begin_m = self.tracker.travelled_m - self.config.state.min_distance_m
        while self._named[0][0] < begin_m:
            self._named.popleft()

    def _covariance(self, planar: Array) -> Array:
        """Complete the covariance (3, 3) of x, y and yaw to (6, 6)."""
        tilt = math.radians(self.config.tilt_deviation_deg) ** 2
        covariance = np.diag([0.0, 0.0, self.config.height_deviation_m**2, tilt, tilt, 0.0])
        covariance[np.ix_((0, 1, 5), (0, 1, 5))] = planar
        return covariance


def near_probability(cluster: Cluster) -> float:
    """Probability that the camera is within 5 m and 15 deg of a cluster's mean.

    Principal axes of the position are taken one by one: a square instead of the circle.
    """
    deviation_m = np.sqrt(np.linalg.eigvalsh(cluster.covariance[:2, :2]))
    inside = erf(NEAR_M / (math.sqrt(2) * deviation_m)).prod()
    turned = erf(NEAR_RAD / math.sqrt(2 * cluster.covariance[2, 2]))
    return float(cluster.probability * inside * turned)


def _deviation_m(covariance: Array) -> float:
    """Largest standard deviation of a position, of a covariance (3, 3)."""
    return math.sqrt(np.linalg.eigvalsh(covariance[:2, :2])[-1])


def _planar(T_map_camera: Array) -> Array:
    """x, y and yaw (..., 3) of poses (..., 4, 4)."""
    return np.concatenate([T_map_camera[..., :2, 3], camera_yaw(T_map_camera)[..., None]], axis=-1)


def _spread(clusters: list[Cluster]) -> Array:
    """Second moments of all clusters about the best one, (3, 3)."""
    offset = np.stack([each.mean - clusters[0].mean for each in clusters])
    offset[:, 2] = wrap_angle(offset[:, 2])
    weight = np.array([each.probability for each in clusters])
    weight = weight / weight.sum() if weight.any() else np.full(len(weight), 1 / len(weight))
    within = sum(w * each.covariance for w, each in zip(weight, clusters, strict=True))
    return np.asarray(within + np.einsum("n,ni,nj->ij", weight, offset, offset))


def _guess(match: PlaceMatch) -> Cluster:
    """The single image's answer, when the filter holds nothing probable."""
    return Cluster(0.0, _planar(match.best.T_map_camera), np.diag([100.0, 100.0, np.pi**2 / 3]))
