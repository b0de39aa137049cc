"""Drives through the tracker: how soon, how often and how well a robot knows where it is.

Images are encoded once; trials then start anywhere, jump, and drift, at the cost of the search.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2
from tqdm import tqdm

from scmpr_ros.datasets.drive import Drive, FrameReader
from scmpr_ros.errors import ConfigError
from scmpr_ros.evaluation.confidence import calibration
from scmpr_ros.evaluation.metrics import heading_errors
from scmpr_ros.evaluation.simulated_odometry import OdometryNoise, drifting_odometry
from scmpr_ros.evaluation.trajectory import TrackedDrive
from scmpr_ros.geometry import camera_yaw, wrap_angle
from scmpr_ros.methods.network import Query
from scmpr_ros.pipeline.localizer import EncodedImage, Localizer
from scmpr_ros.pipeline.states import LOCALIZED
from scmpr_ros.pipeline.tracking_localizer import TrackingConfig, TrackingLocalizer

Array = NDArray[np.float64]
_SIGMAS = (1, 2, 3)


@dataclass(frozen=True)
class TrackingTrials:
    """What is tried on each drive."""

    odometry: OdometryNoise | None = field(default_factory=OdometryNoise)
    """Errors of the odometry that is made from the true poses; None: drive without odometry."""
    settling_s: float = 15.0
    """Numbers about a drive begin this long after its first image."""
    starts: int = 0
    """Drives that begin at a random image: the wake-up test."""
    kidnaps: int = 0
    """Drives that jump to a random place elsewhere on the drive once they are LOCALIZED."""
    kidnap_m: float = 30.0
    """Least distance of such a jump."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.starts < 0 or self.kidnaps < 0 or not self.settling_s >= 0:
            raise ConfigError("starts, kidnaps and settling_s cannot be negative")


@dataclass(frozen=True)
class EncodedDrive:
    """N images of a drive as the network sees them, with truth. stamps_s: (N,) rising."""

    name: str
    images: tuple[EncodedImage, ...]
    stamps_s: Array
    T_true: Array

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def encode(
        cls, drive: Drive, localizer: Localizer, skip_bad: bool = False, progress: bool = True
    ) -> EncodedDrive:
        """Read and encode all images. skip_bad: leave out those that cannot be read."""
        images, frames = [], []
        reader = FrameReader(drive.image_frames, drive.image, skip_bad)
        bar = tqdm(reader, f"encoding {drive.name}", unit="image", disable=not progress or None)
        for frame, image in bar:
            images.append(_small(localizer.encode(image, drive.camera)))
            frames.append(frame)
        stamps_s = np.array([drive.stamp_s(frame) for frame in frames])
        return cls(
            drive.name, tuple(images), stamps_s, np.stack([drive.T_world_camera(f) for f in frames])
        )

    def run(
        self, tracking: TrackingLocalizer, rows: Sequence[int], odometry: Array | None,
        stamps_s: Array | None = None,
    ) -> Iterator[tuple[int, Any]]:  # fmt: skip
        """Yield row and answer of each image, in order.

        odometry: (M, 4, 4) `T_odom_camera` of the M rows; None without. stamps_s: (M,), instead of
        the drive's.
        """
        for number, row in enumerate(rows):
            T_odom_camera = None if odometry is None else odometry[number]
            stamp_s = self.stamps_s[row] if stamps_s is None else stamps_s[number]
            yield row, tracking.locate_encoded(self.images[row], float(stamp_s), T_odom_camera)

    def odometry(self, rows: Sequence[int], trials: TrackingTrials, seed: int) -> Array | None:
        """Drifting odometry (M, 4, 4) of the M rows; None without."""
        if trials.odometry is None:
            return None
        return drifting_odometry(self.T_true[list(rows)], trials.odometry, seed)


def _small(image: EncodedImage) -> EncodedImage:
    """Without the features, which only the encoder needs."""
    prediction = image.query.prediction
    if prediction is not None:
        prediction = prediction._replace(features=prediction.features[..., :0])
    return EncodedImage(Query(image.query.descriptor, prediction), image.seen)


def track(
    drive: EncodedDrive, localizer: Localizer, config: TrackingConfig, trials: TrackingTrials,
    progress: bool = True,
) -> TrackedDrive:  # fmt: skip
    """Drive once from the first image to the last."""
    rows = range(len(drive))
    odometry = drive.odometry(rows, trials, trials.seed)
    run = drive.run(TrackingLocalizer(localizer, config), rows, odometry)
    hidden = not progress or None
    bar = tqdm(run, f"tracking {drive.name}", total=len(drive), unit="image", disable=hidden)
    answers = [answer for _, answer in bar]
    poses = [answer.pose for answer in answers]
    return TrackedDrive(
        drive.stamps_s, drive.T_true, np.stack([p.T_map_camera for p in poses]),
        np.stack([a.match.best.T_map_camera for a in answers]),
        np.stack([p.covariance for p in poses]), np.array([p.near_probability for p in poses]),
        np.array([p.off_map_probability for p in poses]),
        np.array([a.match.confidence for a in answers]), np.array([p.state for p in poses]),
    )  # fmt: skip


