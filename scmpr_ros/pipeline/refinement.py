"""A pose known to a metre or two, polished by what the map shows around it.

The map is rendered at positions all around the pose, see `parallax`, and each position and heading
is scored by the evidence of the predicted classes and ranges, see `evidence`. With the window, a
Gaussian about the given pose, the evidence makes a distribution. Its mean and covariance without
the window's share are the measurement: a filter that multiplies it by what it knew gets back the
distribution, and where the evidence says nothing, as along a straight wall, the covariance is large
and not the window's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from scmpr_ros.errors import ConfigError
from scmpr_ros.geometry import AngularGrid, body_axes
from scmpr_ros.methods.network import PerceivingNetwork
from scmpr_ros.networks.depth import range_ids
from scmpr_ros.pipeline.localizer import Localizer, Observation
from scmpr_ros.retrieval.parallax import ParallaxRenderer
from scmpr_ros.stages import stage

Array = NDArray[np.float64]

_RANGE_STEP_M = 0.1  # of the table from ranges to their ids
_WINDOW_SIGMAS = 2.0  # that the positions reach to either side
_LEAST_INFORMATION = 0.05  # of a direction, in parts of the window's


@dataclass(frozen=True)
class RefinementConfig:
    """How a tracked pose is polished, see `Refiner`."""

    enabled: bool = True
    """Refine tracked poses; needs a method that predicts masks."""
    temperature: float = 40.0
    """Nats of evidence that count as one. Neighbouring cells share their mistakes."""
    range_weight: float = 0.15
    """Weight of the ranges beside the classes in the evidence; 0 leaves them out."""
    outlier_probability: float = 0.05
    """Probability that image and map are unrelated in a cell."""
    positions: int = 7
    """Positions along each axis of the window."""
    places: int = 2
    """Nearest places whose panoramas are used. Each gives every other row, so that the errors of
    one panorama do not move the whole view."""
    max_place_distance_m: float = 3.0
    """Poses further than this from every place are not refined."""
    min_window_m: float = 0.7
    """Least standard deviation of the window, whatever the pose's covariance."""
    max_window_m: float = 1.2
    """Greatest standard deviation of the window."""
    window_deg: float = 3.0
    """Standard deviation of the window in heading."""
    inflation: float = 10.0
    """By how much the covariance is larger than that of one image by itself. Images a metre apart
    share most of their mistakes, but a filter takes them for independent; at 1.5 m, 7 is enough."""
    floor_m: float = 0.15
    """Standard deviation of the errors of map and camera that no evidence shows, each axis."""
    floor_deg: float = 0.3
    """The same of the heading."""
    max_pull: float = 1.3
    """A measurement that moves the pose by more of the window's standard deviations than this in
    any direction is refused: the peak is outside."""

    def __post_init__(self) -> None:
        if not (self.temperature > 0 and self.range_weight >= 0):
            raise ConfigError(
                f"refinement.temperature {self.temperature} must be positive, and range_weight "
                f"{self.range_weight} not negative"
            )
        if not 0 < self.outlier_probability < 1:
            raise ConfigError(
                f"refinement.outlier_probability {self.outlier_probability} is not in (0, 1)"
            )
        if self.positions < 3 or self.places < 1:
            raise ConfigError(
                f"refinement.positions {self.positions} must be at least 3, and places "
                f"{self.places} at least 1"
            )
        if not 0 < self.min_window_m <= self.max_window_m:
            raise ConfigError(
                f"refinement.min_window_m {self.min_window_m} must be positive and not exceed "
                f"max_window_m {self.max_window_m}"
            )
        for name in (
            "max_place_distance_m",
            "window_deg",
            "inflation",
            "floor_m",
            "floor_deg",
            "max_pull",
        ):
            if not getattr(self, name) > 0:
                raise ConfigError(f"refinement.{name} must be positive, got {getattr(self, name)}")


@dataclass(frozen=True)
class PoseMeasurement:
    """What one image says about a pose that is roughly known.

    x_m, y_m: map axes, metres. yaw_rad: of the optical axis in the map's xy plane. covariance:
    (3, 3) of the three.
    """

    x_m: float
    y_m: float
    yaw_rad: float
    covariance: Array

    @property
    def mean(self) -> Array:
        """x, y and yaw, (3,)."""
        return np.array([self.x_m, self.y_m, self.yaw_rad])


