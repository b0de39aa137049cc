"""Motion of a mixture, against numerical derivatives, filterpy and sampled motion."""

from __future__ import annotations

import math

import numpy as np
import pytest
from filterpy.kalman import KalmanFilter
from numpy.typing import NDArray
from scipy.optimize import approx_fprime

from scmpr_ros.errors import ConfigError
from scmpr_ros.geometry import make_transform, rotation_z
from scmpr_ros.pipeline.mixture import SIZE, SPEED, TURN, YAW, Mixture, X, Y
from scmpr_ros.pipeline.motion import Motion, MotionConfig, move, start

Array = NDArray[np.float64]

EXACT = MotionConfig(
    odometry_translation=1e-9, odometry_yaw_deg=1e-9, odometry_scale=1e-9, acceleration_m_s2=1e-9,
    turn_deg_s=1e-9,    speed_m_s=1e-9, speed_deviation_m_s=1e-9,
)  # fmt: skip
CURVE = Motion(0.5, make_transform(rotation_z(0.3), np.array([2.0, 0.4, 0.0])))
MEAN = np.array([3.0, -1.0, 0.8, 4.0, 0.2, 1.1])


def moved(mean: Array, covariance: Array, motion: Motion, config: MotionConfig) -> Mixture:
    return move(Mixture(np.ones(1), mean[None], covariance[None]), motion, config)[0]


def covariance(seed: int = 0) -> Array:
    root = np.random.default_rng(seed).normal(0, 0.2, (SIZE, SIZE))
    return root @ root.T


def numerical_jacobian(motion: Motion) -> Array:
    def mean_after(mean: Array) -> Array:
        return moved(mean, np.eye(SIZE), motion, EXACT).mean[0]

    return approx_fprime(MEAN, mean_after, 1e-6)


def noise(motion: Motion) -> Array:
    """What the motion adds to the covariance of a pose that is known exactly."""
    return moved(MEAN, np.zeros((SIZE, SIZE)), motion, EXACT).covariance[0]


@pytest.mark.parametrize("motion", [CURVE, Motion(0.5)], ids=["odometry", "coasting"])
def test_covariances_follow_the_derivative_of_the_mean(motion: Motion) -> None:
    """With filterpy's prediction on the numerical derivative.

    Coasting turns at the rate's middle, so that of speed is exact and that of turns to first order.
    """
    kalman = KalmanFilter(dim_x=SIZE, dim_z=1)
    kalman.P = covariance()
    kalman.predict(F=numerical_jacobian(motion), Q=np.zeros((SIZE, SIZE)))
    found = moved(MEAN, covariance(), motion, EXACT).covariance[0] - noise(motion)
    np.testing.assert_allclose(found, kalman.P, atol=1e-5)


def test_odometry_moves_in_the_axes_of_each_component() -> None:
    mean = np.tile(MEAN, (2, 1))
    mean[:, YAW] = 0.0, math.pi / 2
    both = Mixture(np.full(2, 0.5), mean, np.zeros((2, SIZE, SIZE)))
    after, distance_m = move(both, CURVE, MotionConfig())
    # By 1.1 true metres per metre of odometry.
    np.testing.assert_allclose(after.mean[:, X], [3 + 1.1 * 2.0, 3 - 1.1 * 0.4])
    np.testing.assert_allclose(after.mean[:, Y], [-1 + 1.1 * 0.4, -1 + 1.1 * 2.0])
    np.testing.assert_allclose(after.mean[:, YAW], [0.3, math.pi / 2 + 0.3])
    np.testing.assert_allclose(after.mean[:, SPEED], 1.1 * 2.0 / 0.5)
    np.testing.assert_allclose(after.mean[:, TURN], 0.3 / 0.5)
    assert distance_m == pytest.approx(math.hypot(2.0, 0.4))


def test_coasting_follows_the_arc_of_speed_and_turn_rate() -> None:
    """A circle integrated in small steps."""
    expected = MEAN.copy()
    steps = 10_000
    for _ in range(steps):
        expected[X] += MEAN[SPEED] * 0.5 / steps * math.cos(expected[YAW])
        expected[Y] += MEAN[SPEED] * 0.5 / steps * math.sin(expected[YAW])
        expected[YAW] += MEAN[TURN] * 0.5 / steps
    found = moved(MEAN, np.zeros((SIZE, SIZE)), Motion(0.5), MotionConfig()).mean[0]
    np.testing.assert_allclose(found, expected, atol=2e-3)


