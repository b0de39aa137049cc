"""Place maps on a lattice and cameras in them, for tests of the tracker.

What a viewpoint looks like is a smooth random function of its pose, so that neighbours look alike
and others do not, and cosines of descriptors scatter as those of a trained network do. An image is
of one colour, which says where it was taken, and a network reads it: all that lies between image
and pose is real.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scmpr_ros.geometry import AngularGrid
from scmpr_ros.methods.checkpoint import fingerprint
from scmpr_ros.methods.network import PlaceNetwork, PlaceNetworkConfig, Query
from scmpr_ros.methods.views import QueryView
from scmpr_ros.pipeline.localizer import Localizer, LocalizerConfig, Observation, Viewpoints
from scmpr_ros.records import CameraModel
from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.semantics import label_confusion

Array = NDArray[np.float64]

CAMERA = CameraModel(32, 16, 19.0, 19.0, 15.5, 7.5)
OFF_MAP = np.array([100.0, 100.0, 0.0])
"""A pose away from all maps of the tests."""

_STEPS = np.array([0.5, 0.5, 2 * np.pi / 256])
"""Metres and radians of one step of red, green and blue."""


def lattice(width_m: float, height_m: float, spacing_m: float = 2.0) -> Array:
    """Positions (P, 2) of places on a rectangle that begins at the origin."""
    x, y = (np.arange(0.0, side + 1e-6, spacing_m) for side in (width_m, height_m))
    return np.stack([axis.ravel() for axis in np.meshgrid(x, y)], 1)


def place_map(
    xy: Array, headings: int = 30, descriptors: Array | None = None, made_by: str = "0" * 64
) -> PlaceMap:
    """A map without panoramas worth a look. descriptors: (P, V, D)."""
    P = len(xy)
    if descriptors is None:
        descriptors = np.zeros((P, headings, 1))
    grid = AngularGrid(1, 1, 10.0, -10.0)
    return PlaceMap(
        positions=np.column_stack([xy, np.zeros(P)]), axes=np.tile(np.eye(3), (P, 1, 1)),
        headings_rad=np.arange(headings) * 2 * np.pi / headings,
        descriptors=descriptors.astype(np.float16),
        panorama_labels=np.zeros((P, 1, 1), np.uint8),
        panorama_ranges=np.zeros((P, 1, 1), np.float16),
        confusion=label_confusion(), context=np.zeros((0, 0), np.float32), grid=grid,
        fingerprint=made_by,
    )  # fmt: skip


def observation(viewpoints: Viewpoints, yaw_rad: Array, score: Array) -> Observation:
    """An image's evidence for some viewpoints (N,), written by hand."""
    none = np.zeros(len(score))
    return Observation(
        viewpoints.place, viewpoints.heading, yaw_rad, score, none, score, score, 0.0, len(score),
        torch.ones(1, 1, dtype=torch.bool), None,
    )  # fmt: skip


class Scene(PlaceNetwork):
    """What the world looks like, and a network that recognises it.

    appearance: from poses (N, 3) to poses that look the same, where the world repeats itself.
    """

    method = "scene"

    def __init__(self, appearance: Callable[[Array], Array] = np.asarray) -> None:
        super().__init__(PlaceNetworkConfig(view=AngularGrid(32, 64, 12.0, -15.0, 80.0)))
        self._appearance = appearance
        rng = np.random.default_rng(0)
        alike = np.array([1 / 4.0, 1 / 4.0, 2.0, 2.0])  # in 4 m and half a radian
        self._frequencies = rng.normal(size=(4, 96)) * alike[:, None]
        self._phases = rng.uniform(0, 2 * np.pi, 96)

    def descriptors(self, pose: Array) -> Array:
        """Descriptors (N, D), unit length, of poses (N, 3): x, y and yaw."""
        x, y, yaw = np.asarray(self._appearance(pose)).T
        waves = np.stack([x, y, np.cos(yaw), np.sin(yaw)], 1) @ self._frequencies + self._phases
        return np.cos(waves) / np.linalg.norm(np.cos(waves), axis=1, keepdims=True)

    def describe_query(self, view: QueryView, context: Tensor) -> Query:
        """Describe images by the colour of their middle."""
        colour = view.pixels[:, :, view.pixels.shape[2] // 2, view.pixels.shape[3] // 2]
        pose = np.rint(colour.numpy() * 255) * _STEPS
        return Query(torch.from_numpy(self.descriptors(pose)).float())

    def localizer(self, xy: Array, shortlist: int = 100) -> Localizer:
        """Localizer in a map of this scene, with places at xy (P, 2)."""
        yaw = self.headings_rad.numpy().astype(np.float64)
        pose = np.column_stack([np.repeat(xy, len(yaw), 0), np.tile(yaw, len(xy))])
        descriptors = self.descriptors(pose).reshape(len(xy), len(yaw), -1)
        made = place_map(xy, len(yaw), descriptors, fingerprint(self))
        return Localizer(made, self, LocalizerConfig(device="cpu", shortlist=shortlist))


def image(pose: Array) -> NDArray[np.uint8]:
    """Image of a camera at a pose (3,), x and y from 0 to 127 m."""
    wrapped = np.array([pose[0], pose[1], pose[2] % (2 * np.pi)])
    colour = np.rint(wrapped / _STEPS)
    colour[2] %= 256
    return np.tile(colour.astype(np.uint8), (CAMERA.height, CAMERA.width, 1))