@dataclass(frozen=True)
class WakeUp:
    """The first LOCALIZED pose after a start at a random image.

    time_s, distance_m: until then; None if the drive ended before. right: whether it was within
    5 m and 15 deg.
    """

    time_s: float | None
    distance_m: float | None
    right: bool | None


def wake_up(
    drive: EncodedDrive, localizer: Localizer, config: TrackingConfig, trials: TrackingTrials,
    longest_s: float = 60.0,
) -> list[WakeUp]:  # fmt: skip
    """Start at random images, with nothing known, and drive until LOCALIZED."""
    rng = np.random.default_rng(trials.seed)
    last = int(np.searchsorted(drive.stamps_s, drive.stamps_s[-1] - trials.settling_s))
    results = []
    for trial in tqdm(range(trials.starts), f"waking up in {drive.name}", disable=None):
        start = int(rng.integers(max(1, last)))
        rows = range(start, len(drive))
        odometry = drive.odometry(rows, trials, trials.seed + trial)
        tracking = TrackingLocalizer(localizer, config)
        results.append(WakeUp(None, None, None))
        for row, answer in drive.run(tracking, rows, odometry):
            elapsed_s = float(drive.stamps_s[row] - drive.stamps_s[start])
            if answer.pose.state == LOCALIZED:
                path = np.diff(drive.T_true[start : row + 1, :2, 3], axis=0)
                distance_m = float(np.linalg.norm(path, axis=1).sum())
                right = is_near(answer.pose.T_map_camera, drive.T_true[row])
                results[-1] = WakeUp(elapsed_s, distance_m, right)
                break
            if elapsed_s > longest_s:
                break
    return results


@dataclass(frozen=True)
class Kidnap:
    """What followed when the camera was carried elsewhere between two images.

    left_s: until the state was no longer LOCALIZED, or was so at the right place. right_s: until
    LOCALIZED at the right place. ended_right: whether the last pose was LOCALIZED and right.
    """

    left_s: float | None
    right_s: float | None
    ended_right: bool


def kidnap(
    drive: EncodedDrive, localizer: Localizer, config: TrackingConfig, trials: TrackingTrials,
    before: int = 30, after_s: float = 40.0,
) -> list[Kidnap]:  # fmt: skip
    """Drive until LOCALIZED, jump elsewhere without odometry noticing, and drive on.

    Trials that are not LOCALIZED at the right place when they jump are drawn again, at most five
    times as many as asked for.
    """
    rng = np.random.default_rng(trials.seed + 1)
    results: list[Kidnap] = []
    bar = tqdm(total=trials.kidnaps, desc=f"kidnapping in {drive.name}", disable=None)
    for trial in range(5 * trials.kidnaps):
        if len(results) == trials.kidnaps:
            break
        jump = _jump(drive, rng, trials, before, after_s)
        if jump is None:
            continue
        start, target = jump
        first = range(max(0, start - before), start)
        second = range(target, len(drive))
        moved = [drive.odometry(rows, trials, trials.seed + trial) for rows in (first, second)]
        tracking = TrackingLocalizer(localizer, config)
        *_, (_, answer) = drive.run(tracking, first, moved[0])
        right = is_near(answer.pose.T_map_camera, drive.T_true[start - 1])
        if answer.pose.state != LOCALIZED or not right:
            continue
        results.append(_after(drive, tracking, first, second, moved, after_s))
        bar.update()
    bar.close()
    return results


def _jump(
    drive: EncodedDrive, rng: np.random.Generator, trials: TrackingTrials, before: int,
    after_s: float,
) -> tuple[int, int] | None:  # fmt: skip
    """Image before which the camera is carried away, and the one that it sees next."""
    last = int(np.searchsorted(drive.stamps_s, drive.stamps_s[-1] - after_s))
    if last < 1 or len(drive) <= before:
        return None
    start, target = int(rng.integers(before, len(drive))), int(rng.integers(last))
    apart_m = np.linalg.norm(drive.T_true[start - 1, :2, 3] - drive.T_true[target, :2, 3])
    return (start, target) if apart_m >= trials.kidnap_m else None


def _after(
    drive: EncodedDrive, tracking: TrackingLocalizer, first: range, second: range,
    moved: list[Array | None], after_s: float,
) -> Kidnap:  # fmt: skip
    """Drive on elsewhere, with odometry and stamps that go on as if nothing had happened."""
    stamps_s = drive.stamps_s[second] - drive.stamps_s[second[0]] + drive.stamps_s[first[-1]] + 0.1
    odometry = None
    if moved[0] is not None and moved[1] is not None:
        odometry = moved[0][-1] @ np.linalg.inv(moved[1][0]) @ moved[1]
    left_s = right_s = None
    right = False
    for row, answer in drive.run(tracking, second, odometry, stamps_s):
        elapsed_s = float(drive.stamps_s[row] - drive.stamps_s[second[0]])
        if elapsed_s > after_s:
            break
        localized = answer.pose.state == LOCALIZED
        right = localized and is_near(answer.pose.T_map_camera, drive.T_true[row])
        if left_s is None and (not localized or right):
            left_s = elapsed_s
        if right_s is None and right:
            right_s = elapsed_s
    return Kidnap(left_s, right_s, right)