@pytest.mark.parametrize("motion", [CURVE, Motion(0.5)], ids=["odometry", "coasting"])
def test_moments_match_those_of_sampled_motion(motion: Motion) -> None:
    small = 0.02 * covariance()
    samples = np.random.default_rng(0).multivariate_normal(MEAN, small, 20_000)
    N = len(samples)
    cloud, _ = move(
        Mixture(np.full(N, 1 / N), samples, np.zeros((N, SIZE, SIZE))), motion, EXACT
    )  # fmt: skip
    found = moved(MEAN, small, motion, EXACT)
    np.testing.assert_allclose(found.mean[0], cloud.mean.mean(0), atol=0.01)
    spread = found.covariance[0] - noise(motion)
    np.testing.assert_allclose(spread, np.cov(cloud.mean.T), atol=0.05 * np.abs(spread).max())


def test_errors_of_odometry_depend_on_distance_and_not_on_the_number_of_images() -> None:
    config = MotionConfig()
    whole = Motion(1.0, make_transform(np.eye(3), np.array([4.0, 0.0, 0.0])))
    step = Motion(0.1, make_transform(np.eye(3), np.array([0.4, 0.0, 0.0])))
    none = np.zeros((SIZE, SIZE))
    once = moved(MEAN, none, whole, config)
    often = Mixture(np.ones(1), MEAN[None], none[None])
    for _ in range(10):
        often, _ = move(often, step, config)
    diagonal = np.arange(3)
    np.testing.assert_allclose(
        often.covariance[0, YAW, YAW], once.covariance[0, YAW, YAW], rtol=1e-6
    )
    assert np.trace(once.covariance[0][:2, :2]) > 0
    # Those of a turn on the way add to the position, by less than the turn at its end would.
    assert (
        often.covariance[0, diagonal, diagonal] >= 0.99 * once.covariance[0, diagonal, diagonal]
    ).all()
    np.testing.assert_allclose(often.mean[0, :3], once.mean[0, :3])


def test_a_camera_at_rest_gains_no_doubt_by_odometry() -> None:
    found = moved(MEAN, covariance(), Motion(0.1, np.eye(4)), MotionConfig())
    np.testing.assert_allclose(found.mean[0, :3], MEAN[:3])
    np.testing.assert_allclose(found.covariance[0, :3, :3], covariance()[:3, :3])
    assert found.mean[0, SPEED] == 0


def test_coasting_distance_is_the_mean_speed_and_the_expected_one_where_nothing_is_known() -> None:
    config = MotionConfig(speed_m_s=7.0)
    _, distance_m = move(Mixture.empty(), Motion(2.0), config)
    assert distance_m == pytest.approx(14.0)
    mean = np.tile(MEAN, (2, 1))
    mean[:, SPEED] = 3.0, -5.0
    half = Mixture(np.array([0.25, 0.25]), mean, np.tile(np.eye(SIZE), (2, 1, 1)))
    _, distance_m = move(half, Motion(2.0), config)
    assert distance_m == pytest.approx(2 * (0.25 * 3 + 0.25 * 5 + 0.5 * 7))


def test_doubt_about_the_position_grows_while_coasting() -> None:
    known = start(MEAN[None, :3], np.full(3, 0.01), MotionConfig())
    deviation = []
    for _ in range(3):
        known, _ = move(known, Motion(0.5), MotionConfig())
        deviation.append(np.trace(known.covariance[0][:2, :2]))
    assert deviation == sorted(deviation) and deviation[0] > 0.02
    assert (np.linalg.eigvalsh(known.covariance[0]) > 0).all()


def test_components_start_with_unknown_motion() -> None:
    config = MotionConfig()
    begun = start(np.zeros((2, 3)), np.array([1.0, 2.0, 3.0]), config)
    assert len(begun) == 2 and (begun.weight == 1).all()
    np.testing.assert_allclose(begun.mean[:, SPEED], config.speed_m_s)
    np.testing.assert_allclose(begun.covariance[0].diagonal()[:3], [1, 2, 3])
    assert begun.covariance[0, SPEED, SPEED] == pytest.approx(config.speed_deviation_m_s**2)


def test_turn_of_a_motion() -> None:
    assert CURVE.turn_rad == pytest.approx(0.3)
    assert Motion(0.5).turn_rad == 0


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_invalid_motion_settings(value: float) -> None:
    with pytest.raises(ConfigError, match=r"motion\.odometry_translation must be positive"):
        MotionConfig(odometry_translation=value)
