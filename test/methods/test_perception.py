"""All methods that need masks or ranges of an image read them alike."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from window_methods import random_view, small_config, small_network

from scmpr_ros.errors import ConfigError
from scmpr_ros.methods.network import PerceivingNetwork
from scmpr_ros.methods.perception import PerceptionConfig
from scmpr_ros.methods.registry import find_method, method_names
from scmpr_ros.networks.saff import GivenReading

NOTHING = torch.zeros(0, 0)


def reading_methods() -> list[str]:
    return [n for n in method_names() if issubclass(find_method(n).network, PerceivingNetwork)]


def build(name: str) -> Any:
    return find_method(name).network(small_config(name)).eval()


def perception_weights(network: Any) -> dict[str, torch.Tensor]:
    return {n: x for n, x in network.state_dict().items() if network.is_perception_weight(n)}


@torch.no_grad()
def test_one_stage_of_perception_serves_all() -> None:
    """Its weights fit each network, and predict the same there."""
    assert {"scmpr", "lc2", "i2p_rec"} <= set(reading_methods())
    first, view = build("scmpr"), random_view(2)
    weights, expected = perception_weights(first), first.predict(view.pixels)
    for name in reading_methods():
        network = build(name)
        assert {n: x.shape for n, x in perception_weights(network).items()} == {
            n: x.shape for n, x in weights.items()
        }
        network.load_state_dict(weights, strict=False)
        found = network.predict(view.pixels)
        assert found.mask_logits.equal(expected.mask_logits)
        assert found.range_logits.equal(expected.range_logits)


@pytest.mark.parametrize("name", ["lc2", "i2p_rec"])
def test_what_describes_is_no_perception(name: str) -> None:
    network = build(name)
    reading = perception_weights(network)
    assert {n.partition(".")[0] for n in reading} == {"vmamba", "saff", "cell_statistics"}
    others = {n.partition(".")[0] for n in network.state_dict() if n not in reading}
    towers = {"disparity_tower", "range_tower", "gem"} if name == "lc2" else {"tower"}
    assert others == {"saff", "netvlad", *towers}  # of SAFF its place head
    assert "saff.range_head.weight" in reading and "saff.place_head.0.weight" not in reading


@torch.no_grad()
@pytest.mark.parametrize("name", ["lc2", "i2p_rec"])
def test_ranges_of_a_reader_take_the_place_of_the_heads(name: str) -> None:
    """Where it read; a descriptor is made of them alone."""
    network, view = small_network(name), random_view(1)
    seen = torch.ones_like(view.seen[0])
    own = network.predict(view.pixels)
    logits = 3 * torch.randn_like(own.range_logits)

    def describe(read: torch.Tensor) -> torch.Tensor:
        prediction = network.predict(view.pixels, GivenReading(None, logits, read))
        assert prediction.range_logits[..., read].equal(logits[..., read])
        assert prediction.range_logits[..., ~read].equal(own.range_logits[..., ~read])
        return network.describe_image(prediction, seen, NOTHING)

    whole, part, none = (describe(read) for read in (seen, view.seen[0], ~seen))
    torch.testing.assert_close(none, network.describe_image(own, seen, NOTHING))
    torch.testing.assert_close(
        whole, network.describe_image(own._replace(range_logits=logits), seen, NOTHING)
    )
    assert torch.pdist(torch.cat([whole, part, none])).min() > 0.02


@torch.no_grad()
@pytest.mark.parametrize("name", ["lc2", "i2p_rec"])
def test_what_the_camera_does_not_see_is_not_described(name: str) -> None:
    network, view = small_network(name), random_view(1)
    prediction = network.predict(view.pixels)
    changed = prediction.range_logits.clone()
    changed[..., ~view.seen[0]] = 5 * torch.randn(changed.shape[1], int((~view.seen).sum()))
    found = network.describe_image(prediction._replace(range_logits=changed), view.seen, NOTHING)
    torch.testing.assert_close(found, network.describe_image(prediction, view.seen, NOTHING))


@pytest.mark.parametrize("name", ["lc2", "i2p_rec"])
def test_blocks_of_the_backbone_are_dropped_in_training_only(name: str) -> None:
    for stochastic in (False, True):
        network = find_method(name).network.for_training(small_config(name), stochastic)
        dropped = [m for m in network.vmamba.modules() if getattr(m, "drop_prob", 0.0)]
        assert bool(dropped) == stochastic


def test_unknown_backbones_are_refused() -> None:
    with pytest.raises(ConfigError, match="unknown backbone 'vgg'"):
        replace(PerceptionConfig(), backbone="vgg")
