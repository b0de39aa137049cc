"""(LC)2's descriptors equal its formulas, written out; its losses those worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy_layers import (
    Array,
    gem,
    netvlad_of_image,
    netvlad_of_window,
    resize_nearest,
    unit,
    values,
)
from torch import nn
from window_methods import (
    PANORAMA,
    VIEW,
    describe_window,
    expected_ranges,
    random_pairs,
    random_panoramas,
    random_prediction,
    random_view,
    ranges_in_view,
    small_network,
    tower_features,
)

from scmpr_ros.errors import ConfigError
from scmpr_ros.methods.lc2 import METHOD, Lc2ObjectiveConfig
from scmpr_ros.methods.lc2.objective import overlap_loss
from scmpr_ros.methods.lc2.overlap import sector_overlap
from scmpr_ros.methods.views import PlaceView

SIZE = (VIEW.height, VIEW.width)
FOV = math.radians(80)


def features_of(tower: nn.Module, grey: Array) -> Array:
    return tower_features(tower, resize_nearest(grey, SIZE)[None])


@torch.no_grad()
def test_image_descriptor_equals_the_formula() -> None:
    """Disparity is 1 / range, from that of 50 m, which is black, to that of 2 m, which is white."""
    network, view = small_network("lc2"), random_view(2)
    prediction = random_prediction(2, network)
    found = network.describe_image(prediction, view.seen, torch.zeros(0, 0))[1]
    range_m = expected_ranges(prediction.range_logits[1], view.seen[1], network.ranges.edges_m)
    disparity = np.array([[1 / max(r, 2.0) if r else 0.02 for r in row] for row in range_m])
    grey = np.maximum((disparity - 0.02) / (0.5 - 0.02), 0)
    expected = netvlad_of_image(network.netvlad, features_of(network.disparity_tower, grey))
    np.testing.assert_allclose(values(found), expected, atol=1e-5)


def test_disparities_by_hand() -> None:
    """1/4 is 23/48 of the way from 1/50 to 1/2; what is nearer than 2 m is no whiter."""
    range_m = torch.zeros(1, 8, 16)
    range_m[0, 0, :6] = torch.tensor([1.0, 2.0, 4.0, 25.0, 50.0, 80.0])
    grey = small_network("lc2").disparity_image(range_m)
    assert grey.shape == (1, 1, *SIZE)
    levels = [1, 1, 0.23 / 0.48, 0.02 / 0.48, 0, 0, 0]
    assert grey[0, 0, 3, :28:4].tolist() == pytest.approx(levels, abs=1e-6)


@pytest.mark.parametrize("heading", [0, 3])
def test_window_descriptor_equals_the_formula(heading: int) -> None:
    network, panoramas = small_network("lc2"), random_panoramas(2)
    found = describe_window(network, panoramas, heading)
    grey = np.minimum(ranges_in_view(panoramas, heading), 50.0) / 50.0
    expected = netvlad_of_window(network.netvlad, features_of(network.range_tower, grey))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@torch.no_grad()
def test_scale_of_depth_is_uncertain_in_training_only() -> None:
    """One factor for each image, from 0.8 to 1.2."""
    network, ranges = small_network("lc2"), []
    network.disparity_image = lambda range_m: ranges.append(range_m) or torch.zeros(1, 1, *SIZE)
    prediction, seen = random_prediction(60, network), torch.ones(8, 16, dtype=torch.bool)
    for training in (False, False, True, True):
        network.train(training).image_features(prediction, seen)
    certain, again, *noisy = ranges
    assert certain.equal(again) and not noisy[0].equal(noisy[1])
    for range_m in noisy:
        assert (range_m > 0).equal(certain > 0)
        factors = [(x / y)[y > 0] for x, y in zip(range_m, certain, strict=True)]
        for factor in factors:
            torch.testing.assert_close(factor, factor[:1].expand_as(factor))
        of_images = torch.stack([factor[0] for factor in factors])
        assert 0.8 <= of_images.min() < 0.87 and 1.13 < of_images.max() <= 1.2


def overlap_of(x: float, yaw_deg: float, other_x: float, other_yaw_deg: float) -> float:
    at, other = torch.tensor([[x, 5.0, 1.0]]), torch.tensor([[other_x, 5.0, 9.0]])
    yaw, other_yaw = (torch.tensor([math.radians(deg)]) for deg in (yaw_deg, other_yaw_deg))
    return float(sector_overlap(at, yaw, other, other_yaw, FOV, 50.0))


def test_overlap_of_sectors_by_hand() -> None:
    assert overlap_of(3.0, 170.0, 3.0, -190.0) == 1  # the same, on both sides of a half turn
    assert overlap_of(3.0, 0.0, 3.0, 180.0) == 0  # back to back
    assert overlap_of(3.0, 0.0, 3.0, 80.0) == 0  # side by side
    for turned in (40.0, -40.0):  # half of each is half of 3/2 in the union
        assert overlap_of(3.0, 160.0, 3.0, 160.0 + turned) == pytest.approx(1 / 3)
    assert overlap_of(0.0, 0.0, 49.0, 0.0) < 0.01 < overlap_of(0.0, 0.0, 20.0, 0.0) < 0.6
    assert overlap_of(0.0, 0.0, 20.0, 180.0) > 0.05 and overlap_of(0.0, 180.0, 20.0, 0.0) == 0


def test_overlap_is_nearly_symmetric_and_pairs_are_in_order() -> None:
    torch.manual_seed(0)
    at, yaw = 20 * torch.rand(12, 3), 2 * torch.rand(12)
    overlap = sector_overlap(at, yaw, at, yaw, FOV, 50.0)
    torch.testing.assert_close(overlap, overlap.T, atol=0.06, rtol=0)
    torch.testing.assert_close(overlap.diagonal(), torch.ones(12))
    part = sector_overlap(at[3:4], yaw[3:4], at[5:7], yaw[5:7], FOV, 50.0)
    torch.testing.assert_close(part, overlap[3:4, 5:7])


def test_loss_of_overlap_by_hand() -> None:
    """The own window half overlaps and is opposite, the others are at distance sqrt(2) or 0."""
    queries = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    windows = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
    overlap = torch.tensor([[0.5, 0.0], [0.0, 0.0]])
    # d: 2, 0 | sqrt(2), sqrt(2); margin 1.5
    own = 0.5 * 4 + 0.5 * 0
    near = 1.5 - math.sqrt(2)
    others = (1.5**2 + near**2 + near**2) / 3
    found = overlap_loss(queries, windows, overlap, 1.5)
    assert float(found) == pytest.approx((own + others) / 2 / 2, abs=2e-3)
    apart = overlap_loss(queries, windows, torch.zeros(2, 2), 1.5)
    assert float(apart) == pytest.approx((1.5**2 + 3 * 0 + 2 * near**2) / 4 / 2, abs=2e-3)


def test_views_that_overlap_are_drawn_together() -> None:
    queries = torch.tensor([[1.0, 0.0]])
    windows = torch.tensor([[0.6, 0.8]], requires_grad=True)
    for overlap, sign in ((1.0, -1), (0.0, 1)):
        (slope,) = torch.autograd.grad(
            overlap_loss(queries, windows, torch.tensor([[overlap]]), 1.0), windows
        )
        assert sign * float(slope[0, 0]) > 0  # downhill is towards the query, or away from it


@pytest.mark.parametrize(("task", "idle"), [("overlap", "netvlad"), ("place", "gem")])
def test_each_phase_learns_its_own_pooling(task: str, idle: str) -> None:
    """What reads the image is frozen, as in training."""
    network = small_network("lc2").train()
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not network.is_perception_weight(name))
    objective = METHOD.objective(network, Lc2ObjectiveConfig(triplet_margin=2.0), task)
    objective.total(objective.losses(random_pairs(4))).backward()
    learning = {
        name.partition(".")[0] for name, x in network.named_parameters()
        if x.grad is not None and x.grad.abs().sum() > 0
    }  # fmt: skip
    assert learning == {"disparity_tower", "range_tower", "gem", "netvlad"} - {idle}


@torch.no_grad()
def test_overlap_phase_equals_its_formula() -> None:
    """Windows are turned away at random; how they overlap is known in the world of the images."""
    network, draw = small_network("lc2"), torch.Generator().manual_seed(7)
    objective = METHOD.objective(network, Lc2ObjectiveConfig(distance_margin=1.2), "overlap")
    batch = replace(
        random_pairs(3, spacing_m=4.0), turned_rad=torch.tensor([0.0, 1.0, 2.0]),
        yaw_rad=torch.tensor([0.1, 0.4, 0.2]), recording=torch.tensor([0, 0, 1]),
        view_position=torch.tensor([[0.0, 15.0, 0.0], [4.0, 20.0, 0.0], [8.0, 0.0, 0.0]]),
    )  # fmt: skip
    torch.manual_seed(7)
    found = float(objective.losses(batch)["overlap"])

    offset_rad = (2 * torch.rand(3, generator=draw) - 1) * FOV
    looking = batch.yaw_rad + batch.turned_rad + offset_rad
    window = PlaceView.of(batch.panorama, PANORAMA).window(looking, FOV)
    maps = (
        network.image_features(network.predict(batch.view), batch.seen),
        network.window_features(window),
    )
    queries, windows = (
        [unit(gem(network.gem, list(values(x).reshape(len(x), -1).T))) for x in features]
        for features in maps
    )
    overlap = sector_overlap(
        batch.view_position, batch.yaw_rad, batch.place_position, batch.yaw_rad + offset_rad,
        FOV, 50.0,
    )  # fmt: skip
    some, none = [], []
    for i, j in np.ndindex(3, 3):
        psi = float(overlap[i, j]) if (i == 2) == (j == 2) else 0.0
        d = float(np.linalg.norm(queries[i] - windows[j]))
        loss = psi * d**2 / 2 + (1 - psi) * max(1.2 - d, 0) ** 2 / 2
        (some if psi > 0 else none).append(loss)
    assert len(some) >= 3 and float(overlap[2, 0]) > 0
    assert found == pytest.approx((np.mean(some) + np.mean(none)) / 2, abs=2e-3)


@pytest.mark.parametrize("margin", [0.0, 2.5])
def test_margins_no_vectors_can_keep_are_refused(margin: float) -> None:
    with pytest.raises(ConfigError, match="distance_margin must lie in"):
        Lc2ObjectiveConfig(distance_margin=margin)
