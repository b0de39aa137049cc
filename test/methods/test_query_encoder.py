"""The RGB branch made ready for queries says what the network says, in either precision."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from window_methods import small_network

from scmpr_ros.errors import ConfigError
from scmpr_ros.geometry import AngularGrid
from scmpr_ros.methods.checkpoint import fingerprint
from scmpr_ros.methods.query_encoder import QueryEncoder
from scmpr_ros.methods.scmpr.network import ScmprConfig, ScmprNetwork
from scmpr_ros.methods.views import QueryView
from scmpr_ros.networks.precision import choose_precision
from scmpr_ros.networks.saff import GivenReading
from scmpr_ros.semantics import STATIC_IDS

CPU = torch.device("cpu")
CONFIG = ScmprConfig(
    view=AngularGrid(32, 64, 12.0, -15.0, 80.0), panorama=AngularGrid(8, 120, 16.0, -16.0)
)


@pytest.fixture(scope="module")
def network() -> ScmprNetwork:
    torch.manual_seed(0)
    return ScmprNetwork(CONFIG).eval()


@pytest.fixture(scope="module")
def query() -> tuple[Tensor, Tensor, Tensor]:
    """A view, the cells that are seen of it, and the context of a map."""
    torch.manual_seed(1)
    grid = CONFIG.mask_grid
    seen = torch.rand(grid.height, grid.width) > 0.1
    return torch.rand(1, 3, 32, 64), seen, torch.randn(len(STATIC_IDS), 64)


@torch.inference_mode()
def test_float32_is_the_network_itself(network: ScmprNetwork, query: tuple[Tensor, ...]) -> None:
    view, seen, context = query
    expected = network.describe_query(QueryView(view, seen), context)
    query = QueryEncoder(network, context, CPU, "float32")(QueryView(view, seen))
    torch.testing.assert_close(query.descriptor, expected.descriptor)
    assert query.prediction is not None and expected.prediction is not None
    for found, wanted in zip(query.prediction, expected.prediction, strict=True):
        torch.testing.assert_close(found, wanted)


@torch.inference_mode()
@pytest.mark.parametrize("backbone", ["nano", "timm/test_resnet"])
def test_bfloat16_is_near_and_leaves_the_network_alone(
    backbone: str, query: tuple[Tensor, ...]
) -> None:
    torch.manual_seed(0)
    config = replace(CONFIG, backbone=backbone)
    network = ScmprNetwork(config).eval()
    view, seen, context = query
    before = fingerprint(network)
    exact = QueryEncoder(network, context, CPU, "float32")(QueryView(view, seen))
    query = QueryEncoder(network, context, CPU, "bfloat16")(QueryView(view, seen))
    assert exact.prediction is not None and query.prediction is not None
    assert all(x.dtype == torch.float32 for x in (query.descriptor, *query.prediction))
    torch.testing.assert_close(query.descriptor.norm(), torch.tensor(1.0))
    assert (exact.descriptor * query.descriptor).sum() > 0.998
    assert not torch.equal(exact.descriptor, query.descriptor)
    classes, exact_classes = (x.prediction.mask_logits.argmax(1) for x in (query, exact))
    assert (classes == exact_classes).float().mean() > 0.95
    assert fingerprint(network) == before


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_given_readings_stay_where_they_were_read(
    network: ScmprNetwork, query: tuple[Tensor, ...], precision: str
) -> None:
    view, seen, context = query
    encoder = QueryEncoder(network, context, CPU, precision)
    own = encoder(QueryView(view, seen)).prediction
    assert own is not None and own.range_logits is not None
    classes, ranges = torch.randn_like(own.mask_logits), torch.randn_like(own.range_logits)
    found = encoder(QueryView(view, seen), GivenReading(classes, ranges, seen)).prediction
    assert found is not None and found.range_logits is not None
    for one, given, kept in (
        (found.mask_logits, classes, own.mask_logits),
        (found.range_logits, ranges, own.range_logits),
    ):
        torch.testing.assert_close(one, torch.where(seen, given, kept), rtol=1e-2, atol=1e-6)
    assert not torch.allclose(found.features, own.features, atol=1e-3)
    only = encoder(QueryView(view, seen), GivenReading(None, ranges, seen)).prediction
    assert only is not None and torch.equal(only.mask_logits, own.mask_logits)


def test_precision_follows_the_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    for able, expected in (
        ({}, torch.float32), ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True, "avx512_bf16": False}, torch.bfloat16),
    ):  # fmt: skip
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: able, raising=False)
        assert choose_precision("auto", CPU) == expected
        assert choose_precision("float32", CPU) == torch.float32
    with pytest.raises(ConfigError, match="float16"):
        choose_precision("float16", CPU)


def test_a_network_without_predictions_is_not_rounded_unless_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All of it would be: images of neighbouring places would have equal descriptors."""
    able = {"avx512_bf16": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)
    network = small_network("modalink")
    chosen = {
        precision: QueryEncoder(network, torch.zeros(0, 0), CPU, precision).dtype
        for precision in ("auto", "bfloat16")
    }
    assert chosen == {"auto": torch.float32, "bfloat16": torch.bfloat16}
