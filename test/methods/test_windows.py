"""Methods that describe a place window by window, whichever they are."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy_layers import values
from torch.nn import functional
from window_methods import (
    HEADINGS,
    PANORAMA,
    VIEW,
    random_pairs,
    random_panoramas,
    random_view,
    ranges_in_view,
    small_network,
    window_methods,
)

from scmpr_ros.methods import windows
from scmpr_ros.methods.views import PlaceView, QueryView
from scmpr_ros.methods.window_objective import WindowObjective, WindowObjectiveConfig

NOTHING = torch.zeros(0, 0)


def test_rivals_are_among_them() -> None:
    assert {"i2p_rec", "lc2", "lip_loc", "modalink", "vxp"} <= set(window_methods())


@torch.no_grad()
@pytest.mark.parametrize("name", window_methods())
def test_descriptors_are_unit_vectors_that_differ(name: str) -> None:
    network = small_network(name)
    window = PlaceView.of(random_panoramas(3), PANORAMA).window(torch.rand(3), VIEW.fov_rad)
    images = network.describe_query(random_view(3), NOTHING).descriptor
    for descriptors in (images, network.describe_window(window)):
        assert descriptors.shape == (3, network.descriptor_dim)
        torch.testing.assert_close(descriptors.norm(dim=1), torch.ones(3))
        assert torch.pdist(descriptors).min() > 0.01


@torch.no_grad()
@pytest.mark.parametrize("name", window_methods())
def test_objectives_describe_as_localizers_and_maps_do(name: str) -> None:
    """Each image, and the window of its place in the nearest heading."""
    network, batch = small_network(name), random_pairs(3)
    objective = WindowObjective(network, WindowObjectiveConfig(), "place")
    found: list[torch.Tensor] = []
    objective.contrast = lambda *parts: found.extend(parts[:2]) or torch.zeros(())
    objective.losses(batch)
    images = network.describe_query(QueryView(batch.view, batch.seen), NOTHING).descriptor
    places = network.describe_place(PlaceView.of(batch.panorama, PANORAMA)).descriptors
    heading = torch.round(batch.yaw_rad / (math.pi / 3)).long() % HEADINGS
    torch.testing.assert_close(found[0], images, atol=1e-5, rtol=0)
    torch.testing.assert_close(found[1], places[torch.arange(3), heading], atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("name", window_methods())
def test_windows_of_a_batch_do_not_mix(name: str) -> None:
    network, panoramas = small_network(name), random_panoramas(2)
    both = network.describe_place(PlaceView.of(panoramas, PANORAMA)).descriptors
    first = random_panoramas(1).__class__(*(x[:1] for x in vars(panoramas).values()))
    alone = network.describe_place(PlaceView.of(first, PANORAMA)).descriptors
    torch.testing.assert_close(both[:1], alone, atol=1e-5, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize("name", window_methods())
def test_turning_the_panorama_turns_the_headings(name: str) -> None:
    network, panoramas = small_network(name), random_panoramas(1)
    plain = network.describe_place(PlaceView.of(panoramas, PANORAMA)).descriptors
    step = PANORAMA.width // HEADINGS  # a turn to the left
    rolled = type(panoramas)(*(torch.roll(x, -step, -1) for x in vars(panoramas).values()))
    turned = network.describe_place(PlaceView.of(rolled, PANORAMA)).descriptors
    torch.testing.assert_close(torch.roll(plain, 1, 1), turned, atol=1e-5, rtol=0)
    assert torch.pdist(plain[0]).min() > 0.01


def test_nearest_heading_is_a_multiple_of_sixty_degrees() -> None:
    yaw_deg = torch.tensor([0.0, 29.0, 31.0, -31.0, 200.0, 359.0])
    found = small_network("lip_loc").nearest_heading(torch.deg2rad(yaw_deg))
    assert torch.rad2deg(found).tolist() == pytest.approx([0, 0, 60, -60, 180, 360], abs=1e-4)


def test_ranges_in_view_by_loops() -> None:
    panoramas = random_panoramas(2)
    window = PlaceView.of(panoramas, PANORAMA).window(torch.full((2,), math.pi / 3), VIEW.fov_rad)
    found = windows.ranges_in_view(window, VIEW)
    assert found.shape == (2, 32, 64)
    np.testing.assert_allclose(values(found[1]), ranges_in_view(panoramas, 1), rtol=1e-6)


@pytest.mark.parametrize("name", ["modalink", "i2p_rec"])
def test_shared_layers_keep_statistics_that_hold_for_both_modalities(name: str) -> None:
    """What a batch gives in training, it gives nearly so with the running statistics."""
    network = small_network(name).train()
    view = random_view(8)
    window = PlaceView.of(random_panoramas(8, 30.0), PANORAMA).window(torch.zeros(8), VIEW.fov_rad)
    with torch.no_grad():
        for _ in range(60):
            trained = network.describe_pairs(view, window)
        evaluated = network.eval().describe_pairs(view, window)
    for each, later in zip(trained, evaluated, strict=True):
        assert functional.cosine_similarity(each, later).mean() > 0.8
