"""Mixtures of Gaussians, against filterpy's Kalman filter and against integrals by hand."""

from __future__ import annotations

import numpy as np
import pytest
from filterpy.kalman import KalmanFilter
from numpy.typing import NDArray
from scipy.stats import multivariate_normal

from scmpr_ros.geometry import wrap_angle
from scmpr_ros.pipeline.mixture import (
    POSE,
    SIZE,
    YAW,
    Mixture,
    are_near,
    best_cluster,
    best_members,
    condition,
    correct,
    correct_yaw,
)

Array = NDArray[np.float64]


def mixture(count: int = 4, seed: int = 0) -> Mixture:
    """Components with full covariances, near the origin and near the heading 0."""
    rng = np.random.default_rng(seed)
    root = rng.normal(0, 0.5, (count, SIZE, SIZE))
    weight = rng.uniform(0.1, 1, count)
    mean = rng.normal(0, 0.3, (count, SIZE))
    return Mixture(weight / weight.sum(), mean, root @ root.transpose(0, 2, 1))


def kalman_update(mean: Array, covariance: Array, z: Array, R: Array, H: Array) -> KalmanFilter:
    kalman = KalmanFilter(dim_x=SIZE, dim_z=len(z))
    kalman.x, kalman.P = mean[:, None].copy(), covariance.copy()
    kalman.update(z[:, None], R=R, H=H)
    return kalman


SEES_POSE, SEES_YAW = np.eye(SIZE)[POSE], np.eye(SIZE)[YAW : YAW + 1]


def test_correct_is_a_kalman_update_of_every_component() -> None:
    prior, R = mixture(), np.array([[0.5, 0.1, 0.0], [0.1, 0.3, 0.05], [0.0, 0.05, 0.2]])
    z = np.array([0.4, -0.2, 0.1])
    posterior = correct(prior, z, R, gate=100.0)
    for n in range(len(prior)):
        kalman = kalman_update(prior.mean[n], prior.covariance[n], z, R, SEES_POSE)
        np.testing.assert_allclose(posterior.mean[n], kalman.x[:, 0], atol=1e-9)
        np.testing.assert_allclose(posterior.covariance[n], kalman.P, atol=1e-9)
    np.testing.assert_array_equal(posterior.weight, prior.weight)


def test_correct_leaves_components_beyond_the_gate() -> None:
    prior = Mixture(np.full(2, 0.5), np.zeros((2, SIZE)), np.tile(np.eye(SIZE), (2, 1, 1)))
    prior.mean[1, 0] = 10.0
    posterior = correct(prior, np.zeros(3) + (0.5, 0, 0), np.eye(3), gate=4.0)
    assert posterior.mean[0, 0] == pytest.approx(0.25)
    np.testing.assert_array_equal(posterior.mean[1], prior.mean[1])
    np.testing.assert_array_equal(posterior.covariance[1], prior.covariance[1])


def test_correct_yaw_is_a_kalman_update_and_infinite_variance_is_none() -> None:
    prior = mixture()
    z, R = np.array([0.2, -0.1, 0.05, 0.3]), np.array([0.1, 0.01, 1.0, np.inf])
    posterior = correct_yaw(prior, z, R)
    for n in range(3):
        kalman = kalman_update(
            prior.mean[n], prior.covariance[n], z[n : n + 1], R[n, None, None], SEES_YAW
        )
        np.testing.assert_allclose(posterior.mean[n], kalman.x[:, 0], atol=1e-9)
        np.testing.assert_allclose(posterior.covariance[n], kalman.P, atol=1e-9)
    np.testing.assert_array_equal(posterior.mean[3], prior.mean[3])
    np.testing.assert_array_equal(posterior.covariance[3], prior.covariance[3])


