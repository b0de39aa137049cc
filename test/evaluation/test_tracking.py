"""Trials on drives through a world that is known, and their scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from camera_poses import level_camera_pose
from lattice_maps import CAMERA, Scene, image, lattice
from numpy.typing import NDArray
from recording import write_recording

from scmpr_ros.datasets.drive import Drive
from scmpr_ros.datasets.recordings import open_drives
from scmpr_ros.errors import ConfigError, DatasetError
from scmpr_ros.evaluation.tracking import (
    EncodedDrive,
    Kidnap,
    OdometryNoise,
    TrackingTrials,
    WakeUp,
    kidnap,
    summarise_kidnaps,
    summarise_wake_ups,
    summary,
    track,
    wake_up,
)
from scmpr_ros.evaluation.tracking.recordings import check_drive
from scmpr_ros.evaluation.tracking.scores import settled
from scmpr_ros.evaluation.tracking.trials import _after
from scmpr_ros.evaluation.trajectory import TrackedDrive
from scmpr_ros.geometry import camera_yaw, invert
from scmpr_ros.pipeline.localizer import EncodedImage, Localizer
from scmpr_ros.pipeline.states import LOCALIZED, LOST
from scmpr_ros.pipeline.tracking_localizer import TrackingConfig

Array = NDArray[np.float64]
CONFIG = TrackingConfig()
STEP_M, STEP_S = 2.0, 0.5


def along(poses: Array, localizer: Localizer) -> EncodedDrive:
    """A drive with an image at each of N poses (N, 3) of x, y and yaw."""
    T_true = np.stack([level_camera_pose(np.array([x, y, 0.0]), yaw) for x, y, yaw in poses])
    images = tuple(localizer.encode(image(pose), CAMERA) for pose in poses)
    return EncodedDrive("there", images, STEP_S * np.arange(len(poses)), T_true)


def street(start_m: float, length_m: float) -> Array:
    """Poses (N, 3) along x, at y = 6 m."""
    x = np.arange(start_m, start_m + length_m, STEP_M)
    return np.column_stack([x, np.full(len(x), 6.0), np.zeros(len(x))])


@pytest.fixture(scope="module")
def world() -> Localizer:
    """A map of 120 m by 12 m in which no place looks like another."""
    return Scene().localizer(lattice(120.0, 12.0))


@pytest.fixture(scope="module")
def drive(world: Localizer) -> EncodedDrive:
    """120 m, at 4 m/s."""
    return along(street(0.0, 120.0), world)


# --- odometry --------------------------------------------------------------------------------


@pytest.mark.parametrize("step_m", [2.0, 8.0])
def test_odometry_drifts_as_much_however_often_it_is_read(world: Localizer, step_m: float) -> None:
    """40 m straight on: deviations along, across and in yaw, over 200 drives."""
    x = np.arange(0.0, 40.0 + step_m / 2, step_m)
    T_true = np.stack([level_camera_pose(np.array([each, 0, 0]), 0.0) for each in x])
    still = EncodedDrive("still", (None,) * len(x), x, T_true)  # type: ignore[arg-type]
    rows = range(len(x))

    def ends(noise: OdometryNoise) -> Array:
        poses = [still.odometry(rows, noise, seed) for seed in range(200)]
        return np.stack([pose[-1] for pose in poses if pose is not None])

    root_m = np.sqrt(40.0)
    along_m, across_m, _ = ends(OdometryNoise(0.02, 0.0, 0.0))[:, :3, 3].T
    assert along_m.std() == pytest.approx(0.02 * np.hypot(40.0, root_m), rel=0.15), "2 % of 40 m"
    assert across_m.std() == pytest.approx(0.02 * root_m, rel=0.15), "2 cm after a metre"
    assert along_m.mean() == pytest.approx(40.0, abs=0.25)
    yaw_deg = np.rad2deg(camera_yaw(ends(OdometryNoise(0.0, 0.1, 0.3))))
    assert yaw_deg.std() == pytest.approx(np.hypot(4.0, 0.3 * root_m), rel=0.15)
    np.testing.assert_allclose(ends(OdometryNoise(0, 0, 0))[7], T_true[-1], atol=1e-9)
    assert still.odometry(rows, None, 0) is None


def test_odometry_has_a_seed(drive: EncodedDrive) -> None:
    first, again, other = (drive.odometry(range(9), OdometryNoise(), seed) for seed in (1, 1, 2))
    assert first is not None and again is not None and other is not None
    assert (first == again).all() and not np.allclose(first, other)
    with pytest.raises(ConfigError, match=r"odometry\.drift cannot be -0\.1"):
        OdometryNoise(drift=-0.1)


# --- trials ----------------------------------------------------------------------------------


def test_a_drive_in_a_known_world_is_tracked(drive: EncodedDrive, world: Localizer) -> None:
    rows = []
    tracked = track(
        drive, world, CONFIG, TrackingTrials(), progress=False,
        on_answer=lambda row, answer: rows.append((row, answer.pose.state)),
    )  # fmt: skip
    assert [row for row, _ in rows] == list(range(60))
    assert [state for _, state in rows] == tracked.state.tolist()
    numbers = summary([tracked], settling_s=10.0)
    assert numbers["num_images"] == 40
    assert numbers["localized"] == numbers["right"] == numbers["single_right"] == 1.0
    assert numbers["median_position_error_m"] < 1.0


def test_wake_up_finds_the_place(drive: EncodedDrive, world: Localizer) -> None:
    trials = TrackingTrials(starts=2, settling_s=10.0)
    results = wake_up(drive, world, CONFIG, trials, progress=False)
    assert len({each.start for each in results}) > 1
    for each in results:
        assert each.right and each.start <= 40, "at least settling_s before the end"
        assert each.distance_m is not None and each.time_s is not None
        assert each.distance_m / each.time_s == pytest.approx(STEP_M / STEP_S)
        # The odometry may say that it is less far than it is.
        assert 0.9 * CONFIG.state.min_distance_m < each.distance_m < 40.0
    late = replace(trials, wake_up_s=1.0)
    assert all(each.time_s is None for each in wake_up(drive, world, CONFIG, late, False))


def test_a_street_that_looks_like_the_mapped_one_is_a_false_lock() -> None:
    """The map ends at 60 m, and the world repeats itself from there on."""
    scene = Scene(appearance=lambda pose: np.column_stack([pose[:, 0] % 60.0, pose[:, 1:]]))
    localizer = scene.localizer(lattice(58.0, 12.0))
    results = wake_up(along(street(62.0, 50.0), localizer), localizer, CONFIG,
                      TrackingTrials(starts=1, settling_s=12.0), progress=False)  # fmt: skip
    assert [each.right for each in results] == [False]
    assert summarise_wake_ups(results)["false_locks"] == 1.0


def test_a_kidnap_takes_effect_and_is_noticed(drive: EncodedDrive, world: Localizer) -> None:
    trials = TrackingTrials(kidnaps=2, kidnap_after=15, kidnap_s=12.0)
    results = kidnap(drive, world, CONFIG, trials, progress=False)
    assert len(results) == 2
    for each in results:
        assert each.jump_m >= 30.0
        assert each.left_s is not None and each.left_s > 0, "LOCALIZED where it was before"
        assert each.right_s is not None and each.right_s >= each.left_s
        assert each.ended_right


def test_a_kidnapped_tracker_is_not_told(drive: EncodedDrive) -> None:
    """Odometry and stamps go on across the jump as they did before; the images do not."""

    class Spy:
        """Takes what a tracker is given, and is never LOCALIZED."""

        stamps_s: ClassVar[list[float]] = []
        T_odom: ClassVar[list[Array]] = []

        def locate_encoded(self, _: EncodedImage, stamp_s: float, T: Array) -> SimpleNamespace:
            self.stamps_s.append(stamp_s)
            self.T_odom.append(T)
            return SimpleNamespace(pose=SimpleNamespace(state=LOST, T_map_camera=np.eye(4)))

    spy, first, second = Spy(), range(5, 20), range(40, 60)
    moved = [drive.odometry(rows, OdometryNoise(), 3) for rows in (first, second)]
    list(drive.run(spy, first, moved[0]))  # type: ignore[arg-type]
    result = _after(drive, spy, first, second, moved, longest_s=4.0)  # type: ignore[arg-type]
    assert result == Kidnap(jump_m=42.0, left_s=0.0, right_s=None, ended_right=False)
    assert len(spy.stamps_s) == 15 + 10, "the first image that is too late ends it"
    np.testing.assert_allclose(np.diff(spy.stamps_s), STEP_S)
    T = np.stack(spy.T_odom)
    steps_m = np.linalg.norm((invert(T[:-1]) @ T[1:])[:, :3, 3], axis=1)
    assert steps_m[14] == pytest.approx(0.0, abs=1e-9), "carried, it seems to have stood still"
    assert np.delete(steps_m, 14) == pytest.approx(STEP_M, abs=0.3)


def test_a_tracker_that_is_not_localized_cannot_be_kidnapped(
    drive: EncodedDrive, world: Localizer
) -> None:
    never = replace(CONFIG, state=replace(CONFIG.state, min_distance_m=1e6))
    trials = TrackingTrials(kidnaps=1, kidnap_after=3, kidnap_s=12.0)
    assert kidnap(drive, world, never, trials, progress=False) == []
    assert summarise_kidnaps([])["trials"] == 0


@pytest.mark.parametrize("name", ["starts", "kidnaps", "settling_s", "kidnap_m", "wake_up_s"])
def test_trials_are_checked(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        TrackingTrials(**{name: -1})


# --- scores ----------------------------------------------------------------------------------


def made_up(count: int, stated: float = 1.0, seed: int = 0) -> TrackedDrive:
    """LOCALIZED poses whose errors are Gaussian, of a known covariance.

    stated: factor of the standard deviations that the poses claim to have.
    """
    rng = np.random.default_rng(seed)
    planar = np.array([[0.5, 0.2, 0.0], [0.2, 0.3, 0.01], [0.0, 0.01, 0.002]])
    errors = rng.multivariate_normal(np.zeros(3), planar, count)
    true = np.stack([level_camera_pose(np.array([2.0 * i, 0, 0]), 0.5) for i in range(count)])
    tracked = np.stack(
        [level_camera_pose(T[:3, 3] + [x, y, 0], 0.5 + yaw)
         for T, (x, y, yaw) in zip(true, errors, strict=True)]
    )  # fmt: skip
    covariance = np.eye(6)
    covariance[np.ix_((0, 1, 5), (0, 1, 5))] = stated**2 * planar
    return TrackedDrive(
        stamps_s=0.5 * np.arange(count), T_true=true, T_tracked=tracked, T_single=true,
        covariance=np.tile(covariance, (count, 1, 1)), near_probability=np.full(count, 0.97),
        off_map_probability=np.full(count, 0.01), single_confidence=np.full(count, 0.5),
        state=np.full(count, LOCALIZED),
    )  # fmt: skip


def test_an_honest_covariance_is_in_the_band() -> None:
    numbers = summary([made_up(4000)])
    assert numbers["nees_in_band"] == pytest.approx(0.95, abs=0.012)
    assert numbers["nees_mean"] == pytest.approx(3.0, abs=0.15)
    assert numbers["coverage"] == pytest.approx([0.199, 0.739, 0.971], abs=0.025)


def test_a_bold_covariance_is_not() -> None:
    bold = summary([made_up(1000, stated=0.5)])
    assert bold["nees_mean"] == pytest.approx(12.0, abs=1.0) and bold["nees_in_band"] < 0.6
    timid = summary([made_up(1000, stated=3.0)])
    assert timid["nees_mean"] == pytest.approx(1 / 3, abs=0.05) and timid["nees_in_band"] < 0.7


def test_numbers_begin_when_the_drive_has_settled() -> None:
    drive = made_up(10)  # 0.5 s and 2 m an image
    assert settled(drive, 2.0).stamps_s.tolist() == [2.0, 2.5, 3.0, 3.5, 4.0, 4.5]
    assert settled(drive, 2.0, settling_m=12.0).stamps_s.tolist() == [3.0, 3.5, 4.0, 4.5]
    assert settled(drive, 99.0).stamps_s.tolist() == [4.5], "the last image stays"
    assert summary([drive, drive], settling_s=4.0)["num_images"] == 4


def test_wrong_poses_by_hand() -> None:
    drive = made_up(10)
    drive.T_tracked[:3, 0, 3] += 50.0
    state = drive.state.copy()
    state[0] = LOST
    probability = np.append(np.full(3, 0.2), np.full(7, 0.9))
    numbers = summary([replace(drive, state=state, near_probability=probability)])
    assert numbers["right"] == 0.7 and numbers["localized"] == 0.9
    assert numbers["wrong_localized"] == pytest.approx(0.2)
    assert numbers["tracked_recall_at_99"] == 0.7, "a threshold tells right from wrong"
    assert numbers["single_recall_at_99"] == 1.0
    low, high = numbers["right_interval"]
    assert low < 0.7 < high
    # One stretch of street says less than two towns do.
    once, apart = (
        summary([drive, drive], recordings=names)["right_interval"] for names in ("aa", "ab")
    )
    assert apart[1] - apart[0] < once[1] - once[0]


def test_wake_ups_and_kidnaps_by_hand() -> None:
    found = [WakeUp(0, 2.0, 10.0, True), WakeUp(5, 4.0, 30.0, False), WakeUp(9)]
    numbers = summarise_wake_ups(found)
    assert numbers["localized"] == pytest.approx(2 / 3)
    assert numbers["false_locks"] == pytest.approx(1 / 3)
    assert numbers["time_s_median_95"] == pytest.approx([3.0, 3.9])
    assert numbers["distance_m_median_95"] == pytest.approx([20.0, 29.0])
    assert summarise_wake_ups([WakeUp(0)])["time_s_median_95"] is None
    kidnaps = [Kidnap(40.0, 1.0, 6.0, True), Kidnap(35.0, 6.0, 25.0, True),
               Kidnap(31.0, None, None, False)]  # fmt: skip
    numbers = summarise_kidnaps(kidnaps)
    assert numbers["smallest_jump_m"] == 31.0
    assert numbers["left_within_5_s"] == numbers["right_within_20_s"] == pytest.approx(1 / 3)
    assert numbers["ended_right"] == pytest.approx(2 / 3)


# --- what cannot be tracked ------------------------------------------------------------------


def recorded(folder: Path, stamps_s: list[float]) -> Drive:
    """The image drive of a small recording, with these stamps."""
    write_recording(folder, seed=0, images=len(stamps_s))
    path = folder / "sequences" / "01" / "times.txt"
    path.write_text("".join(f"{stamp_s}\n" for stamp_s in stamps_s))
    (drive,) = (each for each in open_drives(folder) if each.image_frames)
    return drive


def test_drives_that_cannot_be_tried_are_named(tmp_path: Path) -> None:
    trials = TrackingTrials(settling_s=0.2)
    with pytest.raises(DatasetError, match="drive 01 has a single image"):
        check_drive(recorded(tmp_path / "a", [0.0]), trials)
    with pytest.raises(DatasetError, match=r"the stamp of image 2, 0\.1 s, is not later"):
        check_drive(recorded(tmp_path / "b", [0.0, 0.1, 0.1]), trials)
    usual = recorded(tmp_path / "c", [0.0, 0.1, 0.2, 0.3])
    check_drive(usual, trials)
    with pytest.raises(DatasetError, match=r"lasts 0\.3 s, but numbers begin 15 s after"):
        check_drive(usual, TrackingTrials())
    with pytest.raises(DatasetError, match="drive 01 is too short to be kidnapped on"):
        check_drive(usual, replace(trials, kidnaps=1))
    check_drive(usual, replace(trials, kidnaps=1, kidnap_after=2, kidnap_m=10.0, kidnap_s=0.1))
