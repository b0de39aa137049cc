"""What the neighbours of voxels were classified as."""

from __future__ import annotations

import numpy as np

from scmpr_ros.lidar.class_context import CONTEXT_FEATURES, REACH_M, class_context
from scmpr_ros.semantics import NUM_CLASSES, class_id

GROUPS = 10
BUILDING, BARRIER, VEGETATION = 3, 4, 5  # groups


def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A fence along y = 0 with a house above it for x > 20, and a hedge 40 m away."""
    rng = np.random.default_rng(0)
    fence = rng.uniform((0, 0, 0), (40, 0.2, 2), (4000, 3))
    house = rng.uniform((20, 0, 2.6), (40, 0.2, 6), (4000, 3))
    hedge = rng.uniform((0, 40, 0), (40, 41, 2), (4000, 3))
    centre = np.concatenate([fence, house, hedge])
    names = np.repeat(["barrier", "building", "vegetation"], 4000)
    probability = np.zeros((len(centre), NUM_CLASSES), np.float32)
    probability[np.arange(len(centre)), [class_id(name) for name in names]] = 1
    return centre, centre[:, 2], probability


def test_the_column_above_and_the_surroundings_are_seen() -> None:
    centre, height_m, probability = scene()
    context = class_context(centre, height_m, probability)
    assert context.shape == (len(centre), CONTEXT_FEATURES)
    fence = np.arange(len(centre)) < 4000
    high = 2 * GROUPS + BUILDING  # the third of the columns
    below_house, beside = fence & (centre[:, 0] > 26), fence & (centre[:, 0] < 14)
    assert context[below_house, high].min() > 0.95 and context[beside, high].max() < 0.05
    near_barrier = context[beside][:, GROUPS + BARRIER]
    assert near_barrier.min() > 0.95
    blocks = context[fence][:, 4 * GROUPS :]
    assert blocks[:, [BARRIER, GROUPS + BARRIER]].min() > 0.2
    assert context[fence][:, VEGETATION::GROUPS].max() < 1e-3  # 40 m away


def test_parts_see_what_the_whole_sees() -> None:
    centre, height_m, probability = scene()
    whole = class_context(centre, height_m, probability)
    near = np.abs(centre[:, 0] - 20.2) < 2 + REACH_M
    part = class_context(centre[near], height_m[near], probability[near])
    inside = np.abs(centre[near, 0] - 20.2) < 2
    assert np.abs(part[inside] - whole[near][inside]).max() < 0.02
