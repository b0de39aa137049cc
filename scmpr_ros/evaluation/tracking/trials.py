"""What is tried on an encoded drive: drive it once, wake up anywhere on it, be carried away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from scmpr_ros.datasets.simulated_odometry import OdometryNoise
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.evaluation.metrics import heading_errors, within
from scmpr_ros.evaluation.tracking.drives import EncodedDrive
from scmpr_ros.evaluation.trajectory import NEAR, TrackedDrive
from scmpr_ros.geometry import camera_yaw, invert
from scmpr_ros.pipeline.localizer import Localizer
from scmpr_ros.pipeline.states import LOCALIZED
from scmpr_ros.pipeline.tracking_localizer import (
    TrackedAnswer,
    TrackingConfig,
    TrackingLocalizer,
)

Array = NDArray[np.float64]
_DRAWS_PER_KIDNAP = 5


@dataclass(frozen=True)
class TrackingTrials:
    """What is tried on each drive."""

    odometry: OdometryNoise | None = field(default_factory=OdometryNoise)
    """Errors of the odometry that is made from the true poses; None: drive without odometry."""
    settling_s: float = 15.0
    """Numbers about a drive begin this long after its first image."""
    starts: int = 0
    """Drives that begin at a random image: the wake-up test."""
    wake_up_s: float = 60.0
    """A start that is not LOCALIZED after this long has failed."""
    kidnaps: int = 0
    """Drives that jump to a random place elsewhere on the drive once they are LOCALIZED."""
    kidnap_m: float = 30.0
    """Least distance of such a jump."""
    kidnap_after: int = 30
    """Images before the jump."""
    kidnap_s: float = 40.0
    """How long the drive goes on after the jump."""
    seed: int = 0
    """Of odometry, starts and jumps."""

    def __post_init__(self) -> None:
        for name in ("starts", "kidnaps", "settling_s", "kidnap_m"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"trials.{name} cannot be {getattr(self, name)}")
        for name in ("wake_up_s", "kidnap_after", "kidnap_s"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"trials.{name} must be positive, got {getattr(self, name)}")


def track(
    drive: EncodedDrive, localizer: Localizer, config: TrackingConfig, trials: TrackingTrials,
    progress: bool = True, on_answer: Callable[[int, TrackedAnswer], None] | None = None,
) -> TrackedDrive:  # fmt: skip
    """Drive once from the first image to the last.

    on_answer: called with each row of the drive and its answer.
    """
    rows = range(len(drive))
    odometry = drive.odometry(rows, trials.odometry, trials.seed)
    run = drive.run(TrackingLocalizer(localizer, config), rows, odometry)
    hidden = not progress or None
    bar = tqdm(run, f"tracking {drive.name}", total=len(drive), unit="image", disable=hidden)
    answers = []
    for row, answer in bar:
        answers.append((answer.pose, answer.match))
        if on_answer is not None:
            on_answer(row, answer)
    return TrackedDrive(
        drive.stamps_s, drive.T_true, np.stack([pose.T_map_camera for pose, _ in answers]),
        np.stack([match.best.T_map_camera for _, match in answers]),
        np.stack([pose.covariance for pose, _ in answers]),
        np.array([pose.near_probability for pose, _ in answers]),
        np.array([pose.off_map_probability for pose, _ in answers]),
        np.array([match.confidence for _, match in answers]),
        np.array([pose.state for pose, _ in answers]),
    )  # fmt: skip


@dataclass(frozen=True)
class WakeUp:
    """The first LOCALIZED pose after a start at a random image.

    start: row of that image. time_s, distance_m: until LOCALIZED; None if that did not come.
    right: whether it was `is_near` then.
    """

    start: int
    time_s: float | None = None
    distance_m: float | None = None
    right: bool | None = None


def wake_up(
    drive: EncodedDrive, localizer: Localizer, config: TrackingConfig, trials: TrackingTrials,
    progress: bool = True,
) -> list[WakeUp]:  # fmt: skip
    """Start at random images, with nothing known, and drive until LOCALIZED."""
    rng = np.random.default_rng(trials.seed)
    last = int(np.searchsorted(drive.stamps_s, drive.stamps_s[-1] - trials.settling_s))
    results = []
    hidden = not progress or None
    for trial in tqdm(range(trials.starts), f"waking up in {drive.name}", disable=hidden):
        start = int(rng.integers(max(1, last)))
        odometry = drive.odometry(range(start, len(drive)), trials.odometry, trials.seed + trial)
        results.append(_wake_up(drive, TrackingLocalizer(localizer, config), start, odometry,
                                trials.wake_up_s))  # fmt: skip
    return results


def _wake_up(
    drive: EncodedDrive, tracking: TrackingLocalizer, start: int, odometry: Array | None,
    longest_s: float,
) -> WakeUp:  # fmt: skip
    for row, answer in drive.run(tracking, range(start, len(drive)), odometry):
        elapsed_s = float(drive.stamps_s[row] - drive.stamps_s[start])
        if elapsed_s > longest_s:
            break
        if answer.pose.state == LOCALIZED:
            right = is_near(answer.pose.T_map_camera, drive.T_true[row])
            return WakeUp(start, elapsed_s, drive.distance_m(start, row), right)
    return WakeUp(start)


@dataclass(frozen=True)
class Kidnap:
    """What followed when the camera was carried elsewhere between two images.

    jump_m: how far. left_s: until the state was no longer LOCALIZED, or was so at the right place.
    right_s: until LOCALIZED at the right place. Both None if that did not come. ended_right:
    whether the last pose was LOCALIZED and right.
    """

    jump_m: float
    left_s: float | None
    right_s: float | None
    ended_right: bool


def kidnap(
    drive: EncodedDrive, localizer: Localizer, config: TrackingConfig, trials: TrackingTrials,
    progress: bool = True,
) -> list[Kidnap]:  # fmt: skip
    """Drive until LOCALIZED, jump elsewhere without odometry noticing, and drive on.

    Trials that are not LOCALIZED at the right place when they jump are drawn again, at most five
    times as many as asked for.
    """
    rng = np.random.default_rng(trials.seed + 1)
    results: list[Kidnap] = []
    hidden = not progress or None
    bar = tqdm(total=trials.kidnaps, desc=f"kidnapping in {drive.name}", disable=hidden)
    starts = _starts(drive.T_true, drive.stamps_s, trials) if trials.kidnaps else []
    for trial in range(_DRAWS_PER_KIDNAP * trials.kidnaps):
        if len(results) == trials.kidnaps:
            break
        before = int(rng.choice(starts))
        after = int(rng.choice(_targets(drive.T_true, drive.stamps_s, before, trials)))
        first = range(before + 1 - trials.kidnap_after, before + 1)
        second = range(after, len(drive))
        seed = trials.seed + trial
        moved = [drive.odometry(rows, trials.odometry, seed) for rows in (first, second)]
        tracking = TrackingLocalizer(localizer, config)
        *_, (_, answer) = drive.run(tracking, first, moved[0])
        if answer.pose.state != LOCALIZED or not is_near(
            answer.pose.T_map_camera, drive.T_true[before]
        ):
            continue
        results.append(_after(drive, tracking, first, second, moved, trials.kidnap_s))
        bar.update()
    bar.close()
    return results


def check_kidnaps(name: str, T_true: Array, stamps_s: Array, trials: TrackingTrials) -> None:
    """Raise DatasetError if a drive of these poses (N, 4, 4) and stamps (N,) leaves no jump."""
    if trials.kidnaps and not _starts(T_true, stamps_s, trials):
        raise DatasetError(
            f"drive {name} is too short to be kidnapped on: it needs {trials.kidnap_after} images "
            f"before a jump, places {trials.kidnap_m:g} m apart and {trials.kidnap_s:g} s after "
            "it; set --trials.kidnap_after, .kidnap_m or .kidnap_s, or leave --kidnaps out"
        )


def _starts(T_true: Array, stamps_s: Array, trials: TrackingTrials) -> list[int]:
    """Rows from which the camera can be carried away."""
    rows = range(trials.kidnap_after - 1, len(stamps_s))
    return [row for row in rows if len(_targets(T_true, stamps_s, row, trials))]


def _targets(
    T_true: Array, stamps_s: Array, before: int, trials: TrackingTrials
) -> NDArray[np.int64]:
    """Rows to which the camera can be carried from another."""
    last = np.searchsorted(stamps_s, stamps_s[-1] - trials.kidnap_s, side="right")
    apart_m = np.linalg.norm(T_true[:last, :2, 3] - T_true[before, :2, 3], axis=-1)
    return np.flatnonzero(apart_m >= trials.kidnap_m)


def _after(
    drive: EncodedDrive, tracking: TrackingLocalizer, first: range, second: range,
    moved: list[Array | None], longest_s: float,
) -> Kidnap:  # fmt: skip
    """Drive on elsewhere, with odometry and stamps that go on as if nothing had happened."""
    step_s = float(np.median(np.diff(drive.stamps_s)))
    began_s = drive.stamps_s[second[0]]
    stamps_s = drive.stamps_s[second] - began_s + drive.stamps_s[first[-1]] + step_s
    odometry = None
    if moved[0] is not None and moved[1] is not None:
        odometry = moved[0][-1] @ invert(moved[1][0]) @ moved[1]
    left_s = right_s = None
    right = False
    for row, answer in drive.run(tracking, second, odometry, stamps_s):
        elapsed_s = float(drive.stamps_s[row] - began_s)
        if elapsed_s > longest_s:
            break
        localized = answer.pose.state == LOCALIZED
        right = localized and is_near(answer.pose.T_map_camera, drive.T_true[row])
        if left_s is None and (not localized or right):
            left_s = elapsed_s
        if right_s is None and right:
            right_s = elapsed_s
    before, after = drive.T_true[first[-1]], drive.T_true[second[0]]
    return Kidnap(float(np.linalg.norm((after - before)[:2, 3])), left_s, right_s, right)


def is_near(T_map_camera: Array, T_true: Array) -> bool:
    """Whether a pose is within `NEAR`, 5 m and 15 deg, of the truth."""
    distance_m = np.linalg.norm(T_map_camera[:2, 3] - T_true[:2, 3])
    turned_rad = heading_errors(camera_yaw(T_map_camera)[None], camera_yaw(T_true)[None])[0]
    return bool(within(np.asarray(distance_m), turned_rad, NEAR))
