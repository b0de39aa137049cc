"""LIP-Loc's descriptors equal its formulas, written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy_layers import Array, batch_norm, gelu, layer_norm, linear, resize, unit, values
from torch import nn
from window_methods import (
    describe_window,
    random_pairs,
    random_panoramas,
    random_view,
    ranges_in_view,
    small_network,
    tower_features,
)

from scmpr_ros.errors import ConfigError
from scmpr_ros.methods.lip_loc import METHOD, LipLocConfig, LipLocObjective, LipLocObjectiveConfig


def embed(tower: nn.Module, head: Any, whitening: nn.Module, image: Array) -> Array:
    """Resize to a square, encode, project with a residual layer, whiten, normalise."""
    square = np.stack([resize(channel, (32, 32)) for channel in image])
    x = linear(head.project, tower_features(tower, (square - 0.5) / 0.5))
    x = layer_norm(head.norm, x + linear(head.refine[1], gelu(x)))
    return unit(batch_norm(whitening, x))


@torch.no_grad()
def test_image_descriptor_equals_the_formula() -> None:
    network, view = small_network("lip_loc"), random_view(2)
    found = network.describe_query(view, torch.zeros(0, 0)).descriptor[1]
    expected = embed(
        network.image_tower, network.image_head, network.image_whitening, values(view.pixels[1])
    )
    np.testing.assert_allclose(values(found), expected, atol=1e-5)


@pytest.mark.parametrize("heading", [0, 3])
def test_window_descriptor_equals_the_formula(heading: int) -> None:
    """Grey levels: 5.1 a metre, and 251 for no return within 50 metres, of 255."""
    network, panoramas = small_network("lip_loc", max_range_m=70.0), random_panoramas(2)
    found = describe_window(network, panoramas, heading)
    range_m = ranges_in_view(panoramas, heading)
    assert range_m.max() > 50
    grey = np.where((range_m > 0) & (range_m <= 50), 5.1 * range_m, 251.0) / 255
    expected = embed(
        network.range_tower, network.range_head, network.range_whitening, np.stack([grey] * 3)
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_other_heads_equal_their_formulas(kind: str) -> None:
    head = small_network("lip_loc", head=kind).image_head
    x = torch.randn(96)
    if kind == "linear":
        expected = linear(head, values(x))
    else:
        expected = linear(head[2], gelu(linear(head[0], values(x))))
    np.testing.assert_allclose(values(head(x)), expected, atol=1e-5)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_frozen_range_tower_learns_its_head_only(frozen: bool) -> None:
    network = small_network("lip_loc").train()
    config = LipLocObjectiveConfig(frozen_range_tower=frozen)
    LipLocObjective(network, config, "place").losses(random_pairs(3))["contrastive"].backward()
    learning = {
        name.partition(".")[0] for name, x in network.named_parameters() if x.grad is not None
    }
    parts = {"image_tower", "image_head", "range_tower", "range_head"}
    assert learning == parts - ({"range_tower"} if frozen else set())


def test_config() -> None:
    assert METHOD.config is LipLocConfig
    for wrong in ({"size": 0}, {"descriptor_dim": 0}, {"dropout": 1.0}):
        with pytest.raises(ConfigError, match="a size, a dimension, and a dropout"):
            LipLocConfig(**wrong)
