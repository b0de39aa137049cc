"""Losses of eq. 11 and 12 on cases worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from scmpr_ros.semantics import class_id
from scmpr_ros.training.losses import (
    ambiguous_pairs,
    contrastive_loss,
    heading_targets,
    segmentation_loss,
    semantic_consistency_loss,
)

HEADINGS = torch.arange(12) * (2 * math.pi / 12)
NONE = torch.zeros(2, 2, 12, dtype=torch.bool)


def test_targets_share_between_the_two_nearest_windows() -> None:
    yaw = torch.tensor([0.0, math.radians(10), math.radians(-5)])
    target = heading_targets(yaw, HEADINGS)
    torch.testing.assert_close(target.sum(1), torch.ones(3))
    torch.testing.assert_close(target[0, 0], torch.tensor(1.0))
    torch.testing.assert_close(target[1, :2], torch.tensor([2 / 3, 1 / 3]))
    torch.testing.assert_close(target[2, [0, 11]], torch.tensor([5 / 6, 1 / 6]))


def orthogonal_places() -> torch.Tensor:
    return torch.eye(24).view(2, 12, 24)


def test_perfect_descriptors_cost_nothing_and_random_ones_the_logarithm() -> None:
    places = orthogonal_places()
    target = heading_targets(torch.tensor([0.0, math.pi / 2]), HEADINGS)
    images = torch.stack([places[0, 0], places[1, 3]])
    sure = contrastive_loss(images, places, target, NONE, torch.tensor(100.0))
    assert sure < 1e-4
    nothing = contrastive_loss(torch.zeros(2, 24), places, target, NONE, torch.tensor(1.0))
    assert nothing == pytest.approx((math.log(24) + math.log(2)) / 2)


def test_ambiguous_pairs_are_neither_right_nor_wrong() -> None:
    places = orthogonal_places()
    target = heading_targets(torch.tensor([0.0, 0.0]), HEADINGS)
    images = torch.stack([places[1, 0], places[1, 0]])  # the first looks like its neighbour
    wrong = contrastive_loss(images, places, target, NONE, torch.tensor(50.0))
    ambiguous = NONE.clone()
    ambiguous[:, :, 0] = True
    excused = contrastive_loss(images, places, target, ambiguous, torch.tensor(50.0))
    assert wrong > 10 and excused < wrong / 5


def test_ambiguity_needs_the_same_town_nearness_and_heading() -> None:
    at = torch.tensor([[0.0, 0, 0], [4.0, 0, 0], [0.0, 0, 0]])
    town = torch.tensor([0, 0, 1])
    found = ambiguous_pairs(at, at, torch.zeros(3), HEADINGS, town, 5.0, math.radians(20))
    assert found[0, 1, 0] and found[1, 0, 0] and found[0, 0, 0]
    assert not found[0, 2].any()  # another town
    assert not found[0, 1, 1]  # 30 degrees away
    far = ambiguous_pairs(at, at * 2, torch.zeros(3), HEADINGS, town, 5.0, math.radians(20))
    assert not far[0, 1].any()


def test_consistent_classes_cost_nothing_and_opposite_ones_two() -> None:
    road, wall = class_id("road"), class_id("building")
    label = torch.full((1, 4, 8), road)
    label[:, :, 4:] = wall
    features = torch.randn(1, 6, 4, 8)
    window = torch.ones(1, 8)
    same = semantic_consistency_loss(features, label, features, label, window)
    opposite = semantic_consistency_loss(features, label, -features, label, window)
    assert same == pytest.approx(0, abs=1e-5) and opposite == pytest.approx(2, abs=1e-5)
    only_road = torch.tensor([[1.0, 1, 1, 1, 0, 0, 0, 0]])
    changed = features.clone()
    changed[..., 4:] *= -1  # what lies outside the window must not matter
    assert semantic_consistency_loss(features, label, changed, label, only_road) < 1e-5


def test_unlabelled_pixels_teach_nothing() -> None:
    logits = torch.randn(1, 15, 2, 3, requires_grad=True)
    label = torch.tensor([[[1, 0, 3], [0, 0, 5]]])
    segmentation_loss(logits, label).backward()
    assert logits.grad is not None
    assert logits.grad[..., 0, 1].abs().sum() == 0 and logits.grad[..., 0, 0].abs().sum() > 0
    assert segmentation_loss(logits, torch.zeros(1, 2, 3)) == 0