class Moments(NamedTuple):
    """Mean (3,) and covariance (3, 3) of forward, left (metres) and yaw (radians)."""

    mean: Array
    covariance: Array


class Refiner:
    """Measures poses in the map of one localizer. Not thread-safe."""

    def __init__(self, localizer: Localizer, config: RefinementConfig | None = None) -> None:
        """Raises ConfigError if the localizer's method predicts no masks."""
        network = localizer.network
        if not isinstance(network, PerceivingNetwork):
            raise ConfigError(
                f"{network.method} predicts no masks: set refinement.enabled to false"
            )
        self.config = config or RefinementConfig()
        self._map, self._device = localizer.place_map, localizer.device
        self._R_level_camera = localizer.R_level_camera
        self._places = localizer.places
        self._statistics = network.statistics
        confusion = torch.from_numpy(np.array(self._map.confusion)).to(self._device)
        self._class_ratios = self._statistics.class_ratios(confusion)
        range_m = torch.arange(0, network.ranges.edges_m[-1] + 1, _RANGE_STEP_M)
        self._range_ids = range_ids(range_m, network.ranges).to(self._device)
        self._grid = localizer.mask_grid
        self._renderer = ParallaxRenderer(
            self._map.grid, self._tensor(self._grid.elevations()), localizer.panoramas
        )

    @torch.inference_mode()
    def measure(
        self, observation: Observation, T_map_camera: Array, covariance: Array
    ) -> PoseMeasurement | None:
        """Measure the pose of an image near a pose.

        Args:
            observation: of the image, with its prediction.
            T_map_camera: (4, 4) optical frame, to within two metres and some degrees.
            covariance: (3, 3) of its x, y (map axes, metres) and yaw; sets the window's size.

        Returns None if no place is near, if the camera sees nothing or nothing that changes inside
        the window, or if the evidence draws the pose out of the window.
        """
        places = self._near(T_map_camera[:2, 3])
        if observation.prediction is None or len(places) == 0 or not observation.seen.any():
            return None
        axes = body_axes(T_map_camera) @ self._R_level_camera.T
        with stage("refinement"):
            window = self._window(axes, covariance)
            offsets = self._offsets(window)
            turns = round(_WINDOW_SIGMAS * window[2] / self._grid.column_rad)
            evidence = self._evidence(observation)
            ids = self._render(places, T_map_camera[:3, 3] + offsets @ axes[:, :2].T, axes, turns)
            score = _score(evidence, ids, turns).cpu().double().numpy()
        yaws = np.arange(-turns, turns + 1) * self._grid.column_rad
        moments = window_moments(score / self.config.temperature, offsets, yaws, window)
        measured = without_window(moments, window, self.config.max_pull)
        return None if measured is None else self._on_map(measured, T_map_camera, axes)

    def _near(self, position: Array) -> NDArray[np.int64]:
        """The places whose panoramas are used, nearest first."""
        count = min(self.config.places, len(self._map))
        distance, place = self._places.query(position, range(1, count + 1))
        return place[distance <= self.config.max_place_distance_m]

    def _window(self, axes: Array, covariance: Array) -> Array:
        """Standard deviations of the window, (3,): forward, left, yaw."""
        along = np.einsum("ia,ij,ja->a", axes[:2, :2], covariance[:2, :2], axes[:2, :2])
        low, high = self.config.min_window_m, self.config.max_window_m
        return np.append(np.sqrt(along).clip(low, high), np.radians(self.config.window_deg))

    def _offsets(self, window: Array) -> Array:
        """Positions (K, 2) of the window, forward and left."""
        steps = np.linspace(-_WINDOW_SIGMAS, _WINDOW_SIGMAS, self.config.positions)
        forward, left = np.meshgrid(steps * window[0], steps * window[1], indexing="ij")
        return np.stack([forward.ravel(), left.ravel()], axis=1)

    def _evidence(self, observation: Observation) -> Tensor:
        """Log-evidence of everything that the map may show in each cell, (cell ids, h, w)."""
        assert observation.prediction is not None
        logits = observation.prediction.range_logits
        table = self._statistics.table(
            observation.prediction.mask_logits[0].float().softmax(0),
            None if logits is None else logits[0].float().softmax(0), self._class_ratios,
            self.config.outlier_probability, self.config.range_weight,
        )  # fmt: skip
        return table * observation.seen

    def _render(
        self, places: NDArray[np.int64], positions: Array, axes: Array, turns: int
    ) -> Tensor:
        """What the map shows from positions (K, 3), as cell ids (K, h, w + 2 turns)."""
        grid = self._grid
        width = grid.width + 2 * turns
        wide = AngularGrid(1, width, 1.0, -1.0, grid.fov_deg * width / grid.width)
        ids = torch.empty(
            len(positions), grid.height, width, dtype=torch.int64, device=self._device
        )
        for first, place in enumerate(places):
            rows = slice(first, None, len(places))
            offsets = self._tensor((positions - self._map.positions[place]) @ self._map.axes[place])
            ahead = self._map.axes[place].T @ axes[:, 0]
            azimuth = self._tensor(wide.azimuths() + np.arctan2(ahead[1], ahead[0]))
            label, range_m = self._renderer.render(int(place), offsets, azimuth, rows)
            step = (range_m / _RANGE_STEP_M).long().clamp_max_(len(self._range_ids) - 1)
            ids[:, rows] = self._statistics.cell_ids(label, self._range_ids.take(step)).long()
        return ids

    def _on_map(self, measured: Moments, T_map_camera: Array, axes: Array) -> PoseMeasurement:
        """From the axes of the given pose to those of the map."""
        jacobian = np.eye(3)
        jacobian[:2, :2] = axes[:2, :2]
        floor = np.array([self.config.floor_m] * 2 + [np.radians(self.config.floor_deg)])
        covariance = self.config.inflation * (measured.covariance + np.diag(floor**2))
        x_m, y_m = T_map_camera[:2, 3] + axes[:2, :2] @ measured.mean[:2]
        forward = T_map_camera[:3, 2]
        yaw_rad = float(np.arctan2(forward[1], forward[0]) + measured.mean[2])
        return PoseMeasurement(float(x_m), float(y_m), yaw_rad, jacobian @ covariance @ jacobian.T)

    def _tensor(self, array: Array) -> Tensor:
        return torch.from_numpy(np.asarray(array, np.float32)).to(self._device)


