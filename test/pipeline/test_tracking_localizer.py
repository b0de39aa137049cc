"""Images in, tracked poses out: drives through toy scenes with a real localizer."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable

import numpy as np
import pytest
from camera_poses import level_camera_pose
from lattice_maps import CAMERA, OFF_MAP, Scene, image, lattice
from numpy.typing import NDArray

from scmpr_ros.errors import ConfigError, ShapeError
from scmpr_ros.geometry import camera_yaw, wrap_angle
from scmpr_ros.pipeline.states import LOCALIZED, LOST, StateConfig
from scmpr_ros.pipeline.tracker import TrackerConfig
from scmpr_ros.pipeline.tracking_localizer import (
    TrackedAnswer,
    TrackingConfig,
    TrackingLocalizer,
)

Array = NDArray[np.float64]

STREET = lattice(80, 6)
STEP_S = 0.2
SMALL = TrackingConfig(
    TrackerConfig(max_components=100, max_viewpoints=80, sample=64),
    StateConfig(min_distance_m=4.0, max_deviation_m=3.0),
)
"""Fast, and LOCALIZED soon: streets are short."""


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene()


@pytest.fixture
def street(scene: Scene) -> TrackingLocalizer:
    """A tracker in a street along x, 80 m long and 6 m wide."""
    return TrackingLocalizer(scene.localizer(STREET), SMALL)


def straight(x_m: float, until_m: float, step_m: float = 1.25, y_m: float = 3.3) -> Array:
    """Poses (N, 3) along x."""
    x = np.arange(x_m, until_m, step_m)
    return np.column_stack([x, np.full(len(x), y_m), np.zeros(len(x))])


def odometry(pose: Array) -> Array:
    """`T_odom_camera` of a pose (3,), in a frame turned and shifted against the map."""
    turn = 1.0
    x = math.cos(turn) * pose[0] - math.sin(turn) * pose[1] + 40
    y = math.sin(turn) * pose[0] + math.cos(turn) * pose[1] - 9
    return level_camera_pose(np.array([x, y, 1.6]), float(pose[2] + turn))


class Drive:
    """Images of one camera, every 0.2 s."""

    def __init__(self, tracking: TrackingLocalizer, with_odometry: bool = True) -> None:
        self.tracking, self.with_odometry = tracking, with_odometry
        self.stamp_s = 1000.0

    def __call__(self, poses: Iterable[Array], seen: Iterable[Array] | None = None):
        """Drive along poses (N, 3); images are of other poses if `seen` is given."""
        poses = list(poses)
        return [
            self.see(image(shown), odometry(pose))
            for pose, shown in zip(poses, poses if seen is None else seen, strict=True)
        ]

    def see(self, picture: NDArray[np.uint8], T_odom_camera: Array | None) -> TrackedAnswer:
        self.stamp_s += STEP_S
        return self.tracking.locate(
            picture, CAMERA, self.stamp_s, T_odom_camera if self.with_odometry else None
        )


def is_right(answer: TrackedAnswer, pose: Array) -> bool:
    T = answer.pose.T_map_camera
    turned = abs(wrap_angle(camera_yaw(T) - pose[2]))
    return bool(np.hypot(*(T[:2, 3] - pose[:2])) < 5 and turned < math.radians(15))


def states(answers: list[TrackedAnswer]) -> list[str]:
    return [answer.pose.state for answer in answers]


def test_a_drive_becomes_localized_and_stays_right(street: TrackingLocalizer) -> None:
    poses = straight(5, 50)
    answers = Drive(street)(poses)
    last = slice(len(poses) // 3, None)
    assert states(answers)[0] == LOST and set(states(answers)[last]) == {LOCALIZED}
    assert all(is_right(a, p) for a, p in zip(answers[last], poses[last], strict=True))
    pose = answers[-1].pose
    assert np.hypot(*(pose.T_map_camera[:2, 3] - poses[-1, :2])) < 1.5
    assert pose.near_probability > 0.9 > 0.1 > pose.off_map_probability
    assert pose.hypotheses[0].probability == pytest.approx(pose.near_probability, abs=1e-3)
    np.testing.assert_array_equal(pose.hypotheses[0].T_map_camera, pose.T_map_camera)


def test_a_straight_drive_is_followed_without_odometry(street: TrackingLocalizer) -> None:
    poses = straight(5, 50)
    answers = Drive(street, with_odometry=False)(poses)
    last = slice(len(poses) // 3, None)
    right = [is_right(a, p) for a, p in zip(answers[last], poses[last], strict=True)]
    assert np.mean(right) > 0.9 and right[-1]
    assert LOST not in states(answers)[last]


def test_covariances_are_of_six_axes_and_positive(street: TrackingLocalizer) -> None:
    config = street.config
    for answer in Drive(street)(straight(5, 25)):
        covariance = answer.pose.covariance
        assert covariance.shape == (6, 6) and (np.linalg.eigvalsh(covariance) > 0).all()
        assert covariance[2, 2] == pytest.approx(config.height_deviation_m**2)
        assert covariance[3, 3] == pytest.approx(math.radians(config.tilt_deviation_deg) ** 2)
    planar = answer.pose.hypotheses[0].covariance
    np.testing.assert_allclose(covariance[np.ix_((0, 1, 5), (0, 1, 5))], planar)


def test_a_lost_pose_has_a_covariance_over_all_hypotheses(street: TrackingLocalizer) -> None:
    first = Drive(street)(straight(5, 6))[0].pose
    assert first.state == LOST and len(first.hypotheses) > 1
    share = np.array([each.probability for each in first.hypotheses])
    mean = np.array(
        [[*h.T_map_camera[:2, 3], camera_yaw(h.T_map_camera)] for h in first.hypotheses]
    )
    offset = mean - mean[0]
    offset[:, 2] = wrap_angle(offset[:, 2])
    second = [h.covariance + np.outer(o, o) for h, o in zip(first.hypotheses, offset, strict=True)]
    planar = first.covariance[np.ix_((0, 1, 5), (0, 1, 5))]
    np.testing.assert_allclose(planar, np.tensordot(share / share.sum(), second, 1), atol=1e-6)


def test_the_single_image_is_answered_as_by_the_localizer(street: TrackingLocalizer) -> None:
    pose = straight(5, 6)[0]
    answer = Drive(street)([pose])[0]
    alone = street.localizer.localize(image(pose), CAMERA)
    np.testing.assert_array_equal(answer.match.best.T_map_camera, alone.best.T_map_camera)
    assert answer.match.confidence == alone.confidence


def test_a_kidnapped_camera_is_found_again(
    street: TrackingLocalizer,
) -> None:
    """Odometry goes on as if nothing had happened."""
    drive = Drive(street)
    assert states(drive(straight(5, 25)))[-1] == LOCALIZED
    # The other way, 40 m further on.
    carried = straight(25, 65)
    shown = np.column_stack(
        [80 - (carried[:, 0] - 25), carried[:, 1], np.full(len(carried), np.pi)]
    )
    answers = drive(carried, seen=shown)
    right = [is_right(a, p) for a, p in zip(answers, shown, strict=True)]
    assert not right[0] and states(answers)[-1] == LOCALIZED, "the kidnap took effect"
    wrong = [n for n, a in enumerate(answers) if a.pose.state == LOCALIZED and not right[n]]
    assert max(wrong) < 10 and all(right[15:])


def test_images_from_off_the_map_never_become_localized(street: TrackingLocalizer) -> None:
    drive = Drive(street)
    poses = straight(0, 27, 0.9)
    answers = drive(poses, seen=OFF_MAP + poses * (1, 1, 0))
    assert LOCALIZED not in states(answers)
    before = street.config.tracker.off_map_prior
    assert answers[-1].pose.off_map_probability > max(0.5, before)
    assert "not on the map" in answers[-1].pose.reason


def test_leaving_the_map_leaves_localized(street: TrackingLocalizer) -> None:
    drive = Drive(street)
    on_map = drive(straight(50, 75))[-1].pose
    away = straight(75, 100)
    off_map = drive(away, seen=OFF_MAP + (away - away[0]))[-1].pose
    assert on_map.state == LOCALIZED != off_map.state
    assert off_map.off_map_probability > 5 * on_map.off_map_probability


def test_look_alike_streets_are_not_decided_before_they_differ() -> None:
    """Two streets that look the same up to x = 40 m."""

    def appearance(pose: Array) -> Array:
        pose = np.array(pose)
        same = (pose[:, 1] > 30) & (pose[:, 0] < 40)
        pose[same, 1] -= 60
        return pose

    streets = np.concatenate([lattice(70, 4), lattice(70, 4) + (0, 60)])
    tracking = TrackingLocalizer(Scene(appearance).localizer(streets), SMALL)
    drive = Drive(tracking)
    answers = drive(straight(5, 36, y_m=62.0))
    assert LOCALIZED not in states(answers)
    two = answers[-1].pose.hypotheses[:2]
    assert sorted(round(each.T_map_camera[1, 3] / 60) for each in two) == [0, 1]
    ahead = straight(36, 64, y_m=62.0)
    answers = drive(ahead)
    assert states(answers)[-1] == LOCALIZED and is_right(answers[-1], ahead[-1])


def test_a_pause_adds_no_evidence(street: TrackingLocalizer) -> None:
    drive = Drive(street)
    poses = straight(5, 8)
    before = drive(poses)[-1].pose
    still = drive([poses[-1]] * 40)
    assert {answer.pose.near_probability for answer in still} == {before.near_probability}
    assert set(states(still)) == {before.state}


def test_odometry_that_jumps_is_not_used(
    street: TrackingLocalizer, caplog: pytest.LogCaptureFixture
) -> None:
    drive = Drive(street)
    drive(straight(5, 25))
    jump = np.array([500.0, -300.0, 0.0])
    ahead = straight(25, 40)
    with caplog.at_level(logging.WARNING):
        answers = drive(ahead + jump, seen=ahead)
    assert caplog.text.count("odometry jumped by") == 1
    assert all(is_right(a, p) for a, p in zip(answers, ahead, strict=True))
    assert states(answers)[-1] == LOCALIZED


def test_odometry_that_is_not_finite_or_missing_for_a_while_is_survived(
    street: TrackingLocalizer,
) -> None:
    drive = Drive(street)
    drive(straight(5, 25))
    ahead = straight(25, 45)
    for n, pose in enumerate(ahead):
        broken = (None, np.full((4, 4), np.nan))[n % 2] if n < 6 else odometry(pose)
        answer = drive.see(image(pose), broken)
        assert np.isfinite(answer.pose.T_map_camera).all()
        assert np.isfinite(answer.pose.covariance).all()
    assert answer.pose.state == LOCALIZED and is_right(answer, ahead[-1])


def test_stamps_that_go_back_start_anew(
    street: TrackingLocalizer, caplog: pytest.LogCaptureFixture
) -> None:
    drive = Drive(street)
    poses = straight(5, 25)
    first = drive(poses)
    drive.stamp_s = 1000.0
    with caplog.at_level(logging.WARNING):
        again = drive(poses)
    assert "tracking starts anew" in caplog.text
    assert states(first)[-1] == LOCALIZED and states(again)[0] == LOST
    assert states(again)[-1] == LOCALIZED


@pytest.mark.parametrize("with_odometry", [True, False])
def test_a_long_gap_starts_anew_without_odometry_only(
    street: TrackingLocalizer, with_odometry: bool
) -> None:
    drive = Drive(street, with_odometry)
    drive(straight(5, 30))
    drive.stamp_s += 2 * street.config.max_gap_s
    answer = drive(straight(30, 31))[0]
    assert (answer.pose.state == LOCALIZED) == with_odometry


def test_prior_is_taken_as_the_pose_and_confirmed_by_images(street: TrackingLocalizer) -> None:
    poses = straight(30, 36)
    covariance = np.diag([1.0, 1.0, 9.0, 9.0, 9.0, 0.04])
    street.set_prior(level_camera_pose(np.array([30.5, 3.0, 0.0]), 0.05), covariance, 0.9)
    answers = Drive(street)(poses)
    assert answers[0].pose.near_probability > 0.8
    assert all(is_right(a, p) for a, p in zip(answers, poses, strict=True))
    assert states(answers)[-1] == LOCALIZED


def test_images_before_a_prior_do_not_count_against_it(street: TrackingLocalizer) -> None:
    before = straight(5, 30)
    shown = before[np.random.default_rng(0).permutation(len(before))]
    drive = Drive(street)
    drive(before, seen=shown)
    covariance = np.diag([1.0, 1.0, 9.0, 9.0, 9.0, 0.04])
    street.set_prior(level_camera_pose(np.array([30.5, 3.0, 0.0]), 0.05), covariance, 0.9)
    assert states(drive(straight(30, 36)))[-1] == LOCALIZED


def test_other_thresholds_hold_from_the_next_image_on(street: TrackingLocalizer) -> None:
    drive = Drive(street)
    assert states(drive(straight(5, 25)))[-1] == LOCALIZED
    street.use(StateConfig(localized_probability=1.0, doubted_probability=1.0))
    answer = drive(straight(25, 26))[0]
    assert answer.pose.state != LOCALIZED


def test_a_rejected_image_changes_nothing(street: TrackingLocalizer) -> None:
    drive = Drive(street)
    poses = straight(5, 25)
    drive(poses[:-1])
    with pytest.raises(ShapeError):
        drive.see(np.zeros((3, 3, 3), np.uint8), odometry(poses[-1]))
    assert is_right(drive(poses[-1:])[0], poses[-1])


def test_same_images_give_the_same_answers(scene: Scene) -> None:
    poses = straight(5, 15)
    localizer = scene.localizer(STREET)
    one, other = (Drive(TrackingLocalizer(localizer, SMALL))(poses) for _ in range(2))
    for a, b in zip(one, other, strict=True):
        assert a.pose.near_probability == b.pose.near_probability
        np.testing.assert_array_equal(a.pose.T_map_camera, b.pose.T_map_camera)
        np.testing.assert_array_equal(a.pose.covariance, b.pose.covariance)


def test_reset_forgets_everything(street: TrackingLocalizer) -> None:
    drive = Drive(street)
    drive(straight(5, 25))
    street.reset()
    assert street.tracker.followed_m == 0 and len(street.tracker.mixture) == 0
    assert states(drive(straight(40, 41))) == [LOST]


@pytest.mark.parametrize("name", ["hypotheses", "max_gap_s", "max_speed_m_s", "height_deviation_m"])
def test_invalid_tracking_settings(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"tracking\.{name} must be positive"):
        TrackingConfig(**{name: 0})