def is_near(T_map_camera: Array, T_true: Array) -> bool:
    """Whether a pose is within 5 m and 15 deg of the truth."""
    distance_m = np.linalg.norm(T_map_camera[:2, 3] - T_true[:2, 3])
    turned = heading_errors(camera_yaw(T_map_camera)[None], camera_yaw(T_true)[None])[0]
    return bool(distance_m <= 5.0 and turned <= np.deg2rad(15.0))


def normalised_errors(drive: TrackedDrive) -> Array:
    """Squared errors of x, y and yaw, normalised by their covariance (NEES), (N,)."""
    offset = drive.T_tracked[:, :2, 3] - drive.T_true[:, :2, 3]
    yaw = wrap_angle(camera_yaw(drive.T_tracked) - camera_yaw(drive.T_true))
    error = np.column_stack([offset, yaw])
    planar = drive.covariance[:, [0, 1, 5]][:, :, [0, 1, 5]]
    return np.asarray(np.einsum("ni,nij,nj->n", error, np.linalg.inv(planar), error))


def summary(
    drives: Sequence[TrackedDrive], settling_s: float = 0.0, settling_m: float = 0.0
) -> dict[str, Any]:
    """Numbers of several drives together, from that time and distance after each start on.

    nees_in_band: share of LOCALIZED poses whose normalised squared error of x, y and yaw lies within
    the central 95 % of its chi-square distribution; 0.95 for an honest covariance. nees_mean: 3 for
    an honest one.
    coverage: share within 1, 2 and 3 standard deviations, of which a Gaussian has 0.20, 0.74, 0.97.
    """
    whole = _joined([_settled(drive, settling_s, settling_m) for drive in drives])
    localized, right = whole.state == LOCALIZED, whole.near(whole.T_tracked)
    scores = asdict(whole.score())
    nees = normalised_errors(whole)[localized]
    low, high = chi2.ppf((0.025, 0.975), 3)
    both = {
        "tracked_calibration_error": calibration(whole.near_probability, right),
        "single_calibration_error": calibration(
            whole.single_confidence, whole.near(whole.T_single)
        ),
    }
    return {
        **scores,
        "wrong_localized": float((localized & ~right).mean()),
        **{k: None if v is None else v.expected_calibration_error for k, v in both.items()},
        "nees_in_band": float(((nees >= low) & (nees <= high)).mean()) if len(nees) else None,
        "nees_mean": float(nees.mean()) if len(nees) else None,
        "coverage": [float((nees <= k * k).mean()) for k in _SIGMAS] if len(nees) else None,
        "mean_off_map": float(whole.off_map_probability.mean()),
    }


def summarise_wake_ups(results: Sequence[WakeUp]) -> dict[str, Any]:
    """Time and distance to the first LOCALIZED pose, and how many of them were wrong."""
    found = [each for each in results if each.time_s is not None]
    times, distances = ([getattr(e, name) for e in found] for name in ("time_s", "distance_m"))
    return {
        "starts": len(results), "localized": len(found) / max(1, len(results)),
        "false_locks": sum(not e.right for e in found) / max(1, len(results)),
        "time_s_median_95": _percentiles(times), "distance_m_median_95": _percentiles(distances),
    }  # fmt: skip


def summarise_kidnaps(results: Sequence[Kidnap]) -> dict[str, Any]:
    """How soon a jump was noticed, and the right pose found again."""
    count = max(1, len(results))
    return {
        "trials": len(results),
        "left_within_5_s": sum(e.left_s is not None and e.left_s <= 5 for e in results) / count,
        "right_within_20_s": sum(e.right_s is not None and e.right_s <= 20 for e in results)
        / count,
        "ended_right": sum(e.ended_right for e in results) / count,
        "right_s_median_95": _percentiles([e.right_s for e in results if e.right_s is not None]),
    }


def _percentiles(values: Sequence[float | None]) -> list[float] | None:
    return [float(v) for v in np.percentile(np.array(values, float), (50, 95))] if values else None


def _settled(drive: TrackedDrive, settling_s: float, settling_m: float) -> TrackedDrive:
    """The drive without its beginning; the last image stays in any case."""
    steps_m = np.linalg.norm(np.diff(drive.T_true[:, :2, 3], axis=0), axis=1)
    travelled_m = np.concatenate([[0.0], np.cumsum(steps_m)])
    keep = (drive.stamps_s - drive.stamps_s[0] >= settling_s) & (travelled_m >= settling_m)
    keep[-1] = True
    return replace(drive, **{name: values[keep] for name, values in vars(drive).items()})


def _joined(drives: Sequence[TrackedDrive]) -> TrackedDrive:
    """All images of several drives; stamps are those of each."""
    return TrackedDrive(
        *(np.concatenate([getattr(d, name) for d in drives]) for name in vars(drives[0]))
    )
