"""Both branches together, and each module of equations 2 to 9 by itself."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from scmpr_ros.errors import ConfigError
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.lidar.panorama import Panoramas
from scmpr_ros.methods.network import PlaceDescription, map_context
from scmpr_ros.methods.scmpr.network import ScmprConfig, ScmprNetwork
from scmpr_ros.methods.views import PlaceView, QueryView
from scmpr_ros.networks.attention import (
    CrossModalSemanticAttention,
    class_tokens,
    mean_tokens,
)
from scmpr_ros.networks.one_hot import class_fractions
from scmpr_ros.networks.saff import Saff, SaffConfig
from scmpr_ros.semantics import NUM_CLASSES, STATIC_IDS, class_id

CONFIG = ScmprConfig(
    view=AngularGrid(32, 64, 12.0, -15.0, 80.0), panorama=AngularGrid(8, 120, 16.0, -16.0)
)

SEEN = torch.ones(8, 16, dtype=torch.bool)


@pytest.fixture(scope="module")
def network() -> ScmprNetwork:
    torch.manual_seed(0)
    return ScmprNetwork(CONFIG).eval()


def random_panoramas(batch: int) -> Panoramas:
    shape = (batch, CONFIG.panorama.height, CONFIG.panorama.width)
    label = torch.randint(0, 9, shape, dtype=torch.uint8)
    normal = torch.randn(batch, 3, *shape[1:])
    return Panoramas(torch.rand(shape) * 30, torch.randn(shape), normal, label)


def describe(network: ScmprNetwork, panoramas: Panoramas) -> PlaceDescription:
    return network.describe_place(PlaceView.of(panoramas, CONFIG.panorama))


@torch.inference_mode()
def test_shapes_and_unit_descriptors(network: ScmprNetwork) -> None:
    descriptors, tokens = describe(network, random_panoramas(3))
    assert tokens is not None
    context = map_context([tokens])
    query = network.describe_query(QueryView(torch.rand(2, 3, 32, 64), SEEN), context)
    assert descriptors.shape == (3, 30, CONFIG.descriptor_dim)
    assert query.descriptor.shape == (2, CONFIG.descriptor_dim)
    assert context.shape == CONFIG.context_shape == (len(STATIC_IDS), 64)
    grid = CONFIG.mask_grid
    assert query.prediction is not None
    assert query.prediction.mask_logits.shape == (2, NUM_CLASSES, grid.height, grid.width)
    norms = torch.cat([descriptors.flatten(0, 1), query.descriptor]).norm(dim=1)
    torch.testing.assert_close(norms, torch.ones_like(norms))


@torch.inference_mode()
def test_turning_the_panorama_turns_the_headings(network: ScmprNetwork) -> None:
    """24 degrees are 8 columns of 120 and one feature column: two headings of 12 degrees."""
    panoramas = random_panoramas(1)
    plain = describe(network, panoramas).descriptors
    rolled = Panoramas(*(torch.roll(x, -8, -1) for x in vars(panoramas).values()))
    turned = describe(network, rolled).descriptors
    torch.testing.assert_close(torch.roll(plain, 2, 1), turned, rtol=0, atol=1e-3)


@torch.inference_mode()
def test_what_the_camera_does_not_see_is_not_in_the_layout(network: ScmprNetwork) -> None:
    context, view = torch.zeros(len(STATIC_IDS), 64), torch.rand(1, 3, 32, 64)
    left = SEEN.clone()
    left[:, 8:] = False
    whole = network.describe_query(QueryView(view, SEEN), context).descriptor
    half = network.describe_query(QueryView(view, left), context).descriptor
    netvlad = slice(0, 256)
    torch.testing.assert_close(whole[:, netvlad], half[:, netvlad])
    assert not torch.allclose(whole[:, 256:], half[:, 256:], atol=1e-2)


def test_headings_run_counter_clockwise(network: ScmprNetwork) -> None:
    headings = network.headings_rad
    assert headings[0] == 0 and headings[1] == pytest.approx(2 * math.pi / 30)


def test_attention_starts_as_the_identity_and_skips_absent_classes() -> None:
    torch.manual_seed(0)
    attention = CrossModalSemanticAttention(8, 6)
    features, context = torch.randn(2, 8, 3, 4), torch.randn(len(STATIC_IDS), 6)
    torch.testing.assert_close(attention(features, context), torch.ones(2, 8, 3, 4))
    torch.nn.init.normal_(attention.gate.weight)
    context[3] = 0
    moved = context.clone()
    with torch.no_grad():
        attention.key.bias.normal_()
        attention.value.bias.normal_()
        a = attention(features, context)
        # The absent class must not be read, whatever the biases make of its empty token.
        keep = [i for i in range(len(STATIC_IDS)) if i != 3]
        b = attention(features, moved[keep])
    torch.testing.assert_close(a, b)
    assert (a > 0).all() and (a < 2).all()


def test_class_tokens_are_the_means_of_their_class() -> None:
    features = torch.randn(1, 5, 2, 2)
    road, wall = class_id("road"), class_id("building")
    label = torch.tensor([[[road, road], [wall, 0]]])
    sums, weights = class_tokens(features, class_fractions(label, (2, 2)))
    tokens = mean_tokens(sums, weights)
    expected = features[0, :, 0].mean(1)
    torch.testing.assert_close(tokens[STATIC_IDS.index(road)], expected / expected.norm())
    expected = features[0, :, 1, 0]
    torch.testing.assert_close(tokens[STATIC_IDS.index(wall)], expected / expected.norm())
    assert weights[0].sum() == 3
    assert tokens[STATIC_IDS.index(class_id("pole"))].abs().sum() == 0


def test_saff_feeds_the_mask_to_the_descriptor_but_not_its_gradient() -> None:
    torch.manual_seed(0)
    stages = [torch.randn(1, c, 16 >> s, 32 >> s) for s, c in enumerate((8, 16, 32, 64))]
    saff = Saff((8, 16, 32, 64), SaffConfig(16, 12))
    features, logits, _ = saff(stages)
    assert features.shape == (1, 12, 8, 16) and logits.shape == (1, NUM_CLASSES, 16, 32)
    before = features.detach().clone()
    features.sum().backward()
    assert saff.mask_head.weight.grad is None
    with torch.no_grad():
        saff.mask_head.bias[3] += 5
    assert not torch.allclose(saff(stages)[0], before)
    plain = Saff((8, 16, 32, 64), SaffConfig(16, 12, feed_semantics=False))
    with torch.no_grad():
        one = plain(stages)[0]
        plain.mask_head.bias[3] += 5
    torch.testing.assert_close(plain(stages)[0], one)


def test_impossible_configs_are_refused() -> None:
    with pytest.raises(ConfigError, match="multiple of 32"):
        replace(CONFIG, view=AngularGrid(40, 64, 12.0, -15.0, 80.0))
    with pytest.raises(ConfigError, match="nano"):
        replace(CONFIG, backbone="resnet")
    with pytest.raises(ConfigError, match="num_headings"):
        replace(CONFIG, num_headings=0)
