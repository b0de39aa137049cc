"""ModaLink's descriptors equal its formulas, written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy_layers import (
    Array,
    factorise,
    linear,
    netvlad_of_image,
    netvlad_of_window,
    unit,
    values,
)
from window_methods import (
    describe_window,
    random_panoramas,
    random_view,
    ranges_in_view,
    small_network,
    tower_features,
)

from scmpr_ros.errors import ConfigError
from scmpr_ros.methods.modalink import ModaLinkConfig


def features_of(network: Any, image: Array) -> Array:
    """Features plus their low-rank reconstruction, which is between two layers."""
    features, block = tower_features(network.tower, image), network.factorisation
    pixels = features.reshape(len(features), -1)
    x = np.stack([np.maximum(linear(block.enter, pixel), 0) for pixel in pixels.T], axis=1)
    bases = np.log1p(np.exp(values(block.bases)))
    bases = np.stack([unit(basis) for basis in bases.T], axis=1)
    common = factorise(x, bases, network.config.steps)
    added = np.stack([linear(block.leave, pixel) for pixel in common.T], axis=1)
    assert np.abs(added).max() > 0.1
    return (pixels + added).reshape(features.shape)


@torch.no_grad()
@pytest.mark.parametrize("steps", [1, 4])
def test_image_descriptor_equals_the_formula(steps: int) -> None:
    network, view = small_network("modalink", steps=steps), random_view(2)
    found = network.describe_query(view, torch.zeros(0, 0)).descriptor[1]
    features = features_of(network, values(view.pixels[1]))
    expected = netvlad_of_image(network.netvlad, features)
    np.testing.assert_allclose(values(found), expected, atol=1e-5)


@pytest.mark.parametrize("heading", [0, 3])
def test_window_descriptor_equals_the_formula(heading: int) -> None:
    """By the same encoder."""
    network, panoramas = small_network("modalink"), random_panoramas(2)
    found = describe_window(network, panoramas, heading)
    grey = np.minimum(ranges_in_view(panoramas, heading), 50.0) / 50.0
    features = features_of(network, np.stack([grey] * 3))
    expected = netvlad_of_window(network.netvlad, features)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_factorisation_needs_a_basis_and_a_step() -> None:
    for wrong in ({"bases": 0}, {"steps": 0}):
        with pytest.raises(ConfigError, match="needs a basis and a step"):
            ModaLinkConfig(**wrong)
