"""Mixtures of Gaussians over a pose in the plane and its motion, all components at once."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from scmpr_ros.geometry import wrap_angle

Array = NDArray[np.float64]

X, Y, YAW, SPEED, TURN, SCALE = range(6)
SIZE = 6
POSE = slice(0, 3)

NEAR_M, NEAR_DEG = 5.0, 15.0
NEAR_RAD = math.radians(NEAR_DEG)
"""A pose is right if it lies within these of the true one."""

_CENTRES = 30
"""Most probable components that may be the centre of a cluster."""


@dataclass(frozen=True)
class Mixture:
    """N Gaussians over pose and motion.

    Of x, y (metres), yaw (radians), speed (m/s), turn rate (rad/s), and true metres per metre of
    odometry.

    weight: (N,). mean: (N, 6). covariance: (N, 6, 6).
    """

    weight: Array
    mean: Array
    covariance: Array

    @classmethod
    def empty(cls) -> Mixture:
        """No component."""
        return cls(np.zeros(0), np.zeros((0, SIZE)), np.zeros((0, SIZE, SIZE)))

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
        covariance = (share @ second.reshape(N, SIZE**2)).reshape(groups, SIZE, SIZE)
        centre[:, YAW] = wrap_angle(centre[:, YAW])
        return Mixture(weight, centre, covariance)

    def whole(self) -> Mixture:
        """All components merged to one; at least one."""
        return self.merged(np.zeros(len(self), np.int64))


def condition(
    prior: Mixture, component: NDArray[np.int64], target: Array, kernel: Array
) -> tuple[Array, Mixture]:  # fmt: skip
    """Multiply Gaussians by kernels: a sum of kernels turns each into several.

    Args:
        component: (M,) index of the Gaussian of each product.
        target: (M, 3) x, y and yaw of the kernel's centre.
        kernel: (3,) variances of every kernel.

    Returns the integrals (M,), up to a common factor, and the normalised products, with the weights
    of their Gaussians.
    """
    gain, inverse, posterior = _gains(prior, np.diag(kernel))
    innovation = target - prior.mean[component, POSE]
    innovation[:, YAW] = wrap_angle(innovation[:, YAW])
    distance2 = np.einsum("mi,mij,mj->m", innovation, inverse[component], innovation)
    mean = prior.mean[component] + np.einsum("mij,mj->mi", gain[component], innovation)
    integral = np.exp(-0.5 * distance2) * np.sqrt(np.linalg.det(inverse))[component]
    return integral, Mixture(prior.weight[component], mean, posterior[component])


def correct(prior: Mixture, pose: Array, covariance: Array, gate: float) -> Mixture:
    """Kalman update of the components within `gate` standard deviations of a measured pose.

    pose: (3,) x, y and yaw. covariance: (3, 3).
    """
    gain, inverse, posterior = _gains(prior, covariance)
    innovation = pose - prior.mean[:, POSE]
    innovation[:, YAW] = wrap_angle(innovation[:, YAW])
    distance2 = np.einsum("ni,nij,nj->n", innovation, inverse, innovation)
    mean = prior.mean + np.einsum("nij,nj->ni", gain, innovation)
    near = distance2 <= gate**2
    return Mixture(
        prior.weight, np.where(near[:, None], mean, prior.mean),
        np.where(near[:, None, None], posterior, prior.covariance),
    )  # fmt: skip


def _gains(prior: Mixture, covariance: Array) -> tuple[Array, Array, Array]:
    """Gains (N, 6, 3), inverse innovation and posterior covariances (N, 3, 3) and (N, 6, 6)."""
    inverse = np.asarray(np.linalg.inv(prior.covariance[:, POSE, POSE] + covariance), np.float64)
    gain = prior.covariance[:, :, POSE] @ inverse
    return gain, inverse, prior.covariance - gain @ prior.covariance[:, POSE, :]


def best_members(mixture: Mixture) -> NDArray[np.bool_]:
    """Which components (N,) lie near the one that most mass lies near; at least one of N > 0."""
    centres = mixture.mean[np.argsort(-mixture.weight, kind="stable")[:_CENTRES]]
    near = agree(mixture.mean, centres[:, None])
    return np.asarray(near[int((near @ mixture.weight).argmax())])


def best_cluster(mixture: Mixture) -> Mixture:
    """The components of `best_members` merged to one; empty if there is none."""
    return mixture[best_members(mixture)].whole() if len(mixture) else mixture


def are_near(one: Mixture, other: Mixture) -> bool:
    """Whether the means of two single components agree on where the camera is."""
    return bool(agree(one.mean[0], other.mean[0]))


def agree(poses: Array, centre: Array) -> NDArray[np.bool_]:
    """Which poses lie within 5 m and 15 deg of a centre; both begin with x, y and yaw (..., 3)."""
    offset = poses[..., :2] - centre[..., :2]
    turned = np.abs(wrap_angle(poses[..., YAW] - centre[..., YAW]))
    return np.asarray((np.hypot(offset[..., 0], offset[..., 1]) <= NEAR_M) & (turned <= NEAR_RAD))


def correct_yaw(mixture: Mixture, yaw_rad: Array, variance: Array) -> Mixture:
    """Kalman update of each component's yaw; an infinite variance leaves it as it is."""
    gain = mixture.covariance[:, :, YAW] / (mixture.covariance[:, YAW, YAW] + variance)[:, None]
    innovation = wrap_angle(yaw_rad - mixture.mean[:, YAW])
    mean = mixture.mean + gain * innovation[:, None]
    covariance = mixture.covariance - gain[:, :, None] * mixture.covariance[:, None, YAW, :]
    return Mixture(mixture.weight, mean, covariance)
