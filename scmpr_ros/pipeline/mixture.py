"""Mixtures of Gaussians over a pose in the plane and its speed, all components at once."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from scmpr_ros.geometry import wrap_angle

Array = NDArray[np.float64]

X, Y, YAW, SPEED = range(4)
POSE = slice(0, 3)

NEAR_M, NEAR_RAD = 5.0, math.radians(15.0)
"""A pose is right if it lies within these of the true one."""

_CENTRES = 30
"""Most probable components that may be the centre of a cluster."""


@dataclass(frozen=True)
class Mixture:
    """N Gaussians over x, y (metres), yaw (radians) and speed (m/s).

    weight: (N,). mean: (N, 4). covariance: (N, 4, 4).
    """

    weight: Array
    mean: Array
    covariance: Array

    @classmethod
    def empty(cls) -> Mixture:
        """No component."""
        return cls(np.zeros(0), np.zeros((0, 4)), np.zeros((0, 4, 4)))

    def __len__(self) -> int:
        return len(self.weight)

    def __getitem__(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> Mixture:
        return Mixture(self.weight[rows], self.mean[rows], self.covariance[rows])

    def __add__(self, other: Mixture) -> Mixture:
        return Mixture(
            np.concatenate([self.weight, other.weight]), np.concatenate([self.mean, other.mean]),
            np.concatenate([self.covariance, other.covariance]),
        )  # fmt: skip

    def scaled(self, factor: Array | float) -> Mixture:
        """Multiply the weights."""
        return replace(self, weight=self.weight * factor)

    def merged(self, group: NDArray[np.integer]) -> Mixture:
        """One component for each group (N,), of the same mass, mean and covariance.

        Yaws of a group must lie within half a turn of each other.
        """
        _, first, member = np.unique(group, return_index=True, return_inverse=True)
        N, groups = len(self), len(first)
        gather = csr_matrix((self.weight, (member.ravel(), np.arange(N))), (groups, N))
        weight = np.asarray(gather.sum(1)).ravel()
        share = gather.multiply(1 / np.maximum(weight, 1e-300)[:, None]).tocsr()
        mean = self.mean.copy()
        reference = mean[first, YAW][member.ravel()]
        mean[:, YAW] = reference + wrap_angle(mean[:, YAW] - reference)
        centre = share @ mean
        offset = mean - centre[member.ravel()]
        second = self.covariance + offset[:, :, None] * offset[:, None, :]
        covariance = (share @ second.reshape(N, 16)).reshape(groups, 4, 4)
        centre[:, YAW] = wrap_angle(centre[:, YAW])
        return Mixture(weight, centre, covariance)


def condition(prior: Mixture, target: Array, kernel: Array) -> tuple[Array, Mixture]:
    """Multiply Gaussians by kernels at targets (N, 3) of x, y, yaw with variances (3,).

    Returns the integral of each product, up to a common factor, and the normalised products.
    """
    result = kalman(prior, target, np.diag(kernel))
    return np.exp(-0.5 * result.distance2) / np.sqrt(result.determinant), result.mixture


@dataclass(frozen=True)
class Correction:
    """Result of `kalman`: the mixture, and squared Mahalanobis distance and determinant (N,)."""

    mixture: Mixture
    distance2: Array
    determinant: Array


def kalman(prior: Mixture, target: Array, covariance: Array) -> Correction:
    """Kalman update of every component with its own measurement of x, y and yaw."""
    innovation = target - prior.mean[:, POSE]
    innovation[:, YAW] = wrap_angle(innovation[:, YAW])
    S = prior.covariance[:, POSE, POSE] + covariance
    inverse = np.linalg.inv(S)
    gain = prior.covariance[:, :, POSE] @ inverse
    mean = prior.mean + (gain @ innovation[:, :, None])[:, :, 0]
    mean[:, YAW] = wrap_angle(mean[:, YAW])
    posterior = prior.covariance - gain @ prior.covariance[:, POSE, :]
    distance2 = np.einsum("ni,nij,nj->n", innovation, inverse, innovation)
    return Correction(Mixture(prior.weight, mean, posterior), distance2, np.linalg.det(S))


def neighbourhoods(mixture: Mixture) -> NDArray[np.bool_]:
    """Which components (N, N) lie near each of the most probable ones, (few, N)."""
    centres = mixture.mean[np.argsort(-mixture.weight, kind="stable")[:_CENTRES]]
    offset = mixture.mean[:, :2] - centres[:, None, :2]
    turned = np.abs(wrap_angle(mixture.mean[:, YAW] - centres[:, None, YAW]))
    return (np.hypot(offset[..., 0], offset[..., 1]) <= NEAR_M) & (turned <= NEAR_RAD)


def measure_yaw(mixture: Mixture, yaw_rad: Array, variance: Array) -> Mixture:
    """Kalman update of each component's yaw; an infinite variance leaves it as it is."""
    gain = mixture.covariance[:, :, YAW] / (mixture.covariance[:, YAW, YAW] + variance)[:, None]
    innovation = wrap_angle(yaw_rad - mixture.mean[:, YAW])
    mean = mixture.mean + gain * innovation[:, None]
    covariance = mixture.covariance - gain[:, :, None] * mixture.covariance[:, None, YAW, :]
    return Mixture(mixture.weight, mean, covariance)