def _score(evidence: Tensor, ids: Tensor, turns: int) -> Tensor:
    """Evidence for each position and turn to the left by columns, (K, 2 turns + 1).

    evidence: (cell ids, h, w). ids: (K, h, w + 2 turns) that the map shows.
    """
    _, height, width = evidence.shape
    rows = torch.arange(height, device=ids.device)
    entries = (ids * height + rows[:, None]).transpose(1, 2).flatten(0, 1)
    # Of each column of the map in each column of the image.
    columns = functional.embedding_bag(entries, evidence.flatten(0, 1), mode="sum")
    columns = columns.view(len(ids), -1, width)
    turned = range(-turns, turns + 1)
    return torch.stack([columns.diagonal(t - turns, 1, 2).sum(1) for t in turned], dim=1)


def window_moments(score: Array, offsets: Array, yaws: Array, window: Array) -> Moments:
    """Mean and covariance under evidence and window.

    score: (K, Y) nats. offsets: (K, 2). yaws: (Y,). window: (3,) standard deviations.
    """
    points = np.concatenate(
        [np.repeat(offsets, len(yaws), axis=0), np.tile(yaws, len(offsets))[:, None]], axis=1
    )
    nats = score.ravel() - 0.5 * ((points / window) ** 2).sum(1)
    weights = np.exp(nats - nats.max())
    weights /= weights.sum()
    mean = weights @ points
    spread = points - mean
    return Moments(mean, (spread * weights[:, None]).T @ spread)


def without_window(moments: Moments, window: Array, max_pull: float) -> Moments | None:
    """Divide the window out of the moments; None without a peak inside it."""
    mean = moments.mean / window
    if np.abs(mean).max() > max_pull:
        return None
    information, directions = np.linalg.eigh(
        np.linalg.inv(moments.covariance / np.outer(window, window))
    )
    gained = information - 1  # the window's own is 1 in every direction
    if gained.max() < 1:
        return None
    gained = gained.clip(_LEAST_INFORMATION)
    mean = directions @ ((directions.T @ mean) * (1 + gained) / gained)
    covariance = (directions / gained) @ directions.T
    return Moments(mean * window, covariance * np.outer(window, window))
