"""Tracked answers and a place map worked out by hand, for tests of pictures and recordings."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from camera_poses import level_camera_pose
from numpy.typing import NDArray

from scmpr_ros.geometry import AngularGrid
from scmpr_ros.pipeline.states import LOCALIZED, LOST, TENTATIVE
from scmpr_ros.pipeline.tracked_pose import PoseHypothesis, TrackedPose
from scmpr_ros.pipeline.tracking_localizer import TrackedAnswer
from scmpr_ros.records import CameraModel, Candidate, PlaceMatch
from scmpr_ros.retrieval.place_map import PlaceMap
from scmpr_ros.semantics import class_id, label_confusion

ORIGIN = np.array([456_700.0, 5_428_300.0, 100.0])
"""Of the map, as large as UTM coordinates are."""
CAMERA = CameraModel(64, 32, 40.0, 40.0, 31.5, 15.5)
STATES = (LOST, TENTATIVE, LOCALIZED, LOCALIZED)


def walled_street(places: int = 5) -> PlaceMap:
    """Places 5 m apart along x, each amid a ring of building 10 m away above a ring of road."""
    grid = AngularGrid(8, 90, 20, -20)
    labels = np.full((places, 8, 90), class_id("building"), np.uint8)
    labels[:, 4:] = class_id("road")
    positions = ORIGIN + np.stack([5.0 * np.arange(places), *np.zeros((2, places))], axis=1)
    return PlaceMap(
        positions=positions, axes=np.tile(np.eye(3), (places, 1, 1)),
        headings_rad=np.arange(8) * np.pi / 4, descriptors=np.zeros((places, 8, 4), np.float16),
        panorama_labels=labels, panorama_ranges=np.full((places, 8, 90), 10, np.float16),
        confusion=label_confusion(), context=np.zeros((9, 4), np.float32), grid=grid,
        fingerprint="0" * 64,
    )  # fmt: skip


def true_pose(index: int) -> NDArray[np.float64]:
    """The camera drives 5 m an image along x, and looks there."""
    return level_camera_pose(ORIGIN + (5.0 * index, 0.0, 1.6), 0.0)


def tracked_answer(index: int) -> TrackedAnswer:
    """The tracked pose is 1 m to the left of the truth; the single image is 20 m ahead of it.

    The first images are LOST, TENTATIVE, then LOCALIZED.
    """
    tracked, single = true_pose(index), true_pose(index + 4)
    tracked[1, 3] += 1.0
    covariance = np.diag([0.25, 1.0, 0.01, 0.001, 0.001, 0.01])
    probable, other = (
        PoseHypothesis(pose, covariance[np.ix_([0, 1, 5], [0, 1, 5])], probability)
        for pose, probability in ((tracked, 0.81), (single, 0.09))
    )
    state = STATES[min(index, len(STATES) - 1)]
    pose = TrackedPose(
        state, f"image {index}", tracked, covariance, 0.8, 0.1, (probable, other)
    )  # fmt: skip
    mask = np.full((8, 20), class_id("road"), np.uint8)
    match = PlaceMatch((Candidate(0, 0, single, 1.0, 0.5, 0.5, 0.4),), mask)
    return TrackedAnswer(SimpleNamespace(), match, pose)  # pictures need no evidence