def test_condition_is_the_product_of_gaussians_and_its_integral() -> None:
    prior, kernel = mixture(3), np.array([0.3, 0.4, 0.2])
    component = np.array([2, 0, 0, 1])
    target = np.random.default_rng(1).normal(0, 0.4, (4, 3))
    integral, product = condition(prior, component, target, kernel)
    evidence = []
    for m, n in enumerate(component):
        kalman = kalman_update(
            prior.mean[n], prior.covariance[n], target[m], np.diag(kernel), SEES_POSE
        )
        np.testing.assert_allclose(product.mean[m], kalman.x[:, 0], atol=1e-9)
        np.testing.assert_allclose(product.covariance[m], kalman.P, atol=1e-9)
        spread = prior.covariance[n][POSE, POSE] + np.diag(kernel)
        evidence.append(multivariate_normal(prior.mean[n, POSE], spread).pdf(target[m]))
    np.testing.assert_allclose(integral / integral[0], np.array(evidence) / evidence[0])
    np.testing.assert_array_equal(product.weight, prior.weight[component])


@pytest.mark.parametrize("measured_deg", [179.0, -179.0, 181.0])
def test_yaw_is_corrected_the_short_way_round(measured_deg: float) -> None:
    start_rad, measured_rad = np.radians(-178.0), np.radians(measured_deg)
    prior = Mixture(np.ones(1), np.zeros((1, SIZE)), np.eye(SIZE)[None])
    prior.mean[0, YAW] = start_rad
    half = wrap_angle(start_rad + wrap_angle(measured_rad - start_rad) / 2)
    z = np.array([0.0, 0.0, measured_rad])
    updates = (
        correct_yaw(prior, z[2:], np.ones(1)),
        correct(prior, z, np.eye(3), gate=9.0),
        condition(prior, np.zeros(1, np.int64), z[None], np.ones(3))[1],
    )
    for updated in updates:
        assert abs(wrap_angle(updated.mean[0, YAW] - half)) < 1e-9


def test_merged_keeps_mass_mean_and_covariance() -> None:
    parts = mixture(6)
    group = np.array([7, 3, 7, 7, 3, 5])
    merged = parts.merged(group)
    assert len(merged) == 3
    for row, number in enumerate((3, 5, 7)):
        members = parts[group == number]
        share = members.weight / members.weight.sum()
        mean = share @ members.mean
        offset = members.mean - mean
        second = members.covariance + offset[:, :, None] * offset[:, None, :]
        assert merged.weight[row] == pytest.approx(members.weight.sum())
        np.testing.assert_allclose(merged.mean[row], mean, atol=1e-12)
        np.testing.assert_allclose(merged.covariance[row], np.tensordot(share, second, 1))


def test_merged_takes_the_mean_of_yaws_on_both_sides_of_half_a_turn() -> None:
    parts = Mixture(np.array([0.25, 0.75]), np.zeros((2, SIZE)), np.zeros((2, SIZE, SIZE)))
    parts.mean[:, YAW] = np.radians([178.0, -178.0])
    merged = parts.merged(np.zeros(2, np.int64))
    assert np.degrees(merged.mean[0, YAW]) == pytest.approx(-179.0)
    assert np.degrees(np.sqrt(merged.covariance[0, YAW, YAW])) == pytest.approx(np.sqrt(3.0))


def test_sum_selection_and_scale() -> None:
    parts = mixture(3)
    both = Mixture.empty() + parts + parts.scaled(2.0)
    assert len(both) == 6 and both.weight.sum() == pytest.approx(3.0)
    picked = both[np.array([5, 0])]
    np.testing.assert_allclose(picked.weight, [2 * parts.weight[2], parts.weight[0]])
    np.testing.assert_array_equal(picked.mean, parts.mean[[2, 0]])
    assert len(Mixture.empty().merged(np.zeros(0, np.int64))) == 0


def test_best_members_are_5_m_and_15_deg_around_the_centre_of_most_mass() -> None:
    parts = Mixture(
        np.array([0.15, 0.3, 0.2, 0.35]), np.zeros((4, SIZE)), np.zeros((4, SIZE, SIZE))
    )
    parts.mean[:, 0] = [4.9, 0.0, 5.1, 0.0]
    parts.mean[:, YAW] = np.radians([-173.0, 173.0, 173.0, 157.0])
    np.testing.assert_array_equal(best_members(parts), [True, True, True, False])
    assert are_near(parts[[0]], parts[[1]]) and not are_near(parts[[1]], parts[[2]])
    assert not are_near(parts[[1]], parts[[3]])
    cluster = best_cluster(parts)
    assert len(cluster) == 1 and cluster.weight[0] == pytest.approx(0.65)
    assert len(best_cluster(Mixture.empty())) == 0
