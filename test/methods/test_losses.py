"""Losses of eq. 11 and 12 on cases worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from scmpr_ros.methods.contrast import (
    Viewpoints,
    ambiguous_pairs,
    contrastive_loss,
    cosines,
    heading_targets,
    triplet_loss,
)
from scmpr_ros.methods.scmpr.losses import (
    alignment_loss,
    depth_loss,
    segmentation_loss,
    semantic_consistency_loss,
)
from scmpr_ros.networks.depth import DepthConfig, one_hot_ranges, range_ids

HEADINGS = torch.arange(12) * (2 * math.pi / 12)
NONE = torch.zeros(2, 2, 12, dtype=torch.bool)
FORGOTTEN = torch.zeros(2, 0)


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
    right = cosines(torch.stack([places[0, 0], places[1, 3]]), places)
    assert contrastive_loss(right, target, NONE, torch.tensor(100.0), FORGOTTEN) < 1e-4
    nothing = torch.zeros(2, 2, 12)
    blind = contrastive_loss(nothing, target, NONE, torch.tensor(1.0), FORGOTTEN)
    assert blind == pytest.approx((math.log(24) + math.log(2)) / 2)
    memory = torch.zeros(2, 76)  # further wrong answers, in one direction
    blind = contrastive_loss(nothing, target, NONE, torch.tensor(1.0), memory)
    assert blind == pytest.approx((math.log(100) + math.log(2)) / 2)


def test_cosines_keep_their_digits_in_mixed_precision() -> None:
    generator = torch.Generator().manual_seed(0)
    descriptors = functional.normalize(torch.randn(4, 64, generator=generator), dim=-1)
    windows = functional.normalize(torch.randn(3, 5, 64, generator=generator), dim=-1)
    exact = (descriptors[:, None, None] * windows).sum(-1)
    with torch.autocast("cpu", torch.bfloat16):
        told = cosines(descriptors, windows)
    torch.testing.assert_close(told, exact, atol=1e-6, rtol=0)


def test_ambiguous_pairs_are_neither_right_nor_wrong() -> None:
    places = orthogonal_places()
    target = heading_targets(torch.tensor([0.0, 0.0]), HEADINGS)
    # The first looks like its neighbour.
    like_other = cosines(torch.stack([places[1, 0], places[1, 0]]), places)
    ambiguous = NONE.clone()
    ambiguous[:, :, 0] = True
    wrong, excused = (
        contrastive_loss(like_other, target, near, torch.tensor(50.0), FORGOTTEN)
        for near in (NONE, ambiguous)
    )
    assert wrong > 10 and excused < wrong / 5
    wrong, excused = (
        triplet_loss(like_other, target, near, 0.3, FORGOTTEN) for near in (NONE, ambiguous)
    )
    assert excused < wrong


def test_triplets_take_the_hardest_negative_of_batch_and_memory() -> None:
    target = heading_targets(torch.tensor([0.0, math.pi / 2]), HEADINGS)
    similarity = torch.zeros(2, 2, 12)
    similarity[0, 0, 0] = similarity[1, 1, 3] = 0.9  # both right
    similarity[0, 1, 7] = 0.8  # a wrong window, a tenth below: within the margin
    loss = triplet_loss(similarity, target, NONE, 0.3, FORGOTTEN)
    assert loss == pytest.approx(0.2 / 4)
    memory = torch.tensor([[0.85], [0.1]])
    assert triplet_loss(similarity, target, NONE, 0.3, memory) == pytest.approx(0.25 / 4)


def test_ambiguity_needs_the_same_town_nearness_and_heading() -> None:
    at = torch.tensor([[0.0, 0, 0], [4.0, 0, 0], [0.0, 0, 0]])
    recording, ahead, angle = torch.tensor([0, 0, 1]), torch.zeros(3), math.radians(20)
    images = places = Viewpoints(at, recording, ahead)
    found = ambiguous_pairs(images, places, HEADINGS, 5.0, angle)
    assert found[0, 1, 0] and found[1, 0, 0] and found[0, 0, 0]
    assert not found[0, 2].any()  # another recording
    assert not found[0, 1, 1]  # 30 degrees away
    far = ambiguous_pairs(images, Viewpoints(at * 2, recording, ahead), HEADINGS, 5.0, angle)
    assert not far[0, 1].any()


def test_a_place_whose_world_was_turned_is_ambiguous_where_it_was_turned_to() -> None:
    at, recording = torch.zeros(2, 3), torch.zeros(2, dtype=torch.long)
    turned = Viewpoints(at, recording, torch.tensor([0.0, math.radians(90)]))
    images = Viewpoints(at, recording, torch.tensor([0.0, math.radians(-30)]))
    found = ambiguous_pairs(images, turned, HEADINGS, 5.0, math.radians(10))
    windows = [[row.nonzero().flatten().tolist() for row in image] for image in found]
    assert windows == [[[0], [3]], [[11], [2]]]


def test_consistent_classes_cost_nothing_and_opposite_ones_two() -> None:
    sums, weight = torch.randn(3, 4, 6), torch.full((3, 4), 9.0)
    same = semantic_consistency_loss(sums, weight, 2 * sums, 2 * weight)
    opposite = semantic_consistency_loss(sums, weight, -sums, weight)
    assert same == pytest.approx(0, abs=1e-5) and opposite == pytest.approx(2, abs=1e-5)
    changed, unseen = sums.clone(), weight.clone()
    changed[:, 1], unseen[:, 1] = -sums[:, 1], 0  # what one side does not see must not matter
    assert semantic_consistency_loss(sums, weight, changed, unseen) < 1e-5


def test_depth_is_the_range_in_which_the_map_has_its_return() -> None:
    config = DepthConfig((1.0, 5.0, 20.0))
    depth = torch.tensor([[[3.0, 5.0, 0.0, 30.0, 0.4]]])
    ids = range_ids(depth, config)
    assert ids.tolist() == [[[0, 1, 2, 2, 2]]]  # the last is: nothing in reach
    shares = one_hot_ranges(depth, config)
    assert shares[0, :, 0].T.tolist() == [[1, 0], [0, 1], [0, 0], [0, 0], [0, 0]]
    seen = torch.tensor([[[True, True, True, True, False]]])
    sure = 50 * functional.one_hot(ids, 3).permute(0, 3, 1, 2).float()
    assert depth_loss(sure, depth, seen, config) < 1e-6
    assert depth_loss(0 * sure, depth, seen, config) == pytest.approx(math.log(3))
    sure[..., 4] *= -1  # wrong where nobody looks
    assert depth_loss(sure, depth, seen, config) < 1e-6


def test_alignment_is_lost_by_strangers_and_not_by_neighbours() -> None:
    pixels = torch.eye(3)
    where = torch.tensor([[0.0, 0, 0, 0], [0.0, 1, 0, 0], [1.0, 0, 0, 0]])
    scale = torch.tensor(50.0)
    assert alignment_loss(pixels, pixels, where, scale) < 1e-4
    swapped = alignment_loss(pixels[[1, 0, 2]], pixels, where, scale)
    apart = alignment_loss(pixels[[1, 0, 2]], pixels, where * 10, scale)
    assert swapped < 2 < 20 < apart  # a metre from each other in one recording, or ten


def test_unlabelled_pixels_teach_nothing() -> None:
    logits = torch.randn(1, 15, 2, 3, requires_grad=True)
    label = torch.tensor([[[1, 0, 3], [0, 0, 5]]])
    segmentation_loss(logits, label).backward()
    assert logits.grad is not None
    assert logits.grad[..., 0, 1].abs().sum() == 0 and logits.grad[..., 0, 0].abs().sum() > 0
    assert segmentation_loss(logits, torch.zeros(1, 2, 3)) == 0
